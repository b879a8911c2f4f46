//! What the stories that are told of several fakes need of this one.

use crate::domains::tables;
use crate::fake::{Fake, Leads, Refused, STREAMS, config};
use crate::fake_rig::{self, FaultQueue, Misbehaviour, Power};
use std::cell::RefMut;
use vcm_iommu::amdvi::AmdVi;
use vcm_iommu::{StreamId, Tables};

impl fake_rig::Fake for Fake {
    type Driver = AmdVi<Self, Self>;
    type Refused = Refused;

    const STREAMS: [StreamId; 3] = STREAMS;
    const BLOCKED: Refused = Refused::Permission;
    const LEAST_ACCESSES: usize = 31;
    // The last access is the high half of a tail, which no device needs.
    const UNSEEN_ACCESSES: usize = 1;
    const FAULT_QUEUE: FaultQueue = FaultQueue::TellsSilence;
    const WAIT: &'static str = "COMPLETION_WAIT";
    const WAIT_ACCESSES: usize = 100;

    fn new() -> Self {
        Fake::new()
    }

    fn driver(&self) -> Self::Driver {
        self.probe(config())
    }

    fn tables(root: u64) -> Tables {
        tables(root)
    }

    fn lead(&self, root: u64, page: u64, to: u64) {
        self.device().tables.insert((root, page), Leads { to, access: 3 });
    }

    fn power(&self) -> RefMut<'_, Power> {
        RefMut::map(self.device(), |device| &mut device.power)
    }

    fn reset(&self) {
        self.device().reset();
    }

    fn misbehave(&self, how: Option<Misbehaviour>) {
        let mut device = self.device();
        device.unknown = matches!(how, Some(Misbehaviour::Unknown)).then_some(3);
        device.deaf = matches!(how, Some(Misbehaviour::Deaf));
        device.no_store = matches!(how, Some(Misbehaviour::NoStore));
    }

    fn caches_nothing(&self) -> bool {
        self.device().translations.is_empty()
    }

    fn reads(&self, stream: StreamId, address: u64) -> Result<u64, Self::Refused> {
        self.read_of(stream, address)
    }
}
