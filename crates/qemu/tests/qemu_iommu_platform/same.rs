//! The same calls make the same graph, whichever IOMMU is below it.

use crate::support::*;
use std::cell::RefCell;
use vcm::{Extent, Part, RegionKind, RegionRequest, SIZE_2M, Span};

/// Takes out what is the machine's own: where its memory is, and what its tables are called.
fn common(graph: &Graph) -> serde_json::Value {
    let mut value = serde_json::to_value(graph.view()).unwrap();
    value.as_object_mut().unwrap().remove("pools").unwrap();
    for region in value["regions"].as_array_mut().unwrap() {
        for link in region["associations"].as_array_mut().unwrap() {
            link.as_object_mut().unwrap().remove("format").unwrap();
        }
    }
    for allocation in value["allocations"].as_array_mut().unwrap() {
        for block in allocation["blocks"].as_array_mut().unwrap() {
            block.as_object_mut().unwrap().remove("base").unwrap();
        }
    }
    value
}

#[test]
fn the_graph_is_the_same_on_every_machine() {
    let first = RefCell::new(None::<(IommuModel, Vec<serde_json::Value>)>);
    on(&MODELS, &[], |world| {
        let told = world.watch("lsi2");
        let mut steps = Vec::new();
        let (video, video_links) = world.region("video", &["lsi1", "lsi2"]);
        let (sound, sound_links) = world.region("sound", &["lsi3"]);
        let window = Span::inclusive(0x4000_0000, 0x4fff_ffff).unwrap();
        let cpu = world.graph.create_region(&RegionRequest::new("cpu", RegionKind::Cpu, window)).unwrap();
        let processor = world.device("cpu");
        let cpu_link = world.graph.associate(cpu, processor, Part::Whole, &mut world.emulated).unwrap();
        world.graph.activate(cpu_link, &mut world.emulated).unwrap();
        steps.push(common(&world.graph));

        // One memory for all, of 4M, 64K and 8K; a part of it read-only for the sound.
        let frame = world.memory("frame", (4 << 20) + 0x1_2000, 1);
        let in_video = world.graph.reserve(video, (4_u64 << 20) + 0x1_2000, Attributes::READ_WRITE).unwrap();
        let in_cpu = world.graph.reserve(cpu, (4_u64 << 20) + 0x1_2000, Attributes::READ_WRITE).unwrap();
        let read_only = Attributes::READ_WRITE.with_access(Access::READ);
        let in_sound = world.graph.reserve(sound, SIZE_2M, read_only).unwrap();
        for reservation in [in_video, in_cpu] {
            world.graph.back(reservation, frame, &mut world.emulated).unwrap();
        }
        let plan = world.graph.plan_back(in_sound, frame, Extent::From(SIZE_2M)).unwrap();
        plan.commit(&mut world.emulated).unwrap();
        let _unbacked = world.graph.reserve(sound, 0x5000_u64, Attributes::READ_WRITE).unwrap();
        steps.push(common(&world.graph));

        // And it is true: what one writes the others read.
        let at = |world: &World, id| world.graph.device_address(id).unwrap().raw();
        let (to, from) = (at(world, in_video), at(world, in_sound));
        assert_eq!(world.run("lsi2", &write(to + SIZE_2M, 0x2_0000, 5)).outcome, Outcome::Completed);
        world.watch("lsi3");
        assert_eq!(world.run("lsi3", &read(from, 0x2_0000)).checksum, sum(&written(5, 0x2_0000)));
        assert_eq!(told.take(), []);

        world.unback(in_cpu);
        world.deactivate(video_links[0]);
        world.graph.deassociate(video_links[0], &mut world.emulated).unwrap();
        world.deactivate(sound_links[0]);
        steps.push(common(&world.graph));
        let states = &steps[2]["regions"];
        assert_eq!(states[0]["associations"][0]["state"], "active");
        assert_eq!(states[1]["associations"][0]["state"], "inactive");
        assert_eq!(states[0]["reservations"][0]["state"], "backed");
        assert_eq!(steps[2]["allocations"][0]["mappers"].as_array().unwrap().len(), 2);

        let mut first = first.borrow_mut();
        match &*first {
            Some((model, expected)) => {
                for (step, (found, expected)) in steps.iter().zip(expected).enumerate() {
                    assert_eq!(found, expected, "step {step}: {:?} is not as {model:?}", world.model);
                }
            }
            None => *first = Some((world.model, steps)),
        }
    });
}
