//! The GICv2 back-end on QEMU's GICv2, a model that others wrote: forwarding by the HW bit of a list register
//! and without it, driven through nothing but the traits.
//!
//! Without `qemu-system-aarch64` the tests fail, unless `VCM_WITHOUT_QEMU=1` says that this is meant.

#[path = "qemu_arm_gic_v2/support.rs"]
mod support;

use support::{GUEST, LINE, MAINTENANCE, Outputs, forwarded, on_qemu, unforwarded};
use vcm_irq::gic::{AnyAcknowledged, Maintenance, Registers, v2};
use vcm_irq::host::{Controller, CpuInterface as _};
use vcm_irq::vgic::{Attention, EndMode, Group, ListRegister, LrState, VirtualInterface as _, Wanted};
use vcm_irq::{GuestInterrupt, HostInterrupt, Sense};

#[test]
fn the_hardware_is_what_it_says() {
    on_qemu(|gic| {
        // NUM_IRQS of QEMU's include/hw/arm/virt.h, and GICH_VTR of its hw/intc/arm_gic.c.
        assert_eq!(gic.distributor().interrupts(), 32 + 256);
        assert_eq!(gic.guest().list_registers(), 4);
        assert_eq!(gic.guest().empty(), 0b1111);
    });
}

#[test]
fn a_forwarded_level_ends_with_the_guests_end_of_interrupt() {
    on_qemu(|gic| {
        let (distributor, mut cpu, mut guest) = gic.start(Sense::Level, EndMode::Together);
        gic.line(true);
        assert!(gic.outputs().irq && distributor.is_pending(LINE));
        let acknowledged = cpu.acknowledge().unwrap();
        assert_eq!(acknowledged.interrupt(), LINE);
        cpu.drop_priority(&acknowledged);
        assert!(distributor.is_active(LINE) && distributor.is_pending(LINE));
        assert!(!gic.outputs().irq, "an active interrupt is not signalled again");
        assert_eq!(cpu.acknowledge(), None);

        guest.write(0, &forwarded());
        assert_eq!((guest.state(0), guest.read(0)), (LrState::Pending, Some(forwarded())));
        assert_eq!(guest.empty(), 0b1110);
        assert!(gic.outputs().virtual_irq);
        assert_eq!(gic.guest_acknowledges(), GUEST);
        assert_eq!(guest.state(0), LrState::Active);
        gic.line(false);
        gic.guest_ends();
        assert!(!distributor.is_active(LINE) && !distributor.is_pending(LINE));
        assert_eq!((guest.state(0), guest.empty(), guest.disable()), (LrState::Empty, 0b1111, 0));
        assert_eq!(gic.outputs(), Outputs::default(), "no maintenance");
    });
}

#[test]
fn a_level_that_stays_is_signalled_again() {
    on_qemu(|gic| {
        let (distributor, mut cpu, mut guest) = gic.start(Sense::Level, EndMode::Together);
        gic.line(true);
        for _ in 0..3 {
            let acknowledged = cpu.acknowledge().unwrap();
            cpu.drop_priority(&acknowledged);
            guest.write(0, &forwarded());
            assert_eq!(gic.guest_acknowledges(), GUEST);
            assert!(distributor.is_pending(LINE), "an active level shows its line");
            gic.guest_ends();
            assert!(distributor.is_pending(LINE) && !distributor.is_active(LINE));
            gic.look_again();
            assert!(gic.outputs().irq);
        }
        gic.line(false);
        assert!(!distributor.is_pending(LINE) && !gic.outputs().irq);
    });
}

