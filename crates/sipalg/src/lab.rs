//! PLACEHOLDER: replaced by the merge of the lab branch.
#![allow(missing_docs)]
use std::process::ExitCode;
#[derive(Debug)]
pub struct Options {
    pub shell: bool,
    pub no_fixup: bool,
    pub verbose: bool,
}
pub fn run(_options: &Options) -> ExitCode {
    ExitCode::FAILURE
}
