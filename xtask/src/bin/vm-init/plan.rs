//! What the host wants done: `/plan`, one thing a line, a word and its value.

use crate::protocol::Record;
use crate::report::Report;
use std::time::Duration;

/// The plan.
pub(crate) struct Plan {
    /// Kernel modules with their parameters, in the order to load them.
    pub(crate) modules: Vec<String>,
    /// The test binaries, by path.
    pub(crate) binaries: Vec<String>,
    /// Only tests whose name contains this.
    pub(crate) filter: String,
    /// What the tests find in their environment.
    pub(crate) environment: Vec<(String, String)>,
    /// The PCI devices that tests take, by address.
    pub(crate) devices: Vec<String>,
    /// How long one test may run.
    pub(crate) limit: Duration,
    /// A disaster to cause, to see that it is noticed.
    pub(crate) sabotage: Option<String>,
}

impl Plan {
    /// Reads it; what is not understood is reported.
    pub(crate) fn read(report: &mut Report) -> Self {
        let mut plan = Self {
            modules: Vec::new(),
            binaries: Vec::new(),
            filter: String::new(),
            environment: Vec::new(),
            devices: Vec::new(),
            limit: Duration::from_secs(60),
            sabotage: None,
        };
        let text = std::fs::read_to_string("/plan").unwrap_or_else(|error| {
            report.record(&Record::Trouble(format!("/plan cannot be read: {error}")));
            String::new()
        });
        for line in text.lines() {
            let (word, value) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "module" => plan.modules.push(value.to_owned()),
                "binary" => plan.binaries.push(value.to_owned()),
                "filter" => plan.filter = value.to_owned(),
                "device" => plan.devices.push(value.to_owned()),
                "sabotage" => plan.sabotage = Some(value.to_owned()),
                "environment" if value.contains('=') => {
                    plan.environment.extend(value.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())));
                }
                "limit" if value.parse::<u64>().is_ok() => {
                    plan.limit = Duration::from_secs(value.parse().unwrap_or(60));
                }
                _ => report.record(&Record::Trouble(format!("a line of /plan is not understood: {line}"))),
            }
        }
        plan
    }
}
