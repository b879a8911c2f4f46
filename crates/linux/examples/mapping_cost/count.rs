//! Counts the system calls of a child: this program, run once more.
#![allow(unsafe_code, reason = "another process is traced")]

use crate::Outcome;
use crate::options::Options;
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::ptr::null_mut;

/// System calls by number.
#[derive(Clone, Default)]
pub(crate) struct Counts(BTreeMap<u64, u64>);

impl Counts {
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// `2 ioctl, 1 mmap`.
    pub(crate) fn names(&self) -> String {
        let name = |number: u64| match i64::try_from(number).unwrap_or(-1) {
            libc::SYS_brk => "brk".to_owned(),
            libc::SYS_close => "close".to_owned(),
            libc::SYS_fstat | libc::SYS_newfstatat => "fstat".to_owned(),
            libc::SYS_ioctl => "ioctl".to_owned(),
            libc::SYS_mmap => "mmap".to_owned(),
            libc::SYS_munmap => "munmap".to_owned(),
            libc::SYS_openat => "openat".to_owned(),
            libc::SYS_prlimit64 => "prlimit64".to_owned(),
            libc::SYS_read => "read".to_owned(),
            libc::SYS_statx => "statx".to_owned(),
            other => format!("call {other}"),
        };
        let all: Vec<_> = self.0.iter().map(|(number, count)| format!("{count} {}", name(*number))).collect();
        all.join(", ")
    }
}

/// What tells the tracer that the counting begins or ends: a call that nothing else here makes.
pub(crate) fn mark() {
    let _ = rustix::process::getppid();
}

/// Runs the same once, and counts what is between each two marks.
///
/// # Errors
/// The child could not be traced, or did not end well.
pub(crate) fn of_child(options: &Options) -> Outcome<Vec<Counts>> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("--traced").args(["--buffer", &options.buffer.to_string()]);
    if let Some(device) = &options.device {
        command.args(["--device", device]);
    }
    command.stdout(Stdio::null());
    // SAFETY: between fork and exec it makes one system call, which touches nothing of this process.
    unsafe {
        command.pre_exec(|| {
            match libc::ptrace(libc::PTRACE_TRACEME, 0, null_mut::<u8>(), null_mut::<u8>()) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
    }
    let child = command.spawn()?;
    let pid = child.id() as libc::pid_t;
    let mut counts = Vec::new();
    let mut current: Option<Counts> = None;
    let mut signal = stopped(pid)?.ok_or("the child ended at once")?;
    if signal != libc::SIGTRAP {
        return Err(format!("the child stopped with signal {signal}").into());
    }
    let wanted = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SETOPTIONS, pid, 0, wanted as usize)?;
    signal = 0;
    loop {
        request(libc::PTRACE_SYSCALL, pid, 0, signal as usize)?;
        let Some(stop) = stopped(pid)? else { return Ok(counts) };
        if stop != libc::SIGTRAP | 0x80 {
            // A signal of its own, which it is given.
            signal = stop;
            continue;
        }
        signal = 0;
        let Some(number) = entered(pid)? else { continue };
        if number == libc::SYS_getppid as u64 {
            match current.take() {
                Some(done) => counts.push(done),
                None => current = Some(Counts::default()),
            }
        } else if let Some(current) = &mut current {
            *current.0.entry(number).or_default() += 1;
        }
    }
}

/// Waits for the child to stop; `None` when it has ended well.
fn stopped(pid: libc::pid_t) -> Outcome<Option<i32>> {
    let mut status = 0;
    // SAFETY: the kernel writes the status.
    if unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } != pid {
        return Err(std::io::Error::last_os_error().into());
    }
    if libc::WIFSTOPPED(status) {
        return Ok(Some(libc::WSTOPSIG(status)));
    }
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 {
        return Ok(None);
    }
    Err(format!("the child ended with status {status:#x}").into())
}

/// The number of the system call that the child is about to make; `None` when it comes out of one.
fn entered(pid: libc::pid_t) -> Outcome<Option<u64>> {
    // `struct ptrace_syscall_info` of include/uapi/linux/ptrace.h: `op` is the first byte, and the number is behind the two
    // pointers, 24 bytes from the beginning.
    const ENTRY: u8 = 1;
    let mut words = [0_u64; 11];
    request(libc::PTRACE_GET_SYSCALL_INFO, pid, size_of_val(&words), words.as_mut_ptr().expose_provenance())?;
    Ok((words[0].to_ne_bytes()[0] == ENTRY).then_some(words[3]))
}

fn request(what: libc::c_uint, pid: libc::pid_t, address: usize, data: usize) -> Outcome<()> {
    // SAFETY: of another process. Where the kernel writes into this one, `entered` gives it room and tells how much.
    match unsafe { libc::ptrace(what, pid, address, data) } {
        -1 => Err(std::io::Error::last_os_error().into()),
        _ => Ok(()),
    }
}
