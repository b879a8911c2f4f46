//! Bus masters do DMA as they are told, and their interrupts arrive, before a driver has touched the IOMMU.
//!
//! Without QEMU 10.0 or newer the tests fail, unless `VCM_WITHOUT_QEMU_IOMMUS` is set.

mod qemu_iommu;

use qemu_iommu::{EDU, EDUS, OTHER_EDU, bytes, noise, page, start, untranslated, without_qemu_iommus};
use vcm::{Iova, PhysicalAddress};
use vcm_iommu::Registers;
use vcm_qemu::{
    Decoding, Device, Direction, DmaPage, Edu, EduCompletion, EduDma, Error, GicV2m, IommuModel, LsiMove,
    PciAddress, WideAccess,
};

#[test]
fn many_dmas_are_made_in_their_order_and_only_within_the_buffer() {
    if without_qemu_iommus() {
        return;
    }
    let machine = start(IommuModel::NoneOnArm, &EDUS);
    let (edu, ram) = (machine.edu(EDU).unwrap(), machine.ram());
    let at = ram.allocate(4096, 4096).unwrap();
    let data = noise(1, 256);
    ram.write_bytes(at, &data).unwrap();
    // Each one moves the bytes on by one, so that one left out or made twice would show.
    let dma = |from: u64, direction| EduDma {
        memory: untranslated(PhysicalAddress::new(at.raw() + from)),
        offset: 0,
        len: 256,
        direction,
    };
    let dmas: Vec<_> = (0..50)
        .flat_map(|step| [dma(step, Direction::ToDevice), dma(step + 1, Direction::FromDevice)])
        .collect();
    edu.run(&dmas).unwrap();
    assert_eq!(bytes(ram, PhysicalAddress::new(at.raw() + 50), 256), data);
    for (offset, len) in [(0, 4097), (4096, 1), (u64::MAX, 1), (1, u64::MAX)] {
        let bad = EduDma { memory: untranslated(at), offset, len, direction: Direction::ToDevice };
        assert!(matches!(edu.run(&[bad]), Err(Error::Argument { .. })));
        assert!(matches!(edu.start(&bad, EduCompletion::Silent), Err(Error::Argument { .. })));
    }
    assert!(edu.copy(Iova::new(u64::MAX - 4096), untranslated(at), 8192).is_err());
    edu.run(&[]).unwrap();
}

/// The driver that knows nothing of QEMU, over a plain window.
#[test]
fn a_window_is_enough_for_a_driver() {
    if without_qemu_iommus() {
        return;
    }
    let machine = start(IommuModel::NoneOnArm, &EDUS);
    let (function, ram) = (machine.edu(EDU).unwrap().function().clone(), machine.ram());
    let window = machine.bus().window(function.bar(0).unwrap().address, WideAccess::Whole);
    let mut edu = vcm_devices::Edu::new(window).unwrap();
    assert!(edu.is_alive());
    edu.raise(0x11);
    edu.acknowledge(0x10);
    assert_eq!(edu.raised(), 0x1);
    let at = ram.allocate(8192, 4096).unwrap();
    let data = noise(5, 4096);
    ram.write_bytes(at, &data).unwrap();
    let dma = |at, direction| EduDma { memory: untranslated(at), offset: 0, len: 4096, direction };
    edu.run(&dma(at, Direction::ToDevice)).unwrap();
    let to = PhysicalAddress::new(at.raw() + 4096);
    edu.run_with(&dma(to, Direction::FromDevice), |_| std::thread::yield_now()).unwrap();
    assert_eq!((bytes(ram, to, 4096), edu.raised()), (data, 0x1));
    assert!(machine.bus().failure().is_none());
}

#[test]
fn thousands_of_moves_take_a_few_requests() {
    if without_qemu_iommus() {
        return;
    }
    const SLOT: u8 = 3;
    for model in [IommuModel::Smmuv3, IommuModel::VtdLegacy, IommuModel::AmdVi] {
        let machine = start(model, &[Device::Lsi { slot: SLOT }]);
        let (lsi, ram) = (machine.lsi(SLOT).unwrap(), machine.ram());
        let program = page(ram).unwrap();
        let [from, to] = [0; 2].map(|_| ram.allocate(4096, 4096).unwrap());
        let data = noise(2, 4096);
        ram.write_bytes(from, &data).unwrap();
        // Backwards, two bytes each.
        let moves: Vec<_> = (0..2048)
            .rev()
            .map(|number| LsiMove {
                from: Iova::new(from.raw() + 2 * number),
                to: Iova::new(to.raw() + 2 * number),
                len: 2,
            })
            .collect();
        lsi.run(program, &moves).unwrap();
        assert_eq!(bytes(ram, to, 4096), data, "{model:?}");
        lsi.run(program, &[]).unwrap();
        for (address, len) in [(0, 0), (0, 0x1_0001), (0x1_0000_0000, 1), (0xffff_ffff, 2), (u64::MAX, 2)] {
            let bad = LsiMove { from: Iova::new(address), to: untranslated(to), len };
            assert!(matches!(lsi.run(program, &[bad]), Err(Error::Argument { .. })), "{address:#x} {len:#x}");
        }
    }
}

