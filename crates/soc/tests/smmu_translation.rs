//! Transactions through the SMMU: routing, tags, faults, stalls, translations asked for.

mod common;
use common::*;
use vcm::FaultReason;
use vcm_platform::Outcome;
use vcm_soc::hardware::smmu::registers::{
    AFF, APF, ESR_BYPASS, HTWDEEF, MHF, MULTI, PAR_F, SL, SS, TF, TLBMF, context, global,
};
use vcm_soc::hardware::{Access, Activity, Level, MasterFault};

/// The status of `bank` after a 64-byte write of the first master to `va`.
fn status(board: &mut vcm_soc::hardware::Board, va: u64) -> (Option<FaultReason>, u32) {
    let fault = transfer(board, FIRST, &write_transfer(va, 64));
    let status = read(board, 0, context::FSR);
    write(board, 0, context::FSR, status);
    (fault.map(|fault| fault.reason), status)
}

#[test]
fn bytes_arrive_where_the_tables_say() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    map_page(&mut board, TABLES, 0x3000, MEMORY + 0x7000);
    map_page(&mut board, TABLES, 0x4000, MEMORY + 0x1000);
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0x3ff8, 0x20)), None);
    let mut bytes = [0; 0x20];
    board.bus().read(u64::from(MEMORY) + 0x7ff8, &mut bytes[..8]).unwrap();
    board.bus().read(u64::from(MEMORY) + 0x1000, &mut bytes[8..]).unwrap();
    let expected: Vec<_> = (0..0x20).map(|index| vcm_platform::pattern(7, index)).collect();
    assert_eq!(bytes.to_vec(), expected);
    assert_eq!(read(&mut board, 0, context::TLBFLPTER), (TABLES + 0x4000) | 1);
    assert_eq!(read(&mut board, 0, context::TLBSLPTER), small(MEMORY + 0x1000));
}

#[test]
fn each_fault_has_its_bit() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    map_page(&mut board, TABLES, 0x3000, MEMORY);
    // Nothing at the first and at the second level.
    assert_eq!(status(&mut board, 0x0050_0000), (Some(FaultReason::Translation), TF));
    assert_eq!(read(&mut board, 0, context::FAR), 0x0050_0000);
    assert_eq!(read(&mut board, 0, context::FSYNR0), 1);
    // A write of eight beats.
    assert_eq!(read(&mut board, 0, context::FSYNR1), 1 << 8 | 7 << 12);
    assert_eq!(status(&mut board, 0x5000), (Some(FaultReason::Translation), TF | SL));
    // Not writable: AP 7.
    poke(&mut board, TABLES + 4, section(MEMORY) | 1 << 15);
    assert_eq!(status(&mut board, 0x0010_0000), (Some(FaultReason::Permission), APF));
    poke(&mut board, TABLES + 0x4000 + 4 * 8, small(MEMORY) | 1 << 9);
    assert_eq!(status(&mut board, 0x8000), (Some(FaultReason::Permission), APF | SL));
    // A table where no memory is.
    poke(&mut board, TABLES + 8, 0x1000_0001);
    assert_eq!(status(&mut board, 0x0020_0000), (Some(FaultReason::TableWalk), HTWDEEF | SL));
    write(&mut board, 0, context::TTBR0, 0x1000_0000);
    assert_eq!(status(&mut board, 0x0030_0000), (Some(FaultReason::TableWalk), HTWDEEF));
    // Misses are not walked.
    write(&mut board, 0, context::ACTLR, 0);
    assert_eq!(status(&mut board, 0x0040_0000), (Some(FaultReason::Translation), TLBMF));
    // The translation leads to where no memory is: the context knows nothing of it.
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    poke(&mut board, TABLES + 12, section(0x1000_0000));
    assert_eq!(status(&mut board, 0x0030_0000), (Some(FaultReason::Bus), 0));
}

