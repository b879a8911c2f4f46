//! A bus master: a DMA engine that moves real bytes, one transaction at a time.
//!
//! A transfer is a state machine: a transaction that waits leaves it as it is, and the next step tries that
//! transaction again. Bursts never cross a 4 KiB boundary (AXI, Arm IHI 0022 A3.4.1), so each needs one translation.

use super::bus::Bus;
use super::memory::BusError;
use super::oracle::Access;
use super::processor::{Processor, ProcessorFaultReason};
use super::smmu::{Request, Smmu, Verdict};
use std::fmt;
use vcm::{FaultReason, Privilege};
use vcm_platform::{BadSurface, Bursts, Checksum, Outcome, Run, Transfer, TransferReport, splitmix64};

/// The longest burst: 64 bytes, eight beats of a 64-bit bus.
pub const LONGEST_BURST: usize = 64;

/// A way into an SMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    /// The SMMU's index on the board.
    pub smmu: usize,
    /// The master id that transactions come with.
    pub mid: u16,
}

/// What is between a master and memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Port {
    /// Nothing: it emits physical addresses.
    Direct,
    /// SMMUs. Its transactions take the streams in turn, burst by burst, as the ports of a wide engine do, so that
    /// every one is used.
    Smmu(Vec<Stream>),
    /// The MMU of a processor, by its index on the board: the processor moves the bytes itself.
    Processor(usize),
}

/// Why a master did not take a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// One is under way.
    Busy,
    /// A surface that cannot be visited.
    Surface(BadSurface),
    /// A surface passes the end of the 32-bit addresses that an SMMU sees.
    Beyond32Bits,
    /// A copy's two surfaces are not equally long.
    Lengths,
    /// The master has no stream.
    NoStream,
    /// There is no such master.
    NoMaster,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("a transfer is under way"),
            Self::Surface(bad) => bad.fmt(f),
            Self::Beyond32Bits => f.write_str("the surface passes the 32-bit addresses of the SMMU"),
            Self::Lengths => f.write_str("the two surfaces are not equally long"),
            Self::NoStream => f.write_str("no stream leads from it into an SMMU"),
            Self::NoMaster => f.write_str("no such master"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<BadSurface> for StartError {
    fn from(bad: BadSurface) -> Self {
        Self::Surface(bad)
    }
}

/// A transaction that ended in an error, as its master saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MasterFault {
    /// The address that the master put out.
    pub address: u64,
    /// What it wanted.
    pub access: Access,
    /// Why it ended.
    pub reason: FaultReason,
}

/// What a step of a master did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// It has nothing to do.
    Idle,
    /// A transaction was made.
    Moved,
    /// A transaction was made and faulted, and waits from now on.
    Stalled,
    /// Its transaction waits.
    Waits,
    /// The transfer ended; with the fault that ended it, unless it was completed.
    Ended {
        /// What it did.
        report: TransferReport,
        /// Why it was aborted. None for a transaction that the oracle caught.
        fault: Option<MasterFault>,
    },
}

/// The units that transactions pass.
pub(super) struct Units<'a> {
    pub(super) bus: &'a mut Bus,
    pub(super) smmus: &'a mut [Smmu],
    pub(super) processors: &'a mut [Processor],
}

/// A bus master.
#[derive(Debug)]
pub struct Master {
    name: String,
    port: Port,
    privilege: Privilege,
    burst: usize,
    job: Option<Job>,
}

/// A transfer under way.
#[derive(Debug)]
struct Job {
    /// Where to read.
    from: Option<Bursts>,
    /// Where to write.
    to: Option<Bursts>,
    /// What to write, when nothing is read.
    seed: u64,
    /// Bytes read and not yet written.
    buffer: [u8; LONGEST_BURST],
    begin: usize,
    end: usize,
    /// The transaction to make next, if it is known.
    pending: Option<(Access, Run)>,
    /// Bursts made so far.
    bursts: u64,
    checksum: Checksum,
    report: TransferReport,
    total: u64,
}

/// How a burst went.
enum Burst {
    Done,
    Stalled,
    Waits,
    Refused(FaultReason),
    Caught,
}

