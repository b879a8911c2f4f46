//! What must hold at some point of a scenario.

use super::failure::Failure;
use super::log::Log;
use super::many;
use super::record::{Counts, Transferred};
use super::world::{ShareEntry, World};
use crate::problem::Name;
use crate::scenario::Expectation;
use std::collections::BTreeMap;
use vcm::{HardwareErrorKind, PageSizes, Segments};

/// What had to hold, and what was found: good or bad.
type Found = (String, Result<String, String>);

/// Finds out whether something holds.
///
/// # Errors
/// It makes no sense at this point.
pub(super) fn expectation(
    world: &mut World<'_>,
    expectation: &Expectation,
    log: &Log<'_>,
) -> Result<Found, Failure> {
    Ok(match expectation {
        Expectation::Address { share, is } => address(world, share, *is)?,
        Expectation::Leaves { share, leaves } => {
            let entry = world.share(share)?.clone();
            let found: Counts = world.graph.leaves(entry.reservation, &*world.platform).into();
            let result = match other_sizes(world, &entry) {
                None => same_counts(&found, leaves),
                Some(sizes) => same_counts(&found, &fewest(world, &entry, sizes)?.0)
                    .map(|text| format!("{text}, the fewest with pages of {sizes}")),
            };
            (format!("leaves of {share}"), result)
        }
        Expectation::Blocks { buffer, blocks } => {
            let id = world.buffer(buffer)?.id;
            let info = world.graph.allocation(id).map_err(|error| world.refused(error))?;
            let found = Counts::of(info.blocks.iter().map(|block| block.len));
            (format!("blocks of {buffer}"), same_counts(&found, blocks))
        }
        Expectation::Faults { device, count, reason } => {
            let master = world.master(device)?;
            let reason = reason.map(|reason| reason.to_string());
            let faults = log.record.faults.iter().filter(|fault| {
                fault.device == master.name && reason.as_ref().is_none_or(|reason| fault.reason == *reason)
            });
            let found = faults.count() as u64;
            let kind = reason.map(|reason| format!("{reason} ")).unwrap_or_default();
            let text = format!("{} so far", many(found, &format!("{kind}fault")));
            let result =
                if found == *count { Ok(text) } else { Err(format!("{text}, and had to be {count}")) };
            (format!("faults of {}", master.role), result)
        }
        Expectation::MissesRise { transfers } => misses_rise(transfers, log)?,
        Expectation::MissesAtMost { transfer, most } => {
            let found = counted(transfer, log)?;
            let text = format!("{} in {} lookups", found.tlb_misses, found.tlb_lookups);
            let ok = found.tlb_misses <= *most;
            let result = if ok { Ok(text) } else { Err(format!("{text}, and had to be at most {most}")) };
            (format!("TLB misses of {transfer}"), result)
        }
        Expectation::Translation { share, device } => translation(world, share, device)?,
        Expectation::SameByte { share, other } => same_byte(world, share, other)?,
    })
}

/// The page sizes that the share's region is mapped with, where they are not those that scenarios count in: those that
/// all its devices have.
fn other_sizes(world: &World<'_>, entry: &ShareEntry) -> Option<PageSizes> {
    let region = entry.reservation.region();
    let mut sizes = None;
    for link in world.graph.associations().filter(|link| link.region == region) {
        let Some(master) = world.masters.iter().find(|master| master.id == link.device) else { continue };
        let Ok(format) = world.platform.format(master.handle, link.part) else { continue };
        sizes = Some(sizes.map_or(format.page_sizes, |known: PageSizes| {
            known.intersection(format.page_sizes).unwrap_or(known)
        }));
    }
    sizes.filter(|sizes| *sizes != PageSizes::ARM_SHORT)
}

/// The fewest pages of `sizes` that can map the share where it is: at every address the largest that fits, counted
/// without a look at any page table.
fn fewest(world: &World<'_>, entry: &ShareEntry, sizes: PageSizes) -> Result<Counts, Failure> {
    let id = world.graph.allocation_behind(entry.reservation).map_err(|error| world.refused(error))?;
    let info = world.graph.allocation(id).map_err(|error| world.refused(error))?;
    let start = world.graph.device_address(entry.reservation).map_err(|error| world.refused(error))?;
    // Blocks that follow each other are one.
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for segment in Segments::new(info.blocks, entry.offset, entry.len) {
        match runs.last_mut() {
            Some((base, len)) if base.wrapping_add(*len) == segment.base.raw() => *len += segment.len,
            _ => runs.push((segment.base.raw(), segment.len)),
        }
    }
    let mut at = start.raw();
    let mut pages = Vec::new();
    for (mut physical, mut left) in runs {
        while let Some(size) = sizes.largest_at(at, physical, left.into()) {
            pages.push(size);
            (at, physical, left) = (at + size, physical + size, left - size);
        }
    }
    Ok(Counts::of(pages))
}

fn same_counts(found: &Counts, expected: &BTreeMap<u64, u64>) -> Result<String, String> {
    if found.0 == *expected {
        Ok(found.to_string())
    } else {
        Err(format!("{found}, and had to be {}", Counts(expected.clone())))
    }
}

