//! The virtual interface and its list registers.

use crate::Access::{Read, Write};
use crate::gic::{Window, forwarded, is_sound, list_registers};
use proptest::prelude::*;
use vcm_irq::gic::EncodeError;
use vcm_irq::gic::v2::{self, decode, encode};
use vcm_irq::vgic::{
    Attention, Completion, EndMode, Group, GuestCpuInterface, ListRegister, LrState, VirtualInterface as _,
    Wanted,
};
use vcm_irq::{GuestInterrupt, HostInterrupt};

#[test]
fn the_number_of_list_registers_is_that_of_the_type_register() {
    for told in 0..64 {
        let window = Window::default();
        window.fix(0x004, 0xFFFF_FFC0 | told);
        let mut guest = v2::VirtualInterface::new(&window);
        let count = (told as usize + 1).min(16);
        assert_eq!(guest.list_registers(), count);
        window.fix(0x030, !0);
        window.fix(0x020, !0);
        assert_eq!(guest.empty(), (1 << count) - 1);
        assert_eq!(guest.ended(), (1 << count) - 1);
        window.log();
        guest.write(count, &forwarded(40, 50));
        guest.clear(count);
        assert_eq!(guest.state(count), LrState::Empty);
        assert_eq!(guest.read(usize::MAX), None);
        assert_eq!(window.log(), [], "past the last one");
        guest.write(count - 1, &forwarded(40, 50));
        let offset = 0x100 + 4 * (count as u32 - 1);
        assert_eq!(window.log(), [Write(offset, 0x9A00_A032)]);
        assert_eq!(guest.state(count - 1), LrState::Pending);
        assert_eq!(guest.read(count - 1), Some(forwarded(40, 50)));
        guest.clear(count - 1);
        assert_eq!(window.writes(), [Write(offset, 0)]);
        guest.init();
        let mut expected = vec![Write(0x000, 0)];
        expected.extend((0..count as u32).map(|index| Write(0x100 + 4 * index, 0)));
        expected.extend([Write(0x008, 0), Write(0x0F0, 0)]);
        assert_eq!(window.writes(), expected);
    }
}

#[test]
fn the_control_register_asks_for_what_is_wanted() {
    let window = Window::default();
    let mut guest = v2::VirtualInterface::new(&window);
    window.log();
    for bits in 0..16 {
        let wanted = |bit: u32| Wanted::when(bits & 1 << bit != 0);
        guest.enable(Attention {
            underflow: wanted(0),
            not_present: wanted(1),
            none_pending: wanted(2),
            deactivation: wanted(3),
        });
        // The last one has no bit.
        assert_eq!(window.log(), [Write(0x000, 1 | (bits & 7) << 1)]);
    }
    window.poke(0x000, 0x1F << 27 | 0xFF);
    assert_eq!(guest.disable(), 31);
    assert_eq!(window.log(), [Read(0x000), Write(0x000, 0)]);
    assert_eq!(guest.disable(), 0, "it is 0 again");
}

#[test]
fn the_guests_side_is_kept() {
    let window = Window::default();
    let mut guest = v2::VirtualInterface::new(&window);
    window.poke(0x008, 0xF84C_0201);
    window.poke(0x0F0, 0x0010_0000);
    let kept = guest.guest();
    assert_eq!(
        kept,
        GuestCpuInterface { control: 0xF84C_0201, active_priorities: [0x0010_0000, 0, 0, 0, 0, 0, 0, 0] }
    );
    assert_eq!(guest.end_mode(&kept), EndMode::Apart);
    assert_eq!(guest.end_mode(&GuestCpuInterface { control: !(1 << 9), ..kept }), EndMode::Together);
    window.log();
    guest.set_guest(&kept);
    assert_eq!(window.log(), [Write(0x008, 0xF84C_0201), Write(0x0F0, 0x0010_0000)]);
    for (bit, ask) in [0b0001, 0b0010, 0b0100, 0b1000].into_iter().enumerate() {
        window.fix(0x010, ask);
        let why = guest.maintenance();
        let told = [why.ended(), why.underflow(), why.not_present(), why.none_pending()];
        assert_eq!(told.iter().filter(|&&told| told).count(), 1);
        assert!(told[bit]);
    }
}

