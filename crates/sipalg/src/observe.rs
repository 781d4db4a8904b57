//! Turns what the machine saw into the debug lines of whoever watches, and what the operator must
//! know into lines on stderr.

use crate::console::Console;
use crate::log::Seldom;
use jiff::ZonedDateTime;
use sipalg_core::{Event, Instant};

/// Shows events to the console's clients, each line with the time as IOS writes it.
pub fn observe(console: &mut Console, events: &[Event]) {
    if events.is_empty() {
        return;
    }
    let stamp = stamp(&ZonedDateTime::now());
    for event in events {
        sipalg_ios::debug::lines(event, &mut |line| console.debug(&stamp, line));
    }
}

/// What the operator must know, however often peers bring it about.
#[derive(Debug, Default)]
pub struct Alarms {
    /// There is no room for one more flow of datagrams.
    pub no_room: Seldom,
    /// Datagrams cannot be heard.
    pub unheard: Seldom,
    /// A datagram cannot be sent.
    pub unsent: Seldom,
    exhausted: Seldom,
    too_many: Seldom,
}

impl Alarms {
    /// Tells of the alarms among the events.
    pub fn sound(&mut self, now: Instant, events: &[Event]) {
        for event in events {
            match event {
                Event::PoolExhausted { host } => self.exhausted.line(
                    now,
                    format_args!("no inside global address is free for {host}; enlarge its pool"),
                ),
                Event::TooManyEntries { inside_local, .. } => self.too_many.line(
                    now,
                    format_args!(
                        "no mapping for {inside_local}: `ip nat translation max-entries` is reached"
                    ),
                ),
                _ => {}
            }
        }
    }
}

/// `May 23 14:11:17.243 IST`: as `service timestamps debug datetime msec localtime show-timezone`.
fn stamp(time: &ZonedDateTime) -> String {
    time.strftime("%b %e %H:%M:%S.%3f %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    #[test]
    fn times_look_as_in_ios() {
        let at = date(2026, 5, 3)
            .at(4, 11, 17, 43_000_000)
            .to_zoned_datetime(TimeZone::UTC)
            .unwrap();
        assert_eq!(stamp(&at), "May  3 04:11:17.043 UTC");
    }
}
