//! Waiting, without knowing how.

use std::time::{Duration, Instant};

/// The time was over.
#[derive(Debug)]
pub(crate) struct Over;

/// Asks again and again until there is an answer, for at most `patience`; `pause` passes the time in between, of which it
/// is told how much is left.
pub(crate) fn until<T, E>(
    patience: Duration,
    pause: &mut dyn FnMut(Duration),
    mut ask: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Result<T, Over>, E> {
    let start = Instant::now();
    loop {
        // First the clock: whoever was kept from running for long has still one look.
        let left = patience.checked_sub(start.elapsed());
        if let Some(value) = ask()? {
            return Ok(Ok(value));
        }
        match left {
            Some(left) => pause(left),
            None => return Ok(Err(Over)),
        }
    }
}

/// Passes the time by letting others run.
pub(crate) fn poll(_: Duration) {
    std::thread::yield_now();
}
