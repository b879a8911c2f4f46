#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    vcm_fuzz_targets::interrupts(bytes);
});
