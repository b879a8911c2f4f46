//! The device tree that QEMU makes for a machine.

use crate::error::{Error, shortened};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long QEMU may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Has `program` write the device tree of the machine that `arguments` describe, and gives it as a blob. No machine
/// runs.
///
/// # Errors
///
/// [`Error::Io`] when the program does not run or no file comes of it; [`Error::Start`] with what QEMU says when it
/// refuses; [`Error::TimedOut`].
pub fn device_tree(program: &str, arguments: &[String]) -> Result<Vec<u8>, Error> {
    let directory = tempfile::Builder::new().prefix("vcm-qemu-").tempdir();
    let directory = directory.map_err(Error::io("making a temporary directory"))?;
    let path = directory.path().join("tree");
    let mut stderr = tempfile::tempfile().map_err(Error::io("making a temporary file"))?;
    let theirs = stderr.try_clone().map_err(Error::io("sharing a temporary file"))?;
    let escaped = path.display().to_string().replace(',', ",,");
    let mut command = Command::new(program);
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-serial", "none"])
        .args(arguments)
        .args(["-machine", &format!("dumpdtb={escaped}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(theirs);
    let text = format!("{command:?}");
    let mut child = command.spawn().map_err(Error::io(format!("starting {program}")))?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            result => {
                let _ = child.kill();
                let _ = child.wait();
                result.map_err(Error::io(format!("waiting for {program}")))?;
                return Err(Error::TimedOut { asked: text, waited: PATIENCE, stderr: String::new() });
            }
        }
    };
    if !status.success() {
        let mut said = Vec::new();
        let rewound = std::io::Seek::rewind(&mut stderr).and_then(|()| stderr.read_to_end(&mut said));
        rewound.map_err(Error::io("reading what QEMU says"))?;
        return Err(Error::Start { command: text, status: status.to_string(), stderr: shortened(&said) });
    }
    std::fs::read(&path).map_err(Error::io(format!("reading the device tree of {text}")))
}
