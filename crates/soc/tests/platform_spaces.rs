//! Spaces of the whole machine: split, shared, changed and given up.

mod machine;
use machine::*;
use vcm::{
    Access as Rights, Answer, Attributes, CpuAddress, DeviceHandle, FaultReason, Hardware, HardwareErrorKind,
    Part, PhysicalAddress, Privilege, RegionKind, Segments, SpaceHandle, Span,
};
use vcm_platform::{Event, Platform, Transfer};

#[test]
fn two_spaces_serve_the_two_parts_of_a_split() {
    let mut soc = soc("msm8x60");
    let rotator = device(&soc, "rot_src");
    let main = soc.memories().last().unwrap().span.first();
    let low = space(&mut soc, rotator, Part::Low { split: 2 });
    map(&mut soc, low, 0x3ff0_0000, main, 0x10_0000);
    assert_eq!(soc.format(rotator, Part::High { split: 2 }).unwrap().addresses.first(), 0x4000_0000);
    let high = space(&mut soc, rotator, Part::High { split: 2 });
    map(&mut soc, high, 0x4000_0000, main + 0x40_0000, 0x10_0000);
    transfer(&mut soc, rotator, &write(0x3fff_8000, 0x1_0000));
    let mut bytes = vec![0; 0x1_0000];
    soc.with_board(|board| {
        board.bus().read(main + 0xf_8000, &mut bytes[..0x8000]).unwrap();
        board.bus().read(main + 0x40_0000, &mut bytes[0x8000..]).unwrap();
    });
    assert_eq!(bytes, made(0x1_0000));
    // The high part goes; the low one serves on.
    let _ = soc.detach(high, rotator, Part::High { split: 2 }).unwrap();
    soc.start(rotator, &write(0x3fff_8000, 0x1_0000), Privilege::User).unwrap();
    let Some(Event::Fault { token, fault }) = soc.next_event().unwrap() else { panic!() };
    assert_eq!(fault.address, 0x4000_0000);
    soc.answer(token, Answer::Terminate);
    events(&mut soc);
    // What does not go together is refused.
    let format = soc.format(rotator, Part::Whole).unwrap();
    let whole = soc.create_space(RegionKind::Translated, format, format.addresses).unwrap();
    assert_eq!(soc.attach(whole, rotator, Part::Whole).unwrap_err().kind, HardwareErrorKind::Occupied);
    assert_eq!(
        soc.attach(high, rotator, Part::High { split: 3 }).unwrap_err().kind,
        HardwareErrorKind::NotSupported
    );
}

#[test]
fn one_space_serves_devices_behind_several_smmus() {
    let mut soc = soc("msm8x60");
    let (first, second) = (device(&soc, "vfe_imgwr"), device(&soc, "vpe_src"));
    let shared = space(&mut soc, first, Part::Whole);
    soc.attach(shared, second, Part::Whole).unwrap();
    let main = soc.memories().last().unwrap().span.first();
    map(&mut soc, shared, 0x1000_0000, main, 0x1_0000);
    transfer(&mut soc, first, &write(0x1000_0000, 0x1_0000));
    let read = transfer(&mut soc, second, &Transfer::Read { from: linear(0x1000_0000, 0x1_0000) });
    let mut expected = vcm_platform::Checksum::new();
    expected.update(&made(0x1_0000));
    assert_eq!(read.checksum, expected.value());
    // Unmapped once, it is gone from both TLBs: the oracle would tell.
    let _ = soc.unmap(shared, span(0x1000_0000, 0x1_0000)).unwrap();
    soc.memory_returned(segment(main, 0x1_0000));
    for device in [first, second] {
        soc.start(device, &write(0x1000_0000, 64), Privilege::User).unwrap();
        let Some(Event::Fault { token, fault }) = soc.next_event().unwrap() else { panic!() };
        assert_eq!(fault.reason, FaultReason::Translation);
        soc.answer(token, Answer::Terminate);
        events(&mut soc);
    }
}

