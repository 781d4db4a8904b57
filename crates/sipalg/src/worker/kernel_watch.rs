//! Looks now and then whether the kernel is as it should be, since others can change it: a firewall
//! that is loaded anew flushes our rules, too. What is not is put right and said.
//!
//! Nothing is listened to. A look costs a few microseconds (nftables tells how many transactions
//! there were), and no report of it can get lost; to hear of each element that we ourselves put in
//! would cost more than to put it in.

use crate::carrier::Carrier;
use crate::kernel::{KernelError, Tracking};
use crate::log::{self, Seldom};
use sipalg_core::Instant;
use std::time::Duration;

/// How often it looks.
const EVERY: Duration = Duration::from_millis(500);

/// How often it compares everything, whether or not it seems that someone was there.
const THOROUGHLY_EVERY: Duration = Duration::from_secs(60);

/// It takes at most one part in so many of our time.
const SHARE: u32 = 50;

/// Who changes our rules within so long again will do it once more.
const AGAIN: Duration = Duration::from_secs(60);

/// How long it waits at most before it puts right what is changed again and again.
const MOST_PATIENCE: Duration = Duration::from_secs(30);

/// When it is tried again after the kernel refused, and doors that it did not make.
const REFUSED: Duration = Duration::from_secs(5);

/// How often it looks whether the connection table is full.
const TRACKING_EVERY: Duration = Duration::from_secs(10);

/// When to look, and what was seen.
#[derive(Debug)]
pub(super) struct KernelWatch {
    look_at: Instant,
    thoroughly_at: Instant,
    retry_at: Instant,
    tracking_at: Instant,
    tracking: Tracking,
    /// When something was put right last.
    restored_at: Option<Instant>,
    /// How long what is changed again stays as it is.
    patience: Duration,
    refused: Seldom,
    full: Seldom,
}

impl KernelWatch {
    /// Everything is as it should be now.
    pub(super) fn new(now: Instant) -> Self {
        KernelWatch {
            look_at: now + EVERY,
            thoroughly_at: now + THOROUGHLY_EVERY,
            retry_at: now,
            tracking_at: now,
            tracking: Tracking::default(),
            restored_at: None,
            patience: Duration::ZERO,
            refused: Seldom::default(),
            full: Seldom::default(),
        }
    }

    /// When [`KernelWatch::look`] is next due.
    pub(super) fn due(&self) -> Instant {
        self.look_at
    }

    /// Does what is due.
    pub(super) fn look(&mut self, now: Instant, carrier: &mut Carrier) {
        if now < self.look_at {
            return;
        }
        self.look_at = now + EVERY;
        let looked = match self.is_due_to_restore(now, carrier) {
            Ok(false) => Ok(()),
            Ok(true) => self.restore(now, carrier),
            Err(error) => Err(error),
        };
        if looked.is_err() {
            self.look_at = now + REFUSED;
        }
        self.tell(now, looked.err());
        if carrier.lacks_doors() && self.retry_at <= now {
            self.retry_at = now + REFUSED;
            carrier.retry_doors(now);
        }
        if self.tracking_at <= now {
            self.tracking_at = now + TRACKING_EVERY;
            self.look_for_room(now, carrier);
        }
    }

    /// Says, once in a while, that the kernel refuses something.
    pub(super) fn tell(&mut self, now: Instant, error: Option<KernelError>) {
        if let Some(error) = error {
            self.refused.line(now, format_args!("{error}"));
        }
    }

    fn is_due_to_restore(
        &mut self,
        now: Instant,
        carrier: &mut Carrier,
    ) -> Result<bool, KernelError> {
        let waits = self.restored_at.is_some_and(|at| now < at + self.patience);
        if waits {
            return Ok(false);
        }
        Ok(self.thoroughly_at <= now || carrier.kernel().is_disturbed()?)
    }

    fn restore(&mut self, now: Instant, carrier: &mut Carrier) -> Result<(), KernelError> {
        let began = std::time::Instant::now();
        let found = carrier.restore()?;
        let took = began.elapsed();
        self.look_at = now + EVERY.max(took * SHARE);
        self.thoroughly_at = now + THOROUGHLY_EVERY.max(took * SHARE);
        if !found.is_change() {
            return Ok(());
        }
        let recent = self.patience + AGAIN;
        let again = self.restored_at.is_some_and(|at| now < at + recent);
        self.restored_at = Some(now);
        let before = self.patience;
        self.patience = match again {
            true => (before * 2).clamp(EVERY, MOST_PATIENCE),
            false => Duration::ZERO,
        };
        if self.patience == MOST_PATIENCE && before < MOST_PATIENCE {
            log::line(format_args!(
                "something on this host changes what is ours in the kernel again and again; from \
                 now on it is put right each {} seconds only",
                MOST_PATIENCE.as_secs()
            ));
        }
        Ok(())
    }

    fn look_for_room(&mut self, now: Instant, carrier: &mut Carrier) {
        // Older kernels may not tell; there is nothing to be done about it.
        let Ok(tracking) = carrier.kernel().tracking() else {
            return;
        };
        if let Some(trouble) = tracking.trouble(&self.tracking) {
            self.full.line(now, format_args!("{trouble}"));
        }
        self.tracking = tracking;
    }
}
