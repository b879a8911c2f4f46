//! What KVM is told of assigned devices.

use super::open::{errno, refused};
use super::vm::Vm;
use crate::Error;
use kvm_bindings::{
    KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_ADD, KVM_DEV_VFIO_FILE_DEL, kvm_create_device, kvm_device_attr,
    kvm_device_type_KVM_DEV_TYPE_VFIO,
};
use kvm_ioctls::DeviceFd;
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;

/// The pseudo device by which KVM knows the VFIO files whose devices the guest has (`KVM_DEV_TYPE_VFIO`): it keeps
/// the virtual machine alive for them, and lets the guest's caching instructions through where a device's accesses
/// are not coherent.
///
/// A file is a device's (cdev) or a group's. Kernels before 6.6 take groups only; the attribute is the same number
/// under another name, `KVM_DEV_VFIO_GROUP_ADD` (Documentation/virt/kvm/devices/vfio.rst).
#[derive(Debug)]
pub struct VfioFiles {
    device: DeviceFd,
    // It outlives the device's descriptor.
    _vm: Vm,
}

impl VfioFiles {
    /// Makes it. There is one for each virtual machine.
    ///
    /// # Errors
    /// [`Error::NotSupported`] when this kernel was built without it, EBUSY when the virtual machine has one.
    pub fn new(vm: &Vm) -> Result<Self, Error> {
        let mut request = kvm_create_device { type_: kvm_device_type_KVM_DEV_TYPE_VFIO, fd: 0, flags: 0 };
        let device = vm.fd().create_device(&mut request).map_err(|error| match errno(error) {
            Errno::NODEV | Errno::NOTTY => Error::not_supported(
                "telling KVM of VFIO devices",
                "this kernel has no KVM_DEV_TYPE_VFIO (CONFIG_KVM_VFIO)",
            ),
            _ => refused("KVM_CREATE_DEVICE", "KVM_DEV_TYPE_VFIO", error),
        })?;
        Ok(Self { device, _vm: vm.clone() })
    }

    /// Tells KVM of a device or a group.
    ///
    /// # Errors
    /// EEXIST when it was told before, EINVAL when the file is not VFIO's.
    pub fn add(&self, file: impl AsFd) -> Result<(), Error> {
        self.set(KVM_DEV_VFIO_FILE_ADD, file).map_err(|error| {
            let refusal = refused("KVM_DEV_VFIO_FILE_ADD", "VFIO file", error);
            match errno(error) {
                Errno::INVAL | Errno::BADF => refusal
                    .with_help("is it a VFIO file? A kernel before 6.6 takes a group's, not a device's"),
                _ => refusal,
            }
        })
    }

    /// Ends that. Passed over where it was not told of it.
    pub fn remove(&self, file: impl AsFd) {
        let _ = self.set(KVM_DEV_VFIO_FILE_DEL, file);
    }

    fn set(&self, attribute: u32, file: impl AsFd) -> Result<(), kvm_ioctls::Error> {
        let descriptor: i32 = file.as_fd().as_raw_fd();
        let request = kvm_device_attr {
            flags: 0,
            group: KVM_DEV_VFIO_FILE,
            attr: u64::from(attribute),
            addr: std::ptr::from_ref(&descriptor) as u64,
        };
        // `descriptor` is the 32-bit number that both attributes read, and lives until the call returns.
        self.device.set_device_attr(&request)
    }
}
