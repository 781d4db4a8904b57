//! The gateway: everything that touches sockets, the kernel and the clock.
//!
//! ```text
//!   cli -> daemon -> worker --+-- listen, conn   TCP legs (TPROXY in, dialled out)
//!                             +-- kernel         nftables doors, conntrack, host settings
//!                             +-- console        the Unix socket of `sipalg console`
//!   lab                       an embedded network that runs the real gateway and judges it
//! ```

pub mod cli;
pub mod console;
pub mod daemon;
pub mod kernel;
pub mod lab;
pub mod netlink;
