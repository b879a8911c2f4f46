//! What the guest does: acknowledge, end, deactivate, and write to its distributor.

use super::architecture::Ended;
use super::rig::{InHand, Place, Runs, device_of, guest_number};
use super::world::World;
use vcm_irq::vgic::{EndMode, Vm, Wanted};
use vcm_irq::{GuestInterrupt, VcpuId};

impl World {
    /// The guest acknowledges the most urgent interrupt.
    pub(crate) fn acknowledge(&self, vcpu: usize) -> Option<GuestInterrupt> {
        let cpu = self.on(vcpu)?;
        let register = self.hardware().act(|state| state.acknowledge(cpu))?;
        let interrupt = register.interrupt;
        let twice = |place: &Place| place.in_hand.iter().any(|hand| hand.interrupt == interrupt);
        assert!(
            !self.rig.places.borrow().iter().any(twice),
            "{interrupt} is acknowledged while it is active"
        );
        let device = device_of(interrupt);
        let is_device = device < self.shape.devices.len();
        if is_device {
            self.device(device, |device| {
                assert!(device.credit > 0, "{interrupt} is acknowledged once more than it was delivered");
                device.credit -= 1;
            });
        }
        let place = &mut self.rig.places.borrow_mut()[vcpu];
        place.in_hand.push(InHand { interrupt, dropped: false });
        if is_device {
            place.to_serve.retain(|other| *other != device);
            place.to_serve.push(device);
        }
        Some(interrupt)
    }

    /// What the guest on a vCPU has to end next.
    pub(crate) fn last(&self, vcpu: usize) -> Option<InHand> {
        self.rig.places.borrow()[vcpu].in_hand.iter().rev().find(|hand| !hand.dropped).copied()
    }

    /// The guest writes the end-of-interrupt register.
    pub(crate) fn end(&self, vcpu: usize) {
        let (Some(cpu), Some(hand)) = (self.on(vcpu), self.last(vcpu)) else { return };
        self.hardware().act(|state| state.drop_priority(cpu));
        let mut places = self.rig.places.borrow_mut();
        let in_hand = &mut places[vcpu].in_hand;
        let position = in_hand.iter().position(|h| *h == hand).expect("it is there");
        if self.shape.ends == EndMode::Apart {
            in_hand[position].dropped = true;
        } else {
            in_hand.remove(position);
            self.hardware().act(|state| state.deactivate(cpu, hand.interrupt.0));
        }
    }

    /// The guest on a vCPU writes the deactivate register; another vCPU may have acknowledged the interrupt.
    pub(crate) fn deactivate(&self, vcpu: usize, interrupt: GuestInterrupt) {
        let Some(cpu) = self.on(vcpu) else { return };
        for place in self.rig.places.borrow_mut().iter_mut() {
            place.in_hand.retain(|hand| !(hand.interrupt == interrupt && hand.dropped));
        }
        if self.rig.places.borrow()[vcpu].trap.is_yes() {
            self.out_of_guest(cpu, || self.vm.deactivate(VcpuId(vcpu as u16), interrupt.0));
        } else {
            let ended = self.hardware().act(|state| state.deactivate(cpu, interrupt.0));
            assert_eq!(ended, Ended::Inside, "{interrupt} is deactivated, and nobody knows which it is");
        }
    }

    /// The guest on a vCPU does something to its distributor.
    pub(crate) fn distributor(&self, vcpu: usize, act: impl FnOnce(&Vm<Runs>, VcpuId)) {
        let Some(cpu) = self.on(vcpu) else { return };
        self.out_of_guest(cpu, || act(&self.vm, VcpuId(vcpu as u16)));
    }

    /// The guest enables or disables a device's interrupt.
    pub(crate) fn guest_enables(&self, vcpu: usize, device: usize, enabled: Wanted) {
        let guest = guest_number(device).0;
        self.distributor(vcpu, |vm, by| match enabled {
            Wanted::Yes => vm.enable(by, guest),
            Wanted::No => vm.disable(by, guest),
        });
        self.device(device, |d| d.guest_enabled = enabled.is_yes());
    }
}
