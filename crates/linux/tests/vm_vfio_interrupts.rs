//! Interrupts of each kind, and their listeners changing while they come.

mod vm_vfio_support;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vcm_linux::memory::MemoryFile;
use vcm_linux::vfio::{
    COMMAND, COMMAND_INTX_DISABLE, Device, DeviceInterrupt, INTX, Interrupt, InterruptFlags, MSI, MSIX,
};
use vm_vfio_support::edu::Edu;
use vm_vfio_support::nvme::{self, Nvme};
use vm_vfio_support::{EDU, NVME, Space, ways};

const SOON: Option<Duration> = Some(Duration::from_secs(5));
const QUIET: Option<Duration> = Some(Duration::from_millis(20));
const WIRE: DeviceInterrupt = DeviceInterrupt { index: INTX, subindex: 0 };

fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

fn take(event: &OwnedFd) -> u64 {
    let mut bytes = [0; 8];
    rustix::io::read(event, &mut bytes).map_or(0, |_| u64::from_ne_bytes(bytes))
}

fn signal(event: &OwnedFd) {
    rustix::io::write(event, &1_u64.to_ne_bytes()).unwrap();
}

fn wait(event: impl AsFd, limit: Duration) -> bool {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    poll(&mut [PollFd::new(&event, PollFlags::IN)], Some(&limit)).unwrap() > 0
}

