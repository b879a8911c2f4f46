//! Why a maintenance interrupt was raised.

/// The maintenance interrupt status: `GICH_MISR` (Arm IHI 0048B.b 5.3.4), `ICH_MISR_EL2` (Arm IHI 0069H 12.4.7),
/// which agree in these bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Maintenance(pub u32);

impl Maintenance {
    /// \[0\] A list register that asked for it was ended (`EOI`).
    pub const fn ended(self) -> bool {
        self.0 & 1 != 0
    }

    /// \[1\] None or one list register is in use (`U`).
    pub const fn underflow(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// \[2\] An interrupt was ended that is in no list register (`LRENP`).
    pub const fn not_present(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// \[3\] No list register is pending (`NP`).
    pub const fn none_pending(self) -> bool {
        self.0 & 1 << 3 != 0
    }
}
