//! Those that the gateway is compared with, and the gateway.

use crate::load::{self, server::Clean};
use crate::net::{GATEWAY, GATEWAY_INSIDE, INSIDE, Net, OUTSIDE};
use crate::process::{Process, command};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One that stands between inside and outside.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Plain NAT of the kernel, which leaves SIP as it is: the floor of everything
    Nat,
    /// The kernel's SIP helper
    Helper,
    /// HAProxy in TCP mode with TPROXY, without any SIP work: the floor of any terminating proxy
    Haproxy,
    /// Kamailio, stateless, which rewrites session descriptions
    Kamailio,
    /// The same with rtpengine for the media
    Rtpengine,
    /// The gateway
    Sipalg,
}

/// What a peer makes of the messages, so far as it says.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Where no inside address is left.
    pub clean: Clean,
    /// Whether the answers' addresses are turned back.
    pub back: bool,
    /// Whether media ports lead inside once somebody hears of them.
    pub doors: bool,
    /// Whether they lead nowhere any more after the call.
    pub closes: bool,
}

/// A peer that runs.
#[derive(Debug)]
pub struct Running {
    processes: Vec<Process>,
    /// Where the inside connects to.
    pub to: SocketAddrV4,
    /// Where the outside sends media to, if not where it is told.
    pub media: Option<Ipv4Addr>,
    folder: PathBuf,
}

impl Running {
    /// Its processes.
    pub fn pids(&self) -> Vec<i32> {
        self.processes.iter().map(Process::pid).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.processes.clear();
        // Best effort: it is in the temporary folder.
        _ = fs::remove_dir_all(&self.folder);
    }
}

/// How long a peer may take until it serves.
const PATIENCE: Duration = Duration::from_secs(20);
/// The port of SIP.
pub const SIP: u16 = 5060;

impl Peer {
    /// Its name in figures.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Nat => "nat",
            Peer::Helper => "helper",
            Peer::Haproxy => "haproxy",
            Peer::Kamailio => "kamailio",
            Peer::Rtpengine => "rtpengine",
            Peer::Sipalg => "sipalg",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Peer::Nat => "plain NAT",
            Peer::Helper => "kernel SIP helper",
            Peer::Haproxy => "HAProxy tcp",
            Peer::Kamailio => "Kamailio",
            Peer::Rtpengine => "Kamailio + rtpengine",
            Peer::Sipalg => "sipalg",
        }
    }

    /// What it promises.
    pub fn promise(self) -> Promise {
        let (clean, back, doors, closes) = match self {
            Peer::Nat | Peer::Haproxy => (Clean::None, false, false, false),
            Peer::Kamailio => (Clean::Body, false, false, false),
            Peer::Rtpengine => (Clean::Body, false, true, true),
            // What has been heard once stays open in the kernel's table of connections.
            Peer::Helper => (Clean::All, true, true, false),
            Peer::Sipalg => (Clean::All, true, true, true),
        };
        Promise {
            clean,
            back,
            doors,
            closes,
        }
    }

    /// The programs that it needs.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Peer::Nat | Peer::Helper | Peer::Sipalg => &[],
            Peer::Haproxy => &["haproxy"],
            Peer::Kamailio => &["kamailio"],
            Peer::Rtpengine => &["kamailio", "rtpengine"],
        }
    }

    /// Whether it can be had here; why not otherwise.
    ///
    /// # Errors
    /// A sentence.
    pub fn available(self) -> Result<(), String> {
        for program in self.programs() {
            let found = std::process::Command::new("sh")
                .args(["-c", &format!("command -v {program}")])
                .output()
                .is_ok_and(|output| output.status.success());
            if !found {
                return Err(format!("there is no program {program}"));
            }
        }
        if self == Peer::Helper {
            let net = Net::new().map_err(|error| error.to_string())?;
            let loaded = net.gateway.nft(&helper_rules());
            return loaded.map_err(|error| format!("the kernel has no SIP helper ({error})"));
        }
        Ok(())
    }

    /// Starts it on the gateway, and waits until it serves.
    ///
    /// # Errors
    /// What is missing, or what it said.
    pub fn start(self, net: &Net, sipalg: &Path) -> io::Result<Running> {
        let folder = folder()?;
        let mut running = Running {
            processes: Vec::new(),
            to: SocketAddrV4::new(OUTSIDE, SIP),
            media: None,
            folder,
        };
        match self {
            Peer::Nat => {
                net.gateway.nft(&nat_rules())?;
                running.media = Some(GATEWAY);
            }
            Peer::Helper => {
                net.gateway.nft(&nat_rules())?;
                net.gateway.nft(&helper_rules())?;
            }
            Peer::Haproxy => running.haproxy(net)?,
            Peer::Kamailio => running.kamailio(net, false)?,
            Peer::Rtpengine => {
                running.rtpengine(net)?;
                running.kamailio(net, true)?;
            }
            Peer::Sipalg => running.sipalg(net, sipalg)?,
        }
        Ok(running)
    }
}

