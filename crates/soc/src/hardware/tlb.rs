//! A fully associative TLB with tags, least-recently-used replacement, and a story to every entry.

use super::memory_attributes::MemoryAttributes;
use super::oracle::{Access, Story};
use vcm::Privilege;

bitflags::bitflags! {
    /// Who may do what through a translation. The bits are those of the SMMU's `TLBTR0` register.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Rights: u8 {
        /// Privileged reads pass.
        const PRIVILEGED_READ = 1;
        /// Privileged writes pass.
        const PRIVILEGED_WRITE = 1 << 1;
        /// User reads pass.
        const USER_READ = 1 << 2;
        /// User writes pass.
        const USER_WRITE = 1 << 3;
        /// Instruction fetches do not pass.
        const EXECUTE_NEVER = 1 << 4;
    }
}

impl Rights {
    /// Whether `access` passes when it is made as `privilege`. A fetch needs the right to read as well.
    pub const fn permits(self, access: Access, privilege: Privilege) -> bool {
        let (read, write) = match privilege {
            Privilege::User => (Self::USER_READ, Self::USER_WRITE),
            Privilege::Supervisor => (Self::PRIVILEGED_READ, Self::PRIVILEGED_WRITE),
        };
        match access {
            Access::Read => self.contains(read),
            Access::Write => self.contains(write),
            Access::Fetch => self.contains(read) && !self.contains(Self::EXECUTE_NEVER),
        }
    }
}

/// Whose translation an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// The virtual machine's number.
    pub vmid: u8,
    /// The address space's number.
    pub asid: u8,
}

/// Whether an entry serves one address space or all of its virtual machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// The address space of its tag (the table's nG bit was set).
    AddressSpace,
    /// Every address space of its virtual machine.
    Global,
}

/// One cached translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The first address that it translates.
    pub va: u64,
    /// Bytes that it translates, a power of two.
    pub size: u64,
    /// Where the first of them leads.
    pub pa: u64,
    /// Whose it is.
    pub tag: Tag,
    /// Whom it serves.
    pub reach: Reach,
    /// Who may do what.
    pub rights: Rights,
    /// The memory's attributes.
    pub attributes: MemoryAttributes,
    /// Whether the tables say that the memory is of the non-secure world.
    pub non_secure: bool,
    /// How it came to be.
    pub story: Story,
}

impl Entry {
    /// Whether it translates `va` for `tag`.
    pub const fn matches(&self, tag: Tag, va: u64) -> bool {
        va & !(self.size - 1) == self.va && self.serves(tag)
    }

    const fn serves(&self, tag: Tag) -> bool {
        self.tag.vmid == tag.vmid && (matches!(self.reach, Reach::Global) || self.tag.asid == tag.asid)
    }

    /// Where `va`, one of its addresses, leads.
    pub const fn physical(&self, va: u64) -> u64 {
        self.pa | va & (self.size - 1)
    }

    /// Whether some lookup could find both.
    const fn rivals(&self, other: &Self) -> bool {
        let size = if self.size > other.size { self.size } else { other.size };
        self.va & !(size - 1) == other.va & !(size - 1) && (self.serves(other.tag) || other.serves(self.tag))
    }
}

/// What a lookup found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// No entry.
    Miss,
    /// One entry, by its index.
    Hit(usize),
    /// Two entries that both match: what the hardware would do is unpredictable.
    Conflict(usize, usize),
}

/// A TLB.
#[derive(Debug)]
pub struct Tlb {
    slots: Vec<Option<Entry>>,
    used: Vec<u64>,
    clock: u64,
    recent: usize,
    /// Whether entries may contradict each other, so that a lookup has to look at all of them.
    rivalry: bool,
}

impl Tlb {
    /// An empty TLB with room for `entries`, at least one.
    pub fn new(entries: usize) -> Self {
        let entries = entries.max(1);
        Self { slots: vec![None; entries], used: vec![0; entries], clock: 0, recent: 0, rivalry: false }
    }

    /// How many entries it has room for.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// The entry at `index`.
    pub fn get(&self, index: usize) -> Option<&Entry> {
        self.slots.get(index)?.as_ref()
    }

    /// Every entry with its index.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }

    /// Looks `va` up for `tag`, and counts an entry found as used.
    pub fn lookup(&mut self, tag: Tag, va: u64) -> Found {
        self.clock += 1;
        let matches = |slot: &Option<Entry>| slot.as_ref().is_some_and(|entry| entry.matches(tag, va));
        if !self.rivalry && matches(&self.slots[self.recent]) {
            self.used[self.recent] = self.clock;
            return Found::Hit(self.recent);
        }
        let Some(first) = self.slots.iter().position(matches) else { return Found::Miss };
        if self.rivalry
            && let Some(second) = self.slots[first + 1..].iter().position(matches)
        {
            return Found::Conflict(first, first + 1 + second);
        }
        self.used[first] = self.clock;
        self.recent = first;
        Found::Hit(first)
    }

