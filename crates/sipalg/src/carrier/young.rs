//! What a connection needs only if it lasts: most of those that a phone opens for one REGISTER are
//! over before.

use super::{Carrier, Link};
use crate::tcp;
use sipalg_core::{Instant, Leg};
use socket2::SockRef;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a connection is young: no longer than a delayed acknowledgment may take (RFC 9293 section
/// 3.8.6.3 allows half a second), since until then its legs only acknowledge with what they send.
const YOUTH: Duration = Duration::from_millis(20);

/// Connections that are young, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Young(VecDeque<(Instant, usize)>);

impl Young {
    /// The link of this key is from now on.
    pub(super) fn add(&mut self, now: Instant, key: usize) {
        self.0.push_back((now + YOUTH, key));
    }

    /// When the first of them has lasted.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.front().map(|(at, _)| *at)
    }

    fn next(&mut self, now: Instant) -> Option<usize> {
        let (_, key) = self.0.pop_front_if(|(at, _)| *at <= now)?;
        if self.0.is_empty() {
            self.0.shrink_to(64);
        }
        Some(key)
    }
}

impl Carrier {
    /// Gives those connections that have lasted what they need.
    pub(super) fn let_grow(&mut self, now: Instant) {
        while let Some(key) = self.young.next(now) {
            let Some(link) = self.links.get_mut(key) else {
                continue;
            };
            // Another link may have the key by now, which has its own turn.
            if now.since(link.opened) < YOUTH {
                continue;
            }
            match link.conn.dialling() {
                true => self.young.add(now, key),
                false => link.has_lasted(),
            }
        }
    }
}

impl Link {
    fn has_lasted(&mut self) {
        let dialled = self.conn.accepted().other();
        // A leg that cannot be watched is better than none.
        let _ = tcp::set_keepalive(SockRef::from(&*self.conn.socket_mut(dialled)));
        for leg in [Leg::Inside, Leg::Outside] {
            tcp::acknowledge(SockRef::from(&*self.conn.socket_mut(leg)));
        }
    }
}
