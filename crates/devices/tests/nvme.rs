//! The NVMe driver on a controller that is made up, which can misbehave. Its device addresses are other ones than those
//! of memory, as behind an IOMMU.

#[path = "nvme/fake.rs"]
mod fake;

use fake::{BLOCKS, Fake, Misbehaviour};
use std::time::Duration;
use vcm::{Iova, PhysicalAddress};
use vcm_devices::{Nvme, NvmeConfig, NvmeError, NvmeMessages, NvmeQueue, NvmeQueueConfig, NvmeRejected};

type Driver = Nvme<Fake, Fake>;
type Queue = NvmeQueue<Fake, Fake>;

const QUEUE: NvmeQueueConfig = NvmeQueueConfig { entries: 8, in_flight: 4, vector: None };

fn config() -> NvmeConfig {
    NvmeConfig { timeout: Duration::from_millis(30), ..NvmeConfig::default() }
}

fn start_with(fake: &Fake, config: NvmeConfig) -> Result<Driver, NvmeError> {
    Nvme::start(fake.clone(), fake.clone(), config, || Some(fake.page_of(config.page_len)))
}

fn create(fake: &Fake, nvme: &mut Driver, config: NvmeQueueConfig) -> Result<Queue, NvmeError> {
    let page_len = nvme.config().page_len;
    nvme.create_queue(fake.clone(), fake.clone(), config, || Some(fake.page_of(page_len)))
}

/// With one queue.
fn start(fake: &Fake) -> (Driver, Queue) {
    let mut nvme = start_with(fake, config()).unwrap();
    let queue = create(fake, &mut nvme, QUEUE).unwrap();
    (nvme, queue)
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + (index >> 9)) as u8).collect()
}

#[test]
fn device_addresses_are_for_the_device_and_memory_for_us() {
    // 8 KiB and 64 KiB: several lists share a page.
    for page_len in [0x1000, 0x2000, 0x10000] {
        let fake = Fake::default();
        let mut nvme = start_with(&fake, NvmeConfig { page_len, ..config() }).unwrap();
        let mut queue = create(&fake, &mut nvme, QUEUE).unwrap();
        assert_eq!(queue.pages().len(), QUEUE.pages(page_len));
        let information = nvme.information();
        assert_eq!((information.serial.as_str(), information.model.as_str()), ("S 1", "made up"));
        // 512 bytes a block; the longest transfer is 4 of the smallest pages.
        assert_eq!(
            (information.blocks, information.block_len, information.longest_transfer),
            (BLOCKS, 512, 0x4000)
        );
        assert_eq!(
            information.to_string(),
            "made up S 1: 1000 blocks of 512 bytes; pairs of queues: 1, of at most 64 entries; at most 16384 bytes a command"
        );
        let at = fake.buffer(0x10000);
        fake.put(at.memory, &data(0x10000));
        queue.write(2, at.device, 0x10000).unwrap();
        assert_eq!(fake.disk(2, 0x10000), data(0x10000));
        fake.put(at.memory, &[0; 0x10000]);
        queue.read(2, at.device, 0x10000).unwrap();
        assert_eq!(fake.get(at.memory, 0x10000), data(0x10000));
        queue.flush().unwrap();
        // In the middle of a page.
        let inside = Iova::new(at.device.raw() + 0x804);
        queue.read(0, inside, 0x8000).unwrap();
        assert_eq!(fake.get(at.memory + 0x804, 0x8000)[0x400..], data(0x10000)[..0x7c00]);
        assert_eq!(fake.accesses_outside(), 0, "pages of {page_len:#x}");
    }
}

#[test]
fn controllers_that_cannot_be_used_are_told() {
    let start = |misbehaviour| {
        let fake = Fake::that(misbehaviour);
        let mut nvme = start_with(&fake, config())?;
        create(&fake, &mut nvme, QUEUE).map(drop)
    };
    for (misbehaviour, needed) in [
        (Misbehaviour::LargePages, "pages of 0x2000 bytes to 0x2000 bytes, not 0x1000"),
        (Misbehaviour::ShortQueues, "queues of 2 to 4 entries"),
        (Misbehaviour::BlocksOf(3), "blocks of 2^3 bytes"),
        (Misbehaviour::BlocksOf(255), "blocks of 2^255 bytes"),
    ] {
        let error = start(misbehaviour).unwrap_err();
        assert!(matches!(&error, NvmeError::NotSupported { .. }), "{error}");
        assert!(error.to_string().contains(needed), "{error}");
    }
    assert!(matches!(
        start(Misbehaviour::NeverReady),
        Err(NvmeError::TimedOut { what: "starting the controller", .. })
    ));
    assert!(matches!(
        start(Misbehaviour::NeverStops),
        Err(NvmeError::TimedOut { what: "stopping the controller", .. })
    ));
    assert!(matches!(start(Misbehaviour::Gone), Err(NvmeError::Fatal { status: u32::MAX })));
    assert!(matches!(start(Misbehaviour::FatalAtStart), Err(NvmeError::Fatal { status: 2 })));
    let fake = Fake::default();
    let error = Nvme::start(fake.clone(), fake.clone(), config(), || None).unwrap_err();
    assert!(matches!(error, NvmeError::NoMemory), "{error}");
    let mut page = fake.page();
    page.memory = PhysicalAddress::new(page.memory.raw() + 8);
    let error = Nvme::start(fake.clone(), fake.clone(), config(), || Some(page)).unwrap_err();
    assert!(matches!(error, NvmeError::Page { .. }), "{error}");
}

