//! Faults of the whole machine: told once, answered, and never passed over.

mod machine;
use machine::*;
use vcm::{
    Access as Rights, Answer, Attributes, CpuAddress, FaultAccess, FaultReason, FaultState, Hardware, Part,
    Privilege, Segments,
};
use vcm_platform::{Event, Outcome, Platform, Transfer};
use vcm_soc::hardware::smmu::Invalidations;

#[test]
fn without_a_space_transactions_are_refused() {
    let mut soc = soc("two-banks");
    let capture = soc.devices()[0].handle;
    soc.start(capture, &write(0x8000_0000, 64), Privilege::User).unwrap();
    let events = events(&mut soc);
    let fault = fault(&events);
    assert_eq!(
        (fault.device, fault.address, fault.access, fault.reason, fault.state),
        (capture, 0x8000_0000, FaultAccess::Write, FaultReason::NoContext, FaultState::Terminated)
    );
    assert_eq!(report(&events, capture).outcome, Outcome::Aborted);
}

#[test]
fn a_fault_is_mended_and_the_transfer_goes_on() {
    let mut soc = soc("two-banks");
    let capture = soc.devices()[0].handle;
    let space = space(&mut soc, capture, Part::Whole);
    let fast = memory(&soc, "fast");
    soc.start(capture, &write(0x10_0000, 0x3000), Privilege::User).unwrap();
    let mut mended = 0;
    let mut completed = None;
    while let Some(event) = soc.next_event().unwrap() {
        match event {
            Event::Fault { token, fault } => {
                assert_eq!(fault.state, FaultState::Stalled);
                assert_eq!((fault.reason, fault.access), (FaultReason::Translation, FaultAccess::Write));
                let page = fault.address & !0xfff;
                map(&mut soc, space, page, fast + page - 0x10_0000, 0x1000);
                soc.answer(token, Answer::Retry);
                // A second answer finds nothing that waits.
                soc.answer(token, Answer::Terminate);
                mended += 1;
            }
            Event::Completed { report, .. } => completed = Some(report),
            _ => {}
        }
    }
    let report = completed.unwrap();
    assert_eq!((mended, report.faults, report.bytes_written), (3, 3, 0x3000));
    assert_eq!(report.outcome, Outcome::Completed);
}

#[test]
fn a_fault_that_is_terminated_ends_the_transfer() {
    let mut soc = soc("two-banks");
    let capture = soc.devices()[0].handle;
    let space = space(&mut soc, capture, Part::Whole);
    let fast = memory(&soc, "fast");
    let blocks = [segment(fast, 0x1000)];
    let read_only = Attributes::READ_WRITE.with_access(Rights::READ);
    soc.map(space, 0x10_0000, Segments::new(&blocks, 0, 0x1000), read_only).unwrap();
    soc.start(capture, &write(0x10_0000, 0x1000), Privilege::User).unwrap();
    let Some(Event::Fault { token, fault }) = soc.next_event().unwrap() else { panic!() };
    assert_eq!((fault.reason, fault.state), (FaultReason::Permission, FaultState::Stalled));
    // Unanswered, nothing can go on.
    assert!(soc.next_event().unwrap_err().to_string().contains("1 faults wait for an answer"));
    soc.answer(token, Answer::Terminate);
    let events = events(&mut soc);
    let report = report(&events, capture);
    assert_eq!((report.outcome, report.bytes_written, report.faults), (Outcome::Aborted, 0, 1));
    // It was told once.
    assert!(!events.iter().any(|event| matches!(event, Event::Fault { .. })), "{events:?}");
    // The device works on.
    transfer(&mut soc, capture, &Transfer::Read { from: linear(0x10_0000, 0x1000) });
}

#[test]
fn what_leads_to_no_memory_is_told_as_a_bus_fault() {
    let mut soc = soc("two-banks");
    for name in ["dma", "dsp"] {
        let handle = device(&soc, name);
        let at = if name == "dsp" {
            let space = space(&mut soc, handle, Part::Whole);
            map(&mut soc, space, 0x7000_0000, 0x1000_0000, 0x1000);
            0x7000_0000
        } else {
            0x1000_0000
        };
        soc.start(handle, &write(at, 64), Privilege::User).unwrap();
        let events = events(&mut soc);
        let fault = fault(&events);
        assert_eq!((fault.reason, fault.address, fault.device), (FaultReason::Bus, at, handle));
    }
}

