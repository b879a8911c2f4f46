//! Every error of the control interfaces as a table: what was done, and the number that came back.
#![allow(unsafe_code, reason = "an allocator that fails")]

mod support_control;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use support_control::user::{
    Control, DeviceFile, File, MEMORY, User, control, message_device, platform_device,
};
use support_control::{CPU, EVENTFDS, TestVm, World, guest, token, world};
use vcm_irq::kvm::{Connection, Resample};
use vcm_irq::kvm_vfio::{Attribute, ControlError, GROUP};
use vcm_irq::vfio::{Action, Data, Device, IndexLayout, Request};
use vcm_irq::vgic::CompletionBy;
use vcm_irq::{DeviceInterrupt, Errno, HostInterrupt, Sense, Token};

thread_local! {
    static FAILS: Cell<bool> = const { Cell::new(false) };
}

struct Failing;

// SAFETY: every call is passed on to the system's allocator, or answered with null, which is allowed.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if FAILS.get() {
            return core::ptr::null_mut();
        }
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

fn without_memory<R>(act: impl FnOnce() -> R) -> R {
    FAILS.set(true);
    let result = act();
    FAILS.set(false);
    result
}

const LEVEL: u32 = 77;
const FIRST: DeviceInterrupt = DeviceInterrupt { index: 0, subindex: 0 };
const SECOND: DeviceInterrupt = DeviceInterrupt { index: 1, subindex: 0 };

/// A device with two level-sensitive interrupts as descriptor 3, one with four edges as 4, an eventfd as 5,
/// something else as 6.
struct Setting {
    world: Rc<World>,
    vm: TestVm,
    device: DeviceFile,
    edges: DeviceFile,
    control: Control,
    user: User,
}

fn setting() -> Setting {
    let world = world();
    let vm = world.vm(CompletionBy::Guest);
    let device = platform_device(&world, &[LEVEL, 78]);
    let edges = message_device(&world, 90..94);
    let mut user = User::default();
    user.files.insert(3, File::Device(device.clone()));
    user.files.insert(4, File::Device(edges.clone()));
    user.files.insert(5, File::Eventfd(token(5)));
    user.files.insert(6, File::Other);
    Setting { control: control(&world, &vm), world, vm, device, edges, user }
}

type Outcome = Result<(), ControlError>;

