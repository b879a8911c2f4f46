//! QEMU caches translations and contexts: what the driver leaves out is seen, and what it does helps.

use crate::rig::stale::{self, Cached};
use crate::support::*;

#[test]
fn a_translation_is_stale_until_it_is_invalidated() {
    on_qemu(config(), stale::a_translation_is_stale_until_it_is_invalidated);
}

#[test]
fn a_large_page_is_gone_from_end_to_end() {
    on_qemu(config(), |bench| stale::a_large_page_is_gone_from_end_to_end(bench, Cached::InPieces));
}

#[test]
fn a_context_is_stale_until_the_driver_invalidates_it() {
    on_qemu(config(), stale::an_entry_is_stale_until_the_driver_invalidates_it);
}

#[test]
fn a_number_is_clean_when_it_is_used_again() {
    on_qemu(config(), |bench| stale::a_number_is_clean_when_it_is_used_again(bench, |_| {}));
}

#[test]
fn nothing_passes_after_a_detach_under_traffic() {
    on_qemu(config(), stale::nothing_passes_after_a_detach_under_traffic);
}
