//! The gateway's half in the kernel: NAT for the inside network, doors, and SIP's way to the proxy.
//!
//! ```text
//!   ruleset    THE nftables rules, as data
//!   adopt      what is there already, against what should be: after a crash, or when someone else
//!              has changed it
//!   doors      which door leads where, and what an operation on one means for the sets
//!   addresses  which host has which address of a pool without overload
//!   apart      what can be done of what was refused as a whole
//!   sweep      connections that stand in a new door's way or came through a closed one
//!   tracking   how full the connection table is
//!   host       ip_forward, policy rules and routes; put back afterwards, also after a crash
//!   ports      what the gateway itself listens on
//!   firewall   what else on this host filters, helps or diverts, and would get in the way
//! ```
//!
//! Everything goes by netlink; no program is run. All of it acts on the network namespace of the
//! thread that calls [`Kernel::install`].

use crate::log;
use crate::netlink::conntrack::Conntrack;
use crate::netlink::log::Log;
use crate::netlink::nft::{self, Lifetimes, Nft, add_element, address_port};
use addresses::Addresses;
use adopt::Seen;
use doors::Doors;
use host::Host;
use ruleset::{
    Abilities, HITS, HOSTS_SEEN, MEDIA_IN, MEDIA_OUT, MISSES, OVER_BOUND, Ruleset, SIGNAL_DOORS,
    TABLE,
};
use sipalg_core::Door;
use sipalg_core::addr::{Ipv4Addr, SocketAddrV4};
use sipalg_core::config::{AccessEntry, AccessList, FlowTimeouts, MaxEntries, SourceRule};
use sipalg_core::door::{AddressOp, DoorOp, MediaCount};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use sweep::Sweep;

mod addresses;
mod adopt;
mod apart;
mod doors;
mod error;
pub mod firewall;
mod host;
pub mod ports;
mod ranges;
pub mod ruleset;
mod sweep;
mod tracking;

pub use adopt::{Adopted, Health};
pub use doors::Elements;
pub use error::KernelError;
pub use tracking::Tracking;

/// Packet mark bit: the policy rule sends the packet to this host instead of forwarding it.
pub const MARK_DIVERT: u32 = 0x0100_0000;
/// Connection mark bit: the proxy has taken the TCP connection.
pub const CT_TAKEN: u32 = 0x0100_0000;
/// Connection mark bit: the UDP flow goes through a media door.
pub const CT_DOOR: u32 = 0x0200_0000;
/// Connection mark bit, beside [`CT_DOOR`]: the UDP flow began inside, and its source is a door's.
pub const CT_FROM_DOOR: u32 = 0x0400_0000;
/// Connection mark bits, beside [`CT_TAKEN`]: the number of the worker that has the connection.
pub const CT_WORKER: u32 = 0x3800_0000;
/// Packet mark bit (`SO_MARK`) of legs that we dial with an outside host's address: their
/// connection becomes [`CT_TAKEN`], so that the answers come to us. And of every datagram that the
/// proxy sends, to whichever side: it is not translated.
pub const MARK_DIAL: u32 = 0x0200_0000;
/// Log group (`log group` of nftables) of packets from hosts that want an address of a pool.
pub const NEWCOMERS: u16 = 5060;
/// Who has put a route there (`RTPROT_*`): us.
pub const ROUTE_PROTOCOL: u8 = 60;
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
    /// How many workers there are: as many as can have a [`Share`](sipalg_core::config::Share) each.
    /// The first is at `listener`, the others at the ports after it.
    pub workers: u8,
}

/// An `ip nat inside source` rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourcePlan {
    /// Who becomes what.
    pub rule: SourceRule,
    /// The outside interface that it names. Traffic of a rule that names none may leave by any.
    pub interface: Option<String>,
    /// Whether the gateway answers for its global addresses, ARP included. Without, the outside
    /// network must send them here by itself.
    pub alias: bool,
}

