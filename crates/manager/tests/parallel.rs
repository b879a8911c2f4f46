//! The manager from many threads: independent regions do not wait for each other, and nothing is lost.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use vcm::pool::Policy;
use vcm::{
    AllocationRequest, Answer, Attributes, DeviceHandle, DeviceRequest, Error, Fault, FaultAccess,
    FaultReason, FaultState, Format, Handled, Hardware, HardwareError, LeafCount, PageSizes, Part,
    PhysicalAddress, Quiesced, RETRY_LIMIT, RegionKind, RegionRequest, SIZE_1M, SIZE_4K, SIZE_64K, Segment,
    Segments, SpaceHandle, Span, TargetId, Teardown, Unfinished,
};
use vcm_manager::Manager;

/// Hardware with locks of its own. It keeps every mapped page of every space, and which memory is handed out.
#[derive(Default)]
struct Machine {
    next_space: AtomicU32,
    /// (space, device page) -> physical page.
    pages: Mutex<std::collections::BTreeMap<(u32, u64), u64>>,
    taken: Mutex<std::collections::BTreeSet<u64>>,
    /// When there is one, mapping waits until as many threads map at the same time.
    rendezvous: Option<Barrier>,
}

impl Machine {
    fn meeting(threads: usize) -> Self {
        Self { rendezvous: Some(Barrier::new(threads)), ..Self::default() }
    }
}

impl Hardware for &Machine {
    fn format(&self, _: DeviceHandle, _: Part) -> Result<Format, HardwareError> {
        Ok(Format { id: 1, name: "test", page_sizes: PageSizes::ARM_SHORT, addresses: Span::ALL })
    }
    fn create_space(&mut self, _: RegionKind, _: Format, _: Span) -> Result<SpaceHandle, HardwareError> {
        Ok(SpaceHandle(self.next_space.fetch_add(1, Ordering::Relaxed)))
    }
    fn destroy_space(&mut self, space: SpaceHandle) {
        self.pages.lock().unwrap().retain(|(of, _), _| *of != space.0);
    }
    fn map(
        &mut self,
        space: SpaceHandle,
        at: u64,
        segments: Segments<'_>,
        _: Attributes,
    ) -> Result<(), HardwareError> {
        if let Some(rendezvous) = &self.rendezvous {
            rendezvous.wait();
        }
        let mut pages = self.pages.lock().unwrap();
        let mut page = at / SIZE_4K;
        for segment in segments {
            for physical in segment.base.raw() / SIZE_4K..(segment.base.raw() + segment.len) / SIZE_4K {
                assert!(
                    self.taken.lock().unwrap().contains(&physical),
                    "mapped memory that is not handed out"
                );
                assert_eq!(pages.insert((space.0, page), physical), None, "mapped over something");
                page += 1;
            }
        }
        Ok(())
    }
    fn unmap(&mut self, space: SpaceHandle, span: Span) -> Result<Quiesced, Unfinished> {
        let mut pages = self.pages.lock().unwrap();
        for page in span.first() / SIZE_4K..=span.last() / SIZE_4K {
            pages.remove(&(space.0, page));
        }
        Ok(Quiesced::after_invalidation(space, span))
    }
    fn attach(&mut self, _: SpaceHandle, _: DeviceHandle, _: Part) -> Result<(), HardwareError> {
        Ok(())
    }
    fn detach(&mut self, space: SpaceHandle, _: DeviceHandle, _: Part) -> Result<Quiesced, Unfinished> {
        Ok(Quiesced::after_invalidation(space, Span::ALL))
    }
    fn translate(&mut self, _: DeviceHandle, address: u64) -> Result<PhysicalAddress, HardwareError> {
        Ok(PhysicalAddress::new(address))
    }
    fn walk(&self, space: SpaceHandle, address: u64) -> Option<PhysicalAddress> {
        let pages = self.pages.lock().unwrap();
        pages
            .get(&(space.0, address / SIZE_4K))
            .map(|page| PhysicalAddress::new(page * SIZE_4K + address % SIZE_4K))
    }
    fn leaves(&self, _: SpaceHandle, _: Span) -> LeafCount {
        LeafCount::default()
    }
    fn memory_taken(&mut self, memory: Segment) {
        let mut taken = self.taken.lock().unwrap();
        for page in memory.base.raw() / SIZE_4K..(memory.base.raw() + memory.len) / SIZE_4K {
            assert!(taken.insert(page), "handed out twice");
        }
    }
    fn memory_returned(&mut self, memory: Segment) {
        let pages = self.pages.lock().unwrap();
        let mut taken = self.taken.lock().unwrap();
        for page in memory.base.raw() / SIZE_4K..(memory.base.raw() + memory.len) / SIZE_4K {
            assert!(!pages.values().any(|mapped| *mapped == page), "given back while mapped");
            assert!(taken.remove(&page), "given back twice");
        }
    }
}

