//! The VMM's own loop, for interrupts that are not forwarded.

use crate::Outcome;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vcm_linux::VfioInterrupts;
use vcm_linux::kvm::forwarding::Relay;

/// How long the last one may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Counts {
    woken: AtomicU64,
    passed_on: AtomicU64,
}

/// A thread that sleeps until there is something to pass on.
pub(crate) struct RelayThread {
    counts: Arc<Counts>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl RelayThread {
    pub(crate) fn start(relay: Relay<VfioInterrupts>) -> Outcome<Self> {
        let counts = Arc::new(Counts::default());
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (until, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let thread = std::thread::Builder::new().name("relay".into()).spawn(move || {
            if let Err(error) = pass_on(&relay, &until, &counted) {
                eprintln!("assign: interrupts are not passed on any more: {error}");
            }
        })?;
        Ok(Self { counts, stop, thread: Some(thread) })
    }

    /// Interrupts, and guest's ends of them, that went through this process.
    pub(crate) fn passed_on(&self) -> u64 {
        self.counts.passed_on.load(Ordering::Acquire)
    }

    /// How often it was woken.
    pub(crate) fn woken(&self) -> u64 {
        self.counts.woken.load(Ordering::Acquire)
    }

    /// Waits until so many were passed on, for a while.
    pub(crate) fn wait_for(&self, passed_on: u64) {
        let begun = Instant::now();
        while self.passed_on() < passed_on && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn pass_on(relay: &Relay<VfioInterrupts>, until: &OwnedFd, counts: &Counts) -> Outcome<()> {
    loop {
        let mut both = [PollFd::new(relay, PollFlags::IN), PollFd::new(until, PollFlags::IN)];
        match poll(&mut both, None) {
            Err(rustix::io::Errno::INTR) => continue,
            polled => polled?,
        };
        if !both[1].revents().is_empty() {
            return Ok(());
        }
        counts.woken.fetch_add(1, Ordering::Release);
        let relayed = relay.dispatch(Some(Duration::ZERO))?;
        counts.passed_on.fetch_add(relayed.passed_on as u64, Ordering::Release);
        if let Some(refused) = relayed.failed.into_iter().next() {
            return Err(refused.into());
        }
    }
}

impl Drop for RelayThread {
    fn drop(&mut self) {
        let told = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let (Ok(_), Some(thread)) = (told, self.thread.take()) {
            // If it panicked there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}
