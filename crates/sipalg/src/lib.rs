//! The gateway: everything that touches sockets, the kernel and the clock.
//!
//! ```text
//!   cli --+-- daemon     a configuration file becomes a running gateway
//!         |     |-- configuration, plan      what is read, and what it means on this host
//!         |     `-- worker       the event loop
//!         |           |-- carrier    connections: tcp, listen, conn; datagrams: udp; the machine;
//!         |           |              the kernel's doors
//!         |           |-- store      what must survive a restart
//!         |           `-- console    the Unix socket of `sipalg console`; commands, observe
//!         |-- check      `sipalg check`: a configuration, and what in this machine stops it
//!         |-- pages      the manual pages
//!         |-- client     `sipalg console`
//!         |-- lab        an embedded network that runs the real gateway and judges it
//!         `-- offline    `sipalg pcap`: a capture through the machine, without a kernel
//!   diff                 a message before and after, for the lab and offline
//!   privileges           what a gateway that runs gives up
//!   services             what other programs of this host wait at
//!   kernel, netlink      nftables doors, conntrack, host settings
//! ```

pub mod carrier;
pub mod check;
pub mod cli;
pub mod client;
pub mod commands;
pub mod configuration;
pub mod conn;
pub mod console;
pub mod daemon;
pub mod diff;
pub mod keeper;
pub mod kernel;
pub mod lab;
pub mod listen;
pub mod log;
pub mod netlink;
pub mod observe;
pub mod offline;
pub mod pages;
pub mod plan;
pub mod privileges;
pub mod services;
pub mod store;
pub mod takeover;
pub mod tcp;
pub mod udp;
pub mod wake;
pub mod worker;