fn with_memory(machine: Machine) -> (Manager<Machine>, TargetId) {
    let manager = Manager::new(machine);
    let memory = Span::new(0x8000_0000, 64 * SIZE_1M).unwrap();
    let pool = manager.add_pool("ddr", memory, Policy::Splitting).unwrap();
    let target = manager.add_target("main", &[pool]).unwrap();
    (manager, target)
}

/// A region of a device of its own, active.
fn active_region(manager: &Manager<Machine>, number: u32) -> vcm::RegionId {
    let device = manager
        .add_device(&DeviceRequest {
            label: "device".into(),
            handle: DeviceHandle(number),
            kind: RegionKind::Translated,
            reserved: &[],
        })
        .unwrap();
    let window = Span::new(0x1000, 256 * SIZE_1M).unwrap();
    let region =
        manager.create_region(&RegionRequest::new("region", RegionKind::Translated, window)).unwrap();
    let association = manager.associate(region, device, Part::Whole).unwrap();
    manager.activate(association).unwrap();
    region
}

/// Each mapping waits in the hardware until the other has come there too: with one lock around the graph this
/// test would never end.
#[test]
fn independent_regions_map_at_the_same_time() {
    let (manager, target) = with_memory(Machine::meeting(2));
    let regions = [active_region(&manager, 0), active_region(&manager, 1)];
    thread::scope(|scope| {
        for region in regions {
            let manager = &manager;
            scope.spawn(move || {
                let memory = manager.allocate(target, &AllocationRequest::new("buffer", SIZE_1M)).unwrap();
                let reservation = manager.reserve(region, SIZE_1M, Attributes::READ_WRITE).unwrap();
                manager.back(reservation, memory).unwrap();
            });
        }
    });
    assert_eq!(manager.hardware().pages.lock().unwrap().len(), 2 * (SIZE_1M / SIZE_4K) as usize);
}

/// Threads that share regions and memory and race for everything: whatever one of them is refused, nothing is
/// lost, handed out twice, or given back while it is mapped (the machine checks), and no lock is taken out of order
/// (debug builds check).
#[test]
fn racing_threads_lose_nothing() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 200;
    let (manager, target) = with_memory(Machine::default());
    let regions = [active_region(&manager, 0), active_region(&manager, 1), active_region(&manager, 2)];
    let shared = manager.allocate(target, &AllocationRequest::new("shared", SIZE_64K)).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (manager, regions) = (&manager, &regions);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let region = regions[((thread * 7 + round * 5) % 3) as usize];
                    let reservation = manager.reserve(region, SIZE_64K, Attributes::READ_WRITE).unwrap();
                    if (thread + round) % 3 == 0 {
                        manager.back(reservation, shared).unwrap();
                        assert!(matches!(manager.free(shared), Err(Error::Mapped { .. })));
                    } else {
                        let own = manager.allocate(target, &AllocationRequest::new("own", SIZE_64K)).unwrap();
                        manager.back(reservation, own).unwrap();
                        assert_eq!(manager.unback(reservation), Teardown::Done);
                        // A copy of the region that another thread made meanwhile maps it too, until it is taken down.
                        let freed = (0..1_000_000).any(|_| match manager.free(own) {
                            Err(Error::Mapped { .. }) => {
                                thread::yield_now();
                                false
                            }
                            outcome => outcome.map(|()| true).unwrap(),
                        });
                        assert!(freed, "the copy is taken down");
                    }
                    if round % 50 == 0 {
                        let copy = manager.clone_region(region, "copy").unwrap();
                        for found in manager.reservations(copy).unwrap() {
                            manager.unback(found.id);
                            manager.unreserve(found.id).unwrap();
                        }
                        manager.free_region(copy).unwrap();
                        manager.reap();
                    }
                    manager.unback(reservation);
                    manager.unreserve(reservation).unwrap();
                }
            });
        }
    });
    manager.free(shared).unwrap();
    assert_eq!(manager.allocations(), []);
    assert!(manager.regions().iter().all(|region| region.reservations == 0));
    assert!(manager.hardware().pages.lock().unwrap().is_empty());
    assert!(manager.hardware().taken.lock().unwrap().is_empty());
    assert_eq!(manager.quarantined(), 0);
}

