//! The program `sipalg`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sipalg::cli::main()
}
