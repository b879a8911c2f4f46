//! The virtual machine: QEMU's q35 with Intel's IOMMU and the devices that the tests take.

use super::verdict::{Test, Verdict};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The emulator.
pub(crate) const EMULATOR: &str = "qemu-system-x86_64";

/// The devices that tests take: two that are made for teaching DMA and interrupts (docs/specs/edu.rst of QEMU), two
/// that are real enough to have a driver.
pub(crate) const DEVICES: [&str; 5] =
    ["0000:00:04.0", "0000:00:05.0", "0000:00:06.0", "0000:00:07.0", "0000:00:09.0"];

/// One more of the first kind, which no IOMMU looks after.
pub(crate) const OUTSIDE: &str = "0000:41:00.0";

/// Whether that one is there. Linux 6.1 warns of itself when it meets such a device, at `drivers/pci/msi/msi.h:17`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outside {
    Present,
    Absent,
}

/// Half of it is above 4 GiB, where one page of 1 GiB finds room. The host gives only what the machine touches.
const MEGABYTES: &str = "4096";

/// Where the NVMe controllers are on bus 0.
const NVME: [u8; 3] = [6, 7, 9];
/// Bytes of each disk; the files are sparse.
const DISK: u64 = 64 << 20;

/// No line for so long, beyond what one test may take, means that the machine hangs.
const SILENCE: Duration = Duration::from_secs(45);

/// One machine to run.
pub(crate) struct Machine<'a> {
    pub(crate) image: &'a Path,
    pub(crate) initramfs: &'a Path,
    pub(crate) cpus: u32,
    pub(crate) outside: Outside,
    /// Where its logs and disks go; what is there is overwritten.
    pub(crate) folder: PathBuf,
    /// How long one test may take.
    pub(crate) test_limit: Duration,
    /// How long all may take.
    pub(crate) limit: Duration,
}

impl Machine<'_> {
    /// Runs it to its end and judges; `heard` is called with every test, when it ends.
    pub(crate) fn run(&self, mut heard: impl FnMut(&Test)) -> Result<Verdict, String> {
        let told = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        fs::create_dir_all(&self.folder).map_err(told("no folder for the machine's logs"))?;
        for disk in self.disks() {
            let file = File::create(&disk).map_err(told("no file for a disk"))?;
            file.set_len(DISK).map_err(told("no file for a disk"))?;
        }
        let errors = File::create(self.folder.join("qemu.log")).map_err(told("no file for QEMU's errors"))?;
        let mut port = File::create(self.folder.join("tests.log")).map_err(told("no file for the tests"))?;
        let mut command = self.command();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("{EMULATOR} could not be started: {error}"))?;
        let mut verdict = Verdict::default();
        let how = self.listen(&mut child, &mut port, &mut verdict, &mut heard);
        let console = fs::read(self.folder.join("kernel.log")).unwrap_or_default();
        for test in verdict.end(&how, &String::from_utf8_lossy(&console)) {
            heard(test);
        }
        for disk in self.disks() {
            let _ = fs::remove_file(disk);
        }
        Ok(verdict)
    }

    /// Hears the machine out; how it ended.
    fn listen(
        &self,
        child: &mut Child,
        port: &mut File,
        verdict: &mut Verdict,
        heard: &mut impl FnMut(&Test),
    ) -> String {
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                    if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                        break;
                    }
                }
            });
        }
        let begin = Instant::now();
        let silence = self.test_limit + SILENCE;
        loop {
            let left = self.limit.saturating_sub(begin.elapsed());
            match lines.recv_timeout(silence.min(left)) {
                Ok(line) => {
                    let _ = writeln!(port, "{}", line.trim_end_matches('\r'));
                    if let Some(test) = verdict.take(&line) {
                        heard(test);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return match child.wait() {
                        Ok(status) if status.success() => "it powered off, or its kernel panicked".into(),
                        Ok(status) => format!("QEMU ended with {status}, see qemu.log"),
                        Err(error) => format!("QEMU cannot be waited for: {error}"),
                    };
                }
                Err(RecvTimeoutError::Timeout) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return if begin.elapsed() >= self.limit {
                        format!("it was not ready after {} s, and was ended", self.limit.as_secs())
                    } else {
                        format!("it hung: nothing was heard for {} s, and it was ended", silence.as_secs())
                    };
                }
            }
        }
    }

    fn disks(&self) -> [PathBuf; 3] {
        [self.folder.join("vcm0.img"), self.folder.join("vcm1.img"), self.folder.join("vcm2.img")]
    }

    fn command(&self) -> Command {
        let mut command = Command::new(EMULATOR);
        // EPYC has AMD's virtualisation, which QEMU emulates: KVM works in the machine. The host's own KVM would
        // offer what the host's CPU has, another thing on every machine.
        command.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "EPYC", "-m", MEGABYTES]);
        command.args(["-smp", &self.cpus.to_string()]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        let console = self.folder.join("kernel.log");
        command.args(["-serial", &format!("file:{}", console.display()), "-serial", "stdio"]);
        command.args(["-device", "intel-iommu,intremap=on,caching-mode=off"]);
        for address in ["4.0", "5.0"] {
            command.args(["-device", &format!("edu,addr={address},dma_mask=0xffffffffffff")]);
        }
        for (index, disk) in self.disks().iter().enumerate() {
            let disk = disk.display().to_string().replace(',', ",,");
            let options = format!("if=none,id=disk{index},format=raw,cache=unsafe,file={disk}");
            command.args(["-drive", &options]);
            let address = NVME[index];
            command.args(["-device", &format!("nvme,serial=vcm{index},drive=disk{index},addr={address}.0")]);
        }
        if self.outside == Outside::Present {
            // Behind a host bridge of its own, which the tables of the firmware leave out: a device without a group.
            // Only bridges fit there directly.
            command.args(["-device", "pxb-pcie,id=outside,bus=pcie.0,addr=8.0,bus_nr=64,bypass_iommu=on"]);
            command.args(["-device", "pcie-root-port,id=outside-port,bus=outside,chassis=1"]);
            command.args(["-device", "edu,bus=outside-port,dma_mask=0xffffffffffff"]);
        }
        command.arg("-kernel").arg(self.image).arg("-initrd").arg(self.initramfs);
        command.args(["-append", COMMAND_LINE]);
        command
    }
}

/// The console tells warnings and worse; everything else is read from the log. An oops is the end: what runs after
/// one proves nothing. On a busy host the kernel's own check of its timer finds too few ticks, and panics: it is left
/// out. The pages of 1 GiB need all of the first one above 4 GiB, where other memory has to stay away from.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=5 log_buf_len=4M printk.devkmsg=on oops=panic panic=-1 \
    no_timer_check intel_iommu=on iommu.passthrough=0 cma=32M@0-2G hugepagesz=1G hugepages=1 hugepagesz=2M \
    hugepages=64";
