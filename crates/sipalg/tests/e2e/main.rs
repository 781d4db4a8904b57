//! End to end: the real program between real peers, in network namespaces of their own.
//!
//! Needs root and the programs that `./test.sh` installs. Each file is a chapter of what the
//! gateway promises; `harness` is what they stand on.

mod attacks;
mod calls;
mod changes;
mod doors;
mod exits;
mod faults;
mod firewall;
mod foreign;
mod framing;
mod harness;
mod l4f;
mod lifecycle;
mod lists;
mod load;
mod moving;
mod nat;
mod ordinary;
mod overload;
mod pbx;
mod pools;
mod refusal;
mod restart;
mod scale;
mod soak;
mod steering;
mod stun;
mod together;
mod udp;