#[test]
fn the_access_flag_faults_is_ignored_or_is_set_by_the_hardware() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    // AP[2:1] = 01, access flag clear.
    poke(&mut board, TABLES + 4, section(MEMORY) & !(1 << 10));
    write(&mut board, 0, context::SCTLR, 0b111);
    assert_eq!(status(&mut board, 0x0010_0000), (Some(FaultReason::AccessFlag), AFF));
    write(&mut board, 0, context::SCTLR, 0b100111);
    assert_eq!(status(&mut board, 0x0010_0000), (None, 0));
    write_global(&mut board, global::GLOBAL_TLBIALL, 0);
    write(&mut board, 0, context::SCTLR, 0b1111);
    assert_eq!(status(&mut board, 0x0010_0000), (None, 0));
    assert_eq!(board.bus().memory.read_u32(u64::from(TABLES) + 4), Ok(section(MEMORY)));
    // And in a second-level table.
    poke(&mut board, TABLES, (TABLES + 0x4000) | 1);
    poke(&mut board, TABLES + 0x4000, small(MEMORY) & !(1 << 4));
    assert_eq!(status(&mut board, 0), (None, 0));
    assert_eq!(board.bus().memory.read_u32(u64::from(TABLES) + 0x4000), Ok(small(MEMORY)));
}

#[test]
fn entries_that_contradict_each_other_are_a_multiple_hit() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    map_page(&mut board, TABLES, 0x3000, MEMORY);
    assert_eq!(status(&mut board, 0x3000).0, None);
    // A section over the live table, without invalidation: its entry arrives by another page of the megabyte.
    poke(&mut board, TABLES, section(MEMORY));
    assert_eq!(status(&mut board, 0x8000).0, None);
    assert_eq!(status(&mut board, 0x3000), (Some(FaultReason::TlbConflict), MHF));
    write(&mut board, 0, context::TLBIVA, 0x3000 | 5);
    assert_eq!(status(&mut board, 0x3000).0, None);
}

#[test]
fn a_second_fault_before_the_first_is_cleared_is_multi() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    for address in [0x1000, 0x2000] {
        transfer(&mut board, FIRST, &write_transfer(address, 64)).unwrap();
    }
    assert_eq!(read(&mut board, 0, context::FSR), TF | MULTI);
    assert_eq!(read(&mut board, 0, context::FAR), 0x1000);
    assert_eq!(board.smmu(SMMU).unwrap().counters().faults, 2);
}

#[test]
fn a_stalled_transaction_is_retried_when_the_cause_is_mended() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Stall);
    board.start(FIRST, &write_transfer(0x3000, 128)).unwrap();
    assert_eq!(run(&mut board), Activity::Stalled(FIRST));
    assert_eq!(board.step(), Activity::Stuck);
    assert_eq!(read(&mut board, 0, context::FSR), TF | SS);
    assert_eq!(board.interrupts_mut().level(LINES[0]), Level::High);
    // Clearing the status lowers the line, and the transaction still waits.
    write(&mut board, 0, context::FSR, TF | SS);
    assert_eq!(board.interrupts_mut().level(LINES[0]), Level::Low);
    assert_eq!(board.step(), Activity::Stuck);
    assert!(board.smmu(SMMU).unwrap().waits(0));
    map_page(&mut board, TABLES, 0x3000, MEMORY);
    write(&mut board, 0, context::RESUME, 0);
    let Activity::Ended(FIRST, report, None) = run(&mut board) else { panic!() };
    assert_eq!((report.outcome, report.bytes_written, report.faults), (Outcome::Completed, 128, 1));
}

#[test]
fn a_retry_of_what_is_not_mended_stalls_again() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Stall);
    board.start(FIRST, &write_transfer(0x3000, 128)).unwrap();
    for _ in 0..3 {
        assert_eq!(run(&mut board), Activity::Stalled(FIRST));
        write(&mut board, 0, context::FSR, u32::MAX);
        write(&mut board, 0, context::RESUME, 0);
    }
    assert_eq!(run(&mut board), Activity::Stalled(FIRST));
    write(&mut board, 0, context::RESUME, 1);
    let fault = MasterFault { address: 0x3000, access: Access::Write, reason: FaultReason::Translation };
    let Activity::Ended(FIRST, report, Some(found)) = run(&mut board) else { panic!() };
    assert_eq!(found, fault);
    assert_eq!((report.outcome, report.bytes_written, report.faults), (Outcome::Aborted, 0, 4));
    // With nothing stalled, RESUME does nothing.
    write(&mut board, 0, context::RESUME, 1);
    assert_eq!(board.step(), Activity::Idle);
}

