//! Reading what the kernel shows as files: bounded, and never a panic.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// No file that is read here is larger, but for `/proc/interrupts` of machines with thousands of CPUs; then its start will do.
const MOST_BYTES: u64 = 4 << 20;
/// No folder that is listed here has more.
const MOST_NAMES: usize = 1 << 16;

/// Why something was not read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unread {
    /// It is not there.
    Absent,
    /// It is there, or may be, and this process may not see it, or it is broken.
    Unknown(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "not here",
            Self::Unknown(why) => why,
        })
    }
}

impl Unread {
    fn of(error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::Absent,
            _ => Self::Unknown(error.to_string()),
        }
    }
}

/// The text of a file, without white space at its ends. What is no UTF-8 is replaced.
pub(crate) fn text(path: &Path) -> Result<String, Unread> {
    Ok(String::from_utf8_lossy(&bytes(path, MOST_BYTES)?).trim().to_owned())
}

/// The first bytes of a file, `most` at most.
pub(crate) fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, Unread> {
    let mut read = Vec::new();
    let file = File::open(path).map_err(|error| Unread::of(&error))?;
    file.take(most).read_to_end(&mut read).map_err(|error| Unread::of(&error))?;
    Ok(read)
}

/// The text of a file, if there is one and it can be read.
pub(crate) fn maybe(path: &Path) -> Option<String> {
    text(path).ok().filter(|text| !text.is_empty())
}

/// A number in a file, decimal or with `0x` before it.
pub(crate) fn number(path: &Path) -> Option<u64> {
    parse(&text(path).ok()?)
}

/// A number as the kernel writes it: decimal, or hexadecimal after `0x`.
pub(crate) fn parse(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The names in a folder, in order. Names that no kernel object has are left out.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, Unread> {
    let entries = std::fs::read_dir(path).map_err(|error| Unread::of(&error))?;
    let mut names: Vec<String> = entries
        .take(MOST_NAMES)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| plain(name))
        .collect();
    names.sort_by(|a, b| natural(a).cmp(&natural(b)));
    Ok(names)
}

/// The last part of where a link points to: what sysfs calls a driver or a group.
pub(crate) fn link_name(path: &Path) -> Option<String> {
    let target = std::fs::read_link(path).ok()?;
    let name = target.file_name()?.to_str()?;
    plain(name).then(|| name.to_owned())
}

/// Whether it can be the name of a kernel object, and so of one file in one folder.
pub(crate) fn plain(name: &str) -> bool {
    let usual = |letter: char| !letter.is_control() && letter != '/';
    !name.is_empty() && name.len() <= 255 && name != "." && name != ".." && name.chars().all(usual)
}

/// A key that sorts `nvme2` before `nvme10`, and hexadecimal addresses as they are.
fn natural(name: &str) -> (String, u64, &str) {
    let digits = name.len() - name.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    let (stem, number) = name.split_at(name.len() - digits);
    if stem.contains(':') {
        return (name.to_owned(), 0, "");
    }
    (stem.to_owned(), number.parse().unwrap_or(u64::MAX), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_marked() {
        assert_eq!((parse("12"), parse("0x1f"), parse("1f"), parse("")), (Some(12), Some(0x1f), None, None));
        assert_eq!(parse("99999999999999999999999"), None);
    }

    #[test]
    fn names_sort_as_people_count() {
        let mut names = ["nvme10", "0000:00:1f.0", "nvme2", "0000:00:02.0", "node"];
        names.sort_by(|a, b| natural(a).cmp(&natural(b)));
        assert_eq!(names, ["0000:00:02.0", "0000:00:1f.0", "node", "nvme2", "nvme10"]);
    }

    #[test]
    fn what_leaves_a_folder_is_no_name() {
        for name in ["", ".", "..", "a/b", "../x", "a\nb", "\0"] {
            assert!(!plain(name), "{name:?}");
        }
        assert!(plain("0000:00:1f.0") && plain("..x"));
    }
}