impl Setting {
    fn attribute(&mut self, attribute: u64, argument: (i32, u32, u32, u32)) -> Outcome {
        let (descriptor, index, subindex, gsi) = argument;
        let address = self.user.argument(descriptor, index, subindex, gsi);
        self.control.set_attribute(GROUP, attribute, address, &self.user, &self.user).map(|_| ())
    }
    fn forward(&mut self, argument: (i32, u32, u32, u32)) -> Outcome {
        self.attribute(Attribute::FORWARD_IRQ, argument)
    }
    fn unforward(&mut self, argument: (i32, u32, u32, u32)) -> Outcome {
        self.attribute(Attribute::UNFORWARD_IRQ, argument)
    }
    fn at(&mut self, address: u64) -> Outcome {
        self.user.argument(3, 0, 0, 8);
        self.control.set_attribute(GROUP, Attribute::FORWARD_IRQ, address, &self.user, &self.user).map(|_| ())
    }
    fn connect(&self, device: &DeviceFile, index: u32, trigger: Token) {
        device.connect(&self.world, index, 0, &[Some(trigger)]);
    }
    fn consume(&self, irqfd: Token, number: u32) -> Result<Connection, ControlError> {
        let mut bypass = self.world.bypass.borrow_mut();
        Ok(bypass.register_consumer(irqfd, self.vm.clone(), guest(number), Resample::Producer)?)
    }
    fn request(
        &self,
        device: &DeviceFile,
        action: Action,
        index: u32,
        start: u32,
        data: Data<'_>,
    ) -> Outcome {
        let request = Request { action, index, start, data };
        Ok(device.set_interrupts(&self.world.host, &*self.world, &request)?)
    }
    fn raw(&self, device: &DeviceFile, words: &[u32]) -> Outcome {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        Ok(device.set_interrupts_raw(&self.world.host, &*self.world, &self.user, &bytes)?)
    }
    fn open(&self, interrupts: &[u32]) -> Outcome {
        let interrupts: Vec<_> = interrupts.iter().copied().map(HostInterrupt).collect();
        let layout = [IndexLayout { sense: Sense::Level, interrupts: &interrupts }];
        match Device::open(&self.world.host, &layout) {
            Ok(device) => {
                device.close(&self.world.host, &*self.world);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

type Row = (&'static str, Errno, fn(&mut Setting) -> Outcome);

/// A GSI is counted from interrupt 32 on: 8 is guest interrupt 40.
const TABLE: &[Row] = &[
    // The attributes.
    ("an attribute 0", Errno::NoSuchAttribute, |s| s.attribute(0, (3, 0, 0, 8))),
    ("an attribute 3", Errno::NoSuchAttribute, |s| s.attribute(3, (3, 0, 0, 8))),
    ("an attribute 2^32 + 1", Errno::NoSuchAttribute, |s| s.attribute(1 << 32 | 1, (3, 0, 0, 8))),
    ("another group", Errno::NoSuchAttribute, |s| {
        s.control.has_attribute(GROUP + 1, Attribute::FORWARD_IRQ).map(|_| ())
    }),
    ("an unknown attribute with a bad address", Errno::NoSuchAttribute, |s| {
        s.control.set_attribute(GROUP, 7, 0, &s.user, &s.user).map(|_| ())
    }),
    // The argument.
    ("an argument at address 0", Errno::Fault, |s| s.at(0)),
    ("an argument half readable", Errno::Fault, |s| s.at(MEMORY + 1)),
    ("an argument at the end of the address space", Errno::Fault, |s| s.at(u64::MAX)),
    ("forward: no such descriptor", Errno::BadDescriptor, |s| s.forward((9, 0, 0, 8))),
    ("forward: descriptor -1", Errno::BadDescriptor, |s| s.forward((-1, 0, 0, 8))),
    ("forward: an eventfd", Errno::Invalid, |s| s.forward((5, 0, 0, 8))),
    ("unforward: no such descriptor", Errno::BadDescriptor, |s| s.unforward((9, 0, 0, 8))),
    ("unforward: something else", Errno::Invalid, |s| s.unforward((6, 0, 0, 8))),
    ("forward: no such index", Errno::Invalid, |s| s.forward((3, 2, 0, 8))),
    ("forward: no such sub-index", Errno::Invalid, |s| s.forward((3, 0, 1, 8))),
    ("forward: index 2^32 - 1", Errno::Invalid, |s| s.forward((3, u32::MAX, u32::MAX, 8))),
    ("forward: GSI 988", Errno::Invalid, |s| s.forward((3, 0, 0, 988))),
    ("forward: GSI 2^32 - 1", Errno::Invalid, |s| s.forward((3, 0, 0, u32::MAX))),
    ("unforward: no such index", Errno::Invalid, |s| s.unforward((3, 2, 0, 8))),
    // Who is registered.
    ("forward twice", Errno::Invalid, |s| {
        s.forward((3, 0, 0, 8))?;
        s.forward((3, 0, 0, 8))
    }),
    ("forward twice, as another one", Errno::Invalid, |s| {
        s.forward((3, 0, 0, 8))?;
        s.forward((3, 0, 0, 9))
    }),
    ("unforward what is not forwarded", Errno::Invalid, |s| s.unforward((3, 0, 0, 8))),
    ("unforward twice", Errno::Invalid, |s| {
        s.forward((3, 0, 0, 8))?;
        s.unforward((3, 0, 0, 8))?;
        s.unforward((3, 0, 0, 8))
    }),
    ("unforward what another control forwarded", Errno::Invalid, |s| {
        let mut other = control(&s.world, &s.vm);
        other.forward(&s.device, FIRST, guest(40))?;
        let outcome = s.unforward((3, 0, 0, 8));
        other.release();
        outcome
    }),
    // Who is in the way.
    ("the guest interrupt is another line's", Errno::Busy, |s| {
        s.forward((3, 0, 0, 8))?;
        s.forward((3, 1, 0, 8))
    }),
    ("another control has it", Errno::Busy, |s| {
        let other_vm = s.world.vm(CompletionBy::Guest);
        let mut other = control(&s.world, &other_vm);
        other.forward(&s.device, FIRST, guest(40))?;
        let outcome = s.forward((3, 0, 0, 8));
        other.release();
        outcome
    }),
    ("a trigger that its user listens to", Errno::Busy, |s| {
        s.connect(&s.device, 0, token(5));
        s.forward((3, 0, 0, 8))
    }),
    ("a trigger of another guest interrupt", Errno::Busy, |s| {
        s.consume(token(5), 41)?;
        s.connect(&s.device, 0, token(5));
        s.forward((3, 0, 0, 8))
    }),
    ("the token door has it", Errno::Busy, |s| {
        s.consume(token(5), 40)?;
        s.connect(&s.device, 0, token(5));
        s.forward((3, 0, 0, 8))
    }),
    ("the line is in flight", Errno::Again, |s| {
        s.connect(&s.device, 0, token(5));
        s.world.set(LEVEL, true);
        s.device.connect(&s.world, 0, 0, &[None]);
        s.forward((3, 0, 0, 8))
    }),
    ("the guest interrupt is in flight", Errno::Again, |s| {
        s.vm.pulse(guest(40)).unwrap();
        s.forward((3, 0, 0, 8))
    }),
    ("the guest has it in progress from before", Errno::Again, |s| {
        s.forward((3, 0, 0, 8))?;
        s.world.set(LEVEL, true);
        s.world.enter(s.vm.config().id, CPU);
        s.world.acknowledge(s.vm.config().id, CPU);
        s.unforward((3, 0, 0, 8))?;
        s.forward((3, 0, 0, 8))
    }),
    ("forward without memory", Errno::OutOfMemory, |s| {
        without_memory(|| s.control.forward(&s.device, FIRST, guest(40))).map(|_| ())
    }),
    // The token door.
    ("a second producer", Errno::Busy, |s| {
        let line = |interrupt| s.device.line(interrupt).unwrap();
        let mut bypass = s.world.bypass.borrow_mut();
        bypass.register_producer(token(5), line(FIRST))?;
        Ok(bypass.register_producer(token(5), line(SECOND)).map(|_| ())?)
    }),
    ("a second consumer", Errno::Busy, |s| {
        s.consume(token(5), 40)?;
        s.consume(token(5), 40).map(|_| ())
    }),
    ("an eventfd out of the table", Errno::Invalid, |s| {
        s.consume(token(EVENTFDS as u64 + 1), 40).map(|_| ())
    }),
    ("a consumer that the guest does not have", Errno::Invalid, |s| s.consume(token(5), 31).map(|_| ())),
    ("a producer without memory", Errno::OutOfMemory, |s| {
        let line = s.device.line(FIRST).unwrap();
        let mut bypass = s.world.bypass.borrow_mut();
        Ok(without_memory(|| bypass.register_producer(token(5), line)).map(|_| ())?)
    }),
    ("a consumer without memory", Errno::OutOfMemory, |s| {
        let mut bypass = s.world.bypass.borrow_mut();
        let vm = s.vm.clone();
        Ok(without_memory(|| bypass.register_consumer(token(5), vm, guest(40), Resample::No)).map(|_| ())?)
    }),
    // Devices.
    ("a device on a line that is open", Errno::Busy, |s| s.open(&[100, LEVEL])),
    ("a device on a private interrupt", Errno::Invalid, |s| s.open(&[100, 31])),
    ("a device on no interrupt", Errno::Invalid, |s| s.open(&[u32::MAX])),
    ("a device without memory", Errno::OutOfMemory, |s| {
        let layout = [IndexLayout { sense: Sense::Edge, interrupts: &[HostInterrupt(100)] }];
        match without_memory(|| Device::open(&s.world.host, &layout)) {
            Ok(device) => {
                device.close(&s.world.host, &*s.world);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }),
    // Requests to a device.
    ("set: no such index", Errno::Invalid, |s| {
        s.request(&s.device, Action::Mask, 2, 0, Data::None { count: 1 })
    }),
    ("set: a start behind the end", Errno::Invalid, |s| {
        s.request(&s.edges, Action::Trigger, 0, 4, Data::None { count: 0 })
    }),
    ("set: a count beyond the end", Errno::Invalid, |s| {
        s.request(&s.edges, Action::Trigger, 0, 2, Data::Eventfd(&[None; 3]))
    }),
    ("set: start and count that overflow", Errno::Invalid, |s| {
        s.request(&s.edges, Action::Trigger, 0, 1, Data::None { count: u32::MAX })
    }),
    ("set: mask none", Errno::Invalid, |s| s.request(&s.device, Action::Mask, 0, 0, Data::None { count: 0 })),
    ("set: trigger an empty list", Errno::Invalid, |s| {
        s.request(&s.device, Action::Trigger, 0, 0, Data::Eventfd(&[]))
    }),
    ("set: mask an edge", Errno::Invalid, |s| {
        s.request(&s.edges, Action::Mask, 0, 0, Data::None { count: 1 })
    }),
    ("set: unmask by eventfd", Errno::Unsupported, |s| {
        s.request(&s.device, Action::Unmask, 0, 0, Data::Eventfd(&[Some(token(5))]))
    }),
    ("set: a trigger that is a forwarded interrupt's way", Errno::Invalid, |s| {
        s.request(&s.device, Action::Trigger, 0, 0, Data::Eventfd(&[Token::new(1 << 63 | 40)]))
    }),
    ("set: another trigger while forwarded", Errno::Busy, |s| {
        s.forward((3, 0, 0, 8))?;
        s.request(&s.device, Action::Trigger, 0, 0, Data::Eventfd(&[Some(token(5))]))
    }),
    ("set: disable an index while forwarded", Errno::Busy, |s| {
        s.forward((3, 0, 0, 8))?;
        s.request(&s.device, Action::Trigger, 0, 0, Data::None { count: 0 })
    }),
    ("set: test a trigger while forwarded", Errno::Busy, |s| {
        s.forward((3, 0, 0, 8))?;
        s.request(&s.device, Action::Trigger, 0, 0, Data::Bool(&[true]))
    }),
    ("raw: cut short", Errno::Fault, |s| s.raw(&s.device, &[20, 0x21, 0, 0])),
    ("raw: argsz too small", Errno::Invalid, |s| s.raw(&s.device, &[19, 0x21, 0, 0, 1])),
    ("raw: argsz without the data", Errno::Invalid, |s| s.raw(&s.device, &[20, 0x24, 0, 0, 1, 5])),
    ("raw: data behind the end of memory", Errno::Fault, |s| s.raw(&s.device, &[24, 0x24, 0, 0, 1])),
    ("raw: an unknown flag", Errno::Invalid, |s| s.raw(&s.device, &[20, 0x61, 0, 0, 1])),
    ("raw: no data type", Errno::Invalid, |s| s.raw(&s.device, &[20, 0x20, 0, 0, 1])),
    ("raw: two data types", Errno::Invalid, |s| s.raw(&s.device, &[24, 0x23, 0, 0, 1, 1])),
    ("raw: no action", Errno::Unsupported, |s| s.raw(&s.device, &[20, 0x01, 0, 0, 1])),
    ("raw: two actions", Errno::Unsupported, |s| s.raw(&s.device, &[20, 0x19, 0, 0, 1])),
    ("raw: no such index", Errno::Invalid, |s| s.raw(&s.device, &[20, 0x21, 9, 0, 1])),
    ("raw: no such descriptor", Errno::BadDescriptor, |s| s.raw(&s.device, &[24, 0x24, 0, 0, 1, 9])),
    ("raw: no eventfd", Errno::Invalid, |s| s.raw(&s.device, &[24, 0x24, 0, 0, 1, 6])),
    ("raw: without memory", Errno::OutOfMemory, |s| {
        let words = [24u32, 0x24, 0, 0, 1, 5].map(u32::to_ne_bytes);
        let bytes = words.as_flattened();
        let (device, world) = (&s.device, &s.world);
        Ok(without_memory(|| device.set_interrupts_raw(&world.host, &**world, &s.user, bytes))?)
    }),
];

#[test]
fn every_row() {
    for (what, errno, act) in TABLE {
        let mut s = setting();
        let refused = act(&mut s).expect_err(what);
        assert_eq!(refused.errno(), *errno, "{what}: {refused}");
        assert!(!refused.to_string().is_empty());
        // Nothing is left behind: after a release everything can be forwarded.
        s.control.release();
        s.device.connect(&s.world, 0, 0, &[None]);
        s.device.connect(&s.world, 1, 0, &[None]);
        assert_eq!(s.device.references(), 2, "{what}");
        assert_eq!(s.control.forward(&s.edges, FIRST, guest(60)).map(|_| ()), Ok(()), "{what}");
        s.control.release();
    }
}

#[test]
fn every_number_is_in_the_table() {
    let all = [
        (Errno::NoSuchAttribute, 6),
        (Errno::BadDescriptor, 9),
        (Errno::Again, 11),
        (Errno::OutOfMemory, 12),
        (Errno::Fault, 14),
        (Errno::Busy, 16),
        (Errno::Invalid, 22),
        (Errno::Unsupported, 25),
    ];
    let tested: BTreeSet<i32> = TABLE.iter().map(|(_, errno, _)| errno.number()).collect();
    for (errno, number) in all {
        assert_eq!(errno.number(), number);
        assert!(tested.contains(&number), "{errno}");
    }
}

#[test]
fn an_error_says_who_holds_it() {
    let mut s = setting();
    s.forward((3, 0, 0, 8)).unwrap();
    let says = |outcome: Outcome| outcome.unwrap_err().to_string();
    assert_eq!(
        says(s.forward((3, 0, 0, 9))),
        "device interrupt 0.0 (host interrupt 77) is forwarded already, as guest interrupt 40"
    );
    assert_eq!(
        says(s.forward((3, 1, 0, 8))),
        "device interrupt 1.0: guest interrupt 40 belongs to host interrupt 77"
    );
    assert_eq!(says(s.forward((9, 0, 0, 8))), "descriptor 9: no such descriptor");
    let mut other = control(&s.world, &s.vm);
    assert_eq!(
        says(other.forward(&s.device, FIRST, guest(41)).map(|_| ())),
        "device interrupt 0.0 (host interrupt 77) is virtual machine 0's guest interrupt 40"
    );
    s.consume(token(5), 41).unwrap();
    s.connect(&s.edges, 0, token(5));
    s.consume(token(6), 42).unwrap();
    s.connect(&s.device, 1, token(6));
    let refused = says(s.forward((3, 1, 0, 12)));
    assert_eq!(
        refused,
        "device interrupt 1.0 (host interrupt 78) signals eventfd 6, which interrupts virtual machine 0 as its guest interrupt 42"
    );
}
