//! What `cargo xtask vm` is asked for.

use super::machine::Outside;
use crate::tools::Consent;
use std::time::Duration;

/// Whose kernel the machine runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whose {
    /// Built from the distribution's source package with everything that the tests need.
    Built,
    /// The distribution's own, as its users have it.
    Distribution,
}

impl Whose {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Distribution => "distribution",
        }
    }

    /// Whether the machine has a device that no IOMMU looks after.
    pub(crate) const fn outside(self) -> Outside {
        match self {
            Self::Built => Outside::Present,
            Self::Distribution => Outside::Absent,
        }
    }
}

/// What a test prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Printing {
    /// Only of tests that fail.
    Failed,
    /// Of every test.
    All,
}

/// The options.
#[derive(Debug)]
pub(crate) struct Options {
    /// These test binaries; empty: all.
    pub(crate) only: Vec<String>,
    /// Only tests whose name contains this.
    pub(crate) name: String,
    /// Only this kernel.
    pub(crate) kernel: Option<Whose>,
    /// Only this number of CPUs.
    pub(crate) cpus: Option<u32>,
    /// `vcm` and the examples are built although not all tests run.
    pub(crate) programs: bool,
    pub(crate) printing: Printing,
    /// How long one test may take.
    pub(crate) test_limit: Duration,
    /// How long one machine may run.
    pub(crate) limit: Duration,
    /// A disaster to cause in the machine.
    pub(crate) sabotage: Option<String>,
    pub(crate) consent: Consent,
}

impl Options {
    /// What `cargo xtask test` runs: everything.
    pub(crate) const fn everything(consent: Consent) -> Self {
        Self {
            only: Vec::new(),
            name: String::new(),
            kernel: None,
            cpus: None,
            programs: false,
            printing: Printing::Failed,
            test_limit: Duration::from_secs(120),
            limit: Duration::from_secs(600),
            sabotage: None,
            consent,
        }
    }

    /// Reads the words of the command line.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self::everything(Consent::from_options(&[])?);
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            let mut value = || words.next().copied().ok_or_else(|| format!("{word} needs a value"));
            match word {
                "--only" => options.only.push(value()?.to_owned()),
                "--name" => options.name = value()?.to_owned(),
                "--kernel" => {
                    options.kernel = Some(match value()? {
                        "built" => Whose::Built,
                        "distribution" => Whose::Distribution,
                        other => return Err(format!("--kernel {other}: built or distribution")),
                    });
                }
                "--cpus" => options.cpus = Some(number(word, value()?, 1, 8)?),
                "--programs" => options.programs = true,
                "--print" => options.printing = Printing::All,
                "--test-limit" => {
                    options.test_limit = Duration::from_secs(number(word, value()?, 1, 86_400)?.into());
                }
                "--limit" => options.limit = Duration::from_secs(number(word, value()?, 1, 86_400)?.into()),
                "--sabotage" => options.sabotage = Some(value()?.to_owned()),
                other => options.consent = Consent::from_options(&[other])?,
            }
        }
        Ok(options)
    }

    /// The machines that are wanted: whose kernel, how many CPUs.
    pub(crate) fn machines(&self) -> Vec<(Whose, u32)> {
        let cpus = |usual: &[u32]| self.cpus.map_or_else(|| usual.to_vec(), |cpus| vec![cpus]);
        let built = cpus(&[1, 2]).into_iter().map(|cpus| (Whose::Built, cpus));
        let distribution = cpus(&[2]).into_iter().map(|cpus| (Whose::Distribution, cpus));
        built.chain(distribution).filter(|(whose, _)| self.kernel.is_none_or(|only| only == *whose)).collect()
    }
}

fn number(word: &str, value: &str, least: u32, most: u32) -> Result<u32, String> {
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{word} {value}: a number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_machines_unless_told_otherwise() {
        let machines = |words: &[&str]| Options::parse(words).unwrap().machines();
        assert_eq!(machines(&[]), [(Whose::Built, 1), (Whose::Built, 2), (Whose::Distribution, 2)]);
        assert_eq!(machines(&["--kernel", "built"]), [(Whose::Built, 1), (Whose::Built, 2)]);
        assert_eq!(machines(&["--cpus", "4", "--kernel", "distribution"]), [(Whose::Distribution, 4)]);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (words, part) in [
            (vec!["--kernel", "other"], "built or distribution"),
            (vec!["--cpus", "0"], "from 1 to 8"),
            (vec!["--only"], "needs a value"),
            (vec!["--what"], "unknown options: --what"),
        ] {
            let error = Options::parse(&words).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
