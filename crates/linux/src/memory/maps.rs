//! What the kernel says is mapped in this process: /proc/self/maps (Documentation/filesystems/proc.rst).

use crate::Error;
use rustix::fd::AsFd;
use rustix::fs::{fstat, major, minor};
use std::fs::File;
use std::io::{BufRead, BufReader};

/// A line of it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mapping {
    start: u64,
    /// One behind the last byte.
    end: u64,
    /// As `rw-s`.
    permissions: String,
    /// Where in the file it starts, in bytes.
    offset: u64,
    /// Major and minor number of the file's device, as `00:01`.
    device: String,
    inode: u64,
}

impl Mapping {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(Self {
            start: number(start)?,
            end: number(end)?,
            permissions: words.next()?.into(),
            offset: number(words.next()?)?,
            device: words.next()?.into(),
            inode: words.next()?.parse().ok()?,
        })
    }
}

/// Checks that the `len` bytes at `address` are a shared mapping, for reading and writing, of the file from its first byte on.
pub(super) fn check_whole(name: &str, file: impl AsFd, address: u64, len: u64) -> Result<(), Error> {
    let status = fstat(file).map_err(|errno| Error::system("fstat", name, errno))?;
    let device = format!("{:02x}:{:02x}", major(status.st_dev), minor(status.st_dev));
    let path = "/proc/self/maps";
    let system = |error: std::io::Error| {
        let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
        Error::system("read", path, errno)
    };
    let lines = BufReader::new(File::open(path).map_err(system)?).lines();
    let what = || format!("the mapping of `{name}` at {address:#x}");
    let refused = |why: String| Err(Error::argument(what(), why));
    let Some(end) = address.checked_add(len) else {
        return refused("it passes the end of the space".into());
    };
    // The kernel lists mappings in the order of their addresses; one stretch may be several of them.
    let mut next = address;
    for line in lines {
        let line = line.map_err(system)?;
        let garbage = || Error::Garbage { object: path.into(), what: line.clone() };
        let mapping = Mapping::parse(&line).ok_or_else(garbage)?;
        if mapping.end <= next {
            continue;
        }
        if mapping.start > next || next >= end {
            break;
        }
        if mapping.permissions.as_bytes().get(3) != Some(&b's') {
            return refused("it is private: what devices read and write would be another copy of it".into());
        }
        if !mapping.permissions.starts_with("rw") {
            return refused(format!("it is mapped as {} at {next:#x}, not for both", mapping.permissions));
        }
        let expected = next - address;
        let found = mapping.offset + (next - mapping.start);
        if (&mapping.device, mapping.inode, found) != (&device, status.st_ino, expected) {
            return refused(format!("at {next:#x} something else is mapped, or another part of it: {line}"));
        }
        next = mapping.end;
    }
    if next < end {
        return refused(format!("nothing is mapped at {next:#x}, and the file has {len:#x} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line =
            "7f0f1c000000-7f0f1c200000 rw-s 00001000 00:01 1037                       /memfd:a b (deleted)";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!(mapping.start, 0x7f0f_1c00_0000);
        assert_eq!(mapping.end, 0x7f0f_1c20_0000);
        assert_eq!((mapping.permissions.as_str(), mapping.offset), ("rw-s", 0x1000));
        assert_eq!((mapping.device.as_str(), mapping.inode), ("00:01", 1037));
        let anonymous = Mapping::parse("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0").unwrap();
        assert_eq!(anonymous.inode, 0);
        for bad in ["", "1-2", "1 rw-p 0 00:00 0", "1-x rw-p 0 00:00 0", "1-2 rw-p 0 00:00 x"] {
            assert_eq!(Mapping::parse(bad), None, "{bad}");
        }
    }
}
