//! Instants that stay true across processes, crashes and reboots.
//!
//! They count on CLOCK_BOOTTIME, which nobody sets and which counts the time of suspend, too. It
//! starts anew with the machine; then, and only then, the wall clock says how much time has gone by.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use sipalg_core::Instant;
use std::fs;
use std::time::Duration;

/// A wall clock that went this far while the machine was off is taken for wrong.
const TOO_LONG: i64 = 10 * 365 * 24 * 3600 * 1_000_000;

/// A moment, as this machine tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Which start of the machine it is in: the kernel's boot id.
    pub boot: String,
    /// Microseconds since then, suspend included.
    pub since_boot: i64,
    /// Microseconds since 1970 by the wall clock, which may be wrong.
    pub wall: i64,
}

impl Moment {
    /// The present one.
    pub fn now() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Moment {
            boot: boot.trim().into(),
            since_boot: since_boot(),
            wall: Timestamp::now().as_microsecond(),
        }
    }
}

/// Where the machine's instants count from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epoch {
    /// In microseconds of CLOCK_BOOTTIME; negative if it was before this start of the machine.
    origin: i64,
}

impl Epoch {
    /// Instants count from this moment.
    pub fn begin(at: &Moment) -> Self {
        Epoch {
            origin: at.since_boot,
        }
    }

    /// Instants count from this time on CLOCK_BOOTTIME, in microseconds.
    pub fn from_origin(origin: i64) -> Self {
        Epoch { origin }
    }

    /// What [`Epoch::from_origin`] makes the same epoch of.
    pub fn origin(self) -> i64 {
        self.origin
    }

    /// Goes on with an epoch that was in force when `last` was noted: after a reboot, the time that
    /// went by on the wall clock has gone by. Where that cannot be, none has, and a sentence says so.
    pub fn resume(self, last: &Moment, now: &Moment) -> (Self, Option<String>) {
        if last.boot == now.boot {
            return (self, None);
        }
        let by = now.wall.saturating_sub(last.wall);
        let (elapsed, doubt) = match by {
            0..TOO_LONG => (by, None),
            _ => (0, Some(distrust(last, now))),
        };
        let counted = last.since_boot.saturating_sub(self.origin);
        let counted = counted.max(0).saturating_add(elapsed);
        let origin = now.since_boot.saturating_sub(counted);
        (Epoch { origin }, doubt)
    }

    /// The present instant.
    pub fn now(self) -> Instant {
        self.at(since_boot())
    }

    /// How much time is between the origin and this time on CLOCK_BOOTTIME.
    fn at(self, since_boot: i64) -> Instant {
        let micros = since_boot.saturating_sub(self.origin);
        Instant::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

fn distrust(last: &Moment, now: &Moment) -> String {
    let time = |moment: &Moment| {
        Timestamp::from_microsecond(moment.wall)
            .map_or_else(|_| "beyond all time".into(), |time| format!("{time:.0}"))
    };
    format!(
        "the machine was started anew, and its clock says {}, though it said {} before: how long it \
         was off is not known, and timers go on as if no time had gone by; set the clock before the \
         gateway starts",
        time(now),
        time(last)
    )
}

/// Microseconds of CLOCK_BOOTTIME. Every kernel that we run on has it.
fn since_boot() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const YEAR: i64 = 365 * 24 * 3600 * SECOND;

    fn moment(boot: &str, since_boot: i64, wall: i64) -> Moment {
        let boot = boot.into();
        Moment {
            boot,
            since_boot,
            wall,
        }
    }

    /// What an instant 30 s after the origin has become, 5 s after the present moment.
    fn resumed(last: &Moment, now: &Moment) -> (Duration, Option<String>) {
        let begun = Epoch::begin(&moment("one", last.since_boot - 30 * SECOND, 0));
        let (epoch, doubt) = begun.resume(last, now);
        let at = epoch.at(now.since_boot + 5 * SECOND);
        (at.since(Instant::ZERO), doubt)
    }

    #[test]
    fn within_one_start_of_the_machine_the_wall_clock_means_nothing() {
        let last = moment("one", 100 * SECOND, 50 * YEAR);
        for jump in [-10 * YEAR, -SECOND, 0, SECOND, 10 * YEAR] {
            let now = moment("one", 160 * SECOND, 50 * YEAR + jump);
            assert_eq!(resumed(&last, &now), (Duration::from_secs(95), None));
        }
    }

    #[test]
    fn after_a_reboot_the_time_on_the_wall_clock_has_gone_by() {
        let last = moment("one", 100_000 * SECOND, 50 * YEAR);
        let now = moment("two", 20 * SECOND, 50 * YEAR + 90 * SECOND);
        assert_eq!(resumed(&last, &now), (Duration::from_secs(125), None));
    }

    #[test]
    fn a_wall_clock_that_jumped_is_not_trusted_and_no_time_goes_by() {
        let last = moment("one", 100 * SECOND, 50 * YEAR);
        for jump in [-10 * YEAR, -1, 10 * YEAR, i64::MIN, i64::MAX] {
            let wall = (50 * YEAR).saturating_add(jump);
            let (after, doubt) = resumed(&last, &moment("two", 20 * SECOND, wall));
            assert_eq!(after, Duration::from_secs(35), "{jump}");
            assert!(doubt.is_some_and(|said| said.contains("set the clock")));
        }
    }

    #[test]
    fn the_clock_of_this_machine_goes_forward() {
        let epoch = Epoch::begin(&Moment::now());
        let first = epoch.now();
        assert!(first.since(Instant::ZERO) < Duration::from_secs(5));
        assert!(epoch.now() >= first);
        assert_eq!(Moment::now().boot.len(), 36);
    }
}
