//! What a layer must not know, its types do not carry. Each of these is followed by one that differs in what
//! its last line names, and that must not compile.
//!
//! The bus driver opens host interrupts, not a device's.
//! ```
//! # use vcm_irq::{*, host::*};
//! # fn f<C: Controller>(host: &Host<C>, line: OpenLine, interrupt: HostInterrupt, device: DeviceInterrupt, guest: GuestInterrupt) {
//! let _ = host.open(interrupt, Sense::Level);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*};
//! # fn f<C: Controller>(host: &Host<C>, line: OpenLine, interrupt: HostInterrupt, device: DeviceInterrupt, guest: GuestInterrupt) {
//! let _ = host.open(device, Sense::Level);
//! # }
//! ```
//!
//! It asks for the state of host interrupts, not of a guest's.
//! ```
//! # use vcm_irq::{*, host::*};
//! # fn f<C: Controller>(host: &Host<C>, line: OpenLine, interrupt: HostInterrupt, device: DeviceInterrupt, guest: GuestInterrupt) {
//! let _ = host.state(interrupt);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*};
//! # fn f<C: Controller>(host: &Host<C>, line: OpenLine, interrupt: HostInterrupt, device: DeviceInterrupt, guest: GuestInterrupt) {
//! let _ = host.state(guest);
//! # }
//! ```
//!
//! Its line knows its host interrupt, and no device.
//! ```
//! # use vcm_irq::{*, host::*};
//! # fn f<C: Controller>(host: &Host<C>, line: OpenLine, interrupt: HostInterrupt, device: DeviceInterrupt, guest: GuestInterrupt) {
//! let _ = line.interrupt();
//! # }
//! ```
//! ```compile_fail,E0599
//! # use vcm_irq::{*, host::*};
//! # fn f<C: Controller>(host: &Host<C>, line: OpenLine, interrupt: HostInterrupt, device: DeviceInterrupt, guest: GuestInterrupt) {
//! let _ = line.device();
//! # }
//! ```
//!
//! What it passes on is a token, not a guest interrupt.
//! ```
//! # use vcm_irq::{*, host::*};
//! # fn f<C: Controller>(host: &Host<C>, line: OpenLine, token: Token, guest: GuestInterrupt) {
//! host.connect(line, Some(token));
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*};
//! # fn f<C: Controller>(host: &Host<C>, line: OpenLine, token: Token, guest: GuestInterrupt) {
//! host.connect(line, Some(guest));
//! # }
//! ```
//!
//! vfio finds the line behind a device's interrupt, not behind a guest's.
//! ```
//! # use vcm_irq::{*, host::*, vfio::*, vgic::{Machine, Vm}};
//! # fn f<M: Machine, S: Signals>(host: &Host<M::Controller>, vm: &Vm<M>, device: Device, signals: &S, interrupt: DeviceInterrupt, guest: GuestInterrupt) {
//! let _ = device.line(interrupt);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*, vfio::*, vgic::{Machine, Vm}};
//! # fn f<M: Machine, S: Signals>(host: &Host<M::Controller>, vm: &Vm<M>, device: Device, signals: &S, interrupt: DeviceInterrupt, guest: GuestInterrupt) {
//! let _ = device.line(guest);
//! # }
//! ```
//!
//! It works on the host, not on a virtual machine.
//! ```
//! # use vcm_irq::{*, host::*, vfio::*, vgic::{Machine, Vm}};
//! # fn f<M: Machine, S: Signals>(host: &Host<M::Controller>, vm: &Vm<M>, device: Device, signals: &S, interrupt: DeviceInterrupt, guest: GuestInterrupt) {
//! device.close(host, signals);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*, vfio::*, vgic::{Machine, Vm}};
//! # fn f<M: Machine, S: Signals>(host: &Host<M::Controller>, vm: &Vm<M>, device: Device, signals: &S, interrupt: DeviceInterrupt, guest: GuestInterrupt) {
//! device.close(vm, signals);
//! # }
//! ```
//!
//! Its triggers are tokens, not guest interrupts.
//! ```
//! # use vcm_irq::{*, vfio::*};
//! # fn f(token: Token, guest: GuestInterrupt) {
//! let _ = Data::Eventfd(&[Some(token)]);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, vfio::*};
//! # fn f(token: Token, guest: GuestInterrupt) {
//! let _ = Data::Eventfd(&[Some(guest)]);
//! # }
//! ```
//!
//! kvm joins a line, not a device.
//! ```
//! # use vcm_irq::{*, host::*, kvm::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(vm: &Vm<M>, bypass: &mut Bypass<Arc<Vm<M>>, Arc<Eventfds>>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, guest: GuestInterrupt, token: Token, descriptor: i32) {
//! let _ = join(vm, line, guest);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*, kvm::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(vm: &Vm<M>, bypass: &mut Bypass<Arc<Vm<M>>, Arc<Eventfds>>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, guest: GuestInterrupt, token: Token, descriptor: i32) {
//! let _ = join(vm, device, guest);
//! # }
//! ```
//!
//! kvm joins a line, not an index and a sub-index.
//! ```
//! # use vcm_irq::{*, host::*, kvm::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(vm: &Vm<M>, bypass: &mut Bypass<Arc<Vm<M>>, Arc<Eventfds>>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, guest: GuestInterrupt, token: Token, descriptor: i32) {
//! let _ = join(vm, line, guest);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*, kvm::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(vm: &Vm<M>, bypass: &mut Bypass<Arc<Vm<M>>, Arc<Eventfds>>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, guest: GuestInterrupt, token: Token, descriptor: i32) {
//! let _ = join(vm, interrupt, guest);
//! # }
//! ```
//!
//! kvm joins with a guest interrupt, not with a device's.
//! ```
//! # use vcm_irq::{*, host::*, kvm::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(vm: &Vm<M>, bypass: &mut Bypass<Arc<Vm<M>>, Arc<Eventfds>>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, guest: GuestInterrupt, token: Token, descriptor: i32) {
//! let _ = join(vm, line, guest);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*, kvm::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(vm: &Vm<M>, bypass: &mut Bypass<Arc<Vm<M>>, Arc<Eventfds>>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, guest: GuestInterrupt, token: Token, descriptor: i32) {
//! let _ = join(vm, line, interrupt);
//! # }
//! ```
//!
//! kvm's token door takes tokens, not descriptors.
//! ```
//! # use vcm_irq::{*, host::*, kvm::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(vm: &Vm<M>, bypass: &mut Bypass<Arc<Vm<M>>, Arc<Eventfds>>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, guest: GuestInterrupt, token: Token, descriptor: i32) {
//! let _ = bypass.register_producer(token, line);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*, kvm::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(vm: &Vm<M>, bypass: &mut Bypass<Arc<Vm<M>>, Arc<Eventfds>>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, guest: GuestInterrupt, token: Token, descriptor: i32) {
//! let _ = bypass.register_producer(descriptor, line);
//! # }
//! ```
//!
//! The architecture binds a line, not a device.
//! ```
//! # use vcm_irq::{*, host::*, vfio::Device, vgic::{Machine, Vm}};
//! # fn f<M: Machine>(vm: &Vm<M>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, host: HostInterrupt, guest: GuestInterrupt) {
//! let _ = vm.bind(line, guest);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*, vfio::Device, vgic::{Machine, Vm}};
//! # fn f<M: Machine>(vm: &Vm<M>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, host: HostInterrupt, guest: GuestInterrupt) {
//! let _ = vm.bind(device, guest);
//! # }
//! ```
//!
//! The architecture binds a line, not an index and a sub-index.
//! ```
//! # use vcm_irq::{*, host::*, vfio::Device, vgic::{Machine, Vm}};
//! # fn f<M: Machine>(vm: &Vm<M>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, host: HostInterrupt, guest: GuestInterrupt) {
//! let _ = vm.bind(line, guest);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*, vfio::Device, vgic::{Machine, Vm}};
//! # fn f<M: Machine>(vm: &Vm<M>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, host: HostInterrupt, guest: GuestInterrupt) {
//! let _ = vm.bind(interrupt, guest);
//! # }
//! ```
//!
//! It delivers guest interrupts, not the host's.
//! ```
//! # use vcm_irq::{*, host::*, vfio::Device, vgic::{Machine, Vm}};
//! # fn f<M: Machine>(vm: &Vm<M>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, host: HostInterrupt, guest: GuestInterrupt) {
//! let _ = vm.deliver(guest);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, host::*, vfio::Device, vgic::{Machine, Vm}};
//! # fn f<M: Machine>(vm: &Vm<M>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, host: HostInterrupt, guest: GuestInterrupt) {
//! let _ = vm.deliver(host);
//! # }
//! ```
//!
//! It knows from which host interrupt one is forwarded, and no index.
//! ```
//! # use vcm_irq::{*, host::*, vfio::Device, vgic::{Machine, Vm}};
//! # fn f<M: Machine>(vm: &Vm<M>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, host: HostInterrupt, guest: GuestInterrupt) {
//! let _ = vm.forwarded_from(guest).map(|one| one.0);
//! # }
//! ```
//! ```compile_fail,E0609
//! # use vcm_irq::{*, host::*, vfio::Device, vgic::{Machine, Vm}};
//! # fn f<M: Machine>(vm: &Vm<M>, line: OpenLine, device: Device, interrupt: DeviceInterrupt, host: HostInterrupt, guest: GuestInterrupt) {
//! let _ = vm.forwarded_from(guest).map(|one| one.index);
//! # }
//! ```
//!
//! kvm-vfio is told a device's interrupt, not the host's.
//! ```
//! # use vcm_irq::{*, kvm::Eventfds, kvm_vfio::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(control: &mut KvmVfio<Arc<Vm<M>>, Arc<Device>, Arc<Eventfds>>, device: Arc<Device>, interrupt: DeviceInterrupt, guest: GuestInterrupt, host: HostInterrupt) {
//! let _ = control.forward(&device, interrupt, guest);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, kvm::Eventfds, kvm_vfio::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(control: &mut KvmVfio<Arc<Vm<M>>, Arc<Device>, Arc<Eventfds>>, device: Arc<Device>, interrupt: DeviceInterrupt, guest: GuestInterrupt, host: HostInterrupt) {
//! let _ = control.forward(&device, host, guest);
//! # }
//! ```
//!
//! kvm-vfio is told a guest interrupt, not a bare number.
//! ```
//! # use vcm_irq::{*, kvm::Eventfds, kvm_vfio::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(control: &mut KvmVfio<Arc<Vm<M>>, Arc<Device>, Arc<Eventfds>>, device: Arc<Device>, interrupt: DeviceInterrupt, guest: GuestInterrupt, host: HostInterrupt) {
//! let _ = control.forward(&device, interrupt, guest);
//! # }
//! ```
//! ```compile_fail,E0308
//! # use vcm_irq::{*, kvm::Eventfds, kvm_vfio::*, vfio::Device, vgic::{Machine, Vm}};
//! # use std::sync::Arc;
//! # fn f<M: Machine>(control: &mut KvmVfio<Arc<Vm<M>>, Arc<Device>, Arc<Eventfds>>, device: Arc<Device>, interrupt: DeviceInterrupt, guest: GuestInterrupt, host: HostInterrupt) {
//! let _ = control.forward(&device, interrupt, 40);
//! # }
//! ```
//!
//! A host interrupt does not become a guest interrupt.
//! ```
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: GuestInterrupt = guest.into();
//! # }
//! ```
//! ```compile_fail,E0277
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: GuestInterrupt = host.into();
//! # }
//! ```
//!
//! A host interrupt does not become a device interrupt.
//! ```
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: DeviceInterrupt = device.into();
//! # }
//! ```
//! ```compile_fail,E0277
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: DeviceInterrupt = host.into();
//! # }
//! ```
//!
//! A guest interrupt does not become a host interrupt.
//! ```
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: HostInterrupt = host.into();
//! # }
//! ```
//! ```compile_fail,E0277
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: HostInterrupt = guest.into();
//! # }
//! ```
//!
//! A guest interrupt does not become a device interrupt.
//! ```
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: DeviceInterrupt = device.into();
//! # }
//! ```
//! ```compile_fail,E0277
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: DeviceInterrupt = guest.into();
//! # }
//! ```
//!
//! A device interrupt does not become a host interrupt.
//! ```
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: HostInterrupt = host.into();
//! # }
//! ```
//! ```compile_fail,E0277
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: HostInterrupt = device.into();
//! # }
//! ```
//!
//! A device interrupt does not become a guest interrupt.
//! ```
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: GuestInterrupt = guest.into();
//! # }
//! ```
//! ```compile_fail,E0277
//! # use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt};
//! # fn f(host: HostInterrupt, guest: GuestInterrupt, device: DeviceInterrupt) {
//! let _: GuestInterrupt = device.into();
//! # }
//! ```
//!
//! Nobody uses a device that is closed.
//! ```
//! # use vcm_irq::{*, host::*, kvm::*, kvm_vfio::*, vfio::*, vgic::{Machine, Vm}};
//! # fn f<M: Machine, S: Signals>(host: &Host<M::Controller>, device: Device, other: Device, vm: &Vm<M>, eventfds: &vcm_irq::kvm::Eventfds, signals: &S, interrupt: DeviceInterrupt, guest: GuestInterrupt) {
//! # other.close(host, signals);
//! let _ = device.line(interrupt);
//! # }
//! ```
//! ```compile_fail,E0382
//! # use vcm_irq::{*, host::*, kvm::*, kvm_vfio::*, vfio::*, vgic::{Machine, Vm}};
//! # fn f<M: Machine, S: Signals>(host: &Host<M::Controller>, device: Device, other: Device, vm: &Vm<M>, eventfds: &vcm_irq::kvm::Eventfds, signals: &S, interrupt: DeviceInterrupt, guest: GuestInterrupt) {
//! # other.close(host, signals);
//! let _ = other.line(interrupt);
//! # }
//! ```
//!
//! Nobody closes a device that a control holds.
//! ```
//! # use vcm_irq::{*, host::*, kvm::*, kvm_vfio::*, vfio::*, vgic::{Machine, Vm}};
//! # fn f<M: Machine, S: Signals>(host: &Host<M::Controller>, device: Device, other: Device, vm: &Vm<M>, eventfds: &vcm_irq::kvm::Eventfds, signals: &S, interrupt: DeviceInterrupt, guest: GuestInterrupt) {
//! # let mut control = KvmVfio::new(vm, eventfds, GROUP);
//! # let _ = control.forward(&&device, interrupt, guest);
//! other.close(host, signals); control.release();
//! # }
//! ```
//! ```compile_fail,E0505
//! # use vcm_irq::{*, host::*, kvm::*, kvm_vfio::*, vfio::*, vgic::{Machine, Vm}};
//! # fn f<M: Machine, S: Signals>(host: &Host<M::Controller>, device: Device, other: Device, vm: &Vm<M>, eventfds: &vcm_irq::kvm::Eventfds, signals: &S, interrupt: DeviceInterrupt, guest: GuestInterrupt) {
//! # let mut control = KvmVfio::new(vm, eventfds, GROUP);
//! # let _ = control.forward(&&device, interrupt, guest);
//! device.close(host, signals); control.release();
//! # }
//! ```
