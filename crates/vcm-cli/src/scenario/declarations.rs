//! Reading what a scenario declares.

use super::model::{
    AssociationSpec, BoundSpec, BufferSpec, HookAnswer, HookSpec, Measure, MeasuredPattern, PoolSpec,
    RegionSpec, ShareSpec, TargetSpec, When, Window,
};
use super::quantity;
use super::surface::layout;
use super::table::Table;
use crate::problem::{Name, Problem};
use std::collections::BTreeMap;
use vcm::pool::{FixedCounts, Policy};
use vcm::{
    Access, Attributes, CachePolicy, Coherence, Contiguity, MemoryType, PageSizes, Part, Privilege,
    RegionKind, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K, Security, Shareability,
};

/// A table's reading, up to the end of the table.
pub(super) fn whole<'t, T>(
    mut table: Table<'t>,
    read: impl FnOnce(&mut Table<'t>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let value = read(&mut table)?;
    table.finish()?;
    Ok(value)
}

pub(super) fn pool(table: &mut Table<'_>) -> Result<PoolSpec, Problem> {
    let memory = table.required_text("memory")?;
    let policy = match table.named_numbers("fixed")? {
        None => Policy::Splitting,
        Some(counts) => {
            let mut fixed = FixedCounts::default();
            for (size, count) in counts {
                match size.text.as_str() {
                    "16M" => fixed.of_16m = count,
                    "1M" => fixed.of_1m = count,
                    "64K" => fixed.of_64k = count,
                    "4K" => fixed.of_4k = count,
                    "contiguous" => fixed.contiguous = count,
                    _ => {
                        let problem = size.problem("pools have no such blocks");
                        return Err(problem.with_known(&size.text, ["16M", "1M", "64K", "4K", "contiguous"]));
                    }
                }
            }
            Policy::FixedCounts(fixed)
        }
    };
    Ok(PoolSpec { memory, policy })
}

pub(super) fn target(table: &mut Table<'_>) -> Result<TargetSpec, Problem> {
    let name = table.required_text("name")?;
    let memories = table.texts("memories")?.ok_or_else(|| table.missing("memories"))?;
    if memories.is_empty() {
        return Err(table.problem("memories", "a target needs a memory at least"));
    }
    Ok(TargetSpec { name, memories })
}

pub(super) fn region(table: &mut Table<'_>) -> Result<RegionSpec, Problem> {
    let name = table.required_text("name")?;
    let words = RegionKind::ALL.map(|kind| (kind.name(), kind));
    let kind = table.choice("kind", &words)?.ok_or_else(|| table.missing("kind"))?;
    let (start, len) = (table.number("start")?, table.number("len")?);
    let window = match (table.text("memory")?, start, len) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            return Err(table.problem("memory", "a region has a memory's addresses, or start and len"));
        }
        (Some(memory), None, None) => Window::OfMemory(memory),
        (None, None, None) => Window::OfDevice,
        (None, start, Some(len)) => Window::Range(start.unwrap_or(0), len),
        (None, Some(_), None) => return Err(table.missing("len")),
    };
    Ok(RegionSpec { name, kind, window })
}

pub(super) fn bound(table: &mut Table<'_>) -> Result<BoundSpec, Problem> {
    Ok(BoundSpec {
        name: table.required_text("name")?,
        region: table.required_text("region")?,
        len: table.required_number("len")?,
    })
}

pub(super) const PRIVILEGES: [(&str, Privilege); 2] =
    [("user", Privilege::User), ("supervisor", Privilege::Supervisor)];

const WHEN: [(&str, When); 2] = [("start", When::Start), ("later", When::Later)];

pub(super) fn association(table: &mut Table<'_>) -> Result<AssociationSpec, Problem> {
    Ok(AssociationSpec {
        place: table.place().clone(),
        region: table.required_text("region")?,
        device: table.required_text("device")?,
        part: match table.text("part")? {
            None => Part::Whole,
            Some(name) => part(&name)?,
        },
        active: table.choice("active", &WHEN)?.unwrap_or(When::Start),
    })
}

fn part(name: &Name) -> Result<Part, Problem> {
    let split = |text: &str| text.parse::<u8>().ok().filter(|split| (1..=63).contains(split));
    let part = match name.text.split_once('/') {
        None if name.text == "whole" => Some(Part::Whole),
        Some(("low", text)) => split(text).map(|split| Part::Low { split }),
        Some(("high", text)) => split(text).map(|split| Part::High { split }),
        _ => None,
    };
    part.ok_or_else(|| {
        name.problem(format!("\"{name}\" is no part of a device's addresses")).with_help(
            "write \"whole\", or \"low/1\" and \"high/1\" (the number is that of leading zero bits)",
        )
    })
}

pub(super) fn buffer(table: &mut Table<'_>) -> Result<BufferSpec, Problem> {
    let name = table.required_text("name")?;
    if name.text.contains('@') {
        return Err(name.problem("a buffer's name has no \"@\": shares are called buffer@region"));
    }
    let blocks = match table.texts("blocks")? {
        None => None,
        Some(names) => {
            let mut mask = 0;
            for size in &names {
                mask |= block_size(size)?;
            }
            Some(PageSizes::from_mask(mask).ok_or_else(|| table.problem("blocks", "no size is listed"))?)
        }
    };
    Ok(BufferSpec {
        name,
        len: table.required_number("len")?,
        target: table.text("target")?,
        contiguity: if table.flag("contiguous")? { Contiguity::Contiguous } else { Contiguity::Blocks },
        alignment: table.number("alignment")?,
        blocks,
        coherence: if table.flag("coherent")? { Coherence::Coherent } else { Coherence::Any },
    })
}

