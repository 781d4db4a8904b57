//! The lab's network: three hosts in namespaces of their own, made without root.
//!
//! A host is a thread that sits in its network namespace. A socket keeps the namespace of the
//! thread that made it, so only making one must happen on that thread; and `/proc/TID/ns/net`
//! of the thread is the door by which `nsenter` enters the host.

use crate::netlink::{self, route::Route};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, getegid, geteuid, gettid};
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::mpsc;

/// The phone's address.
pub const PHONE: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 3);
/// The gateway's address toward the phone, on interface `gin`.
pub const GATEWAY_INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 1);
/// The gateway's address toward the outside, on interface `gout`: the inside global address.
pub const GATEWAY_OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);
/// The outside host's address.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 2);
/// How every address of the inside network begins.
pub const INSIDE_PREFIX: &str = "192.168.122.";

/// The interface of the phone and of the outside.
const INTERFACE: &str = "eth0";

/// The network, as it looks.
pub const TOPOLOGY: &str = concat!(
    "      phone                         gateway                            outside\n",
    "    +---------------+     +---------------------------+     +-----------------+\n",
    "    | alice         |     | gin     sipalg       gout |     | bob, registrar  |\n",
    "    | 192.168.122.3 |-----| 192.168.122.1    10.1.1.1 |-----| 10.1.1.2        |\n",
    "    +---------------+     +---------------------------+     +-----------------+\n",
);

/// The three hosts. They end with the process.
#[derive(Debug)]
pub struct Network {
    /// The inside host.
    pub phone: Host,
    /// The host between, that the gateway runs on.
    pub gateway: Host,
    /// The outside host.
    pub outside: Host,
    /// Whether the hosts live in a user namespace, in which the caller is root.
    pub unprivileged: bool,
}

impl Network {
    /// Makes the network. The process must have one thread only, because a user namespace can only
    /// be entered by such a process.
    ///
    /// # Errors
    /// A sentence that says what the kernel refused, and how to allow it.
    pub fn new() -> Result<Self, String> {
        Self::build().map_err(|error| {
            if error.refused() {
                advice(&error, |name| {
                    fs::read_to_string(format!("/proc/sys/{name}")).ok()
                })
            } else {
                format!("sipalg lab: cannot make the lab's network: {error}")
            }
        })
    }

    fn build() -> Result<Self, NetError> {
        let unprivileged = enter_namespaces()?;
        let network = Network {
            phone: Host::new("phone")?,
            gateway: Host::new("gateway")?,
            outside: Host::new("outside")?,
            unprivileged,
        };
        network.wire().map_err(NetError::on("wiring the hosts"))?;
        Ok(network)
    }

    /// Links the hosts, and routes through the gateway.
    fn wire(&self) -> io::Result<()> {
        let namespaces = (
            self.phone.namespace.try_clone()?,
            self.outside.namespace.try_clone()?,
        );
        let gateway = routing(move |route| {
            route.set_up("lo")?;
            route.veth("gin", INTERFACE, namespaces.0.as_fd())?;
            route.veth("gout", INTERFACE, namespaces.1.as_fd())?;
            route.add_address("gin", GATEWAY_INSIDE, 24)?;
            route.add_address("gout", GATEWAY_OUTSIDE, 24)?;
            route.set_up("gin")?;
            route.set_up("gout")
        });
        let phone = routing(|route| {
            route.set_up("lo")?;
            route.add_address(INTERFACE, PHONE, 24)?;
            route.set_up(INTERFACE)?;
            route.add_default_route(GATEWAY_INSIDE)
        });
        // The outside has no route to the inside network: what is not translated gets no answer.
        let outside = routing(|route| {
            route.set_up("lo")?;
            route.add_address(INTERFACE, OUTSIDE, 24)?;
            route.set_up(INTERFACE)
        });
        self.gateway.run(gateway)?;
        self.phone.run(phone)?;
        self.outside.run(outside)
    }

    /// The hosts, from inside to outside.
    pub fn hosts(&self) -> [&Host; 3] {
        [&self.phone, &self.gateway, &self.outside]
    }
}

/// Work for a host that speaks rtnetlink.
fn routing(
    work: impl FnOnce(&mut Route) -> Result<(), netlink::Error> + Send + 'static,
) -> impl FnOnce() -> io::Result<()> + Send + 'static {
    move || {
        let mut route = Route::open().map_err(|error| io::Error::from(error.errno))?;
        work(&mut route).map_err(|error| io::Error::from(error.errno))
    }
}

/// Leaves the namespaces that the caller was in; true if that took a user namespace.
fn enter_namespaces() -> Result<bool, NetError> {
    // Real root needs no user namespace. The root of a container may lack the right: it tries as
    // anyone else does.
    if geteuid().is_root() && unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(false);
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|errno| NetError::new("unshare user and network namespaces", errno.into()))?;
    // Without this a group map is refused (user_namespaces(7)).
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {user} 1"))?;
    write("/proc/self/gid_map", &format!("0 {group} 1"))?;
    Ok(true)
}