fn address(world: &World<'_>, share: &Name, is: Option<u64>) -> Result<Found, Failure> {
    let entry = world.share(share)?;
    let address = world.graph.device_address(entry.reservation).map_err(|error| world.refused(error))?.raw();
    let (expected, what) = match is {
        Some(address) => (Some(address), "where it was asked for"),
        None => {
            let base = world.buffers.get(&entry.buffer).and_then(|buffer| {
                let info = world.graph.allocation(buffer.id).ok()?;
                // One-to-one memory is in one piece.
                (info.blocks.len() == 1).then(|| info.blocks[0].base.raw() + entry.offset)
            });
            (base, "where its memory is")
        }
    };
    let result = match expected {
        Some(expected) if expected == address => Ok(format!("{address:#x}")),
        Some(expected) => Err(format!("{address:#x}, and had to be {expected:#x}")),
        None => Err(format!("{address:#x}, but its memory is in pieces")),
    };
    Ok((format!("{share} is {what}"), result))
}

fn transferred<'l>(name: &Name, log: &'l Log<'_>) -> Result<&'l Transferred, Failure> {
    log.record.transfers.iter().find(|transfer| transfer.name == name.text).ok_or_else(|| {
        Failure::Problem(name.problem(format!("transfer \"{name}\" was not made at this point")))
    })
}

/// The same, where its TLB lookups were counted.
fn counted<'l>(name: &Name, log: &'l Log<'_>) -> Result<&'l Transferred, Failure> {
    let found = transferred(name, log)?;
    if found.tlb_lookups == 0 && found.bytes_read + found.bytes_written > 0 {
        let problem =
            format!("no TLB lookups were counted for \"{name}\": the machine cannot, or none is in the way");
        return Err(Failure::Problem(name.problem(problem).with_help("`vcm machines` lists others")));
    }
    Ok(found)
}

fn misses_rise(transfers: &[Name], log: &Log<'_>) -> Result<Found, Failure> {
    let mut texts = Vec::new();
    let mut ok = true;
    let mut before = None;
    for name in transfers {
        let found = counted(name, log)?;
        texts.push(format!("{name} {}", found.tlb_misses));
        ok &= before.is_none_or(|before| before < found.tlb_misses);
        before = Some(found.tlb_misses);
    }
    let text = texts.join(", ");
    let result = if ok { Ok(text) } else { Err(format!("{text}: each had to be more than the one before")) };
    Ok(("TLB misses rise from one to the next".into(), result))
}

/// The graph, the page tables and the hardware have to agree at the first byte, in the middle and at the last byte.
fn translation(world: &mut World<'_>, share: &Name, device: &Name) -> Result<Found, Failure> {
    let entry = world.share(share)?.clone();
    let master = world.master(device)?;
    let name = format!("graph, tables and hardware agree: {share}");
    let start = world.graph.device_address(entry.reservation).map_err(|error| world.refused(error))?.raw();
    let mut said = Vec::new();
    for offset in [0, entry.len / 2, entry.len - 1] {
        let address = start + offset;
        let asked = world.graph.translate(master.id, address, &mut *world.platform);
        let found = asked.map_err(|error| world.refused(error))?;
        let hardware = match found.hardware {
            Ok(physical) => Some(physical),
            // A machine whose hardware cannot be asked.
            Err(error) if error.kind == HardwareErrorKind::NotSupported => found.tables,
            Err(_) => None,
        };
        if found.graph.is_none() || found.graph != found.tables || found.tables != hardware {
            let word = |address: Option<vcm::PhysicalAddress>| {
                address.map_or_else(|| "nowhere".into(), |address| address.to_string())
            };
            let what = format!(
                "{address:#x} leads to {} by the graph, {} by the page tables, {} by the hardware",
                word(found.graph),
                word(found.tables),
                word(hardware)
            );
            return Ok((name, Err(what)));
        }
        said.push(format!(
            "{address:#x} -> {}",
            found.graph.map(vcm::PhysicalAddress::raw).map_or_else(String::new, |raw| format!("{raw:#x}"))
        ));
    }
    Ok((name, Ok(said.join(", "))))
}

fn same_byte(world: &World<'_>, share: &Name, other: &Name) -> Result<Found, Failure> {
    let (from, to) = (world.share(share)?, world.share(other)?);
    let start = world.graph.device_address(from.reservation).map_err(|error| world.refused(error))?.raw();
    let expected = world.graph.device_address(to.reservation).map_err(|error| world.refused(error))?.raw();
    // The first byte that both have.
    let byte = from.offset.max(to.offset);
    if from.buffer != to.buffer || byte >= (from.offset + from.len).min(to.offset + to.len) {
        return Err(other.problem(format!("\"{share}\" and \"{other}\" have no byte in common")).into());
    }
    let (address, expected) = (start + (byte - from.offset), expected + (byte - to.offset));
    let found = world.graph.address_in(from.reservation.region(), address, to.reservation.region());
    let leads = |address| world.graph.physical_at(to.reservation.region(), address);
    let result = match found {
        // A region may have the buffer twice, and the graph tells the lowest address.
        Some(found) if found.raw() == expected || leads(expected) == leads(found.raw()) => {
            Ok(format!("{address:#x} is {expected:#x} there"))
        }
        Some(found) => Err(format!("{address:#x} is {found} there, and had to be {expected:#x}")),
        None => Err(format!("{address:#x} is not there")),
    };
    Ok((format!("{share} is {other}"), result))
}
