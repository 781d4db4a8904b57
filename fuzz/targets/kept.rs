//! Explores [`sipalg_fuzz::kept`].
#![no_main]
#![allow(unsafe_code)] // the entry point that libFuzzer calls by its C name

libfuzzer_sys::fuzz_target!(|data: &[u8]| sipalg_fuzz::kept::check(data));
