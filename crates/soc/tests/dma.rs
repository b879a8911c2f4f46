//! Bus masters against a naive model of bytes: every layout, both directions, several masters at once.

mod common;
use common::*;
use proptest::prelude::*;
use vcm::{FaultReason, Privilege, Span};
use vcm_platform::{Checksum, Layout, Outcome, Rectangle, Surface, Transfer, Visit, pattern};
use vcm_soc::hardware::{Access, Activity, Board, Level, Master, MasterFault, MasterId, Port, StartError};

const BASE: u64 = 0x4000_0000;

/// A direct master on a board with 1 MiB of memory.
fn direct(burst: usize) -> Board {
    let mut board = Board::new();
    board.add_memory("ebi", Span::new(BASE, 1 << 20).unwrap()).unwrap();
    board.add_master(Master::new("crypto", Port::Direct, burst), Some(44));
    board
}

fn run_to_end(board: &mut Board) -> vcm_platform::TransferReport {
    match run(board) {
        Activity::Ended(_, report, None) => report,
        other => panic!("{other:?}"),
    }
}

fn rectangle() -> impl Strategy<Value = Rectangle> {
    (0_u32..40, 0_u32..24, 1_u32..17, 0_u32..50).prop_map(|(width, height, bytes_per_pixel, gap)| Rectangle {
        width,
        height,
        bytes_per_pixel,
        stride: width * bytes_per_pixel + gap,
    })
}

fn layout() -> impl Strategy<Value = Layout> {
    prop_oneof![
        (0_u64..20_000).prop_map(|len| Layout::Linear { len }),
        rectangle().prop_map(Layout::Rectangle),
        rectangle().prop_map(Layout::Columns),
        (rectangle(), 1_u32..20, 1_u32..20).prop_map(|(picture, tile_width, tile_height)| Layout::Tiled {
            picture,
            tile_width,
            tile_height
        }),
        (0_u64..300, 1_u32..200, any::<u64>()).prop_map(|(pieces, piece, seed)| Layout::Scattered {
            len: pieces * u64::from(piece),
            piece,
            seed
        }),
    ]
}

/// The addresses of a surface's bytes in the order of the visit.
fn order(surface: Surface) -> Vec<u64> {
    Visit::new(surface).unwrap().flat_map(|run| run.address..run.address + run.len).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn bytes_are_those_of_a_plain_loop(
        layout in layout(), offset in 0_u64..5000, seed: u64, burst in 1_usize..65,
    ) {
        let surface = Surface { address: BASE + offset, layout };
        let mut board = direct(burst);
        board.start(MasterId(0), &Transfer::Write { to: surface, seed }).unwrap();
        let report = run_to_end(&mut board);
        prop_assert_eq!(report.bytes_written, layout.bytes());
        let mut expected = vec![0; 1 << 20];
        let mut sum = Checksum::new();
        for (index, address) in order(surface).into_iter().enumerate() {
            let byte = pattern(seed, index as u64);
            expected[(address - BASE) as usize] = byte;
            sum.update(&[byte]);
        }
        let mut found = vec![0; 1 << 20];
        board.bus().read(BASE, &mut found).unwrap();
        prop_assert!(found == expected);
        board.start(MasterId(0), &Transfer::Read { from: surface }).unwrap();
        let report = run_to_end(&mut board);
        prop_assert_eq!((report.checksum, report.bytes_read), (sum.value(), layout.bytes()));
        // A copy into a linear surface puts the bytes in the order of the visit.
        let to = Surface { address: BASE + 0x8_0000 + offset, layout: Layout::Linear { len: layout.bytes() } };
        board.start(MasterId(0), &Transfer::Copy { from: surface, to }).unwrap();
        let copied = run_to_end(&mut board);
        prop_assert_eq!((copied.checksum, copied.bytes_written), (sum.value(), layout.bytes()));
        let mut found = vec![0; layout.bytes() as usize];
        board.bus().read(to.address, &mut found).unwrap();
        let expected: Vec<_> = (0..layout.bytes()).map(|index| pattern(seed, index)).collect();
        prop_assert!(found == expected);
    }

    #[test]
    fn a_copy_between_any_two_layouts(first in layout(), width in 1_u32..60, burst in 1_usize..65) {
        let bytes = first.bytes();
        let rows = (bytes / u64::from(width)) as u32;
        prop_assume!(u64::from(rows) * u64::from(width) == bytes);
        let picture = Rectangle { width, height: rows, bytes_per_pixel: 1, stride: width + 3 };
        prop_assume!(picture.extent() < 0x4_0000);
        let from = Surface { address: BASE + 5, layout: first };
        let to = Surface { address: BASE + 0x8_0001, layout: Layout::Columns(picture) };
        let mut board = direct(burst);
        board.start(MasterId(0), &Transfer::Write { to: from, seed: 3 }).unwrap();
        run_to_end(&mut board);
        board.start(MasterId(0), &Transfer::Copy { from, to }).unwrap();
        run_to_end(&mut board);
        for (index, address) in order(to).into_iter().enumerate() {
            let mut byte = [0];
            board.bus().read(address, &mut byte).unwrap();
            prop_assert_eq!(byte[0], pattern(3, index as u64));
        }
    }
}

