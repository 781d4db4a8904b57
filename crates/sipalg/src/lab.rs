//! `sipalg lab`: the main job on an embedded network, judged.
//!
//! ```text
//!   net        phone - gateway - outside, in namespaces of their own
//!   gateway    the real gateway as a child process on the middle host, and a console to it
//!   script     the messages, written once for both sides
//!   endpoint   SIP over TCP          media   RTP and RTCP
//!   report     what is printed
//!   table      what the gateway shows    shell   `--shell`
//! ```
//!
//! One thread plays both the phone and the outside: every step sends on one side and waits on the
//! other, so the story below reads from top to bottom.

pub mod endpoint;
pub mod gateway;
pub mod media;
pub mod net;
pub mod report;
pub mod script;
pub mod shell;
pub mod table;

use endpoint::Endpoint;
use gateway::{Console, Gateway};
use media::{Address, Ear};
use net::{GATEWAY_OUTSIDE, INSIDE_PREFIX, Network, OUTSIDE, PHONE, TOPOLOGY};
use report::Report;
use script::{Script, View, cuts, incoming, outgoing, render};
use sipalg_core::Leg;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process::ExitCode;
use std::time::Duration;
use table::{mappings, row};

/// What `sipalg lab` is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Leave the network up and give a shell instead of playing.
    pub shell: bool,
    /// Run the gateway without its fixup, to see the checks fail.
    pub no_fixup: bool,
    /// Print every message in full and all debug lines.
    pub verbose: bool,
}

