//! How much memory this process may pin, and how much is.
//!
//! The kernel pins first and counts afterwards (drivers/iommu/iommufd/pages.c): of a buffer of many gigabytes every page is
//! brought in before it finds that the limit does not suffice, answers ENOMEM and says nothing more. So what is certain to fail
//! is refused beforehand, and what fails is explained afterwards, both with the numbers.

use super::Accounting;
use crate::Error;
use rustix::io::Errno;
use rustix::process::{Resource, getpid, getrlimit, getuid};
use std::fs;

/// `CAP_IPC_LOCK`: a process that has it may pin what it likes. Source: include/uapi/linux/capability.h.
const CAP_IPC_LOCK: u32 = 14;

/// What there is to know before something is pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LockedMemory {
    /// `RLIMIT_MEMLOCK` in bytes; `None` where nothing limits this process.
    pub(crate) limit: Option<u64>,
    /// Bytes that count against it already, as far as this process can see.
    pub(crate) pinned: u64,
}

impl LockedMemory {
    /// Looks it up.
    ///
    /// What other processes of the same user pinned counts too where the user is what counts, and is seen in their status;
    /// what the kernel counts elsewhere (rings of io_uring, say) is not to be seen.
    pub(crate) fn now(accounting: Accounting) -> Result<Self, Error> {
        // Capabilities are a thread's own.
        let own = Status::of("thread-self").ok_or_else(|| Error::Missing {
            what: "/proc/thread-self/status".into(),
            help: "mount procfs at /proc".into(),
        })?;
        let limit = if own.may_lock_all && is_initial_user_namespace() {
            None
        } else {
            getrlimit(Resource::Memlock).current
        };
        let pinned = match (limit, accounting) {
            (None, _) => own.pinned,
            (Some(_), Accounting::Process) => own.locked,
            (Some(_), Accounting::User) => own.pinned.saturating_add(of_the_same_user()),
        };
        Ok(Self { limit, pinned })
    }

    /// Whether `needed` bytes more are within the limit.
    pub(crate) const fn allows(self, needed: u64) -> Result<(), Error> {
        match self.limit {
            // The kernel compares whole pages, and rounds the limit down.
            Some(limit) if self.pinned.saturating_add(needed) > limit => {
                Err(Error::LockedMemory { needed, pinned: self.pinned, limit })
            }
            _ => Ok(()),
        }
    }
}

/// Checks that `needed` bytes, none of which is pinned yet, may be.
///
/// # Errors
/// [`Error::LockedMemory`].
pub(crate) fn check(accounting: Accounting, needed: u64) -> Result<(), Error> {
    LockedMemory::now(accounting)?.allows(needed)
}

/// Checks that `needed` bytes may be pinned, of which some may be pinned already: refuses only what cannot succeed.
///
/// # Errors
/// [`Error::LockedMemory`].
pub(crate) fn check_certain(accounting: Accounting, needed: u64) -> Result<(), Error> {
    match getrlimit(Resource::Memlock).current {
        Some(limit) if needed > limit => check(accounting, needed),
        _ => Ok(()),
    }
}

/// Says what is behind `error`, if that is an ENOMEM for want of allowance rather than of memory: at most `needed` bytes would
/// have been pinned.
pub(crate) fn explain(accounting: Accounting, needed: u64, error: Error) -> Error {
    if error.errno() != Errno::NOMEM {
        return error;
    }
    match LockedMemory::now(accounting) {
        Ok(LockedMemory { limit: None, .. }) => {
            error.with_help("the machine is out of memory: this process may pin what it likes")
        }
        Ok(known) => match known.allows(needed) {
            Err(refused) => refused,
            Ok(()) => error.with_help(
                "the machine is out of memory, or others that count against this user's RLIMIT_MEMLOCK have pinned memory",
            ),
        },
        Err(_) => error,
    }
}

/// What a process says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Status {
    user: u32,
    /// `VmPin` in bytes: pinned for devices, whoever counts it.
    pinned: u64,
    /// `VmLck` in bytes: by mlock, and by VFIO's type1.
    locked: u64,
    may_lock_all: bool,
}

impl Status {
    fn of(process: &str) -> Option<Self> {
        fs::read_to_string(format!("/proc/{process}/status")).ok().map(|text| Self::parse(&text))
    }

    /// Source: Documentation/filesystems/proc.rst. Kernel threads lack the lines on memory.
    fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let mut words = value.split_ascii_whitespace();
            let Some(first) = words.next() else { continue };
            let bytes = || first.parse::<u64>().map_or(0, |kibibytes| kibibytes.saturating_mul(1024));
            match key {
                "Uid" => status.user = first.parse().unwrap_or(u32::MAX),
                "VmPin" => status.pinned = bytes(),
                "VmLck" => status.locked = bytes(),
                "CapEff" => {
                    let mask = u64::from_str_radix(first, 16).unwrap_or(0);
                    status.may_lock_all = mask & (1 << CAP_IPC_LOCK) != 0;
                }
                _ => {}
            }
        }
        status
    }
}

/// The kernel asks for the capability in the initial user namespace: root of a container does not have it there.
fn is_initial_user_namespace() -> bool {
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else { return true };
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// What the user's other processes have pinned and is counted.
fn of_the_same_user() -> u64 {
    let (user, own) = (getuid().as_raw(), getpid().as_raw_nonzero().to_string());
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    processes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && *name != own)
        .filter_map(|name| Status::of(&name))
        .filter(|status| status.user == user && !status.may_lock_all)
        .fold(0, |sum, status| sum.saturating_add(status.pinned))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tvmm\nUid:\t1000\t1001\t1002\t1003\nVmLck:\t      64 kB\nVmPin:\t    8192 kB\n\
                          CapEff:\t0000000000000000\n";

    #[test]
    fn the_kernels_text_is_understood() {
        let status = Status::parse(STATUS);
        let expected = Status { user: 1000, pinned: 8 << 20, locked: 64 << 10, may_lock_all: false };
        assert_eq!(status, expected);
        assert!(Status::parse("CapEff:\t000001ffffffffff\n").may_lock_all);
        assert!(Status::parse("CapEff:\t0000000000004000\n").may_lock_all);
        assert_eq!(Status::parse("nonsense\nVmPin:\nVmLck:\tmany kB\n"), Status::default());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_numbers() {
        let known = LockedMemory { limit: Some(8 << 20), pinned: 3 << 20 };
        known.allows(5 << 20).unwrap();
        let error = known.allows((5 << 20) + 1).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, Error::LockedMemory { pinned: 0x30_0000, limit: 0x80_0000, .. }),
            "{error:?}"
        );
        assert!(text.contains("ulimit -l 8193") && text.contains("CAP_IPC_LOCK"), "{text}");
        known.allows(u64::MAX).unwrap_err();
        LockedMemory { limit: None, pinned: 0 }.allows(u64::MAX).unwrap();
    }

    #[test]
    fn this_process_can_be_looked_up() {
        for accounting in [Accounting::User, Accounting::Process] {
            let known = LockedMemory::now(accounting).unwrap();
            assert_eq!(check(accounting, u64::MAX).is_ok(), known.limit.is_none());
        }
    }

    #[test]
    fn other_errors_stay_what_they_are() {
        let busy = Error::system("IOMMU_IOAS_MAP", "IOAS 1", Errno::BUSY);
        assert_eq!(explain(Accounting::User, 1, busy).errno(), Errno::BUSY);
        let memory = Error::system("IOMMU_IOAS_MAP", "IOAS 1", Errno::NOMEM);
        assert_eq!(explain(Accounting::User, u64::MAX, memory).errno(), Errno::NOMEM);
    }
}
