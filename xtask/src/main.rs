//! Development tasks. `cargo xtask test` is the one command that passes every test.

mod apt;
mod no_std;
mod output;
mod summary;
mod tiers;
mod tools;
mod vm;

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
  vm [OPTIONS]   Only the tests that run in virtual machines, on a kernel that is built for them (cached in
                 ~/.cache/vcm-ci, minutes the first time) and on the distribution's own.
                   --kernel built|distribution   only on this kernel
                   --cpus N                      only with this number of CPUs (1 and 2)
                   --only BINARY                 only crates/linux/tests/BINARY.rs; may be given again
                   --name PART                   only tests with this in their name
                   --programs                    build vcm and the examples although not all tests run
                   --print                       what every test prints, not only those that fail
                   --test-limit SECONDS, --limit SECONDS   for one test (120), for one machine (600)
                   --sabotage panic|oops|warning|hang|exit   see that a disaster in the machine is noticed
                   --yes, --no-install           as above
  no-std         Only check that the no_std crates need nothing of std.
  help           Show this.

Environment:
  VCM_WITHOUT_QEMU=1, VCM_WITHOUT_QEMU_IOMMUS=1, VCM_WITHOUT_DTC=1, VCM_WITHOUT_VM=1
                 Leave out the tests that need the tool; the summary says so.
  VCM_VM_KERNEL=FILE
                 A bzImage to use instead of building one.
  VCM_VM_TARGET=FOLDER
                 Where the tests for virtual machines are built, and the machines' logs (target/vm).
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
        ["vm", options @ ..] => match vm::Options::parse(options) {
            Ok(options) => vm::run(&options),
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
