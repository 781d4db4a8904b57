//! How full the kernel's connection table is: no flow can begin in a full one.

use super::{Kernel, KernelError};

/// The connection table of this network namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tracking {
    /// Connections in it.
    pub used: u32,
    /// Connections that it may hold (net.netfilter.nf_conntrack_max); zero is any number.
    pub most: u32,
    /// Connections that were not begun, or ended early, for want of room.
    pub without_room: u64,
}

impl Tracking {
    /// What the operator must know, since `before`.
    pub fn trouble(&self, before: &Tracking) -> Option<String> {
        let Tracking { used, most, .. } = *self;
        let lost = self.without_room.saturating_sub(before.without_room);
        let is_full = most > 0 && u64::from(used) * 20 >= u64::from(most) * 19;
        let lost = match (is_full, lost) {
            (false, _) => return None,
            (true, 0) => String::new(),
            (true, lost) => format!(", and {lost} connections found no room"),
        };
        Some(format!(
            "the kernel tracks {used} of at most {most} connections{lost}: new calls will have no \
             media; raise net.netfilter.nf_conntrack_max"
        ))
    }
}

impl Kernel {
    /// How full the connection table is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn tracking(&mut self) -> Result<Tracking, KernelError> {
        self.sweep
            .tracking()
            .map_err(|error| KernelError::refused("to tell how many connections it tracks", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_almost_full_is_told_with_what_found_no_room() {
        let before = Tracking {
            used: 10,
            most: 100,
            without_room: 5,
        };
        assert_eq!(before.trouble(&Tracking::default()), None);
        let full = Tracking { used: 95, ..before };
        let said = full.trouble(&before).unwrap();
        assert!(
            said.starts_with("the kernel tracks 95 of at most 100 connections: new"),
            "{said}"
        );
        let over = Tracking {
            without_room: 8,
            ..full
        };
        let said = over.trouble(&full).unwrap();
        assert!(said.contains("and 3 connections found no room"), "{said}");
        assert_eq!(Tracking { most: 0, ..over }.trouble(&full), None);
    }
}