#[test]
fn a_transfer_that_cannot_be_is_refused_and_changes_nothing() {
    let mut board = board();
    let linear = |address, len| Surface { address, layout: Layout::Linear { len } };
    let start = |board: &mut Board, transfer| board.start(FIRST, &transfer);
    assert_eq!(
        start(&mut board, Transfer::Read { from: linear(0xffff_ffff, 2) }),
        Err(StartError::Beyond32Bits)
    );
    assert_eq!(
        start(&mut board, Transfer::Copy { from: linear(0, 2), to: linear(8, 3) }),
        Err(StartError::Lengths)
    );
    let bad = Layout::Columns(Rectangle { width: 4, height: 1, bytes_per_pixel: 4, stride: 15 });
    let error = start(&mut board, Transfer::Read { from: Surface { address: 0, layout: bad } }).unwrap_err();
    assert_eq!(error.to_string(), "the stride is shorter than a row");
    assert_eq!(board.start(MasterId(7), &Transfer::Read { from: linear(0, 1) }), Err(StartError::NoMaster));
    assert_eq!(board.step(), Activity::Idle);
    start(&mut board, Transfer::Read { from: linear(0, 2) }).unwrap();
    assert_eq!(start(&mut board, Transfer::Read { from: linear(0, 2) }), Err(StartError::Busy));
}

#[test]
fn a_transfer_of_nothing_ends_at_once() {
    let mut board = direct(64);
    let nothing = Surface { address: u64::MAX, layout: Layout::Linear { len: 0 } };
    board.start(MasterId(0), &Transfer::Read { from: nothing }).unwrap();
    let report = run_to_end(&mut board);
    assert_eq!((report.outcome, report.bytes_read), (Outcome::Completed, 0));
    assert_eq!(report.checksum, Checksum::new().value());
}

#[test]
fn where_no_memory_is_a_direct_master_aborts() {
    let mut board = direct(64);
    board.start(MasterId(0), &write_transfer(BASE + (1 << 20) - 64, 128)).unwrap();
    let Activity::Ended(_, report, Some(fault)) = run(&mut board) else { panic!() };
    let expected = MasterFault { address: BASE + (1 << 20), access: Access::Write, reason: FaultReason::Bus };
    assert_eq!(fault, expected);
    assert_eq!((report.outcome, report.bytes_written, report.faults), (Outcome::Aborted, 64, 1));
}

#[test]
fn the_end_of_a_transfer_raises_the_masters_interrupt() {
    let mut board = direct(64);
    board.start(MasterId(0), &write_transfer(BASE, 128)).unwrap();
    assert_eq!(board.interrupts_mut().level(44), Level::Low);
    run_to_end(&mut board);
    assert_eq!(board.interrupts_mut().level(44), Level::High);
    board.content(MasterId(0), 0, 1);
    assert_eq!(board.interrupts_mut().level(44), Level::Low);
}

#[test]
fn two_masters_take_turns() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    enable(&mut board, 2, 1, TABLES, 5, OnFault::Terminate);
    poke(&mut board, TABLES, section(MEMORY));
    board.start(FIRST, &write_transfer(0, 192)).unwrap();
    board.start(SECOND, &write_transfer(0x1000, 128)).unwrap();
    let moved: Vec<_> = std::iter::from_fn(|| match board.step() {
        Activity::Moved(master) => Some(master.0),
        Activity::Ended(master, ..) => Some(master.0 + 10),
        _ => None,
    })
    .collect();
    assert_eq!(moved, [0, 1, 0, 1, 0, 11, 10]);
    assert_eq!(board.master(FIRST).unwrap().progress(), None);
    // They share the ASID, and so the entry.
    let counters = board.smmu(SMMU).unwrap().counters();
    assert_eq!((counters.lookups, counters.misses), (5, 1));
}

