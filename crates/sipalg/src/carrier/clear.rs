//! Translations that the operator clears, and how full the tables are.

use super::Carrier;
use super::flows::{MOST, MOST_FROM_OUTSIDE};
use crate::console::Console;
use crate::kernel::KernelError;
use nix::sys::resource::{Resource, getrlimit};
use sipalg_core::Instant;
use sipalg_core::alg::{Clear, Cleared, Usage};
use std::fs;
use std::net::Ipv4Addr;

impl Carrier {
    /// Clears dynamic translations: those of the machine, with the connections that used them, and
    /// those that the kernel has made for ordinary flows.
    ///
    /// # Errors
    /// The kernel did not delete its ordinary flows; the rest is done.
    pub fn clear(
        &mut self,
        now: Instant,
        which: Clear,
        forced: bool,
        console: &mut Console,
    ) -> Result<Cleared, KernelError> {
        let mut cleared = self.alg.clear(now, which, forced, &mut self.out);
        cleared.flows.sort_unstable();
        self.reset(now, &cleared.flows);
        self.settle(now, console);
        let config = self.alg.config();
        let dynamic = |global| config.is_global(global) && !config.is_fixed(global);
        let meant = |of: Ipv4Addr, by: Ipv4Addr| match which {
            Clear::All => dynamic(by),
            Clear::Host { global, local } => (by, of) == (global, local) && dynamic(by),
            Clear::One { .. } => false,
        };
        if !matches!(which, Clear::One { .. }) {
            self.kernel.forget_flows(meant)?;
        }
        Ok(cleared)
    }

    /// Every table that peers can fill, the kernel's included.
    pub fn usage(&mut self) -> Vec<Usage> {
        let mut usage = self.alg.usage();
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).ok();
        usage.push(Usage {
            name: "connections",
            used: self.links.len() as u64,
            peak: Some(self.most_links as u64),
            // Each has two descriptors.
            limit: descriptors.map(|(most, _)| most / 2),
            refused: None,
        });
        let (used, from_outside, peak, refused) = self.flows.usage();
        usage.push(Usage {
            name: "datagram flows",
            used: used as u64,
            peak: Some(peak as u64),
            limit: Some(MOST as u64),
            refused: Some(refused),
        });
        usage.push(Usage {
            name: "datagram flows from outside",
            used: from_outside as u64,
            peak: None,
            limit: Some(MOST_FROM_OUTSIDE as u64),
            refused: None,
        });
        usage.push(Usage {
            name: "connections in the kernel",
            used: setting("nf_conntrack_count").unwrap_or(0),
            peak: None,
            limit: setting("nf_conntrack_max"),
            // By `max-entries`.
            refused: self.kernel.over_bound().ok(),
        });
        usage
    }
}

fn setting(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).ok()?;
    text.trim().parse().ok()
}
