//! Making and running the guest.

use super::counters::{Counts, MOST, Shared, place};
use super::handler::taker;
use super::image::{COUNTERS, DESCRIPTORS, INTERRUPTS, Image, stack};
use super::{Interrupt, Kind, Order};
use crate::Error;
use crate::kvm::routing::Message;
use crate::kvm::vcpu::{Bus, Ended, Running, Start, Vcpu};
use crate::kvm::{InterruptController, Protection, Vm};
use crate::memory::MemoryFile;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vcm::{GuestPhysicalAddress, Span};

/// More than that have no number in 8 bits of a local APIC's (255 is all of them).
const VCPUS: u32 = 254;

/// A guest that takes interrupts, ready to run.
#[derive(Debug)]
pub struct GuestProgram {
    vm: Vm,
    base: u32,
    len: u32,
    entry: u32,
    vcpus: u32,
    interrupts: Vec<Interrupt>,
    shared: Shared,
}

impl GuestProgram {
    /// Makes the program and maps it into the virtual machine from `at` on: as many pages as [`GuestProgram::span`]
    /// says, 5 for one vCPU and a few interrupts. The interrupts are taken by the vCPUs in turn: the first by vCPU 0,
    /// the second by vCPU 1.
    ///
    /// # Errors
    /// [`Error::Argument`] for no or too many vCPUs or interrupts, for a vector or GSI that is used twice or out of
    /// range, and for addresses above 4 GiB; the kernel's.
    pub fn new(
        vm: &Vm,
        at: GuestPhysicalAddress,
        vcpus: u32,
        interrupts: &[Interrupt],
    ) -> Result<Self, Error> {
        check(vm, vcpus, interrupts)?;
        let what = || format!("a program at guest physical {:#x}", at.raw());
        let base = u32::try_from(at.raw())
            .ok()
            .filter(|base| base.is_multiple_of(4096))
            .ok_or_else(|| Error::argument(what(), "it begins at a page below 4 GiB"))?;
        // 2 MiB is more than the largest program; it ends below 4 GiB.
        base.checked_add(2 << 20).ok_or_else(|| Error::argument(what(), "it ends below 4 GiB"))?;
        let image = Image::new(base, vcpus, interrupts);
        let file = MemoryFile::new("vcm-guest-program", u64::from(image.len))?;
        let shared = Shared::new(file, u64::from(COUNTERS));
        for (at, bytes) in &image.parts {
            shared.write(u64::from(*at), bytes)?;
        }
        let all = shared.file().range(0, u64::from(image.len))?;
        vm.memory().map_pieces(at, &[all], Protection::ReadWrite)?;
        let interrupts = interrupts.to_vec();
        Ok(Self { vm: vm.clone(), base, len: image.len, entry: image.entry, vcpus, interrupts, shared })
    }

    /// The guest physical addresses that it takes.
    pub fn span(&self) -> Option<Span> {
        Span::new(u64::from(self.base), u64::from(self.len))
    }

    /// The message that is an interrupt (by its place in the list), for [`Routing::add`](crate::kvm::Routing::add).
    /// `None` for one that comes by a pin.
    pub fn message(&self, interrupt: usize) -> Option<Message> {
        let one = self.interrupts.get(interrupt).filter(|one| one.kind == Kind::Message)?;
        // Intel SDM volume 3, 12.11: the destination in bits 19 to 12, fixed delivery, an edge.
        let address = 0xfee0_0000 | taker(interrupt, self.vcpus) << 12;
        Some(Message { address: u64::from(address), data: u32::from(one.vector) })
    }