#[test]
fn messages_and_wires_arrive_at_the_gic() {
    if without_qemu_iommus() {
        return;
    }
    let machine = start(IommuModel::NoneOnArm, &EDUS);
    let gic = GicV2m::new(machine.bus()).unwrap();
    let pending = |intid| gic.is_pending(intid).unwrap();
    // By wire: device 2, pin A, and device 5.
    let (edu, other) = (machine.edu(EDU).unwrap(), machine.edu(OTHER_EDU).unwrap());
    let wires = [&edu, &other].map(|edu| gic.wired(edu.function()).unwrap());
    assert_eq!(wires, [32 + 3 + 2, 32 + 3 + 1]);
    edu.raise(1).unwrap();
    assert_eq!((edu.raised().unwrap(), wires.map(pending)), (1, [true, false]));
    edu.acknowledge(1).unwrap();
    assert_eq!(wires.map(pending), [false, false]);
    other.raise(4).unwrap();
    assert_eq!(wires.map(pending), [false, true]);
    other.acknowledge(4).unwrap();
    // By message.
    let intid = gic.interrupts().start + 7;
    let message = gic.message(intid, untranslated(gic.doorbell())).unwrap();
    edu.function().enable_msi(&mut machine.ecam(), message).unwrap();
    assert!(!pending(intid));
    let at = page(machine.ram()).unwrap().device;
    let dma = EduDma { memory: at, offset: 0, len: 64, direction: Direction::ToDevice };
    edu.start(&dma, EduCompletion::Interrupt).unwrap();
    while edu.is_running().unwrap() {}
    assert_eq!(
        (edu.raised().unwrap(), pending(intid), wires.map(pending)),
        (Edu::DMA_INTERRUPT, true, [false; 2])
    );
    edu.acknowledge(Edu::DMA_INTERRUPT).unwrap();
    gic.clear(intid).unwrap();
    assert!(!pending(intid));
    edu.raise(2).unwrap();
    assert!(pending(intid));
    assert!(gic.message(gic.interrupts().end, message.address).is_err() && gic.is_pending(1020).is_err());
    assert!(edu.function().enable_msix(&mut machine.ecam(), machine.bus(), &[message]).is_err());
    let error = GicV2m::new(start(IommuModel::AmdVi, &[]).bus()).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
}

#[test]
fn functions_are_told_to_do_dma_or_not() {
    if without_qemu_iommus() {
        return;
    }
    let machine = start(IommuModel::NoneOnArm, &EDUS);
    let edu = machine.edu(EDU).unwrap();
    let function = machine.pci().at(PciAddress::new(0, EDU, 0)).unwrap();
    let ram = machine.ram();
    let [from, to] = [0; 2].map(|_| ram.allocate(4096, 4096).unwrap());
    ram.write_bytes(from, b"bytes").unwrap();
    for (decoding, arrives) in [(Decoding::Memory, false), (Decoding::MemoryAndBusMaster, true)] {
        function.set_decoding(&mut machine.ecam(), decoding).unwrap();
        edu.copy(untranslated(from), untranslated(to), 5).unwrap();
        assert_eq!(bytes(ram, to, 5) == b"bytes", arrives, "{decoding:?}");
    }
    function.set_decoding(&mut machine.ecam(), Decoding::Off).unwrap();
    assert!(Edu::new(machine.bus(), &mut machine.ecam(), machine.function(0).unwrap()).is_err());
}

#[test]
fn a_program_that_cannot_be_read_ends_and_the_next_one_runs() {
    if without_qemu_iommus() {
        return;
    }
    let machine = start(IommuModel::NoneOnArm, &[Device::Lsi { slot: 3 }]);
    let (lsi, ram) = (machine.lsi(3).unwrap(), machine.ram());
    let [program, empty, from, to] = [0; 4].map(|_| page(ram).unwrap());
    ram.write_bytes(from.memory, b"bytes").unwrap();
    let step = LsiMove { from: from.device, to: to.device, len: 5 };
    // What it reads are zeros: a refused read gives the same.
    let error = lsi.run(DmaPage { device: empty.device, memory: program.memory }, &[step]).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert_eq!(bytes(ram, to.memory, 5), [0; 5]);
    lsi.run(program, &[step]).unwrap();
    assert_eq!(bytes(ram, to.memory, 5), b"bytes");
}

#[test]
fn several_threads_use_one_machine() {
    if without_qemu_iommus() {
        return;
    }
    let machine = start(IommuModel::Smmuv3, &EDUS);
    let mut registers = machine.iommu_registers().unwrap();
    std::thread::scope(|scope| {
        let threads = [EDU, OTHER_EDU].map(|slot| {
            let (edu, ram) = (machine.edu(slot).unwrap(), machine.ram().clone());
            scope.spawn(move || {
                let [from, to] = [0; 2].map(|_| ram.allocate(0x4000, 4096).unwrap());
                let data = noise(slot.into(), 0x4000);
                ram.write_bytes(from, &data).unwrap();
                for _ in 0..5 {
                    ram.write_bytes(to, &[0; 0x4000]).unwrap();
                    edu.copy(untranslated(from), untranslated(to), 0x4000).unwrap();
                    assert!(bytes(&ram, to, 0x4000) == data);
                }
            })
        });
        while !threads.iter().all(|thread| thread.is_finished()) {
            assert_eq!(registers.read64(0), 0x0273_0010_0d44_101b);
        }
    });
    assert!(machine.bus().failure().is_none());
}