#[test]
fn stalls_can_be_disabled_for_the_whole_smmu() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Stall);
    write_global(&mut board, global::CR, 1 << 5);
    assert!(transfer(&mut board, FIRST, &write_transfer(0x3000, 64)).is_some());
}

#[test]
fn one_context_stalls_and_the_other_goes_on() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Stall);
    enable(&mut board, 2, 1, TABLES + 0x8000, 6, OnFault::Stall);
    poke(&mut board, TABLES + 0x8000, section(MEMORY));
    board.start(FIRST, &write_transfer(0, 64)).unwrap();
    board.start(SECOND, &write_transfer(0, 256)).unwrap();
    assert_eq!(run(&mut board), Activity::Stalled(FIRST));
    assert!(matches!(run(&mut board), Activity::Ended(SECOND, report, None) if report.bytes_written == 256));
    // A master of the stalled context waits behind it.
    write_global(&mut board, global::M2VCBR + 8, 0);
    board.start(SECOND, &write_transfer(0, 64)).unwrap();
    assert_eq!(run(&mut board), Activity::Stuck);
    write(&mut board, 0, context::RESUME, 1);
    assert!(matches!(run(&mut board), Activity::Ended(FIRST, _, Some(_))));
}

#[test]
fn a_context_that_is_reset_does_not_lose_a_stalled_transaction() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Stall);
    board.start(FIRST, &write_transfer(0, 64)).unwrap();
    assert_eq!(run(&mut board), Activity::Stalled(FIRST));
    write(&mut board, 0, context::SCTLR, 0);
    write(&mut board, 0, context::FSRRESTORE, 0);
    assert_eq!(run(&mut board), Activity::Stuck);
    write(&mut board, 0, context::RESUME, 1);
    assert!(matches!(run(&mut board), Activity::Ended(FIRST, _, Some(_))));
}

#[test]
fn without_a_context_transactions_pass_or_are_refused() {
    let mut board = board();
    let to = u64::from(MEMORY) + 0x40;
    // Bank 0 is off: it passes.
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(to, 64)), None);
    assert_eq!(board.smmu(SMMU).unwrap().counters().bypassed, 1);
    // BYPASSD: refused, with a bank that is off and with none.
    for route in [1 << 16, 0xff << 8 | 1 << 16] {
        write_global(&mut board, global::M2VCBR + 4, route);
        let fault = transfer(&mut board, FIRST, &write_transfer(to, 64)).unwrap();
        assert_eq!(fault.reason, FaultReason::NoContext);
        assert_eq!(read_global(&mut board, global::ESR), ESR_BYPASS);
        assert_eq!(read_global(&mut board, global::EAR), MEMORY + 0x40);
        assert_eq!(read_global(&mut board, global::ESYNR0), 1);
        assert_eq!(read_global(&mut board, global::ESYNR1), 1 << 8 | 7 << 12);
        // The global interrupt, once enabled, on line b.
        assert_eq!(board.interrupts_mut().level(LINES[1]), Level::Low);
        write_global(&mut board, global::CR, 1 << 2);
        assert_eq!(board.interrupts_mut().level(LINES[1]), Level::High);
        transfer(&mut board, FIRST, &write_transfer(to + 64, 64)).unwrap();
        assert_eq!(read_global(&mut board, global::ESR), ESR_BYPASS | MULTI);
        assert_eq!(read_global(&mut board, global::EAR), MEMORY + 0x40);
        write_global(&mut board, global::ESR, u32::MAX);
        assert_eq!(board.interrupts_mut().level(LINES[1]), Level::Low);
        write_global(&mut board, global::CR, 0);
    }
}

