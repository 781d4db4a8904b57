//! What the end-to-end tests stand on: networks of real hosts, and the programs on them.
//!
//! ```text
//!   net       hosts as network namespaces on two wires, the gateway between
//!   process   a program on a host: what it says, and its end
//!   gateway   the program under test, its console, the doors it has in the kernel
//!   capture   every packet that a host sees
//!   sip       SIP messages and the TCP peers of our own
//!   post      the UDP peers of our own
//!   media     RTP peers of our own, which count what they hear
//!   call, registration        a conversation of our own peers, step by step
//!   baresip, iperf, kamailio, sipp, stun   real peers
//! ```

pub mod baresip;
pub mod call;
pub mod capture;
pub mod gateway;
pub mod iperf;
pub mod kamailio;
pub mod media;
pub mod net;
pub mod post;
pub mod process;
pub mod registration;
pub mod sip;
pub mod sipp;
pub mod stun;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Everything waits for events, so a healthy
/// run never comes near it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again, for want of an event, until there is an answer.
///
/// # Panics
/// There was none in time; `what` says what was waited for.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder of its own in the temporary folder, removed when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one.
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(unique());
        std::fs::create_dir(&path).expect("a temporary folder");
        Folder(path)
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in it, and tells its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file in a temporary folder");
        path
    }

    /// The folder itself.
    pub fn itself(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: it is in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What all names begin with that a run makes on this machine.
pub const PREFIX: &str = "sipalg-e2e";

/// A name that nothing else on this machine has: the prefix, our process id, a number.
pub fn unique() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}-{}-{number}", std::process::id())
}
