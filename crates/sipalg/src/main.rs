//! The program `sipalg`.
fn main() {}
