//! The NVMe driver on a controller that is made up, which can misbehave. Its device addresses are other ones than those
//! of memory, as behind an IOMMU.

#[path = "nvme/fake.rs"]
mod fake;

use fake::{BLOCKS, Fake, Misbehaviour};
use std::time::Duration;
use vcm::{Iova, PhysicalAddress};
use vcm_qemu::{Nvme, NvmeConfig, NvmeError, NvmeInterrupts, NvmeRejected};

type Driver = Nvme<Fake, Fake>;

fn config() -> NvmeConfig {
    NvmeConfig {
        entries: 8,
        in_flight: 4,
        timeout: Duration::from_millis(30),
        interrupts: NvmeInterrupts::None,
    }
}

fn start_with(fake: &Fake, config: NvmeConfig) -> Result<Driver, NvmeError> {
    Nvme::start(fake.clone(), fake.clone(), config, || Some(fake.page()))
}

fn start(fake: &Fake) -> Driver {
    start_with(fake, config()).unwrap()
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + (index >> 9)) as u8).collect()
}

#[test]
fn device_addresses_are_for_the_device_and_memory_for_us() {
    let fake = Fake::default();
    let mut nvme = start(&fake);
    let information = nvme.information();
    assert_eq!((information.serial.as_str(), information.model.as_str()), ("S 1", "made up"));
    // 512 bytes a block; the longest transfer is 4 pages.
    assert_eq!(
        (information.blocks, information.block_len, information.longest_transfer),
        (BLOCKS, 512, 0x4000)
    );
    let at = fake.buffer(0x10000);
    fake.put(at.memory, &data(0x10000));
    nvme.write(2, at.device, 0x10000).unwrap();
    assert_eq!(fake.disk(2, 0x10000), data(0x10000));
    fake.put(at.memory, &[0; 0x10000]);
    nvme.read(2, at.device, 0x10000).unwrap();
    assert_eq!(fake.get(at.memory, 0x10000), data(0x10000));
    nvme.flush().unwrap();
    // In the middle of a page, a command transfers less.
    let inside = Iova::new(at.device.raw() + 0x804);
    nvme.read(0, inside, 0x8000).unwrap();
    assert_eq!(fake.get(at.memory + 0x804, 0x8000)[0x400..], data(0x10000)[..0x7c00]);
    assert_eq!(fake.accesses_outside(), 0);
}

#[test]
fn controllers_that_cannot_be_used_are_told() {
    let start = |misbehaviour| start_with(&Fake::that(misbehaviour), config()).map(drop).unwrap_err();
    for (misbehaviour, needed) in [
        (Misbehaviour::LargePages, "pages of 0x2000 bytes"),
        (Misbehaviour::ShortQueues, "queues of 4 entries"),
        (Misbehaviour::BlocksOf(3), "blocks of 2^3 bytes"),
        (Misbehaviour::BlocksOf(255), "blocks of 2^255 bytes"),
    ] {
        let error = start(misbehaviour);
        assert!(matches!(&error, NvmeError::NotSupported { .. }), "{error}");
        assert!(error.to_string().contains(needed), "{error}");
    }
    assert!(matches!(
        start(Misbehaviour::NeverReady),
        NvmeError::TimedOut { what: "starting the controller", .. }
    ));
    assert!(matches!(
        start(Misbehaviour::NeverStops),
        NvmeError::TimedOut { what: "stopping the controller", .. }
    ));
    assert!(matches!(start(Misbehaviour::Gone), NvmeError::Fatal { status: u32::MAX }));
    assert!(matches!(start(Misbehaviour::FatalAtStart), NvmeError::Fatal { status: 2 }));
    let fake = Fake::default();
    let error = Nvme::start(fake.clone(), fake.clone(), config(), || None).unwrap_err();
    assert!(matches!(error, NvmeError::NoMemory), "{error}");
    let mut page = fake.page();
    page.memory = PhysicalAddress::new(page.memory.raw() + 8);
    let error = Nvme::start(fake.clone(), fake.clone(), config(), || Some(page)).unwrap_err();
    assert!(matches!(error, NvmeError::Page { .. }), "{error}");
}

