//! What fuzzing demands of sipalg-core: one function a target, each taking any bytes and panicking if
//! a law is broken.
//!
//! `run.sh` explores them with libFuzzer; `tests/replay.rs` runs every committed input as an ordinary
//! test. An input is plain text where it can be, so that a finding can be read.

pub mod frame;
pub mod headers;
pub mod kept;
pub mod sdp;
pub mod skeleton;
pub mod translate;
pub mod world;

/// Takes the last `N` bytes of an input as its controls; the rest is its text.
pub fn controls<const N: usize>(data: &[u8]) -> Option<(&[u8], [u8; N])> {
    let (text, controls) = data.split_last_chunk::<N>()?;
    Some((text, *controls))
}
