//! The fake machine's devices, and how each translates.

use super::machine::error;
use vcm::{DeviceHandle, Format, HardwareError, HardwareErrorKind, PageSizes, Part, Span};

/// The CPU.
pub(crate) const CPU: DeviceHandle = DeviceHandle(0);
/// Two contexts of a video codec: 32-bit addresses, short descriptors, with low and high halves.
pub(crate) const CODEC_A: DeviceHandle = DeviceHandle(1);
/// The other.
pub(crate) const CODEC_B: DeviceHandle = DeviceHandle(2);
/// A graphics processor: 48-bit addresses, another format, no halves.
pub(crate) const GPU: DeviceHandle = DeviceHandle(3);
/// A network card without an IOMMU.
pub(crate) const ETHERNET: DeviceHandle = DeviceHandle(4);
/// A virtual machine.
pub(crate) const GUEST: DeviceHandle = DeviceHandle(5);
/// A signal processor that runs a system of its own.
pub(crate) const DSP: DeviceHandle = DeviceHandle(6);
/// A device of the GPU's format whose addresses are 64 bits wide.
pub(crate) const WIDE: DeviceHandle = DeviceHandle(7);
/// A second device without an IOMMU.
pub(crate) const CAMERA: DeviceHandle = DeviceHandle(8);

const SHORT_PAGES: PageSizes = PageSizes::ARM_SHORT;
const LONG_PAGES: PageSizes = PageSizes::AARCH64_4K;

/// The formats of the machine's devices.
pub(crate) fn format_of(device: DeviceHandle, part: Part) -> Result<Format, HardwareError> {
    const W32: u64 = 0xffff_ffff;
    let whole = |id, name, page_sizes, last| {
        let addresses = Span::inclusive(0, last).expect("from zero");
        match part {
            Part::Whole => Ok(Format { id, name, page_sizes, addresses }),
            _ => Err(error(HardwareErrorKind::NotSupported)),
        }
    };
    match device {
        CPU => whole(1, "cpu", LONG_PAGES, u64::MAX),
        CODEC_A | CODEC_B => {
            let (id, addresses) = match part {
                Part::Whole => (10, Span::inclusive(0, W32)),
                Part::Low { split: split @ 1..=7 } => {
                    (100 + u32::from(split), Span::inclusive(0, W32 >> split))
                }
                Part::High { split: split @ 1..=7 } => {
                    (200 + u32::from(split), Span::inclusive((W32 >> split) + 1, W32))
                }
                _ => return Err(error(HardwareErrorKind::NotSupported)),
            };
            let addresses = addresses.ok_or(error(HardwareErrorKind::Address))?;
            Ok(Format { id, name: "short", page_sizes: SHORT_PAGES, addresses })
        }
        GPU => whole(20, "long", LONG_PAGES, (1 << 48) - 1),
        WIDE => whole(21, "wide", LONG_PAGES, u64::MAX),
        ETHERNET | CAMERA => whole(0, "none", LONG_PAGES, u64::MAX),
        GUEST => whole(30, "memory slots", LONG_PAGES, (1 << 40) - 1),
        DSP => whole(40, "remote", SHORT_PAGES, W32),
        _ => Err(error(HardwareErrorKind::Unknown)),
    }
}
