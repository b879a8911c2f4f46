//! Every operation with the n-th step in the kernel failing: then nothing has changed.

mod vm_iommufd_support;

use vcm::{Access, PhysicalAddress};
use vcm_linux::Error;
use vcm_linux::iommufd::mock::{Abilities, MockAccess, MockDevice, Needs, is_pinned, set_batch_limit};
use vcm_linux::iommufd::{DirtyTracking, Hwpt, HwptRequest, Ioas, Iommufd, Library};
use vcm_linux::memory::MemoryFile;
use vm_iommufd_support::*;

const RW: Access = Access::READ_WRITE;
const PAGES: u64 = 24;

/// Two spaces with devices, a library, and a mapping of one page that must never change.
struct World {
    devices: Vec<MockDevice>,
    spaces: Vec<Ioas>,
    library: Library,
    memory: MemoryFile,
    iommufd: std::sync::Arc<Iommufd>,
}

impl World {
    fn new() -> Self {
        let iommufd = iommufd();
        // Small batches, so that there are many steps.
        set_batch_limit(&iommufd, 100).unwrap();
        let memory = memory(PAGES);
        let library = Library::new(&iommufd).unwrap();
        library.add(PhysicalAddress::new(1 << 40), &memory).unwrap();
        let spaces: Vec<_> = (0..2).map(|_| Ioas::new(&iommufd).unwrap()).collect();
        let devices =
            spaces.iter().map(|ioas| MockDevice::attach(ioas, Abilities::All).unwrap()).collect::<Vec<_>>();
        for ioas in &spaces {
            ioas.map_memory(iova(START), memory.range(0, PAGE).unwrap(), RW).unwrap();
        }
        Self { devices, spaces, library, memory, iommufd }
    }

    /// Everything is as [`World::new`] made it.
    fn is_unchanged(&self) {
        for (ioas, device) in self.spaces.iter().zip(&self.devices) {
            assert_eq!(ioas.mappings(), 1);
            assert!(device.sees(iova(START), self.memory.range(0, PAGE).unwrap()).unwrap());
            let access = MockAccess::new(ioas, Needs::Nothing).unwrap();
            for page in 1..2 * PAGES {
                access.read(iova(START + page * PAGE), &mut [0]).unwrap_err();
            }
        }
        assert!(is_pinned(&self.iommufd, self.memory.range(0, PAGE).unwrap(), 2).unwrap());
        assert!(is_pinned(&self.iommufd, self.memory.range(PAGE, (PAGES - 1) * PAGE).unwrap(), 0).unwrap());
    }
}

