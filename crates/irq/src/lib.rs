//! Interrupt forwarding: a device's interrupts go straight to the guest that owns the device, and the guest's end of
//! the interrupt completes the physical one. It can be taken back at any moment.
//!
//! For hypervisors and kernels in Rust: `no_std` with `alloc`, no unsafe code, over traits for the hardware, with
//! back-ends for GICv2 and GICv3 ([`gic`]).
//!
//! ```
//! use vcm_irq::host::{Acknowledged, Handled, Host, StormLimit, Taken, Trigger};
//! use vcm_irq::kvm::{self, Mode, Route};
//! use vcm_irq::vgic::{CompletionBy, Config, Level, Machine, Model, Vcpu, Vm, VmId, Wanted};
//! use vcm_irq::{GuestInterrupt, HostInterrupt, Sense, Token, VcpuId};
//! # use std::cell::{Cell, RefCell};
//! # use vcm_irq::host::{Controller, CpuInterface};
//! # use vcm_irq::vgic::*;
//! # #[derive(Default)] struct Distributor { active: Cell<bool>, enabled: Cell<bool> }
//! # impl Controller for Distributor {
//! #     fn interrupts(&self) -> u32 { 96 }
//! #     fn has_active_state(&self, _: HostInterrupt) -> bool { true }
//! #     fn enable(&self, _: HostInterrupt) { self.enabled.set(true) }
//! #     fn disable(&self, _: HostInterrupt) { self.enabled.set(false) }
//! #     fn deactivate(&self, _: HostInterrupt) { self.active.set(false) }
//! #     fn set_active(&self, _: HostInterrupt) { self.active.set(true) }
//! #     fn set_pending(&self, _: HostInterrupt) {}
//! #     fn clear_pending(&self, _: HostInterrupt) {}
//! #     fn is_pending(&self, _: HostInterrupt) -> bool { false }
//! #     fn is_active(&self, _: HostInterrupt) -> bool { self.active.get() }
//! #     fn set_sense(&self, _: HostInterrupt, _: Sense) {}
//! # }
//! # struct Cpu<'a> { distributor: &'a Distributor, registers: RefCell<[Option<ListRegister>; 4]> }
//! # impl CpuInterface for Cpu<'_> {
//! #     fn acknowledge(&mut self) -> Option<Acknowledged> {
//! #         self.distributor.active.set(true);
//! #         Some(Acknowledged::new(HostInterrupt(77), 77))
//! #     }
//! #     fn drop_priority(&mut self, _: &Acknowledged) {}
//! #     fn deactivate(&mut self, _: Acknowledged) { self.distributor.active.set(false) }
//! # }
//! # impl VirtualInterface for Cpu<'_> {
//! #     fn list_registers(&self) -> usize { 4 }
//! #     fn write(&mut self, index: usize, register: &ListRegister) { self.registers.borrow_mut()[index] = Some(*register) }
//! #     fn state(&mut self, index: usize) -> LrState { self.registers.borrow()[index].map_or(LrState::Empty, |r| r.state) }
//! #     fn clear(&mut self, index: usize) { self.registers.borrow_mut()[index] = None }
//! #     fn empty(&mut self) -> u32 { (0..4).filter(|i| self.registers.borrow()[*i].is_none()).map(|i| 1 << i).sum() }
//! #     fn enable(&mut self, _: Attention) {}
//! #     fn disable(&mut self) -> u32 { 0 }
//! #     fn guest(&mut self) -> GuestCpuInterface { GuestCpuInterface::default() }
//! #     fn set_guest(&mut self, _: &GuestCpuInterface) {}
//! #     fn end_mode(&self, _: &GuestCpuInterface) -> EndMode { EndMode::Together }
//! # }
//! # impl Cpu<'_> {
//! #     /// What the hardware does when the guest writes its end-of-interrupt register.
//! #     fn guest_ends_its_interrupt(&self) {
//! #         if let Some(ListRegister { completion: Completion::Physical(_), .. }) = self.registers.borrow_mut()[0].take() {
//! #             self.distributor.active.set(false);
//! #         }
//! #     }
//! # }
//!
//! /// What runs the virtual machine: here, one that has nobody to wake.
//! struct Hypervisor<'a> { host: &'a Host<&'a Distributor> }
//!
//! impl<'a> Machine for Hypervisor<'a> {
//!     type Controller = &'a Distributor;
//!     fn host(&self) -> &Host<&'a Distributor> { self.host }
//!     fn kick(&self, _: VcpuId) {}
//!     fn wait_for(&self, _: VcpuId) {}
//! }
//!
//! /// Where a line's interrupts go.
//! struct Routes<'a>(&'a Vm<Hypervisor<'a>>);
//!
//! impl Trigger for Routes<'_> {
//!     fn signal(&self, token: Token) -> Taken {
//!         match Route::of(token) {
//!             Route::Forwarded { guest, .. } => self.0.deliver(guest),
//!             Route::Injected { guest, .. } => self.0.signal(guest),
//!             Route::Eventfd(_) => Taken::No,
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let distributor = Distributor::default();
//! # let mut cpu = Cpu { distributor: &distributor, registers: RefCell::default() };
//! let host = Host::new(&distributor, StormLimit::default())?;
//! let config = Config {
//!     id: VmId(1), model: Model::V2, completion: CompletionBy::Guest, vcpus: 1, interrupts: 64,
//! };
//! let vm = Vm::new(Hypervisor { host: &host }, config)?;
//! let mut vcpu = Vcpu::new(&vm, VcpuId(0))?;
//!
//! // The guest sets up its interrupt controller (its trapped writes end in these calls).
//! let guest = GuestInterrupt(40);
//! vm.set_groups(Wanted::Yes, Wanted::No);
//! vm.enable(vcpu.id(), guest.0);
//!
//! // The device's line becomes the guest's.
//! let line = host.open(HostInterrupt(77), Sense::Level)?;
//! assert_eq!(kvm::join(&vm, line, guest)?, Mode::Forwarded);
//!
//! // The device asks: the host drops the priority and nothing else, and the guest is entered with a list register.
//! let acknowledged = cpu.acknowledge().ok_or("nothing is pending")?;
//! assert_eq!(host.handle(acknowledged, &mut cpu, &Routes(&vm), 0), Handled::Forwarded);
//! assert_eq!(vcpu.load(&vm, &mut cpu).list_registers, 1);
//!
//! // The guest ends its interrupt, and that was the physical one's end. No exit, no maintenance, no unmasking.
//! cpu.guest_ends_its_interrupt();
//! assert!(!distributor.is_active(line.interrupt()));
//! vcpu.save(&vm, &mut cpu);
//!
//! // Taken back at any moment; whatever was in flight would have ended in the ordinary way.
//! kvm::part(&vm, line, guest, None);
//! host.close(line);
//! # Ok(())
//! # }
//! ```
//!
//! # What you supply
//!
//! | trait | is | needed |
//! |---|---|---|
//! | [`gic::Registers`] | one access to a window of registers | for the back-ends [`gic::v2`] and [`gic::v3`] |
//! | [`gic::v3::SystemRegisters`] | one access to a system register | for [`gic::v3`] |
//! | [`vgic::Machine`] | how a vCPU is woken, and waited for | always |
//! | [`host::Trigger`] | where a line's token leads; [`kvm::Route`] has a table of it | always |
//! | [`host::Controller`], [`host::CpuInterface`], [`vgic::VirtualInterface`] | the hardware | with another controller than a GIC |
//! | [`kvm_vfio::Descriptors`], [`kvm_vfio::UserMemory`] | the user who calls | for attributes, [`kvm_vfio`] |
//! | [`vfio::Signals`], [`vfio::EventfdDescriptors`] | where a device's triggers lead, and descriptors | for devices, [`vfio`] |
//!
//! # Layers
//!
//! | layer | module | knows of an interrupt |
//! |---|---|---|
//! | bus driver | [`host`] | its host number, its line's state, a trigger |
//! | vfio | [`vfio`] | device, index and sub-index; the host's line behind them |
//! | kvm-vfio | [`kvm_vfio`] | device, index and sub-index; the guest's number |
//! | kvm | [`kvm`] | the host's line, the guest's number |
//! | arch | [`vgic`] | the same, for one virtual machine; the hardware's list registers |
//!
//! What a layer must not know, its types do not carry.
//!
//! # Principles
//!
//! 1. **One word is the truth.** A host line and a guest interrupt are one atomic word each. Whether the
//!    hardware may signal a line is computed from its word; nothing is counted up and down.
//! 2. **The list register is the truth while it is loaded**, and between two runs of a vCPU nothing is loaded.
//! 3. **No lock and no allocation on the way in.** A handler takes the same time however many interrupts are bound.
//! 4. **A line is quiet while its mode is switched**, and what its device asks for stays with the controller.
//!    So nothing is lost, and nothing comes twice.
//! 5. **Taking back cannot fail**: un-forwarding, unbinding, closing return nothing. What the guest has in
//!    progress goes on, and its end is reported to the host once.
//! 6. **Waiting is for one thing only.** Who switches a line may hold a guest interrupt; who holds a guest
//!    interrupt may wait for one vCPU to leave the guest; a vCPU that left the guest is saved before it waits
//!    for anything.
//! 7. **A stale name does nothing.** Lines have generations: what belongs to an owner before cannot reach the
//!    next one's.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, loom))]
extern crate std;

mod errno;
mod field;
pub mod gic;
pub mod host;
mod ids;
pub mod kvm;
pub mod kvm_vfio;
mod route;
mod storage;
mod sync;
pub mod vfio;
pub mod vgic;
mod wanted;

pub use errno::Errno;
pub use ids::{DeviceInterrupt, FIRST_SPI, GuestInterrupt, HostInterrupt, SPI_END, Sense, Token, VcpuId};
pub use storage::OutOfMemory;
