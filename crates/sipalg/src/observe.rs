//! Turns what the machine saw into the debug lines of whoever watches, and what the operator must
//! know into lines on stderr.

use crate::commands::Debug;
use crate::console::Console;
use crate::log::{self, Seldom};
use jiff::{Timestamp, ZonedDateTime};
use sipalg_core::addr::{Ends, Ipv4Addr};
use sipalg_core::config::Resource;
use sipalg_core::{Alg, Event, FlowId, Instant, Leg, Outbox};
use sipalg_ios::{debug, json};
use std::rc::Rc;

/// What a piece of the events is about.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Who speaks with whom.
    pub ends: Ends,
    /// The leg that something came in by.
    pub from: Leg,
}

/// Who watches what, as the console said when it last changed.
#[derive(Debug, Default)]
pub struct Observers {
    /// Clients of the console, each with what it wants to see.
    clients: Vec<(usize, Vec<Rc<Debug>>)>,
}

impl Observers {
    /// Follows the console, and has the machine change nothing where somebody wants a dry run.
    pub fn follow(&mut self, console: &mut Console, alg: &mut Alg) {
        if console.watch_changed() {
            self.clients = console.watchers();
            alg.dry_run(console.dry_runs());
        }
    }

    /// Whether anybody wants to see anything.
    pub fn look(&self) -> bool {
        !self.clients.is_empty() || log::is_json()
    }

    /// Says what of the flow between these two is to be told; or of what belongs to none.
    pub fn prepare(&self, ends: Option<&Ends>, out: &mut Outbox) {
        (out.watch, out.detailed) = (log::is_json(), log::is_json());
        if self.clients.is_empty() {
            return;
        }
        let wants = self.clients.iter().flat_map(|(_, wants)| wants);
        for debug in wants.filter(|debug| ends.is_none_or(|ends| debug.flows.has(ends))) {
            out.watch = true;
            out.detailed |= debug.what.detailed;
        }
    }

    /// The same of a flow of the machine.
    pub fn prepare_for(&self, alg: &Alg, flow: FlowId, out: &mut Outbox) {
        let ends = self.look().then(|| alg.ends(flow));
        self.prepare(ends.flatten().as_ref(), out);
    }

    /// Shows events to those who want them.
    pub fn show(&self, console: &mut Console, about: Option<About>, events: &[Event]) {
        if events.is_empty() || !self.look() {
            return;
        }
        let now = ZonedDateTime::now();
        for event in events.iter().filter(|_| log::is_json()) {
            log::event(&now, about, event);
        }
        let stamp = stamp(&now);
        for (key, wants) in &self.clients {
            let mut begun = false;
            for event in events {
                let Some(debug) = wants.iter().find(|debug| wanted(debug, about, event)) else {
                    continue;
                };
                if debug.what.json {
                    console.debug(*key, "", &json_line(&now, about, event));
                    continue;
                }
                if let Some(About { ends, from }) = about.filter(|_| debug.what.detailed && !begun)
                {
                    console.debug(*key, &stamp, &debug::flow_line(&ends, from));
                    begun = true;
                }
                debug::lines(event, &mut |line| console.debug(*key, &stamp, line));
            }
        }
    }
}

/// An event as a line of JSON.
pub fn json_line(now: &ZonedDateTime, about: Option<About>, event: &Event) -> String {
    let about = about.map(|about| (about.ends, about.from));
    json::event(&time(now), about, event)
}

/// The time as JSON has it: RFC 3339 with microseconds, in UTC.
pub fn time(now: &ZonedDateTime) -> String {
    let micros = now.timestamp().as_microsecond();
    let whole = Timestamp::from_microsecond(micros).unwrap_or_default();
    format!("{whole:.6}")
}

fn wanted(debug: &Debug, about: Option<About>, event: &Event) -> bool {
    let flows = &debug.flows;
    let is_meant = match (about, event.host()) {
        (Some(about), _) => flows.has(&about.ends),
        (None, Some(host)) => flows.has_host(host),
        (None, None) => true,
    };
    is_meant && (debug.what.detailed || !event.is_detail())
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
    /// The kernel does not make doors.
    pub refused: Seldom,
    exhausted: Seldom,
    too_many: Seldom,
    /// In the order of [`Resource::ALL`].
    limits: [Seldom; Resource::ALL.len()],
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
                Event::LimitReached {
                    resource,
                    host,
                    share,
                } => {
                    let seldom = &mut self.limits[*resource as usize];
                    limit_line(seldom, now, *resource, *host, *share);
                }
                _ => {}
            }
        }
    }
}

/// What to do about it is to let the host have more, or to look what it does.
fn limit_line(seldom: &mut Seldom, now: Instant, of: Resource, host: Ipv4Addr, share: Option<u64>) {
    let name = of.name();
    match share {
        Some(share) => seldom.line(
            now,
            format_args!(
                "{host} has all that one host may have of {name}, {share}; if it is in order, see \
                 `ip nat service sip limit {name} all-host`"
            ),
        ),
        None => seldom.line(
            now,
            format_args!(
                "there is no room for more {name}, asked for by {host}; `show ip nat sip limits` \
                 names who has most"
            ),
        ),
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
    fn times_look_as_in_ios_and_as_in_rfc_3339() {
        let at = date(2026, 5, 3)
            .at(4, 11, 17, 43_000_000)
            .to_zoned_datetime(TimeZone::UTC)
            .unwrap();
        assert_eq!(stamp(&at), "May  3 04:11:17.043 UTC");
        assert_eq!(time(&at), "2026-05-03T04:11:17.043000Z");
    }
}