#[test]
fn an_edge_while_active_comes_after_the_end() {
    on_qemu(|gic| {
        let (distributor, mut cpu, mut guest) = gic.start(Sense::Edge, EndMode::Together);
        gic.pulse();
        let acknowledged = cpu.acknowledge().unwrap();
        cpu.drop_priority(&acknowledged);
        assert!(distributor.is_active(LINE) && !distributor.is_pending(LINE));
        guest.write(0, &forwarded());
        assert_eq!(gic.guest_acknowledges(), GUEST);
        gic.pulse();
        assert!(distributor.is_active(LINE) && distributor.is_pending(LINE));
        assert!(!gic.outputs().irq);
        gic.guest_ends();
        assert!(!distributor.is_active(LINE) && distributor.is_pending(LINE));
        gic.look_again();
        let acknowledged = cpu.acknowledge().unwrap();
        assert_eq!(acknowledged.interrupt(), LINE);
        cpu.drop_priority(&acknowledged);
        cpu.deactivate(acknowledged);
        assert!(!distributor.is_active(LINE) && !distributor.is_pending(LINE));
        assert_eq!(cpu.acknowledge(), None);
    });
}

#[test]
fn a_guest_that_splits_its_end_deactivates_by_the_other_register() {
    on_qemu(|gic| {
        let (distributor, mut cpu, mut guest) = gic.start(Sense::Level, EndMode::Apart);
        let kept = guest.guest();
        assert_eq!(guest.end_mode(&kept), EndMode::Apart);
        gic.line(true);
        let acknowledged = cpu.acknowledge().unwrap();
        cpu.drop_priority(&acknowledged);
        guest.write(0, &forwarded());
        assert_eq!(gic.guest_acknowledges(), GUEST);
        assert_eq!(guest.guest().active_priorities[0], 1 << (0xA0 >> 3), "group priority 0xA0 is active");
        gic.line(false);
        gic.guest_ends();
        assert_eq!(guest.guest().active_priorities[0], 0);
        assert_eq!(guest.state(0), LrState::Active);
        assert!(distributor.is_active(LINE));
        gic.guest_deactivates();
        assert_eq!(guest.state(0), LrState::Empty);
        assert!(!distributor.is_active(LINE));
    });
}

#[test]
fn an_unforwarded_one_ends_by_maintenance_and_the_hosts_deactivation() {
    on_qemu(|gic| {
        let (distributor, mut cpu, mut guest) = gic.start(Sense::Level, EndMode::Together);
        gic.line(true);
        let acknowledged = cpu.acknowledge().unwrap();
        cpu.drop_priority(&acknowledged);
        guest.write(0, &unforwarded());
        assert_eq!(guest.read(0), Some(unforwarded()));
        assert_eq!(gic.guest_acknowledges(), GUEST);
        assert!(!gic.outputs().maintenance);
        gic.guest_ends();
        assert!(distributor.is_active(LINE), "that is the host's business here");
        assert!(gic.outputs().maintenance);
        assert_eq!((guest.maintenance(), guest.ended()), (Maintenance(1), 1));
        // Ended, and not to be overwritten before the maintenance interrupt is seen to.
        assert_eq!((guest.state(0), guest.empty()), (LrState::Empty, 0b1110));
        let maintenance = cpu.acknowledge().unwrap();
        assert_eq!(maintenance.interrupt(), MAINTENANCE);
        guest.clear(0);
        assert_eq!((guest.empty(), guest.maintenance()), (0b1111, Maintenance(0)));
        assert!(!gic.outputs().maintenance);
        cpu.drop_priority(&maintenance);
        cpu.deactivate(maintenance);
        gic.line(false);
        cpu.deactivate(acknowledged);
        assert!(!distributor.is_active(LINE) && !distributor.is_pending(LINE));
        assert_eq!(cpu.acknowledge(), None);
    });
}

#[test]
fn attention_is_called_for_what_is_wanted() {
    on_qemu(|gic| {
        let (_, _, mut guest) = gic.start(Sense::Level, EndMode::Together);
        guest.enable(Attention { underflow: Wanted::Yes, ..Attention::default() });
        assert!(guest.maintenance().underflow() && gic.outputs().maintenance);
        guest.write(0, &unforwarded());
        let second = ListRegister { interrupt: GuestInterrupt(GUEST.0 + 1), ..unforwarded() };
        guest.write(1, &second);
        assert!(!gic.outputs().maintenance, "two are in use");
        guest.clear(1);
        assert!(gic.outputs().maintenance);
        guest.enable(Attention { none_pending: Wanted::Yes, ..Attention::default() });
        assert!(!gic.outputs().maintenance, "one is pending");
        guest.clear(0);
        assert!(guest.maintenance().none_pending() && gic.outputs().maintenance);
        guest.enable(Attention { not_present: Wanted::Yes, ..Attention::default() });
        assert!(!gic.outputs().maintenance);
        // The active one is put aside, as an overflow does, and ends where no list register knows it.
        guest.write(0, &unforwarded());
        assert_eq!(gic.guest_acknowledges(), GUEST);
        guest.clear(0);
        gic.guest_ends();
        assert!(guest.maintenance().not_present() && gic.outputs().maintenance);
        assert_eq!(guest.disable(), 1);
        assert!(!gic.outputs().maintenance);
        assert_eq!(guest.disable(), 0);
    });
}

