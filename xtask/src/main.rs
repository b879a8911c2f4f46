//! Development tasks. `cargo xtask test` is the one command that passes every test.

mod apt;
mod no_std;
mod output;
mod summary;
mod tiers;
mod tools;

use std::process::ExitCode;

const HELP: &str = "\
Development tasks of vcm.

Usage: cargo xtask <TASK>

Tasks:
  test [--yes]   Run every tier of tests and end with a summary that names each tier, its counts, and any tier
                 that this machine cannot run and why. Installs QEMU and dtc with apt-get where they are missing
                 or too old, asking first on a terminal; --yes (or CI=true) installs without asking, --no-install
                 never does.
  tools [--yes]  Only install those tools, and say what there is.
  no-std         Only check that the no_std crates need nothing of std.
  help           Show this.

Environment:
  VCM_WITHOUT_QEMU=1, VCM_WITHOUT_QEMU_IOMMUS=1, VCM_WITHOUT_DTC=1
                 Leave out the tests that need the tool; the summary says so.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test", options @ ..] => match tools::Consent::from_options(options) {
            Ok(consent) => tiers::run_all(consent),
            Err(message) => usage(&message),
        },
        ["tools", options @ ..] => match tools::Consent::from_options(options) {
            Ok(consent) => tools::run(consent),
            Err(message) => usage(&message),
        },
        ["no-std"] => match no_std::check() {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("{message}");
                ExitCode::FAILURE
            }
        },
        ["help" | "--help" | "-h"] | [] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        other => usage(&format!("unknown task: {}", other.join(" "))),
    }
}

fn usage(message: &str) -> ExitCode {
    eprintln!("{message}\n\n{HELP}");
    ExitCode::from(2)
}
