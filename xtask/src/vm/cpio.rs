//! Writes the archive that a Linux kernel unpacks as its first file system: cpio in the "newc" form
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive in the making.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    /// Adds a file, and the folders above it. Paths begin without a slash.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        self.folders_above(path);
        self.entry(path, FILE, (0, 0), content);
    }

    /// Adds a file that can be executed.
    pub(crate) fn program(&mut self, path: &str, content: &[u8]) {
        self.folders_above(path);
        self.entry(path, PROGRAM, (0, 0), content);
    }

    /// Adds a character device by its major and minor number.
    pub(crate) fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.folders_above(path);
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[]);
    }

    /// Adds an empty folder.
    pub(crate) fn folder(&mut self, path: &str) {
        self.folders_above(path);
        if self.folders.insert(path.to_owned()) {
            self.entry(path, FOLDER, (0, 0), &[]);
        }
    }

    /// The archive, ended.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn folders_above(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let folder = &path[..at];
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder, FOLDER, (0, 0), &[]);
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let length = u32::try_from(content.len()).expect("a file of the virtual machine is below 4 GiB");
        let name = u32::try_from(path.len() + 1).expect("a path is below 4 GiB");
        // inode, mode, links, user, group, time, length, device (2), special device (2), length of the name, checksum
        let fields = [self.entries, mode, 1, 0, 0, 0, length, 0, 0, device.0, device.1, name, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Headers and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(PartialEq, Debug)]
    struct Entry {
        path: String,
        mode: u32,
        device: (u32, u32),
        content: Vec<u8>,
    }

    /// Reads an archive as the kernel does, by the fields' places in the header.
    fn read(bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut at = 0;
        loop {
            assert_eq!(at % 4, 0);
            let header = &bytes[at..at + 110];
            assert_eq!(&header[..6], b"070701");
            let field = |index: usize| {
                let text = std::str::from_utf8(&header[6 + index * 8..14 + index * 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (length, name) = (field(6) as usize, field(11) as usize);
            let path = &bytes[at + 110..at + 110 + name];
            assert_eq!(path.last(), Some(&0));
            let path = String::from_utf8(path[..name - 1].to_vec()).unwrap();
            let start = (at + 110 + name).next_multiple_of(4);
            at = (start + length).next_multiple_of(4);
            if path == "TRAILER!!!" {
                assert_eq!(at, bytes.len());
                return entries;
            }
            let content = bytes[start..start + length].to_vec();
            entries.push(Entry { path, mode: field(1), device: (field(9), field(10)), content });
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_folders_come_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.program("init", b"12345");
        archive.character_device("dev/console", 5, 1);
        archive.file("bin/examples/a", b"");
        archive.file("bin/examples/b", b"four");
        archive.folder("bin");
        archive.folder("proc");
        let entry = |path: &str, mode, device, content: &[u8]| Entry {
            path: path.into(),
            mode,
            device,
            content: content.to_vec(),
        };
        let expected = [
            entry("init", 0o100_755, (0, 0), b"12345"),
            entry("dev", 0o040_755, (0, 0), b""),
            entry("dev/console", 0o020_600, (5, 1), b""),
            entry("bin", 0o040_755, (0, 0), b""),
            entry("bin/examples", 0o040_755, (0, 0), b""),
            entry("bin/examples/a", 0o100_644, (0, 0), b""),
            entry("bin/examples/b", 0o100_644, (0, 0), b"four"),
            entry("proc", 0o040_755, (0, 0), b""),
        ];
        assert_eq!(read(&archive.finish()), expected);
    }
}