#[test]
fn a_switched_off_interface_keeps_its_list_registers_to_itself() {
    on_qemu(|gic| {
        let (_, _, mut guest) = gic.start(Sense::Level, EndMode::Together);
        guest.disable();
        guest.write(3, &unforwarded());
        assert!(!gic.outputs().virtual_irq);
        guest.enable(Attention::default());
        assert!(gic.outputs().virtual_irq);
        let kept = guest.guest();
        guest.init();
        assert!(!gic.outputs().virtual_irq);
        assert_eq!((guest.empty(), guest.guest().control & 1), (0b1111, 0));
        guest.set_guest(&kept);
        assert_eq!(guest.guest(), kept);
    });
}

#[test]
fn a_disabled_line_waits_and_a_cleared_edge_is_gone() {
    on_qemu(|gic| {
        let (distributor, mut cpu, _) = gic.start(Sense::Edge, EndMode::Together);
        distributor.disable(LINE);
        assert!(!distributor.is_enabled(LINE));
        gic.pulse();
        assert!(distributor.is_pending(LINE) && !gic.outputs().irq);
        assert_eq!(cpu.acknowledge(), None);
        distributor.enable(LINE);
        assert!(gic.outputs().irq);
        distributor.clear_pending(LINE);
        assert!(!distributor.is_pending(LINE) && !gic.outputs().irq);
        distributor.set_pending(LINE);
        assert!(distributor.is_pending(LINE) && gic.outputs().irq);
        distributor.set_active(LINE);
        assert!(distributor.is_active(LINE) && !gic.outputs().irq);
        distributor.deactivate(LINE);
        assert!(!distributor.is_active(LINE) && gic.outputs().irq);
        let acknowledged = cpu.acknowledge().unwrap();
        cpu.drop_priority(&acknowledged);
        cpu.deactivate(acknowledged);
        assert!(!distributor.is_active(LINE) && !distributor.is_pending(LINE));
    });
}

#[test]
fn sense_decides_what_a_line_means() {
    on_qemu(|gic| {
        let (distributor, _, _) = gic.start(Sense::Level, EndMode::Together);
        gic.pulse();
        assert!(!distributor.is_pending(LINE), "a level that went away");
        distributor.set_sense(LINE, Sense::Edge);
        assert!(distributor.is_enabled(LINE), "as it was before");
        gic.pulse();
        assert!(distributor.is_pending(LINE), "an edge is remembered");
        distributor.clear_pending(LINE);
        distributor.set_sense(LINE, Sense::Level);
        gic.line(true);
        distributor.clear_pending(LINE);
        assert!(distributor.is_pending(LINE), "a level cannot be cleared");
        gic.line(false);
        assert!(!distributor.is_pending(LINE));
        // The neighbours in the same word are as before.
        assert_eq!(gic.distributor_window().read(0xC00 + LINE.0 / 16 * 4), 0);
    });
}

