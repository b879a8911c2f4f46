//! What is reached by system registers: the CPU interface, the virtual interface and its list registers.

use crate::gic::{forwarded, is_sound, list_registers};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use vcm_irq::gic::v3::{self, DeactivationTrap, SystemRegister, SystemRegisters, decode, encode};
use vcm_irq::gic::{AnyAcknowledged, EncodeError, InitError};
use vcm_irq::host::CpuInterface as _;
use vcm_irq::vgic::{
    Attention, Completion, EndMode, Group, GuestCpuInterface, ListRegister, LrState, VirtualInterface as _,
    Wanted,
};
use vcm_irq::{GuestInterrupt, HostInterrupt};

/// `op0`, `op1`, `CRn`, `CRm`, `op2`.
type Name = [u8; 5];

const PMR: Name = [3, 0, 4, 6, 0];
const IAR1: Name = [3, 0, 12, 12, 0];
const EOIR1: Name = [3, 0, 12, 12, 1];
const BPR1: Name = [3, 0, 12, 12, 3];
const CTLR: Name = [3, 0, 12, 12, 4];
const IGRPEN1: Name = [3, 0, 12, 12, 7];
const DIR: Name = [3, 0, 12, 11, 1];
const SRE: Name = [3, 4, 12, 9, 5];
const HCR: Name = [3, 4, 12, 11, 0];
const VTR: Name = [3, 4, 12, 11, 1];
const MISR: Name = [3, 4, 12, 11, 2];
const EISR: Name = [3, 4, 12, 11, 3];
const ELRSR: Name = [3, 4, 12, 11, 5];
const VMCR: Name = [3, 4, 12, 11, 7];

fn icc_ap1r(n: u8) -> Name {
    [3, 0, 12, 9, n]
}

fn ich_ap0r(n: u8) -> Name {
    [3, 4, 12, 8, n]
}

fn ich_ap1r(n: u8) -> Name {
    [3, 4, 12, 9, n]
}

fn lr(n: u8) -> Name {
    [3, 4, 12, 12 + n / 8, n % 8]
}

/// System registers that remember, by their names in the instruction set.
#[derive(Default)]
struct File {
    memory: RefCell<BTreeMap<Name, u64>>,
    fixed: RefCell<BTreeMap<Name, u64>>,
    writes: RefCell<Vec<(Name, u64)>>,
}

impl File {
    fn fix(&self, name: Name, value: u64) {
        self.fixed.borrow_mut().insert(name, value);
    }

    fn poke(&self, name: Name, value: u64) {
        self.memory.borrow_mut().insert(name, value);
    }

    fn writes(&self) -> Vec<(Name, u64)> {
        self.writes.take()
    }
}

impl SystemRegisters for File {
    fn read(&self, register: SystemRegister) -> u64 {
        let name = register.encoding().parts();
        let fixed = self.fixed.borrow().get(&name).copied();
        fixed.unwrap_or_else(|| self.memory.borrow().get(&name).copied().unwrap_or(0))
    }

    fn write(&self, register: SystemRegister, value: u64) {
        let name = register.encoding().parts();
        self.writes.borrow_mut().push((name, value));
        self.poke(name, value);
    }
}

#[test]
fn the_cpu_interface_starts_with_priority_drop_apart() {
    // Priority bits, and how many registers of active priorities they have.
    for (bits, count) in [(1, 1), (5, 1), (6, 2), (7, 4), (8, 4)] {
        let file = File::default();
        file.poke(CTLR, (bits - 1) << 8 | 1);
        file.poke(SRE, 6);
        v3::CpuInterface::new(&file).init().unwrap();
        let mut expected =
            vec![(SRE, 0xF), (IGRPEN1, 0), (PMR, 0xF0), (CTLR, (bits - 1) << 8 | 2), (BPR1, 0)];
        expected.extend((0..count).map(|n| (icc_ap1r(n), 0)));
        expected.push((IGRPEN1, 1));
        assert_eq!(file.writes(), expected);
    }
}

#[test]
fn a_cpu_interface_that_lacks_something_is_refused() {
    let file = File::default();
    file.fix(SRE, 6);
    assert_eq!(v3::CpuInterface::new(&file).init(), Err(InitError::NoSystemRegisters(6)));
    assert_eq!(file.writes(), [(SRE, 0xF)]);
    let file = File::default();
    file.fix(CTLR, 0x400);
    assert_eq!(v3::CpuInterface::new(&file).init(), Err(InitError::NoPriorityDrop(0x400)));
    assert!(!file.writes().contains(&(IGRPEN1, 1)), "it is off");
}

