//! `show ip nat sip store`: what would survive a restart, and where.

use super::{View, duration};
use core::time::Duration;
use serde::Serialize;

/// `show ip nat sip store`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Store {
    /// The file; none if none can be written.
    pub file: Option<String>,
    /// How many records are in it.
    pub records: u64,
    /// How often it was written since the start.
    pub commits: u64,
    /// How long ago it was written last.
    pub written_seconds_ago: Option<u64>,
    /// How many bytes of changes wait to be written.
    pub waiting_bytes: u64,
    /// How often it could not be written.
    pub failures: u64,
    /// What is wrong now, and what to do.
    pub trouble: Option<String>,
}

impl View for Store {
    fn text(&self) -> String {
        let mut text = match &self.file {
            Some(file) => format!("Store is {file}\n"),
            None => "Store is nowhere: a restart loses calls and registrations\n".into(),
        };
        let written = self.written_seconds_ago.map_or("never".into(), |seconds| {
            format!("last {} ago", duration(Duration::from_secs(seconds)))
        });
        text += &format!(
            "  {} records, {} commits, {written}, {} bytes wait, {} failures\n",
            self.records, self.commits, self.waiting_bytes, self.failures
        );
        if let Some(trouble) = &self.trouble {
            text += &format!("  Trouble: {trouble}\n");
        }
        text
    }
}
