//! Fault hooks. In the original the document and the code disagreed on what the answer's numbers meant, and a
//! fault without a hook brought the kernel down.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::machine::{self, Blocked};
use support::world::{RW, World, span};
use vcm::{
    Answer, DeviceHandle, DeviceRequest, Error, Fault, FaultAccess, FaultReason, FaultState, Graph, Handled,
    Hardware, RETRY_LIMIT, RegionKind, SIZE_4K, SIZE_64K, Verdict,
};

fn fault(address: u64) -> Fault {
    Fault {
        device: machine::CODEC_A,
        address,
        access: FaultAccess::Write,
        reason: FaultReason::Translation,
        state: FaultState::Stalled,
    }
}

fn handle(world: &mut World, fault: &Fault) -> Verdict {
    world.graph.handle_fault(fault, &mut world.machine)
}

/// A hook that answers the same every time.
fn always(answer: Answer) -> Box<dyn vcm::FaultHook> {
    Box::new(move |_: &Fault, _: &mut Graph, _: &mut dyn Hardware| answer)
}

#[test]
fn a_hook_backs_on_demand_and_the_transaction_goes_through() {
    let mut world = World::new();
    let region = world.translated("demand");
    world.activate(region, world.devices.codec_a);
    let reservation = world.reserve(region, SIZE_64K);
    let memory = world.allocate("memory", SIZE_64K);
    let hook = move |fault: &Fault, graph: &mut Graph, hardware: &mut dyn Hardware| {
        assert_eq!(graph.reservation_at(region, fault.address), Some(reservation));
        match graph.back(reservation, memory, hardware) {
            Ok(()) => Answer::Retry,
            Err(_) => Answer::Terminate,
        }
    };
    let before = world.graph.hook(world.devices.codec_a, Box::new(hook)).unwrap();
    assert!(before.is_none());
    assert!(world.graph.devices().any(|device| device.id == world.devices.codec_a && device.hooked));
    let at = world.at(reservation) + 0x20;
    assert_eq!(world.machine.access(machine::CODEC_A, at), Err(Blocked::Translation));
    let verdict = handle(&mut world, &fault(at));
    let wanted = Verdict {
        answer: Answer::Retry,
        handled: Handled::ByHook,
        device: Some(world.devices.codec_a),
        region: Some(region),
        reservation: Some(reservation),
    };
    assert_eq!(verdict, wanted);
    assert_eq!(world.machine.access(machine::CODEC_A, at), Ok(world.memory_at(memory).raw() + 0x20));
    // The second time backing fails, and the hook says so.
    assert_eq!(handle(&mut world, &fault(at)).answer, Answer::Terminate);
}

#[test]
fn without_a_hook_one_warning_and_an_end() {
    let mut world = World::new();
    let device = world.devices.codec_a;
    let nobody = |warn| (Answer::Terminate, Handled::ByNobody { warn });
    let ask = |world: &mut World| {
        let verdict = handle(world, &fault(0x1000));
        assert_eq!((verdict.device, verdict.region), (Some(device), None));
        (verdict.answer, verdict.handled)
    };
    assert_eq!(ask(&mut world), nobody(true));
    assert_eq!(ask(&mut world), nobody(false));
    assert_eq!(ask(&mut world), nobody(false));
    // A hook that came and went: the next is worth a warning again.
    world.graph.hook(device, always(Answer::Terminate)).unwrap();
    assert_eq!(ask(&mut world), (Answer::Terminate, Handled::ByHook));
    assert!(world.graph.unhook(device).unwrap().is_some());
    assert_eq!(ask(&mut world), nobody(true));
    assert!(world.graph.unhook(device).unwrap().is_none());

    let stranger = Fault { device: DeviceHandle(77), ..fault(0) };
    let verdict = handle(&mut world, &stranger);
    assert_eq!((verdict.answer, verdict.handled), (Answer::Terminate, Handled::UnknownDevice));
    assert_eq!(verdict.device, None);
    let gone = world.devices.dsp;
    world.graph.remove_device(gone).unwrap();
    assert!(
        matches!(world.graph.hook(gone, always(Answer::Retry)), Err(Error::UnknownDevice(id)) if id == gone)
    );
    assert!(matches!(world.graph.unhook(gone), Err(Error::UnknownDevice(id)) if id == gone));
}

#[test]
fn endless_retries_are_overruled() {
    let mut world = World::new();
    world.graph.hook(world.devices.codec_a, always(Answer::Retry)).unwrap();
    for round in 0..3 {
        for count in 1..RETRY_LIMIT {
            let verdict = handle(&mut world, &fault(0x1000));
            assert_eq!(
                (verdict.answer, verdict.handled),
                (Answer::Retry, Handled::ByHook),
                "{round}: {count}"
            );
        }
        let verdict = handle(&mut world, &fault(0x1000));
        assert_eq!((verdict.answer, verdict.handled), (Answer::Terminate, Handled::Overruled), "{round}");
    }
    // A device that makes progress is not stopped.
    for page in 0..u64::from(4 * RETRY_LIMIT) {
        assert_eq!(handle(&mut world, &fault(page * SIZE_4K)).answer, Answer::Retry);
    }
}

/// Retries are counted in a row at one address: a hook that pages between two addresses makes progress, and goes on
/// as long as it likes.
#[test]
fn a_fault_at_another_address_starts_the_count_anew() {
    let mut world = World::new();
    world.graph.hook(world.devices.codec_a, always(Answer::Retry)).unwrap();
    for round in 0..u64::from(4 * RETRY_LIMIT) {
        let verdict = handle(&mut world, &fault(round % 2 * SIZE_4K));
        assert_eq!((verdict.answer, verdict.handled), (Answer::Retry, Handled::ByHook), "{round}");
    }
    for _ in 1..RETRY_LIMIT - 1 {
        assert_eq!(handle(&mut world, &fault(SIZE_4K)).answer, Answer::Retry);
    }
    assert_eq!(handle(&mut world, &fault(SIZE_4K)).handled, Handled::Overruled);
}

