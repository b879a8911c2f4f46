//! Processors that this process plays: what they map, it reads and writes.

use super::mappings::Mappings;
use crate::memory::Layout;
use vcm::{Access, FaultAccess, FaultReason, PhysicalAddress};
use vcm_platform::Run;
use vcm_platform::job::{Mover, Refusal, Stop};

/// A processor while it makes accesses.
#[derive(Debug)]
pub(super) struct Played<'m> {
    /// What is attached to it; the first that has an address counts.
    pub(super) spaces: Vec<&'m Mappings>,
    pub(super) memory: &'m Layout,
}

impl Played<'_> {
    /// Where a byte is and how many bytes behind it are too, or why it is nowhere for this access.
    fn find(&self, address: u64, access: FaultAccess) -> Result<(PhysicalAddress, u64), FaultReason> {
        if self.spaces.is_empty() {
            return Err(FaultReason::NoContext);
        }
        let found = self.spaces.iter().find_map(|space| space.find(address));
        let (physical, left, allowed) = found.ok_or(FaultReason::Translation)?;
        let needed = match access {
            FaultAccess::Read => Access::READ,
            FaultAccess::Write => Access::WRITE,
            FaultAccess::Execute => Access::EXECUTE,
        };
        if allowed.contains(needed) { Ok((physical, left)) } else { Err(FaultReason::Permission) }
    }

    /// Calls `each` with every piece of `runs`: its place in all their bytes, and where it is in memory.
    fn pieces(
        &self,
        runs: &[Run],
        access: FaultAccess,
        mut each: impl FnMut(std::ops::Range<usize>, PhysicalAddress) -> Result<(), crate::Error>,
    ) -> Result<(), Stop> {
        let mut place = 0;
        for (run, &Run { address, len }) in runs.iter().enumerate() {
            let (mut at, mut left) = (address, len);
            while left > 0 {
                let (physical, more) = self
                    .find(at, access)
                    .map_err(|reason| Stop::Refused(Refusal { run, address: at, access, reason }))?;
                // The parts of a mapping can be of several memories.
                let in_file = self.memory.pieces(physical, left.min(more)).map_err(Stop::broken)?;
                let piece = in_file.first().map_or(1, crate::memory::MemoryPiece::len);
                each(place..place + piece as usize, physical).map_err(Stop::broken)?;
                place += piece as usize;
                left -= piece;
                at = at.wrapping_add(piece);
            }
        }
        Ok(())
    }
}

impl Mover for Played<'_> {
    fn read(&mut self, runs: &[Run], bytes: &mut [u8]) -> Result<(), Stop> {
        self.pieces(runs, FaultAccess::Read, |place, physical| {
            let range = self.memory.find(physical, place.len() as u64)?;
            range.file().read(range.offset(), &mut bytes[place])
        })
    }

    fn write(&mut self, runs: &[Run], bytes: &[u8]) -> Result<(), Stop> {
        self.pieces(runs, FaultAccess::Write, |place, physical| {
            let range = self.memory.find(physical, place.len() as u64)?;
            range.file().write(range.offset(), &bytes[place])
        })
    }
}