#[test]
fn a_master_uses_all_its_streams_in_turn() {
    let mut board = board();
    let streams =
        [3, 4].map(|mid| vcm_soc::hardware::Stream { smmu: 0, mid }).into_iter().collect::<Vec<_>>();
    let wide = board.add_master(Master::new("wide", Port::Smmu(streams), 64), None);
    enable(&mut board, 3, 0, TABLES, 5, OnFault::Terminate);
    poke(&mut board, TABLES, section(MEMORY));
    // The other stream is routed to a bank that is off, and refused.
    write_global(&mut board, vcm_soc::hardware::smmu::registers::global::M2VCBR + 4 * 4, 1 << 8 | 1 << 16);
    let fault = transfer(&mut board, wide, &write_transfer(0, 128)).unwrap();
    assert_eq!((fault.address, fault.reason), (64, FaultReason::NoContext));
}

#[test]
fn the_same_run_twice_is_the_same() {
    let run = || {
        let mut board = board();
        enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
        poke(&mut board, TABLES, section(MEMORY));
        let layout = Layout::Scattered { len: 0x10_0000, piece: 256, seed: 9 };
        board.start(FIRST, &Transfer::Write { to: Surface { address: 0, layout }, seed: 1 }).unwrap();
        let report = run_to_end(&mut board);
        (report, board.bus().now())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_processor_moves_bytes_through_its_own_mmu() {
    use vcm_soc::hardware::TypeModel;
    use vcm_soc::hardware::short_descriptor::{ByteOrder, PermissionModel, Regime};
    use vcm_soc::hardware::{Mmu, ProcessorFaultReason};
    let mut board = board();
    let cpu = board.add_processor("cpu", Privilege::Supervisor, 4);
    let mover = board.add_master(Master::new("cpu", Port::Processor(cpu.0), 64), None);
    let refused = |reason| Some(ProcessorFaultReason::Refused(reason));
    let fault = |result: Result<(), Option<vcm_soc::hardware::ProcessorFault>>| {
        result.unwrap_err().map(|fault| fault.reason)
    };
    // Without an address space nothing passes.
    assert_eq!(fault(board.processor_write(cpu, 0, &[1])), refused(FaultReason::NoContext));
    board.processor_mut(cpu).unwrap().set_mmu(Mmu::Short(Regime {
        ttbr0: TABLES,
        ttbr1: 0,
        ttbcr: 0,
        permissions: PermissionModel::Full,
        types: TypeModel::Fixed,
        order: ByteOrder::Little,
    }));
    map_page(&mut board, TABLES, 0x3000, MEMORY + 0x7000);
    map_page(&mut board, TABLES, 0x4000, MEMORY + 0x1000);
    board.processor_write(cpu, 0x3ffe, &[1, 2, 3, 4]).unwrap();
    let mut bytes = [0; 4];
    board.processor_read(cpu, 0x3ffe, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4]);
    let mut word = [0; 2];
    board.bus().read(u64::from(MEMORY) + 0x1000, &mut word).unwrap();
    assert_eq!(word, [3, 4]);
    let error = board.processor_read(cpu, 0x5000, &mut bytes).unwrap_err().unwrap();
    assert_eq!(error.to_string(), "translation fault: read at 0x5000");
    assert_eq!(fault(board.processor_read(cpu, 1 << 32, &mut bytes)), refused(FaultReason::Translation));
    poke(&mut board, TABLES + 4, section(0x1000_0000));
    assert_eq!(fault(board.processor_read(cpu, 0x10_0000, &mut bytes)), refused(FaultReason::Bus));
    // As a master, with its TLB counted.
    board.start(mover, &write_transfer(0x3000, 0x1100)).unwrap();
    let report = run_to_end(&mut board);
    assert_eq!((report.tlb_lookups, report.tlb_misses, report.bytes_written), (68, 0, 0x1100));
    // A page whose entry is gone is there until the TLB is told.
    poke(&mut board, TABLES + 0x4000 + 4 * 3, 0);
    board.processor_read(cpu, 0x3000, &mut bytes).unwrap();
    board.processor_mut(cpu).unwrap().invalidate_address(0x3fff);
    assert_eq!(fault(board.processor_read(cpu, 0x3000, &mut bytes)), refused(FaultReason::Translation));
    poke(&mut board, TABLES + 0x4000 + 4 * 4, 0);
    board.processor_read(cpu, 0x4000, &mut bytes).unwrap();
    board.bus_mut().give_back(Span::new(u64::from(MEMORY) + 0x1000, 0x1000).unwrap());
    assert_eq!(fault(board.processor_read(cpu, 0x4000, &mut bytes)), Some(ProcessorFaultReason::Caught));
    assert!(board.take_finding().unwrap().to_string().starts_with("cpu: transaction"));
    board.processor_mut(cpu).unwrap().invalidate_all();
    assert_eq!(fault(board.processor_read(cpu, 0x4000, &mut bytes)), refused(FaultReason::Translation));
    assert_eq!(board.processor_read(vcm_soc::hardware::ProcessorId(9), 0, &mut bytes).unwrap_err(), None);
}
