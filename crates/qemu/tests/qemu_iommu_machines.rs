//! Every machine with an IOMMU starts and has what it says, and bus masters reach memory before a driver has touched
//! the IOMMU, where its reset state lets them.
//!
//! Without QEMU 10.0 or newer the tests fail, unless `VCM_WITHOUT_QEMU_IOMMUS` is set.

mod qemu_iommu;

use qemu_iommu::{
    EDU, EDUS, OTHER_EDU, bytes, noise, passes_after_reset, start, untranslated, without_qemu_iommus,
};
use std::time::Duration;
use vcm::{Iova, PhysicalAddress, Span};
use vcm_iommu::{NarrowRegisters, Registers};
use vcm_pagetable::{TableMemory, Word};
use vcm_qemu::{Device, Edu, Error, IommuMachine, IommuModel, Ram, VirtioStructureKind, WideAccess, Width};

/// Copies `len` bytes through both devices, and whether they arrived.
fn copies(machine: &IommuMachine, seed: u64, len: usize) -> bool {
    let ram = machine.ram();
    let [from, to] = [0; 2].map(|_| ram.allocate(len as u64, 4096).unwrap());
    let data = noise(seed, len);
    ram.write_bytes(from, &data).unwrap();
    let mut arrived = true;
    for slot in [EDU, OTHER_EDU] {
        ram.write_bytes(to, &vec![0; len]).unwrap();
        machine.edu(slot).unwrap().copy(untranslated(from), untranslated(to), len as u64).unwrap();
        arrived &= bytes(ram, to, len) == data;
    }
    arrived
}

#[test]
fn every_machine_starts_and_its_masters_reach_memory_as_the_reset_state_lets_them() {
    if without_qemu_iommus() {
        return;
    }
    for model in IommuModel::ALL {
        let mut machine = start(model, &EDUS);
        for round in 0..2 {
            let found: Vec<_> = machine.pci().with_id(Edu::ID.0, Edu::ID.1).collect();
            let slots: Vec<_> = found.iter().map(|function| function.address.device()).collect();
            assert_eq!(slots, [EDU, OTHER_EDU], "{model:?}");
            assert!(found.iter().all(|function| function.bar(0).is_some_and(|bar| bar.len == 1 << 20)));
            assert_eq!(copies(&machine, round, 0x3456), passes_after_reset(model), "{model:?}");
            assert!(machine.bus().failure().is_none());
            assert!(machine.ram().used_bytes() > 0);
            // The second time round, all is as at the first.
            machine.reset().unwrap();
            assert_eq!(machine.ram().used_bytes(), 0);
        }
    }
}

#[test]
fn registers_are_those_of_the_iommu() {
    if without_qemu_iommus() {
        return;
    }
    // SMMUv3: IDR0 and IDR1; the halves of a pair are read in one round trip.
    let mut registers = start(IommuModel::Smmuv3, &[]).iommu_registers().unwrap();
    assert_eq!((registers.read(0), registers.read(4)), (0x0d44_101b, 0x0273_0010));
    assert_eq!(registers.read64(0), 0x0273_0010_0d44_101b);
    // SMMU_STRTAB_BASE, bits 51 to 6.
    registers.write64(0x80, 0x0003_4567_89ab_cdc0);
    assert_eq!(registers.read64(0x80), 0x0003_4567_89ab_cdc0);
    // VT-d: VER_REG, and RTADDR_REG in one access of 64 bits.
    let mut registers = start(IommuModel::VtdLegacy, &[]).iommu_registers().unwrap();
    assert_eq!(registers.read(0) >> 4, 1);
    registers.write64(0x20, 0x1_2345_6000);
    assert_eq!(registers.read64(0x20), 0x1_2345_6000);
    // RISC-V: the capabilities' version, 1.0, in memory and on PCI.
    for model in [IommuModel::Riscv, IommuModel::RiscvPci] {
        assert_eq!(start(model, &[]).iommu_registers().unwrap().read64(0) as u8, 0x10, "{model:?}");
    }
    // AMD-Vi: the device table's base keeps what is written.
    let mut registers = start(IommuModel::AmdVi, &[]).iommu_registers().unwrap();
    registers.write64(0, 0x1234_5000);
    assert_eq!(registers.read64(0) & !0xfff, 0x1234_5000);
    let error = start(IommuModel::NoneOnArm, &[]).iommu_registers().unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
}

