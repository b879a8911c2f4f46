//! Memory at guest physical addresses, as a guest sees it, with `/dev/kvm` of this machine.
//!
//! Without it the tests fail, unless `VCM_WITHOUT_KVM=1` says that this is meant.
#![cfg(target_arch = "x86_64")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses a part of kvm_support")]

mod kvm_support;

use kvm_support::{PATIENCE, PROGRAM, machine, wait_until};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use vcm::{Access, Attributes, CachePolicy, GuestPhysicalAddress, MemoryType, Privilege, Span};
use vcm_linux::kvm::guest::{Acknowledgement, Guest, GuestProgram, Interrupt, Kind, Order, Status, Value};
use vcm_linux::kvm::vcpu::{Bus, EmptyBus};
use vcm_linux::kvm::{Ending, HostMapping, Protection, Vm};
use vcm_linux::memory::{MemoryFile, MemoryPiece, MemoryRange, Stitched};
use vmm_sys_util::eventfd::EventFd;

const PAGE: u64 = 4096;

fn at(address: u64) -> GuestPhysicalAddress {
    GuestPhysicalAddress::new(address)
}

fn span(first: u64, len: u64) -> Span {
    Span::new(first, len).unwrap()
}

/// Notes the guest's accesses where there is no memory.
#[derive(Default)]
struct Notes(Mutex<Vec<(u64, Option<u32>)>>);

impl Bus for Notes {
    fn read(&self, at: GuestPhysicalAddress, into: &mut [u8]) {
        self.0.lock().unwrap().push((at.raw(), None));
        into.fill(0);
        into[0] = 0x77;
    }

    fn write(&self, at: GuestPhysicalAddress, bytes: &[u8]) {
        let value = u32::from_le_bytes(bytes.try_into().unwrap());
        self.0.lock().unwrap().push((at.raw(), Some(value)));
    }
}

/// A guest that copies, at each message, a word from one address to another.
struct Copier {
    guest: Guest,
    triggers: Vec<EventFd>,
}

impl Copier {
    fn new(vm: &Vm, copies: &[(u32, u32)], bus: Arc<dyn Bus>) -> Self {
        let interrupts = copies.iter().enumerate().map(|(number, &(from, to))| Interrupt {
            kind: Kind::Message,
            vector: 0x40 + number as u8,
            status: Some(Status { at: from, mask: u32::MAX }),
            acknowledgement: Some(Acknowledgement { at: to, value: Value::Status }),
            order: Order::QuietThenEnd,
        });
        let program = GuestProgram::new(vm, PROGRAM, 1, &interrupts.collect::<Vec<_>>()).unwrap();
        let triggers = (0..copies.len()).map(|number| {
            let gsi = vm.routing().add(program.message(number).unwrap()).unwrap();
            let trigger = EventFd::new(0).unwrap();
            vm.assign(&trigger, gsi, Ending::Unseen).unwrap();
            trigger
        });
        let triggers = triggers.collect();
        let guest = program.start(bus).unwrap();
        guest.wait_ready(PATIENCE).unwrap();
        Self { guest, triggers }
    }

    /// Lets the guest make one copy.
    fn copy(&self, number: usize) {
        let before = self.guest.counts(number);
        self.triggers[number].write(1).unwrap();
        wait_until("the guest has copied", || {
            assert_eq!(self.guest.ended(), None, "a vCPU does not run");
            let now = self.guest.counts(number);
            now.delivered + now.spurious > before.delivered + before.spurious && !now.in_service
        });
    }
}

#[test]
fn scattered_pieces_are_one_range_and_one_slot() {
    let Some(vm) = machine() else { return };
    let file = |name| MemoryFile::new(name, 16 * PAGE).unwrap();
    let (first, second) = (file("first"), file("second"));
    let pieces = [
        first.range(9 * PAGE, PAGE).unwrap(),
        second.range(3 * PAGE, 2 * PAGE).unwrap(),
        first.range(0, PAGE).unwrap(),
    ];
    let base = 0x1000_0000;
    vm.memory().map_pieces(at(base), &pieces, Protection::ReadWrite).unwrap();
    assert_eq!(vm.memory().slots_used(), 1);
    let places = [0, 1, 2, 3].map(|page| base as u32 + page * 4096);
    let copier = Copier::new(&vm, &places.map(|place| (place + 8, place + 16)), Arc::new(EmptyBus));
    for (number, (file, page)) in
        [(&first, 9), (&second, 3), (&second, 4), (&first, 0)].into_iter().enumerate()
    {
        let value = 0xabcd_0000 + number as u32;
        file.store(page * PAGE + 8, value).unwrap();
        copier.copy(number);
        assert_eq!(file.load::<u32>(page * PAGE + 16).unwrap(), value, "page {number}");
    }
}

