//! Which devices were taken from their drivers, so that they can be given back when the process that took them is gone.
//!
//! One small file for each device, in `/run/vcm/bindings` or, for who may not write there, below `$XDG_RUNTIME_DIR`. It is
//! written before the device is touched, whole or not at all, and removed when the device has been given back. Both places
//! are empty after a boot, as bindings are.

use super::{Bus, DeviceName, Host, read};
use crate::Error;
use rustix::io::Errno;
use std::fs::{DirBuilder, OpenOptions, remove_file, rename};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const TITLE: &str = "vcm binding 1";
const END: &str = "end";

/// What a device was bound to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Former {
    /// This driver.
    Driver(String),
    /// Nothing.
    Nothing,
    /// That is not known any more: whatever driver the kernel finds for it will do.
    Unknown,
}

/// What is noted of a device that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Note {
    /// The device.
    pub device: DeviceName,
    /// What it was bound to.
    pub former: Former,
    /// The `driver_override` that it had.
    pub former_override: Option<String>,
    /// The process that took it.
    pub process: Option<u32>,
    /// Why the rest is not to be relied on.
    pub damage: Option<String>,
}

impl Note {
    pub(super) fn new(device: DeviceName, former: Former, former_override: Option<String>) -> Self {
        Self { device, former, former_override, process: Some(std::process::id()), damage: None }
    }

    /// What is left to go by when a note cannot be read, or there is none.
    pub(super) fn unknown(device: DeviceName, damage: Option<String>) -> Self {
        Self { device, former: Former::Unknown, former_override: None, process: None, damage }
    }

    fn to_text(&self) -> String {
        let former = match &self.former {
            Former::Driver(name) => format!("driver {name}"),
            Former::Nothing => "no driver".into(),
            Former::Unknown => "unknown driver".into(),
        };
        let only =
            self.former_override.as_ref().map_or_else(String::new, |name| format!("override {name}\n"));
        let process = self.process.map_or_else(String::new, |process| format!("process {process}\n"));
        format!("{TITLE}\ndevice {} {}\n{former}\n{only}{process}{END}\n", self.device.bus(), self.device)
    }

    /// Reads a note about `device`. Every line has to make sense, and the last has to be there.
    fn parse(text: &str, device: &DeviceName) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(format!("it does not begin with \"{TITLE}\""));
        }
        let mut note = Self::unknown(device.clone(), None);
        let (mut named, mut driver, mut ended) = (false, false, false);
        for line in lines {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let wrong = || format!("{line:?} makes no sense there");
            let name = || read::plain(value).then(|| value.to_owned()).ok_or_else(wrong);
            match key {
                _ if ended => return Err(wrong()),
                "device" if !named && value == format!("{} {device}", device.bus()) => named = true,
                "driver" if !driver => (driver, note.former) = (true, Former::Driver(name()?)),
                "no" if !driver && value == "driver" => (driver, note.former) = (true, Former::Nothing),
                "unknown" if !driver && value == "driver" => driver = true,
                "override" => note.former_override = Some(name()?),
                "process" => note.process = Some(value.parse().map_err(|_| wrong())?),
                END if value.is_empty() => ended = true,
                _ => return Err(wrong()),
            }
        }
        if named && driver && ended { Ok(note) } else { Err("it is cut off".into()) }
    }
}

impl Host {
    /// Every device that was taken and not given back, by this process or by others, which may have been killed.
    pub fn notes(&self) -> Vec<Note> {
        let mut notes: Vec<Note> = Vec::new();
        for folder in self.journals() {
            for name in read::names(&folder).unwrap_or_default() {
                let Some((bus, device)) = name.split_once('-') else { continue };
                let Some(bus) = Bus::ALL.into_iter().find(|known| known.folder() == bus) else { continue };
                let Ok(device) = DeviceName::new(bus, device) else { continue };
                if file_name(&device) != name || notes.iter().any(|note| note.device == device) {
                    continue;
                }
                let read = read_note(&folder.join(name), &device);
                notes.push(read.unwrap_or_else(|damage| Note::unknown(device, Some(damage))));
            }
        }
        notes
    }