fn message(subindex: u32) -> DeviceInterrupt {
    DeviceInterrupt { index: MSIX, subindex }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_wire_is_masked_until_it_is_served() {
    for way in ways() {
        let device = Space::new(way).open(EDU[0]);
        let mut edu = Edu::new(&device);
        let interrupt = device.interrupt(WIRE).unwrap();
        assert_eq!(interrupt.wait(QUIET).unwrap(), 0);
        for round in 1..=20 {
            edu.raise(round);
            assert_eq!(interrupt.wait(SOON).unwrap(), 1, "{way} round {round}");
            assert_eq!(interrupt.take().unwrap(), 0);
            assert_eq!(edu.raised(), round);
            edu.acknowledge();
            interrupt.unmask().unwrap();
        }
        // A device that is not served asks again at once.
        edu.raise(1);
        assert_eq!(interrupt.wait(SOON).unwrap(), 1);
        interrupt.unmask().unwrap();
        assert_eq!(interrupt.wait(SOON).unwrap(), 1);
        assert_eq!(interrupt.wait(QUIET).unwrap(), 0, "masked");
        edu.acknowledge();
        interrupt.unmask().unwrap();
        assert_eq!(interrupt.wait(QUIET).unwrap(), 0);
        // Masked by hand it stays quiet, and comes when it is unmasked.
        interrupt.mask().unwrap();
        edu.raise(1);
        assert_eq!(interrupt.wait(QUIET).unwrap(), 0);
        interrupt.unmask().unwrap();
        assert!(wait(interrupt.as_fd(), Duration::from_secs(5)));
        assert_eq!(interrupt.take().unwrap(), 1);
        edu.acknowledge();
        // Dropped it is disabled, and what comes then is nobody's.
        drop(interrupt);
        edu.raise(1);
        edu.acknowledge();
        let interrupt = device.interrupt(WIRE).unwrap();
        assert_eq!(interrupt.wait(QUIET).unwrap(), 0);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_wire_is_unmasked_by_an_eventfd() {
    for way in ways() {
        let device = Space::new(way).open(EDU[0]);
        let mut edu = Edu::new(&device);
        let interrupt = device.interrupt(WIRE).unwrap();
        let unmask = event();
        device.set_unmask(WIRE, Some(unmask.as_fd())).unwrap();
        for round in 1..=10 {
            edu.raise(round);
            assert_eq!(interrupt.wait(SOON).unwrap(), 1, "{way} round {round}");
            edu.acknowledge();
            signal(&unmask);
        }
        // It goes on doing so for another trigger.
        let elsewhere = event();
        device.set_trigger(WIRE, Some(elsewhere.as_fd())).unwrap();
        for round in 1..=3 {
            edu.raise(round);
            assert!(wait(&elsewhere, Duration::from_secs(5)), "{way} round {round}");
            assert_eq!(take(&elsewhere), 1);
            edu.acknowledge();
            signal(&unmask);
        }
        device.set_trigger(WIRE, None).unwrap();
        // Not served: again.
        edu.raise(1);
        assert_eq!(interrupt.wait(SOON).unwrap(), 1);
        signal(&unmask);
        assert_eq!(interrupt.wait(SOON).unwrap(), 1);
        // Another, and then none: the old ones do nothing any more.
        let other = event();
        device.set_unmask(WIRE, Some(other.as_fd())).unwrap();
        signal(&unmask);
        assert_eq!(interrupt.wait(QUIET).unwrap(), 0);
        signal(&other);
        assert_eq!(interrupt.wait(SOON).unwrap(), 1);
        device.set_unmask(WIRE, None).unwrap();
        signal(&other);
        assert_eq!(interrupt.wait(QUIET).unwrap(), 0);
        edu.acknowledge();
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn messages_of_a_device_with_one() {
    for way in ways() {
        let device = Space::new(way).open(EDU[0]);
        let mut edu = Edu::new(&device);
        let at = DeviceInterrupt { index: MSI, subindex: 0 };
        assert!(device.interrupt_info(MSI).unwrap().flags.contains(InterruptFlags::NORESIZE));
        let interrupt = device.interrupt(at).unwrap();
        for _ in 0..20 {
            edu.raise(1);
            assert_eq!(interrupt.wait(SOON).unwrap(), 1, "{way}");
            edu.acknowledge();
        }
        interrupt.raise().unwrap();
        assert_eq!(interrupt.take().unwrap(), 1);
        // Without mask bits a switch may tell of one too many, never of one too few.
        let other = event();
        interrupt.redirect(other.as_fd(), None).unwrap();
        assert_eq!(take(&other), 1);
        edu.raise(1);
        assert!(wait(&other, Duration::from_secs(5)));
        assert_eq!(interrupt.wait(QUIET).unwrap(), 0);
        edu.acknowledge();
        interrupt.take_back().unwrap();
        assert_eq!(interrupt.take().unwrap(), 1);
        assert_eq!(take(&other), 1);
        edu.raise(1);
        assert_eq!(interrupt.wait(SOON).unwrap(), 1);
        assert_eq!(take(&other), 0);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn all_messages_of_a_table() {
    for way in ways() {
        let device = Space::new(way).open(NVME[0]);
        let interrupts = device.interrupts(MSIX, 65).unwrap();
        for (number, interrupt) in interrupts.iter().enumerate() {
            assert_eq!(interrupt.at(), message(number as u32));
            for _ in 0..=number {
                interrupt.raise().unwrap();
            }
        }
        for (number, interrupt) in interrupts.iter().enumerate() {
            assert_eq!(interrupt.take().unwrap(), number as u64 + 1);
        }
        // The others stay when one goes, and it can come again.
        let mut interrupts = interrupts;
        drop(interrupts.swap_remove(7));
        assert!(interrupts[7].raise().is_ok());
        assert_eq!(interrupts[7].take().unwrap(), 1);
        let seven = device.interrupt(message(7)).unwrap();
        seven.raise().unwrap();
        assert_eq!(seven.take().unwrap(), 1);
    }
}

/// The kernel of the distribution has to disable all to have more.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_table_grows_while_it_is_in_use() {
    for way in ways() {
        let mut space = Space::new(way);
        let device = space.open(NVME[0]);
        let resizes = !device.interrupt_info(MSIX).unwrap().flags.contains(InterruptFlags::NORESIZE);
        println!("{way}: {}", if resizes { "grows" } else { "is made anew" });
        let memory = MemoryFile::new("nvme", nvme::MEMORY).unwrap();
        space.map(0x10_0000, &memory);
        let mut nvme = Nvme::new(&device, memory, 0x10_0000);
        let mut command = |admin: &Interrupt| {
            nvme.submit();
            assert!(admin.wait(SOON).unwrap() > 0);
            nvme.wait();
        };
        let admin = device.interrupt(message(0)).unwrap();
        command(&admin);
        let mut more = Vec::new();
        for number in [1, 2, 40, 3, 64] {
            let interrupt = device.interrupt(message(number)).unwrap();
            // Signalled for what may have been lost, only where the set is made anew.
            let again = admin.take().unwrap();
            assert!(if resizes { again == 0 } else { again <= 1 }, "{again}");
            interrupt.raise().unwrap();
            assert_eq!(interrupt.take().unwrap(), 1);
            more.push(interrupt);
            command(&admin);
        }
        for interrupt in &more {
            interrupt.take().unwrap();
            interrupt.raise().unwrap();
            assert_eq!(interrupt.take().unwrap(), 1);
        }
    }
}

/// What two listeners of one interrupt are told, and whether the one who does not listen is told anything.
struct Listeners<'d> {
    interrupt: &'d Interrupt,
    other: OwnedFd,
    taken: Mutex<()>,
    late: AtomicU64,
    changes: AtomicU64,
}

impl Listeners<'_> {
    fn take(&self) -> u64 {
        let _one = self.taken.lock().unwrap();
        self.interrupt.take().unwrap() + take(&self.other)
    }

    /// Late, but not lost.
    fn too_late(&self, count: u64, moved: &AtomicU64) {
        self.late.fetch_add(count, Ordering::Relaxed);
        moved.fetch_add(count, Ordering::Relaxed);
    }

    /// Changes the listener until `stop`.
    fn change(&self, stop: &AtomicBool, moved: &AtomicU64, unmask: Option<&OwnedFd>) {
        while !stop.load(Ordering::Relaxed) {
            {
                let _one = self.taken.lock().unwrap();
                self.interrupt.redirect(self.other.as_fd(), unmask.map(AsFd::as_fd)).unwrap();
                // From here on the own eventfd is quiet.
                for _ in 0..3 {
                    self.too_late(self.interrupt.take().unwrap(), moved);
                    thread::sleep(Duration::from_micros(50));
                }
            }
            thread::sleep(Duration::from_micros(200));
            {
                let _one = self.taken.lock().unwrap();
                self.interrupt.take_back().unwrap();
                // What the other was told before is told; nothing more.
                moved.fetch_add(take(&self.other), Ordering::Relaxed);
                for _ in 0..3 {
                    self.too_late(take(&self.other), moved);
                    thread::sleep(Duration::from_micros(50));
                }
            }
            thread::sleep(Duration::from_micros(200));
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How often the listener changes in a test.
const CHANGES: u64 = 15;

/// Makes interrupts, by `one`, until the listener has changed often enough. Answers how many, the changes and how often
/// somebody was told. `one` is given what waits until somebody is.
fn under_load(
    interrupt: &Interrupt,
    unmask: Option<&OwnedFd>,
    mut one: impl FnMut(&mut dyn FnMut()),
) -> (u64, u64, u64) {
    let listeners = Listeners {
        interrupt,
        other: event(),
        taken: Mutex::new(()),
        late: AtomicU64::new(0),
        changes: AtomicU64::new(0),
    };
    let (stop, moved) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut made, mut told) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| listeners.change(&stop, &moved, unmask));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut wait = || {
                let start = Instant::now();
                loop {
                    let count = listeners.take() + moved.swap(0, Ordering::Relaxed);
                    if count > 0 {
                        told += count;
                        return;
                    }
                    assert!(start.elapsed() < Duration::from_secs(5), "an interrupt is lost");
                    thread::sleep(Duration::from_micros(20));
                }
            };
            while listeners.changes.load(Ordering::Relaxed) < CHANGES {
                one(&mut wait);
                made += 1;
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    assert_eq!(listeners.late.load(Ordering::Relaxed), 0, "late interrupts");
    told += listeners.take() + moved.load(Ordering::Relaxed);
    (made, listeners.changes.load(Ordering::Relaxed), told)
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn messages_are_neither_lost_nor_late_when_their_listener_changes() {
    for way in ways() {
        let mut space = Space::new(way);
        let device: Device = space.open(NVME[0]);
        let memory = MemoryFile::new("nvme", nvme::MEMORY).unwrap();
        space.map(0x10_0000, &memory);
        let mut nvme = Nvme::new(&device, memory, 0x10_0000);
        let interrupt = device.interrupt(message(0)).unwrap();
        let (made, changes, told) = under_load(&interrupt, None, |wait| {
            nvme.submit();
            // Told too often it looks again; told too seldom it would wait without end.
            wait();
            while !nvme.complete() {
                wait();
            }
        });
        println!("{way}: {made} commands, {changes} changes, {told} interrupts");
        // Nobody waited in vain. What was told too often is at most one for each change.
        assert!(told <= made + 2 * changes, "{way}");
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_wire_is_neither_lost_nor_late_when_its_listener_changes() {
    for way in ways() {
        let device = Space::new(way).open(EDU[0]);
        let mut edu = Edu::new(&device);
        let interrupt = device.interrupt(WIRE).unwrap();
        let unmask = event();
        let (made, changes, told) = under_load(&interrupt, Some(&unmask), |wait| {
            edu.raise(1);
            wait();
            edu.acknowledge();
            // Whoever listens unmasks: by call, or by eventfd. Both do no harm.
            interrupt.unmask().unwrap();
            signal(&unmask);
        });
        println!("{way}: {made} raised, {changes} changes, {told} told");
        // And it works as before.
        while interrupt.wait(QUIET).unwrap() > 0 {
            interrupt.unmask().unwrap();
        }
        edu.raise(1);
        assert_eq!(interrupt.wait(SOON).unwrap(), 1);
        edu.acknowledge();
    }
}

/// The former listener was told and did not come to serve the device: the new one is told again.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_pending_wire_goes_to_its_new_listener() {
    for way in ways() {
        let device = Space::new(way).open(EDU[0]);
        let mut edu = Edu::new(&device);
        let interrupt = device.interrupt(WIRE).unwrap();
        edu.raise(1);
        assert!(wait(interrupt.as_fd(), Duration::from_secs(5)));
        // Once when it was told and did not look, once when it looked.
        for looked in [false, true] {
            if looked {
                assert_eq!(interrupt.take().unwrap(), 1);
            }
            let (other, unmask) = (event(), event());
            interrupt.redirect(other.as_fd(), Some(unmask.as_fd())).unwrap();
            assert!(wait(&other, Duration::from_secs(5)), "{way}");
            assert_eq!(take(&other), 1);
            assert_eq!(interrupt.take().unwrap(), 0);
            // It does not serve it either.
            interrupt.take_back().unwrap();
            assert!(wait(interrupt.as_fd(), Duration::from_secs(5)), "{way}");
            assert_eq!(take(&other), 0);
        }
        edu.acknowledge();
        interrupt.take().unwrap();
        // Masked by hand it stays so, whoever listens.
        interrupt.mask().unwrap();
        edu.raise(1);
        let other = event();
        interrupt.redirect(other.as_fd(), None).unwrap();
        assert!(!wait(&other, Duration::from_millis(20)));
        interrupt.take_back().unwrap();
        assert_eq!(interrupt.wait(QUIET).unwrap(), 0);
        interrupt.unmask().unwrap();
        assert_eq!(interrupt.wait(SOON).unwrap(), 1);
        edu.acknowledge();
        // A function with INTx disabled in its configuration space raises none.
        interrupt.unmask().unwrap();
        let config = device.config().unwrap();
        let command = config.read16(COMMAND).unwrap();
        config.write16(COMMAND, command | COMMAND_INTX_DISABLE).unwrap();
        edu.raise(1);
        assert_eq!(interrupt.wait(QUIET).unwrap(), 0);
        config.write16(COMMAND, command & !COMMAND_INTX_DISABLE).unwrap();
        assert_eq!(interrupt.wait(SOON).unwrap(), 1);
        edu.acknowledge();
    }
}