#[test]
fn what_is_refused_is_told_with_its_block_and_nothing_is_under_way_then() {
    let fake = Fake::default();
    let mut nvme = start(&fake);
    let at = fake.buffer(0x10000);
    // The second of four commands; "LBA out of range" (4.6.1.2.1), do not retry.
    fake.misbehave(Misbehaviour::Status { at_block: 32, status: 0x4080 });
    let NvmeError::Rejected(rejected) = nvme.read(0, at.device, 0x10000).unwrap_err() else { panic!() };
    assert_eq!(rejected, NvmeRejected { command: "reading", block: 32, code_type: 0, code: 0x80 });
    assert_eq!(nvme.in_flight(), 0);
    fake.misbehave(Misbehaviour::None);
    nvme.read(0, at.device, 0x10000).unwrap();
    // At the start, too: "invalid queue size" of a command's own kind.
    let error = start_with(&Fake::that(Misbehaviour::NoQueues), config()).unwrap_err();
    assert_eq!(error.to_string(), "creating a completion queue at block 0: status type 1, code 0x02");
}

#[test]
fn completions_that_cannot_be_stop_its_use_until_it_is_restarted() {
    use Misbehaviour as M;
    for misbehaviour in [M::WrongCommand, M::WrongQueue, M::WrongHead, M::Twice, M::FatalLater, M::Silent] {
        let fake = Fake::default();
        let mut nvme = start(&fake);
        let at = fake.buffer(0x10000);
        fake.put(at.memory, &data(0x10000));
        fake.misbehave(misbehaviour);
        // What comes twice is noticed at the next look.
        let error = (0..3).find_map(|_| nvme.write(0, at.device, 0x10000).err()).unwrap();
        match misbehaviour {
            M::Silent => assert!(matches!(error, NvmeError::TimedOut { .. }), "{error}"),
            M::FatalLater => assert!(matches!(error, NvmeError::Fatal { .. }), "{error}"),
            _ => assert!(matches!(error, NvmeError::Garbage { .. }), "{misbehaviour:?}: {error}"),
        }
        assert!(matches!(nvme.write(0, at.device, 0x10000), Err(NvmeError::Stopped)), "{misbehaviour:?}");
        assert!(matches!(nvme.flush(), Err(NvmeError::Stopped)));
        assert!(matches!(nvme.reap(), Err(NvmeError::Stopped)));
        fake.misbehave(M::None);
        nvme.restart().unwrap();
        nvme.write(0, at.device, 0x10000).unwrap();
        assert_eq!(fake.disk(0, 0x10000), data(0x10000), "{misbehaviour:?}");
    }
}

#[test]
fn noise_in_the_completion_queue_is_never_more_than_an_error() {
    let mut errors = 0;
    for seed in 1..300 {
        let fake = Fake::default();
        let mut nvme =
            start_with(&fake, NvmeConfig { timeout: Duration::from_millis(2), ..config() }).unwrap();
        let at = fake.buffer(0x4000);
        fake.misbehave(Misbehaviour::Noise(seed));
        errors += (0..3).filter(|_| nvme.read(0, at.device, 0x4000).is_err()).count();
        fake.misbehave(Misbehaviour::None);
        nvme.restart().unwrap();
        nvme.read(0, at.device, 0x4000).unwrap();
    }
    assert!(errors > 300, "{errors}");
}

#[test]
fn as_many_as_may_be_are_under_way_and_queues_wrap() {
    for (entries, in_flight) in [(2, 1), (3, 2), (8, 7), (64, 63)] {
        let fake = Fake::default();
        let mut nvme = start_with(&fake, NvmeConfig { entries, in_flight, ..config() }).unwrap();
        let at = fake.buffer(0x1000);
        fake.misbehave(Misbehaviour::Silent);
        for number in 0..in_flight {
            nvme.issue_read(number.into(), at.device, 512).unwrap();
        }
        assert!(matches!(nvme.issue_read(0, at.device, 512), Err(NvmeError::Full)));
        assert_eq!((nvme.in_flight(), nvme.reap().unwrap()), (in_flight.into(), 0));
        // They complete when it finds the time.
        fake.misbehave(Misbehaviour::None);
        fake.catch_up();
        assert_eq!((nvme.reap().unwrap(), nvme.in_flight()), (in_flight.into(), 0));
        for number in 0..200 {
            nvme.read(number % 50, at.device, 512).unwrap();
        }
        assert_eq!(fake.accesses_outside(), 0);
    }
}
