//! Qualcomm's MSM SMMU in its two bindings.
//!
//! - Mainline's, `qcom,apq8064-iommu` (Linux
//!   Documentation/devicetree/bindings/iommu/qcom,apq8064-iommu.yaml): `reg`, `interrupts` (the non-secure
//!   one, then the secure one), `qcom,ncb` = number of context banks, `#iommu-cells = <1>`. Masters refer to
//!   it with `iommus`; the cell is the stream id (MID).
//! - The original, `qcom,msm-smmu-v0` (Linux 3.4 and 3.10 for MSM, Documentation/devicetree/bindings/iommu/
//!   msm_iommu_v0.txt): `reg`, `qcom,glb-offset`, `label`, and a child for each context with `reg` (its bank's page),
//!   `interrupts`, `qcom,iommu-ctx-mids` and `label`. The context is the device that users name.
//!
//! Beyond that binding an original node may have `qcom,ncb` too, for banks that no context owns, and then contexts
//! without `reg`, for contexts that take turns on the banks. Either may have `vcm,tlb-entries`.

use super::addressing::{Registers, registers};
use super::interrupts::interrupts;
use super::iommus::Iommus;
use super::notes::{Names, Notes};
use super::tree::Node;
use super::{Context, MsmSmmu, PhysicalRange, TopologyError};
use std::collections::BTreeSet;

const ORIGINAL_CONTEXT: &str = "qcom,msm-smmu-v0-ctx";

/// The size of a context bank's registers, and of the global ones (Linux msm_iommu_hw-8xxx.h, `CTX_SHIFT` = 12).
const BANK: u64 = 0x1000;
/// Where the global registers are in the window of 1 MiB that the SoCs before the original binding have.
const DEFAULT_GLOBAL_OFFSET: u64 = 0xf_f000;
/// The field IDR.NCB has 8 bits and holds the number less one.
const MAX_BANKS: u32 = 256;
/// What mainline's binding allows.
const MAX_MAINLINE_BANKS: u32 = 4;
/// The table M2VCBR has 0x800 bytes of 4 for each stream; IDR.NM2VCBMT has 9 bits and holds the number less one.
pub(super) const LAST_STREAM: u32 = 511;
/// A TLB entry's index has 8 bits (TLBRSW.INDEX, V2PSR.INDEX).
const MAX_TLB_ENTRIES: u32 = 256;

/// Reads an original node, whose streams go to its contexts; `window` is its register window.
pub(super) fn original(
    iommus: &mut Iommus,
    node: Node<'_>,
    window: PhysicalRange,
    names: &mut Names,
    notes: &mut Notes,
) -> Result<MsmSmmu, TopologyError> {
    let mut smmu = common(node)?;
    if let Some(offset) = node.cell("qcom,glb-offset")? {
        smmu.global_offset = u64::from(offset);
    }
    let mut banks = 0;
    let mut children = 0;
    let mut numbers = BTreeSet::new();
    for child in node.children() {
        let is_context = child.strings("compatible")?.contains(&ORIGINAL_CONTEXT);
        // Trees for Linux 3.4 have contexts without `compatible`.
        if !is_context && !child.has("qcom,iommu-ctx-mids") {
            notes.pass_over(child, "not a context of the IOMMU it is in");
            continue;
        }
        children += 1;
        let number = bank(child, window)?;
        if let Some(number) = number {
            banks = banks.max(number + 1);
            if !numbers.insert(number) {
                return Err(child.wrong(
                    "reg",
                    format!("context bank {number} a second time"),
                    "a bank of its own",
                ));
            }
        }
        if !notes.enabled(child)? {
            continue;
        }
        let stream_ids = child.cells("qcom,iommu-ctx-mids")?.ok_or_else(|| {
            child.impossible("no qcom,iommu-ctx-mids", "the ids of the masters that the context translates")
        })?;
        for &id in &stream_ids {
            iommus.take_stream(child, "qcom,iommu-ctx-mids", (iommus.list.len(), LAST_STREAM), id)?;
        }
        let (name, interrupts) = (names.label(child)?, interrupts(child, notes)?);
        smmu.contexts.push(Context { name, path: child.path(), number, stream_ids, interrupts });
        iommus.context_nodes.push(child.index());
    }
    smmu.context_banks = match node.cell("qcom,ncb")? {
        Some(count) if count >= banks => count,
        Some(count) => {
            let expected = format!("more: a context owns bank {}", banks - 1);
            return Err(node.wrong("qcom,ncb", count.to_string(), expected));
        }
        None => banks.max(children),
    };
    check_banks(node, window, &smmu, MAX_BANKS)?;
    Ok(smmu)
}

