//! The QEMU process, which never outlives ours.
//!
//! QEMU does not end when its sockets close. Two things end it: dropping [`Process`], and a watchdog, for when ours is
//! killed. The watchdog is a shell that reads from a pipe of which we hold the only writing end. A line means that
//! all is over, the end of the file that we died. `PR_SET_PDEATHSIG` is not used: it fires when the *thread* that
//! started the child ends.

use crate::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

/// Becomes QEMU, but only once the watchdog is there to see to its end.
const LAUNCH: &str = r#"read -r go && exec "$@" </dev/null"#;

/// The process id cannot have been reused: we reap QEMU only after having sent the line, and if we are dead and
/// somebody else reaps it, then because of this very kill.
const WATCH: &str = r#"read -r over || { kill -9 "$1"; rm -rf -- "$2"; }"#;

/// What QEMU prints to stderr.
#[derive(Debug)]
pub(crate) struct Console(File);

impl Console {
    /// The end of it, at most 2 KiB.
    pub(crate) fn tail(&self) -> String {
        let len = self.0.metadata().map_or(0, |metadata| metadata.len());
        let mut bytes = vec![0; len.min(2048) as usize];
        let start = len - bytes.len() as u64;
        match self.0.read_exact_at(&mut bytes, start) {
            Ok(()) => String::from_utf8_lossy(&bytes).trim_end().to_string(),
            Err(error) => format!("(cannot be read: {error})"),
        }
    }
}

/// A running program, its watchdog, and what it prints to stderr.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    watchdog: Child,
    /// Closed when dismissed.
    leash: Option<ChildStdin>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; when this process dies, it is killed and `directory` removed.
    pub(crate) fn start(command: &[String], directory: &Path) -> Result<(Self, Console), Error> {
        let stderr = tempfile::tempfile().map_err(Error::io("making a file for QEMU's stderr"))?;
        let theirs = stderr.try_clone().map_err(Error::io("sharing a file for QEMU's stderr"))?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", LAUNCH, "sh"])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(theirs)
            .spawn()
            .map_err(Error::io("starting /bin/sh for QEMU"))?;
        let go = child.stdin.take();
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCH, "sh", &child.id().to_string()])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of an interrupt from the terminal and of whoever kills our process group.
            .process_group(0)
            .spawn();
        let mut watchdog = match watchdog {
            Ok(watchdog) => watchdog,
            Err(source) => {
                // Without the word to go, the first shell ends by itself.
                drop(go);
                let _ = child.wait();
                return Err(Error::Io { what: "starting /bin/sh as QEMU's watchdog".into(), source });
            }
        };
        let leash = watchdog.stdin.take();
        let process = Self { child, watchdog, leash, status: None };
        if let Some(mut go) = go {
            go.write_all(b"go\n").map_err(Error::io("letting QEMU start"))?;
        }
        Ok((process, Console(stderr)))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
            if self.status.is_some() {
                self.dismiss();
            }
        }
        self.status
    }

    /// Tells the watchdog that there is nothing left to kill.
    fn dismiss(&mut self) {
        if let Some(mut leash) = self.leash.take() {
            let _ = leash.write_all(b"over\n");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.dismiss();
        let _ = self.child.wait();
        // It has nothing left to do. That it may be stopped itself must not hold us up.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}
