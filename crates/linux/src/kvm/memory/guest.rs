//! Mapping and unmapping.
#![allow(unsafe_code, reason = "a slot is memory that a guest reads and writes")]

use super::mapping::HostMapping;
use super::protection::Protection;
use super::slots::Slot;
use crate::Error;
use crate::kvm::open::refused;
use crate::kvm::vm::Vm;
use crate::memory::MemoryRange;
use kvm_bindings::{KVM_MEM_READONLY, kvm_userspace_memory_region};
use vcm::{GuestPhysicalAddress, Span};

/// What a guest has at some of its physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// Guest physical addresses.
    pub span: Span,
    /// What the guest may do there.
    pub protection: Protection,
    /// The number of the slot.
    pub slot: u32,
}

/// The memory of a virtual machine.
///
/// A mapping is one of KVM's slots, however many pieces of memory it is made of. Neighbours are not merged into one
/// slot later: KVM has no call for that, and between removing two slots and adding one in their place a running guest
/// would find no memory there. Who has many pieces maps them in one call.
#[derive(Clone, Debug)]
pub struct GuestMemory {
    vm: Vm,
}

impl GuestMemory {
    pub(crate) const fn of(vm: Vm) -> Self {
        Self { vm }
    }

    /// Maps pieces of shared memory, one after the other, from `at` on: one slot.
    ///
    /// # Errors
    /// As [`GuestMemory::map`], and of [`HostMapping::new`].
    pub fn map_pieces(
        &self,
        at: GuestPhysicalAddress,
        pieces: &[MemoryRange<'_>],
        protection: Protection,
    ) -> Result<(), Error> {
        self.map(at, HostMapping::new(pieces)?, protection)
    }

    /// Maps memory at `at`. The memory is kept until it is unmapped, or the virtual machine ends.
    ///
    /// # Errors
    /// [`Error::Argument`] when something is there already, for addresses and lengths that are not whole pages, and
    /// when no slot is left; [`Error::NotSupported`] when this kernel has no read-only slots; the kernel's.
    pub fn map(
        &self,
        at: GuestPhysicalAddress,
        memory: HostMapping,
        protection: Protection,
    ) -> Result<(), Error> {
        let (first, len) = (at.raw(), memory.len());
        let what = || format!("{len:#x} bytes at guest physical {first:#x}");
        let page = rustix::param::page_size() as u64;
        let address = memory.address().raw();
        if [first, len, address].iter().any(|number| !number.is_multiple_of(page)) {
            return Err(Error::argument(what(), format!("a guest is given whole pages of {page:#x} bytes")));
        }
        let span = Span::new(first, len)
            .filter(|span| !span.is_empty())
            .ok_or_else(|| Error::argument(what(), "no bytes, or beyond the last address"))?;
        let flags = match protection {
            Protection::ReadWrite => 0,
            Protection::ReadOnly if self.vm.capabilities().read_only_memory => KVM_MEM_READONLY,
            Protection::ReadOnly => {
                return Err(Error::not_supported(
                    "read-only guest memory",
                    "this kernel has no KVM_CAP_READONLY_MEM",
                ));
            }
        };
        let mut slots = self.vm.slots();
        let number = slots.plan(span)?;
        let region = kvm_userspace_memory_region {
            slot: number,
            flags,
            guest_phys_addr: first,
            memory_size: len,
            userspace_addr: address,
        };
        // SAFETY: the addresses stay mapped as long as `memory`, and they are nothing that Rust thinks is its own
        // (the contract of HostMapping). `memory` stays in the table of the virtual machine until the kernel has
        // removed the slot; the table lives as long as the virtual machine's descriptor, and every virtual CPU holds
        // both.
        unsafe { self.vm.fd().set_user_memory_region(region) }
            .map_err(|error| refused("KVM_SET_USER_MEMORY_REGION", what(), error))?;
        slots.insert(Slot { number, span, protection, memory });
        Ok(())
    }

    /// Unmaps every mapping in `span`: whole ones, none or several. When it returns, no virtual CPU reaches the
    /// memory through these addresses any more: KVM waits until all have left the old view. An access there comes to
    /// the VMM as one to a device.
    ///
    /// # Errors
    /// [`Error::Argument`] when a mapping is only partly in `span`: then nothing has changed. The kernel's: then what
    /// comes before the mapping that the error names is unmapped, and the rest is as before.
    pub fn unmap(&self, span: Span) -> Result<(), Error> {
        let mut slots = self.vm.slots();
        for first in slots.inside(span)? {
            let Some(slot) = slots.get(first) else { continue };
            let region = kvm_userspace_memory_region {
                slot: slot.number,
                flags: 0,
                guest_phys_addr: first,
                memory_size: 0,
                userspace_addr: 0,
            };
            // SAFETY: a size of 0 removes the slot, and gives the guest nothing.
            unsafe { self.vm.fd().set_user_memory_region(region) }.map_err(|error| {
                refused(
                    "KVM_SET_USER_MEMORY_REGION",
                    format!("the mapping at guest physical {first:#x}"),
                    error,
                )
            })?;
            // What it was goes here, after the kernel let go of it.
            drop(slots.remove(first));
        }
        Ok(())
    }

    /// What is mapped, by address.
    pub fn mapped(&self) -> Vec<Mapped> {
        let slots = self.vm.slots();
        slots
            .iter()
            .map(|&Slot { number: slot, span, protection, .. }| Mapped { span, protection, slot })
            .collect()
    }

    /// How many slots are used.
    pub fn slots_used(&self) -> usize {
        self.vm.slots().used()
    }

    /// How many more mappings there can be.
    pub fn slots_left(&self) -> usize {
        let slots = self.vm.slots();
        (slots.limit() as usize).saturating_sub(slots.used())
    }
}