#[test]
fn a_guest_sees_the_same_memory_twice_and_beyond_two_mebibytes() {
    let Some(vm) = machine() else { return };
    let file = Arc::new(MemoryFile::new("twice", 4 << 20).unwrap());
    let all = file.range(0, 4 << 20).unwrap();
    vm.memory().map_pieces(at(0x2000_0000), &[all], Protection::ReadWrite).unwrap();
    let stitched = Stitched::new(vec![MemoryPiece::whole(Arc::clone(&file))]).unwrap();
    vm.memory().map(at(0x3000_0000), stitched.into(), Protection::ReadWrite).unwrap();
    let copier = Copier::new(&vm, &[(0x2020_0000, 0x3030_0000)], Arc::new(EmptyBus));
    file.store(0x20_0000, 42_u32).unwrap();
    copier.copy(0);
    assert_eq!(file.load::<u32>(0x30_0000).unwrap(), 42);
}

#[test]
fn writes_to_read_only_memory_come_to_the_vmm() {
    let Some(vm) = machine() else { return };
    let file = MemoryFile::new("rom", PAGE).unwrap();
    let all = file.range(0, PAGE).unwrap();
    vm.memory().map_pieces(at(0x1000_0000), &[all], Protection::ReadOnly).unwrap();
    let notes = Arc::new(Notes::default());
    let copier = Copier::new(&vm, &[(0x1000_0000, 0x1000_0010)], Arc::clone(&notes) as _);
    file.store(0, 99_u32).unwrap();
    copier.copy(0);
    assert_eq!(file.load::<u32>(0x10).unwrap(), 0, "it was written");
    assert_eq!(*notes.0.lock().unwrap(), [(0x1000_0010, Some(99))]);
}

#[test]
fn what_is_unmapped_is_not_reached_any_more_while_the_guest_runs() {
    let Some(vm) = machine() else { return };
    let file = MemoryFile::new("gone", 2 * PAGE).unwrap();
    let (all, other) = (file.range(0, PAGE).unwrap(), file.range(PAGE, PAGE).unwrap());
    let notes = Arc::new(Notes::default());
    let base = 0x1000_0000;
    let copier = Copier::new(&vm, &[(base as u32, base as u32 + 4)], Arc::clone(&notes) as _);
    let copied = || file.load::<u32>(4).unwrap();
    for round in 1..=20_u32 {
        vm.memory().map_pieces(at(base), &[all], Protection::ReadWrite).unwrap();
        file.store(0, round).unwrap();
        copier.copy(0);
        assert_eq!(copied(), round);
        assert!(notes.0.lock().unwrap().is_empty());
        vm.memory().unmap(span(base, PAGE)).unwrap();
        copier.copy(0);
        assert_eq!(copied(), round, "it was reached");
        let noted: Vec<_> = notes.0.lock().unwrap().drain(..).collect();
        assert_eq!(noted, [(base, None), (base + 4, Some(0x77))]);
    }
    // Another thing in its place.
    vm.memory().map_pieces(at(base), &[other], Protection::ReadWrite).unwrap();
    file.store(PAGE, 5_u32).unwrap();
    copier.copy(0);
    assert_eq!(file.load::<u32>(PAGE + 4).unwrap(), 5);
}

/// A mapping of `file` that is `file`'s own.
fn vouched(file: &Arc<MemoryFile>) -> HostMapping {
    let address: NonNull<u8> = file.range(0, PAGE).unwrap().address();
    // SAFETY: the file keeps its mapping, which is shared memory that is reached as such only.
    #[allow(unsafe_code, reason = "the test vouches for a file's own mapping")]
    unsafe {
        HostMapping::from_raw(address, PAGE, Arc::clone(file) as _)
    }
}

