//! The GIC as the tests handle it.
#![allow(unreachable_pub)] // It is a module of a test.

use std::process::{Command, Stdio};
use std::time::Duration;
use vcm_qemu::{ArmVirt, Frame, Level, Outputs, Watch};

pub const GICD: Frame = Frame::Distributor;
pub const GICC: Frame = Frame::CpuInterface;
pub const GICH: Frame = Frame::VirtualControl;
pub const GICV: Frame = Frame::VirtualCpuInterface;

// Arm IHI 0048B.b, tables 4-1, 4-2, 5-1 and 5-8; the guest's interface has its registers where the host's has them.
pub const CTLR: u64 = 0x000;
pub const PMR: u64 = 0x004;
pub const IAR: u64 = 0x00c;
pub const EOIR: u64 = 0x010;
pub const DIR: u64 = 0x1000;
pub const HCR: u64 = 0x000;
pub const MISR: u64 = 0x010;
pub const EISR: u64 = 0x020;
pub const LR0: u64 = 0x100;

/// A physical interrupt, and the virtual one that it is forwarded to.
pub const PHYSICAL: u32 = 72;
pub const VIRTUAL: u32 = 50;
pub const SPURIOUS: u32 = 1023;
pub const EOI_MODE: u32 = 1 << 9;

/// The state of a list register.
pub const ACTIVE: u32 = 2;

/// A list register's value: pending, priority 0xa0 (Arm IHI 0048B.b 5.3.8).
const LIST: u32 = VIRTUAL | 0x14 << 23 | 1 << 28;
/// Linked to the physical interrupt.
pub const FORWARDED: u32 = LIST | PHYSICAL << 10 | 1 << 31;
/// Not linked; maintenance interrupt at its end.
pub const UNFORWARDED: u32 = LIST | 1 << 19;

/// How the tests see a GIC.
pub struct Gic(pub ArmVirt);

impl Gic {
    pub fn read(&mut self, frame: Frame, offset: u64) -> u32 {
        self.0.read32(frame, offset).unwrap()
    }

    pub fn write(&mut self, frame: Frame, offset: u64, value: u32) {
        self.0.write32(frame, offset, value).unwrap();
    }

    pub fn line(&mut self, level: Level) {
        self.0.set_line(PHYSICAL, level).unwrap();
    }

    pub fn outputs(&mut self) -> Outputs {
        self.0.outputs().unwrap()
    }

    /// Whether `intid` is pending and whether it is active.
    pub fn state(&mut self, intid: u32) -> (bool, bool) {
        let [pending, active] = [0x200, 0x300].map(|block| {
            let word = self.read(GICD, block + u64::from(intid / 32) * 4);
            word >> (intid % 32) & 1 == 1
        });
        (pending, active)
    }

    /// The state of the list register: 0 none, 1 pending, [`ACTIVE`].
    pub fn list_state(&mut self) -> u32 {
        self.read(GICH, LR0) >> 28 & 3
    }

    /// Acknowledges on the host and drops the priority.
    pub fn acknowledge(&mut self) -> u32 {
        let intid = self.read(GICC, IAR);
        self.write(GICC, EOIR, intid);
        intid
    }

    /// Configures an interrupt: priority 0xa0, enabled, level- or edge-triggered.
    pub fn enable(&mut self, intid: u32, config: u32) {
        self.0.write8(GICD, 0x400 + u64::from(intid), 0xa0).unwrap();
        self.write(GICD, 0xc00 + u64::from(intid / 16) * 4, config << (2 * (intid % 16)));
        self.write(GICD, 0x100 + u64::from(intid / 32) * 4, 1 << (intid % 32));
    }

    /// A host with GICC_CTLR.EOImode = 1, the test's interrupt, and a guest in `guest_mode`.
    pub fn prepare(&mut self, config: u32, guest_mode: u32) {
        self.0.reset().unwrap();
        self.enable(PHYSICAL, config);
        self.enable(vcm_qemu::MAINTENANCE_INTERRUPT, LEVEL);
        self.write(GICD, CTLR, 1);
        self.write(GICC, PMR, 0xf0);
        self.write(GICC, CTLR, 1 | EOI_MODE);
        self.write(GICH, HCR, 1);
        self.write(GICV, PMR, 0xf8);
        self.write(GICV, CTLR, 1 | guest_mode);
    }
}

pub const LEVEL: u32 = 0;
pub const EDGE: u32 = 2;

/// Whether to go without QEMU; panics when it is missing and nobody said so.
pub fn without_qemu() -> bool {
    let found = Command::new("qemu-system-aarch64").arg("--version").stdout(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => false,
        other if std::env::var("VCM_WITHOUT_QEMU").is_ok_and(|value| value == "1") => {
            println!("SKIPPED TIER: qemu-arm-virt: qemu-system-aarch64 does not run ({other:?})");
            true
        }
        other => panic!(
            "qemu-system-aarch64 does not run ({other:?}). It is the hardware of this test: install the package \
             qemu-system-arm, or set VCM_WITHOUT_QEMU=1 to go without"
        ),
    }
}

/// Runs a test with the outputs watched in either way, unless there is to be no QEMU.
pub fn on_qemu(test: impl Fn(&mut Gic)) {
    if without_qemu() {
        return;
    }
    for watch in [Watch::Gic, Watch::Cpu] {
        match ArmVirt::start_with("qemu-system-aarch64", Duration::from_secs(30), Some(watch)) {
            Ok(virt) => test(&mut Gic(virt)),
            Err(error) => panic!("{error}"),
        }
    }
}
