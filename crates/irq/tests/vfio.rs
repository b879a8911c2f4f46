//! A device's interrupts and what its user does with them.

mod support_control;

use proptest::prelude::*;
use std::rc::Rc;
use support_control::user::{DeviceFile, File, User, message_device, platform_device};
use support_control::{World, token, world};
use vcm_irq::host::{Handled, OpenError};
use vcm_irq::vfio::{
    Action, Data, Device, IndexInfo, IndexLayout, OpenDeviceError, RawData, RawRequest, Request, RequestError,
};
use vcm_irq::{DeviceInterrupt, Errno, HostInterrupt, Sense};

const LEVEL: u32 = 77;

fn act(
    world: &Rc<World>,
    device: &DeviceFile,
    action: Action,
    start: u32,
    data: Data<'_>,
) -> Result<(), Errno> {
    let request = Request { action, index: 0, start, data };
    device.set_interrupts(&world.host, &**world, &request).map_err(|error| error.errno())
}

#[test]
fn an_index_says_what_it_is() {
    let world = world();
    let level = platform_device(&world, &[LEVEL, 78]);
    let edges = message_device(&world, 90..94);
    let info = level.info(1).unwrap();
    assert_eq!((level.indexes(), info.count, info.flags()), (2, 1, 7));
    assert_eq!(info.flags(), IndexInfo::EVENTFD | IndexInfo::MASKABLE | IndexInfo::AUTOMASKED);
    let info = edges.info(0).unwrap();
    assert_eq!((info.count, info.flags()), (4, IndexInfo::EVENTFD));
    assert_eq!(edges.info(1), None);
    let line = edges.line(DeviceInterrupt { index: 0, subindex: 3 }).unwrap();
    assert_eq!(line.interrupt(), HostInterrupt(93));
    assert_eq!(edges.line(DeviceInterrupt { index: 0, subindex: 4 }), None);
}

#[test]
fn a_device_is_opened_whole_or_not_at_all() {
    let world = world();
    let owner = platform_device(&world, &[LEVEL]);
    let interrupts = [90, 91, LEVEL].map(HostInterrupt);
    let layout = [
        IndexLayout { sense: Sense::Edge, interrupts: &[] },
        IndexLayout { sense: Sense::Edge, interrupts: &interrupts },
    ];
    let refused = OpenDeviceError::Line {
        interrupt: DeviceInterrupt { index: 1, subindex: 2 },
        error: OpenError::Open(HostInterrupt(LEVEL)),
    };
    assert_eq!(Device::open(&world.host, &layout).map(|_| ()), Err(refused));
    for interrupt in [90, 91] {
        assert!(!world.host.state(HostInterrupt(interrupt)).unwrap().open);
    }
    drop(owner);
    let device = Device::open(&world.host, &layout).unwrap();
    assert_eq!(device.info(0).map(|info| info.count), Some(0));
    device.close(&world.host, &*world);
    assert!(!world.host.state(HostInterrupt(90)).unwrap().open);
}

#[test]
fn a_level_is_masked_when_it_was_signalled_until_its_user_unmasks() {
    let world = world();
    let device = platform_device(&world, &[LEVEL]);
    assert_eq!(world.set(LEVEL, true), [], "no trigger is connected");
    device.connect(&world, 0, 0, &[Some(token(5))]);
    assert_eq!(world.run(), [Handled::Automasked], "what came before comes now");
    assert_eq!(*world.heard.borrow(), [token(5)]);
    assert_eq!(world.run(), []);
    act(&world, &device, Action::Unmask, 0, Data::None { count: 1 }).unwrap();
    assert_eq!(world.run(), [Handled::Automasked], "the device still asks");
    world.set(LEVEL, false);
    act(&world, &device, Action::Unmask, 0, Data::None { count: 1 }).unwrap();
    assert_eq!(world.run(), []);
}

#[test]
fn masked_by_the_user_and_automasked_are_two_things() {
    let world = world();
    let device = platform_device(&world, &[LEVEL]);
    device.connect(&world, 0, 0, &[Some(token(5))]);
    act(&world, &device, Action::Mask, 0, Data::Bool(&[false])).unwrap();
    assert!(!world.host.state(HostInterrupt(LEVEL)).unwrap().user_masked);
    act(&world, &device, Action::Mask, 0, Data::Bool(&[true])).unwrap();
    let state = world.host.state(HostInterrupt(LEVEL)).unwrap();
    assert!(state.user_masked && !state.automasked);
    assert_eq!(world.set(LEVEL, true), []);
    act(&world, &device, Action::Unmask, 0, Data::Bool(&[true])).unwrap();
    assert_eq!(world.run(), [Handled::Automasked]);
    let state = world.host.state(HostInterrupt(LEVEL)).unwrap();
    assert!(!state.user_masked && state.automasked);
}