#[test]
fn several_spaces_share_the_cpus_table() {
    let mut soc = soc("two-banks");
    let cpu = device(&soc, "cpu");
    let format = soc.format(cpu, Part::Whole).unwrap();
    let window = soc.cpu_span().first();
    let main = memory(&soc, "main");
    let spaces = [0, 1].map(|index| {
        let span = span(window + index * 0x3000, 0x3000);
        soc.create_space(RegionKind::Cpu, format, span).unwrap()
    });
    // Mapped before it is attached, and after.
    map(&mut soc, spaces[0], window, main, 0x3000);
    assert!(soc.cpu_read(CpuAddress::new(window), &mut [0]).is_err());
    for space in spaces {
        soc.attach(space, cpu, Part::Whole).unwrap();
    }
    map(&mut soc, spaces[1], window + 0x3000, main + 0x8000, 0x3000);
    soc.cpu_write(CpuAddress::new(window + 0x2ffe), &[1, 2, 3, 4]).unwrap();
    let mut bytes = [0; 2];
    soc.with_board(|board| board.bus().read(main + 0x8000, &mut bytes)).unwrap();
    assert_eq!(bytes, [3, 4]);
    // Outside a space's own addresses nothing is mapped.
    let blocks = [segment(main, 0x1000)];
    let outside =
        soc.map(spaces[0], window + 0x3000, Segments::new(&blocks, 0, 0x1000), Attributes::READ_WRITE);
    assert_eq!(outside.unwrap_err().kind, HardwareErrorKind::Address);
    // One page, then one space go; the TLB forgets them.
    let _ = soc.unmap(spaces[1], span(window + 0x4000, 0x1000)).unwrap();
    assert!(soc.cpu_read(CpuAddress::new(window + 0x4000), &mut [0]).is_err());
    assert!(soc.cpu_read(CpuAddress::new(window + 0x5000), &mut [0]).is_ok());
    let _ = soc.detach(spaces[0], cpu, Part::Whole).unwrap();
    let error = soc.cpu_read(CpuAddress::new(window), &mut [0]).unwrap_err();
    assert_eq!(error.to_string(), format!("the CPU reads: translation fault: read at {window:#x}"));
    assert!(soc.cpu_read(CpuAddress::new(window + 0x3000), &mut [0]).is_ok());
    for space in spaces {
        soc.destroy_space(space);
    }
    assert!(soc.cpu_read(CpuAddress::new(window + 0x3000), &mut [0]).is_err());
    assert_eq!(
        soc.unmap(spaces[0], span(window, 0x1000)).unwrap_err().error.kind,
        HardwareErrorKind::Unknown
    );
}

#[test]
fn holes_are_passed_over_and_large_pages_are_split() {
    let mut soc = soc("msm8x60");
    let decoder = device(&soc, "vcodec_a_mm1");
    let video = space(&mut soc, decoder, Part::Whole);
    let main = soc.memories().last().unwrap().span.first();
    map(&mut soc, video, 0x1000_0000, main, 0x10_0000);
    map(&mut soc, video, 0x1030_0000, main + 0x30_0000, 0x10_0000);
    // From the middle of the first megabyte over the hole into the second.
    let _ = soc.unmap(video, span(0x1008_0000, 0x30_0000 - 0x8_0000 + 0x1000)).unwrap();
    assert!(soc.walk(video, 0x1007_ffff).is_some());
    assert!(soc.walk(video, 0x1008_0000).is_none());
    assert!(soc.walk(video, 0x1030_0fff).is_none());
    assert_eq!(soc.walk(video, 0x1030_1000), Some(PhysicalAddress::new(main + 0x30_1000)));
    let _ = soc.unmap(video, Span::ALL).unwrap();
    assert_eq!(soc.leaves(video, Span::ALL).total(), 0);
    assert_eq!(soc.unmap(video, span(0x1800, 0x1000)).unwrap_err().error.kind, HardwareErrorKind::Address);
}