#[test]
fn entries_are_tagged_by_vmid_and_asid() {
    let mut board = board();
    // Two contexts, one address, two places.
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    enable(&mut board, 2, 1, TABLES + 0x8000, 6, OnFault::Terminate);
    poke(&mut board, TABLES, section(MEMORY));
    poke(&mut board, TABLES + 0x8000, section(MEMORY + 0x10_0000));
    for master in [FIRST, SECOND] {
        assert_eq!(transfer(&mut board, master, &write_transfer(0, 64)), None);
    }
    let entries = |board: &vcm_soc::hardware::Board| board.smmu(SMMU).unwrap().tlb().iter().count();
    assert_eq!(entries(&board), 2);
    // An ASID's entries go; those of the other stay.
    write(&mut board, 0, context::TLBIASID, 6);
    assert_eq!(entries(&board), 1);
    write(&mut board, 1, context::TLBIVA, 0x000f_f000 | 6);
    assert_eq!(entries(&board), 1);
    write(&mut board, 1, context::TLBIVAA, 0x0010_0000);
    assert_eq!(entries(&board), 1);
    write(&mut board, 1, context::TLBIVA, 0x000f_f000 | 5);
    assert_eq!(entries(&board), 0);
    // A context drops what it could hit itself.
    for master in [FIRST, SECOND] {
        assert_eq!(transfer(&mut board, master, &write_transfer(0, 64)), None);
    }
    write(&mut board, 1, context::CTX_TLBIALL, 0);
    assert_eq!(entries(&board), 1);
    // The VMID of the master's route tags; that of the bank is what its maintenance acts on.
    write_global(&mut board, global::M2VCBR + 4, 9);
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0, 64)), None);
    write(&mut board, 0, context::CTX_TLBIALL, 0);
    assert_eq!(entries(&board), 1);
    write_global(&mut board, global::CBACR, 9 << 16);
    write(&mut board, 0, context::CTX_TLBIALL, 0);
    assert_eq!(entries(&board), 0);
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0, 64)), None);
    write_global(&mut board, global::TLBIVMID, 0);
    assert_eq!(entries(&board), 1);
    write_global(&mut board, global::TLBIVMID, 9);
    assert_eq!(entries(&board), 0);
}

#[test]
fn global_entries_outlive_the_invalidation_of_an_asid() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    poke(&mut board, TABLES, section(MEMORY) & !(1 << 17));
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0, 64)), None);
    write(&mut board, 0, context::TLBIASID, 5);
    assert_eq!(board.smmu(SMMU).unwrap().tlb().iter().count(), 1);
    write(&mut board, 0, context::TLBIVA, 0x77);
    assert_eq!(board.smmu(SMMU).unwrap().tlb().iter().count(), 0);
}

#[test]
fn lookups_hits_misses_and_walks_are_counted() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    for page in 0..10 {
        map_page(&mut board, TABLES, page << 12, MEMORY + (page << 12));
    }
    let counters = |board: &vcm_soc::hardware::Board| {
        let counters = board.smmu(SMMU).unwrap().counters();
        (counters.lookups, counters.hits, counters.misses, counters.walks)
    };
    // 64 bursts in each page.
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0, 8 << 12)), None);
    assert_eq!(counters(&board), (512, 504, 8, 8));
    // All of them are in the TLB of eight entries ...
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0, 8 << 12)), None);
    assert_eq!(counters(&board), (1024, 1016, 8, 8));
    // ... and of nine in turn, none is.
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0, 9 << 12)), None);
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0, 9 << 12)), None);
    assert_eq!(counters(&board), (2176, 2158, 18, 18));
}

