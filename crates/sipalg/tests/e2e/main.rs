//! End to end: the real program between real peers, in network namespaces of their own.
//!
//! Needs root and the programs that `./test.sh` installs. Each file is a chapter of what the
//! gateway promises; `harness` is what they stand on.

mod calls;
mod doors;
mod foreign;
mod framing;
mod harness;
mod lifecycle;
mod load;
mod nat;
mod refusal;
mod steering;
mod stun;
mod udp;
