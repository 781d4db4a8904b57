//! The reference: which doors must be open, and which may be, by the protocol alone. Knows nothing of
//! how the gateway keeps them.

use sipalg_core::Instant;
use sipalg_core::config::Timers;
use std::collections::BTreeSet;
use std::time::Duration;

/// How far a call is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Without an answer, until then.
    Asked(Instant),
    /// Being ended, by then at the latest.
    Ending(Instant),
    /// Answered.
    Up,
    /// Answered, but its phone is dead, since then.
    Silent(Instant),
    /// Over.
    Gone,
}

/// A call as the protocol has it.
#[derive(Clone, Debug)]
pub struct Call {
    pub state: State,
    pub contact: Option<String>,
    pub current: BTreeSet<String>,
    pub offered: BTreeSet<String>,
    /// When media or a session description was last seen.
    pub heard: Instant,
}

impl Call {
    pub fn new(now: Instant) -> Self {
        Call {
            state: State::Asked(now + Timers::default().transaction),
            contact: None,
            current: BTreeSet::new(),
            offered: BTreeSet::new(),
            heard: now,
        }
    }

    /// Somebody works on it (RFC 3261 section 16.6, timer C).
    pub fn progress(&mut self, now: Instant) {
        if matches!(self.state, State::Asked(_)) {
            self.state = State::Asked(now + Timers::default().call_setup);
        }
    }

    pub fn ending(&mut self, now: Instant) {
        self.state = State::Ending(now + Timers::default().transaction);
    }

    /// Offer and answer are complete (RFC 3264): what was offered is in use. A further answer to the
    /// same offer changes nothing.
    pub fn agree(&mut self) {
        if !self.offered.is_empty() {
            self.current = std::mem::take(&mut self.offered);
        }
    }
}

/// A registration as the registrar granted it.
#[derive(Clone, Debug)]
pub struct Registration {
    pub contact: String,
    pub until: Instant,
}

#[derive(Default)]
pub struct Model {
    pub calls: Vec<Call>,
    pub registrations: Vec<Registration>,
    /// Where phones send datagrams from, and want the answers: these may come from anywhere (RFC 4787
    /// REQ-8).
    pub sources: BTreeSet<String>,
    /// By how much a door may stay open for longer, where nobody says goodbye.
    pub slack: Duration,
}

/// Doors that must be open, and those that may.
#[derive(Default, Debug)]
pub struct Expected {
    pub must: BTreeSet<String>,
    pub may: BTreeSet<String>,
}

impl Expected {
    fn add(&mut self, doors: impl IntoIterator<Item = String>, must: bool) {
        if must {
            self.must.extend(doors);
        } else {
            self.may.extend(doors);
        }
    }

    /// What is wrong with these doors, if anything.
    pub fn differs(&self, open: &BTreeSet<String>) -> Option<String> {
        let missing: Vec<_> = self.must.difference(open).collect();
        let extra: Vec<_> = open
            .iter()
            .filter(|d| !self.must.contains(*d) && !self.may.contains(*d))
            .collect();
        (!missing.is_empty() || !extra.is_empty())
            .then(|| format!("missing {missing:?}, too many {extra:?}"))
    }
}

impl Model {
    /// The signalling and the media doors of this moment.
    pub fn expected(&self, now: Instant) -> (Expected, Expected) {
        let timers = Timers::default();
        let (mut signalling, mut media) = (Expected::default(), Expected::default());
        for registration in &self.registrations {
            // The grace is for slow clocks and networks.
            if now <= registration.until + timers.registration_grace {
                signalling.add([registration.contact.clone()], now < registration.until);
            }
        }
        signalling.add(self.sources.iter().cloned(), false);
        for call in &self.calls {
            let (must, may) = match call.state {
                State::Asked(until) | State::Ending(until) => (now < until, now <= until),
                State::Up => (true, true),
                // Nothing uses its ports since then; it is looked at every half of the time.
                State::Silent(since) => (
                    now < call.heard + timers.media_inactivity,
                    now <= since + timers.media_inactivity * 3 / 2 + self.slack,
                ),
                State::Gone => (false, false),
            };
            if may {
                signalling.add(call.contact.clone(), must);
                media.add(call.current.iter().chain(&call.offered).cloned(), must);
            }
        }
        (signalling, media)
    }

    /// Whether nothing more is said in a call.
    pub fn is_over(&self, call: usize, now: Instant) -> bool {
        match self.calls[call].state {
            State::Asked(until) | State::Ending(until) => now >= until,
            State::Up => false,
            State::Silent(_) | State::Gone => true,
        }
    }

    pub fn forget_registrations(&mut self) {
        self.registrations.clear();
    }

    /// Longer than anything lasts.
    pub fn forever() -> Duration {
        Duration::from_secs(8 * 24 * 3600)
    }
}
