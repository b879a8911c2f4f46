//! NVMe on QEMU's controller, without an IOMMU in between: what the driver writes is on the disk, and what it reads was.
//!
//! Without QEMU 10.0 or newer the tests fail, unless `VCM_WITHOUT_QEMU_IOMMUS` is set.

mod qemu_iommu;

use qemu_iommu::{bytes, noise, page, start, untranslated, without_qemu_iommus};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use vcm::{Iova, PhysicalAddress};
use vcm_qemu::{
    Device, DmaPage, GicV2m, IommuMachine, IommuModel, Nvme, NvmeConfig, NvmeError, NvmeMessages, NvmeQueue,
    NvmeQueueConfig, Ram, Window,
};

const SLOT: u8 = 4;
const MEBIBYTES: u32 = 16;
const DISK: u64 = (MEBIBYTES as u64) << 20;

fn machine() -> IommuMachine {
    start(IommuModel::NoneOnArm, &[Device::Nvme { slot: SLOT, mebibytes: MEBIBYTES }])
}

fn nvme(machine: &IommuMachine, config: NvmeConfig) -> Nvme<Window, Ram> {
    let ram = machine.ram();
    let page = || pages(ram, config.page_len);
    Nvme::start(machine.nvme_registers(SLOT).unwrap(), ram.clone(), config, page).unwrap()
}

fn pages(ram: &Ram, page_len: u64) -> Option<DmaPage> {
    let memory = ram.allocate(page_len, page_len).ok()?;
    Some(DmaPage { device: untranslated(memory), memory })
}

fn queue(
    machine: &IommuMachine,
    nvme: &mut Nvme<Window, Ram>,
    config: NvmeQueueConfig,
) -> NvmeQueue<Window, Ram> {
    let (ram, page_len) = (machine.ram(), nvme.config().page_len);
    let registers = machine.nvme_registers(SLOT).unwrap();
    nvme.create_queue(registers, ram.clone(), config, || pages(ram, page_len)).unwrap()
}

fn on_disk(machine: &IommuMachine, block: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    machine.disk(SLOT).unwrap().read_exact_at(&mut bytes, 512 * block).unwrap();
    bytes
}

#[test]
fn megabytes_go_to_the_disk_and_come_back() {
    if without_qemu_iommus() {
        return;
    }
    const LEN: usize = 8 << 20;
    let machine = machine();
    let ram = machine.ram();
    let mut nvme = nvme(&machine, NvmeConfig::default());
    let mut queue = queue(&machine, &mut nvme, NvmeQueueConfig::default());
    let information = nvme.information().clone();
    assert_eq!((information.serial.as_str(), information.model.as_str()), ("vcm4", "QEMU NVMe Ctrl"));
    assert_eq!((information.block_len, information.blocks), (512, DISK / 512));
    assert_eq!(information.longest_transfer, 512 << 10);
    let [from, to] = [0; 2].map(|_| ram.allocate(LEN as u64, 4096).unwrap());
    let data = noise(4, LEN);
    ram.write_bytes(from, &data).unwrap();
    queue.write(77, untranslated(from), LEN as u64).unwrap();
    queue.flush().unwrap();
    assert!(on_disk(&machine, 77, LEN) == data);
    queue.read(77, untranslated(to), LEN as u64).unwrap();
    assert!(bytes(ram, to, LEN) == data);
    assert_eq!(queue.in_flight(), 0);
    assert!(machine.bus().failure().is_none());
}

#[test]
fn memory_may_begin_anywhere_and_have_any_number_of_blocks() {
    if without_qemu_iommus() {
        return;
    }
    let machine = machine();
    // Pages of 64 KiB: shorter lists, and several of them in a page.
    for page_len in [4 << 10, 64 << 10] {
        let mut nvme = nvme(&machine, NvmeConfig { page_len, ..NvmeConfig::default() });
        let mut queue = queue(&machine, &mut nvme, NvmeQueueConfig::default());
        transfers_of_any_length_begin_anywhere(&machine, &mut queue);
    }
}

