//! What can happen in a machine, one thing at a time.

use super::rig::{SOFTWARE, eventfd, guest_number, host_number};
use super::world::World;
use vcm_irq::kvm::{JoinError, Mode};
use vcm_irq::vgic::{BindError, EndMode, Wanted};
use vcm_irq::{GuestInterrupt, Sense};

/// One thing that happens. Devices, CPUs and vCPUs are places, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// The device raises its line, or sends an edge.
    Ask {
        device: u8,
    },
    /// The device is content by itself.
    Drop {
        device: u8,
    },
    /// A CPU takes the physical interrupt.
    Take {
        device: u8,
        cpu: u8,
    },
    /// A CPU acknowledges the physical interrupt, and comes to the handler later.
    AcknowledgePhysical {
        device: u8,
        cpu: u8,
    },
    HandleLate {
        cpu: u8,
    },
    Load {
        vcpu: u8,
        cpu: u8,
    },
    Save {
        vcpu: u8,
    },
    /// A vCPU that was kicked, or whose list registers ask for attention, leaves the guest and comes back.
    Resync {
        vcpu: u8,
    },
    Acknowledge {
        vcpu: u8,
    },
    /// The guest serves the device whose interrupt it acknowledged last.
    Serve {
        vcpu: u8,
    },
    End {
        vcpu: u8,
    },
    Deactivate {
        vcpu: u8,
        interrupt: GuestInterrupt,
    },
    GuestMask {
        vcpu: u8,
        device: u8,
    },
    GuestUnmask {
        vcpu: u8,
        device: u8,
    },
    SetPending {
        vcpu: u8,
        device: u8,
    },
    ClearPending {
        vcpu: u8,
        device: u8,
    },
    SetActive {
        vcpu: u8,
        device: u8,
    },
    ClearActive {
        vcpu: u8,
        device: u8,
    },
    Retarget {
        vcpu: u8,
        device: u8,
        to: u8,
    },
    Join {
        device: u8,
    },
    /// Un-forwarded; the user is told from now on.
    Part {
        device: u8,
    },
    /// The user masks the line.
    Mask {
        device: u8,
    },
    Unmask {
        device: u8,
    },
    /// The user serves the device of which he was told, and unmasks the line.
    User {
        device: u8,
    },
    Reopen {
        device: u8,
    },
    Rearm {
        device: u8,
    },
    /// Software makes another guest interrupt pending.
    Inject,
    Kill,
}

/// Which groups of actions an exploration is about, beside those of devices, host and guest that every one has.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct About {
    /// The guest masks and unmasks at its distributor.
    pub(crate) guest_masks: bool,
    /// The guest writes pending and active states.
    pub(crate) guest_writes: bool,
    /// vCPUs leave and move, and interrupts change their target.
    pub(crate) moves: bool,
    /// Join, part, reopen and kill.
    pub(crate) control: bool,
    /// The user masks and unmasks.
    pub(crate) user_masks: bool,
    pub(crate) software: bool,
    pub(crate) storms: bool,
    /// A CPU may acknowledge an interrupt long before its handler looks at the line.
    pub(crate) late: bool,
}

impl Action {
    /// What can happen in a state.
    pub(crate) fn possible(world: &World, about: About) -> Vec<Self> {
        let mut all = Vec::new();
        let devices = world.shape.devices.len() as u8;
        let killed = world.rig.killed.get();
        for device in 0..devices {
            let high = world.hardware().look(|s| s.inputs[usize::from(device)].high);
            let level = world.shape.devices[usize::from(device)] == Sense::Level;
            if !high {
                all.push(Self::Ask { device });
            }
            if high && level {
                all.push(Self::Drop { device });
            }
        }
        let late = (0..world.shape.cpus as u8).filter(|&cpu| world.has_late(usize::from(cpu)));
        all.extend(late.map(|cpu| Self::HandleLate { cpu }));
        if killed {
            return all;
        }
        for device in 0..devices {
            world.possible_with_device(device, about, &mut all);
        }
        for vcpu in 0..world.shape.vcpus as u8 {
            world.possible_with_vcpu(vcpu, about, &mut all);
        }
        if about.software {
            all.push(Self::Inject);
        }
        if about.control {
            all.push(Self::Kill);
        }
        all
    }

