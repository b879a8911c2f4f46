//! Who answers which device's faults.

use crate::Manager;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vcm::{Answer, DeviceHandle, Fault, FaultState, Handled, Retries};

type Hook<H> = dyn Fn(&Fault, &Manager<H>) -> Answer + Send + Sync;

/// What is known of a device's faults.
struct Entry<H> {
    hook: Option<Arc<Hook<H>>>,
    retries: Retries,
    /// Whether somebody was told that nobody answers.
    warned: bool,
}

/// The hooks of all devices. The lock is never held while a hook runs, or another lock is taken.
pub(crate) struct Hooks<H>(Mutex<HashMap<DeviceHandle, Entry<H>>>);

impl<H> Default for Hooks<H> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<H> fmt::Debug for Hooks<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}

impl<H> Hooks<H> {
    pub(crate) fn install(&self, device: DeviceHandle, hook: Box<Hook<H>>) {
        let entry = Entry { hook: Some(Arc::from(hook)), retries: Retries::default(), warned: false };
        self.lock().insert(device, entry);
    }

    pub(crate) fn remove(&self, device: DeviceHandle) {
        self.lock().remove(&device);
    }

    pub(crate) fn handle(&self, fault: &Fault, manager: &Manager<H>) -> (Answer, Handled) {
        let hook = {
            let mut entries = self.lock();
            let entry = entries.entry(fault.device).or_insert_with(|| Entry {
                hook: None,
                retries: Retries::default(),
                warned: false,
            });
            match &entry.hook {
                Some(hook) => Arc::clone(hook),
                None => {
                    let warn = !core::mem::replace(&mut entry.warned, true);
                    return (Answer::Terminate, Handled::ByNobody { warn });
                }
            }
        };
        let answer = hook(fault, manager);
        // The hook may have taken itself away: then its last word is taken as it is.
        let judged =
            self.lock().get_mut(&fault.device).map_or(answer, |entry| entry.retries.judge(fault, answer));
        if judged == answer || fault.state == FaultState::Terminated {
            (judged, Handled::ByHook)
        } else {
            (judged, Handled::Overruled)
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceHandle, Entry<H>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