#[test]
fn a_mapping_that_somebody_vouches_for_is_kept_until_no_vcpu_reaches_it() {
    let Some(vm) = machine() else { return };
    let file = Arc::new(MemoryFile::new("registers", PAGE).unwrap());
    vm.memory().map(at(0x1000_0000), vouched(&file), Protection::ReadWrite).unwrap();
    let copier = Copier::new(&vm, &[(0x1000_0000, 0x1000_0004)], Arc::new(EmptyBus));
    assert_eq!(Arc::strong_count(&file), 2);
    file.store(0, 17_u32).unwrap();
    copier.copy(0);
    assert_eq!(file.load::<u32>(4).unwrap(), 17);
    vm.memory().unmap(span(0x1000_0000, PAGE)).unwrap();
    assert_eq!(Arc::strong_count(&file), 1);
    // And with the virtual machine, when nobody unmaps it.
    vm.memory().map(at(0x1000_0000), vouched(&file), Protection::ReadWrite).unwrap();
    drop(vm);
    assert_eq!(Arc::strong_count(&file), 2, "the guest runs, and has it");
    drop(copier);
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let Some(vm) = machine() else { return };
    let memory = vm.memory();
    let file = MemoryFile::new("some", 32 * PAGE).unwrap();
    let pages = |count: u64| file.range(0, count * PAGE).unwrap();
    memory.map_pieces(at(0x10_0000), &[pages(4)], Protection::ReadWrite).unwrap();
    let mapped = memory.mapped();
    let refused = |address: u64, piece: MemoryRange<'_>, why: &str| {
        let error = memory.map_pieces(at(address), &[piece], Protection::ReadWrite).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    };
    for address in [0x10_0000, 0x10_3000, 0xf_f000, 0xf_d000] {
        refused(address, pages(4), "there is memory at 0x100000 to 0x103fff");
    }
    refused(0xf_0000, pages(17), "there is memory at");
    refused(0x20_0100, pages(1), "whole pages");
    refused(0x20_0000, file.range(0, 100).unwrap(), "whole pages");
    refused(0x20_0000, file.range(100, PAGE).unwrap(), "whole pages");
    refused(0xfec0_0000, pages(1), "I/O APIC");
    refused(0xfedf_f000, pages(2), "local APICs");
    refused(0u64.wrapping_sub(PAGE), pages(2), "beyond the last address");
    assert!(memory.map_pieces(at(0x20_0000), &[], Protection::ReadWrite).is_err());
    let error = memory.unmap(span(0x10_1000, PAGE)).unwrap_err();
    assert!(error.to_string().contains("only a part of the mapping at 0x100000 to 0x103fff"), "{error}");
    assert!(memory.unmap(span(0xf_0000, 0x1_1000)).is_err());
    assert_eq!(memory.mapped(), mapped);
    memory.unmap(span(0x50_0000, PAGE)).unwrap();
    assert_eq!(memory.mapped(), mapped);
    memory.unmap(span(0, 1 << 40)).unwrap();
    assert!(memory.mapped().is_empty());
}

#[test]
fn attributes_that_kvm_cannot_express_are_refused() {
    let access = |access| Attributes { access, ..Attributes::READ_WRITE };
    let all = access(Access::all());
    assert_eq!(Protection::of(access(Access::all())).unwrap(), Protection::ReadWrite);
    assert_eq!(Protection::of(access(Access::READ | Access::EXECUTE)).unwrap(), Protection::ReadOnly);
    let not_cached = MemoryType::Normal(CachePolicy::NotCached);
    let refused = [
        (Attributes::READ_WRITE, "ask for execute"),
        (access(Access::WRITE | Access::EXECUTE), "access -wx"),
        (access(Access::empty()), "access ---"),
        (Attributes { privilege: Privilege::Supervisor, ..all }, "supervisor"),
        (Attributes { memory_type: MemoryType::Device, ..all }, "device"),
        (Attributes { memory_type: not_cached, ..all }, "not-cached"),
    ];
    for (attributes, why) in refused {
        let error = Protection::of(attributes).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn numbers_of_slots_are_used_again() {
    let Some(vm) = machine() else { return };
    let memory = vm.memory();
    let file = Arc::new(MemoryFile::new("one", PAGE).unwrap());
    let limit = vm.capabilities().memory_slots as usize;
    assert_eq!((memory.slots_used(), memory.slots_left()), (0, limit));
    let place = |number: u64| at(0x1_0000_0000 + number * 2 * PAGE);
    for number in 0..100 {
        memory.map(place(number), vouched(&file), Protection::ReadWrite).unwrap();
    }
    assert_eq!((memory.slots_used(), memory.slots_left()), (100, limit - 100));
    let number = memory.mapped()[50].slot;
    memory.unmap(span(place(50).raw(), PAGE)).unwrap();
    memory.map(place(100), vouched(&file), Protection::ReadWrite).unwrap();
    assert_eq!(memory.mapped().last().unwrap().slot, number, "the number is used again");
    drop((memory, vm));
    assert_eq!(Arc::strong_count(&file), 1);
}
