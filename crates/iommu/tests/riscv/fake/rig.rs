//! What the stories that are told of several fakes need of this one.

use crate::domains::{FIRST, tables};
use crate::fake::{Fake, STREAMS, config};
use crate::fake_rig::{self, FaultQueue, Misbehaviour, Power};
use std::cell::RefMut;
use vcm::FaultAccess;
use vcm_iommu::riscv::RiscvIommu;
use vcm_iommu::{Iommu, IommuError, StreamId, Tables, Unresponsive};

impl fake_rig::Fake for Fake {
    type Driver = RiscvIommu<Self, Self>;
    type Refused = u64;

    const STREAMS: [StreamId; 3] = STREAMS;
    const BLOCKED: u64 = 258;
    const LEAST_ACCESSES: usize = 16;
    // A device that fell silent after its last command was executed may go unseen: that one was done.
    const UNSEEN_ACCESSES: usize = 7;
    const FAULT_QUEUE: FaultQueue = FaultQueue::MayBeEmpty;
    const WAIT: &'static str = "IOFENCE.C";
    const WAIT_ACCESSES: usize = 500;

    fn new() -> Self {
        Fake::new()
    }

    fn driver(&self) -> Self::Driver {
        self.probe(config())
    }

    fn tables(root: u64) -> Tables {
        tables(FIRST, root)
    }

    fn lead(&self, root: u64, page: u64, to: u64) {
        self.device().tables.insert((root, page), to);
    }

    fn power(&self) -> RefMut<'_, Power> {
        RefMut::map(self.device(), |device| &mut device.power)
    }

    fn reset(&self) {
        self.device().reset();
    }

    fn misbehave(&self, how: Option<Misbehaviour>) {
        let mut device = self.device();
        device.unknown = matches!(how, Some(Misbehaviour::Unknown)).then_some((1, 0));
        device.deaf = matches!(how, Some(Misbehaviour::Deaf));
        device.no_store = matches!(how, Some(Misbehaviour::NoStore));
    }

    fn caches_nothing(&self) -> bool {
        self.device().translations.is_empty()
    }

    fn reads(&self, stream: StreamId, address: u64) -> Result<u64, Self::Refused> {
        self.read_of(stream, address)
    }

    fn more(iommu: &mut Self::Driver, stream: StreamId) -> Result<(), Unresponsive> {
        match iommu.translate(stream, 0x5000, FaultAccess::Read) {
            Err(IommuError::Unresponsive(error)) => Err(error),
            // What an operation before did not achieve.
            Ok(_) | Err(IommuError::InUse { .. } | IommuError::NotAttached(_) | IommuError::NotMapped(_)) => {
                Ok(())
            }
            Err(other) => panic!("{other}"),
        }
    }
}
