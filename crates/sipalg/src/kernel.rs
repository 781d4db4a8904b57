//! The gateway's half in the kernel: NAT for the inside network, doors, and SIP's way to the proxy.
//!
//! ```text
//!   ruleset    THE nftables rules, as data
//!   doors      which door leads where, and what an operation on one means for the sets
//!   sweep      connections that stand in a new door's way or came through a closed one
//!   host       ip_forward, policy rule and route; put back afterwards, also after a crash
//!   ports      what the gateway itself listens on
//! ```
//!
//! Everything goes by netlink; no program is run. All of it acts on the network namespace of the
//! thread that calls [`Kernel::install`].

use crate::netlink::conntrack::Conntrack;
use crate::netlink::nft::{self, Nft};
use doors::Doors;
use host::Host;
use ruleset::{MEDIA_IN, MEDIA_OUT, SIGNAL_DOORS, TABLE};
use sipalg_core::addr::{Ipv4Addr, SocketAddrV4};
use sipalg_core::config::{AccessList, FlowTimeouts, MaxEntries, SourceRule};
use sipalg_core::door::{DoorOp, MediaCount};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod doors;
mod error;
mod host;
pub mod ports;
pub mod ruleset;
mod sweep;

pub use doors::Elements;
pub use error::KernelError;

/// Packet mark bit: the policy rule sends the packet to this host instead of forwarding it.
pub const MARK_DIVERT: u32 = 0x0100_0000;
/// Connection mark bit: the proxy has taken the TCP connection.
pub const CT_TAKEN: u32 = 0x0100_0000;
/// Connection mark bit: the UDP flow goes through a media door.
pub const CT_DOOR: u32 = 0x0200_0000;
/// Packet mark bit (`SO_MARK`) of legs that we dial with an outside host's address: their
/// connection becomes [`CT_TAKEN`], so that the answers come to us.
pub const MARK_DIAL: u32 = 0x0200_0000;
/// Routing table and policy rule priority for packets with [`MARK_DIVERT`].
pub const DIVERT_TABLE: u32 = 5060;

/// What the kernel shall do, from the configuration with addresses looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Names of the `ip nat inside` interfaces.
    pub inside: Vec<String>,
    /// Names of the `ip nat outside` interfaces.
    pub outside: Vec<String>,
    /// The `ip nat inside source` rules in order.
    pub sources: Vec<SourcePlan>,
    /// Whether SIP over TCP is intercepted at all (`ip nat l4f`).
    pub l4f: bool,
    /// TCP ports that are SIP.
    pub sip_tcp_ports: Vec<u16>,
    /// UDP ports that are SIP.
    pub sip_udp_ports: Vec<u16>,
    /// Whose signalling may come in from outside; anyone's without a list.
    pub access_group: Option<AccessList>,
    /// Whose media may come in from outside; anyone's without a list.
    pub media_access_group: Option<AccessList>,
    /// Traffic that is not intercepted, judged by the packet that opens it.
    pub bypass: Option<AccessList>,
    /// Idle times of ordinary translations.
    pub timeouts: FlowTimeouts,
    /// Bounds on ordinary translations.
    pub max_entries: MaxEntries,
    /// Where TPROXY delivers taken connections and datagrams: `IP_TRANSPARENT` sockets.
    pub listener: SocketAddrV4,
}

/// An `ip nat inside source` rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourcePlan {
    /// Who becomes what.
    pub rule: SourceRule,
    /// The outside interface that it names. Traffic of a rule that names none may leave by any.
    pub interface: Option<String>,
}

/// The kernel under our rules. Dropped without [`Kernel::remove`], as in a crash, it leaves them in
/// place; [`clean`] or the next start takes them away.
#[derive(Debug)]
pub struct Kernel {
    nft: Nft,
    conntrack: Conntrack,
    doors: Doors,
    host: Host,
}

impl Kernel {
    /// Puts rules and host settings of `plan` in place, and says on stderr which settings it
    /// changed. What it found is kept in `state_dir`, which is made if need be.
    ///
    /// # Errors
    /// One sentence for the operator. Everything is as before then.
    pub fn install(plan: &Plan, state_dir: &Path) -> Result<Kernel, KernelError> {
        let mut host = Host::lock(state_dir)?;
        match prepare(plan, &mut host) {
            Ok((nft, conntrack, elements)) => Ok(Kernel {
                nft,
                conntrack,
                doors: Doors::new(plan, elements),
                host,
            }),
            Err(error) => {
                // The first error is the one to tell; undoing may well fail for the same reason.
                let _ = take_away(&mut host);
                Err(error)
            }
        }
    }

    /// How this kernel lets set elements live longer.
    pub fn elements(&self) -> Elements {
        self.doors.elements()
    }

    /// Works as on a kernel of the given kind, whichever was found; for tests.
    pub fn with_elements(mut self, plan: &Plan, elements: Elements) -> Self {
        self.doors = Doors::new(plan, elements);
        self
    }