#[test]
fn tables_come_back() {
    let mut soc = soc("msm8x60");
    let before = soc.statistics().table_bytes;
    let guest = device(&soc, "guest0");
    for name in ["vcodec_a_mm1", "rot_src", "guest0", "dsp"] {
        let handle = device(&soc, name);
        let space = space(&mut soc, handle, Part::Whole);
        let main = soc.memories().last().unwrap().span.first();
        for index in 0..20 {
            map(&mut soc, space, 0x5000_0000 + index * 0x20_1000, main + index * 0x1000, 0x1000);
        }
        assert!(soc.statistics().table_bytes > before);
        let _ = soc.detach(space, handle, Part::Whole).unwrap();
        soc.destroy_space(space);
        assert_eq!(soc.statistics().table_bytes, before, "{name}");
    }
    assert_eq!(soc.format(guest, Part::Whole).unwrap().name, "AArch64 stage 2");
}

#[test]
fn errors_of_the_graph_s_side_are_errors() {
    let mut soc = soc("two-banks");
    let (cpu, dma) = (device(&soc, "cpu"), device(&soc, "dma"));
    let nobody = DeviceHandle(99);
    assert_eq!(soc.format(nobody, Part::Whole).unwrap_err().kind, HardwareErrorKind::Unknown);
    assert_eq!(soc.format(cpu, Part::Low { split: 1 }).unwrap_err().kind, HardwareErrorKind::NotSupported);
    let format = soc.format(dma, Part::Whole).unwrap();
    assert_eq!(
        soc.create_space(RegionKind::OneToOne, format, Span::ALL).unwrap_err().kind,
        HardwareErrorKind::NotSupported
    );
    assert_eq!(soc.translate(dma, 5).unwrap(), PhysicalAddress::new(5));
    assert_eq!(soc.translate(nobody, 5).unwrap_err().kind, HardwareErrorKind::Unknown);
    assert_eq!(soc.attach(SpaceHandle(77), cpu, Part::Whole).unwrap_err().kind, HardwareErrorKind::Unknown);
    assert!(soc.start(nobody, &write(0, 1), Privilege::User).is_err());
    assert_eq!(soc.walk(SpaceHandle(77), 0), None);
    soc.destroy_space(SpaceHandle(77));
    // Supersections reach no more than 32 bits of physical address.
    let capture = soc.devices()[0].handle;
    let space = space(&mut soc, capture, Part::Whole);
    let blocks = [segment(1 << 32, 0x1000)];
    let beyond = soc.map(space, 0, Segments::new(&blocks, 0, 0x1000), Attributes::READ_WRITE);
    assert_eq!(beyond.unwrap_err().kind, HardwareErrorKind::Address);
    let blocks = [segment(0x8000_0000, 0x1000)];
    let nothing = Attributes::READ_WRITE.with_access(Rights::empty());
    let refused = soc.map(space, 0, Segments::new(&blocks, 0, 0x1000), nothing);
    assert_eq!(refused.unwrap_err().kind, HardwareErrorKind::Attributes);
}

#[test]
fn a_processor_forgets_what_is_unmapped_and_the_space_it_left() {
    for name in ["dsp", "guest0"] {
        let mut soc = soc("two-banks");
        let processor = device(&soc, name);
        let main = memory(&soc, "main");
        let first = space(&mut soc, processor, Part::Whole);
        map(&mut soc, first, 0x5000_0000, main, 0x2000);
        transfer(&mut soc, processor, &write(0x5000_0000, 0x2000));
        let _ = soc.unmap(first, span(0x5000_0000, 0x1000)).unwrap();
        soc.start(processor, &write(0x5000_0000, 64), Privilege::User).unwrap();
        assert_eq!(fault(&events(&mut soc)).reason, FaultReason::Translation, "{name}");
        transfer(&mut soc, processor, &write(0x5000_1000, 64));
        // Into another space, and out of any.
        let _ = soc.detach(first, processor, Part::Whole).unwrap();
        let second = space(&mut soc, processor, Part::Whole);
        soc.start(processor, &write(0x5000_1000, 64), Privilege::User).unwrap();
        assert_eq!(fault(&events(&mut soc)).reason, FaultReason::Translation, "{name}");
        let _ = soc.detach(second, processor, Part::Whole).unwrap();
        soc.start(processor, &write(0x5000_1000, 64), Privilege::User).unwrap();
        assert_eq!(fault(&events(&mut soc)).reason, FaultReason::NoContext, "{name}");
        assert_eq!(soc.translate(processor, 0x5000_1000).unwrap_err().kind, HardwareErrorKind::Unknown);
    }
}
