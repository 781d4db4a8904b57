//! Explores [`sipalg_fuzz::translate`].
#![no_main]
#![allow(unsafe_code)] // the entry point that libFuzzer calls by its C name

libfuzzer_sys::fuzz_target!(|data: &[u8]| sipalg_fuzz::translate::check(data));
