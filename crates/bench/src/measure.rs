//! One load through one peer, and what it cost.

use crate::load::ear::Heard;
use crate::load::server::Seen;
use crate::load::{self, client::Done};
use crate::loads::{Kind, Load, Size};
use crate::meter::{self, Meter, Spent};
use crate::net::{GATEWAY, INSIDE_PREFIX, Net, OUTSIDE, OUTSIDE_COUNT};
use crate::peers::{Peer, Running, SIP};
use crate::process::{Process, command};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long any answer of the generator may take beyond the load itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was measured. Costs are of one unit: a message, request, connection, call or packet.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Figures {
    /// How many units.
    pub units: u64,
    /// Units a second.
    pub rate: f64,
    /// Processor time of the whole path, microseconds a unit.
    pub cpu: f64,
    /// Of that, the client's.
    pub client: f64,
    /// The server's.
    pub server: f64,
    /// That of the gateway's programs.
    pub gateway: f64,
    /// That of the kernel's own threads.
    pub kernel: f64,
    /// How many processors others kept busy meanwhile.
    pub other_cores: f64,
    /// What only this load has.
    pub more: BTreeMap<&'static str, f64>,
    /// What is to be known of it.
    pub note: Option<String>,
    /// Why none of it counts.
    pub void: Option<String>,
}

impl Figures {
    fn new(units: u64, seconds: f64, spent: &Spent) -> Self {
        let each = |time: f64| time * 1e6 / units.max(1) as f64;
        Figures {
            units,
            rate: units as f64 / seconds.max(f64::EPSILON),
            cpu: each(spent.total()),
            client: each(spent.client),
            server: each(spent.server),
            gateway: each(spent.gateway),
            kernel: each(spent.kernel),
            other_cores: spent.other_cores(),
            ..Figures::default()
        }
    }

    /// What several networks cost that were measured at the same time. The kernel's threads and
    /// others work for all of them, and each has seen the same.
    fn together(all: &[Figures]) -> Figures {
        let units: u64 = all.iter().map(|figures| figures.units).sum();
        let sum = |of: fn(&Figures) -> f64| all.iter().map(of).sum::<f64>();
        let each = |of: fn(&Figures) -> f64| {
            let spent = all.iter().map(|f| of(f) * f.units as f64).sum::<f64>();
            spent / units.max(1) as f64
        };
        let count = all.len().max(1) as f64;
        // To each of them the rest are others.
        let own = |f: &Figures| (f.cpu - f.kernel) * f.rate / 1e6;
        let others = all.iter().map(|f| f.other_cores + own(f)).sum::<f64>() / count;
        let others = others - all.iter().map(own).sum::<f64>();
        let (client, server, gateway) =
            (each(|f| f.client), each(|f| f.server), each(|f| f.gateway));
        let kernel = each(|f| f.kernel) / count;
        Figures {
            units,
            rate: sum(|f| f.rate),
            cpu: client + server + gateway + kernel,
            client,
            server,
            gateway,
            kernel,
            other_cores: others.max(0.0),
            void: all.iter().find_map(|figures| figures.void.clone()),
            ..Figures::default()
        }
    }

    /// Nothing was measured.
    pub fn void(why: String) -> Self {
        Figures {
            void: Some(why),
            ..Figures::default()
        }
    }
}

/// Sends a load through a peer on a network of its own, or on `beside` of them at once.
pub fn measure(
    load: &Load,
    peer: Peer,
    size: &Size,
    sipalg: &Path,
    interrupts: bool,
    beside: u8,
) -> Figures {
    let scene = || Scene::new(peer, sipalg, interrupts);
    let figures = match beside {
        1 => scene().and_then(|mut scene| scene.run(load, size)),
        _ => (0..beside)
            .map(|_| scene())
            .collect::<io::Result<Vec<_>>>()
            .and_then(|scenes| at_once(scenes, load, size)),
    };
    figures.unwrap_or_else(|error| Figures::void(error.to_string()))
}

