//! Which QEMU is there.

use crate::error::{Error, shortened};
use std::fmt;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A version of QEMU. Later versions are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version {
    /// Once a year.
    pub major: u16,
    /// Three times a year.
    pub minor: u16,
    /// Corrections.
    pub micro: u16,
}

impl Version {
    /// The first release of a minor version.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor, micro: 0 }
    }

    /// Finds it in what `--version` prints, such as `QEMU emulator version 7.2.17 (Debian 1:7.2+dfsg-7)`.
    fn in_text(text: &str) -> Option<Self> {
        let number = text.split_once("QEMU emulator version ")?.1;
        let number = number.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = number.split('.').map(str::parse);
        let mut next = || parts.next()?.ok();
        Some(Self { major: next()?, minor: next()?, micro: next().unwrap_or(0) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.micro != 0 { write!(f, ".{}", self.micro) } else { Ok(()) }
    }
}

/// Asks the program for its version.
///
/// # Errors
///
/// [`Error::Missing`] when it does not run, does not end within `timeout`, or does not call itself QEMU;
/// [`Error::TooOld`] below `needed`.
pub(crate) fn check(program: &str, needed: Version, timeout: Duration) -> Result<Version, Error> {
    let missing = |why: String| Error::Missing { program: program.into(), needed, why };
    let mut output = tempfile::tempfile().map_err(Error::io("making a temporary file"))?;
    let stdout = output.try_clone().map_err(Error::io("sharing a temporary file"))?;
    let mut child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| missing(error.to_string()))?;
    let deadline = Instant::now() + timeout;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            result => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(missing(match result {
                    Err(error) => error.to_string(),
                    Ok(_) => format!("--version did not end within {timeout:?}"),
                }));
            }
        }
    };
    let mut text = Vec::new();
    output.rewind().and_then(|()| output.read_to_end(&mut text)).map_err(Error::io("reading the version"))?;
    if !status.success() {
        return Err(missing(format!("--version ended with {status}")));
    }
    let found = Version::in_text(&String::from_utf8_lossy(&text))
        .ok_or_else(|| missing(format!("--version printed {:?}", shortened(&text))))?;
    if found < needed {
        return Err(Error::TooOld { program: program.into(), needed, found });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_and_ordered() {
        let debian = "QEMU emulator version 7.2.17 (Debian 1:7.2+dfsg-7+deb12u14)\nCopyright (c) 2003-2022";
        let old = Version::in_text(debian).unwrap();
        assert_eq!(old, Version { major: 7, minor: 2, micro: 17 });
        let new = Version::in_text("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)").unwrap();
        assert!(new > old && old > Version::new(7, 2));
        assert_eq!(Version::in_text("QEMU emulator version 9.1\n"), Some(Version::new(9, 1)));
        assert_eq!((old.to_string(), Version::new(9, 1).to_string()), ("7.2.17".into(), "9.1".into()));
        for bad in ["", "QEMU", "QEMU emulator version x.y", "QEMU emulator version 99999999999.1"] {
            assert_eq!(Version::in_text(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn programs_that_will_not_do_are_named_with_what_is_needed() {
        let second = Duration::from_secs(10);
        let error = check("/nonexistent/qemu", Version::new(7, 2), second).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/qemu 7.2 or newer is needed"), "{error}");
        let error = check("false", Version::new(7, 2), second).unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error}");
        let error = check("echo", Version::new(7, 2), second).unwrap_err().to_string();
        assert!(error.contains("--version printed"), "{error}");
    }

    #[test]
    fn an_old_program_is_refused_with_both_versions_and_a_hung_one_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let program = |name: &str, text: &str| {
            let path = directory.path().join(name);
            // Not written by this process: a child that another test has just forked could still have it open, and
            // what is open for writing cannot be run.
            let script = r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod +x "$2""#;
            let written = Command::new("/bin/sh").args(["-c", script, "sh", text]).arg(&path).status();
            assert!(written.unwrap().success());
            path.to_str().unwrap().to_string()
        };
        let old = program("old", "echo QEMU emulator version 6.2.0");
        let error = check(&old, Version::new(7, 2), Duration::from_secs(10)).unwrap_err();
        assert!(matches!(error, Error::TooOld { found, .. } if found == Version::new(6, 2)), "{error}");
        assert!(error.to_string().ends_with("7.2 or newer is needed, but this one is 6.2"), "{error}");
        let hung = program("hung", "exec sleep 60");
        let error = check(&hung, Version::new(7, 2), Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.contains("did not end within 50ms"), "{error}");
    }
}