#[test]
fn the_more_urgent_one_comes_first_and_the_mask_holds_back() {
    on_qemu(|gic| {
        let (distributor, mut cpu, _) = gic.start(Sense::Edge, EndMode::Together);
        let other = HostInterrupt(LINE.0 + 1);
        distributor.set_sense(other, Sense::Edge);
        distributor.enable(other);
        distributor.set_priority(LINE, 0xC0);
        distributor.set_priority(other, 0x40);
        assert_eq!((distributor.priority(LINE), distributor.priority(other)), (0xC0, 0x40));
        distributor.set_pending(LINE);
        distributor.set_pending(other);
        let mut order = Vec::new();
        for _ in 0..2 {
            let acknowledged = cpu.acknowledge().unwrap();
            order.push(acknowledged.interrupt());
            // The less urgent one does not come while the first has its priority.
            assert_eq!(cpu.acknowledge(), None);
            cpu.drop_priority(&acknowledged);
            cpu.deactivate(acknowledged);
        }
        assert_eq!(order, [other, LINE]);
        distributor.set_priority(LINE, 0xF0);
        distributor.set_pending(LINE);
        assert_eq!(cpu.acknowledge(), None, "the mask lets through what is more urgent than 0xF0");
        distributor.set_priority(LINE, 0xE0);
        let acknowledged = cpu.acknowledge().unwrap();
        cpu.drop_priority(&acknowledged);
        cpu.deactivate(acknowledged);
    });
}

#[test]
fn one_cpu_has_no_targets() {
    on_qemu(|gic| {
        let (distributor, mut cpu, _) = gic.start(Sense::Edge, EndMode::Together);
        distributor.set_targets(LINE, 0b10);
        assert_eq!(distributor.targets(LINE), 0, "one CPU: read as zero (Arm IHI 0048B.b 4.3.12)");
        distributor.set_pending(LINE);
        let acknowledged = cpu.acknowledge().unwrap();
        assert_eq!(acknowledged.interrupt(), LINE, "and all go to it");
        cpu.drop_priority(&acknowledged);
        cpu.deactivate(acknowledged);
    });
}

#[test]
fn software_generated_interrupts_are_taken_and_ended() {
    on_qemu(|gic| {
        let (distributor, mut cpu, _) = gic.start(Sense::Edge, EndMode::Together);
        let send = |number: u32| gic.distributor_window().write(0xF00, 2 << 24 | number);
        send(9);
        assert!(gic.outputs().irq);
        let Some(AnyAcknowledged::SoftwareGenerated(sent)) = cpu.acknowledge_any() else { panic!() };
        assert_eq!((sent.number(), sent.source()), (9, Some(0)));
        assert!(distributor.is_active(HostInterrupt(9)));
        cpu.end(sent);
        assert!(!distributor.is_active(HostInterrupt(9)));
        // One that nobody asks for does not keep the line from coming.
        send(3);
        distributor.set_pending(LINE);
        assert_eq!(cpu.acknowledge(), None);
        assert_eq!(cpu.unclaimed(), 1);
        let acknowledged = cpu.acknowledge().unwrap();
        assert_eq!(acknowledged.interrupt(), LINE);
        cpu.drop_priority(&acknowledged);
        cpu.deactivate(acknowledged);
    });
}

/// QEMU has neither `GICC_AIAR` nor `GICC_AEOIR` (hw/intc/arm_gic.c), so it cannot judge how interrupts of group 1 are
/// taken where both groups are seen; only that they are signalled, and not by the first group's register.
#[test]
fn interrupts_of_the_other_group_are_left_to_whom_they_belong() {
    on_qemu(|gic| {
        let distributor = v2::Distributor::new(gic.distributor_window(), Group::One);
        distributor.init();
        distributor.init_private();
        v2::CpuInterface::new(gic.cpu_window(), Group::One).init().unwrap();
        distributor.set_sense(LINE, Sense::Edge);
        distributor.enable(LINE);
        gic.pulse();
        assert!(gic.outputs().irq);
        let mut first = v2::CpuInterface::new(gic.cpu_window(), Group::Zero);
        assert_eq!(gic.cpu_window().read(0x00C), 1022);
        assert_eq!((first.acknowledge(), first.acknowledge_any()), (None, None));
        assert!(distributor.is_pending(LINE) && !distributor.is_active(LINE));
        // In the first group it is not signalled, since that is not enabled.
        distributor.set_group(LINE, Group::Zero);
        assert!(!gic.outputs().irq && distributor.is_pending(LINE));
    });
}
