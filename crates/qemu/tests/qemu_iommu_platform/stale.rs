//! What an IOMMU holds in its TLB is used until it is invalidated: the proof that un-backing has to wait for that, and
//! that the models show when it does not.

use crate::support::*;
use vcm_platform::{Layout, Rectangle, Surface};
use vcm_qemu::Invalidations;

const LEN: u64 = 0x3000;

#[test]
fn without_invalidation_the_memory_is_reached_after_unbacking() {
    on(&MODELS, &[], |world| {
        let (region, _) = world.region("devices", &["lsi1"]);
        let told = world.watch("lsi1");
        let buffer = world.buffer(region, LEN, Attributes::READ_WRITE, 1);
        assert_eq!(world.run("lsi1", &read(buffer.at, LEN)).checksum, sum(&noise(1, LEN as usize)));
        assert_eq!(world.run("lsi1", &write(buffer.at, LEN, 20)).outcome, Outcome::Completed);

        world.emulated.set_invalidations(Invalidations::LeftOut);
        world.unback(buffer.reservation);
        assert_eq!(world.graph.physical_at(region, buffer.at), None);
        let wrote = world.run("lsi1", &write(buffer.at, LEN, 21));
        if !has_tlb(world.model) {
            assert_eq!((wrote.outcome, wrote.bytes_written), (Outcome::Aborted, 0));
            let fault = told.one();
            assert_eq!((fault.address, fault.reason), (buffer.at, FaultReason::Translation));
            world.assert_memory(&[(buffer.memory, &written(20, LEN))]);
            return;
        }
        assert_eq!((wrote.outcome, wrote.faults), (Outcome::Completed, 0), "there is no TLB");
        world.assert_memory(&[(buffer.memory, &written(21, LEN))]);
        assert_eq!(world.run("lsi1", &read(buffer.at, LEN)).checksum, sum(&written(21, LEN)));
        assert_eq!(told.take(), []);

        // Backed and taken away once more, the next time as it has to be.
        world.emulated.set_invalidations(Invalidations::Made);
        world.graph.back(buffer.reservation, buffer.memory, &mut world.emulated).unwrap();
        assert_eq!(world.run("lsi1", &write(buffer.at, LEN, 22)).outcome, Outcome::Completed);
        world.unback(buffer.reservation);
        let wrote = world.run("lsi1", &write(buffer.at, LEN, 23));
        if tells_faults(world.model) {
            assert_eq!((wrote.outcome, wrote.bytes_written), (Outcome::Aborted, 0));
            let fault = told.one();
            assert_eq!(
                (fault.address, fault.access, fault.reason),
                (buffer.at, FaultAccess::Write, FaultReason::Translation)
            );
        }
        assert_eq!(told.take(), []);
        world.assert_memory(&[(buffer.memory, &written(22, LEN))]);
    });
}

/// The address leads to other memory now, and the device still uses the old.
#[test]
fn without_invalidation_an_address_leads_where_it_led() {
    let with_tlb: Vec<_> = MODELS.into_iter().filter(|model| has_tlb(*model)).collect();
    on(&with_tlb, &[], |world| {
        let (region, _) = world.region("devices", &["lsi1", "lsi2"]);
        let buffer = world.buffer(region, LEN, Attributes::READ_WRITE, 1);
        let old = noise(1, LEN as usize);
        assert_eq!(world.run("lsi1", &read(buffer.at, LEN)).checksum, sum(&old));
        world.emulated.set_invalidations(Invalidations::LeftOut);
        world.unback(buffer.reservation);
        let next = world.memory("next", LEN, 2);
        world.graph.back(buffer.reservation, next, &mut world.emulated).unwrap();
        let new = noise(2, LEN as usize);
        assert_eq!(world.run("lsi1", &read(buffer.at, LEN)).checksum, sum(&old));
        world.emulated.set_invalidations(Invalidations::Made);
        world.unback(buffer.reservation);
        world.graph.back(buffer.reservation, next, &mut world.emulated).unwrap();
        assert_eq!(world.run("lsi1", &read(buffer.at, LEN)).checksum, sum(&new));
        assert_eq!(world.run("lsi2", &read(buffer.at, LEN)).checksum, sum(&new));
        world.assert_memory(&[(buffer.memory, &old), (next, &new)]);
    });
}

/// Some IOMMUs hold a large page in pieces: QEMU's RISC-V IOMMU does, and an invalidation with an address drops one of them
/// (`riscv_iommu_iot_inval_iova` in hw/riscv/riscv-iommu.c).
#[test]
fn nothing_is_left_of_pages_large_and_small() {
    const PAGE: u64 = 0x1000;
    const SIZES: [u64; 4] = [(4 << 20) + (64 << 10) + (8 << 10), 2 << 20, 72 << 10, 8 << 10];
    on(&MODELS, &[], |world| {
        let (region, _) = world.region("devices", &["lsi1"]);
        let told = world.watch("lsi1");
        for len in SIZES {
            let buffer = world.buffer(region, len, Attributes::READ_WRITE, 1);
            // A page behind it keeps the tables: only entries are taken out, and only those are to be invalidated.
            let keeper = world.memory("keeper", PAGE, 2);
            let behind =
                world.graph.reserve_at(region, buffer.at + len, PAGE, Attributes::READ_WRITE).unwrap();
            world.graph.back(behind, keeper, &mut world.emulated).unwrap();
            let leaves: Vec<_> = world.graph.leaves(buffer.reservation, &world.emulated).iter().collect();
            assert_eq!(leaves.iter().any(|(size, _)| *size == 2 << 20), len >= 2 << 20, "{leaves:?}");
            // A few bytes of every page.
            let pages = len / PAGE;
            let rows = Rectangle { width: 8, height: pages as u32, bytes_per_pixel: 1, stride: PAGE as u32 };
            let from = Surface { address: buffer.at, layout: Layout::Rectangle(rows) };
            let report = world.run("lsi1", &Transfer::Read { from });
            assert_eq!((report.outcome, report.bytes_read), (Outcome::Completed, 8 * pages));

            world.unback(buffer.reservation);
            // All of them, or some where all are as good as one: more than 512 are not invalidated one by one.
            let some = (0..pages).filter(|page| pages <= 512 || page % 61 == 0 || pages - page < 20);
            for at in some.map(|page| buffer.at + page * PAGE) {
                let report = world.run("lsi1", &write(at, 8, 2));
                if tells_faults(world.model) {
                    assert_eq!((report.outcome, report.bytes_written), (Outcome::Aborted, 0), "{at:#x}");
                    assert_eq!(told.one().address, at);
                }
            }
            let sum_of_keeper = sum(&noise(2, PAGE as usize));
            assert_eq!(world.run("lsi1", &read(buffer.at + len, PAGE)).checksum, sum_of_keeper);
            world.assert_memory(&[
                (buffer.memory, &noise(1, len as usize)),
                (keeper, &noise(2, PAGE as usize)),
            ]);
            for (reservation, memory) in [(behind, keeper), (buffer.reservation, buffer.memory)] {
                world.graph.unback(reservation, &mut world.emulated);
                world.graph.unreserve(reservation).unwrap();
                let len = world.graph.allocation(memory).unwrap().len;
                world.put(memory, &vec![0; len as usize]);
                world.graph.free(memory, &mut world.emulated).unwrap();
            }
        }
        assert_eq!(told.take(), []);
    });
}
