//! IOMMUs in their two bindings.
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
//! without `reg`, for contexts that take turns on the banks. Any IOMMU may have `dma-coherent` and `vcm,tlb-entries`.

use super::addressing::{Registers, registers};
use super::blob::Blob;
use super::interrupts::interrupts;
use super::notes::{Names, Notes};
use super::tree::Node;
use super::{Context, Iommu, IommuKind, TopologyError};
use std::collections::{BTreeMap, BTreeSet};

const MAINLINE: &str = "qcom,apq8064-iommu";
const ORIGINAL: &str = "qcom,msm-smmu-v0";
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
const MAX_STREAMS: u32 = 512;
/// A TLB entry's index has 8 bits (TLBRSW.INDEX, V2PSR.INDEX).
const MAX_TLB_ENTRIES: u32 = 256;

/// What `iommus` can refer to.
pub(super) struct Iommus {
    pub(super) list: Vec<Iommu>,
    /// The index in `list` by the index of the node; `None` for an IOMMU that is passed over.
    by_node: BTreeMap<usize, Option<usize>>,
    /// The index of the IOMMU and the stream ids on it that have a master.
    taken: BTreeSet<(usize, u32)>,
    /// The nodes of the contexts, as `list` orders them.
    pub(super) context_nodes: Vec<usize>,
}

impl Iommus {
    /// Every IOMMU of the tree.
    pub(super) fn read(blob: &Blob<'_>, names: &mut Names, notes: &mut Notes) -> Result<Self, TopologyError> {
        let mut iommus = Self {
            list: Vec::new(),
            by_node: BTreeMap::new(),
            taken: BTreeSet::new(),
            context_nodes: Vec::new(),
        };
        // IOMMUs are not devices of the graph: their names are apart from the masters' and contexts'.
        let mut own_names = Names::default();
        for node in Node::all(blob) {
            let compatible = node.strings("compatible")?;
            let known = compatible.contains(&MAINLINE) || compatible.contains(&ORIGINAL);
            let index = if !known && !node.has("#iommu-cells") {
                continue;
            } else if !known {
                notes.pass_over(
                    node,
                    format!("an IOMMU of a kind that is not known: {}", compatible.join(", ")),
                );
                None
            } else if !notes.enabled(node)? {
                None
            } else {
                let iommu = if compatible.contains(&MAINLINE) {
                    mainline(node, &mut own_names, notes)?
                } else {
                    iommus.original(node, &mut own_names, names, notes)?
                };
                iommus.list.push(iommu);
                Some(iommus.list.len() - 1)
            };
            iommus.by_node.insert(node.index(), index);
        }
        Ok(iommus)
    }

    /// What a master's reference leads to: the IOMMU's index, or `None` when that IOMMU is passed over.
    pub(super) fn referred(&self, iommu: Node<'_>) -> Option<Option<usize>> {
        self.by_node.get(&iommu.index()).copied()
    }

    /// Gives stream `id` of an IOMMU to whom `node` describes, which says so in `property`.
    pub(super) fn take_stream(
        &mut self,
        node: Node<'_>,
        property: &str,
        iommu: usize,
        id: u32,
    ) -> Result<(), TopologyError> {
        if id >= MAX_STREAMS {
            return Err(node.wrong(property, format!("stream id {id}"), format!("0 to {}", MAX_STREAMS - 1)));
        }
        if !self.taken.insert((iommu, id)) {
            return Err(node.wrong(
                property,
                format!("stream id {id}, which is taken"),
                "each stream once at an IOMMU",
            ));
        }
        Ok(())
    }

    fn original(
        &mut self,
        node: Node<'_>,
        own_names: &mut Names,
        names: &mut Names,
        notes: &mut Notes,
    ) -> Result<Iommu, TopologyError> {
        let mut iommu = window(node, own_names.label(node)?, notes)?;
        if let Some(offset) = node.cell("qcom,glb-offset")? {
            iommu.global_offset = u64::from(offset);
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
            let number = bank(child, &iommu)?;
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
                child.impossible(
                    "no qcom,iommu-ctx-mids",
                    "the ids of the masters that the context translates",
                )
            })?;
            for &id in &stream_ids {
                self.take_stream(child, "qcom,iommu-ctx-mids", self.list.len(), id)?;
            }
            let (name, interrupts) = (names.label(child)?, interrupts(child, notes)?);
            iommu.contexts.push(Context { name, path: child.path(), number, stream_ids, interrupts });
            self.context_nodes.push(child.index());
        }
        iommu.context_banks = match node.cell("qcom,ncb")? {
            Some(count) if count >= banks => count,
            Some(count) => {
                let expected = format!("more: a context owns bank {}", banks - 1);
                return Err(node.wrong("qcom,ncb", count.to_string(), expected));
            }
            None => banks.max(children),
        };
        check_banks(node, &iommu, MAX_BANKS)?;
        Ok(iommu)
    }
}

