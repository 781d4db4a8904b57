//! What other programs of this host wait at, and which programs those are.

use crate::keeper::supervise::main_process;
use crate::netlink::Error;
use crate::netlink::diag::{Diag, Waiting};
use sipalg_core::Protocol;
use sipalg_ios::show::Service;
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddrV4};
use std::process;

/// The programs besides this one that wait at these ports, as seen in the network namespace of the
/// calling thread. Whose sockets they are is not known of other users' without privileges.
///
/// # Errors
/// The kernel's.
pub fn others(ports: &[(Protocol, u16)]) -> Result<Vec<Service>, Error> {
    let mut diag = Diag::open()?;
    let mut found = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let sockets = diag.waiting(protocol)?;
        let wanted = |socket: &Waiting| ports.contains(&(protocol, socket.at.port()));
        found.extend(
            sockets
                .into_iter()
                .filter(wanted)
                .map(|socket| (protocol, socket)),
        );
    }
    Ok(owned(&found))
}

/// The programs besides this one that hold this address, or all addresses at its port.
///
/// # Errors
/// The kernel's.
pub fn holders(address: SocketAddrV4) -> Result<Vec<Service>, Error> {
    let mut diag = Diag::open()?;
    let mut found = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let sockets = diag.waiting(protocol)?.into_iter();
        let holds = |socket: &Waiting| {
            let at = socket.at.ip();
            socket.at.port() == address.port()
                && (at.is_unspecified() || at == IpAddr::V4(*address.ip()))
        };
        found.extend(sockets.filter(holds).map(|socket| (protocol, socket)));
    }
    Ok(owned(&found))
}

fn owned(sockets: &[(Protocol, Waiting)]) -> Vec<Service> {
    if sockets.is_empty() {
        return Vec::new();
    }
    let owners = owners();
    let own = [process::id(), main_process()];
    let mut services: Vec<_> = sockets
        .iter()
        .map(|(protocol, socket)| (protocol, socket, owners.get(&socket.inode)))
        .filter(|(_, _, owner)| owner.is_none_or(|(process, _)| !own.contains(process)))
        .map(|(protocol, socket, owner)| Service {
            protocol: *protocol,
            port: socket.at.port(),
            owner: owner.map(|(process, name)| format!("{name} (process {process})")),
        })
        .collect();
    services.sort_unstable();
    services.dedup();
    services
}

/// Process and name by the inode of each socket that it has open.
fn owners() -> HashMap<u32, (u32, String)> {
    let mut owners = HashMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let name = process.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let open = fs::read_dir(process.path().join("fd")).into_iter();
        let sockets = open.flatten().flatten().filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?;
            let inode = link.to_str()?.strip_prefix("socket:[")?;
            inode.strip_suffix(']')?.parse().ok()
        });
        for inode in sockets {
            // The first has opened it; its children have lower right to be named.
            let name = || fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            owners
                .entry(inode)
                .or_insert_with(|| (number, name().trim().to_owned()));
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};

    #[test]
    fn what_this_program_itself_waits_at_is_nobody_elses() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(others(&[(Protocol::Tcp, port)]), Ok(vec![]));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let here = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        assert_eq!(holders(here), Ok(vec![]));
        assert!(
            owners()
                .values()
                .any(|(process, _)| *process == process::id())
        );
    }
}
