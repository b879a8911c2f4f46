//! A disk's driver in user space: several queues, each with a thread and an interrupt, and memory that comes and goes.

use super::{Opened, PATIENCE, Stage, Tally, Word, open, pattern, wait_until};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use vcm::{Iova, PhysicalAddress};
use vcm_devices::{DmaPage, Nvme, NvmeConfig, NvmeMessages, NvmeQueue, NvmeQueueConfig};
use vcm_iommu::Registers;
use vcm_linux::memory::{DriverMemory, MemoryFile, MemoryPiece};
use vcm_linux::vfio::{BarMapping, BusMaster, Interrupt, MSIX};

const QUEUES: u16 = 3;
const QUEUE: NvmeQueueConfig = NvmeQueueConfig { entries: 32, in_flight: 8, vector: None };
const CONFIGURATION: u32 = 0x14;
const STATUS: u32 = 0x1c;
const PAGE: u64 = 4096;
/// Where the driver's own pages are.
const OWN: u64 = 0x1000_0000;
/// Where data is, for each queue.
const DATA: u64 = 0x2000_0000;
/// Where memory comes and goes.
const CHURN: u64 = 0x4000_0000;
/// The length of a transfer.
const LEN: usize = 128 << 10;
/// What the check writes.
const CHECKED: u64 = 0x00c0_ffee;

struct Lane {
    number: u64,
    queue: NvmeQueue<BarMapping, DriverMemory>,
    interrupt: Interrupt,
    data: MemoryFile,
    block_len: u64,
}

struct Disk {
    lanes: Vec<Lane>,
    /// For the controller's own commands. Nobody waits for it.
    own_commands: Option<Interrupt>,
    nvme: Nvme<BarMapping, DriverMemory>,
    opened: Opened,
}

impl Disk {
    fn new(device: &str, tally: &Tally) -> Self {
        let opened = open(device, tally);
        let Opened { device, space } = &opened;
        let queue_pages = QUEUE.pages(PAGE) as u64;
        let all = (NvmeConfig::PAGES as u64 + u64::from(QUEUES) * queue_pages) * PAGE;
        let own = Arc::new(MemoryFile::new("queues", all).unwrap());
        space.take_in(&own);
        space.map(OWN, &own);
        let mut taken = 0;
        let mut take = |pages: u64| {
            let (offset, len) = (taken, pages * PAGE);
            taken += len;
            let piece = MemoryPiece::new(Arc::clone(&own), offset, len).unwrap();
            let mut places = (OWN + offset..).step_by(PAGE as usize).take(pages as usize);
            let place = move || {
                let at = places.next()?;
                Some(DmaPage { device: Iova::new(at), memory: PhysicalAddress::new(at) })
            };
            (DriverMemory::new(piece, PhysicalAddress::new(OWN + offset)).unwrap(), place)
        };
        // A controller that was not reset may still do what a killed process asked of it, until it is stopped (CC.EN, CSTS.RDY:
        // NVM Express Base 1.4, 3.1.5 and 3.1.6).
        let mut registers = device.map(0).unwrap();
        registers.write(CONFIGURATION, 0);
        wait_until("the controller has stopped", || registers.read(STATUS) & 1 == 0);
        device.config().unwrap().set_bus_master(BusMaster::On).unwrap();
        let mut interrupts = device.interrupts(MSIX, u32::from(QUEUES) + 1).unwrap().into_iter();
        let own_commands = interrupts.next();
        let config = NvmeConfig { queues: QUEUES, messages: NvmeMessages::Msix, ..NvmeConfig::default() };
        let (memory, place) = take(NvmeConfig::PAGES as u64);
        let mut nvme = Nvme::start(device.map(0).unwrap(), memory, config, place).unwrap();
        assert_eq!(nvme.information().serial, "vcm0");
        let block_len = nvme.information().block_len;
        let lanes = (1..=QUEUES).zip(interrupts).map(|(vector, interrupt)| {
            let (memory, place) = take(queue_pages);
            let config = NvmeQueueConfig { vector: Some(vector), ..QUEUE };
            let queue = nvme.create_queue(device.map(0).unwrap(), memory, config, place).unwrap();
            let data = MemoryFile::new("data", LEN as u64).unwrap();
            space.take_in(&data);
            Lane { number: u64::from(vector), queue, interrupt, data, block_len }
        });
        let lanes: Vec<Lane> = lanes.collect();
        Self { lanes, own_commands, nvme, opened }
    }
}

impl Lane {
    /// Bytes go to the disk and come back, through memory that is mapped for it.
    fn round(&mut self, opened: &Opened, tally: &Tally, seed: u64) {
        let at = DATA + self.number * (1 << 24) + seed % 16 * LEN as u64;
        let (block, bytes, len) = (self.number * LEN as u64 / self.block_len, pattern(seed, LEN), LEN as u64);
        opened.space.map(at, &self.data);
        self.data.write(0, &bytes).unwrap();
        let Self { queue, interrupt, data, .. } = self;
        let mut told = 0;
        let mut wait = |left| told += interrupt.wait(Some(left)).unwrap();
        tally.add(Word::UnderWay, 1);
        queue.write_with(block, Iova::new(at), len, &mut wait).unwrap();
        data.write(0, &vec![0; LEN]).unwrap();
        queue.read_with(block, Iova::new(at), len, &mut wait).unwrap();
        tally.subtract(Word::UnderWay, 1);
        // Completions can be seen in memory before the interrupt comes; it comes all the same.
        if told == 0 {
            told = interrupt.wait(Some(PATIENCE)).unwrap();
        }
        assert!(told > 0, "an interrupt is lost");
        let mut found = vec![0; LEN];
        data.read(0, &mut found).unwrap();
        assert!(found == bytes, "other bytes came back");
        opened.space.unmap(at, len);
        tally.add(Word::Interrupts, told);
        tally.add(Word::Rounds, 1);
    }
}

/// Drives the disk until it is killed.
pub fn load(device: &str, tally: &Tally) -> ! {
    let Disk { lanes, own_commands: _own_commands, nvme: _nvme, opened } = Disk::new(device, tally);
    std::thread::scope(|scope| {
        let opened = &opened;
        for mut lane in lanes {
            scope.spawn(move || {
                for seed in 0.. {
                    lane.round(opened, tally, seed);
                    tally.reach(Stage::Loaded);
                }
            });
        }
        opened.space.churn(CHURN, tally)
    })
}

/// The device is as good as new: bytes go both ways, and interrupts come.
pub fn check(device: &str) {
    let tally = Tally::new(tempfile::tempfile().unwrap());
    let Disk { mut lanes, own_commands: _own_commands, mut nvme, opened } = Disk::new(device, &tally);
    for lane in &mut lanes {
        lane.round(&opened, &tally, CHECKED + lane.number);
    }
    nvme.stop().unwrap();
}

/// Whether a disk has what the check wrote, as the kernel reads it.
pub fn left_on(disk: &Path) -> bool {
    let disk = File::open(disk).unwrap();
    (1..=u64::from(QUEUES)).all(|number| {
        let mut found = vec![0; LEN];
        disk.read_exact_at(&mut found, number * LEN as u64).unwrap();
        found == pattern(CHECKED + number, LEN)
    })
}