fn mainline(node: Node<'_>, own_names: &mut Names, notes: &mut Notes) -> Result<Iommu, TopologyError> {
    let mut iommu = window(node, own_names.node_name(node), notes)?;
    let expected = format!("1 to {MAX_MAINLINE_BANKS}, the number of context banks");
    iommu.context_banks =
        node.cell("qcom,ncb")?.ok_or_else(|| node.wrong("qcom,ncb", "nothing", expected))?;
    if let Some(cells) = node.cell("#iommu-cells")?.filter(|&cells| cells != 1) {
        return Err(node.wrong("#iommu-cells", cells.to_string(), "1: the stream id"));
    }
    check_banks(node, &iommu, MAX_MAINLINE_BANKS)?;
    Ok(iommu)
}

/// What both bindings have.
fn window(node: Node<'_>, name: String, notes: &mut Notes) -> Result<Iommu, TopologyError> {
    let window = match registers(node)? {
        Registers::Mapped(ranges) => ranges.first().copied(),
        Registers::NotMapped(reason) => {
            return Err(node.wrong("reg", reason, "a window of physical addresses"));
        }
    };
    let window = window.ok_or_else(|| node.wrong("reg", "nothing", "the window of its registers"))?;
    let tlb_entries = node.cell("vcm,tlb-entries")?;
    if let Some(count) = tlb_entries.filter(|count| !(1..=MAX_TLB_ENTRIES).contains(count)) {
        return Err(node.wrong("vcm,tlb-entries", count.to_string(), format!("1 to {MAX_TLB_ENTRIES}")));
    }
    Ok(Iommu {
        name,
        path: node.path(),
        compatible: node.compatible()?,
        kind: IommuKind::MsmV0,
        base: window.base,
        size: window.size,
        global_offset: DEFAULT_GLOBAL_OFFSET,
        interrupts: interrupts(node, notes)?,
        context_banks: 0,
        contexts: Vec::new(),
        tlb_entries,
        coherent_walk: node.has("dma-coherent"),
    })
}

/// The bank that a context's `reg` is the page of; `None` without a `reg`.
fn bank(context: Node<'_>, iommu: &Iommu) -> Result<Option<u32>, TopologyError> {
    if !context.has("reg") {
        return Ok(None);
    }
    let page = match registers(context)? {
        Registers::Mapped(ranges) => ranges.first().copied(),
        Registers::NotMapped(reason) => {
            return Err(context.wrong("reg", reason, "the page of a context bank"));
        }
    };
    let offset = page.and_then(|page| page.base.raw().checked_sub(iommu.base.raw()));
    let number = offset.filter(|offset| offset.is_multiple_of(BANK)).map(|offset| offset / BANK);
    match number.and_then(|number| u32::try_from(number).ok()).filter(|&number| number < MAX_BANKS) {
        Some(number) => Ok(Some(number)),
        None => {
            let found = page.map_or("nothing".into(), |page| format!("{:#x}", page.base));
            let expected =
                format!("{:#x} and a multiple of {BANK:#x}, for banks 0 to {}", iommu.base, MAX_BANKS - 1);
            Err(context.wrong("reg", found, expected))
        }
    }
}

/// Whether the banks, then the global registers, fit into the window.
fn check_banks(node: Node<'_>, iommu: &Iommu, most: u32) -> Result<(), TopologyError> {
    if !(1..=most).contains(&iommu.context_banks) {
        return Err(node.impossible(format!("{} context banks", iommu.context_banks), format!("1 to {most}")));
    }
    let banks_end = u64::from(iommu.context_banks) * BANK;
    if iommu.global_offset < banks_end || iommu.global_offset + BANK > iommu.size {
        let found = format!(
            "{} banks of {BANK:#x}, global registers at {:#x}",
            iommu.context_banks, iommu.global_offset
        );
        return Err(
            node.impossible(found, format!("both inside the window of {:#x} bytes, apart", iommu.size))
        );
    }
    Ok(())
}