fn write(path: &'static str, text: &str) -> Result<(), NetError> {
    fs::write(path, text).map_err(|error| NetError::new(path, error))
}

/// What was being done, and how the kernel answered.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {error}")]
struct NetError {
    doing: String,
    error: io::Error,
}

impl NetError {
    fn new(doing: &str, error: io::Error) -> Self {
        NetError {
            doing: doing.to_owned(),
            error,
        }
    }

    fn on(doing: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| NetError::new(doing, error)
    }

    /// Whether it is the way in which a kernel forbids namespaces.
    fn refused(&self) -> bool {
        let code = self.error.raw_os_error().map(Errno::from_raw);
        matches!(
            code,
            Some(Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS | Errno::EINVAL)
        ) || self.error.kind() == io::ErrorKind::PermissionDenied
    }
}

/// Says how to allow what was refused, from what the kernel's settings are.
fn advice(error: &NetError, setting: impl Fn(&str) -> Option<String>) -> String {
    let is = |name: &str, value: &str| setting(name).is_some_and(|text| text.trim() == value);
    let mut how = Vec::new();
    if is("user/max_user_namespaces", "0") {
        how.push("sudo sysctl -w user.max_user_namespaces=15000");
    }
    if is("user/max_net_namespaces", "0") {
        how.push("sudo sysctl -w user.max_net_namespaces=15000");
    }
    if is("kernel/unprivileged_userns_clone", "0") {
        how.push("sudo sysctl -w kernel.unprivileged_userns_clone=1");
    }
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        how.push("sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
    }
    let mut text = format!(
        "sipalg lab: this system does not let you make namespaces of your own ({error}).\n"
    );
    if how.is_empty() {
        text.push_str(
            "No sysctl says why. In a container its seccomp profile may forbid it: start the \
             container with --privileged, or run the lab outside of it.\n",
        );
    } else {
        text.push_str("To allow it:\n");
        how.iter()
            .for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    text.push_str(
        "Or run it as root, where it still stays in network namespaces of its own:\n    \
         sudo sipalg lab",
    );
    text
}

type Job = Box<dyn FnOnce() + Send>;

/// A host: a thread in a network namespace of its own.
#[derive(Debug)]
pub struct Host {
    /// Its name.
    pub name: &'static str,
    /// The thread that sits in it, for `/proc/TID/ns/net` and `nsenter -t TID`.
    pub tid: Pid,
    namespace: File,
    jobs: mpsc::Sender<Job>,
}

impl Host {
    fn new(name: &'static str) -> Result<Self, NetError> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        let sit = move || {
            let entered = || -> io::Result<(Pid, File)> {
                unshare(CloneFlags::CLONE_NEWNET)?;
                Ok((gettid(), File::open("/proc/thread-self/ns/net")?))
            };
            _ = tell.send(entered());
            // Ends when the host is dropped.
            inbox.iter().for_each(|job| job());
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread
            .spawn(sit)
            .map_err(NetError::on("starting a thread"))?;
        let (tid, namespace) = told
            .recv()
            .map_err(|_| lost(name))
            .flatten()
            .map_err(NetError::on("making a network namespace"))?;
        Ok(Host {
            name,
            tid,
            namespace,
            jobs,
        })
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
        self.jobs.send(job).map_err(|_| lost(self.name))?;
        told.recv().map_err(|_| lost(self.name)).flatten()
    }
}

fn lost(name: &str) -> io::Error {
    io::Error::other(format!("the thread of host {name} ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> NetError {
        NetError::new("unshare", Errno::ENOSPC.into())
    }

    #[test]
    fn a_forbidden_namespace_names_the_setting_that_forbids_it() {
        let text = advice(&refused(), |name| {
            (name == "user/max_user_namespaces").then(|| "0\n".to_owned())
        });
        assert!(
            text.contains("sudo sysctl -w user.max_user_namespaces=15000"),
            "{text}"
        );
        assert!(!text.contains("apparmor"), "{text}");
        let text = advice(&refused(), |name| {
            name.starts_with("kernel/apparmor")
                .then(|| "1\n".to_owned())
        });
        assert!(
            text.contains("kernel.apparmor_restrict_unprivileged_userns=0"),
            "{text}"
        );
    }

    #[test]
    fn a_namespace_forbidden_without_a_setting_points_at_the_container_and_at_root() {
        let text = advice(&refused(), |_| None);
        assert!(text.contains("seccomp"), "{text}");
        assert!(text.ends_with("sudo sipalg lab"), "{text}");
    }
}
