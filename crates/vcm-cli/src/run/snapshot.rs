//! The graph at one moment, as plain data: what pictures are drawn from.

use super::record::{Buffer, Counts, Mapper};
use super::world::World;
use vcm::{AllocationId, AssociationState, Attributes, Part, RegionId, RegionKind, Span};

/// A memory with the pool that is made of it.
#[derive(Clone, PartialEq, Debug)]
pub struct MemoryNode {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub span: Span,
    /// Bytes that are not allocated.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// A bus master.
#[derive(Clone, PartialEq, Debug)]
pub struct MasterNode {
    /// What the scenario calls it.
    pub role: String,
    /// What the machine calls it.
    pub name: String,
    /// The kind of its regions.
    pub kind: RegionKind,
    /// The IOMMU in front of it.
    pub iommu: Option<String>,
}

/// A region.
#[derive(Clone, PartialEq, Debug)]
pub struct RegionNode {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: RegionKind,
    /// Its addresses.
    pub window: Span,
}

/// A buffer.
#[derive(Clone, PartialEq, Debug)]
pub struct BufferNode {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its blocks.
    pub blocks: Counts,
    /// The memories that it is from, by index.
    pub memories: Vec<usize>,
}

/// A master's link to a region.
#[derive(Clone, PartialEq, Debug)]
pub struct LinkEdge {
    /// The master, by index.
    pub master: usize,
    /// The region, by index.
    pub region: usize,
    /// The part of the master's addresses.
    pub part: Part,
    /// Whether the master translates through the region now.
    pub active: bool,
    /// The format of the region's page table for it.
    pub format: Option<&'static str>,
}

/// A buffer (or part of one) in a region.
#[derive(Clone, PartialEq, Debug)]
pub struct MappingEdge {
    /// The region, by index.
    pub region: usize,
    /// The buffer, by index; none while there is no memory.
    pub buffer: Option<usize>,
    /// The address in the region; none while a one-to-one reservation has no memory.
    pub address: Option<u64>,
    /// Bytes.
    pub bytes: u128,
    /// The first byte of the buffer.
    pub offset: u64,
    /// What it permits, and how the memory behaves.
    pub attributes: Attributes,
    /// The page-table leaves.
    pub leaves: Counts,
}

/// The graph at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// The memories that buffers are from, or could be.
    pub memories: Vec<MemoryNode>,
    /// The masters that the scenario names.
    pub masters: Vec<MasterNode>,
    /// The regions.
    pub regions: Vec<RegionNode>,
    /// The buffers.
    pub buffers: Vec<BufferNode>,
    /// Masters with regions.
    pub links: Vec<LinkEdge>,
    /// Regions with buffers.
    pub mappings: Vec<MappingEdge>,
}

/// The masters in the order of their first regions, so that a picture's lines do not cross for nothing.
fn beside_their_regions(masters: Vec<MasterNode>, links: &mut [LinkEdge]) -> Vec<MasterNode> {
    let first =
        |master: usize| links.iter().filter(|link| link.master == master).map(|link| link.region).min();
    let mut order: Vec<usize> = (0..masters.len()).collect();
    order.sort_by_key(|master| first(*master).unwrap_or(usize::MAX));
    for link in links {
        link.master = order.iter().position(|old| *old == link.master).unwrap_or(link.master);
    }
    order.into_iter().map(|old| masters[old].clone()).collect()
}

