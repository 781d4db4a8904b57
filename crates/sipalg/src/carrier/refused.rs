//! Doors that the kernel does not make, and what is in the kernel against what the machine thinks.

use super::Carrier;
use crate::kernel::{Adopted, KernelError};
use crate::log;
use sipalg_core::Instant;

impl Carrier {
    /// The kernel has refused what the machine has put out as a whole. Whatever of it can be done is
    /// done; the machine learns of doors that are not there.
    pub(super) fn refused(&mut self, now: Instant, error: &KernelError) {
        let (doors, addresses) = (&self.out.doors, &self.out.addresses);
        self.alarms.refused.line(
            now,
            format_args!(
                "cannot change {} doors and {} addresses: {error}",
                doors.len(),
                addresses.len()
            ),
        );
        // What someone has taken away is put back with all that should be in it, these included.
        if error.is_gone() && self.restore().is_ok() {
            return;
        }
        let (doors, addresses) = (&self.out.doors, &self.out.addresses);
        let failed = self.kernel.apply_apart(addresses, doors);
        self.lacks_doors |= !failed.is_empty();
        for door in &failed {
            self.alg.door_failed(now, door);
        }
    }

    /// Makes the kernel what the machine thinks that it is, and says what had to be done.
    ///
    /// # Errors
    /// The kernel's. Then it is to be done again.
    pub fn restore(&mut self) -> Result<Adopted, KernelError> {
        let found = self
            .kernel
            .restore(&self.alg.doors(), &self.alg.addresses())?;
        if found.is_change() {
            log::line(format_args!(
                "the kernel was not as it should be, and was put right: {found}"
            ));
        }
        Ok(found)
    }

    /// Opens doors anew that could not be made, if they are still wanted; the next turn carries it
    /// out. They fail again if there is still no room.
    pub fn retry_doors(&mut self, now: Instant) {
        if std::mem::take(&mut self.lacks_doors) {
            self.observers.prepare(None, &mut self.out);
            self.alg.retry_doors(now, &mut self.out);
        }
    }

    /// Whether doors that the machine wants could not be made.
    pub fn lacks_doors(&self) -> bool {
        self.lacks_doors
    }
}