#[test]
fn virtio_s_structures_are_found_and_have_narrow_registers() {
    if without_qemu_iommus() {
        return;
    }
    for model in [IommuModel::VirtioOnArm, IommuModel::VirtioOnPc] {
        let machine = start(model, &[]);
        let function = machine.iommu_function().unwrap();
        assert_eq!((function.vendor, function.device), (0x1af4, 0x1057));
        let structures = function.virtio_structures(&mut machine.ecam()).unwrap();
        let window = |wanted: fn(VirtioStructureKind) -> bool| {
            let structure = structures.iter().find(|structure| wanted(structure.kind)).unwrap();
            machine.bus().window(structure.address, WideAccess::Halves)
        };
        assert!(structures.iter().any(|it| it.kind == VirtioStructureKind::Notify { multiplier: 4 }));
        // Common: the status is a byte, the number of queues 16 bits.
        let mut common = window(|kind| kind == VirtioStructureKind::Common);
        common.write8(20, 1);
        assert_eq!((common.read8(20), common.read16(18)), (1, 2));
        common.write8(20, 0);
        // The device's own: page sizes of 64 bits, 4 KiB among them.
        assert_eq!(window(|kind| kind == VirtioStructureKind::Device).read64(0) & 0x1000, 0x1000);
        assert!(machine.iommu_registers().is_err());
    }
}

#[test]
fn device_trees_describe_the_iommu() {
    if without_qemu_iommus() {
        return;
    }
    let named = [
        (IommuModel::Smmuv3, "arm,smmu-v3"),
        (IommuModel::Riscv, "riscv,iommu"),
        (IommuModel::VirtioOnArm, "virtio,pci-iommu"),
    ];
    for (model, compatible) in named {
        let tree = start(model, &EDUS).device_tree().unwrap().unwrap();
        assert_eq!(tree[..4], [0xd0, 0x0d, 0xfe, 0xed], "{model:?}");
        let found = tree.windows(compatible.len()).any(|window| window == compatible.as_bytes());
        assert!(found, "{model:?}: {compatible}");
    }
    assert_eq!(start(IommuModel::AmdVi, &[]).device_tree().unwrap(), None);
    let error = vcm_qemu::device_tree("qemu-system-aarch64", &["-nonsense".into()]).unwrap_err();
    assert!(matches!(&error, Error::Start { stderr, .. } if stderr.contains("nonsense")), "{error}");
}

#[test]
fn what_cannot_be_started_is_told() {
    if without_qemu_iommus() {
        return;
    }
    for slots in [vec![1], vec![31], vec![2, 2]] {
        let devices: Vec<_> = slots.into_iter().map(|slot| Device::Edu { slot }).collect();
        let error = IommuMachine::start(IommuModel::NoneOnArm, &devices).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error}");
    }
    let error = IommuMachine::builder(IommuModel::Riscv).memory(6).start().unwrap_err();
    assert!(error.to_string().contains("too few"), "{error}");
    // More would be above 4 GiB, where nobody looks for it.
    let error = IommuMachine::builder(IommuModel::VtdLegacy).memory(2816).start().unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    let error = IommuMachine::builder(IommuModel::Riscv).program("/nonexistent/qemu").start().unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/qemu 10.0 or newer is needed"), "{error}");
    let machine = start(IommuModel::NoneOnArm, &EDUS);
    assert!(machine.edu(3).is_err() && machine.lsi(EDU).is_err() && machine.disk(EDU).is_err());
    let far = Span::new(0x4000_0000, 1 << 40).unwrap();
    assert!(matches!(Ram::new(machine.bus(), far), Err(Error::Argument { .. })));
}

