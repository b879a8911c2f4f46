//! What the fakes of drivers with a command queue have in common, and what is tested of each alike.
#![allow(dead_code)] // It is a module of several tests.

pub(crate) mod commands;
pub(crate) mod memory;
pub(crate) mod silence;

use std::cell::RefMut;
use std::fmt::Debug;
use vcm_iommu::{DomainId, Iommu, IommuError, StreamId, Tables, Translation, Unresponsive};

/// What a silent device reads.
pub(crate) const SILENCES: [u32; 2] = [u32::MAX, 0];

/// Whether the device answers.
pub(crate) struct Power {
    pub(crate) accesses: usize,
    /// Accesses until the device falls silent.
    pub(crate) lives: Option<usize>,
    pub(crate) silence: u32,
}

impl Power {
    pub(crate) fn on() -> Self {
        Self { accesses: 0, lives: None, silence: u32::MAX }
    }

    /// Whether the device lives on after one more access.
    pub(crate) fn survives(&mut self) -> bool {
        self.accesses += 1;
        match &mut self.lives {
            None => true,
            Some(0) => false,
            Some(lives) => {
                *lives -= 1;
                true
            }
        }
    }
}

/// Whether a driver that asks a silent device for faults is told of the silence.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultQueue {
    TellsSilence,
    MayBeEmpty,
}

/// What a device does with commands that it should not.
#[derive(Clone, Copy)]
pub(crate) enum Misbehaviour {
    /// It does not know the one that invalidates a domain.
    Unknown,
    /// It fetches none.
    Deaf,
    /// It does not store what it is to store when all before is done.
    NoStore,
}

pub(crate) trait Fake: Sized {
    type Driver: Iommu;
    type Refused: Debug + PartialEq;

    const STREAMS: [StreamId; 3];
    /// Why a device without domain is refused.
    const BLOCKED: Self::Refused;
    /// At least how many accesses a life has.
    const LEAST_ACCESSES: usize;
    /// How many of a life's last accesses the driver need not see the silence of.
    const UNSEEN_ACCESSES: usize;
    const FAULT_QUEUE: FaultQueue;
    /// The command that tells when all before is done.
    const WAIT: &'static str;
    /// More accesses than a wait has that never ends.
    const WAIT_ACCESSES: usize;

    fn new() -> Self;

    fn driver(&self) -> Self::Driver;

    fn tables(root: u64) -> Tables;

    /// Has page `page` of the table at `root` lead to page `to`.
    fn lead(&self, root: u64, page: u64, to: u64);

    fn power(&self) -> RefMut<'_, Power>;

    /// Registers and caches are as after a reset, memory is as it was.
    fn reset(&self);

    fn misbehave(&self, how: Option<Misbehaviour>);

    fn caches_nothing(&self) -> bool;

    /// Where a device's read goes.
    fn reads(&self, stream: StreamId, address: u64) -> Result<u64, Self::Refused>;

    /// What else the driver does while `stream` may be attached.
    fn more(_: &mut Self::Driver, _stream: StreamId) -> Result<(), Unresponsive> {
        Ok(())
    }
}

const ROOT: u64 = 0x9000_0000;

/// A domain with a table of its own, whose page 5 leads to page `to`.
fn domain<F: Fake>(fake: &F, iommu: &mut F::Driver, root: u64, to: u64) -> DomainId {
    fake.lead(root, 5, to);
    iommu.create_domain(Translation::Tables(F::tables(root))).unwrap()
}

/// A driver with two domains, in which page 5 leads to page 0x111 and to page 0x222.
pub(crate) fn start<F: Fake>() -> (F, F::Driver, [DomainId; 2]) {
    let fake = F::new();
    let mut iommu = fake.driver();
    let one = domain(&fake, &mut iommu, ROOT, 0x111);
    let two = domain(&fake, &mut iommu, ROOT + 0x1000, 0x222);
    (fake, iommu, [one, two])
}

pub(crate) fn typed(result: Result<(), IommuError>) -> Result<(), Unresponsive> {
    match result {
        Ok(()) => Ok(()),
        Err(IommuError::Unresponsive(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}
