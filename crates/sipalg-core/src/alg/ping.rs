//! Pings on flows that a registration lives on: since the gateway hides the NAT, it keeps the flow alive
//! (RFC 5626 sections 3.5.1 and 4.4.1).

use super::Alg;
use crate::addr::{FlowId, Leg};
use crate::outbox::Outbox;
use crate::time::Instant;
use crate::timer::Key;

/// Whose pings have not been answered yet, the oldest first. Answers come in the order of the pings,
/// so that each is known by its place.
#[derive(Debug, Default)]
pub(super) struct Pongs {
    /// Bits from the lowest: set for a ping of ours, clear for one of the inside host.
    ours: u32,
    waiting: u8,
    /// Whether the inside host has sent the first half of a ping.
    half: bool,
}

impl Pongs {
    /// A ping of ours went out.
    fn expect_ours(&mut self) {
        self.expect(true);
    }

    /// The inside host sent a CRLF, or something else; two in a row are a ping.
    pub fn inside_sent(&mut self, crlf: bool) {
        if crlf && self.half {
            self.expect(false);
        }
        self.half = crlf && !self.half;
    }

    /// A CRLF came from outside: whether it answers a ping of ours.
    pub fn is_ours(&mut self) -> bool {
        let ours = self.waiting > 0 && self.ours & 1 == 1;
        self.ours >>= 1;
        self.waiting = self.waiting.saturating_sub(1);
        ours
    }

    /// What is recorded: which that wait are ours, and how many wait, if any is ours.
    pub fn record(&self) -> (u32, u8) {
        match self.ours {
            0 => (0, 0),
            ours => (ours, self.waiting),
        }
    }

    /// The same again.
    pub fn restored((ours, waiting): (u32, u8)) -> Self {
        Pongs {
            ours,
            waiting: waiting.min(32),
            half: false,
        }
    }

    /// With more waiting than that nobody answers pings there.
    fn expect(&mut self, ours: bool) {
        if u32::from(self.waiting) < u32::BITS {
            self.ours |= u32::from(ours) << self.waiting;
            self.waiting += 1;
        }
    }
}

impl Alg {
    /// A registration may have begun or ended on a flow, or the interval is another: sets its clock.
    pub(super) fn watch_silence(&mut self, now: Instant, flow: FlowId) {
        let Some(entry) = self.flows.quiet_mut(flow.0) else {
            return;
        };
        let interval = self.config.keepalive.filter(|interval| {
            // Never without end in one instant.
            let fixed_up = self.config.fixup && !entry.plain && !entry.is_hairpin();
            fixed_up && !interval.is_zero() && self.registrations.live_on(entry.serial)
        });
        match interval {
            Some(interval) => {
                let at = (entry.sent + interval).max(now);
                self.timers.arm(&mut entry.ping, Key::Ping(flow), at);
            }
            None => self.timers.disarm(&mut entry.ping, Key::Ping(flow)),
        }
    }

    /// A flow's clock ran down: pings it if it was silent for all that time.
    pub(super) fn ping(&mut self, now: Instant, flow: FlowId, out: &mut Outbox) {
        let Some(entry) = self.flows.quiet_mut(flow.0) else {
            return;
        };
        entry.ping.came();
        let silent = self.config.keepalive.map(|interval| entry.sent + interval);
        let alive = self.registrations.live_on(entry.serial);
        if alive && silent.is_some_and(|at| at <= now) {
            entry.sent = now;
            // In the middle of a message a CRLF would be part of it.
            if !entry.demoted && entry.framer(Leg::Inside).is_between() {
                entry.pongs.expect_ours();
                self.flows.mark(flow.0);
                self.counters.pings += 1;
                out.pings.push(flow);
            }
        }
        self.watch_silence(now, flow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_answers_the_oldest_ping() {
        let mut pongs = Pongs::default();
        pongs.inside_sent(true);
        pongs.inside_sent(true);
        pongs.expect_ours();
        pongs.inside_sent(true);
        pongs.inside_sent(false);
        pongs.inside_sent(true);
        assert!(!pongs.is_ours(), "the inside host's");
        assert!(pongs.is_ours());
        assert!(!pongs.is_ours(), "nobody asked");
    }

    #[test]
    fn who_is_never_answered_is_not_counted_on_for_ever() {
        let mut pongs = Pongs::default();
        for _ in 0..100 {
            pongs.expect_ours();
        }
        for _ in 0..32 {
            assert!(pongs.is_ours());
        }
        assert!(!pongs.is_ours());
    }
}
