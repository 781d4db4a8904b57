//! Time as the caller tells it.

use core::num::NonZeroU64;
use core::ops::{Add, Sub};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// A point on the caller's monotonic clock, in microseconds since an origin of the caller's choice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
// One more than the microseconds, so that it takes no more room where there may be none.
pub struct Instant(NonZeroU64);

impl Instant {
    /// The origin of the clock.
    pub const ZERO: Instant = Instant(NonZeroU64::MIN);

    /// The instant `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Instant(NonZeroU64::MIN.saturating_add(micros))
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0.get() - 1
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Instant {
    fn default() -> Self {
        Instant::ZERO
    }
}

impl From<u64> for Instant {
    fn from(micros: u64) -> Self {
        Instant::from_micros(micros)
    }
}

impl From<Instant> for u64 {
    fn from(at: Instant) -> u64 {
        at.as_micros()
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, after: Duration) -> Instant {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(micros))
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}