#[test]
fn supervisors_memory_is_not_a_users() {
    let mut soc = soc("msm8x60");
    let (dsp, cpu) = (device(&soc, "dsp"), device(&soc, "cpu"));
    let main = soc.memories().last().unwrap().span.first();
    let window = soc.cpu_span().first();
    let attributes = Attributes::READ_WRITE.with_privilege(Privilege::Supervisor);
    let blocks = [segment(main, 0x1000)];
    for handle in [dsp, cpu] {
        let space = space(&mut soc, handle, Part::Whole);
        soc.map(space, window, Segments::new(&blocks, 0, 0x1000), attributes).unwrap();
    }
    soc.cpu_write(CpuAddress::new(window), &[1]).unwrap();
    soc.start(dsp, &Transfer::Read { from: linear(window, 64) }, Privilege::User).unwrap();
    assert_eq!(fault(&events(&mut soc)).reason, FaultReason::Permission);
    soc.start(dsp, &Transfer::Read { from: linear(window, 64) }, Privilege::Supervisor).unwrap();
    assert_eq!(report(&events(&mut soc), dsp).outcome, Outcome::Completed);
}

/// Behind an SMMU as well, and one transfer's privilege is not the next one's.
#[test]
fn a_masters_transactions_are_made_as_the_transfer_says() {
    let mut soc = soc("msm8x60");
    let decoder = device(&soc, "vcodec_a_mm1");
    let video = space(&mut soc, decoder, Part::Whole);
    let main = soc.memories().last().unwrap().span.first();
    let attributes = Attributes::READ_WRITE.with_privilege(Privilege::Supervisor);
    soc.map(video, 0x1000_0000, Segments::new(&[segment(main, 0x1000)], 0, 0x1000), attributes).unwrap();
    let read = Transfer::Read { from: linear(0x1000_0000, 64) };
    for _ in 0..2 {
        soc.start(decoder, &read, Privilege::User).unwrap();
        let Some(Event::Fault { token, fault }) = soc.next_event().unwrap() else { panic!("no fault") };
        assert_eq!(fault.reason, FaultReason::Permission);
        soc.answer(token, Answer::Terminate);
        assert_eq!(report(&events(&mut soc), decoder).outcome, Outcome::Aborted);
        soc.start(decoder, &read, Privilege::Supervisor).unwrap();
        assert_eq!(report(&events(&mut soc), decoder).outcome, Outcome::Completed);
    }
}

#[test]
fn a_left_out_invalidation_is_an_error_of_the_run() {
    for (name, invalidations) in
        [("vcodec_a_mm1", Invalidations::Obeyed), ("vcodec_a_mm1", Invalidations::Ignored)]
    {
        let mut soc = soc("msm8x60");
        let decoder = device(&soc, name);
        let video = space(&mut soc, decoder, Part::Whole);
        let main = soc.memories().last().unwrap().span.first();
        map(&mut soc, video, 0x1000_0000, main, 0x1_0000);
        transfer(&mut soc, decoder, &write(0x1000_0000, 0x1_0000));
        soc.set_invalidations(invalidations);
        let _ = soc.unmap(video, span(0x1000_0000, 0x1_0000)).unwrap();
        soc.memory_returned(segment(main, 0x1_0000));
        soc.start(decoder, &write(0x1000_0000, 64), Privilege::User).unwrap();
        match soc.next_event() {
            Ok(Some(Event::Fault { .. })) => assert_eq!(invalidations, Invalidations::Obeyed),
            Err(error) => {
                assert_eq!(invalidations, Invalidations::Ignored);
                let text = error.to_string();
                assert!(text.starts_with("memory that was given back was reached: vcodec_a: "), "{text}");
                assert!(text.contains("MID 0, context"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_device_detached_in_the_middle_of_a_transfer_is_refused() {
    let mut soc = soc("two-banks");
    let capture = soc.devices()[0].handle;
    let space = space(&mut soc, capture, Part::Whole);
    let main = memory(&soc, "main");
    map(&mut soc, space, 0, main, 0x40_0000);
    soc.start(capture, &write(0, 0x40_0000), Privilege::User).unwrap();
    assert!(matches!(soc.next_event().unwrap(), Some(Event::Progress { done: 0x10_0000, .. })));
    let _ = soc.detach(space, capture, Part::Whole).unwrap();
    let events = events(&mut soc);
    assert_eq!(fault(&events).reason, FaultReason::NoContext);
    assert_eq!(report(&events, capture).outcome, Outcome::Aborted);
}

#[test]
fn a_stalled_device_can_be_detached() {
    let mut soc = soc("two-banks");
    let capture = soc.devices()[0].handle;
    let space = space(&mut soc, capture, Part::Whole);
    soc.start(capture, &write(0, 64), Privilege::User).unwrap();
    let Some(Event::Fault { token, .. }) = soc.next_event().unwrap() else { panic!() };
    let _ = soc.detach(space, capture, Part::Whole).unwrap();
    let events = events(&mut soc);
    assert_eq!(report(&events, capture).outcome, Outcome::Aborted);
    soc.answer(token, Answer::Retry);
    assert_eq!(soc.next_event().unwrap(), None);
}
