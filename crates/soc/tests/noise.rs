//! Whatever is done to the registers: nothing panics, and every run comes to an end.

mod common;
use common::*;
use proptest::prelude::*;
use vcm::Span;
use vcm_platform::{Layout, Rectangle, Surface, Transfer};
use vcm_soc::hardware::smmu::registers::{CONTEXT_KEPT, GLOBAL_KEPT, context, global};
use vcm_soc::hardware::{Activity, Mmu, stage2};

#[derive(Clone, Copy, Debug)]
enum Action {
    Read(u32),
    Write(u32, u32),
    Poke(u32, u32),
    Start(usize, Transfer),
    Run(u32),
    GiveBack(u32),
    HandOut(u32),
}

/// Mostly registers that exist.
fn offset() -> impl Strategy<Value = u32> {
    let context = prop_oneof![
        (0..CONTEXT_KEPT.len()).prop_map(|index| CONTEXT_KEPT[index].offset),
        (0_u32..9).prop_map(|n| context::CTX_TLBIALL + 4 * n),
        Just(context::FSR),
        Just(context::FSRRESTORE),
    ];
    let global = prop_oneof![
        (0..GLOBAL_KEPT.len()).prop_map(|index| GLOBAL_KEPT[index].offset),
        (0_u32..5).prop_map(|mid| global::M2VCBR + 4 * mid),
        (0_u32..3).prop_map(|bank| global::CBACR + 4 * bank),
        (0_u32..2).prop_map(|n| global::GLOBAL_TLBIALL + 4 * n),
        (0_u32..6).prop_map(|n| global::CR + 4 * n),
        (0_u32..4).prop_map(|n| global::TLBTR0 + 4 * n),
    ];
    prop_oneof![
        6 => (0_u32..2, context).prop_map(|(bank, register)| bank << 12 | register),
        4 => global.prop_map(|register| GLOBAL + register),
        1 => any::<u32>(),
    ]
}

/// Values that mean something more often than noise does.
fn value() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        (0_u32..32).prop_map(|bit| 1 << bit),
        (0_u32..0x20).prop_map(|table| TABLES + table * 0x400),
        Just(3 << 12 | 3 << 16 | 2),
        Just(3 << 12 | 3 << 16 | 2 | 1 << 14),
        Just(0),
        Just(3),
        Just(1 << 8),
    ]
}

fn transfer() -> impl Strategy<Value = Transfer> {
    let address = prop_oneof![0_u64..0x40_0000, any::<u32>().prop_map(u64::from), any::<u64>()];
    let rectangle = (any::<u16>(), any::<u8>(), 0_u32..20, any::<u32>()).prop_map(
        |(width, height, bytes_per_pixel, stride)| Rectangle {
            width: u32::from(width),
            height: u32::from(height),
            bytes_per_pixel,
            stride,
        },
    );
    let layout = prop_oneof![
        prop_oneof![0_u64..0x2000, any::<u64>()].prop_map(|len| Layout::Linear { len }),
        rectangle.clone().prop_map(Layout::Rectangle),
        rectangle.clone().prop_map(Layout::Columns),
        (rectangle, any::<u8>(), any::<u32>()).prop_map(|(picture, tile_width, tile_height)| {
            Layout::Tiled { picture, tile_width: u32::from(tile_width), tile_height }
        }),
        (any::<u64>(), any::<u32>(), any::<u64>()).prop_map(|(len, piece, seed)| Layout::Scattered {
            len,
            piece,
            seed
        }),
    ];
    (address, layout, any::<u64>(), 0..3).prop_map(|(address, layout, seed, kind)| {
        let surface = Surface { address, layout };
        match kind {
            0 => Transfer::Write { to: surface, seed },
            1 => Transfer::Read { from: surface },
            _ => Transfer::Copy { from: surface, to: Surface { address: seed, layout } },
        }
    })
}

fn action() -> impl Strategy<Value = Action> {
    let page = || (0_u32..16).prop_map(|page| MEMORY + page * 0x1000);
    let entry = prop_oneof![
        value(),
        page().prop_map(section),
        page().prop_map(small),
        page().prop_map(|page| page | 1)
    ];
    prop_oneof![
        3 => offset().prop_map(Action::Read),
        12 => (offset(), value()).prop_map(|(offset, value)| Action::Write(offset, value)),
        6 => (0_u32..0x1400, entry).prop_map(|(index, value)| Action::Poke(TABLES + 4 * index, value)),
        6 => (0_usize..4, transfer()).prop_map(|(master, transfer)| Action::Start(master, transfer)),
        6 => (1_u32..200).prop_map(Action::Run),
        1 => page().prop_map(Action::GiveBack),
        1 => page().prop_map(Action::HandOut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_anything(seed: u64, actions in prop::collection::vec(action(), 1..120)) {
        let mut board = board();
        let guest = board.add_processor("guest", vcm::Privilege::User, 2);
        let vttbr = u64::from(TABLES);
        let mmu = Mmu::Stage2(stage2::Stage2 { vttbr, vtcr: seed & 0xff });
        board.processor_mut(guest).unwrap().set_mmu(mmu);
        let port = vcm_soc::hardware::Port::Processor(guest.0);
        board.add_master(vcm_soc::hardware::Master::new("guest", port, 64), None);
        board.smmu_mut(SMMU).unwrap().scramble(seed);
        for action in actions {
            match action {
                Action::Read(offset) => {
                    board.read_register(SMMU, offset);
                }
                Action::Write(offset, value) => board.write_register(SMMU, offset, value),
                Action::Poke(address, value) => poke(&mut board, address, value),
                Action::Start(master, transfer) => {
                    let _ = board.start(vcm_soc::hardware::MasterId(master), &transfer);
                }
                Action::Run(steps) => {
                    for _ in 0..steps {
                        if matches!(board.step(), Activity::Idle | Activity::Stuck) {
                            break;
                        }
                    }
                }
                Action::GiveBack(page) => {
                    board.bus_mut().give_back(Span::new(u64::from(page), 0x1000).unwrap());
                }
                Action::HandOut(page) => {
                    board.bus_mut().hand_out(Span::new(u64::from(page), 0x1000).unwrap());
                }
            }
        }
        // What was found can be told.
        while let Some(finding) = board.take_finding() {
            prop_assert!(finding.to_string().contains("given back"));
        }
        while let Some(misuse) = board.take_misuse() {
            prop_assert!(misuse.to_string().starts_with("smmu rot: offset"));
        }
        // Terminating all that waits lets every master go on.
        for bank in 0..2 {
            write(&mut board, bank, context::RESUME, 1);
        }
        prop_assert_ne!(board.step(), Activity::Stuck);
    }
}