fn transfers_of_any_length_begin_anywhere(machine: &IommuMachine, queue: &mut NvmeQueue<Window, Ram>) {
    let ram = machine.ram();
    let start = ram.allocate(2 << 20, 4096).unwrap();
    let longest = queue.information().longest_transfer;
    let mut block = 1;
    // One page, two, a list, as much as one command takes and more; in the middle of a page or not.
    for offset in [0, 4, 512, 4092] {
        for len in
            [512, 4096, 4608, 8192, 12288, 13312, longest - 512, longest, longest + 512, 3 * longest / 2]
        {
            let data = noise(block, len as usize);
            let memory = PhysicalAddress::new(start.raw() + offset);
            ram.write_bytes(memory, &data).unwrap();
            queue.write(block, untranslated(memory), len).unwrap();
            assert!(on_disk(machine, block, len as usize) == data, "{len:#x} bytes at {offset:#x}");
            ram.write_bytes(start, &vec![0xaa; 2 << 20]).unwrap();
            queue.read(block, untranslated(memory), len).unwrap();
            let all = bytes(ram, start, 2 << 20);
            let (before, rest) = all.split_at(offset as usize);
            let (read, after) = rest.split_at(len as usize);
            assert!(read == data, "{len:#x} bytes at {offset:#x}");
            assert!(before.iter().chain(after).all(|&byte| byte == 0xaa), "{len:#x} bytes at {offset:#x}");
            block += 3;
        }
    }
}

#[test]
fn queues_wrap_again_and_again() {
    if without_qemu_iommus() {
        return;
    }
    let machine = machine();
    let ram = machine.ram();
    for (entries, in_flight) in [(2, 1), (3, 2), (5, 3), (64, 63)] {
        let mut nvme = nvme(&machine, NvmeConfig::default());
        let mut queue = queue(&machine, &mut nvme, NvmeQueueConfig { entries, in_flight, vector: None });
        let memory = ram.allocate(200 << 9, 4096).unwrap();
        let data = noise(entries.into(), 200 << 9);
        ram.write_bytes(memory, &data).unwrap();
        let at = |number: u64| untranslated(PhysicalAddress::new(memory.raw() + 512 * number));
        for number in 0..200 {
            queue.write(number, at(number), 512).unwrap();
        }
        // As many at once as may be.
        ram.write_bytes(memory, &vec![0; 200 << 9]).unwrap();
        let mut next = 0;
        while next < 200 || queue.in_flight() > 0 {
            if next < 200 {
                match queue.issue_read(next, at(next), 512) {
                    Ok(()) => next += 1,
                    Err(NvmeError::Full) => assert_eq!(queue.in_flight(), usize::from(in_flight)),
                    Err(error) => panic!("{error}"),
                }
            }
            queue.reap().unwrap();
        }
        assert!(bytes(ram, memory, 200 << 9) == data, "{entries} entries");
        nvme.stop().unwrap();
    }
}

