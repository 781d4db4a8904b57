//! What the gateway may still do once it runs, and that it gives up the rest for good.

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl::set_no_new_privs;

/// What the worker needs: rules, routes, settings, transparent sockets and marks; and source ports
/// below 1024, where somebody outside has one and the inside host shall see it.
pub const RUNNING: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_BIND_SERVICE];

/// What the keeper has for the workers that it will start: they may have to make the socket that
/// sends datagrams ([`crate::udp`]) besides.
pub const STARTING: [Capability; 3] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
];

/// The kernel refuses to take a privilege away.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the sets of capabilities stays as it was.
    #[error("cannot give up privileges: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    /// Programs that this one starts could still gain privileges.
    #[error("cannot give up to gain privileges: {0}")]
    NewPrivileges(#[from] nix::Error),
}

/// Gives up every capability but those `kept`, in every set, for good: no program that is started
/// from here gets one back, not even one that is setuid.
///
/// What is kept and was there stays for programs that are started, too (ambient), so that a
/// gateway can hand over to another. A thread has privileges of its own: those that were started
/// before keep what they have.
///
/// # Errors
/// The kernel refuses, which it never does to give up something.
pub fn drop_all_but(kept: &[Capability]) -> Result<(), Error> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = permitted
        .intersection(&kept.iter().copied().collect())
        .copied()
        .collect();
    // Who may not narrow the bound of what can ever be had has no way to reach it, either, from
    // the last line on.
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for other in caps::runtime::thread_all_supported().difference(&kept) {
            caps::drop(None, CapSet::Bounding, *other)?;
        }
    }
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::set(None, CapSet::Inheritable, &kept)?;
    caps::set(None, CapSet::Ambient, &kept)?;
    Ok(set_no_new_privs()?)
}
