//! Faults on their way to whoever hooked them.

use super::Graph;
use crate::association::Activation;
use crate::device::Hook;
use crate::fault::{Answer, Fault, FaultState};
use crate::hardware::Hardware;
use crate::id::{DeviceId, RegionId, ReservationId};

/// Who answered a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handled {
    /// The device's hook.
    ByHook,
    /// Nobody: the device has no hook. `warn` is true for the first time, when somebody should be told.
    ByNobody {
        /// Whether this is the first since there is no hook.
        warn: bool,
    },
    /// The hook, with a retry, for the [`RETRY_LIMIT`](crate::RETRY_LIMIT)th time at the same address: it was
    /// overruled.
    Overruled,
    /// Nobody: the graph does not know the device.
    UnknownDevice,
}

/// What became of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What the hardware is to be told.
    pub answer: Answer,
    /// Who said so.
    pub handled: Handled,
    /// The device, if the graph knows it.
    pub device: Option<DeviceId>,
    /// The region that the device was translating the address through.
    pub region: Option<RegionId>,
    /// The reservation that covers the address, backed or not, before the hook ran.
    pub reservation: Option<ReservationId>,
}

impl Graph {
    /// Finds the hook for a fault, calls it, and says what the hardware is to be told.
    ///
    /// Without a hook the transaction is terminated, and the first time the verdict asks for a warning.
    pub fn handle_fault(&mut self, fault: &Fault, hardware: &mut dyn Hardware) -> Verdict {
        let found = self.devices.devices.iter_mut().find(|(_, device)| device.handle == fault.device);
        let Some((key, device)) = found else {
            return Verdict {
                answer: Answer::Terminate,
                handled: Handled::UnknownDevice,
                device: None,
                region: None,
                reservation: None,
            };
        };
        let mut hook = core::mem::replace(&mut device.hook, Hook::Running);
        let id = DeviceId(key);
        let region = self.region_behind(id, fault.address);
        let reservation = region.and_then(|region| self.reservation_at(region, fault.address));
        let (answer, handled) = match &mut hook {
            Hook::Installed(installed) => (installed.on_fault(fault, self, hardware), Handled::ByHook),
            Hook::None => {
                hook = Hook::Warned;
                (Answer::Terminate, Handled::ByNobody { warn: true })
            }
            Hook::Warned | Hook::Running => (Answer::Terminate, Handled::ByNobody { warn: false }),
        };
        let (answer, handled) = self.put_back(id, hook, fault, answer, handled);
        Verdict { answer, handled, device: Some(id), region, reservation }
    }

    /// Puts the hook back, unless it was replaced (or the device removed) while it ran, and counts retries.
    fn put_back(
        &mut self,
        id: DeviceId,
        hook: Hook,
        fault: &Fault,
        answer: Answer,
        handled: Handled,
    ) -> (Answer, Handled) {
        let Some(device) = self.devices.devices.get_mut(id.0) else { return (answer, handled) };
        if matches!(device.hook, Hook::Running) {
            device.hook = hook;
        }
        match device.retries.judge(fault, answer) {
            judged if judged == answer || fault.state == FaultState::Terminated => (judged, handled),
            judged => (judged, Handled::Overruled),
        }
    }

    /// The region that a device translates `address` through now.
    pub(crate) fn region_behind(&self, device: DeviceId, address: u64) -> Option<RegionId> {
        let device = self.devices.devices.get(device.0)?;
        let active = device
            .associations
            .iter()
            .filter_map(|id| self.devices.associations.get(id.0))
            .filter(|association| matches!(association.activation, Activation::Active(_)));
        let mut last = None;
        for association in active {
            if association.window.contains(address) {
                return Some(association.region);
            }
            last = Some(association.region);
        }
        last
    }
}