#[test]
fn completions_come_as_messages() {
    if without_qemu_iommus() {
        return;
    }
    let machine = machine();
    let ram = machine.ram();
    let gic = GicV2m::new(machine.bus()).unwrap();
    let intids = [1, 9, 4].map(|number| gic.interrupts().start + number);
    let messages = intids.map(|intid| gic.message(intid, untranslated(gic.doorbell())).unwrap());
    let registers = machine.nvme_registers(SLOT).unwrap();
    let function = machine.function(SLOT).unwrap();
    function.enable_msix(&mut machine.ecam(), machine.bus(), &messages).unwrap();
    let config = NvmeConfig { messages: NvmeMessages::Msix, queues: 2, ..NvmeConfig::default() };
    let mut nvme = Nvme::start(registers, ram.clone(), config, || page(ram)).unwrap();
    let vector = |vector| NvmeQueueConfig { vector: Some(vector), ..NvmeQueueConfig::default() };
    let mut queue = self::queue(&machine, &mut nvme, vector(1));
    let mut other = self::queue(&machine, &mut nvme, vector(2));
    // Commands of the admin queue completed already.
    assert!(gic.is_pending(intids[0]).unwrap() && !gic.is_pending(intids[1]).unwrap());
    let buffer = ram.allocate(4096, 4096).unwrap();
    for _ in 0..3 {
        queue.issue_read(0, untranslated(buffer), 4096).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while !gic.is_pending(intids[1]).unwrap() {
            assert!(Instant::now() < end, "no interrupt");
        }
        gic.clear(intids[1]).unwrap();
        assert_eq!(queue.reap().unwrap(), 1);
        assert!(!gic.is_pending(intids[1]).unwrap());
    }
    // Each queue has its own; whoever waits for it need not look into memory meanwhile.
    assert!(!gic.is_pending(intids[2]).unwrap());
    let mut waits = 0;
    let waited = other.read_with(0, untranslated(buffer), 4096, |left| {
        let end = Instant::now() + left;
        while !gic.is_pending(intids[2]).unwrap() {
            assert!(Instant::now() < end, "no interrupt");
        }
        waits += 1;
        gic.clear(intids[2]).unwrap();
    });
    waited.unwrap();
    assert!(waits <= 1 && !gic.is_pending(intids[1]).unwrap());
    // The table has 65 entries.
    let beyond = nvme.create_queue(
        machine.nvme_registers(SLOT).unwrap(),
        ram.clone(),
        NvmeQueueConfig { vector: Some(99), ..NvmeQueueConfig::default() },
        || page(ram),
    );
    assert!(matches!(beyond, Err(NvmeError::NoQueue { queues: 2 })));
    nvme.delete_queue(other).unwrap();
    let beyond = nvme.create_queue(
        machine.nvme_registers(SLOT).unwrap(),
        ram.clone(),
        NvmeQueueConfig { vector: Some(99), ..NvmeQueueConfig::default() },
        || page(ram),
    );
    assert!(matches!(beyond, Err(NvmeError::Rejected(_))));
    assert!(!gic.is_pending(gic.wired(function).unwrap()).unwrap());
    // A table has an end.
    let many = vec![messages[0]; 3000];
    assert!(function.enable_msix(&mut machine.ecam(), machine.bus(), &many).is_err());
}

#[test]
fn what_cannot_be_is_refused_before_it_is_asked() {
    if without_qemu_iommus() {
        return;
    }
    let machine = machine();
    let ram = machine.ram();
    let mut nvme = nvme(&machine, NvmeConfig::default());
    let mut queue = queue(&machine, &mut nvme, NvmeQueueConfig::default());
    let blocks = nvme.information().blocks;
    let memory = untranslated(ram.allocate(4096, 4096).unwrap());
    let longest = nvme.information().longest_transfer;
    let bad = [
        (0, memory, 0),
        (0, memory, 511),
        (blocks, memory, 512),
        (blocks - 1, memory, 1024),
        (u64::MAX, memory, 512),
        (0, Iova::new(memory.raw() + 2), 512),
        (0, Iova::new(u64::MAX - 511 + 4), 512),
    ];
    for (block, memory, len) in bad {
        let result = queue.read(block, memory, len);
        assert!(matches!(result, Err(NvmeError::Range { .. })), "{block:#x} {memory} {len:#x}: {result:?}");
    }
    assert!(matches!(queue.issue_read(0, memory, longest + 512), Err(NvmeError::Range { .. })));
    queue.read(blocks - 1, memory, 512).unwrap();
    for page_len in [2 << 10, 128 << 10] {
        let config = NvmeConfig { page_len, ..NvmeConfig::default() };
        let page = || pages(ram, page_len);
        let error =
            Nvme::start(machine.nvme_registers(SLOT).unwrap(), ram.clone(), config, page).unwrap_err();
        assert!(matches!(error, NvmeError::NotSupported { .. }), "{error}");
    }
}