#[test]
fn a_machine_that_dies_reads_as_all_ones_and_tells_why() {
    if without_qemu_iommus() {
        return;
    }
    let machine = start(IommuModel::Smmuv3, &EDUS);
    let (mut registers, edu) = (machine.iommu_registers().unwrap(), machine.edu(EDU).unwrap());
    let ram = machine.ram().clone();
    let buffer = ram.allocate(64, 64).unwrap();
    let id = machine.bus().with(|machine| machine.process_id());
    let killed = std::process::Command::new("/bin/kill").args(["-9", &id.to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!((registers.read(0), registers.read64(0x80)), (u32::MAX, u64::MAX));
    assert_eq!((registers.read8(0), registers.read16(0)), (u8::MAX, u16::MAX));
    registers.write(0x20, 1);
    registers.write64(0x80, 1);
    let first = machine.bus().failure().unwrap();
    assert!(matches!(&*first, Error::Closed { asked, .. } if asked == "readl 0x9050000"), "{first}");
    assert!(edu.run(&[]).is_err() && edu.copy(Iova::new(0), Iova::new(0), 1).is_err());
    // Memory outlives QEMU.
    ram.write_bytes(buffer, &[7; 64]).unwrap();
    assert_eq!(bytes(&ram, buffer, 64), [7; 64]);
}

#[test]
fn a_machine_that_hangs_is_given_up_in_time() {
    if without_qemu_iommus() {
        return;
    }
    let machine =
        IommuMachine::builder(IommuModel::NoneOnArm).devices(&EDUS).timeout(Duration::from_secs(5)).start();
    let machine = machine.unwrap();
    let edu = machine.edu(EDU).unwrap();
    let id = machine.bus().with(|machine| machine.process_id());
    let stopped = std::process::Command::new("/bin/kill").args(["-STOP", &id.to_string()]).status().unwrap();
    assert!(stopped.success());
    let error = edu.raise(1).unwrap_err();
    assert!(matches!(error, Error::TimedOut { waited, .. } if waited == Duration::from_secs(5)), "{error}");
    assert!(matches!(edu.raised(), Err(Error::Dead { .. })));
}

#[test]
fn memory_is_zero_aligned_and_shared_by_clones_and_parts() {
    if without_qemu_iommus() {
        return;
    }
    let machine = start(IommuModel::NoneOnArm, &[]);
    let ram = machine.ram().clone();
    let address = ram.allocate(2 << 20, 2 << 20).unwrap();
    assert!(address.is_aligned(2 << 20));
    ram.write_bytes(address, &noise(3, 2 << 20)).unwrap();
    machine.ram().free(address, 2 << 20);
    assert_eq!(ram.allocate(2 << 20, 2 << 20), Ok(address));
    assert!(bytes(&ram, address, 2 << 20).iter().all(|&byte| byte == 0));
    // QEMU sees it.
    ram.write_bytes(address, &0x1234_5678_9abc_def0_u64.to_le_bytes()).unwrap();
    assert_eq!(machine.bus().read(Width::Bits64, address).unwrap(), 0x1234_5678_9abc_def0);
    // A part has an allocator of its own; nobody else gets what is in it.
    let span = Span::new(address.raw() + (4 << 20), 1 << 20).unwrap();
    let part = ram.part(span).unwrap();
    assert!(ram.part(span).is_err());
    assert_eq!(part.allocate(1 << 20, 1).unwrap().raw(), span.first());
    assert!(part.allocate(1, 1).is_err());
    let rest = u64::try_from(ram.span().len()).unwrap() - ram.used_bytes();
    assert!(ram.allocate(rest, 1).is_err(), "in one piece");
    let mut taken = 0;
    while let Ok(page) = ram.allocate(1 << 20, 1 << 20) {
        assert!(!(span.first()..=span.last()).contains(&page.raw()));
        taken += 1;
    }
    assert!(taken > 400, "{taken}");
}

fn tables_are_words_of<W: Word>(ram: &mut Ram, base: W) {
    let table = <Ram as TableMemory<W>>::allocate(ram, 0x4000, 0x4000).unwrap();
    assert!(table.is_aligned(0x4000));
    let count = 0x4000 / W::BYTES as usize;
    let step = W::truncate(0x1000);
    ram.fill(table, 1, count - 2, base, step);
    let mut value = base;
    for index in 1..count - 1 {
        assert_eq!(TableMemory::<W>::read(ram, table, index), value, "{index}");
        value = value.wrapping_add(step);
    }
    // Neither the word before nor the one after.
    assert_eq!([0, count - 1].map(|index| TableMemory::<W>::read(ram, table, index)), [W::ZERO; 2]);
    let unlike = |ram: &Ram, words, mask| ram.first_unlike(table, words, mask, base);
    let low = W::truncate(0xfff);
    assert_eq!(unlike(ram, 1..count - 1, low), None);
    assert_eq!(unlike(ram, 0..count, low), Some(0));
    assert_eq!(unlike(ram, 1..count, low), Some(count - 1));
    assert_eq!(unlike(ram, 1..count, W::ONES), Some(2));
    assert_eq!(unlike(ram, 5..5, W::ONES), None);
    TableMemory::<W>::write(ram, table, 700, base.wrapping_add(W::truncate(1)));
    assert_eq!(unlike(ram, 1..count, low), Some(700));
    TableMemory::<W>::free(ram, table, 0x4000);
}

#[test]
fn page_tables_live_in_it_whatever_their_words_are() {
    if without_qemu_iommus() {
        return;
    }
    let machine = start(IommuModel::NoneOnArm, &[]);
    let mut ram = machine.ram().clone();
    tables_are_words_of(&mut ram, 0x1234_5678_9abc_def0_u64);
    tables_are_words_of(&mut ram, 0x8765_4321_u32);
    assert!(machine.bus().failure().is_none());
    // Outside of the memory there is nothing, and it is told.
    let outside = PhysicalAddress::new(0x1000);
    TableMemory::<u64>::write(&mut ram, outside, 0, 5);
    assert_eq!(TableMemory::<u64>::read(&ram, outside, 0), u64::MAX);
    assert_eq!(ram.first_unlike(outside, 0..5, u64::MAX, u64::MAX), None);
    let failure = machine.bus().failure().unwrap();
    assert!(matches!(&*failure, Error::Argument { what } if what.contains("0x1000")), "{failure}");
    machine.bus().forget_failure();
    assert!(machine.bus().failure().is_none());
}
