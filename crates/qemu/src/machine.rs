//! Starting a QEMU and having everything that it takes to drive it.

use crate::error::Error;
use crate::memory::Memory;
use crate::process::Process;
use crate::qmp::Qmp;
use crate::qtest::Qtest;
use crate::version::{Version, check};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vcm::PhysicalAddress;

/// The oldest QEMU that is known to do, that of Debian 12.
const OLDEST: Version = Version::new(7, 2);

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct MachineBuilder {
    program: String,
    needed: Version,
    arguments: Vec<String>,
    memory: Option<(PhysicalAddress, u64)>,
    files: Vec<FileArgument>,
    timeout: Duration,
}

/// A file that is made for QEMU.
#[derive(Clone, Debug)]
struct FileArgument {
    name: String,
    option: String,
    prefix: String,
    start: Vec<u8>,
    len: u64,
}

impl MachineBuilder {
    /// Adds arguments to the command line, after the ones that every machine has.
    pub fn arguments<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Gives the machine `len` bytes of RAM in a file, to be read and written from here. `start` is where the machine
    /// has its RAM; QEMU decides that, not this. Without this call, RAM is as the arguments say.
    pub fn memory(mut self, start: PhysicalAddress, len: u64) -> Self {
        self.memory = Some((start, len));
        self
    }

    /// Makes a file of `len` bytes, which begins with `start` and goes on with zeros, and gives it to QEMU: the argument
    /// `option`, then one of `prefix` with the file's path behind it. What QEMU does with it can be read in
    /// [`Machine::file`], under `name`, which is a file name without directories. A `prefix` that is not empty must end
    /// where QEMU takes the value of a sub-option, such as `file=`.
    pub fn file(mut self, name: &str, option: &str, prefix: &str, start: &[u8], len: u64) -> Self {
        let (name, option, prefix) = (name.into(), option.into(), prefix.into());
        self.files.push(FileArgument { name, option, prefix, start: start.into(), len });
        self
    }

    /// Asks for a QEMU newer than 7.2.
    pub fn needs(mut self, version: Version) -> Self {
        self.needed = version;
        self
    }

