//! `cargo xtask vm`: the tests of `vcm-linux` that need VFIO, iommufd or KVM, in virtual machines with Intel's IOMMU.

mod build;
mod cache;
mod cpio;
mod distribution;
mod initramfs;
mod kernel;
mod kernel_log;
mod machine;
mod modules;
mod options;
mod packages;
mod protocol;
mod verdict;

use crate::output::{Counts, Line, line};
use crate::summary::{self, Ending, Tier};
use crate::tools::{self, Presence, Tool};
use build::{Built, Programs};
use kernel::{Kernel, Lack};
use machine::Machine;
pub(crate) use options::Options;
use options::{Printing, Whose};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use verdict::{Outcome, Test, Verdict};

/// Tests whose binary begins so need a kernel with iommufd.
const NEEDS_IOMMUFD: &str = "vm_iommufd_";

/// The test of structures against the kernel's headers, which runs on the host.
const HEADERS: &str = "headers";

/// Tools, and whether they are there.
type Tools = [(&'static Tool, Presence)];

/// `cargo xtask vm`
pub(crate) fn run(options: &Options) -> ExitCode {
    let tools = tools::prepare_some(options.consent, |tool| ["linux-vm", "kernel"].contains(&tool.tier));
    summary::print(&tiers(options, &tools))
}

/// Whether the ignored tests of a source file are run here.
pub(crate) fn runs_elsewhere(source: &str) -> bool {
    source.starts_with("tests/vm_") || source == format!("tests/{HEADERS}.rs")
}

/// Runs what the options want.
pub(crate) fn tiers(options: &Options, tools: &Tools) -> Vec<Tier> {
    let machines = options.machines();
    let cpus = |kernel: Whose| -> Vec<u32> {
        machines.iter().filter(|(whose, _)| *whose == kernel).map(|(_, cpus)| *cpus).collect()
    };
    let mut tiers = Vec::new();
    let obstacle = obstacle(tools);
    let built = if obstacle.is_some() { None } else { Some(binaries(options)) };
    let mut headers = None;
    let (on_built, on_distribution) = (cpus(Whose::Built), cpus(Whose::Distribution));
    if !on_built.is_empty() {
        tiers.push(tier("linux-vm", "VFIO, iommufd and KVM on a kernel that has everything", || {
            let (built, kernel) = match ready(&obstacle, &built, || kernel::built(lacking(tools, "kernel"))) {
                Ok(ready) => ready,
                Err(ending) => return (ending, None),
            };
            headers.clone_from(&kernel.headers);
            run_machines(options, Whose::Built, &kernel, &on_built, built)
        }));
    }
    if !on_distribution.is_empty() {
        tiers.push(tier("linux-vm-distribution", "the same on the distribution's own kernel", || {
            let kernel = || distribution::kernel().map_err(Lack::from);
            let (built, kernel) = match ready(&obstacle, &built, kernel) {
                Ok(ready) => ready,
                Err(ending) => return (ending, None),
            };
            run_machines(options, Whose::Distribution, &kernel, &on_distribution, built)
        }));
    }
    if options.only.is_empty() && !on_built.is_empty() {
        tiers.push(tier("kernel-headers", "structures and numbers against the kernel's headers", || {
            (check_headers(headers.as_deref()), None)
        }));
    }
    tiers
}

fn tier(name: &'static str, what: &'static str, run: impl FnOnce() -> (Ending, Option<String>)) -> Tier {
    println!("== {name}: {what}");
    let start = Instant::now();
    let (ending, remark) = run();
    let what = remark.map_or(what.into(), |remark| format!("{what}; {remark}").into());
    Tier { name, what, ending, took: start.elapsed() }
}

/// Why no virtual machine can run here.
fn obstacle(tools: &Tools) -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some(format!(
            "not on this architecture: it needs x86_64, this is {}",
            std::env::consts::ARCH
        ));
    }
    lacking(tools, "linux-vm").err()
}

/// Whether all tools of a kind are there.
fn lacking(tools: &Tools, tier: &str) -> Result<(), String> {
    let lacks = tools.iter().filter(|(tool, _)| tool.tier == tier);
    let lacks: Vec<&str> = lacks
        .filter_map(|(_, presence)| match presence {
            Presence::Present => None,
            Presence::Missing(why) => Some(why.as_str()),
        })
        .collect();
    if lacks.is_empty() { Ok(()) } else { Err(lacks.join("; ")) }
}

fn binaries(options: &Options) -> Result<Built, String> {
    let (tests, programs) = if options.only.is_empty() {
        (build::all_tests().map_err(|error| format!("crates/linux/tests: {error}"))?, Programs::Wanted)
    } else {
        (options.only.clone(), if options.programs { Programs::Wanted } else { Programs::Unwanted })
    };
    build::build(&tests, programs)
}

