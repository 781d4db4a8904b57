//! What passes unread.

/// How much passes without being looked at: nothing, what is left of an oversize message, or all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Unread(u64);

impl Unread {
    /// Demoted.
    pub const ALL: Unread = Unread(u64::MAX);

    /// Set if nothing of the message has passed yet.
    const BEGINS: u64 = 1 << 63;

    /// So many bytes; no stream has as many as have no place.
    pub fn rest(bytes: u64, begins: bool) -> Self {
        match bytes.min(Self::BEGINS - 2) {
            0 => Unread(0),
            bytes if begins => Unread(bytes | Self::BEGINS),
            bytes => Unread(bytes),
        }
    }

    /// What is left of a message, and whether none of it has passed.
    pub fn of_message(self) -> Option<(u64, bool)> {
        let some = self != Unread::ALL && self.0 != 0;
        some.then_some((self.0 & !Self::BEGINS, self.0 & Self::BEGINS != 0))
    }
}