fn block_size(name: &Name) -> Result<u64, Problem> {
    match quantity::parse(&name.text) {
        Ok(size @ (SIZE_4K | SIZE_64K | SIZE_1M | SIZE_16M)) => Ok(size),
        _ => Err(name
            .problem(format!("\"{name}\" is no block size"))
            .with_help("blocks have 4K, 64K, 1M or 16M")),
    }
}

pub(super) fn share(table: &mut Table<'_>) -> Result<ShareSpec, Problem> {
    let buffer = table.required_text("buffer")?;
    let region = table.required_text("region")?;
    let name = match table.text("name")? {
        Some(name) => name,
        None => Name { text: format!("{buffer}@{region}"), place: table.place().clone() },
    };
    let (bound, address) = (table.text("bound")?, table.number("address")?);
    let alignment = table.number("alignment")?;
    if address.is_some() && (bound.is_some() || alignment.is_some()) {
        return Err(table.problem("address", "an address goes without bound and alignment"));
    }
    Ok(ShareSpec {
        name,
        buffer,
        region,
        bound,
        address,
        alignment,
        offset: table.number("offset")?.unwrap_or(0),
        len: table.number("len")?,
        attributes: attributes(table)?,
        backed: table.choice("backed", &WHEN)?.unwrap_or(When::Start),
    })
}

fn attributes(table: &mut Table<'_>) -> Result<Attributes, Problem> {
    let accesses = [
        ("r", Access::READ),
        ("w", Access::WRITE),
        ("rw", Access::READ_WRITE),
        ("rx", Access::READ.union(Access::EXECUTE)),
        ("rwx", Access::all()),
    ];
    let worlds = [("non-secure", Security::NonSecure), ("secure", Security::Secure)];
    let types = [
        ("write-back", MemoryType::Normal(CachePolicy::WriteBackWriteAllocate)),
        ("write-back-no-allocate", MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate)),
        ("write-through", MemoryType::Normal(CachePolicy::WriteThrough)),
        ("not-cached", MemoryType::Normal(CachePolicy::NotCached)),
        ("device", MemoryType::Device),
        ("strongly-ordered", MemoryType::StronglyOrdered),
    ];
    let domains = [
        ("none", Shareability::NonShareable),
        ("inner", Shareability::Inner),
        ("outer", Shareability::Outer),
    ];
    let base = Attributes::READ_WRITE;
    Ok(Attributes {
        access: table.choice("access", &accesses)?.unwrap_or(base.access),
        privilege: table.choice("privilege", &PRIVILEGES)?.unwrap_or(base.privilege),
        security: table.choice("security", &worlds)?.unwrap_or(base.security),
        memory_type: table.choice("cache", &types)?.unwrap_or(base.memory_type),
        shareability: table.choice("shareability", &domains)?.unwrap_or(base.shareability),
    })
}

pub(super) fn hook(table: &mut Table<'_>) -> Result<HookSpec, Problem> {
    #[derive(Clone, Copy)]
    enum Word {
        None,
        Terminate,
        Retry,
    }
    let words = [("none", Word::None), ("terminate", Word::Terminate), ("retry", Word::Retry)];
    let device = table.required_text("device")?;
    let answer = match table.choice("answer", &words)?.ok_or_else(|| table.missing("answer"))? {
        Word::None => HookAnswer::None,
        Word::Terminate => HookAnswer::Terminate,
        Word::Retry => HookAnswer::BackAndRetry(table.required_text("back")?),
    };
    Ok(HookSpec { device, answer })
}

pub(super) fn measure(table: &mut Table<'_>) -> Result<Measure, Problem> {
    let place = table.place().clone();
    let device = table.required_text("device")?;
    let target = table.text("target")?;
    let len = table.required_number("len")?;
    let names = table.texts("blocks")?.ok_or_else(|| table.missing("blocks"))?;
    let mut blocks = names.iter().map(block_size).collect::<Result<Vec<_>, _>>()?;
    blocks.sort_unstable();
    blocks.dedup();
    if blocks.is_empty() {
        return Err(table.problem("blocks", "no size is listed"));
    }
    if len == 0 || blocks.iter().any(|size| !len.is_multiple_of(*size)) || len > 1 << 30 {
        return Err(table.problem("len", "the length is no multiple of every block size, or more than 1G"));
    }
    let mut tlb_entries = Vec::new();
    for entries in table.numbers("tlb-entries")?.unwrap_or_default() {
        match u32::try_from(entries) {
            Ok(entries @ 1..=256) => tlb_entries.push(entries),
            _ => return Err(table.problem("tlb-entries", "a TLB has 1 to 256 entries")),
        }
    }
    tlb_entries.sort_unstable();
    tlb_entries.dedup();
    let mut patterns = Vec::new();
    for inner in table.tables("pattern")? {
        let pattern = whole(inner, |inner| {
            let name = inner.required_text("name")?;
            let layout = layout(inner)?.ok_or_else(|| inner.missing("len"))?;
            if layout.extent() > len {
                return Err(name.problem(format!("this passes the end of the {len} bytes")));
            }
            Ok(MeasuredPattern { name, layout })
        })?;
        patterns.push(pattern);
    }
    if patterns.is_empty() {
        return Err(table.missing("pattern"));
    }
    Ok(Measure { place, device, target, len, blocks, tlb_entries, patterns })
}

/// Counts by size, the sizes being keys.
pub(super) fn counts(table: &mut Table<'_>, key: &'static str) -> Result<BTreeMap<u64, u64>, Problem> {
    let named = table.named_numbers(key)?.ok_or_else(|| table.missing(key))?;
    let mut all = BTreeMap::new();
    for (size, count) in named {
        let bytes = quantity::parse(&size.text).map_err(|what| size.problem(what))?;
        all.insert(bytes, count);
    }
    Ok(all)
}
