//! How much memory this process may pin and map.

use super::check::{Check, Section, State};
use super::memory::size;
use crate::host::Host;
use crate::host::read::{self, Unread};

pub(super) fn checks(host: &Host) -> Vec<Check> {
    vec![locked_memory(host), memory_group(host), map_count(host)]
}

fn check(name: &str, title: &str, state: State, found: impl Into<String>) -> Check {
    Check::new(Section::Limits, name, title, state, found)
}

/// A line of `/proc/self/status`.
pub(super) fn status(host: &Host, key: &str) -> Option<String> {
    let text = read::maybe(&host.path("proc/self/status"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// Whether capabilities count for the whole machine, not for a user namespace only.
fn in_first_user_namespace(host: &Host) -> bool {
    let map = read::maybe(&host.path("proc/self/uid_map"));
    map.is_none_or(|map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

fn locked_memory(host: &Host) -> Check {
    const TITLE: &str = "memory that may be pinned";
    // include/uapi/linux/capability.h
    const IPC_LOCK: u64 = 1 << 14;
    let check = |state, found: String| check("locked-memory", TITLE, state, found);
    let capabilities = status(host, "CapEff").and_then(|text| u64::from_str_radix(&text, 16).ok());
    let capable = capabilities.is_some_and(|found| found & IPC_LOCK != 0);
    if capable && in_first_user_namespace(host) {
        return check(State::Ok, "any amount: this process has CAP_IPC_LOCK".into());
    }
    let limits = match read::text(&host.path("proc/self/limits")) {
        Ok(text) => text,
        Err(why) => return check(State::Unknown, format!("/proc/self/limits: {why}")),
    };
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    let soft = line.and_then(|line| line.split_ascii_whitespace().next());
    match soft.map(|soft| (soft, soft.parse::<u64>())) {
        Some(("unlimited", _)) => check(State::Ok, "any amount: RLIMIT_MEMLOCK is unlimited".into()),
        Some((_, Ok(bytes))) => {
            let check = check(State::Limited, format!("{} (RLIMIT_MEMLOCK)", size(bytes)));
            let pinned =
                "all that devices may reach is pinned, a guest's RAM for example: ENOMEM beyond this";
            check.meaning(pinned).enable(
                "echo \"$USER - memlock unlimited\" | sudo tee /etc/security/limits.d/vcm.conf   # then log in again; \
                 systemd: LimitMEMLOCK=infinity; containers: --ulimit memlock=-1",
            )
        }
        _ => check(State::Unknown, "/proc/self/limits does not say".into()),
    }
}

fn memory_group(host: &Host) -> Check {
    const TITLE: &str = "memory control group";
    let check = |state, found: String| check("memory-cgroup", TITLE, state, found);
    let text = match read::text(&host.path("proc/self/cgroup")) {
        Ok(text) => text,
        Err(Unread::Absent) => return check(State::Unknown, "/proc/self/cgroup is not here".into()),
        Err(Unread::Unknown(why)) => return check(State::Unknown, format!("/proc/self/cgroup: {why}")),
    };
    // Hierarchy, controllers, path. Source: Documentation/admin-guide/cgroup-v2.rst, cgroups(7).
    let line = |wanted: fn(&str) -> bool| {
        text.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            wanted(controllers).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let first = line(|controllers| controllers.split(',').any(|name| name == "memory"));
    let second = line(str::is_empty);
    let (tops, path, file): (&[&str], _, _) = match (first, second) {
        (Some(path), _) => (&["sys/fs/cgroup/memory"], path, "memory.limit_in_bytes"),
        (None, Some(path)) => (&["sys/fs/cgroup", "sys/fs/cgroup/unified"], path, "memory.max"),
        (None, None) => return check(State::Ok, "none".into()),
    };
    let mut least: Option<(u64, String)> = None;
    let mut seen = false;
    for top in tops {
        // Every group above counts as well. In a namespace of its own, the path is not all of it.
        let mut part = path.as_str();
        loop {
            let place = host.path(top).join(part).join(file);
            if !part.split('/').any(|name| name == "..")
                && let Ok(text) = read::text(&place)
            {
                seen = true;
                if let Ok(limit) = text.parse::<u64>()
                    && least.as_ref().is_none_or(|(least, _)| limit < *least)
                {
                    least = Some((limit, host.shown(&place)));
                }
            }
            let Some(up) = part.rfind('/') else {
                if part.is_empty() {
                    break;
                }
                part = "";
                continue;
            };
            part = &part[..up];
        }
    }
    match (least, total(host)) {
        (Some((limit, place)), Some(total)) if limit < total => {
            check(State::Limited, format!("{} of the machine's {} ({place})", size(limit), size(total)))
                .meaning("memory for devices and guests counts: the process is killed beyond this")
        }
        (Some(_), _) => check(State::Ok, "no limit below the machine's memory".into()),
        // The topmost group has no file: only that one was found.
        (None, _) if seen || path.is_empty() => check(State::Ok, "no limit".into()),
        (None, _) => check(State::Unknown, format!("no {file} of /{path} is to be seen")),
    }
}

fn total(host: &Host) -> Option<u64> {
    let text = read::maybe(&host.path("proc/meminfo"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn map_count(host: &Host) -> Check {
    const TITLE: &str = "mappings of a process";
    /// What the kernel starts with: include/linux/mm.h, `DEFAULT_MAX_MAP_COUNT`.
    const USUAL: u64 = 65_530;
    let path = host.path("proc/sys/vm/max_map_count");
    match read::number(&path) {
        Some(count) if count >= USUAL => {
            check("map-count", TITLE, State::Ok, format!("{count} (vm.max_map_count)"))
        }
        Some(count) => check("map-count", TITLE, State::Limited, format!("{count} (vm.max_map_count)"))
            .meaning("a buffer in many pieces needs a mapping for each")
            .enable(format!("sudo sysctl vm.max_map_count={USUAL}")),
        None => check("map-count", TITLE, State::Unknown, format!("{} cannot be read", host.shown(&path))),
    }
}