#[test]
fn configurations_that_cannot_be_are_refused() {
    let fake = Fake::default();
    for page_len in [0, 0x800, 0x1001, 0x2_0000, 1 << 63] {
        let error = start_with(&fake, NvmeConfig { page_len, ..config() }).unwrap_err();
        assert!(matches!(error, NvmeError::NotSupported { .. }), "{page_len:#x}: {error}");
    }
    assert!(matches!(
        start_with(&fake, NvmeConfig { queues: 0, ..config() }),
        Err(NvmeError::NotSupported { .. })
    ));
    let mut nvme = start_with(&fake, config()).unwrap();
    for (entries, in_flight) in [(1, 1), (65, 1), (8, 8), (8, 0), (0, 0)] {
        let error =
            create(&fake, &mut nvme, NvmeQueueConfig { entries, in_flight, vector: None }).unwrap_err();
        assert!(matches!(error, NvmeError::NotSupported { .. }), "{error}");
    }
    let error = create(&fake, &mut nvme, NvmeQueueConfig { vector: Some(1), ..QUEUE }).unwrap_err();
    assert!(error.to_string().contains("messages"), "{error}");
    let error = nvme.create_queue(fake.clone(), fake.clone(), QUEUE, || None).unwrap_err();
    assert!(matches!(error, NvmeError::NoMemory), "{error}");
    // None of it is in the way.
    create(&fake, &mut nvme, QUEUE).unwrap().flush().unwrap();
}

#[test]
fn what_is_refused_is_told_with_its_block_and_nothing_is_under_way_then() {
    let fake = Fake::default();
    let (_nvme, mut queue) = start(&fake);
    let at = fake.buffer(0x10000);
    // The second of four commands; "LBA out of range" (4.6.1.2.1), do not retry.
    fake.misbehave(Misbehaviour::Status { at_block: 32, status: 0x4080 });
    let NvmeError::Rejected(rejected) = queue.read(0, at.device, 0x10000).unwrap_err() else { panic!() };
    assert_eq!(rejected, NvmeRejected { command: "reading", block: 32, code_type: 0, code: 0x80 });
    assert_eq!(queue.in_flight(), 0);
    fake.misbehave(Misbehaviour::None);
    queue.read(0, at.device, 0x10000).unwrap();
}

#[test]
fn a_queue_that_is_refused_leaves_no_half_behind() {
    // "Invalid queue size" of a command's own kind.
    for (misbehaviour, what) in [
        (Misbehaviour::NoQueues, "creating a completion queue"),
        (Misbehaviour::NoSubmissionQueue, "creating a submission queue"),
    ] {
        let fake = Fake::default();
        let mut nvme = start_with(&fake, config()).unwrap();
        fake.misbehave(misbehaviour);
        let error = create(&fake, &mut nvme, QUEUE).unwrap_err();
        assert_eq!(error.to_string(), format!("{what} at block 0: status type 1, code 0x02"));
        fake.misbehave(Misbehaviour::None);
        create(&fake, &mut nvme, QUEUE).unwrap().flush().unwrap();
    }
}

