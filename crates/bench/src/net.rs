//! The network: an inside host, the gateway, an outside host, as network namespaces.
//!
//! A host is a thread that sits in its namespace; what it starts is there, too. The namespaces
//! end with the thread and its programs: nothing stays, however the bench ends.

use crate::process::Process;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::mpsc;

/// The inside host.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 3);
/// The gateway toward the inside, on interface `gin`.
pub const GATEWAY_INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 1);
/// The gateway toward the outside, on interface `gout`: what the inside is translated to.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);
/// The first of the outside host's addresses.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 2);
/// How many addresses the outside host has.
pub const OUTSIDE_COUNT: u8 = 8;
/// How inside addresses begin.
pub const INSIDE_PREFIX: &str = "192.168.122.";

/// The three hosts.
#[derive(Debug)]
pub struct Net {
    /// The inside host.
    pub inside: Host,
    /// The gateway between.
    pub gateway: Host,
    /// The outside host.
    pub outside: Host,
}

impl Net {
    /// Makes the network.
    ///
    /// # Errors
    /// The caller is not root, or `ip` is missing.
    pub fn new() -> io::Result<Self> {
        let net = Net {
            inside: Host::new()?,
            gateway: Host::new()?,
            outside: Host::new()?,
        };
        let (inside, outside) = (net.inside.tid, net.outside.tid);
        net.gateway.shell(&format!(
            "ip link add gin type veth peer name eth0 netns {inside}
             ip link add gout type veth peer name eth0 netns {outside}
             ip address add {GATEWAY_INSIDE}/24 dev gin
             ip address add {GATEWAY}/24 dev gout
             ip link set lo up; ip link set gin up; ip link set gout up
             sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 \\
                 net.ipv4.conf.gin.rp_filter=0 net.ipv4.conf.gout.rp_filter=0"
        ))?;
        net.inside.shell(&format!(
            "ip address add {INSIDE}/24 dev eth0
             ip link set lo up; ip link set eth0 up
             ip route add default via {GATEWAY_INSIDE}"
        ))?;
        // No route to the inside: what is not translated gets no answer.
        net.outside.shell(&format!(
            "for n in $(seq 0 {}); do ip address add 10.1.1.$((2 + n))/24 dev eth0; done
             ip link set lo up; ip link set eth0 up",
            OUTSIDE_COUNT - 1
        ))?;
        for host in [&net.inside, &net.gateway, &net.outside] {
            // Ports with five digits, and as many connections as a load makes.
            host.shell(
                "sysctl -qw net.ipv4.ip_local_port_range='10000 65535' net.ipv4.tcp_tw_reuse=1 \\
                     net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=8192",
            )?;
        }
        Ok(net)
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A host.
#[derive(Debug)]
pub struct Host {
    tid: i32,
    jobs: mpsc::Sender<Job>,
}

impl Host {
    fn new() -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        std::thread::Builder::new()
            .name("host".to_owned())
            .spawn(move || {
                let entered = unshare(CloneFlags::CLONE_NEWNET).map(|()| gettid().as_raw());
                _ = tell.send(entered);
                // Ends when the host is dropped.
                inbox.iter().for_each(|job| job());
            })?;
        let tid = told.recv().map_err(|_| lost())?.map_err(|errno| {
            io::Error::other(format!(
                "cannot make a network namespace ({errno}): run it as root"
            ))
        })?;
        Ok(Host { tid, jobs })
    }

    /// Does `work` in this host and waits for it. Sockets and processes made there stay there.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (tell, told) = mpsc::channel();
        let job = Box::new(move || _ = tell.send(work()));
        self.jobs.send(job).map_err(|_| lost())?;
        told.recv().map_err(|_| lost())?
    }

    /// Starts a program in this host; it ends with the host at the latest.
    ///
    /// # Errors
    /// There is no such program.
    pub fn start(&self, name: &str, command: Command) -> io::Result<Process> {
        let name = name.to_owned();
        self.run(move || Process::start(&name, command))
    }

    /// Runs the lines of a script in this host, up to the first that fails.
    ///
    /// # Errors
    /// What the script said when it failed.
    pub fn shell(&self, script: &str) -> io::Result<()> {
        self.feed("sh", &["-es"], script)
    }

    /// Loads rules into the kernel of this host.
    ///
    /// # Errors
    /// What `nft` says of them.
    pub fn nft(&self, rules: &str) -> io::Result<()> {
        self.feed("nft", &["-f", "-"], rules)
    }

    fn feed(
        &self,
        program: &'static str,
        arguments: &'static [&str],
        text: &str,
    ) -> io::Result<()> {
        let text = text.to_owned();
        self.run(move || {
            let mut command = Command::new(program);
            command
                .args(arguments)
                .stdin(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(text.as_bytes())?;
            }
            let output = child.wait_with_output()?;
            if output.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!("{program}: {}", said.trim())))
        })
    }
}

fn lost() -> io::Error {
    io::Error::other("the thread of a host ended")
}