impl Snapshot {
    /// Looks at the world.
    pub fn of(world: &World<'_>) -> Self {
        let graph = &world.graph;
        let pools: Vec<_> = graph.pools().collect();
        let memories = pools
            .iter()
            .map(|pool| MemoryNode {
                name: pool.label.to_string(),
                span: pool.memory,
                free: pool.free,
                total: pool.total,
            })
            .collect();
        // Two roles may be one device, which is drawn once.
        let mut masters: Vec<MasterNode> = Vec::new();
        let mut master_ids = Vec::new();
        for master in &world.masters {
            match master_ids.iter().position(|id| *id == master.id) {
                Some(index) => masters[index].role = format!("{}, {}", masters[index].role, master.role),
                None => {
                    let found = world.devices.iter().find(|device| device.handle == master.handle);
                    master_ids.push(master.id);
                    masters.push(MasterNode {
                        role: master.role.clone(),
                        name: master.name.clone(),
                        kind: master.kind,
                        iommu: found.and_then(|device| device.iommu.clone()),
                    });
                }
            }
        }
        let region_ids: Vec<RegionId> = graph.regions().map(|region| region.id).collect();
        let regions = graph.regions().map(|region| RegionNode {
            name: region.label.to_string(),
            kind: region.kind,
            window: region.window,
        });
        let mut buffer_ids: Vec<AllocationId> = Vec::new();
        let mut buffers = Vec::new();
        for found in graph.allocations() {
            buffer_ids.push(found.id);
            let of = |address: u64| pools.iter().position(|pool| pool.memory.contains(address));
            let mut memories: Vec<usize> =
                found.blocks.iter().filter_map(|block| of(block.base.raw())).collect();
            memories.sort_unstable();
            memories.dedup();
            buffers.push(BufferNode {
                name: found.label.to_string(),
                bytes: found.len,
                blocks: Counts::of(found.blocks.iter().map(|block| block.len)),
                memories,
            });
        }
        let mut links: Vec<LinkEdge> = graph
            .associations()
            .filter_map(|link| {
                Some(LinkEdge {
                    master: master_ids.iter().position(|id| *id == link.device)?,
                    region: region_ids.iter().position(|id| *id == link.region)?,
                    part: link.part,
                    active: matches!(link.state, AssociationState::Active(_)),
                    format: link.format,
                })
            })
            .collect();
        let masters = beside_their_regions(masters, &mut links);
        let mut mappings = Vec::new();
        for (index, region) in region_ids.iter().enumerate() {
            for found in graph.reservations(*region) {
                let (buffer, offset) = match found.state {
                    vcm::ReservationState::Unbacked => (None, 0),
                    vcm::ReservationState::Backed { allocation, offset }
                    | vcm::ReservationState::Quarantined { allocation, offset } => {
                        (buffer_ids.iter().position(|id| *id == allocation), offset)
                    }
                };
                mappings.push(MappingEdge {
                    region: index,
                    buffer,
                    address: found.span.map(|span| span.first()),
                    bytes: found.len,
                    offset,
                    attributes: found.attributes,
                    leaves: graph.leaves(found.id, &*world.platform).into(),
                });
            }
        }
        Self { memories, masters, regions: regions.collect(), buffers, links, mappings }
    }

    /// How full the graph is: of two snapshots, the one with more of this shows more.
    pub fn fullness(&self) -> (usize, usize, usize) {
        let backed = self.mappings.iter().filter(|mapping| mapping.buffer.is_some()).count();
        (backed, self.links.iter().filter(|link| link.active).count(), self.buffers.len())
    }

    /// The buffers with who maps them, for the record.
    pub fn buffers(&self) -> Vec<Buffer> {
        let mut all = Vec::new();
        for (index, buffer) in self.buffers.iter().enumerate() {
            let mut mappers = Vec::new();
            for mapping in self.mappings.iter().filter(|mapping| mapping.buffer == Some(index)) {
                let region = &self.regions[mapping.region];
                let mapper = |device: Option<String>| Mapper {
                    region: region.name.clone(),
                    device,
                    kind: region.kind.name().into(),
                    address: mapping.address.map_or_else(String::new, |address| format!("{address:#x}")),
                    offset: mapping.offset,
                    bytes: mapping.bytes as u64,
                    attributes: mapping.attributes.to_string(),
                    leaves: mapping.leaves.clone(),
                };
                let links: Vec<_> = self.links.iter().filter(|link| link.region == mapping.region).collect();
                if links.is_empty() {
                    mappers.push(mapper(None));
                }
                for link in links {
                    mappers.push(mapper(Some(self.masters[link.master].name.clone())));
                }
            }
            all.push(Buffer {
                name: buffer.name.clone(),
                bytes: buffer.bytes,
                memories: buffer.memories.iter().map(|memory| self.memories[*memory].name.clone()).collect(),
                blocks: buffer.blocks.clone(),
                mappers,
            });
        }
        all
    }
}