    /// What is noted of one device.
    pub(super) fn note(&self, device: &DeviceName) -> Option<Note> {
        self.notes().into_iter().find(|note| note.device == *device)
    }

    /// Writes a note, in place of an older one.
    pub(super) fn write_note(&self, note: &Note) -> Result<(), Error> {
        let mut refused = None;
        for folder in self.journals() {
            match write_note(&folder, note) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    refused.get_or_insert((folder, error));
                }
            }
        }
        let (folder, error) =
            refused.unwrap_or_else(|| (PathBuf::new(), std::io::ErrorKind::NotFound.into()));
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let help = "the former driver is noted there before a device is taken; run it as root";
        Err(Error::system("write", self.shown(&folder), errno).with_help(help))
    }

    /// Forgets a device.
    pub(super) fn forget(&self, device: &DeviceName) {
        for folder in self.journals() {
            // A note that stays is found out when it is used: the device is with its driver.
            let _ = remove_file(folder.join(file_name(device)));
        }
    }

    fn journals(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.path("run/vcm/bindings")];
        if self.is_here() {
            let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            folders
                .extend(own.filter(|folder| folder.is_absolute()).map(|folder| folder.join("vcm/bindings")));
        }
        folders
    }
}

fn file_name(device: &DeviceName) -> String {
    format!("{}-{device}", device.bus())
}

fn read_note(path: &Path, device: &DeviceName) -> Result<Note, String> {
    let bytes = read::bytes(path, 1 << 16).map_err(|why| format!("{}: {why}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    Note::parse(&text, device).map_err(|why| format!("{}: {why}", path.display()))
}

fn write_note(folder: &Path, note: &Note) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let name = file_name(&note.device);
    // A dot before it: no note has such a name.
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    // What a process with the same number left when it was killed.
    let _ = remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
    let written = file.write_all(note.to_text().as_bytes()).and_then(|()| rename(&new, folder.join(name)));
    if written.is_err() {
        let _ = remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn device() -> DeviceName {
        DeviceName::parse("0000:00:06.0").unwrap()
    }

    #[test]
    fn notes_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path());
        assert_eq!(host.notes(), []);
        for former in [Former::Driver("nvme".into()), Former::Nothing, Former::Unknown] {
            for only in [None, Some("nvme".to_owned())] {
                let note = Note::new(device(), former.clone(), only);
                host.write_note(&note).unwrap();
                assert_eq!(host.notes(), [note]);
            }
        }
        host.forget(&device());
        assert_eq!(host.notes(), []);
    }

    /// Cut off anywhere, or with a byte changed: it is as it was, or said to be damaged, and the device is known all the same.
    #[test]
    fn damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path());
        let note = Note::new(device(), Former::Driver("nvme".into()), Some("nvme".into()));
        host.write_note(&note).unwrap();
        let file = folder.path().join("run/vcm/bindings/pci-0000:00:06.0");
        let whole = std::fs::read(&file).unwrap();
        for len in 0..whole.len() - 1 {
            std::fs::write(&file, &whole[..len]).unwrap();
            let found = host.note(&device()).unwrap();
            assert_eq!((found.former, found.damage.is_some()), (Former::Unknown, true), "{len}");
        }
        std::fs::write(&file, [0xff; 100_000]).unwrap();
        assert!(host.note(&device()).unwrap().damage.is_some());
    }

    #[test]
    fn other_files_are_no_notes() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("run/vcm/bindings");
        std::fs::create_dir_all(place.join("pci-0000:00:07.0")).unwrap();
        for name in ["usb-1", "pci-", "pci-00:06.0", "pci-../../etc", ".pci-0000:00:06.0.1", "platform"] {
            let _ = std::fs::write(place.join(name), "");
        }
        let notes = Host::at(folder.path()).notes();
        let names: Vec<_> = notes.iter().map(|note| note.device.name()).collect();
        assert_eq!(names, ["0000:00:07.0"]);
        assert!(notes[0].damage.is_some());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(vcm binding 1\n)?((device pci 0000:00:06.0|driver [a-z/]*|end|override|process [0-9]*|.*)\n)*") {
            let _ = Note::parse(&text, &device());
        }
    }
}
