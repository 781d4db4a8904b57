//! `clear ...`: what is counted and what is translated begins anew.

use super::Gateway;
use crate::log;
use sipalg_core::Instant;
use sipalg_core::alg::Clear;
use sipalg_core::counters::Counters;
use sipalg_ios::show::Packets;

/// What was counted when the operator last cleared statistics: what is counted itself only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Baseline {
    counters: Counters,
    packets: Packets,
}

impl Baseline {
    /// What the machine has counted since.
    pub fn counters(&self, now: &Counters) -> Counters {
        now.since(&self.counters)
    }

    /// What the kernel has counted since.
    pub fn packets(&self, now: Packets) -> Packets {
        Packets {
            hits: now.hits.saturating_sub(self.packets.hits),
            misses: now.misses.saturating_sub(self.packets.misses),
        }
    }
}

/// `clear ip nat translation ...`
pub(super) fn translations(gateway: &mut impl Gateway, which: Clear, forced: bool) -> String {
    let cleared = match gateway.clear(which, forced) {
        Ok(cleared) => cleared,
        Err(reason) => return format!("% {reason}\n"),
    };
    match (which, cleared.in_use) {
        (Clear::One { .. }, 0) if cleared.gone == 0 => "% Translation not found\n".into(),
        (Clear::One { .. }, 1) => "% Translation in use; add `forced` to clear it\n".into(),
        (_, 0) => String::new(),
        (_, 1) => "1 translation is in use and stays; `forced` clears it, too\n".into(),
        (_, more) => {
            format!("{more} translations are in use and stay; `forced` clears them, too\n")
        }
    }
}

/// `clear ip nat statistics`
pub(super) fn statistics(gateway: &mut impl Gateway, now: Instant) -> String {
    let packets = packets(gateway);
    let alg = gateway.carrier().alg();
    alg.forget_peak(now);
    let counters = alg.counters();
    *gateway.baseline() = Baseline {
        counters,
        packets: packets.unwrap_or_default(),
    };
    String::new()
}

/// `clear access-list counters [LIST]`
pub(super) fn access_lists(gateway: &mut impl Gateway, list: Option<&str>) -> String {
    if let Some(list) = list.filter(|list| gateway.typed().startup.access_list(list).is_none()) {
        return format!("% access list {list} does not exist\n");
    }
    match gateway.carrier().kernel().clear_hits(list) {
        Ok(()) => String::new(),
        Err(error) => format!("% {error}\n"),
    }
}

/// What the kernel has counted since its rules were made; nothing if it does not tell.
pub(super) fn packets(gateway: &mut impl Gateway) -> Option<Packets> {
    match gateway.carrier().kernel().translated() {
        Ok((hits, misses)) => Some(Packets { hits, misses }),
        Err(error) => {
            log::line(format_args!("cannot read the packet counters: {error}"));
            None
        }
    }
}
