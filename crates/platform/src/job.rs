//! A transfer under way: which bytes come next, whoever moves them.
//!
//! A machine whose devices do not follow a [`Surface`] by themselves cuts each [`Transfer`] into steps with a [`Job`], and
//! moves the bytes of each step with what it has: its [`Mover`].

use crate::{
    BadSurface, Bursts, Checksum, Outcome, PlatformError, Run, Surface, Transfer, TransferReport, pattern,
};
use std::collections::VecDeque;
use std::fmt;
use vcm::{FaultAccess, FaultReason};

/// A step moves so many bytes at most.
pub const CHUNK: u64 = 32 << 10;
/// And in so many runs at most.
const RUNS: usize = 320;

/// Moves bytes between a master and memory.
///
/// Runs come as [`Bursts`] cuts them: none is longer than [`CHUNK`], none passes the end of a 4 KiB page, and those of one
/// call have [`CHUNK`] bytes together at most.
pub trait Mover {
    /// Reads `runs`, one after the other, into `bytes`, which has their length.
    ///
    /// # Errors
    /// [`Stop`]: the runs before the one refused were read.
    fn read(&mut self, runs: &[Run], bytes: &mut [u8]) -> Result<(), Stop>;

    /// Writes `bytes` to `runs`, one after the other.
    ///
    /// # Errors
    /// [`Stop`]: the runs before the one refused were written.
    fn write(&mut self, runs: &[Run], bytes: &[u8]) -> Result<(), Stop>;
}

/// Why bytes were not moved.
#[derive(Debug)]
pub enum Stop {
    /// A transaction was refused.
    Refused(Refusal),
    /// The machine is broken, and the transfer is lost.
    Broken(PlatformError),
}

impl Stop {
    /// The machine is broken, for a reason of its own.
    pub fn broken(why: impl fmt::Display) -> Self {
        Self::Broken(PlatformError { what: "a transfer".to_owned(), why: why.to_string() })
    }
}

impl From<PlatformError> for Stop {
    fn from(error: PlatformError) -> Self {
        Self::Broken(error)
    }
}

/// A transfer that no master can make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadTransfer {
    /// One of its surfaces cannot be visited.
    Surface(BadSurface),
    /// A copy between surfaces of different lengths.
    Lengths {
        /// Bytes to read.
        from: u64,
        /// Bytes to write.
        to: u64,
    },
}

impl From<BadSurface> for BadTransfer {
    fn from(error: BadSurface) -> Self {
        Self::Surface(error)
    }
}

impl fmt::Display for BadTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Surface(error) => error.fmt(f),
            Self::Lengths { from, to } => write!(f, "a copy from {from} bytes to {to} bytes"),
        }
    }
}

impl std::error::Error for BadTransfer {}

/// A transaction that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The index of the run that it was part of.
    pub run: usize,
    /// Where it wanted to go.
    pub address: u64,
    /// What it wanted.
    pub access: FaultAccess,
    /// Why it was refused.
    pub reason: FaultReason,
}

/// What a step of a job came to.
#[derive(Debug)]
pub enum Stepped {
    /// Bytes were moved.
    Moved,
    /// A transaction was refused. The next step tries it again, unless the job is [aborted](Job::abort).
    Refused(Refusal),
    /// All is done.
    Ended(TransferReport),
}

/// A part of a transfer that comes next.
#[derive(Debug)]
enum Chunk {
    Read(Vec<Run>),
    Write { runs: Vec<Run>, bytes: Vec<u8> },
}

/// A transfer under way.
#[derive(Debug)]
pub struct Job {
    from: Option<Bursts>,
    to: Option<Bursts>,
    seed: u64,
    /// What was begun, and what follows from it.
    next: VecDeque<Chunk>,
    /// Bytes of the pattern that were made.
    made: u64,
    checksum: Checksum,
    report: TransferReport,
    total: u64,
}

