//! How far a long run is, on the last line of a terminal.

use crate::run::Progress;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Shorter runs show nothing.
const PATIENCE: Duration = Duration::from_millis(400);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Progress on standard error, if that is a terminal.
#[derive(Debug)]
pub struct Terminal {
    terminal: bool,
    start: Instant,
    last: Option<Instant>,
}

impl Terminal {
    /// Nothing is shown yet.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), start: Instant::now(), last: None }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.last.take().is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Progress for Terminal {
    fn at(&mut self, what: &str, done: u64, total: u64) {
        let now = Instant::now();
        let early = self.last.map_or(now - self.start < PATIENCE, |last| now - last < PAUSE);
        if !self.terminal || early {
            return;
        }
        self.last = Some(now);
        let percent = u128::from(done) * 100 / u128::from(total.max(1));
        let what = crate::output::printable(what);
        eprint!("\r\x1b[K{what}: {percent} %");
        let _ = std::io::stderr().flush();
    }
}
