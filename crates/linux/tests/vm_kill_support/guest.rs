//! A guest of KVM's with a device: its interrupt is forwarded and taken back all the time, while it makes DMA.

use super::{Opened, Stage, Tally, Word, open, pattern, wait_until};
use std::sync::Arc;
use std::time::Duration;
use vcm::{GuestPhysicalAddress, Iova};
use vcm_devices::edu::spec;
use vcm_devices::{Direction, Edu, EduCompletion, EduDma};
use vcm_iommu::Registers;
use vcm_irq::kvm_vfio::GROUP;
use vcm_linux::VfioInterrupts;
use vcm_linux::kvm::forwarding::{Forwarding, Relay};
use vcm_linux::kvm::guest::{Acknowledgement, Guest, GuestProgram, Interrupt, Kind, Order, Status, Value};
use vcm_linux::kvm::vcpu::Bus;
use vcm_linux::kvm::{InterruptController, Kvm, Protection, VfioFiles};
use vcm_linux::memory::MemoryFile;
use vcm_linux::vfio::{BarMapping, BusMaster, DeviceInterrupt, INTX};

/// Where the guest has its program, its memory and the device's registers.
const PROGRAM: GuestPhysicalAddress = GuestPhysicalAddress::new(0x1_0000);
const MEMORY: u64 = 0x100_0000;
const REGISTERS: u32 = 0xd000_0000;
const LEN: u64 = 1 << 20;
/// Where memory comes and goes.
const CHURN: u64 = 0x4000_0000;
const GSI: u32 = 17;
const WIRE: DeviceInterrupt = DeviceInterrupt { index: INTX, subindex: 0 };
/// The interrupt that is raised by hand.
const RAISED: u32 = 1;
const HALF: u64 = spec::BUFFER_LEN / 2;

/// The guest's accesses go to the device.
struct Forwarded(BarMapping);

impl Forwarded {
    fn offset(at: GuestPhysicalAddress) -> Option<u32> {
        u32::try_from(at.raw().checked_sub(REGISTERS.into())?).ok()
    }
}

impl Bus for Forwarded {
    fn read(&self, at: GuestPhysicalAddress, into: &mut [u8]) {
        into.fill(0xff);
        if let (Some(offset), 4) = (Self::offset(at), into.len()) {
            into.copy_from_slice(&self.0.clone().read(offset).to_le_bytes());
        }
    }

    fn write(&self, at: GuestPhysicalAddress, bytes: &[u8]) {
        if let (Some(offset), Ok(value)) = (Self::offset(at), bytes.try_into()) {
            self.0.clone().write(offset, u32::from_le_bytes(value));
        }
    }
}

struct Machine {
    guest: Guest,
    forwarding: Forwarding<VfioInterrupts>,
    interrupts: Arc<VfioInterrupts>,
    _files: VfioFiles,
    edu: Edu<BarMapping>,
    memory: MemoryFile,
    opened: Opened,
}

impl Machine {
    fn new(device: &str, tally: &Tally) -> Self {
        let opened = open(device, tally);
        let Opened { device, space } = &opened;
        let mut edu = Edu::new(device.map(0).unwrap()).unwrap();
        // The device cannot be reset: what a killed process began ends by itself, and is over before it may do DMA.
        wait_until("the last DMA ends", || !edu.is_running());
        edu.acknowledge(u32::MAX);
        let memory = MemoryFile::new("guest", LEN).unwrap();
        space.take_in(&memory);
        space.map(MEMORY, &memory);
        device.config().unwrap().set_bus_master(BusMaster::On).unwrap();

        let vm = Kvm::open().unwrap().create(InterruptController::Kernel).unwrap();
        let range = memory.range(0, LEN).unwrap();
        vm.memory().map_pieces(GuestPhysicalAddress::new(MEMORY), &[range], Protection::ReadWrite).unwrap();
        let files = VfioFiles::new(&vm).unwrap();
        device.with_kvm_file(|file| files.add(file)).unwrap();
        let wire = Interrupt {
            kind: Kind::Level { gsi: GSI },
            vector: 0x41,
            status: Some(Status { at: REGISTERS + spec::INTERRUPT_STATUS, mask: u32::MAX }),
            acknowledgement: Some(Acknowledgement {
                at: REGISTERS + spec::INTERRUPT_ACKNOWLEDGE,
                value: Value::Status,
            }),
            order: Order::QuietThenEnd,
        };
        let program = GuestProgram::new(&vm, PROGRAM, 1, &[wire]).unwrap();
        let guest = program.start(Arc::new(Forwarded(device.map(0).unwrap()))).unwrap();
        guest.wait_ready(super::PATIENCE).unwrap();
        let forwarding = Forwarding::new(&vm, GROUP).unwrap();
        let interrupts = Arc::new(VfioInterrupts::new(Arc::clone(device)));
        forwarding.assign(&interrupts, WIRE, GSI).unwrap();
        Self { guest, forwarding, interrupts, _files: files, edu, memory, opened }
    }