/// The kernel under our rules. Dropped without [`Kernel::remove`], as in a crash, it leaves them in
/// place; [`clean`] or the next start takes them away.
#[derive(Debug)]
pub struct Kernel {
    nft: Nft,
    plan: Plan,
    ruleset: Ruleset,
    abilities: Abilities,
    doors: Doors,
    addresses: Addresses,
    sweep: Sweep,
    newcomers: Log,
    /// What was counted on entries of access lists before their counters began anew.
    hits: HashMap<(String, AccessEntry), u64>,
    /// What was counted on them when the operator last cleared it.
    cleared: HashMap<(String, AccessEntry), u64>,
    host: Host,
    /// What nftables was like when we looked at it last.
    seen: Seen,
    /// Something was refused since: the kernel may not have what it should.
    unsure: bool,
    health: Health,
}

impl Kernel {
    /// Puts rules and host settings of `plan` in place, and says on stderr which settings it
    /// changed. What it found is kept in `state_dir`, which is made if need be.
    ///
    /// # Errors
    /// One sentence for the operator. Everything is as before then.
    pub fn install(plan: &Plan, state_dir: &Path) -> Result<Kernel, KernelError> {
        Kernel::begin(plan, Host::lock(state_dir)?)
    }

    /// With a table of its own, whatever was there.
    fn begin(plan: &Plan, mut host: Host) -> Result<Kernel, KernelError> {
        let begun = prepare(plan, &mut host, |nft, ruleset| {
            nft.commit(ruleset.install())
                .map_err(|error| KernelError::refused("the rules", error))
        });
        match begun.and_then(Parts::with_older_flows) {
            Ok(parts) => Ok(Kernel::new(plan, parts, host)),
            Err(error) => {
                // The first error is the one to tell; undoing may well fail for the same reason.
                let _ = take_away(&mut host);
                Err(error)
            }
        }
    }

    fn new(plan: &Plan, parts: Parts, host: Host) -> Self {
        Kernel {
            seen: parts.seen,
            unsure: false,
            health: Health::default(),
            nft: parts.nft,
            plan: plan.clone(),
            ruleset: parts.ruleset,
            abilities: parts.abilities,
            doors: Doors::new(parts.elements),
            addresses: Addresses::default(),
            sweep: parts.sweep,
            newcomers: parts.newcomers,
            hits: HashMap::new(),
            cleared: HashMap::new(),
            host,
        }
    }

    /// Works by `plan` from now on, in one transaction. Doors, addresses of hosts, counters and
    /// connections stay; what the rules decide for new connections changes at once.
    ///
    /// # Errors
    /// One sentence for the operator. The rules are as before then.
    pub fn replan(&mut self, plan: &Plan) -> Result<(), KernelError> {
        let borrowed = self.host.borrowed(plan)?;
        let ruleset = Ruleset::new(plan, &borrowed, self.abilities);
        let hits = self.counted_hits()?;
        self.host.set_up(plan, &borrowed)?;
        self.nft
            .commit(ruleset.replace(&self.ruleset))
            .map_err(|error| KernelError::refused("the rules", error))?;
        // Lists that have changed count from zero; their entries that are still there do not.
        for (list, counts) in self.ruleset.lists.iter().zip(hits) {
            if ruleset.lists.contains(list) {
                continue;
            }
            for (entry, count) in list.entries.iter().zip(counts.1) {
                self.hits.insert((list.name.clone(), *entry), count);
            }
        }
        self.ruleset = ruleset;
        self.plan = plan.clone();
        let icmp = ruleset::seconds(plan.timeouts.icmp);
        self.host.set_icmp_timeout(icmp);
        self.host.forget(plan, &borrowed)
    }

    /// How this kernel lets set elements live longer.
    pub fn elements(&self) -> Elements {
        self.doors.elements()
    }