impl Master {
    /// A master with nothing to do, whose bursts have at most `burst` bytes (1 to 64).
    pub fn new(name: &str, port: Port, burst: usize) -> Self {
        Self {
            name: name.to_owned(),
            port,
            privilege: Privilege::User,
            burst: burst.clamp(1, LONGEST_BURST),
            job: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is between it and memory.
    pub const fn port(&self) -> &Port {
        &self.port
    }

    /// As whom its transactions are made from now on; a user at first.
    pub const fn set_privilege(&mut self, privilege: Privilege) {
        self.privilege = privilege;
    }

    /// Whether a transfer is under way.
    pub const fn busy(&self) -> bool {
        self.job.is_some()
    }

    /// Bytes done and to do of the transfer under way: those read, plus those written.
    pub fn progress(&self) -> Option<(u64, u64)> {
        let job = self.job.as_ref()?;
        Some((job.report.bytes_read + job.report.bytes_written, job.total))
    }

    /// Takes a transfer; [`step`](super::Board::step) makes its transactions.
    ///
    /// # Errors
    /// [`StartError`]; nothing was begun.
    pub fn start(&mut self, transfer: &Transfer) -> Result<(), StartError> {
        if self.busy() {
            return Err(StartError::Busy);
        }
        let translated = match &self.port {
            Port::Smmu(streams) if streams.is_empty() => return Err(StartError::NoStream),
            Port::Smmu(_) => true,
            Port::Direct | Port::Processor(_) => false,
        };
        let (from, to, seed) = match *transfer {
            Transfer::Write { to, seed } => (None, Some(to), seed),
            Transfer::Read { from } => (Some(from), None, 0),
            Transfer::Copy { from, to } => (Some(from), Some(to), 0),
        };
        let mut total = 0_u64;
        for surface in from.iter().chain(&to) {
            let last = surface.last_touched()?;
            if translated && last.is_some_and(|last| last > u64::from(u32::MAX)) {
                return Err(StartError::Beyond32Bits);
            }
            total = surface.layout.bytes().saturating_add(total);
        }
        if let (Some(from), Some(to)) = (&from, &to)
            && from.layout.bytes() != to.layout.bytes()
        {
            return Err(StartError::Lengths);
        }
        self.job = Some(Job {
            from: from.map(Bursts::new).transpose()?,
            to: to.map(Bursts::new).transpose()?,
            seed,
            buffer: [0; LONGEST_BURST],
            begin: 0,
            end: 0,
            pending: None,
            bursts: 0,
            checksum: Checksum::new(),
            report: TransferReport {
                outcome: Outcome::Completed,
                bytes_read: 0,
                bytes_written: 0,
                checksum: 0,
                tlb_lookups: 0,
                tlb_misses: 0,
                faults: 0,
            },
            total,
        });
        Ok(())
    }

    /// Makes one transaction, or finds that none can be made.
    pub(super) fn step(&mut self, index: usize, mut units: Units<'_>) -> Step {
        let Some(job) = &mut self.job else { return Step::Idle };
        let Some((access, run)) = job.pending.or_else(|| job.next(self.burst)) else {
            return self.end(Outcome::Completed, None);
        };
        job.pending = Some((access, run));
        let burst = job.burst(&self.port, self.privilege, index, access, run, &mut units);
        let fault = |reason| MasterFault { address: run.address, access, reason };
        match burst {
            Burst::Done => {
                job.pending = None;
                Step::Moved
            }
            Burst::Stalled => {
                job.report.faults += 1;
                Step::Stalled
            }
            Burst::Waits => Step::Waits,
            Burst::Refused(reason) => self.end(Outcome::Aborted, Some(fault(reason))),
            Burst::Caught => self.end(Outcome::Aborted, None),
        }
    }

    fn end(&mut self, outcome: Outcome, fault: Option<MasterFault>) -> Step {
        match self.job.take() {
            None => Step::Idle,
            Some(job) => {
                let report = TransferReport { outcome, checksum: job.checksum.value(), ..job.report };
                Step::Ended { report, fault }
            }
        }
    }
}

impl Job {
    /// What comes next: what was read is written before more is read.
    fn next(&mut self, longest: usize) -> Option<(Access, Run)> {
        let held = self.end - self.begin;
        match (&mut self.from, &mut self.to) {
            (Some(_), Some(to)) if held > 0 => {
                to.next(longest.min(held) as u64).map(|run| (Access::Write, run))
            }
            (Some(from), _) => from.next(longest as u64).map(|run| (Access::Read, run)),
            (None, Some(to)) => to.next(longest as u64).map(|run| (Access::Write, run)),
            (None, None) => None,
        }
    }

    fn burst(
        &mut self,
        port: &Port,
        privilege: Privilege,
        master: usize,
        access: Access,
        run: Run,
        units: &mut Units<'_>,
    ) -> Burst {
        let physical = match self.translate(port, privilege, master, access, run, units) {
            Ok(physical) => physical,
            Err(other) => return other,
        };
        match self.transfer(access, run.len as usize, physical, units.bus) {
            Ok(()) => Burst::Done,
            Err(_) => {
                self.report.faults += 1;
                Burst::Refused(FaultReason::Bus)
            }
        }
    }

    /// Where the burst goes, or what else becomes of it.
    fn translate(
        &mut self,
        port: &Port,
        privilege: Privilege,
        master: usize,
        access: Access,
        run: Run,
        units: &mut Units<'_>,
    ) -> Result<u64, Burst> {
        match port {
            Port::Direct => {
                units.bus.begin();
                Ok(run.address)
            }
            Port::Processor(index) => {
                let Some(processor) = units.processors.get_mut(*index) else {
                    return Err(Burst::Refused(FaultReason::Bus));
                };
                let before = processor.counters();
                let translated = processor.translate_as(units.bus, run.address, access, privilege);
                let after = processor.counters();
                self.report.tlb_lookups += after.lookups - before.lookups;
                self.report.tlb_misses += after.misses - before.misses;
                translated.map_err(|fault| match fault.reason {
                    ProcessorFaultReason::Caught => Burst::Caught,
                    ProcessorFaultReason::Refused(reason) => {
                        self.report.faults += 1;
                        Burst::Refused(reason)
                    }
                })
            }
            Port::Smmu(streams) => {
                let stream = streams[(self.bursts % streams.len() as u64) as usize];
                let (Some(smmu), Ok(address)) =
                    (units.smmus.get_mut(stream.smmu), u32::try_from(run.address))
                else {
                    return Err(Burst::Refused(FaultReason::Bus));
                };
                units.bus.begin();
                let request =
                    Request { master, mid: stream.mid, address, len: run.len as u32, access, privilege };
                let before = smmu.counters();
                let verdict = smmu.transact(units.bus, &request);
                let after = smmu.counters();
                self.report.tlb_lookups += after.lookups - before.lookups;
                self.report.tlb_misses += after.misses - before.misses;
                match verdict {
                    Verdict::Pass { physical, .. } => Ok(physical),
                    Verdict::Stalled => Err(Burst::Stalled),
                    Verdict::Waits => Err(Burst::Waits),
                    Verdict::Terminated { reason } => {
                        // A fault that stalled was counted then.
                        self.report.faults += after.faults - before.faults;
                        Err(Burst::Refused(reason))
                    }
                    Verdict::Caught => Err(Burst::Caught),
                }
            }
        }
    }

    /// Moves the bytes of a burst between memory and the master.
    fn transfer(&mut self, access: Access, len: usize, physical: u64, bus: &mut Bus) -> Result<(), BusError> {
        match access {
            Access::Read | Access::Fetch => {
                let bytes = &mut self.buffer[..len];
                bus.read(physical, bytes)?;
                self.checksum.update(bytes);
                self.report.bytes_read += len as u64;
                if self.to.is_some() {
                    (self.begin, self.end) = (0, len);
                }
            }
            Access::Write if self.from.is_some() => {
                bus.write(physical, &self.buffer[self.begin..self.begin + len])?;
                self.begin += len;
                self.report.bytes_written += len as u64;
            }
            Access::Write => {
                let first = self.report.bytes_written;
                let mut made = [0; LONGEST_BURST];
                fill_pattern(self.seed, first, &mut made[..len]);
                bus.write(physical, &made[..len])?;
                self.report.bytes_written += len as u64;
            }
        }
        self.bursts += 1;
        Ok(())
    }
}

/// Fills `bytes` with the [pattern](vcm_platform::pattern) of `seed` from its byte `first` on, a word at a time.
fn fill_pattern(seed: u64, first: u64, bytes: &mut [u8]) {
    let mut at = first;
    let mut rest = bytes;
    while !rest.is_empty() {
        let inside = (at % 8) as usize;
        let (now, later) = rest.split_at_mut(rest.len().min(8 - inside));
        let word = splitmix64(seed, at / 8).to_le_bytes();
        now.copy_from_slice(&word[inside..inside + now.len()]);
        at += now.len() as u64;
        rest = later;
    }
}