    /// Raises the interrupt, and waits until the guest has quieted the device; `meanwhile` is done all the time.
    fn interrupt(&self, tally: &Tally, mut meanwhile: impl FnMut()) {
        let before = self.guest.counts(0).delivered;
        let mut edu = Edu::new(self.opened.device.map(0).unwrap()).unwrap();
        edu.raise(RAISED);
        wait_until("the guest has taken the interrupt", || {
            meanwhile();
            assert_eq!(self.guest.ended(), None, "the guest does not run");
            self.guest.counts(0).delivered != before && edu.raised() & RAISED == 0
        });
        tally.add(Word::Interrupts, 1);
    }
}

/// Bytes go from one half of a page of memory to the device, and back to another.
fn round(edu: &mut Edu<BarMapping>, memory: &MemoryFile, tally: &Tally, seed: u64) {
    let bytes = pattern(seed, HALF as usize);
    let from = seed % 64 * 2 * HALF;
    memory.write(from, &bytes).unwrap();
    for (direction, half) in [(Direction::ToDevice, 0), (Direction::FromDevice, HALF)] {
        let memory = Iova::new(MEMORY + from + half);
        let dma = EduDma { memory, offset: 0, len: HALF, direction };
        edu.start(&dma, EduCompletion::Silent).unwrap();
        tally.add(Word::UnderWay, 1);
        wait_until("the DMA ends", || {
            std::thread::sleep(Duration::from_millis(1));
            !edu.is_running()
        });
        tally.subtract(Word::UnderWay, 1);
    }
    let mut found = vec![0; HALF as usize];
    memory.read(from + HALF, &mut found).unwrap();
    assert!(found == bytes, "other bytes came back");
    tally.add(Word::Rounds, 1);
}

fn relay(relay: &Relay<VfioInterrupts>) {
    let relayed = relay.dispatch(Some(Duration::from_millis(5))).unwrap();
    assert!(relayed.failed.is_empty(), "{:?}", relayed.failed);
}

/// Runs the guest until it is killed.
pub fn load(device: &str, tally: &Tally) -> ! {
    let mut machine = Machine::new(device, tally);
    std::thread::scope(|scope| {
        let mut edu = Edu::new(machine.opened.device.map(0).unwrap()).unwrap();
        std::mem::swap(&mut edu, &mut machine.edu);
        let machine = &machine;
        let relayed = machine.forwarding.relay();
        scope.spawn(move || {
            loop {
                relay(&relayed)
            }
        });
        scope.spawn(move || {
            for seed in 0.. {
                round(&mut edu, &machine.memory, tally, seed);
                tally.reach(Stage::Loaded);
            }
        });
        scope.spawn(move || {
            loop {
                machine.interrupt(tally, || {});
            }
        });
        scope.spawn(move || {
            loop {
                machine.forwarding.forward(&machine.interrupts, WIRE, GSI).unwrap();
                std::thread::sleep(Duration::from_micros(200));
                machine.forwarding.unforward(&machine.interrupts, WIRE);
                std::thread::sleep(Duration::from_micros(200));
                tally.add(Word::Switches, 1);
            }
        });
        machine.opened.space.churn(CHURN, tally)
    })
}

/// Device and guest work: bytes go both ways, and interrupts come both ways.
pub fn check(device: &str) {
    let tally = Tally::new(tempfile::tempfile().unwrap());
    let mut machine = Machine::new(device, &tally);
    machine.forwarding.forward(&machine.interrupts, WIRE, GSI).unwrap();
    (0..5).for_each(|_| machine.interrupt(&tally, || {}));
    machine.forwarding.unforward(&machine.interrupts, WIRE);
    let relayed = machine.forwarding.relay();
    (0..5).for_each(|_| machine.interrupt(&tally, || relay(&relayed)));
    let Machine { edu, memory, .. } = &mut machine;
    round(edu, memory, &tally, 0x00c0_ffee);
}
