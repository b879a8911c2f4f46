//! Faults as the kernel's log tells them.
//!
//! VFIO has no way to hand a device's faults to its user: the IOMMU's driver writes them to the log, and that is all. Where
//! this process may read the log, faults are found there. The log is not a ledger: drivers leave faults out when there are
//! many (VT-d's writes ten lines in five seconds, `dmar_fault` in drivers/iommu/intel/dmar.c), and VT-d and AMD-Vi tell
//! the page only.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};
use rustix::io::{Errno, read};
use vcm::FaultAccess;

/// A fault that was logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LoggedFault {
    /// The device: `0000:00:06.0`.
    pub(super) device: String,
    /// The page, or the address, that it wanted.
    pub(super) address: u64,
    /// What it wanted, where that is told.
    pub(super) access: Option<FaultAccess>,
}

/// The kernel's log from now on.
#[derive(Debug)]
pub(super) struct KernelLog {
    descriptor: OwnedFd,
}

/// Longer than any record of the log (`PRINTKRB_RECORD_MAX`, kernel/printk/internal.h).
const RECORD: usize = 8192;

impl KernelLog {
    /// Opens it at its end. Needs CAP_SYSLOG where `kernel.dmesg_restrict` is set.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn open() -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let descriptor = open("/dev/kmsg", flags, Mode::empty())?;
        seek(&descriptor, SeekFrom::End(0))?;
        Ok(Self { descriptor })
    }

    /// The faults that were logged since the last call.
    pub(super) fn faults(&mut self) -> Vec<LoggedFault> {
        let mut faults = Vec::new();
        let mut record = [0; RECORD];
        loop {
            match read(&self.descriptor, &mut record) {
                Ok(0) | Err(Errno::AGAIN) => return faults,
                Ok(len) => faults.extend(parse(&String::from_utf8_lossy(&record[..len]))),
                // Records were overwritten before we came: on with the oldest that there is.
                Err(Errno::PIPE | Errno::INTR) => {}
                // What cannot be read tells of no faults.
                Err(_) => return faults,
            }
        }
    }
}

/// The fault that a record tells of, if it does.
fn parse(record: &str) -> Option<LoggedFault> {
    // Priority, number, time and flags come before the text; key-value lines after it. Documentation/ABI/testing/dev-kmsg.
    let (_, text) = record.split_once(';')?;
    vtd(text).or_else(|| amd(text))
}

/// `DMAR: [DMA Read NO_PASID] Request device [0000:00:06.0] fault addr 0x1000 [fault reason 0x06] ...`
/// (`dmar_fault_do_one` in drivers/iommu/intel/dmar.c). Older kernels leave out the segment: `[00:06.0]`.
fn vtd(text: &str) -> Option<LoggedFault> {
    let (_, rest) = text.split_once("[DMA ")?;
    let (access, rest) = rest.split_once("Request device [")?;
    let access = match access.split([' ', ']']).next()? {
        "Read" => FaultAccess::Read,
        "Write" => FaultAccess::Write,
        _ => return None,
    };
    let (device, rest) = rest.split_once(']')?;
    let (_, rest) = rest.split_once("fault addr ")?;
    let device = if device.matches(':').count() == 1 { format!("0000:{device}") } else { device.to_owned() };
    Some(LoggedFault { device, address: hexadecimal(rest)?, access: Some(access) })
}

/// `vfio-pci 0000:00:06.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000a address=0x1000 flags=0x0000]`, or with
/// `device=` (`amd_iommu_report_page_fault` in drivers/iommu/amd/iommu.c).
fn amd(text: &str) -> Option<LoggedFault> {
    /// RW of the event: a write (AMD 48882, 2.5.3).
    const WRITE: u64 = 1 << 5;
    let (before, rest) = text.split_once("AMD-Vi: Event logged [IO_PAGE_FAULT ")?;
    let field = |name: &str| rest.split_once(name).map(|(_, value)| value);
    let device = match field("device=") {
        Some(value) => value.split([' ', ']']).next()?,
        None => before.trim_end_matches([':', ' ']).rsplit(' ').next()?,
    };
    let flags = field("flags=").and_then(hexadecimal)?;
    let access = if flags & WRITE != 0 { FaultAccess::Write } else { FaultAccess::Read };
    Some(LoggedFault {
        device: device.to_owned(),
        address: field("address=").and_then(hexadecimal)?,
        access: Some(access),
    })
}

fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let end = digits.find(|character: char| !character.is_ascii_hexdigit()).unwrap_or(digits.len());
    u64::from_str_radix(&digits[..end], 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vtd_tells_device_page_and_access() {
        let record = "3,812,5316532,-;DMAR: [DMA Write NO_PASID] Request device [0000:00:06.0] fault addr 0xabcd000 \
                      [fault reason 0x05] PTE Write access is not set\n SUBSYSTEM=pci\n";
        let fault = parse(record).unwrap();
        assert_eq!((fault.device.as_str(), fault.address), ("0000:00:06.0", 0xabc_d000));
        assert_eq!(fault.access, Some(FaultAccess::Write));
    }

    #[test]
    fn older_kernels_leave_out_the_segment() {
        let record = "3,1,1,-;DMAR: [DMA Read NO_PASID] Request device [00:06.0] fault addr 0x1000 [fault reason 0x06] ...";
        assert_eq!(parse(record).unwrap().device, "0000:00:06.0");
    }

    #[test]
    fn amd_names_the_device_in_front_or_inside() {
        let record = "3,1,1,-;vfio-pci 0000:00:06.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000a \
                      address=0x2000 flags=0x0020]";
        let fault = parse(record).unwrap();
        assert_eq!((fault.device.as_str(), fault.address), ("0000:00:06.0", 0x2000));
        assert_eq!(fault.access, Some(FaultAccess::Write));
        let record = "3,1,1,-;AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:01:00.1 domain=0x1 address=0x0 flags=0x0]";
        assert_eq!(parse(record).unwrap().device, "0000:01:00.1");
    }

    #[test]
    fn other_lines_tell_nothing() {
        for record in [
            "",
            ";",
            "6,1,1,-;DMAR: DRHD: handling fault status reg 2",
            "3,1,1,-;DMAR: [DMA Write NO_PASID] Request device [",
            "3,1,1,-;DMAR: [DMA Write NO_PASID] Request device [00:06.0] fault addr 0x [fault",
            "3,1,1,-;[DMA Fetch NO_PASID] Request device [00:06.0] fault addr 0x1",
            "3,1,1,-;AMD-Vi: Event logged [IO_PAGE_FAULT domain=1]",
            "3,1,1,-;DMAR: [DMA Read NO_PASID] Request device [0:6.0] fault addr 0x11112222333344445 [",
        ] {
            assert_eq!(parse(record), None, "{record}");
        }
    }
}
