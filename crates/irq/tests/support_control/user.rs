//! The user's side: memory, descriptors, and device files that are closed with the last reference.

use super::{TestVm, World};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;
use vcm_irq::kvm::Eventfds;
use vcm_irq::kvm_vfio::{DescriptorError, Descriptors, Fault, GROUP, KvmVfio, UserMemory};
use vcm_irq::vfio::{self, Data, Device, EventfdError, IndexLayout, Request};
use vcm_irq::{HostInterrupt, Sense, Token};

#[derive(Debug)]
struct Open {
    world: Rc<World>,
    device: Option<Device>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(device) = self.device.take() {
            device.close(&self.world.host, &*self.world);
        }
    }
}

/// A reference on an open device; the last one closes it.
#[derive(Clone, Debug)]
pub struct DeviceFile(Rc<Open>);

impl Deref for DeviceFile {
    type Target = Device;
    fn deref(&self) -> &Device {
        self.0.device.as_ref().unwrap()
    }
}

impl DeviceFile {
    pub fn references(&self) -> usize {
        Rc::strong_count(&self.0)
    }

    /// Connects a trigger, or none.
    pub fn connect(&self, world: &World, index: u32, start: u32, triggers: &[Option<Token>]) {
        let data = Data::Eventfd(triggers);
        let request = Request { action: vfio::Action::Trigger, index, start, data };
        self.set_interrupts(&world.host, world, &request).unwrap();
    }
}

/// Opens a device with one level-sensitive interrupt for each index.
pub fn platform_device(world: &Rc<World>, interrupts: &[u32]) -> DeviceFile {
    let lines: Vec<_> = interrupts.iter().map(|&number| [HostInterrupt(number)]).collect();
    let layout: Vec<_> =
        lines.iter().map(|one| IndexLayout { sense: Sense::Level, interrupts: one.as_slice() }).collect();
    open(world, &layout)
}

/// Opens a device with one index of many edges.
pub fn message_device(world: &Rc<World>, interrupts: impl IntoIterator<Item = u32>) -> DeviceFile {
    let interrupts: Vec<_> = interrupts.into_iter().map(HostInterrupt).collect();
    open(world, &[IndexLayout { sense: Sense::Edge, interrupts: &interrupts }])
}

fn open(world: &Rc<World>, layout: &[IndexLayout<'_>]) -> DeviceFile {
    let device = Some(Device::open(&world.host, layout).unwrap());
    DeviceFile(Rc::new(Open { world: world.clone(), device }))
}

pub type Control = KvmVfio<TestVm, DeviceFile, Rc<Eventfds>>;

pub fn control(world: &World, vm: &TestVm) -> Control {
    KvmVfio::new(vm.clone(), world.eventfds.clone(), GROUP)
}

/// A user: some memory from address 0x1000 on, and descriptors.
#[derive(Default)]
pub struct User {
    pub memory: Vec<u8>,
    pub files: BTreeMap<i32, File>,
}

pub enum File {
    Device(DeviceFile),
    Eventfd(Token),
    Other,
}

pub const MEMORY: u64 = 0x1000;

impl User {
    /// Writes an argument, and answers its address.
    pub fn argument(&mut self, descriptor: i32, index: u32, subindex: u32, gsi: u32) -> u64 {
        let numbers = [descriptor as u32, index, subindex, gsi];
        self.memory = numbers.into_iter().flat_map(u32::to_ne_bytes).collect();
        MEMORY
    }
}

impl UserMemory for User {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let start = address.checked_sub(MEMORY).and_then(|start| usize::try_from(start).ok());
        let bytes = start.and_then(|start| self.memory.get(start..start.checked_add(into.len())?));
        into.copy_from_slice(bytes.ok_or(Fault { address })?);
        Ok(())
    }
}

impl Descriptors for User {
    type Device = DeviceFile;
    fn device(&self, descriptor: i32) -> Result<&DeviceFile, DescriptorError> {
        match self.files.get(&descriptor) {
            Some(File::Device(device)) => Ok(device),
            Some(_) => Err(DescriptorError::NotVfio),
            None => Err(DescriptorError::NoSuch),
        }
    }
}

impl vfio::EventfdDescriptors for User {
    fn eventfd(&self, descriptor: i32) -> Result<Token, EventfdError> {
        match self.files.get(&descriptor) {
            Some(File::Eventfd(token)) => Ok(*token),
            Some(_) => Err(EventfdError::SomethingElse),
            None => Err(EventfdError::NoSuch),
        }
    }
}
