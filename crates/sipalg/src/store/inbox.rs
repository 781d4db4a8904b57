//! How the worker hands changes to the thread that writes them. They gather in one place, and the
//! thread takes them when it is going to write: it is woken by the first after a pause only, so that
//! a worker with thousands of changes a second wakes nobody for each. What comes and goes while they
//! gather is never written.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many bytes of changes are not left to gather any longer.
const MUCH: usize = 2 * 1024 * 1024;

/// What has gathered.
#[derive(Debug, Default)]
pub(super) struct Fed {
    /// As [`changes::append`](super::changes::append) wrote them.
    pub(super) changes: Vec<u8>,
    /// These are all records there are, instead of all there were.
    pub(super) all: bool,
    /// How many bytes of changes there have been with these.
    pub(super) upto: u64,
    /// Nothing more will come.
    pub(super) closed: bool,
}

impl Fed {
    /// Whether there is nothing to be done about it.
    fn is_nothing(&self) -> bool {
        self.changes.is_empty() && !self.all && !self.closed
    }

    /// Whether more may gather.
    fn has_time(&self) -> bool {
        !self.closed && self.changes.len() < MUCH
    }
}

/// Where changes gather.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    fed: Mutex<Fed>,
    arrived: Condvar,
}

impl Inbox {
    /// These records have changed, too.
    pub(super) fn feed(&self, changes: &[u8], upto: u64) {
        self.put(|fed| {
            fed.changes.extend_from_slice(changes);
            fed.upto = upto;
        });
    }

    /// These are all records.
    pub(super) fn replace(&self, changes: Vec<u8>, upto: u64) {
        self.put(|fed| {
            fed.changes = changes;
            fed.all = true;
            fed.upto = upto;
        });
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Waits until something comes, and then for as long as `gather` for more of it. `None`: nothing
    /// has come until then.
    pub(super) fn take(&self, until: Option<Instant>, gather: Duration) -> Option<Fed> {
        let fed = self.wait(self.lock(), until, Fed::is_nothing);
        if fed.is_nothing() {
            return None;
        }
        let soon = Instant::now() + gather;
        let mut fed = self.wait(fed, Some(soon), Fed::has_time);
        let (upto, closed) = (fed.upto, fed.closed);
        Some(mem::replace(
            &mut fed,
            Fed {
                upto,
                closed,
                ..Fed::default()
            },
        ))
    }

    fn put(&self, change: impl FnOnce(&mut Fed)) {
        let mut fed = self.lock();
        let (is_first, had_time) = (fed.is_nothing(), fed.has_time());
        change(&mut fed);
        let is_awaited = is_first || (had_time && !fed.has_time());
        drop(fed);
        if is_awaited {
            self.arrived.notify_one();
        }
    }

    /// Waits while that holds, at most until then.
    fn wait<'a>(
        &self,
        mut fed: MutexGuard<'a, Fed>,
        until: Option<Instant>,
        lasts: impl Fn(&Fed) -> bool,
    ) -> MutexGuard<'a, Fed> {
        while lasts(&fed) {
            let Some(until) = until else {
                let waited = self.arrived.wait(fed);
                fed = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.arrived.wait_timeout(fed, left);
            fed = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        fed
    }

    fn lock(&self) -> MutexGuard<'_, Fed> {
        self.fed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::changes;

    #[test]
    fn what_gathers_is_taken_at_once_without_what_came_before_all_was_replaced() {
        let inbox = Inbox::default();
        let (mut one, mut two) = (Vec::new(), Vec::new());
        changes::append(&mut one, b"a", Some(b"1"));
        changes::append(&mut two, b"b", None);
        inbox.feed(b"of before", 9);
        inbox.replace(one.clone(), 10);
        inbox.feed(&two, 12);
        let fed = inbox.take(None, Duration::ZERO).expect("changes");
        assert_eq!((fed.all, fed.upto, fed.closed), (true, 12, false));
        assert_eq!(fed.changes, [one, two].concat());
        assert!(inbox.take(Some(Instant::now()), Duration::ZERO).is_none());
        inbox.feed(b"last", 13);
        inbox.close();
        // Once it is closed, nobody waits for more to gather.
        let fed = inbox.take(None, HOUR).expect("the end");
        assert_eq!((fed.all, fed.upto, fed.closed), (false, 13, true));
        assert_eq!(fed.changes, b"last");
    }

    #[test]
    fn what_has_become_much_is_taken_before_its_time() {
        let inbox = Inbox::default();
        inbox.feed(b"a little", 8);
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| inbox.take(None, HOUR).expect("changes"));
            inbox.feed(&vec![b'x'; MUCH], 9);
            assert_eq!(taken.join().expect("no panic").upto, 9);
        });
    }

    const HOUR: Duration = Duration::from_secs(3600);
}
