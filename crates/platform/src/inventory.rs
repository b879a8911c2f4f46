//! A machine's devices and memories, made known to a graph.

use crate::Platform;
use vcm::pool::Policy;
use vcm::{DeviceId, DeviceRequest, Error, Graph, PoolId, TargetId};

/// The objects that a graph has for a machine: a device for each of its devices, a pool for each of its memories,
/// and a target that takes from all of them, the fastest first.
#[derive(Clone, Debug)]
pub struct Inventory {
    devices: Vec<(String, DeviceId)>,
    pools: Vec<(String, PoolId)>,
    target: TargetId,
}

impl Inventory {
    /// Makes all of `platform` known to `graph`. Pools split and merge their blocks.
    ///
    /// # Errors
    /// [`Error::MemoryHeld`] when the graph has a pool there already, [`Error::BadLength`] when a memory is not made
    /// of whole pages, [`Error::OutOfMemory`]. What was made known before the error stays.
    pub fn register(graph: &mut Graph, platform: &dyn Platform) -> Result<Self, Error> {
        let mut devices = Vec::new();
        for device in platform.devices() {
            let request = DeviceRequest {
                label: device.name.as_str().into(),
                handle: device.handle,
                kind: device.kind,
                reserved: &device.reserved,
            };
            devices.push((device.name.clone(), graph.add_device(&request)?));
        }
        let mut pools = Vec::new();
        for memory in platform.memories() {
            pools.push((memory.name.clone(), graph.add_pool(&memory.name, memory.span, Policy::Splitting)?));
        }
        let order: Vec<PoolId> = pools.iter().map(|(_, pool)| *pool).collect();
        let target = graph.add_target("memory", &order)?;
        Ok(Self { devices, pools, target })
    }

    /// The device with this name.
    pub fn device(&self, name: &str) -> Option<DeviceId> {
        self.devices.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
    }

    /// The pool of the memory with this name.
    pub fn pool(&self, name: &str) -> Option<PoolId> {
        self.pools.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
    }

    /// The target that takes from all memories, the fastest first.
    pub const fn target(&self) -> TargetId {
        self.target
    }
}
