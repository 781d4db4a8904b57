//! The configuration file, read at the start and again whenever it is asked for.

use crate::kernel::Plan;
use crate::plan::{self, Interfaces};
use sipalg_ios::{ConfigError, Startup};
use std::fs;
use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;

/// What the command line says about the configuration.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Where intercepted connections and datagrams arrive.
    pub listener: SocketAddrV4,
    /// Whether messages are fixed up.
    pub fixup: bool,
}

/// Why a configuration cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A line is wrong.
    #[error("{}", error.in_file(path.display()))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Which line, and what was expected.
        error: ConfigError,
    },
    /// It lacks something.
    #[error("{}: {error}", path.display())]
    Lacking {
        /// The file.
        path: PathBuf,
        /// What.
        error: plan::Error,
    },
}

impl Source {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or is wrong.
    pub fn read(&self) -> Result<Startup, Problem> {
        let path = || self.path.clone();
        let text = fs::read_to_string(&self.path).map_err(|error| Problem::Unreadable {
            path: path(),
            error,
        })?;
        Startup::parse(&text).map_err(|error| Problem::Wrong {
            path: path(),
            error,
        })
    }

    /// What the kernel must do for `startup` on a host with these interfaces.
    ///
    /// # Errors
    /// It lacks something.
    pub fn plan(&self, startup: &Startup, interfaces: &Interfaces) -> Result<Plan, Problem> {
        plan::plan(startup, interfaces, self.listener).map_err(|error| Problem::Lacking {
            path: self.path.clone(),
            error,
        })
    }
}

/// The interfaces of this host, each with its first IPv4 address.
///
/// # Errors
/// The kernel does not list them.
pub fn interfaces() -> io::Result<Interfaces> {
    let mut interfaces = Interfaces::new();
    for entry in nix::ifaddrs::getifaddrs()? {
        let address = entry
            .address
            .as_ref()
            .and_then(|address| address.as_sockaddr_in());
        let known = interfaces.entry(entry.interface_name).or_default();
        *known = known.or(address.map(|address| address.ip()));
    }
    Ok(interfaces)
}