/// The same load on these networks, begun at the same moment; they have its connections together.
fn at_once(mut scenes: Vec<Scene>, load: &Load, size: &Size) -> io::Result<Figures> {
    let size = &Size {
        connections: size.connections / u32::try_from(scenes.len()).unwrap_or(1).max(1),
        ..*size
    };
    let Kind::Plain {
        arguments,
        messages,
    } = load.kind
    else {
        return Err(io::Error::other("not a load of one client"));
    };
    let clients = scenes
        .iter()
        .map(|scene| scene.client(&arguments(size, scene.peer)));
    let clients = clients.collect::<io::Result<Vec<_>>>()?;
    let all: io::Result<Vec<_>> = std::thread::scope(|threads| {
        let runs: Vec<_> = std::iter::zip(&mut scenes, clients)
            .map(|(scene, mut client)| threads.spawn(move || scene.run_once(&mut client, messages)))
            .collect();
        runs.into_iter()
            .map(|run| {
                run.join()
                    .map_err(|_| io::Error::other("a run ended early"))?
            })
            .collect()
    });
    Ok(Figures::together(&all?))
}

/// A network with a peer and the server.
struct Scene {
    peer: Peer,
    interrupts: bool,
    // Programs end before the network that they are in.
    server: Process,
    running: Running,
    net: Net,
}

impl Scene {
    fn new(peer: Peer, sipalg: &Path, interrupts: bool) -> io::Result<Self> {
        let net = Net::new()?;
        let running = peer.start(&net, sipalg)?;
        let mut server = generator("server")?;
        server.args([
            "--hidden",
            INSIDE_PREFIX,
            "--clean",
            peer.promise().clean.word(),
        ]);
        if let Some(media) = running.media {
            server.arg("--media-to").arg(media.to_string());
        }
        let mut server = net.outside.start("server", server)?;
        server.wait(|line| line == "listening", PATIENCE)?;
        Ok(Scene {
            peer,
            interrupts,
            server,
            running,
            net,
        })
    }

    fn run(&mut self, load: &Load, size: &Size) -> io::Result<Figures> {
        match load.kind {
            Kind::Plain {
                arguments,
                messages,
            } => self.plain(&arguments(size, self.peer), messages),
            Kind::Idle => self.idle(size),
            Kind::Media => self.media(size),
            Kind::Many => self.many(size),
        }
    }

    /// Starts a client, and waits until it is ready to begin.
    fn client(&self, arguments: &[String]) -> io::Result<Process> {
        let mut client = generator("client")?;
        client
            .arg("--hold")
            .arg("--to")
            .arg(self.running.to.to_string());
        client.arg("--server").arg(format!("{OUTSIDE}:{SIP}"));
        if self.peer.promise().back {
            client.arg("--hidden").arg(GATEWAY.to_string());
        }
        client.args(arguments);
        let mut client = self.net.inside.start("client", client)?;
        client.wait(|line| line == "ready", PATIENCE)?;
        Ok(client)
    }

    fn meter(&self, client: &Process) -> Meter {
        Meter {
            client: client.pid(),
            server: self.server.pid(),
            gateway: self.running.pids(),
            interrupts: self.interrupts,
        }
    }

    fn seen(&mut self) -> io::Result<Seen> {
        self.server.ask("report", PATIENCE)
    }

    /// A load that begins at a word and ends by itself, of so many messages a unit.
    fn plain(&mut self, arguments: &[String], messages: u64) -> io::Result<Figures> {
        let mut client = self.client(arguments)?;
        self.run_once(&mut client, messages)
    }

    fn run_once(&mut self, client: &mut Process, messages: u64) -> io::Result<Figures> {
        let meter = self.meter(client);
        let before_all = self.seen()?;
        let before = meter.sample();
        let mut done: Done = client.ask("go", PATIENCE)?;
        let spent = meter.since(&before);
        let seen = self.seen()?;
        let mut figures = Figures::new(done.units, done.seconds, &spent);
        if !self.peer.promise().closes && done.late > 0 {
            figures.note = Some("ports stay open after the call".to_owned());
            done.late = 0;
        }
        figures.more.extend(done.p50.map(|p50| ("p50", p50)));
        figures.more.extend(done.p99.map(|p99| ("p99", p99)));
        let damaged = before_all.leaks + before_all.damaged + before_all.disorder;
        figures.void = if damaged > 0 {
            fault(&done, &before_all, None)
        } else {
            fault(&done, &seen, Some(done.units * messages))
        };
        Ok(figures)
    }