/// Translation of the inside, and of media ports to the inside, as the kernel does it at its
/// best: one rule each.
fn nat_rules() -> String {
    format!(
        "table ip bench {{
            chain out {{
                type nat hook postrouting priority srcnat
                iifname \"gin\" oifname \"gout\" snat to {GATEWAY}
            }}
            chain in {{
                type nat hook prerouting priority dstnat
                iifname \"gout\" udp dport 10000-65535 dnat to {INSIDE}
            }}
        }}"
    )
}

fn helper_rules() -> String {
    format!(
        "table ip helper {{
            ct helper sip {{ type \"sip\" protocol tcp; l3proto ip; }}
            chain taken {{
                type filter hook prerouting priority filter
                iifname \"gin\" tcp dport {SIP} ct helper set \"sip\"
            }}
        }}"
    )
}

impl Running {
    /// Waits until a program of the gateway listens there.
    fn serves(&mut self, net: &Net, mut process: Process, at: SocketAddrV4) -> io::Result<()> {
        until(&mut process, || {
            net.gateway.run(move || TcpStream::connect(at)).is_ok()
        })?;
        self.processes.push(process);
        Ok(())
    }

    fn haproxy(&mut self, net: &Net) -> io::Result<()> {
        let configuration = self.folder.join("haproxy.cfg");
        // It refuses to start with more than it may have files for.
        let most = (load::allow_files() / 2).saturating_sub(100).to_string();
        let text = include_str!("peers/haproxy.cfg").replace("MAXCONN", &most);
        fs::write(&configuration, text)?;
        let mut haproxy = command("haproxy");
        haproxy.args(["-db", "-f"]).arg(&configuration);
        let haproxy = net.gateway.start("haproxy", haproxy)?;
        self.serves(net, haproxy, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5062))?;
        net.gateway.nft(&nat_rules())?;
        net.gateway.nft(
            "table ip divert {
                chain divert {
                    type filter hook prerouting priority mangle
                    iifname \"gin\" tcp dport 5060 tproxy to 127.0.0.1:5061 meta mark set 1 accept
                }
            }",
        )?;
        net.gateway.shell(
            "ip rule add fwmark 1 lookup 100
             ip route add local default dev lo table 100",
        )
    }

    fn kamailio(&mut self, net: &Net, media: bool) -> io::Result<()> {
        let configuration = self.folder.join("kamailio.cfg");
        fs::write(&configuration, include_str!("peers/kamailio.cfg"))?;
        let mut kamailio = command("kamailio");
        kamailio
            .args(["-DD", "-E", "-m", "512", "-Y"])
            .arg(&self.folder);
        kamailio.arg("-f").arg(&configuration);
        if media {
            kamailio.args(["-A", "WITH_RTPENGINE"]);
        }
        let kamailio = net.gateway.start("kamailio", kamailio)?;
        self.to = SocketAddrV4::new(GATEWAY_INSIDE, SIP);
        self.serves(net, kamailio, self.to)
    }

    fn rtpengine(&mut self, net: &Net) -> io::Result<()> {
        let mut rtpengine = command("rtpengine");
        rtpengine.args([
            "--foreground",
            "--log-stderr",
            "--log-level=3",
            "--config-file=none",
        ]);
        rtpengine.args([
            "--table=-1",
            "--num-threads=1",
            "--listen-ng=127.0.0.1:2223",
        ]);
        rtpengine.args(["--port-min=20000", "--port-max=60000"]);
        rtpengine.arg(format!("--interface=inside/{GATEWAY_INSIDE}"));
        rtpengine.arg(format!("--interface=outside/{GATEWAY}"));
        let mut rtpengine = net.gateway.start("rtpengine", rtpengine)?;
        until(&mut rtpengine, || {
            let sockets = net
                .gateway
                .run(|| fs::read_to_string("/proc/thread-self/net/udp"));
            sockets.is_ok_and(|sockets| sockets.contains(":08AF "))
        })?;
        self.processes.push(rtpengine);
        Ok(())
    }

    fn sipalg(&mut self, net: &Net, program: &Path) -> io::Result<()> {
        let configuration = self.folder.join("startup-config");
        fs::write(&configuration, include_str!("peers/startup-config"))?;
        fs::create_dir(self.folder.join("state"))?;
        let mut sipalg = command(&program.to_string_lossy());
        sipalg.arg("run").arg("--config").arg(&configuration);
        sipalg.arg("--socket").arg(self.folder.join("console.sock"));
        sipalg.arg("--state-dir").arg(self.folder.join("state"));
        let mut process = net.gateway.start("sipalg", sipalg)?;
        process.wait(|line| line.trim() == "sipalg: ready", PATIENCE)?;
        self.processes.push(process);
        Ok(())
    }
}

/// Waits for what a program does once it serves.
fn until(process: &mut Process, ask: impl Fn() -> bool) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !ask() {
        if Instant::now() > deadline || process.ended() {
            return Err(process.trouble("it does not serve"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A folder of its own for the files of a peer.
fn folder() -> io::Result<PathBuf> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("sipalg-bench-{}-{number}", std::process::id()));
    fs::create_dir(&folder)?;
    Ok(folder)
}
