//! Which GSI is what: a pin of an interrupt controller, or a message.

use super::open::refused;
use super::vm::Vm;
use crate::Error;
use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KvmIrqRouting, kvm_irq_routing_entry,
    kvm_irq_routing_entry__bindgen_ty_1 as Target, kvm_irq_routing_irqchip, kvm_irq_routing_msi,
};
use std::collections::BTreeMap;

/// What a device writes to interrupt a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Message {
    /// Where it writes.
    pub address: u64,
    /// What it writes.
    pub data: u32,
}

#[derive(Clone, Copy, Debug)]
enum Route {
    Pin { controller: u32, pin: u32 },
    Message(Message),
}

/// What the kernel was told. The kernel takes the whole table each time, so that it has one owner.
#[derive(Debug)]
pub(super) struct Table {
    routes: BTreeMap<u32, Vec<Route>>,
    limit: u32,
}

/// The number after that of the I/O APIC's last pin (Intel 82093AA).
const PINS: u32 = 24;

// KVM_IRQCHIP_* of arch/x86/include/uapi/asm/kvm.h.
const FIRST_PIC: u32 = 0;
const SECOND_PIC: u32 = 1;
const IO_APIC: u32 = 2;

impl Table {
    pub(super) const fn empty(limit: u32) -> Self {
        Self { routes: BTreeMap::new(), limit }
    }

    /// What `KVM_CREATE_IRQCHIP` sets up on x86: GSI n is pin n of the I/O APIC, and below 16 of the PICs as well
    /// (Documentation/virt/kvm/api.rst; arch/x86/kvm/irq.c).
    #[cfg(target_arch = "x86_64")]
    pub(super) fn of_pc(limit: u32) -> Self {
        let routes = (0..PINS).map(|gsi| {
            let mut both = vec![Route::Pin { controller: IO_APIC, pin: gsi }];
            if gsi < 16 {
                let controller = if gsi < 8 { FIRST_PIC } else { SECOND_PIC };
                both.push(Route::Pin { controller, pin: gsi % 8 });
            }
            (gsi, both)
        });
        Self { routes: routes.collect(), limit }
    }

    fn entries(&self) -> impl Iterator<Item = (u32, Route)> {
        self.routes.iter().flat_map(|(&gsi, routes)| routes.iter().map(move |&route| (gsi, route)))
    }

    fn tell(&self, vm: &Vm) -> Result<(), Error> {
        let entries: Vec<_> = self.entries().map(|(gsi, route)| entry(gsi, route)).collect();
        let table = KvmIrqRouting::from_entries(&entries)
            .map_err(|_| Error::argument("table of GSIs", "it has more entries than KVM's structure"))?;
        vm.fd().set_gsi_routing(&table).map_err(|error| refused("KVM_SET_GSI_ROUTING", vm.name(), error))
    }
}

fn entry(gsi: u32, route: Route) -> kvm_irq_routing_entry {
    let (type_, u) = match route {
        Route::Pin { controller, pin } => (
            KVM_IRQ_ROUTING_IRQCHIP,
            Target { irqchip: kvm_irq_routing_irqchip { irqchip: controller, pin } },
        ),
        Route::Message(Message { address, data }) => (
            KVM_IRQ_ROUTING_MSI,
            Target {
                msi: kvm_irq_routing_msi {
                    address_lo: address as u32,
                    address_hi: (address >> 32) as u32,
                    data,
                    ..Default::default()
                },
            },
        ),
    };
    kvm_irq_routing_entry { gsi, type_, u, ..Default::default() }
}

/// The table of GSIs of a virtual machine: `KVM_SET_GSI_ROUTING`.
///
/// A change takes effect at once for the eventfds that are assigned already.
#[derive(Clone, Debug)]
pub struct Routing {
    vm: Vm,
}

impl Routing {
    pub(super) const fn of(vm: Vm) -> Self {
        Self { vm }
    }

    /// Whether a GSI is a pin or a message.
    pub fn has(&self, gsi: u32) -> bool {
        self.vm.routes().routes.contains_key(&gsi)
    }

    /// Whether a GSI is a pin of an interrupt controller, which can be level-sensitive.
    pub fn is_pin(&self, gsi: u32) -> bool {
        let table = self.vm.routes();
        table.routes.get(&gsi).is_some_and(|routes| matches!(routes.first(), Some(Route::Pin { .. })))
    }

    /// The message of a GSI.
    pub fn message(&self, gsi: u32) -> Option<Message> {
        match self.vm.routes().routes.get(&gsi)?.first()? {
            Route::Message(message) => Some(*message),
            Route::Pin { .. } => None,
        }
    }

    /// How many entries the table has.
    pub fn len(&self) -> usize {
        self.vm.routes().entries().count()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives a message a GSI: the lowest that is free.
    ///
    /// # Errors
    /// [`Error::Argument`] when the table is full; the kernel's.
    pub fn add(&self, message: Message) -> Result<u32, Error> {
        let mut table = self.vm.routes();
        let (used, limit) = (table.entries().count(), table.limit);
        if used >= limit as usize {
            return Err(Error::argument(
                "a GSI for a message",
                format!("all {limit} entries of the table are used (KVM_CAP_IRQ_ROUTING)"),
            ));
        }
        // Fewer are used than there are numbers above the pins.
        let free = (PINS..u32::MAX).find(|gsi| !table.routes.contains_key(gsi)).unwrap_or(PINS);
        table.routes.insert(free, vec![Route::Message(message)]);
        if let Err(error) = table.tell(&self.vm) {
            table.routes.remove(&free);
            return Err(error);
        }
        Ok(free)
    }

    /// Gives a GSI another message, as when the guest moves an interrupt to another CPU.
    ///
    /// # Errors
    /// [`Error::Argument`] when the GSI is no message; the kernel's. Then it is as before.
    pub fn change(&self, gsi: u32, message: Message) -> Result<(), Error> {
        let mut table = self.vm.routes();
        let before = match table.routes.get(&gsi).and_then(|routes| routes.first()) {
            Some(&Route::Message(before)) => before,
            _ => return Err(Error::argument(format!("GSI {gsi}"), "it is no message")),
        };
        table.routes.insert(gsi, vec![Route::Message(message)]);
        table.tell(&self.vm).inspect_err(|_| {
            table.routes.insert(gsi, vec![Route::Message(before)]);
        })
    }

    /// Takes a message's GSI away. Eventfds that are still assigned to it raise nothing then. Passed over where it is
    /// no message.
    pub fn remove(&self, gsi: u32) {
        let mut table = self.vm.routes();
        if !matches!(table.routes.get(&gsi).and_then(|routes| routes.first()), Some(Route::Message(_))) {
            return;
        }
        table.routes.remove(&gsi);
        // Where the kernel has no memory for a new table, the old one stays until the next change. The number may be
        // given again: the new message takes its place.
        let _ = table.tell(&self.vm);
    }
}
