//! rtnetlink: links, addresses, routes and policy rules (rtnetlink(7)).

use super::{Error, Message, Socket, attribute, text_of, u32_of};
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A conversation about links, addresses, routes and rules of one network namespace.
#[derive(Debug)]
pub struct Route(Socket);

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is administratively up.
    pub up: bool,
}

/// A policy rule `priority P fwmark M/K [iif I] lookup T` (ip-rule(8)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyRule {
    /// Its place among the rules, lower first.
    pub priority: u32,
    /// The packet mark it wants, under `mask`.
    pub mark: u32,
    /// The bits of the packet mark that count.
    pub mask: u32,
    /// The interface that the packet came in by; without it, any.
    pub interface: Option<String>,
    /// The routing table it sends to.
    pub table: u32,
}

/// An IPv4 route, as far as we look at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteEntry {
    /// Its table.
    pub table: u32,
    /// Destination network and prefix length.
    pub destination: (Ipv4Addr, u8),
    /// `RTN_*`: unicast 1, local 2, broadcast 3 and so on.
    pub kind: u8,
    /// `RTPROT_*`: who has put it there.
    pub protocol: u8,
    /// The next hop.
    pub gateway: Option<Ipv4Addr>,
    /// Number of the interface that it leaves by.
    pub interface: Option<u32>,
}

