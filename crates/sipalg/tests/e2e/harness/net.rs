//! Hosts as network namespaces on two wires, the gateway between.
//!
//! ```text
//!   inside(3) 192.168.122.3 --+                                      +-- 10.1.1.2 outside(2)
//!   inside(4) 192.168.122.4 --+-- lan -- gin  gateway  gout -- wan --+-- 10.1.1.3 outside(3)
//!                                        .1            .1
//! ```
//!
//! Outside hosts have no route to the inside network, as in life. The wires are bridges in hosts
//! of their own; packets are lost there.

use super::{PREFIX, unique};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Command, Stdio};
use std::sync::Once;

/// The gateway's addresses.
pub const GIN: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 1);
/// The gateway's address outside, which the inside hosts share.
pub const GOUT: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);

/// The gateway's address on a second outside wire.
pub const GOUT2: Ipv4Addr = Ipv4Addr::new(10, 2, 2, 1);

/// The address of an inside host.
pub fn inside_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 122, number)
}

/// The address of an outside host.
pub fn outside_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 1, number)
}

/// A network with its gateway. All of it is gone when this and its hosts are dropped.
#[derive(Debug)]
pub struct Net {
    /// The host between the wires. It forwards nothing by itself.
    pub gateway: Host,
    /// The inside wire.
    pub lan: Host,
    /// The outside wire.
    pub wan: Host,
}

impl Net {
    /// Makes a gateway on two wires.
    pub fn new() -> Self {
        sweep();
        let net = Net {
            gateway: Host::new("gw"),
            lan: Host::new("lan"),
            wan: Host::new("wan"),
        };
        for wire in [&net.lan, &net.wan] {
            wire.ip("link add name wire type bridge\nlink set wire up");
            // Wires are wires: no firewall of the host they are in looks at what they carry.
            wire.sysctl("net.bridge.bridge-nf-call-iptables", "0");
        }
        net.gateway.plug("gin", &net.lan, GIN);
        net.gateway.plug("gout", &net.wan, GOUT);
        net
    }

    /// A new inside host, 192.168.122.`number`, which reaches all else by the gateway.
    pub fn inside(&self, number: u8) -> Host {
        let host = Host::new(&format!("in{number}"));
        host.plug("eth0", &self.lan, inside_address(number));
        host.ip(&format!("route add default via {GIN}"));
        host
    }

    /// A new outside host, 10.1.1.`number`.
    pub fn outside(&self, number: u8) -> Host {
        let host = Host::new(&format!("out{number}"));
        host.plug("eth0", &self.wan, outside_address(number));
        host
    }

    /// A second outside wire on the gateway's `gout2`, 10.2.2.1, with a host 10.2.2.2 on it: the wire
    /// and the host.
    pub fn second_outside(&self) -> [Host; 2] {
        let (wire, host) = (Host::new("wan2"), Host::new("far2"));
        wire.ip("link add name wire type bridge\nlink set wire up");
        self.gateway.plug("gout2", &wire, GOUT2);
        host.plug("eth0", &wire, Ipv4Addr::new(10, 2, 2, 2));
        [wire, host]
    }
}

/// A host of its own: a network namespace.
#[derive(Debug)]
pub struct Host {
    name: String,
    namespace: File,
}

impl Host {
    fn new(role: &str) -> Self {
        let name = format!("{}-{role}", unique());
        execute("ip", &["netns", "add", &name], "");
        let namespace = File::open(format!("/run/netns/{name}")).expect("the new namespace");
        let host = Host { name, namespace };
        host.ip("link set lo up");
        host.sysctl("net.ipv6.conf.all.disable_ipv6", "1");
        host.sysctl("net.ipv6.conf.default.disable_ipv6", "1");
        host
    }

    /// Does something as this host: sockets that are made by it are this host's, for good.
    pub fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("enter a namespace");
                act()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Starts a program on this host.
    pub fn spawn(&self, command: &mut Command) -> Child {
        let child = self.run(|| command.spawn());
        child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
    }

