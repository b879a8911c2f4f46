//! Files that a command will write: opened before the work, so that a path that cannot be written costs no run.

use crate::problem::Problem;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where a text will go.
#[derive(Debug)]
pub(crate) enum Destination {
    /// Standard output.
    Standard,
    /// A file.
    File(OpenFile),
}

/// A file that is open, and as it was. One that was made for this goes again when nothing was written.
#[derive(Debug)]
pub(crate) struct OpenFile {
    path: PathBuf,
    file: File,
    /// It was not there, and is still empty.
    unused: bool,
}

impl Destination {
    /// The file at `path`, or standard output for none and for `-`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Problem> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Ok(Self::Standard) };
        let mut options = File::options();
        options.write(true);
        let (opened, unused) = match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => (options.open(path), false),
            opened => (opened, true),
        };
        match opened {
            Ok(file) => Ok(Self::File(OpenFile { path: path.into(), file, unused })),
            Err(error) => Err(wrong(path, &error)),
        }
    }

    /// Writes the text in place of what was there.
    ///
    /// # Errors
    /// It cannot be written. A reader of standard output that has gone away is not a mistake.
    pub(crate) fn write(self, text: &str) -> Result<(), Problem> {
        match self {
            Self::Standard => print(text),
            Self::File(mut file) => {
                file.unused = false;
                file.replace(text).map_err(|error| wrong(&file.path, &error))
            }
        }
    }
}

impl OpenFile {
    fn replace(&mut self, text: &str) -> std::io::Result<()> {
        // Pipes and terminals hold nothing that could be cut off.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.unused {
            // Nobody is there to hear that it stays.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn wrong(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(format!("{}: {error}", path.display()))
}

/// Writes to standard output. A reader that has gone away is not a mistake.
///
/// # Errors
/// It cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Problem> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Problem::new(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