    /// Puts `entry` in the place of the least recently used one, and tells its index.
    pub fn insert(&mut self, entry: Entry) -> usize {
        self.clock += 1;
        let rivals = self.iter().any(|(_, other)| other.rivals(&entry));
        self.rivalry |= rivals;
        let index = self
            .slots
            .iter()
            .position(Option::is_none)
            .or_else(|| (0..self.used.len()).min_by_key(|index| self.used[*index]))
            .unwrap_or(0);
        self.slots[index] = Some(entry);
        self.used[index] = self.clock;
        self.recent = index;
        index
    }

    /// Drops every entry that `which` picks.
    pub fn invalidate(&mut self, which: impl Fn(&Entry) -> bool) {
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(&which) {
                *slot = None;
            }
        }
        if self.rivalry {
            let entries: Vec<_> = self.iter().map(|(_, entry)| *entry).collect();
            self.rivalry =
                entries.iter().enumerate().any(|(n, a)| entries[n + 1..].iter().any(|b| a.rivals(b)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{Cause, Trail};
    use super::*;

    const TAG: Tag = Tag { vmid: 1, asid: 2 };

    fn entry(va: u64, size: u64, tag: Tag, reach: Reach) -> Entry {
        Entry {
            va,
            size,
            pa: va,
            tag,
            reach,
            rights: Rights::all(),
            attributes: MemoryAttributes::STRONGLY_ORDERED,
            non_secure: false,
            story: Story { filled_at: 1, cause: Cause::Processor, trail: Trail::new() },
        }
    }

    #[test]
    fn the_least_recently_used_entry_makes_room() {
        let mut tlb = Tlb::new(2);
        tlb.insert(entry(0x1000, 0x1000, TAG, Reach::AddressSpace));
        tlb.insert(entry(0x2000, 0x1000, TAG, Reach::AddressSpace));
        assert_eq!(tlb.lookup(TAG, 0x1abc), Found::Hit(0));
        tlb.insert(entry(0x3000, 0x1000, TAG, Reach::AddressSpace));
        assert_eq!(tlb.lookup(TAG, 0x2000), Found::Miss);
        assert_eq!(tlb.lookup(TAG, 0x1000), Found::Hit(0));
        assert_eq!(tlb.lookup(TAG, 0x3fff), Found::Hit(1));
    }

    #[test]
    fn an_entry_serves_its_tag_only_unless_it_is_global() {
        let other_asid = Tag { asid: 3, ..TAG };
        let other_vmid = Tag { vmid: 3, ..TAG };
        let mut tlb = Tlb::new(4);
        tlb.insert(entry(0x1000, 0x1000, TAG, Reach::AddressSpace));
        assert_eq!(tlb.lookup(other_asid, 0x1000), Found::Miss);
        tlb.insert(entry(0x10_0000, 0x10_0000, TAG, Reach::Global));
        assert_eq!(tlb.lookup(other_asid, 0x1f_ffff), Found::Hit(1));
        assert_eq!(tlb.lookup(other_vmid, 0x1f_ffff), Found::Miss);
        tlb.invalidate(|entry| entry.tag.asid == TAG.asid);
        assert_eq!(tlb.iter().count(), 0);
    }

    #[test]
    fn entries_that_contradict_each_other_are_noticed_until_they_are_gone() {
        let mut tlb = Tlb::new(4);
        tlb.insert(entry(0x10_1000, 0x1000, TAG, Reach::AddressSpace));
        tlb.insert(entry(0x10_0000, 0x10_0000, TAG, Reach::AddressSpace));
        assert_eq!(tlb.lookup(TAG, 0x10_1000), Found::Conflict(0, 1));
        assert_eq!(tlb.lookup(TAG, 0x10_2000), Found::Hit(1));
        tlb.invalidate(|entry| entry.size == 0x1000);
        assert_eq!(tlb.lookup(TAG, 0x10_1000), Found::Hit(1));
        // A global entry and another address space's own one.
        tlb.insert(entry(0x40_0000, 0x1000, Tag { asid: 9, ..TAG }, Reach::AddressSpace));
        tlb.insert(entry(0x40_0000, 0x1000, TAG, Reach::Global));
        assert!(matches!(tlb.lookup(Tag { asid: 9, ..TAG }, 0x40_0000), Found::Conflict(..)));
        assert!(matches!(tlb.lookup(TAG, 0x40_0000), Found::Hit(_)));
    }

    #[test]
    fn a_tlb_has_one_entry_at_least() {
        assert_eq!(Tlb::new(0).capacity(), 1);
    }
}
