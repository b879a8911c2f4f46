//! The oracle: whoever reaches memory that was given back is caught, and nobody else.

mod common;
use common::*;
use vcm::Span;
use vcm_soc::hardware::smmu::Invalidations;
use vcm_soc::hardware::smmu::registers::context;
use vcm_soc::hardware::{Activity, Board, Trespass};

fn page(physical: u32) -> Span {
    Span::new(u64::from(physical), 0x1000).unwrap()
}

/// A board whose first master has just written through 0x3000 to the first page of memory.
fn used() -> Board {
    let mut board = board();
    enable(&mut board, 1, 0, TABLES, 5, OnFault::Terminate);
    map_page(&mut board, TABLES, 0x3000, MEMORY);
    board.bus_mut().hand_out(page(MEMORY));
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0x3000, 64)), None);
    board
}

/// The page's entry goes, the page is invalidated, the memory is given back.
fn unmap(board: &mut Board) {
    poke(board, TABLES + 0x4000 + 4 * 3, 0);
    write(board, 0, context::TLBIVA, 0x3000 | 5);
    board.bus_mut().give_back(page(MEMORY));
}

#[test]
fn with_the_invalidation_nobody_gets_there() {
    let mut board = used();
    unmap(&mut board);
    assert!(transfer(&mut board, FIRST, &write_transfer(0x3000, 64)).is_some());
    assert_eq!(board.take_finding(), None);
}

#[test]
fn without_the_invalidation_the_story_is_told() {
    let mut board = used();
    board.smmu_mut(SMMU).unwrap().set_invalidations(Invalidations::Ignored);
    unmap(&mut board);
    board.start(FIRST, &write_transfer(0x3000, 64)).unwrap();
    assert!(matches!(run(&mut board), Activity::Ended(FIRST, _, None)));
    let found = board.take_finding().unwrap();
    assert!(matches!(found.trespass, Trespass::GivenBack { .. }));
    assert_eq!(
        found.to_string(),
        "rot: transaction 2 (write at 0x3000) reached 0x40000000, given back after transaction 1, through an entry \
         filled by transaction 1 (MID 1, context 0) from the descriptor 0x4000087e at 0x40f0400c"
    );
    // The bytes did not arrive: nothing was written after the memory was given back.
    assert_eq!(board.take_finding(), None);
}

#[test]
fn a_stale_entry_is_caught_even_when_the_memory_has_a_new_owner() {
    let mut board = used();
    board.smmu_mut(SMMU).unwrap().set_invalidations(Invalidations::Ignored);
    unmap(&mut board);
    board.bus_mut().hand_out(page(MEMORY));
    map_page(&mut board, TABLES, 0x3000, MEMORY + 0x5000);
    board.start(FIRST, &write_transfer(0x3000, 64)).unwrap();
    assert!(matches!(run(&mut board), Activity::Ended(FIRST, _, None)));
    let found = board.take_finding().unwrap();
    assert!(matches!(found.trespass, Trespass::Stale { now, .. } if now == Some(u64::from(MEMORY) + 0x5000)));
    assert!(found.to_string().ends_with("the tables now lead to 0x40005000"));
}

#[test]
fn an_entry_filled_for_the_new_owner_is_no_trespass() {
    let mut board = used();
    unmap(&mut board);
    board.bus_mut().hand_out(page(MEMORY));
    map_page(&mut board, TABLES, 0x3000, MEMORY);
    assert_eq!(transfer(&mut board, FIRST, &write_transfer(0x3000, 64)), None);
    assert_eq!(board.take_finding(), None);
}

#[test]
fn memory_that_is_still_mapped_when_it_is_given_back_is_caught() {
    let mut board = used();
    board.bus_mut().give_back(page(MEMORY));
    write(&mut board, 0, context::TLBIASID, 5);
    board.start(FIRST, &write_transfer(0x3000, 64)).unwrap();
    run(&mut board);
    assert!(board.take_finding().unwrap().to_string().contains("filled by transaction 2"));
}

#[test]
fn a_walk_through_a_table_that_was_given_back_is_caught() {
    let mut board = used();
    write(&mut board, 0, context::TLBIASID, 5);
    board.bus_mut().give_back(Span::new(u64::from(TABLES) + 0x4000, 0x400).unwrap());
    transfer(&mut board, FIRST, &write_transfer(0x3000, 64));
    let found = board.take_finding().unwrap();
    assert!(matches!(found.trespass, Trespass::Table { .. }));
    assert_eq!(
        found.to_string(),
        "rot: transaction 2 (write at 0x3000) by MID 1, context 0 made a walk read 0x4000087e at 0x40f0400c, in a \
         table given back after transaction 1"
    );
}
