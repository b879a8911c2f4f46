//! The board as drivers reach it: registers through a port, tables in its memory, and steps that can be made to fail.

use super::table_area::TableArea;
use crate::hardware::{Board, SmmuId};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vcm::{PhysicalAddress, Span};
use vcm_iommu::Registers;
use vcm_pagetable::{TableError, TableMemory, Word};

/// The board and what drivers need beside it.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) board: Board,
    pub(super) tables: TableArea,
    pub(super) injection: Injection,
}

/// Which hardware step is to fail, and what has failed.
#[derive(Debug, Default)]
pub(super) struct Injection {
    /// Steps until the one that fails.
    left: Option<u64>,
    /// The SMMUs that do not answer.
    dead: Vec<SmmuId>,
}

impl Injection {
    /// Lets the `n`-th step from now on fail, 1 being the next.
    pub(super) const fn arm(&mut self, n: u64) {
        self.left = Some(n);
    }

    /// Everything answers again, and nothing is to fail any more.
    pub(super) fn repair(&mut self) {
        *self = Self::default();
    }

    /// Counts a step; whether it fails.
    fn fails(&mut self) -> bool {
        match &mut self.left {
            Some(left) if *left <= 1 => {
                self.left = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// Counts an access to a register of `smmu`; whether it is answered.
    fn answers(&mut self, smmu: SmmuId) -> bool {
        if self.dead.contains(&smmu) {
            return false;
        }
        if self.fails() {
            self.dead.push(smmu);
            return false;
        }
        true
    }
}

/// The machine, shared by the drivers' ports and the platform.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Machine>>);

impl Shared {
    pub(super) fn new(machine: Machine) -> Self {
        Self(Arc::new(Mutex::new(machine)))
    }

    /// The machine, for a moment: nobody calls a driver meanwhile.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Machine> {
        // A panic elsewhere leaves a machine that is as good as any: it is hardware.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The register window of an SMMU.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) machine: Shared,
    pub(super) smmu: SmmuId,
}

impl Registers for Port {
    fn read(&mut self, offset: u32) -> u32 {
        let mut machine = self.machine.lock();
        if machine.injection.answers(self.smmu) {
            machine.board.read_register(self.smmu, offset)
        } else {
            u32::MAX
        }
    }

    fn write(&mut self, offset: u32, value: u32) {
        let mut machine = self.machine.lock();
        if machine.injection.answers(self.smmu) {
            machine.board.write_register(self.smmu, offset, value);
        }
    }
}

/// Reads a word of a table. Tables are in memory, so that the bus always answers; where it does not, as buses do it
/// reads as ones.
fn read<W: Word>(machine: &Machine, table: PhysicalAddress, index: usize) -> W {
    let address = table.raw().wrapping_add(W::BYTES * index as u64);
    let memory = &machine.board.bus().memory;
    let word = if W::BYTES == 4 { memory.read_u32(address).map(u64::from) } else { memory.read_u64(address) };
    debug_assert!(word.is_ok(), "a table outside memory, at {address:#x}");
    W::truncate(word.unwrap_or(u64::MAX))
}

impl<W: Word> TableMemory<W> for Machine {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, TableError> {
        if self.injection.fails() {
            return Err(TableError::OutOfMemory { size });
        }
        let table = self.tables.allocate(size, align).ok_or(TableError::OutOfMemory { size })?;
        let bus = self.board.bus_mut();
        if let Some(span) = Span::new(table, size) {
            bus.hand_out(span);
        }
        let cleared = bus.write(table, &vec![0; size as usize]);
        debug_assert!(cleared.is_ok(), "the table area is outside memory");
        Ok(PhysicalAddress::new(table))
    }

    fn free(&mut self, table: PhysicalAddress, size: u64) {
        self.tables.free(table.raw(), size);
        // Whoever walks it from now on is caught.
        if let Some(span) = Span::new(table.raw(), size) {
            self.board.bus_mut().give_back(span);
        }
    }

    fn read(&self, table: PhysicalAddress, index: usize) -> W {
        read(self, table, index)
    }

    fn write(&mut self, table: PhysicalAddress, index: usize, value: W) {
        let address = table.raw().wrapping_add(W::BYTES * index as u64);
        let memory = &mut self.board.bus_mut().memory;
        let written = if W::BYTES == 4 {
            memory.write_u32(address, value.widen() as u32)
        } else {
            memory.write_u64(address, value.widen())
        };
        debug_assert!(written.is_ok(), "a table outside memory, at {address:#x}");
    }
}