#[test]
fn threads_have_queues_of_their_own() {
    if without_qemu_iommus() {
        return;
    }
    const LEN: u64 = 1 << 20;
    const QUEUES: u16 = 4;
    let machine = machine();
    let ram = machine.ram();
    let mut nvme = nvme(&machine, NvmeConfig { queues: QUEUES, ..NvmeConfig::default() });
    assert_eq!(nvme.information().queues, QUEUES);
    std::thread::scope(|scope| {
        for number in 0..u64::from(QUEUES) {
            let mut queue = queue(&machine, &mut nvme, NvmeQueueConfig::default());
            let memory = ram.allocate(LEN, 4096).unwrap();
            let data = noise(number, LEN as usize);
            scope.spawn(move || {
                ram.write_bytes(memory, &data).unwrap();
                let block = number * LEN / 512;
                queue.write(block, untranslated(memory), LEN).unwrap();
                ram.write_bytes(memory, &vec![0; LEN as usize]).unwrap();
                queue.read(block, untranslated(memory), LEN).unwrap();
                assert!(bytes(ram, memory, LEN as usize) == data, "queue {number}");
            });
        }
    });
    for number in 0..u64::from(QUEUES) {
        assert!(on_disk(&machine, number * LEN / 512, LEN as usize) == noise(number, LEN as usize));
    }
    nvme.stop().unwrap();
}

#[test]
fn a_reset_under_it_is_noticed_and_it_can_be_restarted() {
    if without_qemu_iommus() {
        return;
    }
    let mut machine = machine();
    let config = NvmeConfig { timeout: Duration::from_millis(1500), ..NvmeConfig::default() };
    let ram = machine.ram().clone();
    // Kept out of the reset's reach.
    let own = ram.part(vcm::Span::new(0x5000_0000, 1 << 20).unwrap()).unwrap();
    let mut nvme =
        Nvme::start(machine.nvme_registers(SLOT).unwrap(), own.clone(), config, || page(&own)).unwrap();
    let create = |machine: &IommuMachine, nvme: &mut Nvme<Window, Ram>| {
        let registers = machine.nvme_registers(SLOT).unwrap();
        nvme.create_queue(registers, own.clone(), NvmeQueueConfig::default(), || page(&own)).unwrap()
    };
    let mut queue = create(&machine, &mut nvme);
    let [from, to] = [0; 2].map(|_| own.allocate(4096, 4096).unwrap());
    own.write_bytes(from, &noise(5, 4096)).unwrap();
    queue.write(3, untranslated(from), 4096).unwrap();
    machine.reset().unwrap();
    let error = queue.read(3, untranslated(to), 4096).unwrap_err();
    assert!(matches!(error, NvmeError::TimedOut { .. }), "{error}");
    assert!(matches!(queue.read(3, untranslated(to), 4096), Err(NvmeError::Stopped)));
    assert!(matches!(queue.issue_read(3, untranslated(to), 4096), Err(NvmeError::Stopped)));
    machine.nvme_registers(SLOT).unwrap();
    nvme.restart().unwrap();
    drop(queue);
    let mut queue = create(&machine, &mut nvme);
    queue.read(3, untranslated(to), 4096).unwrap();
    assert_eq!(bytes(&own, to, 4096), noise(5, 4096));
    // And one that is gone for good.
    let id = machine.bus().with(|machine| machine.process_id());
    assert!(
        std::process::Command::new("/bin/kill").args(["-9", &id.to_string()]).status().unwrap().success()
    );
    assert!(queue.read(3, untranslated(to), 4096).is_err());
    assert!(matches!(nvme.restart(), Err(NvmeError::Fatal { status: u32::MAX })));
}