/// What a run needs, or how it ends without.
fn ready<'a>(
    obstacle: &Option<String>,
    built: &'a Option<Result<Built, String>>,
    kernel: impl FnOnce() -> Result<Kernel, Lack>,
) -> Result<(&'a Built, Kernel), Ending> {
    let broken = |why: &str| {
        eprintln!("{why}");
        Ending::Broken
    };
    match (obstacle, built) {
        (Some(why), _) => Err(Ending::CannotRun(why.clone())),
        (None, Some(Err(why))) => Err(broken(why)),
        (None, None) => Err(broken("nothing was built")),
        (None, Some(Ok(built))) => match kernel() {
            Ok(kernel) => Ok((built, kernel)),
            Err(Lack::Unavailable(why)) => Err(Ending::CannotRun(format!("no kernel: {why}"))),
            Err(Lack::Broken(why)) => Err(broken(&why)),
        },
    }
}

/// Runs the machines one after the other. The remark names what was left out.
fn run_machines(
    options: &Options,
    whose: Whose,
    kernel: &Kernel,
    cpus: &[u32],
    built: &Built,
) -> (Ending, Option<String>) {
    let left_out = |name: &&str| name.starts_with(NEEDS_IOMMUFD) && !kernel.iommufd;
    let names = || built.tests.iter().map(|(name, _)| name.as_str());
    let left_out: Vec<&str> = names().filter(left_out).collect();
    let mut counts = Counts::default();
    let mut remark = format!("Linux {}", kernel.version);
    if !left_out.is_empty() {
        remark.push_str(&format!(", which has no iommufd: not run: {}", left_out.join(", ")));
        println!("kernel: {remark}");
        if left_out.len() == built.tests.len() {
            return (Ending::CannotRun(remark), None);
        }
    }
    let kept = names().filter(|name| !left_out.contains(name)).collect::<Vec<_>>();
    for &cpus in cpus {
        match run_machine(options, whose, kernel, cpus, built, &kept) {
            Ok(verdict) => counts.add(verdict.counts()),
            Err(why) => {
                eprintln!("{why}");
                return (Ending::Broken, None);
            }
        }
    }
    (Ending::Counted(counts), Some(remark))
}

fn run_machine(
    options: &Options,
    whose: Whose,
    kernel: &Kernel,
    cpus: u32,
    built: &Built,
    tests: &[&str],
) -> Result<Verdict, String> {
    let label = format!("{}, {cpus} CPU", whose.name());
    let folder = build::folder().join("machines").join(format!("{}-{cpus}", whose.name()));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let initramfs = folder.join("initramfs.cpio");
    let contents = initramfs::Contents { options, whose, kernel, cpus, built, tests };
    let packed = contents.pack().map_err(|error| format!("the initramfs: {error}"))?;
    fs::write(&initramfs, packed).map_err(|error| format!("{}: {error}", initramfs.display()))?;
    let begin = Instant::now();
    let machine = Machine {
        image: &kernel.image,
        initramfs: &initramfs,
        cpus,
        outside: whose.outside(),
        folder: folder.clone(),
        test_limit: options.test_limit,
        limit: options.limit,
    };
    let verdict = machine.run(|test| tell(&label, test, options.printing))?;
    let _ = fs::remove_file(&initramfs);
    for note in verdict.notes() {
        println!("[{label}] {note}");
    }
    for trouble in verdict.troubles() {
        println!("[{label}] TROUBLE: {trouble}");
    }
    let counts = verdict.counts();
    let seconds = begin.elapsed().as_secs_f64();
    let (passed, failed) = (counts.passed, counts.failed);
    println!("[{label}] {passed} passed, {failed} failed in {seconds:.1} s; logs in {}", folder.display());
    Ok(verdict)
}

fn tell(label: &str, test: &Test, printing: Printing) {
    let seconds = Duration::from_millis(test.milliseconds).as_secs_f64();
    let (word, why) = match &test.outcome {
        Outcome::Passed => ("ok", String::new()),
        Outcome::Failed(why) => ("FAILED", format!(": {why}")),
        Outcome::NotRun => ("NOT RUN", String::new()),
    };
    println!("[{label}] {} {} ... {word} ({seconds:.2} s){why}", test.binary, test.name);
    if printing == Printing::All || matches!(test.outcome, Outcome::Failed(_)) {
        for line in &test.printed {
            println!("    {line}");
        }
    }
}

/// Runs the test of structures on this machine, against the headers of the kernel that was built.
fn check_headers(headers: Option<&Path>) -> Ending {
    let Some(headers) = headers else {
        return Ending::CannotRun("no kernel was built, so that there are no headers".into());
    };
    let output = Command::new("cargo")
        .args(["test", "--package", "vcm-linux", "--test", HEADERS, "--color", "never"])
        .args(["--", "--include-ignored"])
        .env("VCM_KERNEL_HEADERS", headers)
        .stderr(Stdio::inherit())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return Ending::CannotRun(format!("cargo could not be started: {error}")),
    };
    let mut counts = Counts::default();
    for text in String::from_utf8_lossy(&output.stdout).lines() {
        match line(text) {
            Line::Result(of_binary) => counts.add(of_binary),
            _ if output.status.success() => {}
            _ => println!("{text}"),
        }
    }
    let broken = counts.passed + counts.failed == 0 || (!output.status.success() && counts.failed == 0);
    if broken { Ending::Broken } else { Ending::Counted(counts) }
}