    /// Works as on a kernel of the given kind, whichever was found; for tests, before the first
    /// door.
    ///
    /// # Errors
    /// The kernel's.
    pub fn with_elements(mut self, elements: Elements) -> Result<Self, KernelError> {
        self.doors = Doors::new(elements);
        self.sweep.set_elements(elements);
        self.abilities.keys = elements == Elements::Prolonged;
        let plan = self.plan.clone();
        self.replan(&plan)?;
        Ok(self)
    }

    /// Carries out the operations in order, all in one transaction, and deletes the connections that
    /// stand in the way of opened UDP doors or use addresses that are released. An inside local and
    /// its inside global belong to each other alone: a door that has either end of an opened one is
    /// closed. What goes through a closed door stops at once.
    ///
    /// # Errors
    /// The kernel's. What has taken effect then, if the kernel's word was lost, is undone by
    /// [`Kernel::restore`].
    pub fn apply(&mut self, addresses: &[AddressOp], doors: &[DoorOp]) -> Result<(), KernelError> {
        let mut moved = self.addresses.change(addresses);
        let mut change = self.doors.change(doors);
        let mut messages = std::mem::take(&mut moved.messages);
        messages.extend(change.messages(self.doors.elements()));
        messages.extend(self.sweep.questions(&change));
        let told = match self.nft.exchange(messages) {
            Ok(told) => told,
            Err(error) => {
                self.unsure = true;
                self.health.refused += 1;
                self.doors.undo();
                self.addresses.undo(&moved);
                // If it took effect all the same, notes of older flows are lost.
                self.sweep.begin_anew();
                return Err(KernelError::refused("the doors", error));
            }
        };
        let (sweep, nft) = (&mut self.sweep, &mut self.nft);
        let swept = sweep
            .follow(nft, &self.doors, &change, &told)
            .and_then(|()| sweep.release(&moved.released));
        if swept.is_err() {
            // The doors are there; an older flow may be in their way until it is looked for again.
            self.sweep.begin_anew();
            self.unsure = true;
            self.health.refused += 1;
        }
        Ok(())
    }

    /// Does not answer who knocks at these inside globals for `time`: they may become signalling doors.
    ///
    /// # Errors
    /// The kernel's; they are refused until then.
    pub fn expect(&mut self, awaited: &[SocketAddrV4], time: Duration) -> Result<(), KernelError> {
        let element = |global: &SocketAddrV4| {
            let key = address_port(*global);
            add_element(ruleset::TABLE, &ruleset::AWAITED, &key, None, time)
        };
        let messages = awaited.iter().map(element).collect();
        let done = self.nft.commit(messages);
        done.map_err(|error| KernelError::refused("the doors to come", error))
    }

    /// Deletes the connections of doors that have closed: call it every few seconds. Until then
    /// their packets are dropped.
    ///
    /// # Errors
    /// The kernel's.
    pub fn tidy(&mut self) -> Result<(), KernelError> {
        let tidied = self.sweep.tidy(&self.doors);
        if tidied.is_err() {
            self.sweep.begin_anew();
            self.health.refused += 1;
        }
        tidied.map_err(|error| KernelError::refused("to list and delete connections", error))
    }

