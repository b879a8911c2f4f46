//! The guest: its memory as this process sees it, and its virtual CPU.

use crate::Outcome;
use crate::program::{self, COPIED, DESTINATION, MORE, RAM, READY, REQUEST, SERVED, SOURCE, SPURIOUS};
use crate::world::World;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vcm::CpuAddress;
use vcm_devices::edu::spec;
use vcm_iommu::Registers;
use vcm_linux::kvm::Vm;
use vcm_linux::kvm::vcpu::{EmptyBus, Ended, Running, Vcpu};
use vcm_linux::vfio::BarMapping;
use vcm_platform::{Platform, splitmix64};

/// How long it may take from one interrupt to the next, and to set itself up. Under emulation that is long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between looks.
const LOOK: Duration = Duration::from_millis(1);

/// A guest that runs.
pub(crate) struct Guest {
    cpu: Running,
    /// Where this process has its memory.
    here: u64,
    /// For its first request: it asks for the others itself.
    registers: BarMapping,
    asked: u64,
    /// What it had served, and since when.
    last: (u64, Instant),
}

impl Guest {
    /// Puts its program and what is to be copied into its memory, and runs it.
    pub(crate) fn start(world: &mut World, vm: &Vm, here: u64, registers: BarMapping) -> Outcome<Self> {
        let mut parts = program::image();
        parts.push((SOURCE, pattern()));
        for (at, bytes) in parts {
            world.linux.cpu_write(address(here, at), &bytes)?;
        }
        let cpu = Vcpu::new(vm, 0)?;
        cpu.prepare(program::START)?;
        let cpu = cpu.run(Arc::new(EmptyBus))?;
        let mut guest = Self { cpu, here, registers, asked: 0, last: (0, Instant::now()) };
        while counter(world, here, READY)? == 0 {
            guest.look(0)?;
        }
        Ok(guest)
    }

    /// Compares what its device has copied, through this process's own addresses.
    pub(crate) fn check_copy(&self, world: &mut World) -> Outcome<()> {
        let mut copied = vec![0; COPIED as usize];
        world.linux.cpu_read(address(self.here, DESTINATION), &mut copied)?;
        if copied != pattern() {
            return Err("other bytes arrived than the device was to copy".into());
        }
        Ok(())
    }

    /// Has it take so many interrupts: its device asks now, and it has it ask again each time.
    pub(crate) fn ask(&mut self, world: &mut World, count: u64) -> Outcome<()> {
        world.linux.cpu_write(address(self.here, MORE), &(count - 1).to_le_bytes())?;
        self.registers.write(spec::INTERRUPT_RAISE, REQUEST);
        self.asked += count;
        self.last.1 = Instant::now();
        Ok(())
    }

    /// Whether it has served all, after a while.
    pub(crate) fn is_idle(&mut self, world: &mut World) -> Outcome<bool> {
        let served = self.served(world)?;
        if served == self.asked {
            return Ok(true);
        }
        self.look(served)?;
        Ok(false)
    }

    /// How many interrupts it has served.
    pub(crate) fn served(&self, world: &mut World) -> Outcome<u64> {
        counter(world, self.here, SERVED)
    }

    /// How often its virtual CPU came out to this process.
    pub(crate) fn exits(&self) -> u64 {
        self.cpu.exits()
    }

    /// How many interrupts came while its device wanted nothing.
    pub(crate) fn spurious(&self, world: &mut World) -> Outcome<u64> {
        counter(world, self.here, SPURIOUS)
    }

    /// Stops it, and looks once more whether it took every interrupt. A switch asks a device again that may have been served
    /// just then: an interrupt too many now and then, so that none is lost.
    pub(crate) fn stop(self, world: &mut World) -> Outcome<()> {
        let Self { cpu, here, asked, .. } = self;
        let ended = cpu.stop();
        if ended != Ended::Stopped {
            return Err(format!("the guest ended: {ended:?}").into());
        }
        let served = counter(world, here, SERVED)?;
        if served != asked {
            return Err(format!("of {asked} interrupts {served} came").into());
        }
        Ok(())
    }

    /// Lets it run for a moment, if it does, and comes on.
    fn look(&mut self, served: u64) -> Outcome<()> {
        if served != self.last.0 {
            self.last = (served, Instant::now());
        }
        if let Some(why) = self.cpu.ended() {
            return Err(format!("the guest ended: {why:?}").into());
        }
        if self.last.1.elapsed() > PATIENCE {
            let asked = self.asked;
            return Err(
                format!("the guest does not come on: {served} of {asked} interrupts are served").into()
            );
        }
        std::thread::sleep(LOOK);
        Ok(())
    }
}

/// Where this process has a guest physical address.
const fn address(here: u64, at: u32) -> CpuAddress {
    CpuAddress::new(here + (at - RAM) as u64)
}

/// What the guest tells.
fn counter(world: &mut World, here: u64, at: u32) -> Outcome<u64> {
    let mut bytes = [0; 8];
    world.linux.cpu_read(address(here, at), &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// What the device is to copy.
fn pattern() -> Vec<u8> {
    (0..COPIED / 8).flat_map(|number| splitmix64(0xed0, number).to_le_bytes()).collect()
}
