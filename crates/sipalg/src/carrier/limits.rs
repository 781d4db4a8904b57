//! Who is not read for a while, and who is reset: what the machine's
//! [`Admission`](sipalg_core::admission::Admission) has decided.

use super::Carrier;
use crate::log;
use nix::sys::resource::{Resource as OfProcess, getrlimit};
use sipalg_core::config::Resource;
use sipalg_core::{FlowId, Instant};
use std::mem;

/// Descriptors that are not for connections: the listener, the console, the kernel.
const OTHER_DESCRIPTORS: u64 = 128;

/// Links that are held back, and flows that are to be reset.
#[derive(Debug, Default)]
pub(super) struct Held {
    keys: Vec<usize>,
    /// Until when.
    pub until: Option<Instant>,
    pub condemned: Vec<FlowId>,
}

impl Held {
    /// A link is not read until then: the peer sees its window close.
    pub fn add(&mut self, until: Instant, key: usize) {
        self.keys.push(key);
        self.until = Some(self.until.map_or(until, |at| at.min(until)));
    }
}

impl Carrier {
    /// Lets the machine know how many connections there are descriptors for.
    pub(super) fn know_descriptors(&mut self) {
        match getrlimit(OfProcess::RLIMIT_NOFILE) {
            Ok((most, _)) => {
                let most = most.saturating_sub(OTHER_DESCRIPTORS) / 2;
                self.alg.set_ceiling(Resource::Connection, most);
            }
            Err(errno) => log::line(format_args!("cannot read the limit of open files: {errno}")),
        }
    }

    /// Those that were held back are read again, if it is time.
    pub(super) fn read_again(&mut self, now: Instant) {
        if self.held.until.is_none_or(|until| until > now) {
            return;
        }
        self.held.until = None;
        for key in mem::take(&mut self.held.keys) {
            // Another link may have the key by now: it is looked at for nothing.
            if let Some(link) = self.links.get_mut(key)
                && mem::take(&mut link.held) != 0
                && !mem::replace(&mut link.queued, true)
            {
                self.queue.push(key);
            }
        }
    }

    /// Resets the flows that must be.
    pub(super) fn reset_condemned(&mut self, now: Instant) {
        self.held.condemned.append(&mut self.out.resets);
        if self.held.condemned.is_empty() {
            return;
        }
        let mut names = mem::take(&mut self.held.condemned);
        names.sort_unstable();
        self.reset(now, &names);
    }
}