    /// Connections that stay: what each of them takes in memory, with a registration and without. A
    /// third of them is there before, so that what does not grow with their number is not divided by
    /// it: buffers, caches, pages of programs.
    fn idle(&mut self, size: &Size) -> io::Result<Figures> {
        // A proxy has two files for each connection.
        let most = (load::allow_files() / 2).saturating_sub(300);
        let count = most.min(size.idle.into());
        let mut client = self.client(&words(&format!("idle --connections {count}")))?;
        let gateway = self.running.pids();
        let first: Done = client.ask("go", 2 * PATIENCE)?;
        let (memory, slab) = (meter::memory(&gateway), meter::slab());
        let meter = self.meter(&client);
        let before = meter.sample();
        let done: Done = client.ask("go", 2 * PATIENCE)?;
        let spent = meter.since(&before);
        let (more_memory, more_slab) = (meter::memory(&gateway), meter::slab());
        let bare: Done = client.ask("go", 2 * PATIENCE)?;
        let each = |done: &Done, now: u64, before: u64| {
            now.saturating_sub(before) as f64 / done.units.max(1) as f64
        };
        let more = [
            ("bytes", each(&done, more_memory, memory)),
            ("kernel_bytes", each(&done, more_slab, slab)),
            (
                "bare_bytes",
                each(&bare, meter::memory(&gateway), more_memory),
            ),
        ];
        let seen = self.seen()?;
        let all = first.units + done.units + bare.units;
        let faults = [
            fault(&first, &seen, None),
            fault(&bare, &seen, None),
            fault(&done, &seen, Some(all)),
        ];
        Ok(Figures {
            more: more.into(),
            void: faults.into_iter().flatten().next(),
            ..Figures::new(done.units, done.seconds, &spent)
        })
    }

    /// Packets through the doors of twenty calls.
    fn media(&mut self, size: &Size) -> io::Result<Figures> {
        let mut client = self.client(&words("hold --calls 20 --connections 20"))?;
        let done: Done = client.ask("go", PATIENCE)?;
        if let Some(fault) = fault(&done, &self.seen()?, None) {
            return Ok(Figures::void(fault));
        }
        let meter = self.meter(&client);
        let before = meter.sample();
        let (seen, heard) = self.talk(&mut client, 20_000, size.milliseconds)?;
        let spent = meter.since(&before);
        let mut figures = Figures::new(heard.packets, seen.seconds, &spent);
        if heard.disorder > 0 {
            figures.void = Some(format!("{} packets twice, late or astray", heard.disorder));
        } else if (heard.packets as f64) < 0.9 * seen.sent as f64 {
            figures.void = Some(format!(
                "of {} packets {} arrived",
                seen.sent, heard.packets
            ));
        } else {
            figures.more.insert("most", self.most(&mut client, size)?);
        }
        Ok(figures)
    }

    /// The highest rate of packets at which less than 1 % are lost.
    fn most(&mut self, client: &mut Process, size: &Size) -> io::Result<f64> {
        let mut passes = |rate: u64| -> io::Result<Option<f64>> {
            let (seen, heard) = self.talk(client, rate, size.step)?;
            let arrived = heard.packets as f64 / seen.seconds.max(f64::EPSILON);
            Ok((heard.packets as f64 > 0.99 * seen.sent as f64).then_some(arrived))
        };
        let (mut best, mut rate) = (0.0_f64, 20_000.0_f64);
        // Up in steps of a quarter until packets are lost, or cannot be sent as fast.
        let mut fails = loop {
            match passes(rate as u64)? {
                Some(arrived) if arrived > 0.9 * rate => best = best.max(arrived),
                passed => {
                    best = best.max(passed.unwrap_or(0.0));
                    break rate;
                }
            }
            rate *= 1.25;
        };
        let mut holds = rate / 1.25;
        for _ in 0..size.halvings {
            let middle = f64::midpoint(holds, fails);
            match passes(middle as u64)? {
                Some(arrived) => {
                    best = best.max(arrived);
                    holds = middle;
                }
                None => fails = middle,
            }
        }
        Ok(best)
    }