    /// Does it.
    pub(crate) fn apply(self, world: &World) {
        let at = usize::from;
        let guest = |device: u8| guest_number(at(device)).0;
        match self {
            Self::Ask { device } => world.ask(at(device)),
            Self::Drop { device } => world.serve(at(device)),
            Self::Take { device, cpu } => {
                world.take(at(device), at(cpu));
            }
            Self::AcknowledgePhysical { device, cpu } => world.acknowledge_physical(at(device), at(cpu)),
            Self::HandleLate { cpu } => world.handle_late(at(cpu)),
            Self::Load { vcpu, cpu } => world.rig.load(at(vcpu), at(cpu)),
            Self::Save { vcpu } => world.rig.save(at(vcpu)),
            Self::Resync { vcpu } => world.resync(at(vcpu)),
            Self::Acknowledge { vcpu } => {
                world.acknowledge(at(vcpu));
            }
            Self::Serve { vcpu } => {
                let device = world.rig.places.borrow_mut()[at(vcpu)].to_serve.pop();
                world.serve(device.expect("it is possible then only"));
            }
            Self::End { vcpu } => world.end(at(vcpu)),
            Self::Deactivate { vcpu, interrupt } => world.deactivate(at(vcpu), interrupt),
            Self::GuestMask { vcpu, device } => world.guest_enables(at(vcpu), at(device), Wanted::No),
            Self::GuestUnmask { vcpu, device } => world.guest_enables(at(vcpu), at(device), Wanted::Yes),
            Self::SetPending { vcpu, device } => {
                world.distributor(at(vcpu), |vm, by| vm.set_pending(by, guest(device)));
                world.set_pending_for(at(device));
            }
            Self::ClearPending { vcpu, device } => {
                world.distributor(at(vcpu), |vm, by| vm.clear_pending(by, guest(device)));
                // A level cannot be wiped away, wherever it is kept.
                let edge = world.shape.devices[at(device)] == Sense::Edge;
                world.device(at(device), |d| {
                    if edge || d.mode == Some(Mode::Forwarded) {
                        d.credit = 0;
                    }
                });
                // An edge that the guest threw away is served by that.
                if world.shape.devices[at(device)] == Sense::Edge {
                    world.device(at(device), |d| d.work = false);
                }
            }
            Self::SetActive { vcpu, device } => {
                world.distributor(at(vcpu), |vm, by| vm.set_active(by, guest(device)));
                world.set_active_for(at(device));
            }
            Self::ClearActive { vcpu, device } => {
                world.distributor(at(vcpu), |vm, by| vm.clear_active(by, guest(device)));
            }
            Self::Retarget { vcpu, device, to } => {
                world.distributor(at(vcpu), |vm, _| vm.set_targets(guest(device), 1 << to));
            }
            Self::Join { device } => match world.join(at(device)) {
                Ok(_) | Err(JoinError::InFlight(_) | JoinError::Guest(BindError::InFlight(_))) => {}
                Err(error) => panic!("{error}"),
            },
            Self::Part { device } => world.part(at(device), Some(eventfd(at(device)))),
            Self::Mask { device } => world.rig.host.mask(world.line(at(device))),
            Self::Unmask { device } => world.rig.host.unmask(world.line(at(device))),
            Self::User { device } => world.user(at(device)),
            Self::Reopen { device } => world.reopen(at(device)),
            Self::Rearm { device } => world.rig.host.rearm(world.line(at(device))),
            Self::Inject => world.vm.pulse(SOFTWARE).expect("nobody forwards it"),
            Self::Kill => world.kill(),
        }
        world.check();
    }
}

impl World {
    /// The user serves a device of which he was told.
    pub(crate) fn user(&self, device: usize) {
        self.device(device, |d| d.user = 0);
        self.serve(device);
        self.rig.host.unmask(self.line(device));
    }

