//! Machine code for 32-bit protected mode (Intel SDM volume 2).

/// Instructions, as bytes.
#[derive(Debug, Default)]
pub(super) struct Code {
    bytes: Vec<u8>,
}

/// A forward jump whose distance is not known yet.
#[must_use = "it has to land somewhere"]
pub(super) struct Jump {
    /// Where the byte with the distance is.
    at: usize,
}

impl Code {
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn with_numbers<const N: usize>(&mut self, opcode: &[u8], numbers: [u32; N]) {
        self.bytes.extend_from_slice(opcode);
        self.bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    /// `mov dword ptr [address], value`
    pub(super) fn store(&mut self, address: u32, value: u32) {
        self.with_numbers(&[0xc7, 0x05], [address, value]);
    }

    /// `mov eax, [address]`
    pub(super) fn load(&mut self, address: u32) {
        self.with_numbers(&[0xa1], [address]);
    }

    /// `mov [address], eax`
    pub(super) fn store_eax(&mut self, address: u32) {
        self.with_numbers(&[0xa3], [address]);
    }

    /// `and eax, mask`
    pub(super) fn and_eax(&mut self, mask: u32) {
        self.with_numbers(&[0x25], [mask]);
    }

    /// `or eax, bits`
    pub(super) fn or_eax(&mut self, bits: u32) {
        self.with_numbers(&[0x0d], [bits]);
    }

    /// `shr eax, 24`
    pub(super) fn shift_eax_right_24(&mut self) {
        self.bytes.extend([0xc1, 0xe8, 24]);
    }

    /// `mov ebx, eax`
    pub(super) fn ebx_from_eax(&mut self) {
        self.bytes.extend([0x89, 0xc3]);
    }

    /// `mov eax, ebx`
    pub(super) fn eax_from_ebx(&mut self) {
        self.bytes.extend([0x89, 0xd8]);
    }

    /// `mov ebx, value`
    pub(super) fn set_ebx(&mut self, value: u32) {
        self.with_numbers(&[0xbb], [value]);
    }

    /// `lock inc dword ptr [address]`
    pub(super) fn increment(&mut self, address: u32) {
        self.with_numbers(&[0xf0, 0xff, 0x05], [address]);
    }

    /// `test ebx, ebx`
    pub(super) fn test_ebx(&mut self) {
        self.bytes.extend([0x85, 0xdb]);
    }

    /// `test edi, edi`
    pub(super) fn test_edi(&mut self) {
        self.bytes.extend([0x85, 0xff]);
    }

    /// `jz`, forward
    pub(super) fn jump_if_zero(&mut self) -> Jump {
        self.jump(&[0x0f, 0x84])
    }

    /// `jnz`, forward
    pub(super) fn jump_if_not_zero(&mut self) -> Jump {
        self.jump(&[0x0f, 0x85])
    }

    /// `jmp`, forward
    pub(super) fn jump_always(&mut self) -> Jump {
        self.jump(&[0xe9])
    }

    fn jump(&mut self, opcode: &[u8]) -> Jump {
        self.bytes.extend_from_slice(opcode);
        let at = self.bytes.len();
        self.bytes.extend([0; 4]);
        Jump { at }
    }

    /// Where a forward jump goes: here.
    pub(super) fn land(&mut self, jump: Jump) {
        let distance = (self.bytes.len() - jump.at - 4) as u32;
        self.bytes[jump.at..jump.at + 4].copy_from_slice(&distance.to_le_bytes());
    }

    /// `spin: cmp dword ptr [address], value; je out; pause; jmp spin; out:`
    pub(super) fn wait_until_equal(&mut self, address: u32, value: u32) {
        self.with_numbers(&[0x81, 0x3d], [address, value]);
        // Over the pause and the jump; and from behind the jump back to the comparison.
        self.bytes.extend([0x74, 4, 0xf3, 0x90, 0xeb, 0xf0]);
    }

    /// `take: lock bts dword ptr [address], 0; jnc taken; pause; jmp take; taken:`
    pub(super) fn take_lock(&mut self, address: u32) {
        self.with_numbers(&[0xf0, 0x0f, 0xba, 0x2d], [address]);
        self.bytes.extend([0, 0x73, 4, 0xf3, 0x90, 0xeb, 0xf1]);
    }

    /// `wait: mov esp, ebp; sti; hlt; jmp wait`
    ///
    /// The end of a handler too. A handler does not return to where it interrupted: that is always this loop, which
    /// has nothing in its registers. So there is no `iret`, which KVM does not emulate in protected mode
    /// (arch/x86/kvm/emulate.c) where it has to emulate a guest whole.
    pub(super) fn wait_for_interrupts(&mut self) {
        self.bytes.extend([0x89, 0xec, 0xfb, 0xf4, 0xeb, 0xfa]);
    }
}
