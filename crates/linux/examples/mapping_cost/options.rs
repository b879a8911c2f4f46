//! What the program is told.

use crate::Outcome;

const USAGE: &str = "\
usage: mapping_cost [--device 0000:00:04.0] [--rounds 2000] [--buffer 1G] [--json]

  --device   one that is attached meanwhile, as sysfs calls it; its driver has it again afterwards. Without one nothing of the
             IOMMU's is measured
  --rounds   of each measurement; the medians are told
  --buffer   the length of what is mapped in 1, 2, 4 and 8 regions; K, M and G are understood
  --json     for programs";

/// The addresses of one region for the buffer.
pub(crate) const LARGEST_BUFFER: u64 = 4 << 30;

/// What is to be done.
pub(crate) struct Options {
    pub(crate) device: Option<String>,
    pub(crate) rounds: usize,
    pub(crate) buffer: u64,
    pub(crate) json: bool,
    /// Everything is done once, between marks, for another process that counts the system calls.
    pub(crate) traced: bool,
}

impl Options {
    /// `None` when help was asked for, and given.
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut options = Self { device: None, rounds: 2000, buffer: 1 << 30, json: false, traced: false };
        while let Some(option) = given.next() {
            let mut value = || given.next().ok_or(format!("{option} needs a value\n{USAGE}"));
            match option.as_str() {
                "--device" => options.device = Some(value()?),
                "--rounds" => options.rounds = value()?.parse()?,
                "--buffer" => options.buffer = bytes(&value()?)?,
                "--json" => options.json = true,
                "--traced" => options.traced = true,
                "--help" => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                _ => return Err(format!("what is {option}?\n{USAGE}").into()),
            }
        }
        if options.rounds == 0 {
            return Err("there is no median of nothing: --rounds".into());
        }
        let unit = 2 << 20;
        if !(2 * unit..=LARGEST_BUFFER).contains(&options.buffer) || !options.buffer.is_multiple_of(unit) {
            return Err("the buffer has from 4M to 4G, in multiples of 2M".into());
        }
        Ok(Some(options))
    }
}

fn bytes(text: &str) -> Outcome<u64> {
    let shift = match text.chars().last() {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        _ => 0,
    };
    let number: u64 = text.trim_end_matches(['K', 'M', 'G']).parse()?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} are too many bytes").into())
}
