//! The judge: a small program on QEMU's Cortex-A15 that asks the CPU to translate, and what it says.
#![allow(unreachable_pub)] // It is a module of a test.

use crate::support::Pool;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use vcm_pagetable::arm_short::{AccessModel, Config};

/// QEMU's `virt` machine has its RAM from 0x4000_0000 on, with a device tree in the first MiB.
const CODE: u64 = 0x4100_0000;
/// Where the code below expects its jobs.
const JOBS: u64 = 0x4110_0000;
/// Page tables; room for 160 MiB of them up to the end of RAM.
pub const TABLES: u64 = 0x4600_0000;
const RAM: &str = "256M";

/// Runs in Hyp mode with its own MMU off, so that nothing of it need be mapped in the tables under test, and asks for
/// translations of the non-secure PL1&0 regime. A job is: number of addresses, TTBR0, TTBR1, TTBCR, DACR, PRRR,
/// NMRR, SCTLR, addresses; zero addresses end the list. For each address four PARs (privileged read and write, user
/// read and write) go to the UART, low byte first. Registers: Arm ARM DDI 0406C, chapter B4; UART: PL011, DDI 0183.
#[rustfmt::skip]
const JUDGE: [u32; 50] = [
    0xe3005000, // start:  movw r5, #0x0000  ; UART data register
    0xe3405900, //         movt r5, #0x0900
    0xe3000301, //         movw r0, #0x0301  ; UART on
    0xe5850030, //         str r0, [r5, #0x30]
    0xe3a00000, //         mov r0, #0
    0xee810f11, //         mcr p15, 4, r0, c1, c1, 0  ; HCR: one stage, no traps
    0xe3004000, //         movw r4, #0x0000  ; job list
    0xe3444110, //         movt r4, #0x4110
    0xe4946004, // job:    ldr r6, [r4], #4  ; addresses in this job
    0xe3560000, //         cmp r6, #0
    0x0a000021, //         beq done
    0xe8b4038f, //         ldmia r4!, {r0, r1, r2, r3, r7, r8, r9}
    0xee020f10, //         mcr p15, 0, r0, c2, c0, 0  ; TTBR0
    0xee021f30, //         mcr p15, 0, r1, c2, c0, 1  ; TTBR1
    0xee022f50, //         mcr p15, 0, r2, c2, c0, 2  ; TTBCR
    0xee033f10, //         mcr p15, 0, r3, c3, c0, 0  ; DACR
    0xee0a7f12, //         mcr p15, 0, r7, c10, c2, 0  ; PRRR
    0xee0a8f32, //         mcr p15, 0, r8, c10, c2, 1  ; NMRR
    0xee019f10, //         mcr p15, 0, r9, c1, c0, 0  ; SCTLR
    0xee880f97, //         mcr p15, 4, r0, c8, c7, 4  ; TLBIALLNSNH
    0xf57ff04f, //         dsb
    0xf57ff06f, //         isb
    0xe4940004, // query:  ldr r0, [r4], #4  ; address
    0xee070f98, //         mcr p15, 0, r0, c7, c8, 4  ; ATS12NSOPR
    0xeb000008, //         bl report
    0xee070fb8, //         mcr p15, 0, r0, c7, c8, 5  ; ATS12NSOPW
    0xeb000006, //         bl report
    0xee070fd8, //         mcr p15, 0, r0, c7, c8, 6  ; ATS12NSOUR
    0xeb000004, //         bl report
    0xee070ff8, //         mcr p15, 0, r0, c7, c8, 7  ; ATS12NSOUW
    0xeb000002, //         bl report
    0xe2566001, //         subs r6, r6, #1
    0x1afffff4, //         bne query
    0xeaffffe5, //         b job
    0xf57ff06f, // report: isb
    0xee171f14, //         mrc p15, 0, r1, c7, c4, 0  ; PAR
    0xe3a02004, //         mov r2, #4
    0xe5953018, // byte:   ldr r3, [r5, #0x18]  ; UART flags
    0xe3130020, //         tst r3, #0x20  ; transmit FIFO full
    0x1afffffc, //         bne byte
    0xe5c51000, //         strb r1, [r5]
    0xe1a01421, //         lsr r1, r1, #8
    0xe2522001, //         subs r2, r2, #1
    0x1afffff8, //         bne byte
    0xe12fff1e, //         bx lr
    0xe3a00018, // done:   mov r0, #0x18  ; semihosting: SYS_EXIT
    0xe3001026, //         movw r1, #0x0026  ; ADP_Stopped_ApplicationExit
    0xe3401002, //         movt r1, #0x0002
    0xef123456, //         svc #0x123456
    0xeafffffe, // end:    b end
];

const CLIENT_OF_DOMAIN_0: u32 = 1;
/// The bits that are one on a Cortex-A15, MMU on, TEX remap on.
const SCTLR: u32 = 0x00c5_0078 | 1 | 1 << 28;
const SCTLR_AFE: u32 = 1 << 29;