/// One allocation, freed by everybody at once: one succeeds.
#[test]
fn what_everybody_frees_is_freed_once() {
    for _ in 0..50 {
        let (manager, target) = with_memory(Machine::default());
        let memory = manager.allocate(target, &AllocationRequest::new("buffer", SIZE_1M)).unwrap();
        let freed = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    if manager.free(memory).is_ok() {
                        freed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(freed.into_inner(), 1);
    }
}

/// Memory on demand, answered by a hook that uses the manager itself.
#[test]
fn a_hook_backs_the_reservation_and_retries() {
    let (manager, target) = with_memory(Machine::default());
    let region = active_region(&manager, 0);
    let reservation = manager.reserve(region, SIZE_64K, Attributes::READ_WRITE).unwrap();
    let address = manager.device_address(reservation).unwrap().raw();
    let fault = Fault {
        device: DeviceHandle(0),
        address,
        access: FaultAccess::Write,
        reason: FaultReason::Translation,
        state: FaultState::Stalled,
    };
    assert_eq!(manager.handle_fault(&fault), (Answer::Terminate, Handled::ByNobody { warn: true }));
    assert_eq!(manager.handle_fault(&fault), (Answer::Terminate, Handled::ByNobody { warn: false }));
    manager.hook(DeviceHandle(0), move |_, manager: &Manager<Machine>| {
        let memory = manager.allocate(target, &AllocationRequest::new("demand", SIZE_64K)).unwrap();
        manager.back(reservation, memory).unwrap();
        Answer::Retry
    });
    assert_eq!(manager.handle_fault(&fault), (Answer::Retry, Handled::ByHook));
    assert_eq!(manager.hardware().pages.lock().unwrap().len(), 16);
    // A hook that mends nothing does not hang the machine.
    manager.hook(DeviceHandle(0), |_, _| Answer::Retry);
    let answers = (0..RETRY_LIMIT).map(|_| manager.handle_fault(&fault).0);
    assert_eq!(answers.filter(|answer| *answer == Answer::Terminate).count(), 1);
}

/// A physical range has one owner, whoever comes first.
#[test]
fn ranges_are_wrapped_once_and_never_out_of_a_pool() {
    let (manager, _) = with_memory(Machine::default());
    let inside = manager.wrap_physical("inside", PhysicalAddress::new(0x8000_0000), SIZE_4K);
    assert!(matches!(inside, Err(Error::MemoryHeld { .. })));
    let wrapped = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                if manager.wrap_physical("registers", PhysicalAddress::new(0x100_0000), SIZE_64K).is_ok() {
                    wrapped.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(wrapped.into_inner(), 1);
    let over = Span::new(0x100_0000, SIZE_1M).unwrap();
    assert!(matches!(manager.add_pool("over", over, Policy::Splitting), Err(Error::MemoryHeld { .. })));
}
