//! How a QEMU's life ends: never later than ours, however ours ends.
//!
//! Without `qemu-system-aarch64` the tests fail, unless `VCM_WITHOUT_QEMU=1` says that this is meant.

#[path = "qemu_arm_virt/support.rs"]
#[allow(dead_code)] // The other tests use the rest.
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::without_qemu;
use vcm_qemu::{ArmVirt, Error, Frame, Machine};

/// Set in a process that exists to be killed: how far it shall go before.
const ROLE: &str = "VCM_QEMU_TEST_ROLE";

/// Whether a process is there and not only waiting to be reaped.
fn lives(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn is_true_soon(condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Runs this binary's test `name` once more, in `role` and with its temporary files in `directory`, and gives it with
/// the number that it prints.
fn rerun(name: &str, role: &str, directory: &Path) -> (Child, u32) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ROLE, role)
        .env("TMPDIR", directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let number = output.lines().map_while(Result::ok).find_map(|line| {
        // The test harness may have begun the line.
        line.rsplit_once("QEMU is ")?.1.parse().ok()
    });
    (child, number.expect("the child did not say which QEMU it has"))
}

fn files_in(directory: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn kill_9_leaves_nothing_behind() {
    if std::env::var(ROLE).is_ok() {
        let mut virt = ArmVirt::start().unwrap();
        println!("QEMU is {}", virt.machine().process_id());
        loop {
            virt.read32(Frame::Distributor, 0).unwrap();
        }
    }
    if without_qemu() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (mut child, qemu) = rerun("kill_9_leaves_nothing_behind", "run", directory.path());
    assert!(lives(qemu));
    child.kill().unwrap(); // SIGKILL.
    child.wait().unwrap();
    assert!(is_true_soon(|| !lives(qemu)), "QEMU {qemu} lives on");
    assert_eq!(files_in(directory.path()), [] as [&Path; 0]);
}

#[test]
fn kill_9_during_the_start_leaves_nothing_behind() {
    if let Ok(program) = std::env::var(ROLE) {
        let error = Machine::builder(&program).timeout(Duration::from_secs(60)).start().unwrap_err();
        panic!("{error}");
    }
    let scripts = tempfile::tempdir().unwrap();
    let program = scripts.path().join("never-connects");
    // `--version` is answered; the start is not, but the process id goes to where the parent of our parent looks.
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && echo QEMU emulator version 10.0.0 && exit\n\
                  echo $$ > \"$0.id\"\nexec sleep 60\n";
    let written = Command::new("/bin/sh")
        .args(["-c", r#"printf %s "$1" > "$2" && chmod +x "$2""#, "sh", script])
        .arg(&program)
        .status();
    assert!(written.unwrap().success());
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill_9_during_the_start_leaves_nothing_behind", "--nocapture"])
        .env(ROLE, &program)
        .env("TMPDIR", directory.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let id = || -> Option<u32> {
        let text = std::fs::read_to_string(scripts.path().join("never-connects.id")).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    };
    assert!(is_true_soon(|| id().is_some_and(lives)));
    let qemu = id().unwrap();
    assert_eq!(files_in(directory.path()).len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_true_soon(|| !lives(qemu)), "{qemu} lives on");
    assert!(is_true_soon(|| files_in(directory.path()).is_empty()), "{:?}", files_in(directory.path()));
}

#[test]
fn dropping_the_machine_ends_and_reaps_qemu() {
    if without_qemu() {
        return;
    }
    let mut virt = ArmVirt::start().unwrap();
    let qemu = virt.machine().process_id();
    assert!(lives(qemu));
    drop(virt);
    // Not even a zombie.
    assert!(!Path::new(&format!("/proc/{qemu}")).exists());
}

#[test]
fn a_machine_outlives_the_thread_that_started_it() {
    if without_qemu() {
        return;
    }
    let mut virt = std::thread::spawn(|| ArmVirt::start().unwrap()).join().unwrap();
    assert_eq!(virt.read32(Frame::VirtualControl, 4).unwrap(), 0x9000_0003);
}

#[test]
fn qemu_s_death_is_told_with_its_last_words() {
    if without_qemu() {
        return;
    }
    let machine = Machine::builder("qemu-system-aarch64").arguments(["-machine", "nonsense"]).start();
    let Err(Error::Start { command, stderr, status }) = machine else { panic!("{machine:?}") };
    assert!(stderr.contains("nonsense"), "{stderr}");
    assert!(command.starts_with("qemu-system-aarch64 -accel tcg"), "{command}");
    assert_eq!(status, "exit status: 1");

    // A pin that does not exist: QEMU aborts with an assertion.
    let mut virt = ArmVirt::start().unwrap();
    let gic = virt.gic_path().to_string();
    let qtest = &mut virt.machine().qtest;
    let error = qtest.set_irq_in(&gic, "unnamed-gpio-in", 100_000, vcm_qemu::Level::High).unwrap_err();
    let Error::Closed { asked, stderr } = &error else { panic!("{error}") };
    assert!(asked.starts_with("set_irq_in") && !stderr.is_empty(), "{error}");
    let error = virt.read32(Frame::Distributor, 0).unwrap_err();
    assert!(matches!(error, Error::Dead { .. }), "{error}");
}

#[test]
fn a_qemu_that_does_not_connect_is_given_up() {
    if without_qemu() {
        return;
    }
    // QEMU waits for a client of this socket before it does anything else.
    let directory = tempfile::tempdir().unwrap();
    let socket = format!("socket,id=c,server=on,wait=on,path={}", directory.path().join("c").display());
    let machine = Machine::builder("qemu-system-aarch64")
        .arguments(["-machine", "virt", "-chardev", socket.as_str()])
        .timeout(Duration::from_millis(300))
        .start();
    let Err(Error::TimedOut { asked, waited, .. }) = machine else { panic!("{machine:?}") };
    assert!(asked.contains("qemu-system-aarch64"), "{asked}");
    assert_eq!(waited, Duration::from_millis(300));
}
