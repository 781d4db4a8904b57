//! `show ip nat sip kernel`: whether the kernel does what it should.

use super::{View, duration, known};
use core::time::Duration;
use serde::Serialize;

/// `show ip nat sip kernel`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Kernel {
    /// What was in the kernel that should not be, or was missing, and was put right: how often.
    pub restored: u64,
    /// How long ago the last time was.
    pub restored_seconds_ago: Option<u64>,
    /// What was put right then.
    pub restored_what: Option<String>,
    /// Doors that were missing and were made, in all.
    pub doors_made: u64,
    /// Doors that should not have been there and were closed, in all.
    pub doors_closed: u64,
    /// Changes that the kernel refused.
    pub refused: u64,
    /// Doors that could not be made.
    pub doors_failed: u64,
    /// Connections that it tracks.
    pub connections: Option<u64>,
    /// Connections that it may track.
    pub connections_limit: Option<u64>,
    /// Connections that found no room, or ended early for it.
    pub connections_without_room: Option<u64>,
}

impl View for Kernel {
    fn text(&self) -> String {
        let mut text = format!(
            "Rules and doors put right {} times ({} doors made, {} closed)\n",
            self.restored, self.doors_made, self.doors_closed
        );
        if let (Some(seconds), Some(what)) = (self.restored_seconds_ago, &self.restored_what) {
            let ago = duration(Duration::from_secs(seconds));
            text += &format!("  Last {ago} ago: {what}\n");
        }
        text += &format!(
            "Changes refused by the kernel {}, doors that could not be made {}\n",
            self.refused, self.doors_failed
        );
        text += &format!(
            "Connections tracked {} of at most {}, {} found no room\n",
            known(self.connections),
            known(self.connections_limit),
            known(self.connections_without_room)
        );
        text
    }
}