/// Reads a node of mainline's binding; `window` is its register window.
pub(super) fn mainline(node: Node<'_>, window: PhysicalRange) -> Result<MsmSmmu, TopologyError> {
    let mut smmu = common(node)?;
    let expected = format!("1 to {MAX_MAINLINE_BANKS}, the number of context banks");
    smmu.context_banks = node.cell("qcom,ncb")?.ok_or_else(|| node.wrong("qcom,ncb", "nothing", expected))?;
    check_banks(node, window, &smmu, MAX_MAINLINE_BANKS)?;
    Ok(smmu)
}

/// What both bindings have.
fn common(node: Node<'_>) -> Result<MsmSmmu, TopologyError> {
    let tlb_entries = node.cell("vcm,tlb-entries")?;
    if let Some(count) = tlb_entries.filter(|count| !(1..=MAX_TLB_ENTRIES).contains(count)) {
        return Err(node.wrong("vcm,tlb-entries", count.to_string(), format!("1 to {MAX_TLB_ENTRIES}")));
    }
    Ok(MsmSmmu { global_offset: DEFAULT_GLOBAL_OFFSET, context_banks: 0, contexts: Vec::new(), tlb_entries })
}

/// The bank that a context's `reg` is the page of; `None` without a `reg`.
fn bank(context: Node<'_>, window: PhysicalRange) -> Result<Option<u32>, TopologyError> {
    if !context.has("reg") {
        return Ok(None);
    }
    let page = match registers(context)? {
        Registers::Mapped(ranges) => ranges.first().copied(),
        Registers::NotMapped(reason) => {
            return Err(context.wrong("reg", reason, "the page of a context bank"));
        }
    };
    let offset = page.and_then(|page| page.base.raw().checked_sub(window.base.raw()));
    let number = offset.filter(|offset| offset.is_multiple_of(BANK)).map(|offset| offset / BANK);
    match number.and_then(|number| u32::try_from(number).ok()).filter(|&number| number < MAX_BANKS) {
        Some(number) => Ok(Some(number)),
        None => {
            let found = page.map_or("nothing".into(), |page| format!("{:#x}", page.base));
            let expected =
                format!("{:#x} and a multiple of {BANK:#x}, for banks 0 to {}", window.base, MAX_BANKS - 1);
            Err(context.wrong("reg", found, expected))
        }
    }
}

/// Whether the banks, then the global registers, fit into the window.
fn check_banks(
    node: Node<'_>,
    window: PhysicalRange,
    smmu: &MsmSmmu,
    most: u32,
) -> Result<(), TopologyError> {
    if !(1..=most).contains(&smmu.context_banks) {
        return Err(node.impossible(format!("{} context banks", smmu.context_banks), format!("1 to {most}")));
    }
    let banks_end = u64::from(smmu.context_banks) * BANK;
    if smmu.global_offset < banks_end || smmu.global_offset + BANK > window.size {
        let found = format!(
            "{} banks of {BANK:#x}, global registers at {:#x}",
            smmu.context_banks, smmu.global_offset
        );
        return Err(
            node.impossible(found, format!("both inside the window of {:#x} bytes, apart", window.size))
        );
    }
    Ok(())
}
