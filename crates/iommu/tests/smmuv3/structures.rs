//! The bits of entries and descriptors, one by one (Arm IHI 0070, 5.2 and 5.4).

use crate::fake::{Bench, Hardware, bench, by, config, stage1, stage2, try_bench};
use vcm::PhysicalAddress;
use vcm_iommu::smmuv3::spec;
use vcm_iommu::{Iommu, IommuError, StreamId, TableFormat, Tables, Translation};
use vcm_pagetable::aarch64::{Granule, MAIR};

const STREAM: StreamId = StreamId(3);

fn entry(bench: &mut Bench, translation: Translation) -> [u64; 8] {
    let domain = bench.smmu.create_domain(translation).unwrap();
    bench.smmu.attach(STREAM, domain).unwrap();
    let at = bench.smmu.stream_entry(STREAM).unwrap().raw();
    let hardware = bench.hardware.borrow();
    [0, 1, 2, 3, 4, 5, 6, 7].map(|word| hardware.word(at + 8 * word))
}

#[test]
fn stage_1() {
    let mut bench = bench();
    let words = entry(&mut bench, by(stage1(0x1_2345_6000)));
    let cd = words[0] & !0x3f;
    assert_eq!(words[0] & 0x3f, 0xb, "V, stage 1");
    // Write-back inner-shareable descriptors, incoming shareability.
    assert_eq!(words[1..], [1 << 44 | 3 << 6 | 1 << 4 | 1 << 2, 0, 0, 0, 0, 0, 0]);
    let hardware = bench.hardware.borrow();
    let cd: Vec<u64> = (0..8).map(|word| hardware.word(cd + 8 * word)).collect();
    // T0SZ 25, 4K, write-back inner-shareable walks, EPD1, V, IPS 44 bits, AA64, R, A, ASET, ASID 1
    let expected =
        25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 30 | 1 << 31 | 4 << 32 | 1 << 41 | 7 << 45 | 1 << 48;
    assert_eq!(cd, [expected, 0x1_2345_6000, 0, MAIR, 0, 0, 0, 0]);
}

#[test]
fn stage_2_and_nested() {
    let mut bench = bench();
    let words = entry(&mut bench, by(stage2(0x1_2345_6000)));
    assert_eq!(words[0], 0xd, "V, stage 2");
    // VMID 1, T0SZ 24, level 1, write-back inner-shareable walks, 4K, 40 bits, AA64, R
    let vtcr = 24_u64 << 32 | 1 << 38 | 1 << 40 | 1 << 42 | 3 << 44 | 2 << 48 | 1 << 51 | 1 << 58;
    assert_eq!(words[1..], [1 << 44, 1 | vtcr, 0x1_2345_6000, 0, 0, 0, 0]);
    let nested = Translation::Nested { first: stage1(0x1000), second: stage2(0x2000) };
    let words = entry(&mut bench, nested);
    assert_eq!((words[0] & 0x3f, words[0] & 0xfc0), (0xf, 0), "V, both, a descriptor on a page of its own");
    assert_eq!(words[1..4], [1 << 44 | 3 << 6 | 1 << 4 | 1 << 2, 2 | vtcr, 0x2000]);
    assert_eq!(entry(&mut bench, Translation::Identity)[..2], [0x9, 1 << 44]);
}

#[test]
fn other_granules_and_walks_that_are_not_coherent() {
    let mut hardware = Hardware::new();
    hardware.set(0, crate::fake::BOTH_STAGES & !(1 << 4));
    let mut bench = try_bench(hardware, config()).unwrap();
    assert_eq!(bench.hardware.borrow().get(0x28), 0x820, "CR1: not cached, outer shareable");
    for (granule, code, start_level, sl0) in [(Granule::Size16K, 2, 2, 1), (Granule::Size64K, 1, 2, 1)] {
        let root = PhysicalAddress::new(0x10_0000);
        let format = TableFormat::Aarch64Stage1 { granule, input_bits: 36, output_bits: 33 };
        let words = entry(&mut bench, by(Tables { format, root }));
        assert_eq!(words[1], 1 << 44 | 2 << 6);
        let cd = bench.hardware.borrow().word(words[0] & !0x3f);
        assert_eq!(cd & 0xffff, 28 | code << 6 | 2 << 12, "not cached, outer shareable");
        assert_eq!(cd >> 32 & 7, 1, "36 bits are the least size that has 33");
        let format = TableFormat::Aarch64Stage2 { granule, input_bits: 37, output_bits: 32, start_level };
        let word = spec::Ste2::from_bits(entry(&mut bench, by(Tables { format, root }))[2]);
        assert_eq!((word.s2t0sz(), word.s2sl0(), u64::from(word.s2tg())), (27, sl0, code));
        assert_eq!((word.s2ps(), word.s2ir0(), word.s2or0(), word.s2sh0()), (2, 0, 0, 2), "40 bits have 37");
    }
}

/// Whatever numbers a format has, it is taken or refused.
#[test]
fn formats_that_cannot_be_are_refused() {
    let mut bench = bench();
    for granule in [Granule::Size4K, Granule::Size16K, Granule::Size64K] {
        for number in 0..=u8::MAX {
            let first =
                |input_bits, output_bits| TableFormat::Aarch64Stage1 { granule, input_bits, output_bits };
            let second = |input_bits, output_bits, start_level| TableFormat::Aarch64Stage2 {
                granule,
                input_bits,
                output_bits,
                start_level,
            };
            let formats = [
                first(number, 40),
                first(39, number),
                second(number, 40, 1),
                second(40, number, 1),
                second(40, 40, number),
            ];
            for format in formats {
                let tables = Tables { format, root: PhysicalAddress::new(0) };
                match bench.smmu.create_domain(by(tables)) {
                    Ok(domain) => {
                        assert!(number <= 48 && bench.smmu.supports(format), "{format}");
                        bench.smmu.destroy_domain(domain).unwrap();
                    }
                    Err(IommuError::NotSupported(_)) => assert!(!bench.smmu.supports(format), "{format}"),
                    Err(other) => panic!("{format}: {other}"),
                }
            }
        }
    }
}
