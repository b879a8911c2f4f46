//! The program `vcm`.
#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;
use vcm_cli::args::Arguments;

fn main() -> ExitCode {
    vcm_cli::commands::execute(&Arguments::parse().command)
}
