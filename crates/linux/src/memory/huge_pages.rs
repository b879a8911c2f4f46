//! The huge pages that were set aside, as sysfs tells (Documentation/admin-guide/mm/hugetlbpage.rst).

use crate::Error;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use vcm::{Bytes, SIZE_1G};

/// Huge pages of one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pool {
    /// How many there are.
    total: u64,
    /// How many of them no file has touched.
    free: u64,
    /// How many of the free ones files will touch.
    reserved: u64,
}

impl Pool {
    fn read(folder: &Path) -> Option<Self> {
        let number = |name| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok();
        Some(Self {
            total: number("nr_hugepages")?,
            free: number("free_hugepages")?,
            reserved: number("resv_hugepages")?,
        })
    }

    /// How many a new file can have.
    const fn available(self) -> u64 {
        self.free.saturating_sub(self.reserved)
    }
}

fn folder(page_len: u64) -> PathBuf {
    format!("/sys/kernel/mm/hugepages/hugepages-{}kB", page_len >> 10).into()
}

/// Whether this machine has huge pages of `page_len` bytes.
pub(super) fn exist(page_len: u64) -> bool {
    folder(page_len).is_dir()
}

/// Says, where `error` is that there were not `needed` pages, how many there are and what sets more aside.
pub(super) fn explain(error: Error, page_len: u64, needed: u64) -> Error {
    if error.errno() != Errno::NOMEM {
        return error;
    }
    let folder = folder(page_len);
    match Pool::read(&folder) {
        Some(pool) if pool.available() < needed => error.with_help(advice(pool, &folder, page_len, needed)),
        _ => error,
    }
}

fn advice(pool: Pool, folder: &Path, page_len: u64, needed: u64) -> String {
    let available = pool.available();
    let size = Bytes(page_len);
    let wanted = pool.total.saturating_add(needed - available);
    let line = format!("echo {wanted} > {}/nr_hugepages", folder.display());
    let boot = if page_len >= SIZE_1G {
        format!(", or boot with `hugepagesz=1G hugepages={wanted}`: memory is rarely in one piece later")
    } else {
        String::new()
    };
    format!(
        "it needs {needed} huge pages of {size}, and {available} of {} are free: `{line}`{boot}",
        pool.total
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_names_needed_free_and_the_line() {
        let pool = Pool { total: 5, free: 3, reserved: 2 };
        let folder = folder(1 << 21);
        let text = advice(pool, &folder, 1 << 21, 4);
        assert_eq!(
            text,
            "it needs 4 huge pages of 2M, and 1 of 5 are free: \
             `echo 8 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`"
        );
    }

    #[test]
    fn other_errors_are_left_alone() {
        let error = explain(Error::system("mmap", "x", Errno::PERM), 1 << 21, 1 << 60);
        assert!(!error.to_string().contains("huge"), "{error}");
    }

    #[test]
    fn a_pool_needs_all_three_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("nr_hugepages", "7\n"), ("free_hugepages", "3\n")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(Pool::read(folder.path()), None);
        std::fs::write(folder.path().join("resv_hugepages"), "4\n").unwrap();
        let pool = Pool::read(folder.path()).unwrap();
        assert_eq!(pool, Pool { total: 7, free: 3, reserved: 4 });
        assert_eq!(pool.available(), 0);
    }
}
