//! A board with one SMMU and two masters, and helpers to write tables by hand.
#![allow(dead_code, unused_imports, reason = "not every test file uses every helper")]

use vcm::Span;
use vcm_platform::{Layout, Surface, Transfer};
use vcm_soc::hardware::smmu::Config;
use vcm_soc::hardware::smmu::registers::{context, global};
use vcm_soc::hardware::{Activity, Board, Master, MasterFault, MasterId, Port, SmmuId, Stream};

pub(crate) const SMMU: SmmuId = SmmuId(0);
pub(crate) const FIRST: MasterId = MasterId(0);
pub(crate) const SECOND: MasterId = MasterId(1);
/// Memory from here on, 16 MiB.
pub(crate) const MEMORY: u32 = 0x4000_0000;
/// Tables are written from here on.
pub(crate) const TABLES: u32 = 0x40f0_0000;
pub(crate) const GLOBAL: u32 = 0xf_f000;
/// Lines a and b.
pub(crate) const LINES: [u32; 2] = [97, 98];

pub(crate) fn config() -> Config {
    Config {
        name: "rot".to_owned(),
        global_offset: GLOBAL,
        banks: 2,
        mids: 16,
        tlb_entries: 8,
        interrupt_lines: 2,
    }
}

/// Two masters with MIDs 1 and 2 behind one SMMU.
pub(crate) fn board() -> Board {
    let mut board = Board::new();
    board.add_memory("ebi", Span::new(u64::from(MEMORY), 16 << 20).unwrap()).unwrap();
    board.add_smmu(config(), LINES.to_vec()).unwrap();
    for (name, mid) in [("source", 1), ("sink", 2)] {
        board.add_master(Master::new(name, Port::Smmu(vec![Stream { smmu: 0, mid }]), 64), None);
    }
    board
}

pub(crate) fn read(board: &mut Board, bank: u32, register: u32) -> u32 {
    board.read_register(SMMU, bank << 12 | register)
}

pub(crate) fn write(board: &mut Board, bank: u32, register: u32, value: u32) {
    board.write_register(SMMU, bank << 12 | register, value);
}

pub(crate) fn read_global(board: &mut Board, register: u32) -> u32 {
    board.read_register(SMMU, GLOBAL + register)
}

pub(crate) fn write_global(board: &mut Board, register: u32, value: u32) {
    board.write_register(SMMU, GLOBAL + register, value);
}

/// What happens to a faulting transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFault {
    Terminate,
    Stall,
}

/// Routes `mid` to `bank`, which translates by the table at `table` with ASID `asid`.
pub(crate) fn enable(board: &mut Board, mid: u32, bank: u32, table: u32, asid: u32, on_fault: OnFault) {
    write_global(board, global::M2VCBR + 4 * mid, bank << 8);
    write(board, bank, context::TTBR0, table);
    write(board, bank, context::CONTEXTIDR, asid);
    // CFEIE, TLBMCFG = 3, V2PCFG = 3.
    let stall = if on_fault == OnFault::Stall { 1 << 14 } else { 0 };
    write(board, bank, context::ACTLR, 1 << 1 | 3 << 12 | 3 << 16 | stall);
    write(board, bank, context::PRRR, 0xff0a_81a8);
    write(board, bank, context::NMRR, 0x40e0_40e0);
    // M, TRE.
    write(board, bank, context::SCTLR, 3);
}

pub(crate) fn poke(board: &mut Board, address: u32, value: u32) {
    board.bus_mut().memory.write_u32(u64::from(address), value).unwrap();
}

/// A section entry: readable and writable by all, not global, write-back.
pub(crate) const fn section(physical: u32) -> u32 {
    physical | 2 | 3 << 2 | 3 << 10 | 1 << 12 | 1 << 17
}

/// A small page's entry: readable and writable by all, not global, write-back.
pub(crate) const fn small(physical: u32) -> u32 {
    physical | 2 | 3 << 2 | 3 << 4 | 1 << 6 | 1 << 11
}

/// Maps the 4K page at `va` (below 1 MiB) with a level-2 table beside the level-1 table at `table`.
pub(crate) fn map_page(board: &mut Board, table: u32, va: u32, physical: u32) {
    let second = table + 0x4000;
    poke(board, table, second | 1);
    poke(board, second + (va >> 12) * 4, small(physical));
}

pub(crate) fn write_transfer(address: u64, len: u64) -> Transfer {
    Transfer::Write { to: Surface { address, layout: Layout::Linear { len } }, seed: 7 }
}

/// Lets the board go on until a master stalls, a transfer ends, or nothing can be done.
pub(crate) fn run(board: &mut Board) -> Activity {
    loop {
        match board.step() {
            Activity::Moved(_) => {}
            other => return other,
        }
    }
}

/// Runs a transfer to its end; the fault that ended it.
pub(crate) fn transfer(board: &mut Board, master: MasterId, transfer: &Transfer) -> Option<MasterFault> {
    board.start(master, transfer).unwrap();
    match run(board) {
        Activity::Ended(_, _, fault) => fault,
        other => panic!("{other:?}"),
    }
}