#[test]
fn the_cycle_of_an_interrupt() {
    let file = File::default();
    let mut cpu = v3::CpuInterface::new(&file);
    for number in [16, 75, 1019, 1056, 1119, 4096, 5119] {
        file.fix(IAR1, number);
        let acknowledged = cpu.acknowledge().unwrap();
        assert_eq!(acknowledged.interrupt(), HostInterrupt(number as u32));
        cpu.drop_priority(&acknowledged);
        cpu.deactivate(acknowledged);
        assert_eq!(file.writes(), [(EOIR1, number), (DIR, number)]);
    }
    // A message-signalled one is never active, so there is nothing to deactivate.
    for number in [8192, 0xFF_FFFF] {
        file.fix(IAR1, number);
        let acknowledged = cpu.acknowledge().unwrap();
        assert_eq!(acknowledged.interrupt(), HostInterrupt(number as u32));
        cpu.drop_priority(&acknowledged);
        cpu.deactivate(acknowledged);
        assert_eq!(file.writes(), [(EOIR1, number)]);
    }
    for number in [1020, 1021, 1022, 1023, 1024, 1055, 1120, 4095, 5120, 8191, 0xFFFF_FFFF_0000_03FF] {
        file.fix(IAR1, number);
        assert_eq!(cpu.acknowledge(), None);
        assert_eq!(cpu.acknowledge_any(), None);
        assert_eq!(file.writes(), []);
    }
    file.fix(IAR1, 9);
    let Some(AnyAcknowledged::SoftwareGenerated(sent)) = cpu.acknowledge_any() else { panic!() };
    assert_eq!((sent.number(), sent.source()), (9, None));
    cpu.end(sent);
    assert_eq!(file.writes(), [(EOIR1, 9), (DIR, 9)]);
    assert_eq!(cpu.unclaimed(), 0);
    assert_eq!(cpu.acknowledge(), None);
    assert_eq!(file.writes(), [(EOIR1, 9), (DIR, 9)], "what nobody asked for is ended");
    assert_eq!(cpu.unclaimed(), 1);
}

#[test]
fn the_number_of_list_registers_is_that_of_the_type_register() {
    for told in 0..32_u64 {
        let file = File::default();
        file.fix(VTR, 0xFFFF_FFE0 | told);
        let mut guest = v3::VirtualInterface::new(&file);
        let count = (told as usize + 1).min(16);
        assert_eq!(guest.list_registers(), count);
        file.fix(ELRSR, u64::MAX);
        file.fix(EISR, u64::MAX);
        assert_eq!(guest.empty(), (1 << count) - 1);
        assert_eq!(guest.ended(), (1 << count) - 1);
        guest.write(count, &forwarded(40, 50));
        guest.clear(count);
        assert_eq!(guest.state(count), LrState::Empty);
        assert_eq!(guest.read(usize::MAX), None);
        assert_eq!(file.writes(), [], "past the last one");
        let last = count - 1;
        guest.write(last, &forwarded(40, 50));
        assert_eq!(file.writes(), [(lr(last as u8), 0x60A0_0028_0000_0032)]);
        assert_eq!(guest.state(last), LrState::Pending);
        assert_eq!(guest.read(last), Some(forwarded(40, 50)));
        guest.clear(last);
        assert_eq!(file.writes(), [(lr(last as u8), 0)]);
    }
}

#[test]
fn the_control_register_asks_for_what_is_wanted() {
    for (told, trap, bit) in [
        (1 << 19, DeactivationTrap::Alone, 1 << 14),
        (!(1 << 19), DeactivationTrap::WithSharedRegisters, 1 << 10),
    ] {
        let file = File::default();
        file.fix(VTR, told);
        let mut guest = v3::VirtualInterface::new(&file);
        assert_eq!(guest.deactivation_trap(), trap);
        for bits in 0..16 {
            let wanted = |bit: u64| Wanted::when(bits & 1 << bit != 0);
            guest.enable(Attention {
                underflow: wanted(0),
                not_present: wanted(1),
                none_pending: wanted(2),
                deactivation: wanted(3),
            });
            let trapped = if bits & 8 != 0 { bit } else { 0 };
            assert_eq!(file.writes(), [(HCR, 1 | (bits & 7) << 1 | trapped)]);
        }
        file.poke(HCR, 31 << 27 | 0xFF);
        assert_eq!(guest.disable(), 31);
        assert_eq!(file.writes(), [(HCR, 0)]);
        assert_eq!(guest.disable(), 0, "it is 0 again");
    }
}

