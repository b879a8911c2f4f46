//! The state of a run: the machine, the graph, and what the scenario's names stand for.

use super::contents::Contents;
use super::failure::Failure;
use super::interrupts::Guests;
use crate::machine::Bindings;
use crate::problem::{Name, Problem};
use crate::scenario::Scenario;
use std::collections::BTreeMap;
use vcm::pool::Policy;
use vcm::{
    AllocationId, AssociationId, AssociationState, BoundId, DeviceHandle, DeviceId, DeviceRequest, Error,
    Graph, PoolId, RegionId, RegionKind, ReservationId, Span, TargetId,
};
use vcm_platform::{DeviceDescription, MemoryDescription, Platform};

/// A device that the scenario uses.
#[derive(Clone, Debug)]
pub struct Master {
    /// What the scenario calls it.
    pub role: String,
    /// What the machine calls it.
    pub name: String,
    /// The graph's name for it.
    pub id: DeviceId,
    /// The machine's number.
    pub handle: DeviceHandle,
    /// The kind of regions that it takes.
    pub kind: RegionKind,
}

impl Master {
    /// The role and the device, or the one word where they are the same.
    pub fn title(&self) -> String {
        if self.role == self.name { self.name.clone() } else { format!("{} ({})", self.role, self.name) }
    }
}

/// A buffer that is allocated.
#[derive(Debug)]
pub struct BufferEntry {
    pub id: AllocationId,
    pub len: u64,
    pub contents: Contents,
}

/// A buffer in a region.
#[derive(Clone, Debug)]
pub struct ShareEntry {
    pub reservation: ReservationId,
    pub buffer: String,
    pub region: String,
    /// The first byte of the buffer.
    pub offset: u64,
    pub len: u64,
}

/// A region with a device.
#[derive(Clone, Debug)]
pub struct AssociationEntry {
    pub region: String,
    /// The role.
    pub device: String,
    pub id: AssociationId,
}

/// The state of a run.
pub struct World<'m> {
    pub platform: &'m mut dyn Platform,
    pub graph: Graph,
    pub bindings: &'m Bindings,
    pub devices: Vec<DeviceDescription>,
    pub memories: Vec<MemoryDescription>,
    pub masters: Vec<Master>,
    pub pools: Vec<(String, PoolId)>,
    pub targets: BTreeMap<String, TargetId>,
    /// All memories, by the machine's order.
    pub any_memory: TargetId,
    pub regions: BTreeMap<String, RegionId>,
    pub bounds: BTreeMap<String, BoundId>,
    pub associations: Vec<AssociationEntry>,
    pub buffers: BTreeMap<String, BufferEntry>,
    pub shares: BTreeMap<String, ShareEntry>,
    /// Guests, and the interrupts that they were given.
    pub(super) guests: Guests,
}

impl<'m> World<'m> {
    /// A machine with the scenario's pools and targets, and nothing else yet.
    ///
    /// # Errors
    /// The scenario names memories that the machine has not, or divides them in a way that cannot be.
    pub fn new(
        platform: &'m mut dyn Platform,
        bindings: &'m Bindings,
        scenario: &Scenario,
    ) -> Result<Self, Problem> {
        let (devices, memories) = (platform.devices().to_vec(), platform.memories().to_vec());
        let mut graph = Graph::new();
        for pool in &scenario.pools {
            memory(&memories, bindings, &pool.memory)?;
        }
        let mut pools = Vec::new();
        for found in &memories {
            let spec = scenario.pools.iter().find(|spec| {
                let bound = bindings.memories.get(&spec.memory.text).unwrap_or(&spec.memory.text);
                *bound == found.name
            });
            let policy = spec.map_or(Policy::Splitting, |spec| spec.policy);
            let pool = graph.add_pool(&found.name, found.span, policy).map_err(|error| {
                let what = format!("memory {}: {error}", found.name);
                spec.map_or_else(|| Problem::new(what.clone()), |spec| spec.memory.problem(what.clone()))
            })?;
            pools.push((found.name.clone(), pool));
        }
        let all: Vec<PoolId> = pools.iter().map(|(_, id)| *id).collect();
        let target = |graph: &mut Graph, name: &str, pools: &[PoolId]| {
            graph.add_target(name, pools).map_err(|error| Problem::new(format!("target {name}: {error}")))
        };
        let any_memory = target(&mut graph, "any memory", &all)?;
        let mut targets = BTreeMap::new();
        for spec in &scenario.targets {
            let mut chosen = Vec::new();
            for name in &spec.memories {
                let found = memory(&memories, bindings, name)?;
                chosen.extend(pools.iter().filter(|(of, _)| *of == found.name).map(|(_, id)| *id));
            }
            targets.insert(spec.name.text.clone(), target(&mut graph, &spec.name.text, &chosen)?);
        }
        Ok(Self {
            platform,
            graph,
            bindings,
            devices,
            memories,
            masters: Vec::new(),
            pools,
            targets,
            any_memory,
            regions: BTreeMap::new(),
            bounds: BTreeMap::new(),
            associations: Vec::new(),
            buffers: BTreeMap::new(),
            shares: BTreeMap::new(),
            guests: Guests::default(),
        })
    }

    /// The memory behind a name.
    ///
    /// # Errors
    /// The machine has none.
    pub fn memory(&self, name: &Name) -> Result<&MemoryDescription, Problem> {
        memory(&self.memories, self.bindings, name)
    }

