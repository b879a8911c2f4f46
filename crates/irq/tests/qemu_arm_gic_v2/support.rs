//! QEMU's machine as windows for the back-end, and the device and the guest around it.

use std::cell::RefCell;
use std::process::{Command, Stdio};
use vcm_irq::gic::{Registers, v2};
use vcm_irq::host::Controller;
use vcm_irq::vgic::{Attention, Completion, EndMode, Group, ListRegister, LrState, VirtualInterface as _};
use vcm_irq::{GuestInterrupt, HostInterrupt, Sense};
use vcm_qemu::{ArmVirt, Frame, Level, MAINTENANCE_INTERRUPT};

/// The line under test.
pub(crate) const LINE: HostInterrupt = HostInterrupt(72);

/// What it is to the guest.
pub(crate) const GUEST: GuestInterrupt = GuestInterrupt(50);

/// The maintenance interrupt.
pub(crate) const MAINTENANCE: HostInterrupt = HostInterrupt(MAINTENANCE_INTERRUPT);

// Of the guest's CPU interface: Arm IHI 0048B.b 5.5.
const GICV_CTLR: u64 = 0x0000;
const GICV_PMR: u64 = 0x0004;
const GICV_IAR: u64 = 0x000C;
const GICV_EOIR: u64 = 0x0010;
const GICV_DIR: u64 = 0x1000;

/// The guest's interrupt, which ends the line's.
pub(crate) const fn forwarded() -> ListRegister {
    ListRegister {
        interrupt: GUEST,
        state: LrState::Pending,
        priority: 0xA0,
        group: Group::Zero,
        completion: Completion::Physical(LINE),
        source: 0,
    }
}

/// The guest's interrupt, whose end the host is told of.
pub(crate) const fn unforwarded() -> ListRegister {
    ListRegister { completion: Completion::Maintenance, ..forwarded() }
}

/// The signals that the GIC gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) irq: bool,
    pub(crate) virtual_irq: bool,
    pub(crate) maintenance: bool,
}

/// A part of the GIC.
pub(crate) struct Window<'a> {
    virt: &'a RefCell<ArmVirt>,
    frame: Frame,
}

impl Registers for Window<'_> {
    fn read(&self, offset: u32) -> u32 {
        self.virt.borrow_mut().read32(self.frame, offset.into()).unwrap()
    }

    fn write(&self, offset: u32, value: u32) {
        self.virt.borrow_mut().write32(self.frame, offset.into(), value).unwrap();
    }

    fn write_byte(&self, offset: u32, value: u8) {
        self.virt.borrow_mut().write8(self.frame, offset.into(), value).unwrap();
    }
}

/// The machine.
pub(crate) struct Gic(RefCell<ArmVirt>);

impl Gic {
    fn window(&self, frame: Frame) -> Window<'_> {
        Window { virt: &self.0, frame }
    }

    pub(crate) fn distributor_window(&self) -> Window<'_> {
        self.window(Frame::Distributor)
    }

    pub(crate) fn cpu_window(&self) -> Window<'_> {
        self.window(Frame::CpuInterface)
    }

    pub(crate) fn distributor(&self) -> v2::Distributor<Window<'_>> {
        v2::Distributor::new(self.distributor_window(), Group::Zero)
    }

    pub(crate) fn guest(&self) -> v2::VirtualInterface<Window<'_>> {
        v2::VirtualInterface::new(self.window(Frame::VirtualControl))
    }

    /// Everything on: the line, the maintenance interrupt, the guest's CPU interface.
    pub(crate) fn start(
        &self,
        sense: Sense,
        end_mode: EndMode,
    ) -> (v2::Distributor<Window<'_>>, v2::CpuInterface<Window<'_>>, v2::VirtualInterface<Window<'_>>) {
        let distributor = self.distributor();
        distributor.init();
        distributor.init_private();
        distributor.set_sense(LINE, sense);
        distributor.enable(LINE);
        distributor.enable(MAINTENANCE);
        let mut cpu = v2::CpuInterface::new(self.cpu_window(), Group::Zero);
        cpu.init().unwrap();
        let mut guest = self.guest();
        guest.init();
        guest.enable(Attention::default());
        self.guest_write(GICV_PMR, 0xF8);
        self.guest_write(
            GICV_CTLR,
            match end_mode {
                EndMode::Together => 1,
                EndMode::Apart => 1 | 1 << 9,
            },
        );
        (distributor, cpu, guest)
    }

    /// What the device does.
    pub(crate) fn line(&self, high: bool) {
        let level = if high { Level::High } else { Level::Low };
        self.0.borrow_mut().set_line(LINE.0, level).unwrap();
    }

    /// The line goes up and down again.
    pub(crate) fn pulse(&self) {
        self.line(true);
        self.line(false);
    }

    pub(crate) fn outputs(&self) -> Outputs {
        let outputs = self.0.borrow_mut().outputs().unwrap();
        Outputs {
            irq: outputs.irq == Level::High,
            virtual_irq: outputs.virtual_irq == Level::High,
            maintenance: outputs.maintenance == Level::High,
        }
    }

    pub(crate) fn guest_acknowledges(&self) -> GuestInterrupt {
        GuestInterrupt(self.0.borrow_mut().read32(Frame::VirtualCpuInterface, GICV_IAR).unwrap())
    }

    pub(crate) fn guest_ends(&self) {
        self.guest_write(GICV_EOIR, GUEST.0);
    }

    pub(crate) fn guest_deactivates(&self) {
        self.guest_write(GICV_DIR, GUEST.0);
    }

    fn guest_write(&self, offset: u64, value: u32) {
        self.0.borrow_mut().write32(Frame::VirtualCpuInterface, offset, value).unwrap();
    }

    /// QEMU evaluates the physical side at writes to it only, so not when a guest's end of interrupt deactivates
    /// something there (hw/intc/arm_gic.c). Real hardware signals at once.
    pub(crate) fn look_again(&self) {
        let cpu = self.cpu_window();
        cpu.write(0x004, cpu.read(0x004));
    }
}

/// Runs a test, unless there is to be no QEMU.
pub(crate) fn on_qemu(test: impl FnOnce(&Gic)) {
    if !without_qemu() {
        test(&Gic(RefCell::new(ArmVirt::start().unwrap())));
    }
}

/// Whether QEMU is not there and this is meant.
fn without_qemu() -> bool {
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
