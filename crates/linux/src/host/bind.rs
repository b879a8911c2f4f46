//! To VFIO and back.
//!
//! `driver_override` is set first, which changes nothing yet; then the device leaves its driver, and the kernel is asked to find
//! it a driver again. What was done is noted before (see `journal`). Source: Documentation/ABI/testing/sysfs-bus-pci.

use super::{Device, DeviceName, Former, Host, Module, Note, Obstacle, read};
use crate::Error;
use rustix::io::Errno;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// What changes the machine: writing to files of sysfs.
pub(crate) trait Controls: Send + Sync + fmt::Debug {
    fn write(&self, path: &Path, text: &str) -> std::io::Result<()>;
}

/// The kernel's own.
#[derive(Debug)]
pub(crate) struct Sysfs;

impl Controls for Sysfs {
    fn write(&self, path: &Path, text: &str) -> std::io::Result<()> {
        use std::io::Write;
        // One call with all of the text; and no file is made where the kernel has none.
        let written = std::fs::OpenOptions::new().write(true).open(path)?.write(text.as_bytes())?;
        if written == text.len() { Ok(()) } else { Err(std::io::ErrorKind::WriteZero.into()) }
    }
}

/// What to do about a device that the machine uses: a disk that is mounted, the network, the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InUse {
    /// Leave it alone: an error.
    Refuse,
    /// Take it all the same. File systems on it fail, connections over it end.
    TakeAnyway,
}

/// A device that was bound to VFIO.
///
/// Dropping it changes nothing: the device stays with VFIO, and the note stays, for [`Host::restore`].
#[derive(Debug)]
#[must_use = "the device stays bound to VFIO until it is restored"]
pub struct Bound {
    host: Host,
    note: Note,
}

impl Bound {
    /// The device.
    pub const fn device(&self) -> &DeviceName {
        &self.note.device
    }

    /// What it was bound to.
    pub const fn former(&self) -> &Former {
        &self.note.former
    }

    /// Gives the device back to its driver. All its descriptors have to be closed.
    ///
    /// # Errors
    /// As [`Host::restore`], which can be called again then.
    pub fn restore(self, patience: Duration) -> Result<Restored, Error> {
        self.host.restore_as(&self.note, patience)
    }
}

/// What became of a device that was to be given back.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Restored {
    /// It is bound to this driver again.
    Driver(String),
    /// It is bound to nothing, as it was.
    Nothing,
    /// It had left VFIO already, for this driver, and was left alone.
    Elsewhere(String),
    /// There is no such device any more.
    Gone,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(name) => write!(f, "bound to {name} again"),
            Self::Nothing => f.write_str("bound to no driver, as before"),
            Self::Elsewhere(name) => write!(f, "bound to {name} already"),
            Self::Gone => f.write_str("not there any more"),
        }
    }
}

impl Host {
    /// Binds a device to the VFIO driver of its bus, whole or not at all. Other devices of its group are left alone; as long as one
    /// of them is bound to a driver of the kernel, nobody can open the device.
    ///
    /// Leaving a driver can take long: it finishes what it is about. After `patience` the error says so; the device then leaves
    /// when its driver is done, and [`Host::restore`] gives it back.
    ///
    /// # Errors
    /// The device cannot be assigned or is in use, the driver of VFIO is missing, or the kernel's. Nothing has changed then, unless
    /// the error says otherwise.
    pub fn bind_to_vfio(&self, name: &DeviceName, in_use: InUse, patience: Duration) -> Result<Bound, Error> {
        let device = self.device(name)?;
        let driver = name.bus().vfio_driver();
        self.check(&device, in_use)?;
        self.check_driver(driver, &device)?;
        let note = self.taken(&device);
        if device.is_bound_to_vfio() {
            return Ok(Bound { host: self.clone(), note });
        }
        self.write_note(&note)?;
        let bound = self.take(&device, driver, patience);
        match bound {
            Ok(()) => Ok(Bound { host: self.clone(), note }),
            // It is on its way out of its driver, and nothing can be done about it now.
            Err(error @ Error::System { errno: Errno::TIMEDOUT, .. }) => Err(error),
            Err(error) => Err(match self.give_back(&note) {
                Ok(_) => error,
                Err(again) => error.with_help(format!(
                    "and it could not be given back: {again}; try `vcm devices --restore {name}`"
                )),
            }),
        }
    }