impl Route {
    /// Opens a conversation in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> Result<Self, Error> {
        Socket::open(SockProtocol::NetlinkRoute).map(Route)
    }

    /// All interfaces.
    ///
    /// # Errors
    /// The kernel's.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        self.list(libc::RTM_GETLINK, &link_header(0, 0), |m| {
            Some(Link {
                index: u32_of(m.get(4..)?)?,
                up: u32_of(m.get(8..)?)? & libc::IFF_UP as u32 != 0,
                name: text_of(attribute(m.get(LINK_HEADER..)?, libc::IFLA_IFNAME)?),
            })
        })
    }

    /// The interface `name`, if there is one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        Ok(self.links()?.into_iter().find(|link| link.name == name))
    }

    /// The IPv4 addresses of the interface `name` with their prefix lengths, primary ones first;
    /// the first is the one that the kernel itself would use.
    ///
    /// # Errors
    /// `ENODEV` if there is no such interface.
    pub fn addresses(&mut self, name: &str) -> Result<Vec<(Ipv4Addr, u8)>, Error> {
        let index = self.index(name)?;
        let header = [libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0];
        let mut found = self.list(libc::RTM_GETADDR, &header, |m| {
            let told = m.get(8..)?;
            let local = attribute(told, libc::IFA_LOCAL).or(attribute(told, libc::IFA_ADDRESS));
            let secondary = u32::from(*m.get(2)?) & libc::IFA_F_SECONDARY != 0;
            (u32_of(m.get(4..)?)? == index)
                .then_some((secondary, (address_of(local?)?, *m.get(1)?)))
        })?;
        found.sort_by_key(|(secondary, _)| *secondary);
        Ok(found.into_iter().map(|(_, address)| address).collect())
    }

    /// All IPv4 addresses of this host.
    ///
    /// # Errors
    /// The kernel's.
    pub fn own_addresses(&mut self) -> Result<Vec<Ipv4Addr>, Error> {
        let header = [libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0];
        self.list(libc::RTM_GETADDR, &header, |m| {
            let told = m.get(8..)?;
            let local = attribute(told, libc::IFA_LOCAL).or(attribute(told, libc::IFA_ADDRESS));
            address_of(local?)
        })
    }

    /// Every IPv4 route of every table.
    ///
    /// # Errors
    /// The kernel's.
    pub fn routes(&mut self) -> Result<Vec<RouteEntry>, Error> {
        let header = [libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.list(libc::RTM_GETROUTE, &header, route_of)
    }

    /// The IPv4 routes of one table, or of it those that `protocol` has put there. A host with
    /// hundreds of thousands of routes in another table is asked without listing those.
    ///
    /// # Errors
    /// The kernel's.
    pub fn routes_in(
        &mut self,
        table: u32,
        protocol: Option<u8>,
    ) -> Result<Vec<RouteEntry>, Error> {
        let mut header = [0; ROUTE_HEADER];
        header[0] = libc::AF_INET as u8;
        header[5] = protocol.unwrap_or(libc::RTPROT_UNSPEC);
        let question =
            Message::new(libc::RTM_GETROUTE, 0, &header).put(libc::RTA_TABLE, &table.to_ne_bytes());
        let listed = self
            .0
            .strictly(|socket| socket.dump(&question, |m, found| found.extend(route_of(m))));
        let routes = match listed {
            // A table that nothing was ever put into is none.
            Err(error) if error.errno == Errno::ENOENT => Vec::new(),
            result => result?,
        };
        let ours = |route: &RouteEntry| {
            route.table == table && protocol.is_none_or(|protocol| route.protocol == protocol)
        };
        Ok(routes.into_iter().filter(ours).collect())
    }

    /// The IPv4 policy rules that look at the packet mark.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rules(&mut self) -> Result<Vec<PolicyRule>, Error> {
        let header = [libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.list(libc::RTM_GETRULE, &header, |m| {
            let told = m.get(ROUTE_HEADER..)?;
            let number = |kind| attribute(told, kind).and_then(u32_of);
            Some(PolicyRule {
                priority: number(FRA_PRIORITY).unwrap_or(0),
                mark: number(FRA_FWMARK)?,
                mask: number(FRA_FWMASK).unwrap_or(u32::MAX),
                interface: attribute(told, FRA_IIFNAME).map(text_of),
                table: number(FRA_TABLE).unwrap_or(u32::from(m[4])),
            })
        })
    }

    /// Adds a policy rule; one that is there already is left as it is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_rule(&mut self, rule: &PolicyRule) -> Result<(), Error> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        unless(
            Errno::EEXIST,
            self.0.request(rule.message(libc::RTM_NEWRULE, flags)),
        )
    }

    /// Deletes a policy rule; one that is not there is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_rule(&mut self, rule: &PolicyRule) -> Result<(), Error> {
        unless(
            Errno::ENOENT,
            self.0.request(rule.message(libc::RTM_DELRULE, 0)),
        )
    }

    /// Adds the route `local default dev lo table TABLE`: whatever is looked up there is for this
    /// host. One that is there already is left as it is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_local_default(&mut self, table: u32) -> Result<(), Error> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let message = self.local_default(libc::RTM_NEWROUTE, flags, table)?;
        self.0.request(message)
    }

    /// Deletes what [`Route::add_local_default`] added; a route that is not there is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_local_default(&mut self, table: u32) -> Result<(), Error> {
        let message = self.local_default(libc::RTM_DELROUTE, 0, table)?;
        unless(Errno::ESRCH, self.0.request(message))
    }

    /// Adds the route `local NETWORK dev lo table local` in the name of `protocol`: this host answers
    /// for the network's addresses (ARP included) without having them. One that is there already is
    /// left as it is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_local(&mut self, network: (Ipv4Addr, u8), protocol: u8) -> Result<(), Error> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let message = self.local(libc::RTM_NEWROUTE, flags, network, protocol)?;
        unless(Errno::EEXIST, self.0.request(message))
    }

    /// Deletes what [`Route::add_local`] added; a route that is not there is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_local(&mut self, network: (Ipv4Addr, u8), protocol: u8) -> Result<(), Error> {
        let message = self.local(libc::RTM_DELROUTE, 0, network, protocol)?;
        unless(Errno::ESRCH, self.0.request(message))
    }

    /// Makes a pair of linked Ethernet interfaces, `name` here and `peer` in the network namespace
    /// `namespace`, both down.
    ///
    /// # Errors
    /// `EEXIST` if a name is taken.
    pub fn veth(&mut self, name: &str, peer: &str, namespace: BorrowedFd) -> Result<(), Error> {
        let fd = namespace.as_raw_fd().to_ne_bytes();
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let message = Message::new(libc::RTM_NEWLINK, flags, &link_header(0, 0))
            .text(libc::IFLA_IFNAME, name)
            .nest(libc::IFLA_LINKINFO, |info| {
                info.text(libc::IFLA_INFO_KIND, "veth")
                    .nest(libc::IFLA_INFO_DATA, |data| {
                        // The peer must not be up yet: it would be without a partner (ENOTCONN).
                        data.nest(VETH_INFO_PEER, |p| {
                            p.raw(&link_header(0, 0))
                                .text(libc::IFLA_IFNAME, peer)
                                .put(libc::IFLA_NET_NS_FD, &fd)
                        })
                    })
            });
        self.0.request(message)
    }

    /// Raises the interface `name`.
    ///
    /// # Errors
    /// `ENODEV` if there is no such interface.
    pub fn set_up(&mut self, name: &str) -> Result<(), Error> {
        let header = link_header(self.index(name)?, libc::IFF_UP as u32);
        self.0.request(Message::new(libc::RTM_NEWLINK, 0, &header))
    }

    /// Gives the interface `name` an address in a network of `prefix` bits.
    ///
    /// # Errors
    /// `ENODEV` if there is no such interface, `EEXIST` if it has the address.
    pub fn add_address(&mut self, name: &str, address: Ipv4Addr, prefix: u8) -> Result<(), Error> {
        let index = self.index(name)?.to_ne_bytes();
        let mut header = vec![libc::AF_INET as u8, prefix, 0, libc::RT_SCOPE_UNIVERSE];
        header.extend(index);
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let message = Message::new(libc::RTM_NEWADDR, flags, &header)
            .put(libc::IFA_LOCAL, &address.octets())
            .put(libc::IFA_ADDRESS, &address.octets());
        self.0.request(message)
    }

    /// Sends everything without a better route to `gateway`.
    ///
    /// # Errors
    /// `ENETUNREACH` if the gateway is on no link.
    pub fn add_default_route(&mut self, gateway: Ipv4Addr) -> Result<(), Error> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let header = route_header(
            libc::RT_TABLE_MAIN,
            libc::RTN_UNICAST,
            libc::RT_SCOPE_UNIVERSE,
        );
        let message = Message::new(libc::RTM_NEWROUTE, flags, &header)
            .put(libc::RTA_GATEWAY, &gateway.octets());
        self.0.request(message)
    }

    fn index(&mut self, name: &str) -> Result<u32, Error> {
        let link = self.link(name)?.ok_or(Errno::ENODEV)?;
        Ok(link.index)
    }

    fn local_default(&mut self, kind: u16, flags: i32, table: u32) -> Result<Message, Error> {
        let header = route_header(libc::RT_TABLE_UNSPEC, libc::RTN_LOCAL, libc::RT_SCOPE_HOST);
        let index = self.index("lo")?;
        Ok(Message::new(kind, flags, &header)
            .put(libc::RTA_TABLE, &table.to_ne_bytes())
            .put(libc::RTA_OIF, &index.to_ne_bytes()))
    }

    fn local(
        &mut self,
        kind: u16,
        flags: i32,
        (network, prefix): (Ipv4Addr, u8),
        protocol: u8,
    ) -> Result<Message, Error> {
        let mut header = route_header(libc::RT_TABLE_LOCAL, libc::RTN_LOCAL, libc::RT_SCOPE_HOST);
        header[1] = prefix;
        header[5] = protocol;
        let index = self.index("lo")?;
        Ok(Message::new(kind, flags, &header)
            .put(libc::RTA_DST, &network.octets())
            .put(libc::RTA_OIF, &index.to_ne_bytes()))
    }

    /// The answers to the question `kind`, as `read` understands them.
    fn list<T>(
        &mut self,
        kind: u16,
        header: &[u8],
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let question = Message::new(kind, 0, header);
        self.0
            .dump(&question, |payload, found| found.extend(read(payload)))
    }
}

