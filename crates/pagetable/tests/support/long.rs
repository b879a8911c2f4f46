//! AArch64 formats by granule, stage and choices, each with the registers of its walker.

use super::Pool;
use super::walkers::{LongRegisters, LongStage, Walked, long};
use vcm::Security;
use vcm_pagetable::aarch64::{Contiguous, MAIR, Stage1, Stage1Config, Stage2, Stage2Config, TypedGranule};
use vcm_pagetable::{Format, PageTable};

/// How long a root of stage 2 is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Root {
    /// As without a choice.
    Plain,
    /// A level lower than that, if it can be.
    Lower,
}

/// What there is to choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    pub bits: u8,
    pub contiguous: Contiguous,
    /// Of no meaning for stage 1.
    pub root: Root,
}

/// All choices for `bits` of input.
pub fn choices(bits: u8) -> impl Iterator<Item = Choice> {
    [Contiguous::Used, Contiguous::NotUsed]
        .into_iter()
        .flat_map(move |contiguous| [Root::Plain, Root::Lower].map(|root| Choice { bits, contiguous, root }))
}

/// A format of either stage.
pub trait Long: Format<Word = u64> {
    /// log2 of the granule.
    const GRANULE: u32;

    /// The format with 48 bits of output.
    fn choose(choice: Choice) -> Self;

    /// What the registers of the walker hold.
    fn registers(&self, root: u64) -> LongRegisters;
}

impl<G: TypedGranule> Long for Stage1<G> {
    const GRANULE: u32 = G::GRANULE.shift();

    fn choose(choice: Choice) -> Self {
        let config = Stage1Config { input_bits: choice.bits, output_bits: 48, world: Security::NonSecure };
        Self::new(config).unwrap().with_contiguous(choice.contiguous)
    }

    fn registers(&self, root: u64) -> LongRegisters {
        let t0sz = 64 - u32::from(self.config().input_bits);
        let stage = LongStage::One { mair: MAIR, secure: false };
        LongRegisters { stage, granule: Self::GRANULE, t0sz, sl0: None, root }
    }
}

impl<G: TypedGranule> Long for Stage2<G> {
    const GRANULE: u32 = G::GRANULE.shift();

    fn choose(choice: Choice) -> Self {
        let config = Stage2Config { input_bits: choice.bits, output_bits: 48 };
        let plain = Self::new(config).unwrap().with_contiguous(choice.contiguous);
        match choice.root {
            Root::Plain => plain,
            Root::Lower => plain.with_root_level(plain.root_level() as u8 + 1).unwrap_or(plain),
        }
    }

    fn registers(&self, root: u64) -> LongRegisters {
        let t0sz = 64 - u32::from(self.config().input_bits);
        let sl0 = Some(self.sl0());
        LongRegisters { stage: LongStage::Two, granule: Self::GRANULE, t0sz, sl0, root }
    }
}

/// What the walker finds at `at`.
pub fn walk<F: Long>(table: &PageTable<F>, memory: &Pool<u64>, at: u64) -> Option<Walked> {
    let registers = table.format().registers(table.root().raw());
    long(registers, |address| memory.walker_reads(address), at)
}