impl Job {
    /// A transfer that has not begun.
    ///
    /// # Errors
    /// [`BadTransfer`]: a surface that no master can visit, or two of different lengths.
    pub fn new(transfer: &Transfer) -> Result<Self, BadTransfer> {
        let (from, to, seed) = match *transfer {
            Transfer::Write { to, seed } => (None, Some(to), seed),
            Transfer::Read { from } => (Some(from), None, 0),
            Transfer::Copy { from, to } => (Some(from), Some(to), 0),
        };
        if let (Some(from), Some(to)) = (&from, &to)
            && from.layout.bytes() != to.layout.bytes()
        {
            return Err(BadTransfer::Lengths { from: from.layout.bytes(), to: to.layout.bytes() });
        }
        let bytes = |surface: &Option<Surface>| surface.map_or(0, |surface| surface.layout.bytes());
        let total = bytes(&from).saturating_add(bytes(&to));
        Ok(Self {
            from: from.map(Bursts::new).transpose()?,
            to: to.map(Bursts::new).transpose()?,
            seed,
            next: VecDeque::new(),
            made: 0,
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
        })
    }

    /// Bytes done and to do: those read, plus those written.
    pub const fn progress(&self) -> (u64, u64) {
        (self.report.bytes_read + self.report.bytes_written, self.total)
    }

    /// Moves the bytes that come next.
    ///
    /// # Errors
    /// The machine is broken.
    pub fn step(&mut self, mover: &mut dyn Mover) -> Result<Stepped, PlatformError> {
        if self.next.is_empty() {
            self.begin();
        }
        let Some(chunk) = self.next.pop_front() else { return Ok(Stepped::Ended(self.end())) };
        let stop = match chunk {
            Chunk::Read(runs) => {
                let mut bytes = vec![0; length(&runs) as usize];
                let (done, stop) = outcome(mover.read(&runs, &mut bytes), runs.len())?;
                bytes.truncate(length(&runs[..done]) as usize);
                self.have_read(bytes);
                if stop.is_some() {
                    // After what was read before it has been written.
                    self.next.push_back(Chunk::Read(runs[done..].to_vec()));
                }
                stop
            }
            Chunk::Write { runs, mut bytes } => {
                let (done, stop) = outcome(mover.write(&runs, &bytes), runs.len())?;
                let written = length(&runs[..done]);
                self.report.bytes_written += written;
                bytes.drain(..written as usize);
                if stop.is_some() {
                    self.next.push_front(Chunk::Write { runs: runs[done..].to_vec(), bytes });
                }
                stop
            }
        };
        let Some(refusal) = stop else { return Ok(Stepped::Moved) };
        self.report.faults += 1;
        Ok(Stepped::Refused(refusal))
    }

    /// Gives up where it is.
    pub fn abort(&mut self) -> TransferReport {
        self.report.outcome = Outcome::Aborted;
        self.end()
    }

    fn end(&self) -> TransferReport {
        TransferReport { checksum: self.checksum.value(), ..self.report }
    }

    /// Cuts the next chunk.
    fn begin(&mut self) {
        if let Some(from) = &mut self.from {
            let runs = take(from, CHUNK);
            if !runs.is_empty() {
                self.next.push_back(Chunk::Read(runs));
            }
        } else if let Some(to) = &mut self.to {
            let runs = take(to, CHUNK);
            if !runs.is_empty() {
                let bytes = (0..length(&runs)).map(|index| pattern(self.seed, self.made + index)).collect();
                self.made += length(&runs);
                self.next.push_back(Chunk::Write { runs, bytes });
            }
        }
    }

    fn have_read(&mut self, bytes: Vec<u8>) {
        self.checksum.update(&bytes);
        self.report.bytes_read += bytes.len() as u64;
        let Some(to) = &mut self.to else { return };
        let mut rest = bytes;
        while !rest.is_empty() {
            let runs = take(to, rest.len() as u64);
            if runs.is_empty() {
                // Both surfaces have as many bytes.
                return;
            }
            let later = rest.split_off(length(&runs) as usize);
            self.next.push_back(Chunk::Write { runs, bytes: rest });
            rest = later;
        }
    }
}

