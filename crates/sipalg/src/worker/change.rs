//! What changes while the gateway runs: its configuration, the addresses of its interfaces, the
//! hosts that speak for the first time.

use super::Worker;
use crate::carrier::Ended;
use crate::configuration::interfaces;
use crate::kernel::{Plan, firewall};
use crate::plan::{self, Interfaces};
use crate::{commands, log};
use sipalg_core::{Instant, Leg};
use sipalg_ios::Startup;
use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long changes are gathered, since an address that is exchanged goes before the other comes.
const GATHERED: Duration = Duration::from_millis(200);

/// When it is tried again after the kernel refused.
const AGAIN: Duration = Duration::from_secs(5);

/// How often the kernel is asked which hosts of pools without overload have spoken.
const HOSTS_EVERY: Duration = Duration::from_secs(10);

/// What is known of the host and its network.
#[derive(Debug)]
pub(super) struct Surroundings {
    interfaces: Interfaces,
    /// Addresses have changed, and are looked at then.
    look_at: Option<Instant>,
    /// What the operator was told that stands in the way.
    told: BTreeSet<String>,
    hosts_at: Instant,
}

impl Surroundings {
    pub(super) fn new(now: Instant, interfaces: Interfaces) -> Self {
        Surroundings {
            interfaces,
            look_at: None,
            told: BTreeSet::new(),
            hosts_at: now + HOSTS_EVERY,
        }
    }

    /// The interfaces that the plan in force was made for.
    pub(super) fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// When [`Worker::handle_changes`] is next due.
    pub(super) fn due(&self) -> Instant {
        self.look_at
            .map_or(self.hosts_at, |at| at.min(self.hosts_at))
    }
}

impl Worker {
    /// Carries on under another configuration: everything that it leaves alone goes on, and what
    /// has lost its rule or its address ends.
    ///
    /// # Errors
    /// Why it cannot be carried out; everything is as before then.
    pub fn reconfigure(&mut self, startup: Startup) -> Result<(), String> {
        let interfaces =
            interfaces().map_err(|error| format!("cannot list this host's interfaces: {error}"))?;
        let now = self.epoch.now();
        self.carry_out(now, startup, interfaces).map(drop)
    }

    /// Reads the configuration file again and carries it out; says on stderr what came of it.
    pub(super) fn reload(&mut self) {
        self.herald.reloading();
        let read = self.source.read().map_err(|problem| problem.to_string());
        match read.and_then(|startup| self.reconfigure(startup)) {
            Ok(()) => {
                self.typed = self.startup.clone().into();
                log::line(format_args!("configuration loaded again"));
            }
            Err(problem) => {
                log::line(format_args!("{problem}"));
                log::line(format_args!("nothing was changed"));
            }
        }
        self.keep_configuration();
        self.herald.reloaded();
    }

    /// An interface or an address has come or gone.
    pub(super) fn addresses_changed(&mut self, now: Instant) {
        if self.watch.changed() && self.around.look_at.is_none() {
            self.around.look_at = Some(now + GATHERED);
        }
    }

    /// Gives addresses to hosts that have spoken without one; those that get none speak again.
    pub(super) fn newcomers(&mut self, now: Instant) {
        for host in self.carrier.kernel().newcomers() {
            self.carrier.assign(now, host);
        }
    }

    /// Does what is due.
    pub(super) fn handle_changes(&mut self, now: Instant) {
        if self.around.look_at.is_some_and(|at| at <= now) {
            self.around.look_at = None;
            self.follow_addresses(now);
        }
        if self.around.hosts_at <= now {
            self.around.hosts_at = now + HOSTS_EVERY;
            self.hosts_seen(now);
        }
    }

    /// Tells the machine which hosts use their own addresses of pools, so that they keep them.
    fn hosts_seen(&mut self, now: Instant) {
        let hosts = match self.carrier.kernel().hosts_seen() {
            Ok(hosts) => hosts,
            Err(error) => return log::line(format_args!("{error}")),
        };
        for host in hosts {
            self.carrier.alg().host_seen(now, host);
        }
    }

    /// Tells once what stands in the way of a plan: what the host lacks and what its firewall does.
    pub(super) fn tell(&mut self, plan: &Plan) {
        let lacks = plan::lacks(&self.startup, &self.around.interfaces, Leg::Outside);
        let lacks = lacks
            .into_iter()
            .map(|lack| format!("{lack}; its rules wait until it has"));
        let found: BTreeSet<String> = lacks.chain(firewall::findings(plan)).collect();
        for sentence in found.difference(&self.around.told) {
            log::line(format_args!("{sentence}"));
        }
        self.around.told = found;
    }

    /// Moves mappings to the addresses that outside interfaces have now.
    fn follow_addresses(&mut self, now: Instant) {
        let interfaces = match interfaces() {
            Ok(interfaces) => interfaces,
            Err(error) => {
                self.around.look_at = Some(now + AGAIN);
                return log::line(format_args!("cannot list this host's interfaces: {error}"));
            }
        };
        let changes = changes(&self.startup, &self.around.interfaces, &interfaces);
        if changes.is_empty() {
            return;
        }
        let text: Vec<String> = changes.iter().map(Change::to_string).collect();
        let text = text.join(", ");
        match self.carry_out(now, self.startup.clone(), interfaces) {
            Ok(Ended { moved, connections }) => log::line(format_args!(
                "{text}: {moved} mappings moved, {connections} connections ended"
            )),
            Err(problem) => {
                self.around.look_at = Some(now + AGAIN);
                log::line(format_args!("{text}, but: {problem}; trying again"));
            }
        }
    }

    fn carry_out(
        &mut self,
        now: Instant,
        startup: Startup,
        interfaces: Interfaces,
    ) -> Result<Ended, String> {
        let plan = self.source.plan(&startup, &interfaces);
        let plan = plan.map_err(|problem| problem.to_string())?;
        let config = plan::machine(&plan, &startup, self.source.fixup);
        let ended = self
            .carrier
            .reconfigure(now, &plan, config, &mut self.console)
            .map_err(|error| error.to_string())?;
        self.startup = startup;
        let lists = |name: &str| commands::selection(&self.startup, name);
        self.console.relist(lists);
        self.around.interfaces = interfaces;
        self.tell(&plan);
        Ok(ended)
    }
}

/// The address of an outside interface before and now.
#[derive(Debug)]
struct Change<'a> {
    interface: &'a str,
    was: Option<Ipv4Addr>,
    is: Option<Ipv4Addr>,
}

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = self.interface;
        match (self.was, self.is) {
            (Some(was), Some(is)) => write!(f, "{interface} has the address {is} instead of {was}"),
            (Some(was), None) => write!(f, "{interface} has lost its address {was}"),
            (None, Some(is)) => write!(f, "{interface} has the address {is}"),
            (None, None) => write!(f, "{interface} has no address"),
        }
    }
}

/// How the addresses of outside interfaces differ.
fn changes<'a>(startup: &'a Startup, was: &Interfaces, is: &Interfaces) -> Vec<Change<'a>> {
    let address = |of: &Interfaces, name: &str| of.get(name).copied().flatten();
    let change = |interface| Change {
        interface,
        was: address(was, interface),
        is: address(is, interface),
    };
    let outside = startup.interfaces_on(Leg::Outside).map(change);
    outside.filter(|change| change.was != change.is).collect()
}