#[test]
fn triggers_are_connected_tested_replaced_and_disabled() {
    let world = world();
    let device = message_device(&world, 90..94);
    let triggers = [Some(token(1)), None, Some(token(3))];
    device.connect(&world, 0, 1, &triggers);
    let connected = |subindex| device.trigger(DeviceInterrupt { index: 0, subindex });
    assert_eq!([0, 1, 2, 3].map(connected), [None, triggers[0], triggers[1], triggers[2]]);
    // A test signals those which are connected.
    act(&world, &device, Action::Trigger, 0, Data::None { count: 4 }).unwrap();
    assert_eq!(world.heard.take(), [token(1), token(3)]);
    act(&world, &device, Action::Trigger, 1, Data::Bool(&[false, true, true])).unwrap();
    assert_eq!(world.heard.take(), [token(3)]);
    // The device does too, each edge once.
    assert_eq!(world.set(91, true), [Handled::Signalled]);
    assert_eq!(world.heard.take(), [token(1)]);
    device.connect(&world, 0, 1, &[Some(token(4))]);
    world.set(91, false);
    assert_eq!(world.set(91, true), [Handled::Signalled]);
    assert_eq!(world.heard.take(), [token(4)]);
    // -1 disables one, and none at all the index.
    device.connect(&world, 0, 1, &[None]);
    assert_eq!((connected(1), connected(3)), (None, Some(token(3))));
    act(&world, &device, Action::Trigger, 0, Data::None { count: 0 }).unwrap();
    assert_eq!([0, 1, 2, 3].map(connected), [None; 4]);
    assert_eq!(world.set(93, true), []);
    act(&world, &device, Action::Trigger, 0, Data::None { count: 4 }).unwrap();
    assert_eq!(world.heard.take(), []);
}

#[test]
fn a_request_that_is_refused_changes_nothing() {
    let world = world();
    let vm = world.vm(vcm_irq::vgic::CompletionBy::Guest);
    let device = message_device(&world, 90..94);
    device.connect(&world, 0, 0, &[Some(token(1)), Some(token(2))]);
    let mut control = support_control::user::control(&world, &vm);
    let last = DeviceInterrupt { index: 0, subindex: 3 };
    control.forward(&device, last, support_control::guest(40)).unwrap();
    let all = [Some(token(7)), None, None, Some(token(8))];
    assert_eq!(act(&world, &device, Action::Trigger, 0, Data::Eventfd(&all)), Err(Errno::Busy));
    let connected = |subindex| device.trigger(DeviceInterrupt { index: 0, subindex });
    assert_eq!([0, 1, 2, 3].map(connected), [Some(token(1)), Some(token(2)), None, None]);
    // What says of the one that is lent what is so already, is not refused.
    let all = [Some(token(7)), None, None, None];
    assert_eq!(act(&world, &device, Action::Trigger, 0, Data::Eventfd(&all)), Ok(()));
    assert_eq!([0, 1].map(connected), [Some(token(7)), None]);
    assert!(world.host.state(HostInterrupt(93)).unwrap().forwarded);
    control.release();
}

#[test]
fn a_device_that_is_closed_says_nothing_any_more() {
    let world = world();
    let device = platform_device(&world, &[LEVEL]);
    device.connect(&world, 0, 0, &[Some(token(5))]);
    world.set(LEVEL, true);
    let line = device.line(DeviceInterrupt { index: 0, subindex: 0 }).unwrap();
    drop(device);
    world.heard.take();
    let state = world.host.state(HostInterrupt(LEVEL)).unwrap();
    assert!(!state.open && !state.automasked);
    world.host.unmask(line);
    world.host.connect(line, Some(token(5))).unwrap();
    assert_eq!(world.run(), [], "a stale name does nothing");
    assert_eq!(world.heard.take(), []);
}

#[test]
fn requests_as_bytes() {
    let world = world();
    let device = message_device(&world, 90..94);
    let mut user = User::default();
    user.files.insert(5, File::Eventfd(token(5)));
    let send = |words: &[u32]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        device.set_interrupts_raw(&world.host, &*world, &user, &bytes)
    };
    // argsz, flags, index, start, count, data
    send(&[28, 0x24, 0, 1, 2, 5, u32::MAX]).unwrap();
    assert_eq!(device.trigger(DeviceInterrupt { index: 0, subindex: 1 }), Some(token(5)));
    send(&[22, 0x22, 0, 1, 2, 0x0001]).unwrap();
    assert_eq!(world.heard.take(), [token(5)], "a byte for each");
    send(&[20, 0x21, 0, 0, 0]).unwrap();
    assert_eq!(device.trigger(DeviceInterrupt { index: 0, subindex: 1 }), None);
    // As many as it says are never allocated for.
    let huge = send(&[u32::MAX, 0x22, 0, 0, u32::MAX - 20]);
    assert_eq!(huge.map_err(|error| error.errno()), Err(Errno::Fault));
    let huge = send(&[20, 0x21, 0, 2, u32::MAX - 1]);
    assert_eq!(huge, Err(RequestError::Range { index: 0, start: 2, count: u32::MAX - 1, existing: 4 }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a user writes, it is a request that says what its bytes say, or an error.
    #[test]
    fn any_bytes(
        flags in prop_oneof![0..64u32, any::<u32>()],
        argsz in prop_oneof![0..64u32, any::<u32>()],
        count in prop_oneof![0..12u32, any::<u32>()],
        start in 0..6u32,
        data in prop::collection::vec(any::<u8>(), 0..50),
        cut in 0..80usize,
    ) {
        let mut bytes: Vec<u8> = [argsz, flags, 0, start, count].iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend(&data);
        bytes.truncate(cut);
        if let Ok(raw) = RawRequest::parse(&bytes) {
            let length = match raw.data {
                RawData::None => 0,
                RawData::Bool(bytes) => { prop_assert_eq!(bytes.len(), count as usize); count },
                RawData::Eventfd(bytes) => { prop_assert_eq!(bytes.len(), 4 * count as usize); 4 * count },
            };
            prop_assert!(20 + length <= argsz && 20 + length as usize <= bytes.len());
            prop_assert!((flags & 7).is_power_of_two() && (flags >> 3).is_power_of_two() && flags < 64);
        }
        let world = world();
        let device = message_device(&world, 90..94);
        let answer = device.set_interrupts_raw(&world.host, &*world, &User::default(), &bytes);
        if start + count.min(9) > 4 {
            prop_assert!(answer.is_err());
        }
    }
}
