//! The CPU's own transfers, through its MMU.

use super::Log;
use super::failure::Failure;
use super::visit::visit;
use super::world::World;
use vcm::CpuAddress;
use vcm_platform::{Checksum, Outcome, Surface, Transfer, TransferReport, pattern};

/// Bytes that the CPU moves at a time.
const CPU_CHUNK: usize = 1 << 16;

impl World<'_> {
    /// Lets the CPU do a transfer, through its own MMU.
    pub(super) fn cpu_transfer(
        &mut self,
        transfer: &Transfer,
        log: &mut Log<'_>,
    ) -> Result<TransferReport, Failure> {
        let mut report = TransferReport {
            outcome: Outcome::Completed,
            bytes_read: 0,
            bytes_written: 0,
            checksum: Checksum::new().value(),
            tlb_lookups: 0,
            tlb_misses: 0,
            faults: 0,
        };
        let done = match *transfer {
            Transfer::Write { to, seed } => {
                let bytes = (0..to.layout.bytes()).map(|index| pattern(seed, index)).collect::<Vec<_>>();
                self.cpu_write(to, &bytes, &mut report)
            }
            Transfer::Read { from } => self.cpu_read(from, &mut report).map(drop),
            Transfer::Copy { from, to } => {
                self.cpu_read(from, &mut report).and_then(|bytes| self.cpu_write(to, &bytes, &mut report))
            }
        };
        if let Err(what) = done {
            report.outcome = Outcome::Aborted;
            report.faults = 1;
            log.note(what);
        }
        Ok(report)
    }

    fn cpu_read(&mut self, from: Surface, report: &mut TransferReport) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        let mut sum = Checksum::new();
        let mut buffer = vec![0; CPU_CHUNK];
        visit(from.layout, |offset, len| {
            chunks(from.address + offset, len, |address, len| {
                let bytes = &mut buffer[..len];
                self.platform.cpu_read(CpuAddress::new(address), bytes).map_err(|error| error.to_string())?;
                sum.update(bytes);
                all.extend_from_slice(bytes);
                report.bytes_read += len as u64;
                Ok(())
            })
        })?;
        report.checksum = sum.value();
        Ok(all)
    }

    fn cpu_write(&mut self, to: Surface, bytes: &[u8], report: &mut TransferReport) -> Result<(), String> {
        let mut rest = bytes;
        visit(to.layout, |offset, len| {
            chunks(to.address + offset, len, |address, len| {
                let (now, later) = rest.split_at(len.min(rest.len()));
                self.platform.cpu_write(CpuAddress::new(address), now).map_err(|error| error.to_string())?;
                rest = later;
                report.bytes_written += now.len() as u64;
                Ok(())
            })
        })
    }
}

/// Cuts a run into what the CPU moves at a time.
fn chunks(
    address: u64,
    len: u64,
    mut each: impl FnMut(u64, usize) -> Result<(), String>,
) -> Result<(), String> {
    let mut done = 0;
    while done < len {
        let now = (len - done).min(CPU_CHUNK as u64);
        each(address + done, now as usize)?;
        done += now;
    }
    Ok(())
}