/// A set of registers and the addresses to ask for.
pub struct Job {
    pub ttbr: [u64; 2],
    pub n: u8,
    pub config: Config,
    pub addresses: Vec<u32>,
}

/// What the CPU says to one kind of access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The physical address, and whether by a supersection.
    Passes(u32, bool),
    /// The fault status.
    Faults(u32),
}

pub const TRANSLATION_1: u32 = 0b0_0101;
pub const TRANSLATION_2: u32 = 0b0_0111;
pub const ACCESS_FLAG_1: u32 = 0b0_0011;
pub const ACCESS_FLAG_2: u32 = 0b0_0110;
pub const PERMISSION_1: u32 = 0b0_1101;
pub const PERMISSION_2: u32 = 0b0_1111;

/// Reads a PAR in its 32-bit format (Arm ARM DDI 0406C, register PAR).
fn verdict(par: u32, address: u32) -> Verdict {
    if par & 1 == 1 {
        Verdict::Faults(par >> 1 & 0x1f)
    } else if par & 2 == 2 {
        Verdict::Passes(par & 0xff00_0000 | address & 0xff_ffff, true)
    } else {
        Verdict::Passes(par & 0xffff_f000 | address & 0xfff, false)
    }
}

/// A QEMU that does not outlive the test, and its files.
struct Qemu {
    child: Child,
    files: PathBuf,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

/// Whether to go without QEMU; panics when it is missing and nobody said so.
pub fn without_qemu() -> bool {
    let found = Command::new("qemu-system-arm").arg("--version").stdout(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => false,
        other if std::env::var("VCM_WITHOUT_QEMU").is_ok_and(|value| value == "1") => {
            println!("SKIPPED TIER: qemu-arm-oracle: qemu-system-arm does not run ({other:?})");
            true
        }
        other => panic!(
            "qemu-system-arm does not run ({other:?}). It is the judge of this test: install the package \
             qemu-system-arm, or set VCM_WITHOUT_QEMU=1 to go without"
        ),
    }
}

/// Runs all jobs in one QEMU. For each address of each job: the verdicts on privileged read and write, user read
/// and write.
pub fn judge(name: &str, memory: &Pool<u32>, jobs: &[Job]) -> Vec<Vec<[Verdict; 4]>> {
    let files = std::env::temp_dir().join(format!("vcm-pagetable-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&files).unwrap();
    let bytes =
        |words: &mut dyn Iterator<Item = u32>| -> Vec<u8> { words.flat_map(u32::to_le_bytes).collect() };
    let mut list = Vec::new();
    for job in jobs {
        let afe = if job.config.access_model == AccessModel::AccessFlag { SCTLR_AFE } else { 0 };
        list.push(job.addresses.len() as u32);
        list.extend(job.ttbr.map(|root| root as u32));
        list.extend([u32::from(job.n), CLIENT_OF_DOMAIN_0]);
        list.extend([job.config.remap.prrr, job.config.remap.nmrr, SCTLR | afe]);
        list.extend(&job.addresses);
    }
    list.push(0);
    assert!(JOBS + 4 * list.len() as u64 <= TABLES);
    let mut image = Vec::new();
    for (address, words) in memory.visible() {
        image.resize((address - TABLES) as usize, 0);
        image.extend(bytes(&mut words.iter().copied()));
    }
    let mut command = Command::new("qemu-system-arm");
    command.args([
        "-M",
        "virt,virtualization=on",
        "-cpu",
        "cortex-a15",
        "-m",
        RAM,
        "-nodefaults",
        "-display",
        "none",
    ]);
    command.args(["-serial", "stdio", "-monitor", "none", "-semihosting"]);
    let contents = [
        ("code", CODE, bytes(&mut JUDGE.into_iter())),
        ("jobs", JOBS, bytes(&mut list.into_iter())),
        ("tables", TABLES, image),
    ];
    for (file, address, contents) in contents {
        let path = files.join(file);
        std::fs::write(&path, contents).unwrap();
        command.arg("-device").arg(format!("loader,file={},addr={address:#x},force-raw=on", path.display()));
    }
    command.arg("-device").arg(format!("loader,addr={CODE:#x},cpu-num=0"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut qemu = Qemu { child, files };

    let mut output = qemu.child.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = sender.send(output.read_to_end(&mut bytes).map(|_| bytes));
    });
    let output =
        receiver.recv_timeout(Duration::from_secs(60)).expect("QEMU did not finish in a minute").unwrap();
    reader.join().unwrap();
    let queries: usize = jobs.iter().map(|job| job.addresses.len()).sum();
    assert_eq!(output.len(), 16 * queries, "QEMU ended before it had answered everything");

    let mut pars = output.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let mut answer = |address| std::array::from_fn(|_| verdict(pars.next().unwrap(), address));
    jobs.iter().map(|job| job.addresses.iter().map(|&address| answer(address)).collect()).collect()
}