    /// How long the start and each request may take: 10 s unless this says otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks the version, starts QEMU and connects to it.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] and [`Error::TooOld`] name what is needed; [`Error::Start`] has QEMU's stderr and the
    /// command line; [`Error::TimedOut`] when it does not connect in time; [`Error::Io`] for files and sockets.
    pub fn start(self) -> Result<Machine, Error> {
        let version = check(&self.program, self.needed, self.timeout)?;
        let directory = tempfile::Builder::new().prefix("vcm-qemu-").tempdir();
        let directory = directory.map_err(Error::io("making a temporary directory"))?;
        let inside = |name: &str| directory.path().join(name);
        let listen = |name: &str| {
            let path = inside(name);
            let result = UnixListener::bind(&path).and_then(|it| it.set_nonblocking(true).map(|()| it));
            result.map_err(Error::io(format!("listening on {}", path.display())))
        };
        let (qtest, qmp) = (listen("qtest")?, listen("qmp")?);

        let mut command = vec![self.program.clone()];
        // Builds for distributions lack `-accel qtest`. The qtest server works beside TCG as well; with icount, and
        // without sleeping, virtual time jumps to the next timer while the CPUs are parked.
        command.extend(["-accel", "tcg", "-icount", "shift=0,sleep=off"].map(String::from));
        command.extend(["-nodefaults", "-no-user-config", "-display", "none"].map(String::from));
        command.extend(["-monitor", "none", "-serial", "none", "-qtest-log", "none"].map(String::from));
        command.extend(["-qtest".into(), format!("unix:{}", value(&inside("qtest"))?)]);
        command.extend(["-qmp".into(), format!("unix:{}", value(&inside("qmp"))?)]);
        let mut memory = None;
        if let Some((start, len)) = self.memory {
            let path = inside("memory");
            let file = File::options().read(true).write(true).create_new(true).open(&path);
            let file = file.and_then(|file| file.set_len(len).map(|()| file));
            let file =
                file.map_err(Error::io(format!("making {len} bytes of memory in {}", path.display())))?;
            let path = value(&path)?;
            let object = format!("memory-backend-file,id=vcm-memory,size={len},share=on,mem-path={path}");
            command.extend(["-object".into(), object]);
            command.extend(["-machine".into(), "memory-backend=vcm-memory".into()]);
            command.extend(["-m".into(), format!("size={len}B")]);
            memory = Some(Memory::new(file, start, len));
        }
        command.extend(self.arguments);
        let mut files = Vec::new();
        for argument in self.files {
            let path = inside(&argument.name);
            let file = File::options().read(true).write(true).create_new(true).open(&path);
            let file = file.and_then(|file| {
                file.set_len(argument.len)?;
                file.write_all_at(&argument.start, 0)?;
                Ok(file)
            });
            let file = file.map_err(Error::io(format!("making {}", path.display())))?;
            // Only the value of a sub-option would end at a comma.
            let path = if argument.prefix.is_empty() { text(&path)?.to_string() } else { value(&path)? };
            command.extend([argument.option, format!("{}{path}", argument.prefix)]);
            files.push((argument.name, file));
        }

        let (mut process, console) = Process::start(&command, directory.path())?;
        let console = Arc::new(console);
        let command = command.join(" ");
        let deadline = Instant::now() + self.timeout;
        let mut accept = |listener: &UnixListener, what: &str| -> Result<UnixStream, Error> {
            loop {
                if let Ok((stream, _)) = listener.accept() {
                    return Ok(stream);
                }
                if let Some(status) = process.ended() {
                    let (command, status, stderr) = (command.clone(), status.to_string(), console.tail());
                    return Err(Error::Start { command, status, stderr });
                }
                if Instant::now() >= deadline {
                    let asked = format!("{what} of {command}");
                    return Err(Error::TimedOut { asked, waited: self.timeout, stderr: console.tail() });
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let qtest = accept(&qtest, "connection to qtest")?;
        let qmp = accept(&qmp, "connection to the monitor")?;
        let qtest = Qtest::with_console(qtest, self.timeout, Some(console.clone()))?;
        let qmp = Qmp::with_console(qmp, self.timeout, Some(console))?;
        // The monitor has answered, so QEMU has opened everything in the directory. Nothing needs the names any more,
        // and what has none cannot be left behind.
        drop(directory);
        Ok(Machine { qtest, qmp, memory, files, version, command, process })
    }
}

/// A path as the value of an option, where a comma would end it.
fn value(path: &Path) -> Result<String, Error> {
    Ok(text(path)?.replace(',', ",,"))
}

/// A path as an argument.
fn text(path: &Path) -> Result<&str, Error> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    text.ok_or_else(|| Error::argument(format!("{path:?} cannot be given to QEMU")))
}

/// A running QEMU. It is killed when this is dropped, or when this process dies in whichever way.
#[derive(Debug)]
pub struct Machine {
    /// Memory and interrupt lines.
    pub qtest: Qtest,
    /// The monitor.
    pub qmp: Qmp,
    memory: Option<Memory>,
    files: Vec<(String, File)>,
    version: Version,
    command: String,
    process: Process,
}

impl Machine {
    /// A machine of `program`, such as `qemu-system-aarch64`.
    pub fn builder(program: &str) -> MachineBuilder {
        MachineBuilder {
            program: program.into(),
            needed: OLDEST,
            arguments: Vec::new(),
            memory: None,
            files: Vec::new(),
            timeout: Duration::from_secs(10),
        }
    }

    /// Its RAM, if it was asked for.
    pub fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// The file that [`MachineBuilder::file`] made. It has no name any more, and is gone with the machine.
    pub fn file(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|(known, _)| known == name).map(|(_, file)| file)
    }

    /// QEMU's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// QEMU's command line, for messages.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// QEMU's process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Resets all devices and waits until that is done; RAM keeps its contents. The intercepted lines are reported
    /// as they were until a device sets them anew.
    ///
    /// # Errors
    ///
    /// Those of the connection to the monitor: see [`Error`].
    pub fn reset(&mut self) -> Result<(), Error> {
        self.qmp.system_reset()
    }
}