    /// Gives a device back to the driver that it was taken from; when that is not known, to one that the kernel finds.
    ///
    /// # Errors
    /// A process has it open; it was neither taken nor is it bound to VFIO; the former driver is not there or does not want it; or
    /// the kernel's. It can be tried again.
    pub fn restore(&self, device: &DeviceName, patience: Duration) -> Result<Restored, Error> {
        let note = match self.note(device) {
            Some(note) => note,
            None if self.device(device)?.is_bound_to_vfio() => Note::unknown(device.clone(), None),
            None => {
                let why = "it is not bound to VFIO, and nothing is noted of it";
                return Err(Error::argument(format!("restoring {device}"), why));
            }
        };
        self.restore_as(&note, patience)
    }

    /// What is to be noted of a device that is about to be taken. A device that has been taken before goes back to where it was then.
    fn taken(&self, device: &Device) -> Note {
        let older = self.note(&device.name);
        let former = match (&device.driver, &older) {
            (Some(driver), _) if !device.is_bound_to_vfio() => Former::Driver(driver.clone()),
            (_, Some(older)) => older.former.clone(),
            // Somebody else gave it to VFIO, and knows why.
            (Some(driver), None) => Former::Driver(driver.clone()),
            (None, None) => Former::Nothing,
        };
        let only = match older {
            // Set by who took it before.
            Some(older) if self.is_ours(device) => older.former_override,
            _ => device.driver_override.clone(),
        };
        Note::new(device.name.clone(), former, only)
    }

    /// Whether only VFIO may have it.
    fn is_ours(&self, device: &Device) -> bool {
        device.driver_override.as_deref() == Some(device.name.bus().vfio_driver())
    }

    fn check(&self, device: &Device, in_use: InUse) -> Result<(), Error> {
        let without_iommu = self.allows_no_iommu();
        for obstacle in &device.obstacles {
            let asked = format!("assigning {}", device.name);
            let why = match obstacle.help() {
                Some(help) => format!("{obstacle}; {help}"),
                None => obstacle.to_string(),
            };
            match obstacle {
                Obstacle::NoGroup if without_iommu => {}
                Obstacle::Bridge | Obstacle::NoGroup | Obstacle::Direct { .. } | Obstacle::Stuck { .. } => {
                    return Err(Error::not_supported(asked, why));
                }
                Obstacle::InUse { .. } if in_use == InUse::Refuse => return Err(Error::argument(asked, why)),
                _ => {}
            }
        }
        Ok(())
    }

    fn check_driver(&self, driver: &'static str, device: &Device) -> Result<(), Error> {
        if self.path(format!("sys/bus/{}/drivers/{driver}", device.name.bus())).is_dir() {
            return Ok(());
        }
        let help = match self.module(driver) {
            Module::Absent => {
                "this kernel comes without it: boot one that has it (CONFIG_VFIO_PCI)".to_owned()
            }
            _ => format!("modprobe {driver}"),
        };
        Err(Error::Missing { what: format!("the driver {driver}"), help })
    }

