//! Every register of the SMMU that has a meaning: its reset value, the bits that it keeps, what writing does.

mod common;
use common::*;
use vcm_platform::Outcome;
use vcm_soc::hardware::smmu::registers::{CONTEXT_KEPT, FSR_MASK, GLOBAL_KEPT, context, global};
use vcm_soc::hardware::smmu::{Config, Smmu};
use vcm_soc::hardware::{Activity, Level};

#[test]
fn registers_are_zero_after_reset_and_keep_the_bits_that_exist() {
    let mut board = board();
    // TLBLKCR may be written only then.
    write_global(&mut board, global::CR, 1 << 6);
    for bank in 0..2 {
        for kept in CONTEXT_KEPT {
            assert_eq!(read(&mut board, bank, kept.offset), 0, "context register {:#x}", kept.offset);
            write(&mut board, bank, kept.offset, u32::MAX);
            assert_eq!(read(&mut board, bank, kept.offset), kept.mask, "context register {:#x}", kept.offset);
            write(&mut board, bank, kept.offset, 0);
            assert_eq!(read(&mut board, bank, kept.offset), 0);
        }
    }
    write_global(&mut board, global::CR, 0);
    for kept in GLOBAL_KEPT {
        assert_eq!(read_global(&mut board, kept.offset), 0, "global register {:#x}", kept.offset);
        write_global(&mut board, kept.offset, u32::MAX);
        assert_eq!(read_global(&mut board, kept.offset), kept.mask, "global register {:#x}", kept.offset);
        write_global(&mut board, kept.offset, 0);
    }
    assert_eq!(board.take_misuse(), None);
}

#[test]
fn the_masks_are_those_of_the_fields() {
    // Each mask from the fields' places, independently of the model's table.
    let field = |high: u32, low: u32| (u32::MAX >> (31 - high + low)) << low;
    let bits = |list: &[u32]| list.iter().fold(0, |mask, bit| mask | 1 << bit);
    let mask = |offset| CONTEXT_KEPT.iter().find(|kept| kept.offset == offset).unwrap().mask;
    assert_eq!(mask(context::SCTLR), bits(&[0, 1, 2, 3, 4, 5]));
    assert_eq!(
        mask(context::ACTLR),
        bits(&[0, 1, 4, 5, 6, 10, 11, 14, 15, 18, 20])
            | field(3, 2)
            | field(9, 8)
            | field(13, 12)
            | field(17, 16)
            | field(23, 21)
    );
    assert_eq!(mask(context::TTBR1), bits(&[0, 1, 5, 6]) | field(4, 3) | field(31, 14));
    assert_eq!(mask(context::TTBCR), field(2, 0) | bits(&[4, 5]));
    assert_eq!(mask(context::FSYNR0), field(7, 0) | field(12, 8) | field(15, 13) | field(31, 24));
    assert_eq!(
        mask(context::FSYNR1),
        field(2, 0) | bits(&[3, 4, 5, 6, 7, 8, 10, 24]) | field(15, 12) | field(18, 16) | field(21, 20)
    );
    assert_eq!(mask(context::TLBLKCR), bits(&[0, 1, 2, 3]) | field(15, 8));
    assert_eq!(mask(context::PRRR), field(15, 0) | field(19, 16) | field(31, 24));
    assert_eq!(mask(context::BFBCR), bits(&[0, 1, 2]) | field(7, 4) | field(11, 8) | field(31, 12));
    let mask = |offset| GLOBAL_KEPT.iter().find(|kept| kept.offset == offset).unwrap().mask;
    assert_eq!(
        mask(global::ESYNR1),
        field(2, 0) | bits(&[3, 4, 5, 6, 7, 8, 10, 16, 22, 24, 30, 31]) | field(15, 12) | field(21, 20)
    );
}

#[test]
fn tables_of_masters_and_banks() {
    let mut board = board();
    for mid in 0..16 {
        write_global(&mut board, global::M2VCBR + 4 * mid, u32::MAX);
        assert_eq!(read_global(&mut board, global::M2VCBR + 4 * mid), 0x0fff_ff1f);
    }
    for bank in 0..2 {
        write_global(&mut board, global::CBACR + 4 * bank, u32::MAX);
        assert_eq!(read_global(&mut board, global::CBACR + 4 * bank), 0xff1f_031f);
    }
    assert_eq!(board.take_misuse(), None);
}

#[test]
fn identification() {
    let mut board = board();
    // 16 MIDs, HTW, 2^3 TLB entries, 2 banks, 2 lines.
    assert_eq!(read_global(&mut board, global::IDR), 15 | 1 << 9 | 3 << 12 | 1 << 16 | 2 << 24);
    assert_eq!(read_global(&mut board, global::REV), 0x10);
}

#[test]
fn fault_status_is_cleared_by_writing_ones() {
    let mut board = board();
    write(&mut board, 1, context::FSRRESTORE, u32::MAX);
    assert_eq!(read(&mut board, 1, context::FSR), FSR_MASK);
    write(&mut board, 1, context::FSR, 0x2);
    assert_eq!(read(&mut board, 1, context::FSR), FSR_MASK & !2);
    write(&mut board, 1, context::FSR, 0);
    assert_eq!(read(&mut board, 1, context::FSR), FSR_MASK & !2);
    write(&mut board, 1, context::FSRRESTORE, 0);
    assert_eq!(read(&mut board, 1, context::FSR), 0);
    write_global(&mut board, global::ESRRESTORE, u32::MAX);
    assert_eq!(read_global(&mut board, global::ESR), 0x8000_0003);
    write_global(&mut board, global::ESR, 2);
    assert_eq!(read_global(&mut board, global::ESR), 0x8000_0001);
}