#[test]
fn completions_that_cannot_be_stop_its_use_until_it_is_restarted() {
    use Misbehaviour as M;
    for misbehaviour in [M::WrongCommand, M::WrongQueue, M::WrongHead, M::Twice, M::FatalLater, M::Silent] {
        let fake = Fake::default();
        let (mut nvme, mut queue) = start(&fake);
        let at = fake.buffer(0x10000);
        fake.put(at.memory, &data(0x10000));
        fake.misbehave(misbehaviour);
        // What comes twice is noticed at the next look.
        let error = (0..3).find_map(|_| queue.write(0, at.device, 0x10000).err()).unwrap();
        match misbehaviour {
            M::Silent => assert!(matches!(error, NvmeError::TimedOut { .. }), "{error}"),
            M::FatalLater => assert!(matches!(error, NvmeError::Fatal { .. }), "{error}"),
            _ => assert!(matches!(error, NvmeError::Garbage { .. }), "{misbehaviour:?}: {error}"),
        }
        assert!(matches!(queue.write(0, at.device, 0x10000), Err(NvmeError::Stopped)), "{misbehaviour:?}");
        assert!(matches!(queue.flush(), Err(NvmeError::Stopped)));
        assert!(matches!(queue.reap(), Err(NvmeError::Stopped)));
        fake.misbehave(M::None);
        // Another queue would do, but this controller gave only one.
        assert!(matches!(create(&fake, &mut nvme, QUEUE), Err(NvmeError::NoQueue { queues: 1 })));
        nvme.restart().unwrap();
        assert!(matches!(queue.flush(), Err(NvmeError::Stopped)));
        // Its number is its own as long as it could ring a doorbell.
        assert!(matches!(create(&fake, &mut nvme, QUEUE), Err(NvmeError::NoQueue { queues: 1 })));
        drop(queue);
        create(&fake, &mut nvme, QUEUE).unwrap().write(0, at.device, 0x10000).unwrap();
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
        let mut queue = create(&fake, &mut nvme, QUEUE).unwrap();
        let at = fake.buffer(0x4000);
        fake.misbehave(Misbehaviour::Noise(seed));
        errors += (0..3).filter(|_| queue.read(0, at.device, 0x4000).is_err()).count();
        fake.misbehave(Misbehaviour::None);
        // Also when there is nothing wrong with it, and commands may be under way.
        nvme.delete_queue(queue).unwrap();
        create(&fake, &mut nvme, QUEUE).unwrap().read(0, at.device, 0x4000).unwrap();
    }
    assert!(errors > 300, "{errors}");
}

#[test]
fn as_many_as_may_be_are_under_way_and_queues_wrap() {
    for (entries, in_flight) in [(2, 1), (3, 2), (8, 7), (64, 63)] {
        let fake = Fake::default();
        let mut nvme = start_with(&fake, config()).unwrap();
        let mut queue =
            create(&fake, &mut nvme, NvmeQueueConfig { entries, in_flight, vector: None }).unwrap();
        let at = fake.buffer(0x1000);
        fake.misbehave(Misbehaviour::Silent);
        for number in 0..in_flight {
            queue.issue_read(number.into(), at.device, 512).unwrap();
        }
        assert!(matches!(queue.issue_read(0, at.device, 512), Err(NvmeError::Full)));
        assert_eq!((queue.in_flight(), queue.reap().unwrap()), (in_flight.into(), 0));
        // They complete when it finds the time.
        fake.misbehave(Misbehaviour::None);
        fake.catch_up();
        assert_eq!((queue.reap().unwrap(), queue.in_flight()), (in_flight.into(), 0));
        for number in 0..200 {
            queue.read(number % 50, at.device, 512).unwrap();
        }
        assert_eq!(fake.accesses_outside(), 0);
    }
}

#[test]
fn doorbells_are_rung_once_for_many_commands() {
    let fake = Fake::default();
    let (_nvme, mut queue) = start(&fake);
    let at = fake.buffer(0x10000);
    fake.take_doorbells();
    // Four commands of 16 KiB, as many as may be under way; their completions.
    queue.write(0, at.device, 0x10000).unwrap();
    assert_eq!(fake.take_doorbells(), 2);
}