    fn talk(
        &mut self,
        client: &mut Process,
        rate: u64,
        milliseconds: u64,
    ) -> io::Result<(Seen, Heard)> {
        let seen: Seen = self
            .server
            .ask(&format!("rtp {rate} {milliseconds}"), PATIENCE)?;
        let heard = client.ask(&seen.sent.to_string(), PATIENCE)?;
        Ok((seen, heard))
    }

    /// Many calls at once on one connection: all their ports are tried, and what one more costs.
    fn many(&mut self, size: &Size) -> io::Result<Figures> {
        let mut meanwhile = self.client(&words(&format!(
            "calls --connections 1 --count {}",
            size.more_calls
        )))?;
        // What happens once only does not count.
        self.run_once(&mut meanwhile, 3)?;
        let empty = self.run_once(&mut meanwhile, 3)?;
        let mut hold = self.client(&words(&format!(
            "hold --calls {} --connections 1",
            size.many
        )))?;
        let done: Done = hold.ask("go", 2 * PATIENCE)?;
        if let Some(fault) = fault(&done, &self.seen()?, None) {
            return Ok(Figures::void(fault));
        }
        self.server.ask::<Seen>("probe", PATIENCE)?;
        let heard: Heard = hold.ask(&(2 * size.many).to_string(), PATIENCE)?;
        let mut full = self.run_once(&mut meanwhile, 3)?;
        let cost = |figures: &Figures| figures.gateway + figures.kernel;
        full.more.insert("ports", heard.reached as f64);
        full.more
            .insert("reached", heard.reached as f64 / (2 * size.many) as f64);
        full.more
            .insert("growth", cost(&full) / cost(&empty).max(f64::EPSILON));
        full.void = empty.void.or(full.void).or_else(|| {
            (heard.reached < 2 * size.many || heard.disorder > 0)
                .then(|| format!("of {} ports {} are reached", 2 * size.many, heard.reached))
        });
        Ok(full)
    }
}

/// What was wrong, if anything was; `messages` is how many the server must have seen.
fn fault(done: &Done, seen: &Seen, messages: Option<u64>) -> Option<String> {
    let counts = [
        (seen.leaks, "messages leak an inside address"),
        (seen.damaged, "streams are damaged"),
        (seen.disorder, "messages lost, doubled or out of order"),
        (done.leaks, "answers leak the gateway's address"),
        (done.failed, "units failed"),
        (done.unheard, "media ports closed though named"),
        (done.late, "media ports open after the call"),
    ];
    let mut faults: Vec<_> = done.trouble.iter().cloned().collect();
    let bad = counts.iter().filter(|(count, _)| *count > 0);
    faults.extend(bad.map(|(count, what)| format!("{count} {what}")));
    faults.extend(seen.example.iter().map(|lines| format!("such as {lines}")));
    if let Some(expected) = messages.filter(|expected| seen.messages.abs_diff(*expected) > 1) {
        faults.push(format!(
            "{} messages sent, {} arrived",
            expected, seen.messages
        ));
    }
    if done.units == 0 {
        faults.push("nothing got through".to_owned());
    }
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// A command of the load generator: this program.
fn generator(role: &str) -> io::Result<std::process::Command> {
    let own = std::env::current_exe()?;
    let mut generator = command(&own.to_string_lossy());
    generator.args(["load", role]);
    Ok(generator)
}

/// The words of a command line.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// How many server addresses a peer leads to: one that is connected to itself leads to one.
pub fn addresses(peer: Peer) -> u8 {
    match peer {
        Peer::Kamailio | Peer::Rtpengine => 1,
        _ => OUTSIDE_COUNT,
    }
}