    /// The device behind a role; the graph gets to know it.
    ///
    /// # Errors
    /// The machine has none.
    pub fn master(&mut self, role: &Name) -> Result<Master, Problem> {
        if let Some(master) = self.masters.iter().find(|master| master.role == role.text) {
            return Ok(master.clone());
        }
        let bound = self.bindings.roles.get(&role.text);
        let wanted = bound.unwrap_or(&role.text);
        let by_name = self.devices.iter().find(|device| device.name == *wanted);
        let cpu = || self.devices.iter().find(|device| device.kind == RegionKind::Cpu);
        let found = match by_name {
            None if wanted == "cpu" => cpu(),
            found => found,
        };
        let Some(found) = found.cloned() else {
            let machine = self.platform.name();
            let problem = match bound {
                Some(device) => {
                    role.problem(format!("\"{role}\" is bound to {device}, which {machine} has not"))
                }
                None => role.problem(format!("{machine} has no device for the role \"{role}\"")),
            };
            let roles = self.bindings.roles.keys().map(String::as_str);
            let names = self.devices.iter().map(|device| device.name.as_str());
            return Err(problem.with_known(wanted, roles.chain(names)));
        };
        self.introduce(&role.text, &found)
    }

    /// Makes a device known to the graph under a role.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn introduce(&mut self, role: &str, found: &DeviceDescription) -> Result<Master, Problem> {
        // Two roles may be one device.
        let id = match self.masters.iter().find(|master| master.handle == found.handle) {
            Some(master) => master.id,
            None => {
                let request = DeviceRequest {
                    label: found.name.as_str().into(),
                    handle: found.handle,
                    kind: found.kind,
                    reserved: &found.reserved,
                };
                self.graph.add_device(&request).map_err(|error| Problem::new(error.to_string()))?
            }
        };
        let master = Master {
            role: role.into(),
            name: found.name.clone(),
            id,
            handle: found.handle,
            kind: found.kind,
        };
        self.masters.push(master.clone());
        Ok(master)
    }

    /// What the machine calls a device.
    pub fn device_name(&self, handle: DeviceHandle) -> String {
        let found = self.devices.iter().find(|device| device.handle == handle);
        found.map_or_else(|| format!("device {}", handle.0), |device| device.name.clone())
    }

    /// A refusal by the graph, with the names of what it blames.
    pub fn refused(&self, error: Error) -> Failure {
        let mut text = self.graph.explain(error).to_string();
        if let (Error::Hardware { .. }, Some(words)) = (error, self.platform.explanation()) {
            text = format!("{text}: {words}");
        }
        Failure::Refused(error, text)
    }

    /// The region behind a name.
    ///
    /// # Errors
    /// It was freed.
    pub fn region(&self, name: &Name) -> Result<RegionId, Failure> {
        let gone = || Failure::Problem(name.problem(format!("region \"{name}\" is not there at this point")));
        self.regions.get(&name.text).copied().ok_or_else(gone)
    }

    /// The buffer behind a name.
    ///
    /// # Errors
    /// It is not allocated now.
    pub fn buffer(&self, name: &Name) -> Result<&BufferEntry, Failure> {
        let gone = || Failure::Problem(name.problem(format!("buffer \"{name}\" is not there at this point")));
        self.buffers.get(&name.text).ok_or_else(gone)
    }

    /// The share behind a name.
    ///
    /// # Errors
    /// It is not there now.
    pub fn share(&self, name: &Name) -> Result<&ShareEntry, Failure> {
        let gone = || Failure::Problem(name.problem(format!("share \"{name}\" is not there at this point")));
        self.shares.get(&name.text).ok_or_else(gone)
    }

    /// The association of a region with a role.
    ///
    /// # Errors
    /// There is none now.
    pub fn association(&self, region: &Name, device: &Name) -> Result<AssociationId, Failure> {
        let mut all = self.associations.iter();
        let found = all.find(|link| link.region == region.text && link.device == device.text);
        found.map(|link| link.id).ok_or_else(|| {
            Failure::Problem(
                device.problem(format!("\"{region}\" and \"{device}\" are not associated at this point")),
            )
        })
    }

    /// The regions that a device is associated with, those that it translates through now first.
    pub fn regions_of(&self, master: &Master) -> Vec<(&str, RegionId)> {
        let mut links: Vec<_> = self.graph.associations().filter(|link| link.device == master.id).collect();
        links.sort_by_key(|link| !matches!(link.state, AssociationState::Active(_)));
        links
            .iter()
            .filter_map(|link| {
                let named = self.regions.iter().find(|(_, id)| **id == link.region)?;
                Some((named.0.as_str(), link.region))
            })
            .collect()
    }

    /// The addresses of a region's usable part.
    pub fn span_of_cpu(&self) -> Span {
        self.platform.cpu_span()
    }
}

fn memory<'a>(
    memories: &'a [MemoryDescription],
    bindings: &Bindings,
    name: &Name,
) -> Result<&'a MemoryDescription, Problem> {
    let wanted = bindings.memories.get(&name.text).unwrap_or(&name.text);
    memories.iter().find(|memory| memory.name == *wanted).ok_or_else(|| {
        let known = memories.iter().map(|memory| memory.name.as_str());
        let known = known.chain(bindings.memories.keys().map(String::as_str));
        name.problem(format!("the machine has no memory \"{name}\"")).with_known(wanted, known)
    })
}