    /// Whether somebody on this host waits for an answer to a SYN.
    pub fn is_connecting(&self) -> bool {
        let table = self.run(|| std::fs::read_to_string("/proc/thread-self/net/tcp"));
        // 02 for SYN_SENT.
        table
            .expect("sockets")
            .lines()
            .any(|line| line.split_whitespace().nth(3) == Some("02"))
    }

    /// Waits until somebody on this host listens at a TCP port.
    pub fn wait_for_listener(&self, port: u16) {
        // Local address, remote address, and 0A for LISTEN.
        self.wait_for_socket("tcp", &format!(":{port:04X} 00000000:0000 0A "));
    }

    /// The same for one address.
    pub fn wait_for_listener_at(&self, at: SocketAddrV4) {
        let address = u32::from_ne_bytes(at.ip().octets());
        let port = at.port();
        self.wait_for_socket(
            "tcp",
            &format!(" {address:08X}:{port:04X} 00000000:0000 0A "),
        );
    }

    /// Waits until somebody on this host hears everybody at a UDP port.
    pub fn wait_for_udp(&self, port: u16) {
        self.wait_for_socket("udp", &format!(":{port:04X} 00000000:0000 07 "));
    }

    fn wait_for_socket(&self, protocol: &str, described: &str) {
        let path = format!("/proc/thread-self/net/{protocol}");
        super::until("a listener", || {
            let table = self.run(|| std::fs::read_to_string(&path));
            table.expect("sockets").contains(described).then_some(())
        });
    }

    /// Runs a program on this host to its end, with `input` if any, and gives what it printed.
    ///
    /// # Panics
    /// It failed.
    pub fn output(&self, program: &str, arguments: &[&str], input: &str) -> String {
        self.run(|| execute(program, arguments, input))
    }

    /// `ip`, several commands at once, one a line.
    pub fn ip(&self, commands: &str) -> String {
        self.output("ip", &["-batch", "-"], commands)
    }

    /// `nft -f -`.
    pub fn nft(&self, ruleset: &str) -> String {
        self.output("nft", &["-f", "-"], ruleset)
    }

    /// Sets a kernel setting of this host.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.run(|| std::fs::write(&path, value))
            .unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
    }

    /// Loses each 20th of the frames that this wire carries, 5 %, both ways together. In turn, so
    /// that a short test loses some, too.
    pub fn lose(&self) {
        self.nft(
            "table bridge loss {\n chain carry {\n type filter hook forward priority 0\n \
             numgen inc mod 20 0 counter drop\n }\n }",
        );
    }

    /// How many frames this wire has lost.
    pub fn lost(&self) -> u64 {
        let listing = self.output("nft", &["list", "table", "bridge", "loss"], "");
        let count = listing.split("counter packets ").nth(1);
        let count = count.and_then(|rest| rest.split(' ').next());
        count.and_then(|n| n.parse().ok()).expect("a counter")
    }

    /// Joins a new interface with an address to a wire.
    pub fn plug(&self, interface: &str, wire: &Host, address: Ipv4Addr) {
        // The other end's name is the host's, for who looks at the wire.
        let port = self.name.rsplit('-').next().expect("a role");
        self.ip(&format!(
            "link add name {interface} type veth peer name {port} netns {}\n\
             addr add {address}/24 dev {interface}\n\
             link set {interface} up",
            wire.name
        ));
        wire.ip(&format!("link set {port} master wire\nlink set {port} up"));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Best effort: the next run sweeps what is left.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// Takes away what an earlier run of these tests left when it was killed, once.
fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(listed) = std::fs::read_dir("/run/netns") else {
            return;
        };
        for name in listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
            if is_left_over(&name) {
                let pids = execute("ip", &["netns", "pids", &name], "");
                for pid in pids.lines() {
                    let _ = Command::new("kill").args(["-KILL", pid]).status();
                }
                execute("ip", &["netns", "del", &name], "");
            }
        }
    });
}

/// Whether the name of a namespace tells that a run of ours made it that no longer runs.
fn is_left_over(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).and_then(|r| r.strip_prefix('-'));
    let pid = rest.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
    pid.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
}

fn execute(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}; see ./test.sh"));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("its input");
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    assert!(
        output.status.success(),
        "{program} {arguments:?} < {input:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