impl PolicyRule {
    fn message(&self, kind: u16, flags: i32) -> Message {
        let header = route_header(libc::RT_TABLE_UNSPEC, FR_ACT_TO_TBL, 0);
        let message = Message::new(kind, flags, &header)
            .put(FRA_PRIORITY, &self.priority.to_ne_bytes())
            .put(FRA_FWMARK, &self.mark.to_ne_bytes())
            .put(FRA_FWMASK, &self.mask.to_ne_bytes())
            .put(FRA_TABLE, &self.table.to_ne_bytes());
        match &self.interface {
            Some(name) => message.text(FRA_IIFNAME, name),
            None => message,
        }
    }
}

/// `struct ifinfomsg`, with only `flags` to change.
fn link_header(index: u32, flags: u32) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// `struct rtmsg`, and `struct fib_rule_hdr`, which has the same shape.
fn route_header(table: u8, kind: u8, scope: u8) -> [u8; ROUTE_HEADER] {
    let mut header = [0; ROUTE_HEADER];
    header[0] = libc::AF_INET as u8;
    header[4] = table;
    header[5] = libc::RTPROT_STATIC;
    header[6] = scope;
    header[7] = kind;
    header
}

/// A route from a listing.
fn route_of(m: &[u8]) -> Option<RouteEntry> {
    let told = m.get(ROUTE_HEADER..)?;
    let address = |kind| attribute(told, kind).and_then(address_of);
    let number = |kind| attribute(told, kind).and_then(u32_of);
    let destination = address(libc::RTA_DST).unwrap_or(Ipv4Addr::UNSPECIFIED);
    Some(RouteEntry {
        table: number(libc::RTA_TABLE).unwrap_or(u32::from(m[4])),
        destination: (destination, m[1]),
        kind: m[7],
        protocol: m[5],
        gateway: address(libc::RTA_GATEWAY),
        interface: number(libc::RTA_OIF),
    })
}

fn address_of(value: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = value.try_into().ok()?;
    Some(octets.into())
}

/// `result`, with the error `expected` taken for success.
fn unless(expected: Errno, result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.errno == expected => Ok(()),
        result => result,
    }
}

const LINK_HEADER: usize = 16;
const ROUTE_HEADER: usize = 12;
const VETH_INFO_PEER: u16 = 1;
const FR_ACT_TO_TBL: u8 = 1;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_found_with_its_address_and_its_local_route() {
        let mut route = Route::open().unwrap();
        let lo = route.link("lo").unwrap().unwrap();
        assert_eq!(lo.index, 1);
        if lo.up {
            let addresses = route.addresses("lo").unwrap();
            assert_eq!(addresses[0], (Ipv4Addr::LOCALHOST, 8));
            assert!(route.routes().unwrap().iter().any(|r| {
                r.destination == (Ipv4Addr::LOCALHOST, 32) && r.kind == libc::RTN_LOCAL
            }));
        }
        assert_eq!(route.link("no such link").unwrap(), None);
        assert_eq!(route.addresses("none").unwrap_err().errno, Errno::ENODEV);
    }
}