#[test]
fn what_was_terminated_already_is_not_retried() {
    let mut world = World::new();
    world.graph.hook(world.devices.codec_a, always(Answer::Retry)).unwrap();
    let over = Fault { state: FaultState::Terminated, ..fault(0x1000) };
    for _ in 0..2 * RETRY_LIMIT {
        let verdict = handle(&mut world, &over);
        assert_eq!((verdict.answer, verdict.handled), (Answer::Terminate, Handled::ByHook));
    }
}

#[test]
fn a_hook_may_replace_itself() {
    let mut world = World::new();
    let device = world.devices.codec_a;
    let hook = move |_: &Fault, graph: &mut Graph, _: &mut dyn Hardware| {
        let before = graph.hook(device, always(Answer::Terminate)).unwrap();
        assert!(before.is_none(), "it is running");
        Answer::Retry
    };
    world.graph.hook(device, Box::new(hook)).unwrap();
    assert_eq!(handle(&mut world, &fault(0)).answer, Answer::Retry);
    let verdict = handle(&mut world, &fault(0));
    assert_eq!((verdict.answer, verdict.handled), (Answer::Terminate, Handled::ByHook), "the new one");
}

#[test]
fn a_hook_may_remove_itself() {
    let mut world = World::new();
    let device = world.devices.codec_a;
    let hook = move |_: &Fault, graph: &mut Graph, _: &mut dyn Hardware| {
        assert!(graph.unhook(device).unwrap().is_none());
        Answer::Retry
    };
    world.graph.hook(device, Box::new(hook)).unwrap();
    assert_eq!(handle(&mut world, &fault(0)).answer, Answer::Retry);
    assert!(world.graph.devices().all(|found| !found.hooked));
    assert_eq!(handle(&mut world, &fault(0)).handled, Handled::ByNobody { warn: true });
}

#[test]
fn a_hook_may_remove_its_device() {
    let mut world = World::new();
    let device = world.devices.codec_a;
    let hook = move |_: &Fault, graph: &mut Graph, _: &mut dyn Hardware| {
        graph.remove_device(device).unwrap();
        // Another device in the same slot must not inherit the hook.
        let request = DeviceRequest {
            label: "newcomer".into(),
            handle: machine::CODEC_A,
            kind: RegionKind::Translated,
            reserved: &[],
        };
        graph.add_device(&request).unwrap();
        Answer::Terminate
    };
    world.graph.hook(device, Box::new(hook)).unwrap();
    let verdict = handle(&mut world, &fault(0));
    assert_eq!((verdict.answer, verdict.device), (Answer::Terminate, Some(device)));
    assert!(world.graph.devices().all(|found| !found.hooked));
    assert_eq!(handle(&mut world, &fault(0)).handled, Handled::ByNobody { warn: true });
}

#[test]
fn a_fault_inside_a_hook_does_not_call_it_again() {
    let mut world = World::new();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let hook = move |inner: &Fault, graph: &mut Graph, hardware: &mut dyn Hardware| {
        counted.fetch_add(1, Ordering::Relaxed);
        let nested = graph.handle_fault(inner, hardware);
        assert_eq!((nested.answer, nested.handled), (Answer::Terminate, Handled::ByNobody { warn: false }));
        Answer::Retry
    };
    world.graph.hook(world.devices.codec_a, Box::new(hook)).unwrap();
    for round in 1..=3 {
        assert_eq!(handle(&mut world, &fault(0)).answer, Answer::Retry);
        assert_eq!(calls.load(Ordering::Relaxed), round, "the hook is there for the next fault");
    }
}

#[test]
fn a_hook_that_is_replaced_comes_back_to_its_owner() {
    let mut world = World::new();
    let device = world.devices.codec_a;
    world.graph.hook(device, always(Answer::Retry)).unwrap();
    let before = world.graph.hook(device, always(Answer::Terminate)).unwrap();
    assert_eq!(handle(&mut world, &fault(0)).answer, Answer::Terminate);
    let mut before = before.expect("the first hook");
    assert_eq!(before.on_fault(&fault(0), &mut world.graph, &mut world.machine), Answer::Retry);
}

#[test]
fn the_verdict_names_the_region_behind_the_address() {
    let mut world = World::new();
    let device = world.devices.codec_a;
    let low = world.region("low", RegionKind::Translated, 0, 0x100_0000);
    let high = world.region("high", RegionKind::Translated, 0x8000_0000, 0x100_0000);
    for (region, part) in [(low, vcm::Part::Low { split: 1 }), (high, vcm::Part::High { split: 1 })] {
        let link = world.graph.associate(region, device, part, &mut world.machine).unwrap();
        world.graph.activate(link, &mut world.machine).unwrap();
    }
    let reservation = world.graph.reserve_at(high, 0x8000_1000, SIZE_4K, RW).unwrap();
    let verdict = handle(&mut world, &fault(0x8000_1008));
    assert_eq!((verdict.region, verdict.reservation), (Some(high), Some(reservation)));
    let verdict = handle(&mut world, &fault(0x1008));
    assert_eq!((verdict.region, verdict.reservation), (Some(low), None));
    assert_eq!(fault(0x1008).to_string(), "translation fault: write at 0x1008");
    assert!(world.graph.region(low).unwrap().usable.covers(span(0x1000, SIZE_4K)));
}
