//! The registers of the guest's interrupt controller: what the guest's trapped accesses to it do.
//!
//! The guest has no distributor and no redistributor of its own. Whoever runs it leaves their addresses
//! unmapped and gives each access to [`Vm::read`] or [`Vm::write`]. Which registers there are is said by
//! tables, one row for each array of registers; what a row does for one interrupt is an operation of [`Vm`].
//!
//! Which choices of the architecture they make is said at [`Frame`].

mod access;
mod affinity;
mod register;
mod send;
mod v2;
mod v3;

use super::vm::{Machine, Model, Vm};
use crate::storage::{OutOfMemory, table};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::{SPI_END, VcpuId};
use alloc::vec::Vec;
use core::ops::Range;
use register::Row;

pub use affinity::affinity;
pub use register::Register;
pub use send::SgiRegister;

/// What `GICD_IIDR` and `GICR_IIDR` answer: product `V`, variant and revision 0, and an implementer that is
/// no company's JEP106 code. Guests choose work-arounds for the errors of real controllers by this register,
/// and this one has none of them (Arm IHI 0048B.b 4.3.3, Arm IHI 0069H 12.9).
pub const IIDR: u32 = (b'V' as u32) << 24;

/// One of the frames of registers that a guest sees, for [`Vm::read`] and [`Vm::write`].
///
/// Every offset and every width is defined. What no register takes reads as zero, is ignored when it is
/// written, and is [counted](Vm::ignored_accesses): an offset that is reserved or beyond the frame, an access
/// that is not aligned or not of a width that the register has, a frame that there is not. One access looks
/// at 32 interrupts at most. The only one that grows with something is a software-generated interrupt to all
/// vCPUs.
///
/// What the guest is shown, where the architecture leaves a choice:
///
/// - One Security state, with both groups for the guest (`GICD_CTLR.DS` is 1; no Security Extensions with GICv2).
/// - Priorities have 5 bits, as the list registers of GICv2 have them and those of GICv3 have at least
///   (Arm IHI 0048B.b 5.3.8, Arm IHI 0069H 12.4): bits 2:0 read as zero.
/// - Software-generated interrupts can be disabled like others.
/// - With `GICv3`: affinity routing always (`ARE` is 1), no message-based interrupts, no LPIs, no extended
///   ranges; a shared interrupt goes to one vCPU (`GICD_TYPER.No1N` is 1); affinity level 3 is zero (`A3V` is
///   0). Redistributors never sleep: `GICR_WAKER` reads as zero.
/// - vCPU n is at affinity 0.0.(n / 16).(n % 16): a write that sends a software-generated interrupt names up
///   to 16 CPUs of a cluster (Arm IHI 0069H 12.2).
/// - The identification names no company ([`IIDR`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Frame {
    /// The distributor: 4 KiB with [`Model::V2`], 64 KiB with [`Model::V3`].
    Distributor,
    /// The redistributor of a vCPU: 128 KiB, of which the upper half is about its private interrupts. Only with
    /// [`Model::V3`].
    Redistributor(VcpuId),
}

impl Frame {
    /// How many bytes of guest physical address space it takes; 0 if the model has no such frame.
    pub const fn size(self, model: Model) -> u64 {
        match (self, model) {
            (Self::Distributor, Model::V2) => 0x1000,
            (Self::Distributor, Model::V3) => 0x1_0000,
            (Self::Redistributor(_), Model::V2) => 0,
            (Self::Redistributor(_), Model::V3) => 0x2_0000,
        }
    }
}

/// How much an access reads or writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    HalfWord,
    /// 32 bits.
    Word,
    /// 64 bits.
    DoubleWord,
}

impl Width {
    /// How many bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::HalfWord => 2,
            Self::Word => 4,
            Self::DoubleWord => 8,
        }
    }

    const fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

/// What the frames keep beside the interrupts' words.
#[derive(Debug)]
pub(super) struct Frames {
    ignored: AtomicU64,
    /// With [`Model::V3`]: what the guest wrote to `GICD_IROUTER`, for shared interrupts that lead to no vCPU.
    routes: Vec<AtomicU32>,
}

impl Frames {
    pub(super) fn new(model: Model, shared: usize) -> Result<Self, OutOfMemory> {
        let routes = match model {
            Model::V2 => 0,
            Model::V3 => shared,
        };
        Ok(Self { ignored: AtomicU64::new(0), routes: table(routes, |_| AtomicU32::new(0))? })
    }
}

/// What an access means.
struct Access {
    row: &'static Row,
    /// As whom private interrupts are seen.
    whose: VcpuId,
    /// The interrupts that the frame is about.
    interrupts: Range<u32>,
    /// Bytes from the row's start.
    offset: u32,
    width: Width,
}

impl<M: Machine> Vm<M> {
    /// The guest's read from one of its frames, by the vCPU `by`. The value is in the low bits.
    ///
    /// `by` is out of the guest and saved.
    pub fn read(&self, by: VcpuId, frame: Frame, offset: u64, width: Width) -> u64 {
        match self.decode(by, frame, offset, width) {
            Some(access) => self.read_registers(&access) & width.mask(),
            None => {
                self.ignore();
                0
            }
        }
    }

    /// The guest's write to one of its frames, by the vCPU `by`. Of `value`, the low bits count.
    ///
    /// `by` is out of the guest and saved.
    pub fn write(&self, by: VcpuId, frame: Frame, offset: u64, width: Width, value: u64) {
        match self.decode(by, frame, offset, width) {
            Some(access) => self.write_registers(by, &access, value & width.mask()),
            None => self.ignore(),
        }
    }

    /// How many accesses no register took. A guest that is well-behaved causes none or a few, when it looks for what
    /// this controller does not have.
    pub fn ignored_accesses(&self) -> u64 {
        self.frames.ignored.load(Ordering::Relaxed)
    }

    /// The register at an offset, to say what a guest does.
    pub fn register_at(&self, frame: Frame, offset: u64) -> Option<Register> {
        Some(self.find_row(frame, offset)?.register)
    }

    fn ignore(&self) {
        self.frames.ignored.fetch_add(1, Ordering::Relaxed);
    }

    fn find_row(&self, frame: Frame, offset: u64) -> Option<&'static Row> {
        let rows = match (frame, self.config.model) {
            (Frame::Distributor, Model::V2) => v2::DISTRIBUTOR,
            (Frame::Distributor, Model::V3) => v3::DISTRIBUTOR,
            (Frame::Redistributor(_), Model::V3) => v3::REDISTRIBUTOR,
            (Frame::Redistributor(_), Model::V2) => return None,
        };
        let offset = u32::try_from(offset).ok()?;
        let after = rows.partition_point(|row| row.start <= offset);
        rows.get(after.checked_sub(1)?).filter(|row| offset < row.end)
    }

    fn decode(&self, by: VcpuId, frame: Frame, offset: u64, width: Width) -> Option<Access> {
        let (whose, interrupts) = match (frame, self.config.model) {
            (Frame::Distributor, Model::V2) => (by, 0..SPI_END),
            // With affinity routing, the private ones are the redistributors' (Arm IHI 0069H 12.9).
            (Frame::Distributor, Model::V3) => (by, 32..SPI_END),
            (Frame::Redistributor(vcpu), _) => (vcpu, 0..32),
        };
        if by.0 >= self.config.vcpus || whose.0 >= self.config.vcpus {
            return None;
        }
        let row = self.find_row(frame, offset)?;
        let taken = row.widths.take(width) && offset.is_multiple_of(u64::from(width.bytes()));
        taken.then(|| Access { row, whose, interrupts, offset: offset as u32 - row.start, width })
    }
}