    /// Readable when [`Kernel::newcomers`] has something.
    pub fn newcomers_fd(&self) -> BorrowedFd<'_> {
        self.newcomers.as_fd()
    }

    /// The inside hosts that wanted to begin a flow since the last call and have no address of their
    /// pool without overload, each once, in the order in which they came. Their packets are dropped
    /// until [`AddressOp::Assign`] gives them one.
    pub fn newcomers(&mut self) -> Vec<Ipv4Addr> {
        let mut hosts = self.newcomers.senders();
        let mut known = std::collections::HashSet::new();
        hosts.retain(|host| known.insert(*host));
        hosts
    }

    /// The inside hosts with an address of a pool without overload that began or got a flow within
    /// the last two minutes ([`ruleset::SEEN`]). Ask more often than that.
    ///
    /// # Errors
    /// The kernel's.
    pub fn hosts_seen(&mut self) -> Result<Vec<Ipv4Addr>, KernelError> {
        let seen = self
            .nft
            .elements(TABLE, &HOSTS_SEEN)
            .map_err(|error| KernelError::refused("to tell the hosts seen", error))?;
        Ok(seen.iter().map(nft::Element::address).collect())
    }

    /// How often each entry of each access list that the rules use has decided, by list, since the
    /// operator last cleared it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn access_hits(&mut self) -> Result<Vec<(String, Vec<u64>)>, KernelError> {
        let mut hits = self.counted_hits()?;
        for (list, (name, counts)) in self.ruleset.lists.iter().zip(&mut hits) {
            for (entry, count) in list.entries.iter().zip(counts) {
                let before = self.cleared.get(&(name.clone(), *entry));
                *count = count.saturating_sub(before.copied().unwrap_or(0));
            }
        }
        Ok(hits)
    }

    /// Counts the decisions of this access list from zero, or those of all.
    ///
    /// # Errors
    /// The kernel's.
    pub fn clear_hits(&mut self, only: Option<&str>) -> Result<(), KernelError> {
        let hits = self.counted_hits()?;
        for (list, (name, counts)) in self.ruleset.lists.iter().zip(hits) {
            if only.is_some_and(|only| only != name) {
                continue;
            }
            for (entry, count) in list.entries.iter().zip(counts) {
                self.cleared.insert((name.clone(), *entry), count);
            }
        }
        Ok(())
    }

    /// Packets that were translated: those of flows that had a translation already, and those that
    /// began one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn translated(&mut self) -> Result<(u64, u64), KernelError> {
        let counters = self.counters()?;
        let count = |name| counters.get(name).copied().unwrap_or(0);
        Ok((count(HITS), count(MISSES)))
    }

    /// Deletes the ordinary flows that are translated from `local` to `global` and that `doomed` says
    /// yes to: neither doors' nor the proxy's.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget_flows(
        &mut self,
        doomed: impl Fn(Ipv4Addr, Ipv4Addr) -> bool,
    ) -> Result<(), KernelError> {
        self.sweep
            .forget(doomed)
            .map_err(|error| KernelError::refused("to list and delete connections", error))
    }

    fn counted_hits(&mut self) -> Result<Vec<(String, Vec<u64>)>, KernelError> {
        let counters = self.counters()?;
        let hits = self.ruleset.lists.iter().map(|list| {
            let count = |(number, entry): (usize, &AccessEntry)| {
                let name = ruleset::lists::counter(&list.name, number);
                let before = self.hits.get(&(list.name.clone(), *entry));
                counters.get(&name).unwrap_or(&0) + before.unwrap_or(&0)
            };
            let counts = list.entries.iter().enumerate().map(count).collect();
            (list.name.clone(), counts)
        });
        Ok(hits.collect())
    }

    /// How many packets of new flows were dropped because of `max-entries`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn over_bound(&mut self) -> Result<u64, KernelError> {
        Ok(self.counters()?.get(OVER_BOUND).copied().unwrap_or(0))
    }

    /// What was counted on each open media door since it opened, by inside local.
    ///
    /// # Errors
    /// The kernel's.
    pub fn media_counts(&mut self) -> Result<Vec<(SocketAddrV4, MediaCount)>, KernelError> {
        let none = |local| (local, MediaCount::default());
        let mut counts: HashMap<SocketAddrV4, MediaCount> = self.doors.media().map(none).collect();
        let refused = |error| KernelError::refused("to tell the media counters", error);
        // What has carried nothing yet is in neither set.
        for element in self.nft.elements(TABLE, &MEDIA_IN).map_err(refused)? {
            if let Some(count) = counts.get_mut(&element.address_port()) {
                (count.in_packets, count.in_bytes) = (element.packets, element.bytes);
            }
        }
        for element in self.nft.elements(TABLE, &MEDIA_OUT).map_err(refused)? {
            if let Some(count) = counts.get_mut(&element.address_port()) {
                (count.out_packets, count.out_bytes) = (element.packets, element.bytes);
            }
        }
        Ok(counts.into_iter().collect())
    }

    fn counters(&mut self) -> Result<HashMap<String, u64>, KernelError> {
        let counters = self
            .nft
            .counters(TABLE)
            .map_err(|error| KernelError::refused("to tell its counters", error))?;
        Ok(counters.into_iter().collect())
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

/// What [`prepare`] made.
struct Parts {
    nft: Nft,
    seen: Seen,
    ruleset: Ruleset,
    abilities: Abilities,
    elements: Elements,
    sweep: Sweep,
    newcomers: Log,
}

/// Host settings, rules, which `put` puts in force, and what else it takes then.
fn prepare(
    plan: &Plan,
    host: &mut Host,
    put: impl FnOnce(&mut Nft, &Ruleset) -> Result<(), KernelError>,
) -> Result<Parts, KernelError> {
    let borrowed = host.borrowed(plan)?;
    host.set_up(plan, &borrowed)?;
    host.forget(plan, &borrowed)?;
    let refused = |error| KernelError::refused("the rules", error);
    let mut nft = Nft::open().map_err(refused)?;
    let abilities = Abilities {
        lifetimes: try_lifetimes(&mut nft)?,
        keys: nft.commit(ruleset::key_on_trial()).is_ok(),
    };
    let ruleset = Ruleset::new(plan, &borrowed, abilities);
    // Who changes anything from here on is noticed.
    let seen = Seen::now(&mut nft).map_err(refused)?;
    put(&mut nft, &ruleset)?;
    host.set_icmp_timeout(ruleset::seconds(plan.timeouts.icmp));
    let elements = try_elements(&mut nft)?;
    let newcomers = Log::listen(NEWCOMERS)
        .map_err(|error| KernelError::refused("to tell of hosts without address", error))?;
    Ok(Parts {
        nft,
        seen,
        ruleset,
        abilities,
        elements,
        sweep: Sweep::new(elements, ruleset::loose_for(&plan.timeouts))?,
        newcomers,
    })
}

impl Parts {
    /// Lists the flows that are older than the rules, which did not note them.
    fn with_older_flows(mut self) -> Result<Self, KernelError> {
        let listed = self.sweep.list(&Doors::default());
        listed.map_err(|error| match error.errno {
            nix::errno::Errno::EINVAL => KernelError::Missing {
                what: "access to connection tracking".into(),
                option: "CONFIG_NF_CT_NETLINK",
            },
            _ => KernelError::refused("to list connections", error),
        })?;
        Ok(self)
    }
}

/// Tries whether connections can have idle times of their own here. If not, they have the kernel's.
fn try_lifetimes(nft: &mut Nft) -> Result<bool, KernelError> {
    let trial = Lifetimes {
        protocol: libc::IPPROTO_UDP,
        seconds: Vec::new(),
    };
    nft.commit(vec![nft::add_table(TABLE)])
        .map_err(|error| KernelError::refused("the rules", error))?;
    let on_trial = vec![
        nft::add_timeout(TABLE, "trial", &trial),
        nft::delete_timeout(TABLE, "trial"),
    ];
    match nft.commit(on_trial) {
        Ok(()) => Ok(true),
        Err(error) => {
            log::line(format_args!(
                "this kernel cannot give connections idle times ({error}): the timeouts of \
                 `ip nat translation` are not in force but net.netfilter.nf_conntrack_*_timeout; \
                 the option CONFIG_NF_CONNTRACK_TIMEOUT, or its module, would help"
            ));
            Ok(false)
        }
    }
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
    let prolonged = elements.iter().any(|e| e.key == key && e.expires > short);
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