    /// Carries out `ops` in order, all in one transaction, and deletes the connections that stand
    /// in the way of opened media doors or went through closed ones. An inside local and its inside
    /// global belong to each other alone: a door that has either end of an opened one is closed.
    ///
    /// # Errors
    /// The kernel's; none of the operations has taken effect if the transaction failed.
    pub fn apply(&mut self, ops: &[DoorOp]) -> Result<(), KernelError> {
        let change = self.doors.change(ops);
        if let Err(error) = self.nft.commit(change.messages) {
            self.doors.undo(change.undo);
            return Err(KernelError::refused("the doors", error));
        }
        sweep::sweep(&mut self.conntrack, &change.opened, &change.closed)
            .map_err(|error| KernelError::refused("to list and delete connections", error))
    }

    /// What was counted on each open media door since it opened, by inside local.
    ///
    /// # Errors
    /// The kernel's.
    pub fn media_counts(&mut self) -> Result<Vec<(SocketAddrV4, MediaCount)>, KernelError> {
        let mut counts: HashMap<SocketAddrV4, MediaCount> = HashMap::new();
        let refused = |error| KernelError::refused("to tell the media counters", error);
        for element in self.nft.elements(TABLE, &MEDIA_IN).map_err(refused)? {
            let count = counts.entry(element.key).or_default();
            (count.in_packets, count.in_bytes) = (element.packets, element.bytes);
        }
        for element in self.nft.elements(TABLE, &MEDIA_OUT).map_err(refused)? {
            let count = counts.entry(element.key).or_default();
            (count.out_packets, count.out_bytes) = (element.packets, element.bytes);
        }
        Ok(counts.into_iter().collect())
    }

    /// Takes away all rules, ends what went through doors, and puts the host settings back. Close
    /// the proxy's connections before, so that no segment of theirs is forwarded untranslated.
    ///
    /// # Errors
    /// The first thing that could not be undone; the rest is undone all the same.
    pub fn remove(mut self) -> Result<(), KernelError> {
        take_away(&mut self.host)
    }
}

/// Puts back everything that a crashed run left: rules, policy rule, route, host settings. Nothing
/// left is no error.
///
/// # Errors
/// [`KernelError::Running`] if a sipalg works with `state_dir` now; else the first thing that could
/// not be undone.
pub fn clean(state_dir: &Path) -> Result<(), KernelError> {
    take_away(&mut Host::lock(state_dir)?)
}

fn prepare(plan: &Plan, host: &mut Host) -> Result<(Nft, Conntrack, Elements), KernelError> {
    host.set_up(plan)?;
    let refused = |error| KernelError::refused("the rules", error);
    let mut nft = Nft::open().map_err(refused)?;
    nft.commit(ruleset::install(plan)).map_err(refused)?;
    let elements = try_elements(&mut nft)?;
    let mut conntrack = Conntrack::open().map_err(refused)?;
    sweep::check(&mut conntrack)?;
    Ok((nft, conntrack, elements))
}

/// Tries, on an element that leads nowhere, how this kernel prolongs the life of elements.
fn try_elements(nft: &mut Nft) -> Result<Elements, KernelError> {
    let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    let key = nft::address_port(nobody);
    let (short, long) = (Duration::from_secs(60), Duration::from_secs(3600));
    let add = |lifetime| vec![nft::add_element(TABLE, &SIGNAL_DOORS, &key, None, lifetime)];
    let refused = |error| KernelError::refused("a door on trial", error);
    nft.commit(add(short)).map_err(refused)?;
    nft.commit(add(long)).map_err(refused)?;
    let elements = nft.elements(TABLE, &SIGNAL_DOORS).map_err(refused)?;
    let prolonged = elements
        .iter()
        .any(|e| e.key == nobody && e.expires > short);
    let destroy = vec![nft::destroy_element(TABLE, &SIGNAL_DOORS, &key)];
    if nft.commit(destroy).is_ok() && prolonged {
        return Ok(Elements::Prolonged);
    }
    // It may be there still or not; both are fine after this.
    let delete = nft::delete_element(TABLE, &SIGNAL_DOORS, &key);
    let mut replace = add(short);
    replace.push(delete);
    nft.commit(replace).map_err(refused)?;
    Ok(Elements::Replaced)
}

fn take_away(host: &mut Host) -> Result<(), KernelError> {
    let table = take_table_away();
    let settings = host.put_back();
    table.and(settings)
}

fn take_table_away() -> Result<(), KernelError> {
    let refused = |error| KernelError::refused("to take the rules away", error);
    let mut nft = Nft::open().map_err(refused)?;
    if nft
        .tables()
        .map_err(refused)?
        .iter()
        .any(|name| name == TABLE)
    {
        nft.commit(vec![nft::delete_table(TABLE)])
            .map_err(refused)?;
        Conntrack::open()
            .and_then(|mut conntrack| conntrack.delete_marked(CT_DOOR))
            .map_err(refused)?;
    }
    Ok(())
}
