//! Network namespaces as hosts: what the laws are tried on.

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use nix::unistd::{Uid, getgid, getuid};
use sipalg::netlink::route::Route;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Takes a user namespace of our own unless we are root already. Must run while the process has
/// one thread.
pub(crate) fn become_root() {
    if Uid::effective().is_root() {
        return;
    }
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER).expect("user namespaces are allowed, or run as root");
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).unwrap();
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).unwrap();
}

/// Moves the calling thread to a new, empty network namespace.
pub(crate) fn enter_new_net() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    Route::open().unwrap().set_up("lo").unwrap();
}

/// A host on a wire of its own to the network namespace that made it.
pub(crate) struct Host {
    net: File,
    /// Its address.
    pub(crate) address: Ipv4Addr,
}

impl Host {
    /// Wires a new host to the calling thread's namespace: interface `name` here with the address
    /// `here`, `eth0` there with `there`, both in a /24, and `here` as its way out.
    pub(crate) fn on_wire(name: &str, here: Ipv4Addr, there: Ipv4Addr) -> Self {
        let net = std::thread::spawn(|| {
            enter_new_net();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let net = net.join().unwrap();
        let mut route = Route::open().unwrap();
        route.veth(name, "eth0", net.as_fd()).unwrap();
        route.add_address(name, here, 24).unwrap();
        route.set_up(name).unwrap();
        let host = Host {
            net,
            address: there,
        };
        host.run(move || {
            let mut route = Route::open().unwrap();
            route.add_address("eth0", there, 24).unwrap();
            route.set_up("eth0").unwrap();
            route.add_default_route(here).unwrap();
        });
        host
    }

    /// The same host under another of its addresses.
    pub(crate) fn alias(&self, address: Ipv4Addr) -> Self {
        let net = self.net.try_clone().unwrap();
        Host { net, address }
    }

    /// Notes every IPv4 packet that comes to the host from now on.
    pub(crate) fn capture(&self) -> Capture {
        Capture(self.run(|| {
            let (family, kind) = (AddressFamily::Packet, SockType::Datagram);
            socket(family, kind, SockFlag::empty(), SockProtocol::EthIp).unwrap()
        }))
    }

    /// Runs `work` in the host. Sockets made there stay there wherever they are used later.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                setns(&self.net, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            work.join().unwrap()
        })
    }
}

/// Packets that came to a host.
pub(crate) struct Capture(OwnedFd);

impl Capture {
    /// The packets up to the one that ends with `marker`.
    pub(crate) fn until(&self, marker: &[u8]) -> Vec<Vec<u8>> {
        let mut packets: Vec<Vec<u8>> = Vec::new();
        while !packets
            .last()
            .is_some_and(|packet| packet.ends_with(marker))
        {
            let mut buffer = vec![0; 2048];
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap();
            buffer.truncate(length);
            packets.push(buffer);
        }
        packets
    }
}

/// The source address of an IPv4 packet.
pub(crate) fn source(packet: &[u8]) -> Ipv4Addr {
    let octets: [u8; 4] = packet[12..16].try_into().unwrap();
    octets.into()
}
