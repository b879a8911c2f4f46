//! The virtual interrupt controller.
mod bind;
mod frame;
mod guest;
mod hold;
mod inject;
mod interface;
mod load;
mod queue;
mod save;
mod snapshot;
mod vcpu;
mod vm;
mod word;

pub use crate::wanted::Wanted;
pub use bind::BindError;
pub use frame::{Frame, IIDR, Register, SgiRegister, Width, affinity};
pub use guest::InterruptState;
pub use inject::{InjectError, Level};
pub use interface::{
    Attention, Completion, EndMode, Group, GuestCpuInterface, ListRegister, LrState, MOST_LIST_REGISTERS,
    VirtualInterface,
};
pub use load::Loaded;
pub use snapshot::{RestoreError, SNAPSHOT_VERSION, SavedInterrupt, SavedVcpu, Snapshot};
pub use vcpu::{Vcpu, VcpuStatistics};
pub use vm::{CompletionBy, Config, ConfigError, Fallback, Machine, Model, Vm, VmId};