fn length(runs: &[Run]) -> u64 {
    runs.iter().map(|run| run.len).sum()
}

/// The next runs, of at most so many bytes together.
fn take(bursts: &mut Bursts, most: u64) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut left = most.min(CHUNK);
    while left > 0 && runs.len() < RUNS {
        let Some(run) = bursts.next(left) else { break };
        left -= run.len;
        runs.push(run);
    }
    runs
}

/// How many runs were moved, and what stopped it.
fn outcome(moved: Result<(), Stop>, runs: usize) -> Result<(usize, Option<Refusal>), PlatformError> {
    match moved {
        Ok(()) => Ok((runs, None)),
        Err(Stop::Refused(refusal)) if refusal.run < runs => Ok((refusal.run, Some(refusal))),
        Err(Stop::Refused(refusal)) => Err(PlatformError {
            what: "a transfer".to_owned(),
            why: format!("run {} of {runs} was refused", refusal.run),
        }),
        Err(Stop::Broken(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layout, Rectangle};
    use std::collections::BTreeMap;

    /// Memory of single bytes. What is in `holes` is refused.
    #[derive(Default)]
    struct Bytes {
        bytes: BTreeMap<u64, u8>,
        holes: Vec<u64>,
    }

    impl Bytes {
        fn check(&self, runs: &[Run], access: FaultAccess) -> Result<(), (usize, Stop)> {
            for (index, run) in runs.iter().enumerate() {
                let hole = self.holes.iter().find(|hole| (run.address..run.address + run.len).contains(hole));
                if let Some(&address) = hole {
                    let reason = FaultReason::Translation;
                    return Err((index, Stop::Refused(Refusal { run: index, address, access, reason })));
                }
            }
            Ok(())
        }
    }

    impl Mover for Bytes {
        fn read(&mut self, runs: &[Run], bytes: &mut [u8]) -> Result<(), Stop> {
            let checked = self.check(runs, FaultAccess::Read);
            let done = checked.as_ref().map_or_else(|(index, _)| *index, |()| runs.len());
            let addresses = runs[..done].iter().flat_map(|run| run.address..run.address + run.len);
            for (byte, address) in bytes.iter_mut().zip(addresses) {
                *byte = self.bytes.get(&address).copied().unwrap_or(0);
            }
            checked.map_err(|(_, stop)| stop)
        }

        fn write(&mut self, runs: &[Run], bytes: &[u8]) -> Result<(), Stop> {
            let checked = self.check(runs, FaultAccess::Write);
            let done = checked.as_ref().map_or_else(|(index, _)| *index, |()| runs.len());
            let addresses = runs[..done].iter().flat_map(|run| run.address..run.address + run.len);
            for (byte, address) in bytes.iter().zip(addresses) {
                self.bytes.insert(address, *byte);
            }
            checked.map_err(|(_, stop)| stop)
        }
    }

    const PICTURE: Rectangle = Rectangle { width: 90, height: 70, bytes_per_pixel: 2, stride: 200 };

    fn finish(job: &mut Job, memory: &mut Bytes) -> TransferReport {
        loop {
            match job.step(memory).unwrap() {
                Stepped::Ended(report) => return report,
                Stepped::Moved => {}
                Stepped::Refused(refusal) => memory.holes.retain(|hole| *hole != refusal.address),
            }
        }
    }

    fn surfaces() -> (Surface, Surface) {
        let from = Surface { address: 0x1f00, layout: Layout::Columns(PICTURE) };
        let to = Surface { address: 0x10_0004, layout: Layout::Linear { len: PICTURE.bytes() } };
        (from, to)
    }

    /// Whatever is refused and tried again on the way, every byte arrives once, in the order of the visit.
    #[test]
    fn a_copy_arrives_through_every_refusal() {
        let (from, to) = surfaces();
        let mut memory = Bytes::default();
        for index in 0..PICTURE.extent() {
            memory.bytes.insert(from.address + index, pattern(9, index));
        }
        let mut plain = Bytes { bytes: memory.bytes.clone(), holes: Vec::new() };
        let mut job = Job::new(&Transfer::Copy { from, to }).unwrap();
        let expected = finish(&mut job, &mut plain);
        assert_eq!((expected.bytes_read, expected.bytes_written), (12_600, 12_600));
        memory.holes =
            vec![from.address, from.address + 401, from.address + 12_345, to.address + 4095, to.address];
        let holes = memory.holes.len() as u64;
        let mut job = Job::new(&Transfer::Copy { from, to }).unwrap();
        let report = finish(&mut job, &mut memory);
        assert_eq!(memory.bytes, plain.bytes);
        assert_eq!(report, TransferReport { faults: holes, ..expected });
        assert_eq!(job.progress(), (25_200, 25_200));
    }

    #[test]
    fn a_pattern_is_written_and_read_with_its_checksum() {
        let (_, to) = surfaces();
        let mut memory = Bytes::default();
        finish(&mut Job::new(&Transfer::Write { to, seed: 5 }).unwrap(), &mut memory);
        let mut sum = Checksum::new();
        for index in 0..PICTURE.bytes() {
            assert_eq!(memory.bytes[&(to.address + index)], pattern(5, index));
            sum.update(&[pattern(5, index)]);
        }
        let report = finish(&mut Job::new(&Transfer::Read { from: to }).unwrap(), &mut memory);
        assert_eq!(report.checksum, sum.value());
    }

    #[test]
    fn an_aborted_transfer_says_what_was_done() {
        let (_, to) = surfaces();
        let mut memory = Bytes { holes: vec![to.address + 5000], ..Bytes::default() };
        let mut job = Job::new(&Transfer::Write { to, seed: 5 }).unwrap();
        let refusal = loop {
            match job.step(&mut memory).unwrap() {
                Stepped::Refused(refusal) => break refusal,
                other => assert!(matches!(other, Stepped::Moved)),
            }
        };
        assert_eq!((refusal.address, refusal.access), (to.address + 5000, FaultAccess::Write));
        let report = job.abort();
        // Up to the end of the page before.
        assert_eq!((report.outcome, report.bytes_written), (Outcome::Aborted, 0x0ffc));
        assert_eq!(memory.bytes.len(), 0x0ffc);
    }

    #[test]
    fn senseless_transfers_are_refused() {
        let (from, to) = surfaces();
        let short = Surface { layout: Layout::Linear { len: 1 }, ..to };
        let copy = Job::new(&Transfer::Copy { from, to: short });
        assert_eq!(copy.unwrap_err(), BadTransfer::Lengths { from: PICTURE.bytes(), to: 1 });
        let tile = Layout::Tiled { picture: PICTURE, tile_width: 0, tile_height: 1 };
        let read = Job::new(&Transfer::Read { from: Surface { layout: tile, ..from } });
        assert_eq!(read.unwrap_err(), BadTransfer::Surface(BadSurface::Tile));
    }

    /// Nothing is lost or counted twice for it.
    #[test]
    fn a_mover_that_names_a_run_that_it_was_not_given_is_broken() {
        struct Liar;
        impl Mover for Liar {
            fn read(&mut self, runs: &[Run], _: &mut [u8]) -> Result<(), Stop> {
                let (run, access, reason) = (runs.len(), FaultAccess::Read, FaultReason::Translation);
                Err(Stop::Refused(Refusal { run, address: 0, access, reason }))
            }

            fn write(&mut self, _: &[Run], _: &[u8]) -> Result<(), Stop> {
                Err(Stop::broken("it burns"))
            }
        }
        let (from, to) = surfaces();
        let mut job = Job::new(&Transfer::Read { from }).unwrap();
        let error = job.step(&mut Liar).unwrap_err();
        assert!(error.why.ends_with("was refused"), "{error}");
        let mut job = Job::new(&Transfer::Write { to, seed: 1 }).unwrap();
        assert_eq!(job.step(&mut Liar).unwrap_err().to_string(), "a transfer: it burns");
        assert_eq!(job.abort().bytes_written, 0);
    }
}
