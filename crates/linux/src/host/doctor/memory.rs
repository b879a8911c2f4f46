//! What memory there is to share with devices and guests.

use super::check::{Check, Section, State};
use super::node::node_check;
use super::vfio::bring;
use crate::host::{Host, read};
use std::collections::BTreeMap;

pub(super) fn checks(host: &Host) -> Vec<Check> {
    let mut checks = huge_pages(host);
    checks.push(transparent(host));
    checks.push(node_check(host, Section::Memory, "udmabuf", "dev/udmabuf", |missing| {
        bring(host, "udmabuf", "CONFIG_UDMABUF", Check { state: State::Off, ..missing })
            .meaning("without it memory cannot be exported as a dma-buf")
    }));
    checks.push(heaps(host));
    checks
}

fn check(name: &str, title: &str, state: State, found: impl Into<String>) -> Check {
    Check::new(Section::Memory, name, title, state, found)
}

/// A size as people say it.
pub(super) fn size(bytes: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let unit = units.into_iter().find(|(shift, _)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    match unit {
        Some((shift, letter)) => format!("{}{letter}", bytes >> shift),
        None if bytes > 1 << 20 => format!("{}M", bytes >> 20),
        None => bytes.to_string(),
    }
}

fn huge_pages(host: &Host) -> Vec<Check> {
    let folder = host.path("sys/kernel/mm/hugepages");
    let mut sizes: BTreeMap<u64, Option<String>> = BTreeMap::from([(2 << 20, None), (1 << 30, None)]);
    for name in read::names(&folder).unwrap_or_default() {
        let kibibytes =
            name.strip_prefix("hugepages-").and_then(|name| name.strip_suffix("kB")?.parse::<u64>().ok());
        if let Some(bytes) = kibibytes.and_then(|kibibytes| kibibytes.checked_mul(1024)) {
            sizes.insert(bytes, Some(name));
        }
    }
    let seen = host.path("sys/kernel").is_dir();
    sizes.into_iter().map(|(bytes, name)| pages_of(host, bytes, name, seen)).collect()
}

fn pages_of(host: &Host, bytes: u64, name: Option<String>, seen: bool) -> Check {
    let text = size(bytes);
    let check = |state, found: String| {
        check(&format!("hugepages-{text}"), &format!("huge pages of {text}"), state, found)
    };
    let Some(name) = name else {
        return match seen {
            true => check(State::Missing, "this CPU or kernel has none of this size".into()),
            false => check(State::Unknown, "/sys is not here".into()),
        };
    };
    let file = |what: &str| host.path(format!("sys/kernel/mm/hugepages/{name}/{what}"));
    let (Some(total), Some(free)) =
        (read::number(&file("nr_hugepages")), read::number(&file("free_hugepages")))
    else {
        return check(State::Unknown, format!("{} cannot be read", host.shown(&file("nr_hugepages"))));
    };
    // Half of a gigabyte, or two of the large ones.
    let count = ((512 << 20) / bytes).max(2);
    let line = format!("echo {count} | sudo tee {}", host.shown(&file("nr_hugepages")));
    // Large ones are found after the boot only with luck.
    let line = if bytes < 1 << 30 {
        format!("{line}   # {} of memory", size(count * bytes))
    } else {
        format!(
            "{line}   # or, when memory is in pieces, hugepagesz={text} hugepages={count} on the kernel's command line"
        )
    };
    match (total, free) {
        (0, _) => check(State::Off, "none reserved".into()).enable(line),
        (_, 0) => check(State::Limited, format!("{total} reserved, none free")).enable(line.replacen(
            &count.to_string(),
            &total.saturating_add(count).to_string(),
            1,
        )),
        _ => {
            check(State::Ok, format!("{total} reserved, {free} free ({})", size(free.saturating_mul(bytes))))
        }
    }
}

/// The word that the kernel has in brackets among all that it could be.
pub(super) fn chosen(text: &str) -> Option<&str> {
    let word = text.split_ascii_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    word.filter(|word| !word.is_empty())
}

fn transparent(host: &Host) -> Check {
    const TITLE: &str = "transparent huge pages";
    let folder = host.path("sys/kernel/mm/transparent_hugepage");
    let read = |name: &str| read::maybe(&folder.join(name));
    let (private, shared) = (read("enabled"), read("shmem_enabled"));
    let (private, shared) = (private.as_deref().and_then(chosen), shared.as_deref().and_then(chosen));
    let Some(private) = private else {
        return check(
            "thp",
            TITLE,
            State::Unknown,
            format!("{} cannot be read", host.shown(&folder.join("enabled"))),
        );
    };
    let found = format!("{private} for private memory, {} for memfds", shared.unwrap_or("unknown"));
    match shared {
        Some("always" | "within_size" | "advise" | "force") => check("thp", TITLE, State::Ok, found),
        _ => check("thp", TITLE, State::Off, found)
            .meaning("a memfd is made of small pages; huge pages that are reserved are not concerned")
            .enable("echo advise | sudo tee /sys/kernel/mm/transparent_hugepage/shmem_enabled"),
    }
}

fn heaps(host: &Host) -> Check {
    const TITLE: &str = "/dev/dma_heap";
    let heaps = read::names(&host.path("dev/dma_heap")).unwrap_or_default();
    if heaps.is_empty() {
        return check("dma-heap", TITLE, State::Off, "not there")
            .meaning("only devices with drivers in the kernel want them");
    }
    check("dma-heap", TITLE, State::Ok, heaps.join(", "))
}
