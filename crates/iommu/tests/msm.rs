//! The MSM SMMU driver against a fake device at register level.

#[path = "msm/fake.rs"]
mod fake;

#[path = "msm/faults.rs"]
mod faults;
#[path = "msm/gather.rs"]
mod gather;
#[path = "msm/iommu.rs"]
mod iommu;
#[path = "msm/loss.rs"]
mod loss;
#[path = "msm/originals.rs"]
mod originals;
#[path = "msm/seats.rs"]
mod seats;
#[path = "msm/sequences.rs"]
mod sequences;
#[path = "msm/spec.rs"]
mod spec;
#[path = "msm/tlb.rs"]
mod tlb;