/// Tries `operation` with each step failing in its turn until none is left, and undoes what succeeded by `undo`.
fn fail_everywhere<T>(
    world: &mut World,
    operation: impl Fn(&mut World) -> Result<T, Error>,
    undo: impl Fn(&mut World, T),
) -> u64 {
    for nth in 1..1000 {
        let (result, failed) = with_failure(nth, || operation(world));
        match (result, failed) {
            (Ok(done), failed) => {
                undo(world, done);
                world.is_unchanged();
                if !failed {
                    return nth - 1;
                }
            }
            (Err(_), true) => world.is_unchanged(),
            (Err(error), false) => panic!("step {nth} was never reached, and still: {error}"),
        }
    }
    panic!("there is no end to it");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_mapping_is_whole_or_not_at_all() {
    let mut world = World::new();
    let steps = fail_everywhere(
        &mut world,
        |world| {
            let part = world.memory.range(PAGE, (PAGES - 1) * PAGE).unwrap();
            world.spaces[0].map_memory(iova(START + PAGE), part, RW)
        },
        |world, ()| world.spaces[0].unmap_span(span(START + PAGE, (PAGES - 1) * PAGE)).unwrap(),
    );
    assert!(steps > 2, "{steps} steps");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_copy_is_whole_or_not_at_all() {
    let mut world = World::new();
    let steps = fail_everywhere(
        &mut world,
        |world| {
            let part = world.memory.range(PAGE, (PAGES - 1) * PAGE).unwrap();
            world.library.map(&world.spaces[1], iova(START + PAGE), part, RW)
        },
        |world, _| world.spaces[1].unmap_span(span(START + PAGE, (PAGES - 1) * PAGE)).unwrap(),
    );
    assert!(steps > 2, "{steps} steps");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_copy_of_what_others_have_is_whole_or_not_at_all() {
    let mut world = World::new();
    // The pages come from the other device's table, from pins of an access, and from the file.
    let (other, third) = (world.spaces[0].clone(), Ioas::new(&world.iommufd).unwrap());
    let _device = MockDevice::attach(&third, Abilities::All).unwrap();
    for nth in 1..1000 {
        let part = world.memory.range(4 * PAGE, 8 * PAGE).unwrap();
        world.library.map(&other, iova(START + 4 * PAGE), part, RW).unwrap();
        let access = MockAccess::new(&other, Needs::Pages).unwrap();
        let pinned =
            access.pin(iova(START + 5 * PAGE), world.memory.range(5 * PAGE, 2 * PAGE).unwrap(), RW).unwrap();
        let all = world.memory.range(2 * PAGE, 20 * PAGE).unwrap();
        let (result, failed) = with_failure(nth, || world.library.map(&third, iova(START), all, RW));
        let looking = MockAccess::new(&third, Needs::Nothing).unwrap();
        match &result {
            Ok(_) => {
                let mut seen = vec![0; 20 * PAGE as usize];
                looking.read(iova(START), &mut seen).unwrap();
                assert_eq!(seen, bytes(all));
                third.unmap_all().unwrap();
            }
            Err(error) => assert!(failed, "{error}"),
        }
        assert_eq!(third.mappings(), 0);
        assert!(world.devices[0].sees(iova(START + 4 * PAGE), part).unwrap());
        assert!(access.unpin(pinned).unwrap());
        other.unmap_span(span(START + 4 * PAGE, 8 * PAGE)).unwrap();
        world.is_unchanged();
        if !failed {
            assert!(nth > 2);
            world.devices.clear();
            return;
        }
    }
    panic!("there is no end to it");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_device_is_attached_whole_or_not_at_all() {
    let mut world = World::new();
    let steps = fail_everywhere(
        &mut world,
        |world| {
            let ioas = Ioas::new(&world.iommufd)?;
            for page in (1..PAGES).step_by(4) {
                let len = (PAGES - page).min(3) * PAGE;
                let part = world.memory.range(page * PAGE, len).unwrap();
                world.library.map(&ioas, iova(START + page * PAGE), part, RW)?;
            }
            let device = MockDevice::attach(&ioas, Abilities::All)?;
            let table = Hwpt::new(
                &ioas,
                device.device(),
                &HwptRequest { dirty_tracking: DirtyTracking::On, faults: None },
            )?;
            Ok((table, device, ioas))
        },
        |_, (table, device, ioas)| drop((table, device, ioas)),
    );
    assert!(steps > 5, "{steps} steps");
    assert_eq!(world.iommufd.not_destroyed(), 0);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_is_torn_down_is_gone_or_is_all_there() {
    let mut world = World::new();
    for nth in 1..20 {
        let part = world.memory.range(PAGE, (PAGES - 1) * PAGE).unwrap();
        world.library.map(&world.spaces[1], iova(START + PAGE), part, RW).unwrap();
        let all = span(START + PAGE, (PAGES - 1) * PAGE);
        let (unmapped, failed) = with_failure(nth, || world.spaces[1].unmap_span(all));
        if let Err(error) = unmapped {
            // The kernel did not find the space, it says. Then nothing is known to be gone, and a second attempt is.
            assert!(failed, "{error}");
            assert_eq!(world.spaces[1].mappings(), 2);
            assert!(world.devices[1].sees(iova(START + PAGE), part).unwrap());
            world.spaces[1].unmap_span(all).unwrap();
        }
        world.is_unchanged();
    }
    for nth in 1..20 {
        let ioas = Ioas::new(&world.iommufd).unwrap();
        world.library.map(&ioas, iova(START), world.memory.range(0, PAGES * PAGE).unwrap(), RW).unwrap();
        let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
        with_failure(nth, || drop((device, ioas)));
        world.is_unchanged();
    }
    world.devices.clear();
    world.spaces.clear();
    assert_eq!(world.iommufd.not_destroyed(), 0);
    assert!(is_pinned(&world.iommufd, world.memory.range(0, PAGES * PAGE).unwrap(), 0).unwrap());
}