#[test]
fn the_guests_side_is_kept_in_as_many_registers_as_there_are() {
    for (bits, count) in [(1_u64, 1_u8), (5, 1), (6, 2), (7, 4), (8, 4)] {
        let file = File::default();
        file.fix(VTR, (bits - 1) << 26);
        file.poke(VMCR, 0xF04C_0202);
        for n in 0..4 {
            file.poke(ich_ap0r(n), 1 + u64::from(n));
            file.poke(ich_ap1r(n), 5 + u64::from(n));
        }
        let mut guest = v3::VirtualInterface::new(&file);
        let kept = guest.guest();
        let present = |n: u8| if n < count { 1 } else { 0 };
        let expected: Vec<u32> = (0..8).map(|n| u32::from(n + 1) * present(n % 4)).collect();
        assert_eq!(kept.active_priorities[..], expected);
        assert_eq!(kept.control, 0xF04C_0202);
        assert_eq!(guest.end_mode(&kept), EndMode::Apart);
        assert_eq!(guest.end_mode(&GuestCpuInterface { control: !(1 << 9), ..kept }), EndMode::Together);
        guest.set_guest(&kept);
        let mut expected = vec![(VMCR, 0xF04C_0202)];
        expected.extend((0..count).map(|n| (ich_ap0r(n), 1 + u64::from(n))));
        expected.extend((0..count).map(|n| (ich_ap1r(n), 5 + u64::from(n))));
        assert_eq!(file.writes(), expected);
        guest.init();
        let mut expected = vec![(HCR, 0), (lr(0), 0), (VMCR, 0)];
        expected.extend((0..count).map(|n| (ich_ap0r(n), 0)));
        expected.extend((0..count).map(|n| (ich_ap1r(n), 0)));
        assert_eq!(file.writes(), expected);
        file.fix(MISR, 0b0101);
        let why = guest.maintenance();
        assert!(why.ended() && !why.underflow() && why.not_present() && !why.none_pending());
    }
}

#[test]
fn message_signalled_interrupts_are_not_completed_by_hardware() {
    let file = File::default();
    let mut guest = v3::VirtualInterface::new(&file);
    for (count, number) in [15, 1020, 1055, 1120, 4095, 5120, 8191, 8192, 70_000].into_iter().enumerate() {
        let register = forwarded(number, 50);
        let error = EncodeError::NoActiveState { guest: GuestInterrupt(50), host: HostInterrupt(number) };
        assert_eq!(encode(&register), Err(error));
        guest.write(0, &register);
        assert_eq!(file.writes(), [(lr(0), 0)]);
        assert_eq!(guest.refused(), count as u32 + 1);
    }
    // They are injected with another completion.
    let register = ListRegister { completion: Completion::Silent, ..forwarded(8192, 50) };
    assert_eq!(encode(&register), Ok(0x40A0_0000_0000_0032));
}

/// `ICH_LR<n>_EL2` by its bits, one at a time.
fn decode_by_hand(raw: u64) -> ListRegister {
    let bits = |high: u32, low: u32| {
        (low..=high).fold(0, |value, bit| value | ((raw >> bit & 1) as u32) << (bit - low))
    };
    let hardware = bits(61, 61) == 1;
    let number = bits(31, 0);
    // Numbers below 16 carry their sender above bit 9.
    let sent = !hardware && bits(31, 13) == 0 && bits(9, 4) == 0;
    ListRegister {
        interrupt: GuestInterrupt(if sent { bits(3, 0) } else { number }),
        state: [LrState::Empty, LrState::Pending, LrState::Active, LrState::PendingAndActive]
            [bits(63, 62) as usize],
        priority: bits(55, 48) as u8,
        group: [Group::Zero, Group::One][bits(60, 60) as usize],
        completion: match (hardware, bits(41, 41)) {
            (true, _) => Completion::Physical(HostInterrupt(bits(44, 32))),
            (false, 1) => Completion::Maintenance,
            (false, _) => Completion::Silent,
        },
        source: if sent { bits(12, 10) as u8 } else { 0 },
    }
}

proptest! {
    #[test]
    fn list_registers_are_encoded_as_the_manual_says(register in list_registers()) {
        match encode(&register) {
            Ok(0) => prop_assert_eq!(register.state, LrState::Empty),
            Ok(raw) => {
                prop_assert_eq!(decode_by_hand(raw), register);
                prop_assert_eq!(decode(raw), register);
                // Nothing is set that should be zero: 59 to 56, 47 to 45, and without HW 44 to 42 and 40 to 32.
                prop_assert_eq!(raw & 0x0F00_E000_0000_0000, 0);
                prop_assert!(raw >> 61 & 1 == 1 || raw & 0x1DFF_0000_0000 == 0, "{:#x}", raw);
            }
            Err(_) => {}
        }
        let sound = is_sound(&register, |number| {
            (16..1020).contains(&number) || (1056..1120).contains(&number) || (4096..5120).contains(&number)
        });
        prop_assert_eq!(encode(&register).is_ok(), sound);
    }

    #[test]
    fn any_value_is_decoded_as_the_manual_says(raw: u64, small in 0..0x2000_u64) {
        prop_assert_eq!(decode(raw), decode_by_hand(raw));
        let raw = raw & 0xFFFF_FFFF_0000_0000 | small;
        prop_assert_eq!(decode(raw), decode_by_hand(raw));
    }
}
