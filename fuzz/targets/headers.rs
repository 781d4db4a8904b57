//! Explores [`sipalg_fuzz::headers`].
#![no_main]
#![allow(unsafe_code)] // the entry point that libFuzzer calls by its C name

libfuzzer_sys::fuzz_target!(|data: &[u8]| sipalg_fuzz::headers::check(data));