    /// Whether VFIO takes devices that are behind no IOMMU.
    pub(super) fn allows_no_iommu(&self) -> bool {
        let parameter = self.path("sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
        read::maybe(&parameter).is_some_and(|value| value == "Y" || value == "1")
    }

    fn take(&self, device: &Device, driver: &str, patience: Duration) -> Result<(), Error> {
        let name = &device.name;
        self.write(&self.path(name.folder()).join("driver_override"), &format!("{driver}\n"))?;
        self.leave(device, patience)?;
        self.write(&self.path(format!("sys/bus/{}/drivers_probe", name.bus())), name.name())?;
        match self.driver_of(name) {
            Some(now) if now == driver => Ok(()),
            now => Err(Error::Garbage {
                object: name.to_string(),
                what: format!(
                    "{driver} did not take it, it is bound to {}; the kernel's log (dmesg) says why",
                    now.as_deref().unwrap_or("nothing")
                ),
            }),
        }
    }

    /// Has a device leave its driver, which may have to wait for others.
    fn leave(&self, device: &Device, patience: Duration) -> Result<(), Error> {
        let Some(driver) = &device.driver else { return Ok(()) };
        let name = &device.name;
        // A write that waits for others cannot be taken back, and keeps its process from ending: not begun in vain.
        if device.is_bound_to_vfio() {
            self.nobody_holds(device, Errno::BUSY, "")?;
        }
        let path = self.path(format!("sys/bus/{}/drivers/{driver}/unbind", name.bus()));
        let (tell, hear) = mpsc::channel();
        let (controls, text, file) = (Arc::clone(&self.controls), name.name().to_owned(), path.clone());
        let write = move || {
            // Nobody listens when it took too long.
            let _ = tell.send(controls.write(&file, &text));
        };
        let thread = std::thread::Builder::new().name("vcm unbind".into()).spawn(write);
        thread.map_err(|error| self.refused(&path, &error))?;
        match hear.recv_timeout(patience) {
            Ok(written) => written.map_err(|error| self.refused(&path, &error)),
            Err(_) => {
                let still = format!(
                    "it leaves {driver} as soon as that lets go, and this process may not end before"
                );
                self.nobody_holds(device, Errno::TIMEDOUT, &still)?;
                Err(Error::system("unbind", name.to_string(), Errno::TIMEDOUT).with_help(still))
            }
        }
    }

    fn nobody_holds(&self, device: &Device, errno: Errno, more: &str) -> Result<(), Error> {
        let holders: Vec<_> = self.holders(device).iter().map(ToString::to_string).collect();
        if holders.is_empty() {
            return Ok(());
        }
        let mut help = format!("{}: end it first", holders.join(", "));
        if !more.is_empty() {
            help = format!("{}; {more}", holders.join(", "));
        }
        Err(Error::system("unbind", device.name.to_string(), errno).with_help(help))
    }

    fn restore_as(&self, note: &Note, patience: Duration) -> Result<Restored, Error> {
        if let Ok(device) = self.device(&note.device)
            && device.is_bound_to_vfio()
            && Former::Driver(device.driver.clone().unwrap_or_default()) != note.former
        {
            self.leave(&device, patience)?;
        }
        self.give_back(note)
    }

    /// Undoes what was done to a device that is bound to nothing now, or is where it was.
    fn give_back(&self, note: &Note) -> Result<Restored, Error> {
        let name = &note.device;
        let device = match self.device(name) {
            Ok(device) => device,
            Err(error) if !self.path("sys/bus").is_dir() => return Err(error),
            Err(_) => {
                self.forget(name);
                return Ok(Restored::Gone);
            }
        };
        if self.is_ours(&device) && note.former_override != device.driver_override {
            let former = note.former_override.as_deref().unwrap_or_default();
            self.write(&self.path(name.folder()).join("driver_override"), &format!("{former}\n"))?;
        }
        let restored = match (&device.driver, &note.former) {
            (Some(now), Former::Driver(former)) if now == former => Restored::Driver(now.clone()),
            (Some(now), _) => Restored::Elsewhere(now.clone()),
            (None, Former::Nothing) => Restored::Nothing,
            (None, Former::Driver(former)) => self.offer(name, Some(former))?,
            (None, Former::Unknown) => self.offer(name, None)?,
        };
        self.forget(name);
        Ok(restored)
    }

    /// Has a driver take a device that has none.
    fn offer(&self, name: &DeviceName, former: Option<&str>) -> Result<Restored, Error> {
        let bus = self.path(format!("sys/bus/{}", name.bus()));
        let own =
            former.map(|former| bus.join("drivers").join(former).join("bind")).filter(|path| path.exists());
        // A driver that refuses says so here; which driver took the device is looked at below.
        let offered = self.write(&own.unwrap_or_else(|| bus.join("drivers_probe")), name.name());
        match (self.driver_of(name), former) {
            (Some(now), _) => Ok(Restored::Driver(now)),
            (None, None) => offered.map(|()| Restored::Nothing),
            (None, Some(former)) => Err(Error::Missing {
                what: format!("a driver for {name}, which was bound to {former}"),
                help: format!("modprobe {former}, then vcm devices --restore {name}"),
            }),
        }
    }

    fn driver_of(&self, name: &DeviceName) -> Option<String> {
        read::link_name(&self.path(name.folder()).join("driver"))
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Error> {
        self.controls.write(path, text).map_err(|error| self.refused(path, &error))
    }

    fn refused(&self, path: &Path, error: &std::io::Error) -> Error {
        let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
        let refused = Error::system("write", self.shown(path), errno);
        match errno {
            Errno::ACCESS | Errno::PERM => refused.with_help("run it as root (sudo)"),
            Errno::ROFS => {
                refused.with_help("/sys is mounted read-only: containers need the host's, writable")
            }
            _ => refused,
        }
    }
}

#[cfg(test)]
#[path = "bind_tests.rs"]
mod tests;