    fn is_in_hand(&self, device: usize) -> bool {
        let guest = guest_number(device);
        self.rig.places.borrow().iter().any(|place| place.in_hand.iter().any(|hand| hand.interrupt == guest))
    }

    /// A write to the set-pending register counts as a delivery where the virtual state keeps it; where the host's
    /// controller keeps it, that delivers it.
    fn set_pending_for(&self, device: usize) {
        self.device(device, |d| {
            if d.mode != Some(Mode::Forwarded) {
                d.credit += 1;
            }
        });
    }

    fn set_active_for(&self, device: usize) {
        self.device(device, |d| {
            if d.mode == Some(Mode::Forwarded) {
                // The host's controller has it now, and delivers it again.
                d.credit = 0;
            }
        });
    }

    fn possible_with_device(&self, device: u8, about: About, all: &mut Vec<Action>) {
        let number = usize::from(device);
        if self.is_signalled(number) {
            for cpu in (0..self.shape.cpus as u8).filter(|&cpu| !self.has_late(usize::from(cpu))) {
                all.push(Action::Take { device, cpu });
                if about.late {
                    all.push(Action::AcknowledgePhysical { device, cpu });
                }
            }
        }
        let state = self.rig.host.state(host_number(number)).expect("it exists");
        let known = self.device(number, |d| d.clone());
        if known.user > 0 {
            all.push(Action::User { device });
        }
        if about.control {
            all.push(if known.mode.is_some() { Action::Part { device } } else { Action::Join { device } });
            all.push(Action::Reopen { device });
        }
        if about.user_masks {
            all.push(if state.user_masked { Action::Unmask { device } } else { Action::Mask { device } });
        }
        if about.storms && state.shut {
            all.push(Action::Rearm { device });
        }
    }

    fn possible_with_vcpu(&self, vcpu: u8, about: About, all: &mut Vec<Action>) {
        let number = usize::from(vcpu);
        if self.on(number).is_none() {
            let free =
                |&cpu: &u8| self.on_cpu(usize::from(cpu)).is_none() && !self.has_late(usize::from(cpu));
            all.extend((0..self.shape.cpus as u8).filter(free).map(|cpu| Action::Load { vcpu, cpu }));
            return;
        }
        if self.wants_exit(number) {
            all.push(Action::Resync { vcpu });
        }
        if self.can_acknowledge(number) {
            all.push(Action::Acknowledge { vcpu });
        }
        if !self.rig.places.borrow()[number].to_serve.is_empty() {
            all.push(Action::Serve { vcpu });
        }
        if self.last(number).is_some() {
            all.push(Action::End { vcpu });
        }
        for place in self.rig.places.borrow().iter() {
            let dropped = place.in_hand.iter().filter(|hand| hand.dropped);
            all.extend(dropped.map(|hand| Action::Deactivate { vcpu, interrupt: hand.interrupt }));
        }
        if about.moves {
            all.push(Action::Save { vcpu });
        }
        for device in 0..self.shape.devices.len() as u8 {
            let at = usize::from(device);
            if about.guest_masks {
                let enabled = self.device(at, |d| d.guest_enabled);
                let mask = Action::GuestMask { vcpu, device };
                all.push(if enabled { mask } else { Action::GuestUnmask { vcpu, device } });
            }
            if about.guest_writes {
                all.push(Action::SetPending { vcpu, device });
                all.push(Action::ClearPending { vcpu, device });
                // A guest that handles an interrupt and changes its active state beside that gets what it asks for.
                if !self.is_in_hand(at) {
                    all.push(Action::SetActive { vcpu, device });
                    all.push(Action::ClearActive { vcpu, device });
                }
            }
            if about.moves && self.shape.vcpus > 1 {
                all.extend((0..self.shape.vcpus as u8).map(|to| Action::Retarget { vcpu, device, to }));
            }
        }
    }

    pub(crate) fn ends_apart(&self) -> bool {
        self.shape.ends == EndMode::Apart
    }
}
