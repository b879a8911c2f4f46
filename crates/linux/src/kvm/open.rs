//! `/dev/kvm`.

use super::capabilities::Capabilities;
use super::vm::{InterruptController, Vm};
use crate::Error;
use rustix::io::Errno;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const NODE: &str = "/dev/kvm";

/// The one version of the interface that there is since 2007 (`KVM_API_VERSION`, include/uapi/linux/kvm.h).
const VERSION: i32 = 12;

/// KVM of this machine, opened.
#[derive(Debug)]
pub struct Kvm {
    kvm: kvm_ioctls::Kvm,
}

/// The error of a call of kvm-ioctls'.
pub(super) fn refused(call: &'static str, object: impl Into<String>, error: kvm_ioctls::Error) -> Error {
    Error::system(call, object, errno(error))
}

pub(super) fn errno(error: kvm_ioctls::Error) -> Errno {
    Errno::from_raw_os_error(error.errno())
}

impl Kvm {
    /// Opens `/dev/kvm`.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such node, [`Error::System`] with EACCES and what to do about it.
    pub fn open() -> Result<Self, Error> {
        Self::open_at(Path::new(NODE))
    }

    /// Opens KVM's node where it is under another name.
    ///
    /// # Errors
    /// As [`Kvm::open`]; [`Error::NotSupported`] when it is something else's node.
    pub fn open_at(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let c_path = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::argument(&name, "a path has no zero byte"))?;
        let kvm = kvm_ioctls::Kvm::new_with_path(&c_path).map_err(|error| match errno(error) {
            Errno::NOENT | Errno::NXIO | Errno::NODEV => Error::Missing {
                what: name.clone(),
                help: "switch virtualization on in the firmware (or nested virtualization in the hypervisor below), and load \
                       kvm_intel or kvm_amd"
                    .into(),
            },
            Errno::ACCESS | Errno::PERM => refused("open", &name, error)
                .with_help("join its group: `sudo usermod -aG kvm $USER`, and log in again"),
            _ => refused("open", &name, error),
        })?;
        match kvm.get_api_version() {
            VERSION => Ok(Self { kvm }),
            version if version > 0 => Err(Error::not_supported(
                format!("version {version} of KVM's interface"),
                format!("{VERSION} is what every kernel since 2.6.22 has"),
            )),
            _ => Err(Error::argument(name, "is no node of KVM's")),
        }
    }

    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::read(|cap| self.kvm.check_extension_int(cap))
    }

    /// Makes a virtual machine, without memory and virtual CPUs.
    ///
    /// # Errors
    /// The kernel's; [`Error::NotSupported`] when it has not such an interrupt controller.
    pub fn create(&self, controller: InterruptController) -> Result<Vm, Error> {
        // A signal while the kernel prepares it is no reason to give up.
        let fd = loop {
            match self.kvm.create_vm() {
                Err(error) if errno(error) == Errno::INTR => {}
                answer => break answer.map_err(|error| refused("KVM_CREATE_VM", NODE, error))?,
            }
        };
        Vm::new(fd, controller)
    }
}
