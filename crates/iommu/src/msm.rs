//! The Qualcomm MSM SMMU (`qcom,apq8064-iommu`, "msm-iommu-v0"): the IOMMU that the Virtual Contiguous Memory
//! Manager was written for. The crate's documentation begins with an example.
//!
//! # Contexts and banks
//! The hardware has a few *context banks*, each with its page tables; a table (`M2VCBR`) says which bank
//! takes the transactions of which master. Users see *contexts*, as many as they like. A context is
//! - *inactive* or *active*: whether it has tables;
//! - when active, *seated* in a bank or not: whether its masters translate at this moment;
//! - when seated, *held* or *idle*: whether transactions are expected.
//!
//! Activating or holding a context seats it. When no bank is free, the context that has been idle for longest
//! is displaced: it stays active, and its next hold seats it again. A held context is never displaced, nor
//! is one with a fault that is not dealt with; when all are so, the error names them.
//!
//! # What holds
//! 1. **A master without a seat reaches nothing** (under [`Unclaimed::Refuse`], the default). Its transaction
//!    is terminated, and reported as [`NoContext`](vcm::FaultReason::NoContext). No master is ever routed to
//!    a bank with another context's tables, not for one register write.
//! 2. **A seat is given up only after invalidation.** A bank, and the ASID that tags its TLB entries, go to
//!    another context only when the device was seen to have dropped those entries.
//! 3. **Done means seen to be done.** Whatever invalidates ends with reading a register back that tells a
//!    live device from one that is off (zeros), gone (all ones) or reset. Anything else is [`Unresponsive`].
//! 4. **Teardown cannot be refused.** Where the device does not answer, the bank is quarantined, with its
//!    ASID, its context and the context's masters. Calling again, [`Smmu::recover`] or [`Smmu::reset`] brings
//!    them back.
//!
//! # What is inferred
//! No manual is public. Three inferences matter. Two are marked "(open)" in [`spec`]: that `M2VCBR.BYPASSD` =
//! 1 terminates what would bypass ([`spec::M2vcbr::bypassd`]), and that `CR.RPUEIE` enables the interrupt for
//! it. The third is that an invalidation has completed when a register that is read after it answers: the
//! Linux drivers wait for less (a memory barrier), and no register is known that says more.

mod config;
mod context;
mod describe;
mod error;
mod faults;
mod ids;
mod iommu;
mod roots;
mod seats;
mod sequences;
mod smmu;
pub mod spec;
mod statistics;
mod tlb;

pub use crate::Invalidation;
pub use config::{Config, Unclaimed, Walks};
pub use describe::Description;
pub use error::{Busy, Holder, Holders, ProbeError, SmmuError, TranslateFault, Unresponsive};
pub use faults::{FaultRecord, FaultSource};
pub use ids::{ContextId, MasterId};
pub use roots::{RootsError, TableRoots};
pub use smmu::Smmu;
pub use statistics::Statistics;
pub use tlb::{PAGEWISE_LIMIT, TranslateAs};
