//! What can be done of what the kernel refused as a whole: when a set is full or memory is short,
//! what still finds room shall not suffer with what does not.

use super::*;

impl Kernel {
    /// Carries out what the kernel takes of operations that it refused as a whole. All that a message
    /// opens of one inside host is opened or none of it, so that there is no RTP without RTCP.
    /// Returns the doors that should be open and are not.
    pub fn apply_apart(&mut self, addresses: &[AddressOp], doors: &[DoorOp]) -> Vec<Door> {
        for address in addresses {
            // The next restoring gives what is refused here.
            let _ = self.apply(std::slice::from_ref(address), &[]);
        }
        let mut failed = Vec::new();
        for part in doors.chunk_by(belong_together) {
            if self.apply(&[], part).is_err() {
                let wanted = part.iter().filter(|op| !matches!(op, DoorOp::Close(_)));
                failed.extend(wanted.map(|op| *op.door()));
            }
        }
        failed
    }
}

fn belong_together(one: &DoorOp, next: &DoorOp) -> bool {
    let closes = |op: &DoorOp| matches!(op, DoorOp::Close(_));
    let host = |op: &DoorOp| *op.door().inside_local.ip();
    closes(one) == closes(next) && host(one) == host(next)
}
