//! What the program is told.

use crate::Outcome;

const USAGE: &str = "\
usage: assign [--device 0000:00:04.0] [--interrupts 100]

  --device       a QEMU educational device (`-device edu`), as sysfs calls it; its driver, if any, has it again afterwards
  --interrupts   how many the guest takes each way
  --help         this";

/// What is to be done.
pub(crate) struct Options {
    pub(crate) device: String,
    pub(crate) interrupts: u64,
}

impl Options {
    /// `None` when it was asked for the usage, which is printed.
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut options = Self { device: "0000:00:04.0".to_owned(), interrupts: 100 };
        while let Some(option) = given.next() {
            let mut value = || given.next().ok_or(format!("{option} needs a value\n{USAGE}"));
            match option.as_str() {
                "--device" => options.device = value()?,
                "--interrupts" => {
                    let text = value()?;
                    // The guest counts in 32 bits, over all rows.
                    let number = text.parse().ok().filter(|number| (1..=1_000_000).contains(number));
                    options.interrupts = number.ok_or(format!("{text} is not from 1 to 1000000\n{USAGE}"))?;
                }
                "--help" => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                _ => return Err(format!("what is {option}?\n{USAGE}").into()),
            }
        }
        Ok(Some(options))
    }
}