    /// Runs it. What the guest accesses where there is no memory comes to `bus`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(self, bus: Arc<dyn Bus>) -> Result<Guest, Error> {
        let vcpus = (0..self.vcpus).map(|number| {
            let vcpu = Vcpu::new(&self.vm, number)?;
            vcpu.prepare(Start {
                instruction: self.base + self.entry,
                stack: self.base + stack(number),
                descriptors: self.base + DESCRIPTORS,
                interrupts: self.base + INTERRUPTS,
                argument: number,
            })?;
            Ok(vcpu)
        });
        // All are made before the first one runs: KVM takes no more of them for a while when it is asked for by a
        // guest.
        let vcpus: Vec<Vcpu> = vcpus.collect::<Result<_, Error>>()?;
        let running =
            vcpus.into_iter().map(|vcpu| vcpu.run(Arc::clone(&bus))).collect::<Result<_, Error>>()?;
        Ok(Guest { running, program: self })
    }
}

fn check(vm: &Vm, vcpus: u32, interrupts: &[Interrupt]) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::argument("a guest's program", why));
    if vm.interrupt_controller() == InterruptController::None {
        return refuse("the virtual machine has no interrupt controller".into());
    }
    let most = VCPUS.min(vm.capabilities().vcpus);
    if vcpus == 0 || vcpus > most {
        return refuse(format!("{vcpus} vCPUs: 1 to {most} are possible"));
    }
    if interrupts.len() > MOST {
        return refuse(format!("{} interrupts: {MOST} are possible", interrupts.len()));
    }
    for (number, one) in interrupts.iter().enumerate() {
        let others = &interrupts[..number];
        if !(32..=254).contains(&one.vector) || others.iter().any(|other| other.vector == one.vector) {
            return refuse(format!("vector {}: 32 to 254, each once", one.vector));
        }
        match one.kind {
            Kind::Level { gsi } if gsi > 23 || others.iter().any(|other| other.kind == one.kind) => {
                return refuse(format!("GSI {gsi} as a level: 0 to 23, each once"));
            }
            Kind::Message if one.order == Order::Oneshot => {
                return refuse("a message has no pin that a oneshot handler could mask".into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// A guest that runs. Dropping it stops it and unmaps its program.
#[derive(Debug)]
pub struct Guest {
    // First: nobody runs the program when it is unmapped.
    running: Vec<Running>,
    program: GuestProgram,
}

impl Guest {
    /// Whether it has set itself up: an interrupt before that could be lost, as on any machine.
    pub fn is_ready(&self) -> bool {
        self.program.shared.counter(place::SET_UP) == 1
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// [`Error::Garbage`] when it is not after `limit`, with what became of its vCPUs.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), Error> {
        let since = Instant::now();
        while !self.is_ready() {
            let ended = self.ended();
            if ended.is_some() || since.elapsed() > limit {
                let ready = self.program.shared.counter(place::READY);
                let what = format!("{ready} of {} vCPUs are set up; {ended:?}", self.running.len());
                return Err(Error::Garbage { object: "guest".into(), what });
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }

    /// What it counted of an interrupt, by its place in the list.
    pub fn counts(&self, interrupt: usize) -> Counts {
        if interrupt < self.program.interrupts.len() {
            self.program.shared.counts(interrupt)
        } else {
            Counts::default()
        }
    }

    /// How many vCPUs it has.
    pub const fn vcpus(&self) -> usize {
        self.running.len()
    }

    /// How often its vCPUs came out to this process.
    pub fn exits(&self) -> u64 {
        self.running.iter().map(Running::exits).sum()
    }

    /// Why a vCPU does not run any more, if one does not.
    pub fn ended(&self) -> Option<Ended> {
        self.running.iter().find_map(Running::ended)
    }

    /// Stops it. Why each vCPU ended.
    pub fn stop(mut self) -> Vec<Ended> {
        self.running.iter().for_each(Running::tell);
        self.running.drain(..).map(Running::stop).collect()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.running.iter().for_each(Running::tell);
        self.running.clear();
    }
}

impl Drop for GuestProgram {
    fn drop(&mut self) {
        if let Some(span) = self.span() {
            // What cannot be unmapped is kept by the virtual machine, and ends with it.
            let _ = self.vm.memory().unmap(span);
        }
    }
}