#[test]
fn queues_are_as_many_as_it_gives_and_deleted_ones_come_again() {
    let fake = Fake::default();
    let mut nvme = start_with(&fake, NvmeConfig { queues: 9, ..config() }).unwrap();
    // Six submission queues and four completion queues make four pairs.
    assert_eq!(nvme.information().queues, 4);
    let mut queues: Vec<Queue> = (0..4).map(|_| create(&fake, &mut nvme, QUEUE).unwrap()).collect();
    assert_eq!(queues.iter().map(NvmeQueue::id).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(matches!(create(&fake, &mut nvme, QUEUE), Err(NvmeError::NoQueue { queues: 4 })));
    // One is deleted while it has a command under way; the others go on.
    let at = fake.buffer(0x1000);
    let mut second = queues.remove(1);
    fake.misbehave(Misbehaviour::Silent);
    second.issue_write(0, at.device, 0x1000).unwrap();
    fake.misbehave(Misbehaviour::None);
    nvme.delete_queue(second).unwrap();
    queues.iter_mut().for_each(|queue| queue.read(0, at.device, 0x1000).unwrap());
    let again = create(&fake, &mut nvme, QUEUE).unwrap();
    assert_eq!(again.id(), 2);
    // What is dropped without being deleted is the controller's until it stops.
    drop(again);
    assert!(matches!(create(&fake, &mut nvme, QUEUE), Err(NvmeError::NoQueue { .. })));
    nvme.stop().unwrap();
    assert!(matches!(create(&fake, &mut nvme, QUEUE), Err(NvmeError::Stopped)));
    queues.iter_mut().for_each(|queue| {
        assert!(matches!(queue.read(0, at.device, 0x1000), Err(NvmeError::Stopped)));
        assert_eq!(queue.in_flight(), 0);
    });
    nvme.restart().unwrap();
    assert_eq!(create(&fake, &mut nvme, QUEUE).unwrap().id(), 2);
    let other = Fake::default();
    let (_other, foreign) = start(&other);
    assert!(matches!(nvme.delete_queue(foreign), Err(NvmeError::Foreign)));
    let few = start_with(&Fake::that(Misbehaviour::FewQueues), NvmeConfig { queues: 9, ..config() }).unwrap();
    assert_eq!(few.information().queues, 1);
}

#[test]
fn every_thread_has_a_queue_and_its_own_part_of_the_disk() {
    const THREADS: u64 = 4;
    const LEN: u64 = 0x8000;
    let fake = Fake::default();
    let timeout = Duration::from_secs(10);
    let mut nvme = start_with(&fake, NvmeConfig { queues: 4, timeout, ..config() }).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let mut queue = create(&fake, &mut nvme, QUEUE).unwrap();
            let at = fake.buffer(LEN);
            let bytes: Vec<u8> = data(LEN as usize).iter().map(|byte| byte ^ thread as u8).collect();
            fake.put(at.memory, &bytes);
            let fake = fake.clone();
            scope.spawn(move || {
                let block = thread * LEN / 512;
                for _ in 0..3 {
                    queue.write(block, at.device, LEN).unwrap();
                    fake.put(at.memory, &[0; LEN as usize]);
                    queue.read(block, at.device, LEN).unwrap();
                    assert!(fake.get(at.memory, LEN as usize) == bytes, "thread {thread}");
                }
            });
        }
    });
    for thread in 0..THREADS as u8 {
        let part = fake.disk(u64::from(thread) * LEN / 512, LEN as usize);
        assert!(part.iter().zip(data(LEN as usize)).all(|(byte, plain)| byte ^ thread == plain));
    }
    assert_eq!(fake.accesses_outside(), 0);
}

/// The caller waits for the vector; the driver takes what came.
#[test]
fn interrupts_are_waited_for_by_the_caller() {
    let fake = Fake::default();
    let config = NvmeConfig { queues: 2, messages: NvmeMessages::Msix, ..config() };
    let mut nvme = start_with(&fake, config).unwrap();
    let [mut first, mut second] = [1, 2]
        .map(|vector| create(&fake, &mut nvme, NvmeQueueConfig { vector: Some(vector), ..QUEUE }).unwrap());
    assert_eq!((first.vector(), second.vector()), (Some(1), Some(2)));
    let at = fake.buffer(0x20000);
    first.write(0, at.device, 0x4000).unwrap();
    assert_eq!((fake.take_messages(1), fake.take_messages(2)), (1, 0));
    second.write(0, at.device, 0x10000).unwrap();
    assert_eq!((fake.take_messages(1), fake.take_messages(2)), (0, 4));
    // The controller takes its time: what is asked is done while we wait.
    fake.misbehave(Misbehaviour::Silent);
    let mut waits = 0;
    let waited = first.read_with(0, at.device, 0x20000, |left| {
        assert!(left <= config.timeout);
        waits += 1;
        fake.misbehave(Misbehaviour::None);
        fake.catch_up();
        assert_eq!(fake.take_messages(1), 4);
        fake.misbehave(Misbehaviour::Silent);
    });
    waited.unwrap();
    // Eight commands, four at once.
    assert_eq!(waits, 2);
    // An interrupt that never comes ends in time, and nobody waits for ever.
    let mut told = Vec::new();
    let error = second.flush_with(|left| {
        told.push(left);
        std::thread::sleep(left);
    });
    assert!(matches!(error, Err(NvmeError::TimedOut { .. })));
    assert!(told.len() < 4, "{told:?}");
}