#[test]
fn what_cannot_be_encoded_is_refused_and_the_register_left_empty() {
    let window = Window::default();
    let mut guest = v2::VirtualInterface::new(&window);
    let host = |number| HostInterrupt(number);
    let cases = [
        (forwarded(15, 50), EncodeError::NoActiveState { guest: GuestInterrupt(50), host: host(15) }),
        (forwarded(1020, 50), EncodeError::NoActiveState { guest: GuestInterrupt(50), host: host(1020) }),
        (forwarded(8192, 50), EncodeError::NoActiveState { guest: GuestInterrupt(50), host: host(8192) }),
        (forwarded(40, 1020), EncodeError::GuestInterrupt(GuestInterrupt(1020))),
        (
            ListRegister { state: LrState::PendingAndActive, ..forwarded(40, 50) },
            EncodeError::PendingAndActive { guest: GuestInterrupt(50), host: host(40) },
        ),
        (
            ListRegister { completion: Completion::Silent, source: 1, ..forwarded(40, 16) },
            EncodeError::Source { guest: GuestInterrupt(16), source_cpu: 1 },
        ),
    ];
    for (count, (register, error)) in cases.into_iter().enumerate() {
        assert_eq!(encode(&register), Err(error));
        assert!(!error.to_string().is_empty());
        window.poke(0x100, !0);
        guest.write(0, &register);
        assert_eq!(window.peek(0x100), 0);
        assert_eq!(guest.refused(), count as u32 + 1);
    }
}

/// `GICH_LRn` by figure 5-8's bits, one at a time.
fn decode_by_hand(raw: u32) -> ListRegister {
    let bits =
        |high: u32, low: u32| (low..=high).fold(0, |value, bit| value | (raw >> bit & 1) << (bit - low));
    let hardware = raw & 0x8000_0000 != 0;
    ListRegister {
        interrupt: GuestInterrupt(bits(9, 0)),
        state: [LrState::Empty, LrState::Pending, LrState::Active, LrState::PendingAndActive]
            [bits(29, 28) as usize],
        priority: (bits(27, 23) * 8) as u8,
        group: [Group::Zero, Group::One][bits(30, 30) as usize],
        completion: match (hardware, bits(19, 19)) {
            (true, _) => Completion::Physical(HostInterrupt(bits(19, 10))),
            (false, 1) => Completion::Maintenance,
            (false, _) => Completion::Silent,
        },
        source: if hardware { 0 } else { bits(12, 10) as u8 },
    }
}

proptest! {
    #[test]
    fn list_registers_are_encoded_as_the_manual_says(register in list_registers()) {
        match encode(&register) {
            Ok(0) => prop_assert_eq!(register.state, LrState::Empty),
            Ok(raw) => {
                let kept = ListRegister { priority: register.priority & 0xF8, ..register };
                prop_assert_eq!(decode_by_hand(raw), kept);
                prop_assert_eq!(decode(raw), kept);
                // Nothing is set that should be zero.
                prop_assert!(raw >> 31 == 1 || raw >> 13 & 0x3F == 0, "{:#x}", raw);
                prop_assert!(raw >> 20 & 7 == 0, "{:#x}", raw);
            }
            Err(_) => {}
        }
        let sound = is_sound(&register, |number| (16..1020).contains(&number));
        prop_assert_eq!(encode(&register).is_ok(), sound);
    }

    #[test]
    fn any_value_is_decoded_as_the_manual_says(raw: u32) {
        prop_assert_eq!(decode(raw), decode_by_hand(raw));
    }
}
