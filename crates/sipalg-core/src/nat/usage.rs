//! How full the table is, and was.

use super::Nat;
use crate::time::Instant;

/// The most translations that there were at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Peak {
    /// How many: mappings, and addresses of pools that hosts have for themselves.
    pub count: usize,
    /// When there were first so many.
    pub at: Instant,
}

impl Nat {
    /// How many mappings there are, and were at most.
    pub fn size(&self) -> (usize, usize) {
        (self.mappings.len(), self.mappings.peak())
    }

    /// How many dynamic mappings there are, as `max-entries` counts them.
    pub fn dynamic(&self) -> u32 {
        self.loads.mappings()
    }

    /// The most translations that there were at once.
    pub fn peak(&self) -> Peak {
        self.peak
    }

    /// Begins to watch for the most translations anew.
    pub fn forget_peak(&mut self, now: Instant) {
        self.peak = Peak::default();
        self.note_peak(now);
    }

    /// There may be more than ever.
    pub(super) fn note_peak(&mut self, now: Instant) {
        let count = self.mappings.len() + self.addresses.len();
        if count > self.peak.count {
            self.peak = Peak { count, at: now };
        }
    }
}
