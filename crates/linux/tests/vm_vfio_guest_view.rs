//! A device's registers in a guest, without anybody in between; and taken away from it.
#![cfg(target_arch = "x86_64")]

mod vm_vfio_support;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vcm::{GuestPhysicalAddress, Span};
use vcm_linux::Error;
use vcm_linux::kvm::vcpu::{EmptyBus, Ended, Running, Start, Vcpu};
use vcm_linux::kvm::{InterruptController, Kvm, Protection, Vm};
use vcm_linux::memory::MemoryFile;
use vcm_linux::vfio::{Device, MemoryDecoding};
use vm_vfio_support::edu::{Edu, LIVENESS};
use vm_vfio_support::{EDU, NVME, Space, folder, ways};

const PATIENCE: Duration = Duration::from_secs(10);
const PAGE: u64 = 4096;
const REGISTERS: u32 = 0xe000_0000;
const PROGRAM: u32 = 0x1000;

fn registers(device: &Device) -> Span {
    Span::new(0, device.region(0).unwrap().len).unwrap()
}

/// A guest of `instructions` that has the device's registers.
fn guest(device: &Device, instructions: &[u8]) -> (Vm, Running) {
    let vm = Kvm::open().unwrap().create(InterruptController::None).unwrap();
    let memory = MemoryFile::new("guest", PAGE).unwrap();
    memory.write(0, instructions).unwrap();
    let all = memory.range(0, PAGE).unwrap();
    let at = GuestPhysicalAddress::new;
    vm.memory().map_pieces(at(PROGRAM.into()), &[all], Protection::ReadWrite).unwrap();
    let view = device.host_mapping(0, registers(device)).unwrap();
    vm.memory().map(at(REGISTERS.into()), view, Protection::ReadWrite).unwrap();
    let vcpu = Vcpu::new(&vm, 0).unwrap();
    // No interrupts and no stack: descriptor tables are not looked at.
    let start = Start { instruction: PROGRAM, stack: 0, descriptors: 0, interrupts: 0, argument: 0 };
    vcpu.prepare(start).unwrap();
    (vm, vcpu.run(Arc::new(EmptyBus)).unwrap())
}

/// `mov dword ptr [liveness], value`
fn store(value: u32) -> Vec<u8> {
    [&[0xc7, 0x05][..], &(REGISTERS + LIVENESS).to_le_bytes(), &value.to_le_bytes()].concat()
}

/// `again: mov eax, [liveness]; jmp again`
fn read_for_ever() -> Vec<u8> {
    [&[0xa1][..], &(REGISTERS + LIVENESS).to_le_bytes(), &[0xeb, 0xf9]].concat()
}

fn ended(running: &Running) -> Ended {
    let begun = Instant::now();
    loop {
        match running.ended() {
            Some(ended) => return ended,
            None => assert!(begun.elapsed() < PATIENCE, "it runs on"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_fault(ended: &Ended) -> bool {
    matches!(ended, Ended::Failed(why) if why.contains("Bad address"))
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_guest_reaches_the_device_and_not_this_process() {
    for way in ways() {
        let device = Space::new(way).open(EDU[0]);
        let (_vm, running) = guest(&device, &[store(0x1234_5678), vec![0xf4]].concat());
        assert_eq!(ended(&running), Ended::Halted);
        // The halt. The store did not come here.
        assert_eq!(running.exits(), 1);
        let mut inverted = [0; 4];
        device.read(0, LIVENESS.into(), &mut inverted).unwrap();
        assert_eq!(u32::from_le_bytes(inverted), !0x1234_5678);
    }
}

/// While a guest reads without end, the device is closed, and this process lives; whoever wants the device has it, though the
/// virtual machine lives as well.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_device_that_is_closed_is_let_go_though_a_guest_has_it() {
    for way in ways() {
        let space = Space::new(way);
        let device = space.open(EDU[0]);
        let (vm, running) = guest(&device, &read_for_ever());
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(running.ended(), None);
        device.tear_down();
        let why = ended(&running);
        assert!(is_fault(&why), "{why:?}");
        assert_eq!(vm.memory().mapped().len(), 2);
        assert!(matches!(device.host_mapping(0, registers(&device)), Err(Error::Missing { .. })));
        drop(device);
        if let Space::Container(container) = &space {
            container.close_unused_groups();
        }
        // The driver waits for whoever has it open.
        fs::write(folder(EDU[0]).join("driver/unbind"), EDU[0]).unwrap();
        assert!(!folder(EDU[0]).join("driver").exists());
        drop(vm);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_device_that_does_not_answer_ends_the_guest_alone() {
    for way in ways() {
        let device = Space::new(way).open(EDU[0]);
        let (vm, running) = guest(&device, &read_for_ever());
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(running.ended(), None);
        device.config().unwrap().set_memory_decoding(MemoryDecoding::Off).unwrap();
        let why = ended(&running);
        assert!(is_fault(&why), "{why:?}");
        device.config().unwrap().set_memory_decoding(MemoryDecoding::On).unwrap();
        drop(running);
        // Later accesses find it by themselves.
        let vcpu = Vcpu::new(&vm, 0).unwrap();
        let start = Start { instruction: PROGRAM, stack: 0, descriptors: 0, interrupts: 0, argument: 0 };
        vcpu.prepare(start).unwrap();
        let running = vcpu.run(Arc::new(EmptyBus)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(running.stop(), Ended::Stopped);
        Edu::new(&device);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn only_what_can_be_mapped_is() {
    for way in ways() {
        let device = Space::new(way).open(EDU[0]);
        let len = device.region(0).unwrap().len;
        let refused = |index, first, len| {
            let part = Span::new(first, len).unwrap();
            matches!(device.host_mapping(index, part), Err(Error::Argument { .. }))
        };
        assert!(refused(0, len, PAGE) && refused(0, len - PAGE, 2 * PAGE) && refused(0, 0, 100));
        assert!(refused(0, 100, PAGE) && refused(1, 0, PAGE) && refused(99, 0, PAGE));
        assert!(refused(vcm_linux::vfio::CONFIG_REGION, 0, PAGE));
        let last = device.host_mapping(0, Span::new(len - PAGE, PAGE).unwrap()).unwrap();
        assert_eq!(last.len(), PAGE);
        let nvme = Space::new(way).open(NVME[0]);
        assert_eq!(nvme.host_mapping(0, Span::new(PAGE, PAGE).unwrap()).unwrap().len(), PAGE);
    }
}
