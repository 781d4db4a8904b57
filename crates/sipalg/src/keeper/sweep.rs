//! The table of descriptors that the worker before has left.

use super::layout::Name;
use super::memory::inherit;
use super::region::Region;
use crate::tcp::is_new;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

/// What of it goes on.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Where intercepted connections arrive.
    pub listener: Option<OwnedFd>,
    /// Where intercepted datagrams arrive.
    pub ear: Option<OwnedFd>,
    /// The console's socket.
    pub console: Option<OwnedFd>,
    /// Connections that were accepted, and nothing more.
    pub accepted: Vec<OwnedFd>,
}

/// Goes through the table: takes what has a name, leaves to their owners those of the keeper (`own`)
/// and of the connections in the region, and closes the rest. To be called before anything is opened.
///
/// # Errors
/// The table cannot be listed.
pub fn sweep(region: &Region, own: &[RawFd]) -> io::Result<Inherited> {
    let standard = [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO];
    let mut known: BTreeSet<RawFd> = standard.iter().chain(own).copied().collect();
    let connections = region.live().into_iter();
    known.extend(
        connections
            .flat_map(|slot| region.connection(slot).0.descriptors)
            .flatten(),
    );
    let named = |name| region.shared().named(name);
    let names = [Name::Listener, Name::Ear, Name::Console].map(named);
    known.extend(names.into_iter().flatten());
    let mut inherited = Inherited::default();
    for descriptor in open()? {
        if known.contains(&descriptor) {
            continue;
        }
        // To drop it is to close it.
        if let Some(left) = inherit(descriptor)
            && is_new(left.as_fd())
        {
            inherited.accepted.push(left);
        }
    }
    let [listener, ear, console] = names.map(|descriptor| inherit(descriptor?));
    inherited.listener = listener;
    inherited.ear = ear;
    inherited.console = console;
    Ok(inherited)
}

/// All descriptors that are open.
fn open() -> io::Result<Vec<RawFd>> {
    let listed = fs::read_dir("/proc/self/fd")?;
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(listed.filter_map(number).collect())
}