#[test]
fn translations_asked_for() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    map_page(&mut board, TABLES, 0x3000, MEMORY + 0x7000);
    poke(&mut board, TABLES + 4, section(MEMORY + 0x10_0000) | 1 << 15);
    for entry in 0..16 {
        // A supersection of device memory, shared; privileged only: AP 1.
        poke(&mut board, TABLES + 0x40 + 4 * entry, MEMORY | 1 << 18 | 2 | 1 << 10 | 1 << 12 | 1 << 16);
    }
    let mut par = |register, va| {
        write(&mut board, 0, register, va);
        read(&mut board, 0, context::PAR)
    };
    // Write-back, write-allocate.
    assert_eq!(par(context::V2PUW, 0x3000), (MEMORY + 0x7000) | 5 << 4);
    assert_eq!(par(context::V2PUR, 0x001a_b000), (MEMORY + 0x1a_b000) | 5 << 4);
    assert_eq!(par(context::V2PUW, 0x001a_b000), PAR_F | APF);
    assert_eq!(par(context::V2PPW, 0x001a_b000), PAR_F | APF);
    assert_eq!(par(context::V2PPR, 0x5000), PAR_F | TF | SL);
    assert_eq!(par(context::V2PPR, 0x0070_0000), PAR_F | TF);
    // SS, device by class 4: {TEX0, C, B} = 100; SH, inner by NOS4.
    assert_eq!(par(context::V2PPW, 0x01ab_c000), MEMORY | 1 << 1 | 3 << 4 | 1 << 7 | 1 << 10);
    assert_eq!(par(context::V2PUR, 0x01ab_c000), PAR_F | APF);
    assert_eq!(read(&mut board, 0, context::V2PSR) & 1, 1);
    // No fault is recorded, and bus masters' counters are theirs.
    assert_eq!(read(&mut board, 0, context::FSR), 0);
    assert_eq!(board.smmu(SMMU).unwrap().counters().lookups, 0);
    write_global(&mut board, global::GLOBAL_TLBIALL, 0);
    write(&mut board, 0, context::V2PPR, 0x3000);
    assert_eq!(read(&mut board, 0, context::V2PSR), 0);
    assert_eq!(board.take_misuse(), None);
}

#[test]
fn a_split_uses_both_tables_at_once() {
    let mut board = board();
    let high = TABLES + 0x8000;
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    write(&mut board, 0, context::TTBR1, high);
    write(&mut board, 0, context::TTBCR, 1);
    poke(&mut board, TABLES + 4 * 0x7ff, section(MEMORY));
    poke(&mut board, high + 4 * 0x800, section(MEMORY + 0x10_0000));
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0x7fff_ff80, 0x100)), None);
    for (physical, first) in [(MEMORY + 0xf_ff80, 0), (MEMORY + 0x10_0000, 0x80)] {
        let mut byte = [0];
        board.bus().read(u64::from(physical), &mut byte).unwrap();
        assert_eq!(byte[0], vcm_platform::pattern(7, first));
    }
    // PD1: what the high half would walk faults; the TLB may still hold it.
    write(&mut board, 0, context::TTBCR, 1 | 1 << 5);
    write(&mut board, 0, context::TLBIASID, 5);
    assert_eq!(
        transfer(&mut board, FIRST, &write_transfer(0x7fff_ff80, 0x100)).unwrap().address,
        0x8000_0000
    );
}

#[test]
fn privilege_can_be_overridden() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    // Privileged only: AP 1.
    poke(&mut board, TABLES, section(MEMORY) & !(2 << 10));
    assert_eq!(status(&mut board, 0), (Some(FaultReason::Permission), APF));
    write(&mut board, 0, context::ACTLR, 3 << 12 | 3 << 8);
    assert_eq!(status(&mut board, 0).0, None);
    board.master_mut(FIRST).unwrap().set_privilege(vcm::Privilege::Supervisor);
    write(&mut board, 0, context::ACTLR, 3 << 12);
    assert_eq!(status(&mut board, 0).0, None);
    write(&mut board, 0, context::ACTLR, 3 << 12 | 2 << 8);
    assert_eq!(status(&mut board, 0).0, Some(FaultReason::Permission));
}
