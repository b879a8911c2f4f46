//! What is torn down in the middle of a transfer: not a byte gets there after the call has returned.

use crate::support::*;

/// Two of them fit into the smallest TLB, that of QEMU's SMMUv3: 256 entries (`SMMU_IOTLB_MAX_SIZE` in
/// hw/arm/smmu-internal.h).
const LEN: u64 = 384 << 10;

/// Two buffers, and each device has all of its own in its TLB.
fn buffers(world: &mut World, region: RegionId) -> [Buffer; 2] {
    let both = [1, 2].map(|seed| world.buffer(region, LEN, Attributes::READ_WRITE, seed));
    for (device, buffer) in ["lsi1", "lsi2"].into_iter().zip(both) {
        assert_eq!(world.run(device, &write(buffer.at, LEN, 3)).outcome, Outcome::Completed);
    }
    for (device, buffer) in ["lsi1", "lsi2"].into_iter().zip(both) {
        assert_eq!(world.run(device, &read(buffer.at, LEN)).checksum, sum(&written(3, LEN)));
    }
    both
}

/// Goes on until both have told of so much progress.
fn until_both_are_at_it(world: &mut World) {
    let mut progress = [("lsi1", 0), ("lsi2", 0)].map(|(name, count)| (world.handle(name), count));
    while progress.iter().any(|(_, count)| *count < 3) {
        match world.event().unwrap().expect("nothing goes on") {
            Event::Progress { device, done, total } => {
                assert!(done < total);
                for (handle, count) in &mut progress {
                    *count += u32::from(*handle == device);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// How many bytes of `found` from the start on are as they were `written` with this seed; the rest is `before`.
#[track_caller]
fn arrived(found: &[u8], seed: u64, before: &[u8]) -> u64 {
    let wanted = written(seed, LEN);
    let count = found.iter().zip(&wanted).take_while(|(found, wanted)| found == wanted).count();
    assert!(found[count..] == before[count..], "it is a part of what was written, from the start on");
    count as u64
}

#[test]
fn a_device_is_deactivated_in_the_middle_of_its_transfer() {
    on(&MODELS, &[], |world| {
        let (region, links) = world.region("devices", &["lsi1", "lsi2"]);
        let (told, others) = (world.watch("lsi1"), world.watch("lsi2"));
        let [stopped, other] = buffers(world, region);
        let before = written(3, LEN);
        world.begin("lsi1", &write(stopped.at, LEN, 30));
        world.begin("lsi2", &write(other.at, LEN, 31));
        until_both_are_at_it(world);
        world.deactivate(links[0]);
        let then = world.get(stopped.memory);
        let done = arrived(&then, 30, &before);
        assert!(0 < done && done < LEN, "it was not in the middle: {done:#x}");
        let moved = arrived(&world.get(other.memory), 31, &before);
        assert!(0 < moved && moved < LEN, "it was not in the middle: {moved:#x}");

        let (handle, mut reports, mut broken) = (world.handle("lsi1"), Vec::new(), Vec::new());
        loop {
            match world.event() {
                Ok(None) => break,
                Ok(Some(Event::Completed { device, report })) => reports.push((device, report)),
                Ok(Some(_)) => {}
                Err(error) => broken.push(error.to_string()),
            }
        }
        let (first, second): (Vec<_>, Vec<_>) =
            reports.into_iter().partition(|(device, _)| *device == handle);
        if tells_faults(world.model) {
            let fault = told.one();
            assert_eq!(
                (fault.device, fault.address, fault.access, fault.reason),
                (handle, stopped.at + done, FaultAccess::Write, FaultReason::NoContext)
            );
            assert_eq!((first[0].1.outcome, first[0].1.bytes_written), (Outcome::Aborted, done));
            assert_eq!((first.len(), broken.len()), (1, 0), "{broken:?}");
        } else {
            assert_eq!((told.take(), first.len()), (vec![], 0), "QEMU tells AMD-Vi's faults now");
            assert_eq!(broken.len(), 1, "{broken:?}");
        }
        assert_eq!((second[0].1.outcome, second[0].1.bytes_written), (Outcome::Completed, LEN));
        world.assert_memory(&[(stopped.memory, &then), (other.memory, &written(31, LEN))]);
        // Which was not the end of it.
        world.graph.activate(links[0], &mut world.emulated).unwrap();
        assert_eq!(world.run("lsi1", &write(stopped.at, LEN, 32)).outcome, Outcome::Completed);
        world.assert_memory(&[(stopped.memory, &written(32, LEN)), (other.memory, &written(31, LEN))]);
        assert_eq!(others.take(), []);
    });
}

#[test]
fn a_buffer_is_unbacked_in_the_middle_of_a_transfer() {
    on(&MODELS, &[], |world| {
        let (region, _) = world.region("devices", &["lsi1", "lsi2"]);
        let (told, others) = (world.watch("lsi1"), world.watch("lsi2"));
        let [taken, other] = buffers(world, region);
        let before = written(3, LEN);
        world.begin("lsi1", &write(taken.at, LEN, 33));
        world.begin("lsi2", &write(other.at, LEN, 34));
        until_both_are_at_it(world);
        world.unback(taken.reservation);
        let then = world.get(taken.memory);
        let done = arrived(&then, 33, &before);
        assert!(0 < done && done < LEN, "it was not in the middle: {done:#x}");
        // Its memory is somebody else's at once.
        let given_back = world.graph.allocation(taken.memory).unwrap().blocks.to_vec();
        world.graph.free(taken.memory, &mut world.emulated).unwrap();
        let next = world.memory("next", LEN, 5);
        assert_eq!(world.graph.allocation(next).unwrap().blocks, given_back);

        let mut reports = Vec::new();
        while let Some(event) = world.event().unwrap() {
            if let Event::Completed { device, report } = event {
                reports.push((device, report));
            }
        }
        let of = |world: &World, name| {
            let handle = world.handle(name);
            reports.iter().find(|(device, _)| *device == handle).unwrap().1
        };
        if tells_faults(world.model) {
            let fault = told.one();
            assert_eq!(
                (fault.address, fault.access, fault.reason),
                (taken.at + done, FaultAccess::Write, FaultReason::Translation)
            );
            let report = of(world, "lsi1");
            assert_eq!((report.outcome, report.bytes_written), (Outcome::Aborted, done));
        } else {
            assert_eq!(told.take(), [], "QEMU tells AMD-Vi's faults now");
        }
        assert_eq!(of(world, "lsi2").outcome, Outcome::Completed);
        world.assert_memory(&[(next, &noise(5, LEN as usize)), (other.memory, &written(34, LEN))]);
        assert_eq!(others.take(), []);
    });
}
