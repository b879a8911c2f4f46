//! The VMM's own loop, in a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use vcm_linux::kvm::forwarding::{InterruptSource, Relay};

pub struct RelayThread {
    stop: Arc<AtomicBool>,
    passed_on: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl RelayThread {
    pub fn new<S: InterruptSource + 'static>(relay: Relay<S>) -> Self {
        let (stop, passed_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (until, count) = (Arc::clone(&stop), Arc::clone(&passed_on));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Acquire) {
                let relayed = relay.dispatch(Some(Duration::from_millis(5))).unwrap();
                assert!(relayed.failed.is_empty(), "{:?}", relayed.failed);
                count.fetch_add(relayed.passed_on, Ordering::Relaxed);
            }
        });
        Self { stop, passed_on, thread: Some(thread) }
    }

    /// How many signals and ends went through this process.
    pub fn passed_on(&self) -> usize {
        self.passed_on.load(Ordering::Relaxed)
    }
}

impl Drop for RelayThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}