#[test]
fn a_restored_fault_raises_the_interrupt_when_that_is_enabled() {
    let mut board = board();
    write(&mut board, 0, context::FSRRESTORE, 2);
    assert_eq!(board.interrupts_mut().level(LINES[0]), Level::Low);
    write(&mut board, 0, context::ACTLR, 2);
    assert_eq!(board.interrupts_mut().level(LINES[0]), Level::High);
    // IRPTNDX chooses the line.
    write_global(&mut board, global::CBACR, 1 << 24);
    assert_eq!(board.interrupts_mut().level(LINES[0]), Level::Low);
    assert_eq!(board.interrupts_mut().level(LINES[1]), Level::High);
    write_global(&mut board, global::CBACR, 9 << 24);
    assert_eq!(board.interrupts_mut().level(LINES[1]), Level::Low);
}

#[test]
fn what_makes_no_sense_is_noted_and_has_no_effect() {
    let mut board = board();
    for offset in [
        2,
        0x00c,
        0x824,
        // Write-only.
        context::CTX_TLBIALL,
        context::FSRRESTORE,
        GLOBAL + global::GLOBAL_TLBIALL,
        // No such bank, MID or register; past the window.
        2 << 12,
        GLOBAL + global::M2VCBR + 4 * 16,
        GLOBAL + global::CBACR + 4 * 2,
        GLOBAL + 0xe10,
        GLOBAL + 0x1000,
        u32::MAX - 3,
    ] {
        assert_eq!(board.read_register(SMMU, offset), 0);
        assert_eq!(board.take_misuse().map(|misuse| misuse.offset & !0xff0_0000), Some(offset & !0xff0_0000));
    }
    for offset in [
        1,
        context::V2PSR,
        GLOBAL + global::IDR,
        GLOBAL + global::REV,
        GLOBAL + global::TLBTR1,
        2 << 12,
        GLOBAL + global::M2VCBR + 4 * 16,
        GLOBAL + global::CBACR + 4 * 2,
        // Locked by CR.TLBLKCRWE.
        context::TLBLKCR,
        0x828,
    ] {
        board.write_register(SMMU, offset, u32::MAX);
        assert!(board.take_misuse().is_some(), "{offset:#x}");
    }
    assert_eq!(read(&mut board, 0, context::TLBLKCR), 0);
    // A translation by a context that is off.
    write(&mut board, 0, context::V2PPR, 0x1000);
    assert_eq!(read(&mut board, 0, context::PAR), 3);
    assert!(board.take_misuse().unwrap().to_string().contains("a context that is off"));
    assert_eq!(board.take_misuse(), None);
}

#[test]
fn an_smmu_that_cannot_be_is_refused() {
    for bad in [
        Config { banks: 0, ..config() },
        Config { banks: 256, ..config() },
        Config { mids: 513, ..config() },
        Config { tlb_entries: 257, ..config() },
        Config { global_offset: 0x800, ..config() },
    ] {
        assert!(Smmu::new(bad).is_err());
    }
    let small = Config { global_offset: 0x1000, banks: 2, ..config() };
    assert_eq!(
        Smmu::new(small).unwrap_err().to_string(),
        "smmu `rot`: context banks: none, or more than fit"
    );
}

#[test]
fn the_liveness_probe_of_the_linux_driver_finds_it_alive() {
    let mut board = board();
    write(&mut board, 0, context::SCTLR, 1);
    write(&mut board, 0, context::PAR, 0);
    write(&mut board, 0, context::ACTLR, 1 << 16);
    write(&mut board, 0, context::V2PPR, 0);
    assert_ne!(read(&mut board, 0, context::PAR), 0);
}

#[test]
fn tlb_entries_can_be_read() {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    poke(&mut board, TABLES + 4, section(MEMORY));
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0x0010_0040, 64)), None);
    write_global(&mut board, global::TLBRSW, 0);
    // All rights, class 7 (write-back, write-allocate), not shareable, 1M.
    assert_eq!(read_global(&mut board, global::TLBTR0), 0xf | 5 << 9 | 2 << 16 | 2 << 20);
    assert_eq!(read_global(&mut board, global::TLBTR1), MEMORY);
    assert_eq!(read_global(&mut board, global::TLBTR2), 0x0010_0000 | 1 << 8 | 5);
    write_global(&mut board, global::TLBRSW, 1);
    assert_eq!(read_global(&mut board, global::TLBTR2), 0);
    // What was walked.
    assert_eq!(read(&mut board, 0, context::TLBFLPTER), section(MEMORY));
}

#[test]
fn a_client_port_that_is_disabled_lets_everything_pass() {
    let mut board = board();
    write_global(&mut board, global::M2VCBR + 4, 0xff << 8 | 1 << 16);
    write_global(&mut board, global::CR, 1 << 4);
    board.start(FIRST, &write_transfer(u64::from(MEMORY), 64)).unwrap();
    assert!(
        matches!(run(&mut board), Activity::Ended(FIRST, report, None) if report.outcome == Outcome::Completed)
    );
    assert_eq!(board.smmu(SMMU).unwrap().counters().bypassed, 1);
}