/// Runs the lab. To be called while the process has one thread only.
pub fn run(options: &Options) -> ExitCode {
    let network = match Network::new() {
        Ok(network) => network,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    let gateway = match Gateway::start(&network.gateway, !options.no_fixup) {
        Ok(gateway) => gateway,
        Err(error) => {
            eprintln!("sipalg lab: {error}");
            return ExitCode::FAILURE;
        }
    };
    if options.shell {
        return shell::run(&network, &gateway).unwrap_or_else(|error| {
            eprintln!("sipalg lab: {error}");
            ExitCode::FAILURE
        });
    }
    if play(&network, gateway, Report::new(options.verbose)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

const SIP_PORT: u16 = 5060;
const SECOND_SIP_PORT: u16 = 8000;
/// Where the phone listens for SIP.
const PHONE_SIP: SocketAddrV4 = SocketAddrV4::new(PHONE, SIP_PORT);
const PHONE_RTP: u16 = 6000;
const OUTSIDE_RTP: u16 = 7078;
/// Packets of 20 ms each way in a call: one second.
const PACKETS: u16 = 50;
/// Stands in an expected message where the gateway shows no mapping; never equals anything.
const UNMAPPED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// How long it takes to see that nobody answers.
const KNOCK: Duration = Duration::from_secs(1);

const DOOR_SHUT: &str = "no connection from outside reaches a phone that is not registered";
const OUTWARD: &str = "outward, inside addresses become global ones and no other byte changes";
const INWARD: &str = "inward, the phone gets its own addresses back and no other byte changes";
const LENGTH: &str = "Content-Length is true";
const LEAK: &str = "the outside never saw an inside address";
const SOURCES: &str = "each side sees the right source of every connection";
const DOORS: &str = "doors are open exactly as long as they are needed";
const MEDIA: &str = "every RTP and RTCP packet arrived at the other ear from the right source";
const ANYONE: &str = "a door lets in media from any outside address";
const COUNTED: &str = "the gateway counted every RTP packet of the call";
const CLOSED: &str = "media to a closed door does not arrive";
const ORDINARY: &str = "ordinary traffic is translated as by any NAT";
const PLAIN: &str = "what is not SIP passes unchanged on a SIP port, and opens no door";
const TOLD: &str = "every chapter went on to its end";
const ENDED: &str = "the gateway ends cleanly when asked to";

/// Plays the story; true if every check held.
fn play(network: &Network, gateway: Gateway, report: Report) -> bool {
    let mut lab = Lab {
        network,
        gateway: &gateway,
        report,
    };
    lab.report.chapter("The network");
    lab.report.print(TOPOLOGY);
    if let Err(error) = lab.story() {
        lab.report
            .check("the story went on to its end", Some(error.to_string()));
    }
    let mut report = lab.report;
    let ended = gateway.stop().map(|status| status.code());
    report.check_equal(ENDED, &ended.ok().flatten(), &Some(0));
    report.verdict()
}

struct Lab<'a> {
    network: &'a Network,
    gateway: &'a Gateway,
    report: Report,
}

/// A proxied connection: the two ends of it that are not the gateway's.
struct Wire {
    phone: Endpoint,
    outside: Endpoint,
}

/// The ears of a call.
struct Ears {
    phone: Ear,
    outside: Ear,
}

impl Lab<'_> {
    fn story(&mut self) -> io::Result<()> {
        let registrar = endpoint::listen(&self.network.outside, at(OUTSIDE, SIP_PORT))?;
        let bob = endpoint::listen(&self.network.outside, at(OUTSIDE, SECOND_SIP_PORT))?;
        let alice = endpoint::listen(&self.network.phone, PHONE_SIP)?;
        let mut registration = self.register(&registrar)?;
        // A chapter that breaks off does not keep the others from being told.
        let ended = self.incoming_call(&alice);
        self.told(ended);
        let ended = self.outgoing_call(&bob);
        self.told(ended);
        let ended = self.no_sip(&registrar);
        self.told(ended);
        self.unregister(&mut registration)
    }

    fn told(&mut self, chapter: io::Result<()>) {
        self.report
            .check(TOLD, chapter.err().map(|error| error.to_string()));
    }

    /// 1. The phone registers, and its contact becomes reachable.
    fn register(&mut self, registrar: &TcpListener) -> io::Result<Wire> {
        self.report.chapter("1. The phone registers over TCP");
        self.refused(at(GATEWAY_OUTSIDE, SIP_PORT));
        let mut wire = self.dial_out(registrar, SIP_PORT)?;
        self.pass(&mut wire, Leg::Inside, &[script::REGISTER], false)?;
        self.check_doors(&[])?;
        self.pass(&mut wire, Leg::Outside, &[script::REGISTERED], false)?;
        self.check_doors(&[PHONE_SIP])?;
        self.show("show ip nat sip doors")?;
        Ok(wire)
    }

    /// 2. A call from outside comes to the registered contact, by a new connection.
    fn incoming_call(&mut self, alice: &TcpListener) -> io::Result<()> {
        self.report
            .chapter("2. A call from outside, by a new connection to the registered contact");
        let mut debug = Console::connect(self.gateway)?;
        debug.command("debug ip nat sip")?;
        let mut wire = self.dial_in(alice)?;
        let ears = self.open_ears()?;
        self.pass(&mut wire, Leg::Outside, &[incoming::INVITE], true)?;
        self.pass(&mut wire, Leg::Inside, &[incoming::RINGING], false)?;
        self.pass(&mut wire, Leg::Inside, &[incoming::OK], true)?;
        self.pass(&mut wire, Leg::Outside, &[incoming::ACK], false)?;
        self.check_doors(&[PHONE_SIP, ears.phone.rtp()?, ears.phone.rtcp()?])?;
        self.talk(&ears)?;
        self.stranger(&ears)?;
        let doors = self.show("show ip nat sip doors")?;
        // In: the outside's packets and the stranger's one. Out: the phone's.
        let counts = [PACKETS + 1, PACKETS].map(|count| count.to_string());
        let counted = row(&doors, ears.phone.rtp()?)
            .is_some_and(|row| counts.iter().all(|count| row.contains(&count.as_str())));
        let failure = format!("no {} in and {} out", counts[0], counts[1]);
        self.report.check(COUNTED, (!counted).then_some(failure));
        self.show("show ip nat translations")?;
        let closed = self.media_global()?.rtp;
        self.pass(&mut wire, Leg::Outside, &[incoming::BYE], false)?;
        self.pass(&mut wire, Leg::Inside, &[incoming::BYE_OK], false)?;
        self.check_doors(&[PHONE_SIP])?;
        self.silence(&ears, closed)?;
        let lines = debug.command("undebug all")?;
        self.debug_lines(&lines);
        Ok(())
    }

    /// 3. A call to the outside on the second SIP port, in pieces and in heaps.
    fn outgoing_call(&mut self, bob: &TcpListener) -> io::Result<()> {
        self.report
            .chapter("3. A call to the outside on TCP 8000, cut into segments as TCP likes");
        let mut wire = self.dial_out(bob, SECOND_SIP_PORT)?;
        let ears = self.open_ears()?;
        self.pass_cut(&mut wire, outgoing::INVITE)?;
        self.report.text("180 and 200 in one segment:");
        self.pass(
            &mut wire,
            Leg::Outside,
            &[outgoing::RINGING, outgoing::OK],
            false,
        )?;
        self.report.text("ACK and OPTIONS in one segment:");
        self.pass(
            &mut wire,
            Leg::Inside,
            &[outgoing::ACK, outgoing::OPTIONS],
            false,
        )?;
        self.pass(&mut wire, Leg::Outside, &[outgoing::OPTIONS_OK], false)?;
        self.check_doors(&[PHONE_SIP, ears.phone.rtp()?, ears.phone.rtcp()?])?;
        self.talk(&ears)?;
        let closed = self.media_global()?.rtp;
        self.pass(&mut wire, Leg::Inside, &[outgoing::BYE], false)?;
        self.pass(&mut wire, Leg::Outside, &[outgoing::BYE_OK], false)?;
        self.check_doors(&[PHONE_SIP])?;
        self.silence(&ears, closed)?;
        Ok(())
    }

    /// 4. Something else speaks on a SIP port.
    fn no_sip(&mut self, server: &TcpListener) -> io::Result<()> {
        self.report.chapter("4. HTTP on TCP 5060");
        let mut wire = self.dial_out(server, SIP_PORT)?;
        let view = self.view(&wire, Leg::Inside)?;
        let (request, answer) = (render(script::HTTP, &view), render(script::HTTP_OK, &view));
        wire.phone.send(&request)?;
        let heard = wire.outside.receive_bytes(request.len())?;
        self.report
            .passed("phone -> outside", &request, &heard, false);
        self.report.check_bytes(PLAIN, &heard, &request);
        wire.outside.send(&answer)?;
        wire.outside.finish()?;
        let heard = wire.phone.receive_end()?;
        self.report
            .passed("outside -> phone", &answer, &heard, false);
        self.report.check_bytes(PLAIN, &heard, &answer);
        self.check_doors(&[PHONE_SIP])
    }

    /// 5. The phone takes its registration back, and the door shuts.
    fn unregister(&mut self, wire: &mut Wire) -> io::Result<()> {
        self.report.chapter("5. The phone unregisters");
        let contact = self.view(wire, Leg::Outside)?.sip;
        self.pass(wire, Leg::Inside, &[script::UNREGISTER], false)?;
        self.pass(wire, Leg::Outside, &[script::UNREGISTERED], false)?;
        self.check_doors(&[])?;
        self.refused(contact);
        Ok(())
    }

    // Connections.

    fn dial_out(&mut self, listener: &TcpListener, port: u16) -> io::Result<Wire> {
        let target = at(OUTSIDE, port);
        let phone = Endpoint::connect(&self.network.phone, target)?;
        let outside = Endpoint::accept(&self.network.outside, listener)?;
        self.report.check_equal(SOURCES, &phone.peer()?, &target);
        let global = self.global_of(phone.local()?)?;
        self.report
            .check_equal(SOURCES, global.ip(), &GATEWAY_OUTSIDE);
        self.report.check_equal(SOURCES, &outside.peer()?, &global);
        Ok(Wire { phone, outside })
    }

    fn dial_in(&mut self, listener: &TcpListener) -> io::Result<Wire> {
        let contact = self.reachable(PHONE_SIP)?;
        let outside = Endpoint::connect(&self.network.outside, contact)?;
        let phone = Endpoint::accept(&self.network.phone, listener)?;
        self.report
            .check_equal(SOURCES, &phone.peer()?, &outside.local()?);
        self.report.check_equal(SOURCES, &outside.peer()?, &contact);
        Ok(Wire { phone, outside })
    }

    fn refused(&mut self, address: SocketAddrV4) {
        use io::ErrorKind::{ConnectionRefused, TimedOut};
        // Who knocks while a registrar thinks is not answered.
        let knock = Endpoint::connect_within(&self.network.outside, address, KNOCK);
        let failure = match knock {
            Err(error) if matches!(error.kind(), ConnectionRefused | TimedOut) => None,
            Err(error) => Some(error.to_string()),
            Ok(_) => Some(format!("a connection to {address} was taken")),
        };
        self.report.check(DOOR_SHUT, failure);
    }

    // Messages.

    /// Sends messages from one side in one segment, and judges what arrives at the other.
    fn pass(
        &mut self,
        wire: &mut Wire,
        from: Leg,
        scripts: &[Script],
        full: bool,
    ) -> io::Result<()> {
        let sent = self.written(wire, from, scripts)?;
        wire.end(from).send(&sent.concat())?;
        self.judge(wire, from, scripts, &sent, full)
    }

    /// Sends a message of the phone's in many segments, and judges what arrives.
    fn pass_cut(&mut self, wire: &mut Wire, script: Script) -> io::Result<()> {
        let sent = self.written(wire, Leg::Inside, &[script])?;
        let cuts = cuts(&sent[0]);
        self.report.text(&format!(
            "INVITE in {} segments, cut after bytes {cuts:?}, each acknowledged before the next:",
            cuts.len() + 1
        ));
        wire.phone.send_cut(&self.network.phone, &sent[0], &cuts)?;
        self.judge(wire, Leg::Inside, &[script], &sent, true)
    }

    fn written(&self, wire: &Wire, from: Leg, scripts: &[Script]) -> io::Result<Vec<Vec<u8>>> {
        let view = self.view(wire, from)?;
        Ok(scripts.iter().map(|script| render(script, &view)).collect())
    }

    fn judge(
        &mut self,
        wire: &mut Wire,
        from: Leg,
        scripts: &[Script],
        sent: &[Vec<u8>],
        full: bool,
    ) -> io::Result<()> {
        let (way, law) = match from {
            Leg::Inside => ("phone -> outside", OUTWARD),
            Leg::Outside => ("outside -> phone", INWARD),
        };
        for (script, sent) in scripts.iter().zip(sent) {
            let heard = wire.end(from.other()).receive()?;
            // Only now: the message itself may have made the mappings that it names.
            let expected = render(script, &self.view(wire, from.other())?);
            self.report.passed(way, sent, &heard, full);
            self.report.check_bytes(law, &heard, &expected);
            if from == Leg::Inside {
                self.report.check(LEAK, leak(&heard));
            }
        }
        let left = wire.end(from.other()).pending();
        self.report.check_equal(LENGTH, &left, &0);
        Ok(())
    }

    /// The phone's addresses as a side knows them; for the outside, as the gateway shows them.
    fn view(&self, wire: &Wire, side: Leg) -> io::Result<View> {
        let inside = View {
            sip: PHONE_SIP,
            flow: wire.phone.local()?,
            media: Address {
                rtp: at(PHONE, PHONE_RTP),
                rtcp: at(PHONE, PHONE_RTP + 1),
            },
        };
        if side == Leg::Inside {
            return Ok(inside);
        }
        Ok(View {
            sip: self.global_of(inside.sip)?,
            flow: wire.outside.peer()?,
            media: self.media_global()?,
        })
    }

    // Media.

    fn open_ears(&self) -> io::Result<Ears> {
        Ok(Ears {
            phone: Ear::open(&self.network.phone, PHONE, PHONE_RTP)?,
            outside: Ear::open(&self.network.outside, OUTSIDE, OUTSIDE_RTP)?,
        })
    }

    fn media_global(&self) -> io::Result<Address> {
        Ok(Address {
            rtp: self.global_of(at(PHONE, PHONE_RTP))?,
            rtcp: self.global_of(at(PHONE, PHONE_RTP + 1))?,
        })
    }

    /// Both sides speak to where the other's session description told them to.
    fn talk(&mut self, ears: &Ears) -> io::Result<()> {
        let phone_at = Address {
            rtp: self.reachable(ears.phone.rtp()?)?,
            rtcp: self.reachable(ears.phone.rtcp()?)?,
        };
        let outside_at = Address {
            rtp: ears.outside.rtp()?,
            rtcp: ears.outside.rtcp()?,
        };
        let heard = media::talk(
            (&ears.phone, phone_at),
            (&ears.outside, outside_at),
            PACKETS,
        )?;
        self.report.text(&format!(
            "{} RTP packets and an RTCP report heard by each, crossing; \
             the outside hears them from {}",
            heard.packets, phone_at.rtp
        ));
        let from_outside = vec![outside_at.rtp, outside_at.rtcp];
        self.report
            .check_equal(MEDIA, &heard.seen_by_phone, &from_outside);
        let from_phone = vec![phone_at.rtp, phone_at.rtcp];
        self.report
            .check_equal(MEDIA, &heard.seen_by_outside, &from_phone);
        self.report.check_equal(MEDIA, &heard.packets, &PACKETS);
        Ok(())
    }

    /// Media from an address that nobody announced: a door is endpoint-independent.
    fn stranger(&mut self, ears: &Ears) -> io::Result<()> {
        let stranger = Ear::open(&self.network.outside, OUTSIDE, OUTSIDE_RTP + 1000)?;
        stranger.speak(0, self.media_global()?.rtp)?;
        let source = ears.phone.hear(0, &stranger)?;
        self.report.check_equal(ANYONE, &source, &stranger.rtp()?);
        Ok(())
    }

    /// The call is over: what still comes to its door must not reach the phone. An ordinary
    /// datagram that is sent afterwards and arrives proves that the other had its time.
    fn silence(&mut self, ears: &Ears, closed: SocketAddrV4) -> io::Result<()> {
        let phone = media::udp(&self.network.phone, PHONE, 9000)?;
        let outside = media::udp(&self.network.outside, OUTSIDE, 9000)?;
        phone.send_to(b"there", outside.local_addr()?)?;
        let source = media::receive(&outside, b"there")?;
        self.report
            .check_equal(ORDINARY, source.ip(), &GATEWAY_OUTSIDE);
        ears.outside.speak(PACKETS, closed)?;
        outside.send_to(b"back", source)?;
        let back = media::receive(&phone, b"back")?;
        self.report.check_equal(ORDINARY, back.ip(), &OUTSIDE);
        let arrived = ears.phone.anything_left()?;
        self.report.check(
            CLOSED,
            arrived.then(|| format!("a packet to {closed} arrived")),
        );
        Ok(())
    }

    // The gateway's own account.

    fn ask(&self, command: &str) -> io::Result<String> {
        Console::connect(self.gateway)?.command(command)
    }

    fn show(&mut self, command: &str) -> io::Result<String> {
        let answer = self.ask(command)?;
        self.report.text(&format!("gw# {command}\n{answer}"));
        Ok(answer)
    }

    fn global_of(&self, local: SocketAddrV4) -> io::Result<SocketAddrV4> {
        let mappings = mappings(&self.ask("show ip nat translations")?);
        Ok(mappings.get(&local).copied().unwrap_or(UNMAPPED))
    }

    /// Where the outside reaches an inside address.
    fn reachable(&self, local: SocketAddrV4) -> io::Result<SocketAddrV4> {
        match self.global_of(local)? {
            UNMAPPED => Err(io::Error::other(format!(
                "the gateway has no mapping of {local}"
            ))),
            global => Ok(global),
        }
    }

    /// Checks that exactly the doors to these inside addresses are open.
    fn check_doors(&mut self, expected: &[SocketAddrV4]) -> io::Result<()> {
        let open = mappings(&self.ask("show ip nat sip doors")?);
        let open: Vec<SocketAddrV4> = open.into_keys().collect();
        self.report.check_equal(DOORS, &open, &expected.to_vec());
        Ok(())
    }

    /// The debug lines of the message that opened the media doors, or all.
    fn debug_lines(&mut self, lines: &str) {
        let mut blocks = lines.split_inclusive("Complete buffer written to proxy\n");
        let block = blocks.find(|block| block.contains("Translated global m="));
        let shown = match block {
            Some(block) if !self.report.verbose() => block,
            _ => lines,
        };
        self.report.text(&format!("gw# debug ip nat sip\n{shown}"));
        let more = lines.lines().count() - shown.lines().count();
        if more > 0 {
            self.report.text(&format!(
                "... these are the lines of the 200 OK; --verbose prints {more} more"
            ));
        }
    }
}

impl Wire {
    fn end(&mut self, side: Leg) -> &mut Endpoint {
        match side {
            Leg::Inside => &mut self.phone,
            Leg::Outside => &mut self.outside,
        }
    }
}

/// The first line with an inside address, if there is one.
fn leak(heard: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(heard);
    let line = text.lines().find(|line| line.contains(INSIDE_PREFIX))?;
    Some(format!("it saw {line:?}"))
}

const fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}
