//! QEMU's Arm CPU as the judge of short-descriptor tables: address, page size and permission of every query, as the
//! address translation operations of a Cortex-A15 see them.
//!
//! Without `qemu-system-arm` the test fails, unless `VCM_WITHOUT_QEMU=1` says that this is meant.

mod support;

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use support::Pool;
use vcm::{
    Access, Attributes, MemoryType, PhysicalAddress, Privilege, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K,
    Shareability, Span,
};
use vcm_pagetable::arm_short::{AccessModel, ArmShort, Config, Remap, Split};
use vcm_pagetable::{Gather, PageTable, Segment};

/// QEMU's `virt` machine has its RAM from 0x4000_0000 on, with a device tree in the first MiB.
const CODE: u64 = 0x4100_0000;
/// Where the code below expects its jobs.
const JOBS: u64 = 0x4110_0000;
/// Page tables; room for 160 MiB of them up to the end of RAM.
const TABLES: u64 = 0x4600_0000;
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
struct Job {
    ttbr: [u64; 2],
    n: u8,
    config: Config,
    addresses: Vec<u32>,
}

/// What the CPU says to one kind of access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// The physical address, and whether by a supersection.
    Passes(u32, bool),
    /// The fault status.
    Faults(u32),
}

const TRANSLATION_1: u32 = 0b0_0101;
const TRANSLATION_2: u32 = 0b0_0111;
const ACCESS_FLAG_1: u32 = 0b0_0011;
const ACCESS_FLAG_2: u32 = 0b0_0110;
const PERMISSION_1: u32 = 0b0_1101;
const PERMISSION_2: u32 = 0b0_1111;

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
fn without_qemu() -> bool {
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
fn judge(name: &str, memory: &Pool<u32>, jobs: &[Job]) -> Vec<Vec<[Verdict; 4]>> {
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

/// What the CPU must say if `translate` is right.
fn expected(tables: &[&PageTable<ArmShort>], memory: &Pool<u32>, address: u32) -> [Option<Verdict>; 4] {
    let at = u64::from(address);
    let Some(table) = tables.iter().find(|table| table.input_span().contains(at)) else {
        panic!("{address:#x} is in none of the tables");
    };
    let Some(found) = table.translate(memory, at) else {
        // A hole, at whichever level.
        return [None; 4];
    };
    let denied = if found.page_size >= SIZE_1M { PERMISSION_1 } else { PERMISSION_2 };
    let attributes = found.attributes;
    [
        (Access::READ, true),
        (Access::WRITE, true),
        (Access::READ, attributes.privilege == Privilege::User),
        (Access::WRITE, attributes.privilege == Privilege::User),
    ]
    .map(|(access, allowed)| {
        Some(if allowed && attributes.access.contains(access) {
            Verdict::Passes(found.physical.raw() as u32, found.page_size == SIZE_16M)
        } else {
            Verdict::Faults(denied)
        })
    })
}

/// Compares, and counts the queries that passed, by page size.
fn compare(
    verdicts: &[[Verdict; 4]],
    addresses: &[u32],
    tables: &[&PageTable<ArmShort>],
    memory: &Pool<u32>,
    passed: &mut [usize; 4],
) {
    for (verdicts, &address) in verdicts.iter().zip(addresses) {
        let expected = expected(tables, memory, address);
        for (kind, (&verdict, expected)) in verdicts.iter().zip(expected).enumerate() {
            let agrees = match expected {
                Some(expected) => verdict == expected,
                None => matches!(verdict, Verdict::Faults(TRANSLATION_1 | TRANSLATION_2)),
            };
            assert!(
                agrees,
                "{address:#x}, access {kind}: the CPU says {verdict:x?}, the table {expected:x?}"
            );
            if let Verdict::Passes(..) = verdict {
                let table =
                    tables.iter().find(|table| table.input_span().contains(u64::from(address))).unwrap();
                let size = table.translate(memory, u64::from(address)).unwrap().page_size;
                passed[[SIZE_4K, SIZE_64K, SIZE_1M, SIZE_16M]
                    .iter()
                    .position(|&each| each == size)
                    .unwrap()] += 1;
            }
        }
    }
}

/// A small generator of numbers, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % below
    }
}

fn attributes(random: &mut Random, remap: Remap) -> Attributes {
    let accesses = [Access::READ, Access::READ_WRITE, Access::READ | Access::EXECUTE, Access::all()];
    let shared = if remap == Remap::INNER { Shareability::Inner } else { Shareability::Outer };
    let types = [MemoryType::default(), MemoryType::Device, MemoryType::StronglyOrdered];
    Attributes::READ_WRITE
        .with_access(accesses[random.next(4) as usize])
        .with_privilege([Privilege::User, Privilege::Supervisor][random.next(2) as usize])
        .with_memory_type(types[random.next(3) as usize])
        .with_shareability(shared)
}

/// Maps, unmaps and protects at random, near the ends of the table and in a few places between, and returns the
/// addresses worth asking for.
fn exercise(
    random: &mut Random,
    table: &mut PageTable<ArmShort>,
    memory: &mut Pool<u32>,
    remap: Remap,
) -> Vec<u32> {
    let input = table.input_span();
    let mut addresses = vec![input.first() as u32, input.last() as u32];
    let units = [SIZE_4K, SIZE_64K, SIZE_1M, SIZE_16M];
    for _ in 0..60 {
        let unit = units[random.next(4) as usize];
        let base = match random.next(3) {
            0 => input.first(),
            1 => input.last() - (2 * SIZE_16M - 1),
            _ => input.first() + ((input.len() as u64 / 2) & !(SIZE_16M - 1)),
        };
        let at = base + random.next(2 * SIZE_16M / unit) * unit;
        let len = unit * (1 + random.next(3));
        let Some(span) = Span::new(at, len).filter(|&span| input.covers(span)) else { continue };
        addresses.extend([span.first() as u32, span.last() as u32]);
        addresses.push((span.first() + random.next(len)) as u32);
        if let Some(before) = span.first().checked_sub(1).filter(|&before| input.contains(before)) {
            addresses.push(before as u32);
        }
        let attributes = attributes(random, remap);
        let mut gather = Gather::new();
        // Many are refused, since something is in the way or missing: what counts is the tables that come of it.
        match random.next(5) {
            0..3 => {
                let physical = PhysicalAddress::new(random.next(0x1_0000_0000 / unit - 3) * unit);
                let _ = table.map(memory, at, [Segment { physical, len }].into_iter(), attributes);
            }
            3 => drop(table.unmap(memory, span, &mut gather)),
            _ => drop(table.protect(memory, span, attributes, &mut gather)),
        }
        gather.finish(memory);
    }
    addresses
}

#[test]
fn the_cpu_agrees_on_random_tables() {
    if without_qemu() {
        return;
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut memory = Pool::new(TABLES);
    let mut jobs = Vec::new();
    let mut tables = Vec::new();
    for case in 0..40_u8 {
        let n = case % 8;
        let access_model = if case % 3 == 0 { AccessModel::AccessFlag } else { AccessModel::Full };
        let remap = if case % 5 < 3 { Remap::INNER } else { Remap::OUTER };
        let splits = if n == 0 { vec![Split::Whole] } else { vec![Split::Low { n }, Split::High { n }] };
        let mut addresses = Vec::new();
        let mut both = Vec::new();
        for split in splits {
            let config = Config { split, access_model, remap };
            let mut table = PageTable::<ArmShort>::new(config, &mut memory).unwrap();
            addresses.extend(exercise(&mut random, &mut table, &mut memory, remap));
            both.push(table);
        }
        let root = |index: usize| both.get(index).or(both.first()).unwrap().root().raw();
        let config = Config { split: Split::Whole, access_model, remap };
        jobs.push(Job { ttbr: [root(0), root(1)], n, config, addresses });
        tables.push(both);
    }
    let verdicts = judge("random", &memory, &jobs);
    let mut passed = [0; 4];
    for ((verdicts, job), tables) in verdicts.iter().zip(&jobs).zip(&tables) {
        let tables: Vec<_> = tables.iter().collect();
        compare(verdicts, &job.addresses, &tables, &memory, &mut passed);
    }
    // The sample must be worth its name.
    assert!(passed.iter().all(|&count| count > 100), "passed by size: {passed:?}");
    println!(
        "{} addresses asked for, passed by size: {passed:?}",
        jobs.iter().map(|job| job.addresses.len()).sum::<usize>()
    );
}

#[test]
fn the_cpu_agrees_on_each_page_size_and_permission() {
    if without_qemu() {
        return;
    }
    let mut memory = Pool::new(TABLES);
    let mut jobs = Vec::new();
    let mut tables = Vec::new();
    for access_model in [AccessModel::Full, AccessModel::AccessFlag] {
        for (split, n) in [
            (Split::Whole, 0),
            (Split::Low { n: 1 }, 1),
            (Split::High { n: 1 }, 1),
            (Split::High { n: 7 }, 7),
        ] {
            let config = Config { split, access_model, remap: Remap::INNER };
            let mut table = PageTable::<ArmShort>::new(config, &mut memory).unwrap();
            let empty =
                PageTable::<ArmShort>::new(Config { split: Split::Whole, ..config }, &mut memory).unwrap();
            let input = table.input_span();
            let mut addresses = Vec::new();
            let mut place = 0;
            for privilege in [Privilege::User, Privilege::Supervisor] {
                for access in [Access::READ, Access::READ_WRITE, Access::all()] {
                    for size in [SIZE_4K, SIZE_64K, SIZE_1M, SIZE_16M] {
                        let attributes = Attributes::READ_WRITE
                            .with_shareability(Shareability::Inner)
                            .with_privilege(privilege)
                            .with_access(access);
                        // From the last byte of the range downwards, each in 16 MiB of its own.
                        place += SIZE_16M;
                        let at = input.last() - place + 1;
                        let physical = PhysicalAddress::new(0xfedc_0000_u64 & !(size - 1));
                        table
                            .map(&mut memory, at, [Segment { physical, len: size }].into_iter(), attributes)
                            .unwrap();
                        addresses.extend([at as u32, (at + size - 1) as u32, (at + size / 2 + 0x123) as u32]);
                        if size < SIZE_16M {
                            addresses.push((at + size) as u32);
                        }
                        if place + SIZE_16M > input.len() as u64 {
                            place = 0;
                            break;
                        }
                    }
                }
            }
            let ttbr = match split {
                Split::High { .. } => [empty.root().raw(), table.root().raw()],
                Split::Whole | Split::Low { .. } => [table.root().raw(), empty.root().raw()],
            };
            jobs.push(Job { ttbr, n, config, addresses });
            tables.push((table, empty));
        }
    }
    let verdicts = judge("sizes", &memory, &jobs);
    let mut passed = [0; 4];
    for ((verdicts, job), (table, _)) in verdicts.iter().zip(&jobs).zip(&tables) {
        compare(verdicts, &job.addresses, &[table], &memory, &mut passed);
    }
    assert!(passed.iter().all(|&count| count > 50), "passed by size: {passed:?}");
}

/// All eight values of AP in both models, four of which this crate never writes, against the manual (DDI 0406C,
/// chapter B3, "Access permissions") and, as far as attributes have words for it, against what `translate` reads out of them.
#[test]
fn the_cpu_agrees_on_every_value_of_ap() {
    if without_qemu() {
        return;
    }
    let mut memory = Pool::new(TABLES);
    let mut jobs = Vec::new();
    let mut tables = Vec::new();
    for access_model in [AccessModel::Full, AccessModel::AccessFlag] {
        let config = Config { split: Split::Whole, access_model, remap: Remap::INNER };
        let mut table = PageTable::<ArmShort>::new(config, &mut memory).unwrap();
        // A table to put small pages into by hand.
        let page = Segment { physical: PhysicalAddress::new(0x5000_0000), len: SIZE_4K };
        let plain = Attributes::READ_WRITE.with_shareability(Shareability::Inner);
        table.map(&mut memory, 0x200_0000, [page].into_iter(), plain).unwrap();
        let level2 = memory.walker_reads(table.root().raw() + 4 * 0x20) & !0x3ff;
        let mut addresses = Vec::new();
        for ap in 0..8_u32 {
            let section = 0x6000_0000 | (ap >> 2) << 15 | (ap & 3) << 10 | 0b10;
            memory.poke(table.root(), 0x10 + ap as usize, section);
            let small = 0x7000_0000 | (ap >> 2) << 9 | (ap & 3) << 4 | 0b10;
            memory.poke(PhysicalAddress::new(u64::from(level2)), 0x10 + ap as usize, small);
            addresses.extend([0x100_0000 + (ap << 20) + 0x45, 0x200_0000 + ((0x10 + ap) << 12) + 0x45]);
        }
        jobs.push(Job { ttbr: [table.root().raw(); 2], n: 0, config, addresses });
        tables.push(table);
    }
    let verdicts = judge("ap", &memory, &jobs);
    for ((verdicts, job), table) in verdicts.iter().zip(&jobs).zip(&tables) {
        for (index, (verdicts, &address)) in verdicts.iter().zip(&job.addresses).enumerate() {
            let (ap, level) = (index / 2, index % 2);
            // Privileged read and write, user read and write.
            let permitted = match (job.config.access_model, ap) {
                (AccessModel::AccessFlag, ap) if ap & 1 == 0 => None,
                (_, 0b000 | 0b100) => Some([false, false, false, false]),
                (_, 0b001) => Some([true, true, false, false]),
                (_, 0b010) => Some([true, true, true, false]),
                (_, 0b011) => Some([true, true, true, true]),
                (_, 0b101) => Some([true, false, false, false]),
                (_, _) => Some([true, false, true, false]),
            };
            let physical = if level == 0 { 0x6000_0045 } else { 0x7000_0045 };
            let expected = match permitted {
                None => [Verdict::Faults([ACCESS_FLAG_1, ACCESS_FLAG_2][level]); 4],
                Some(permitted) => permitted.map(|permitted| {
                    if permitted {
                        Verdict::Passes(physical, false)
                    } else {
                        Verdict::Faults([PERMISSION_1, PERMISSION_2][level])
                    }
                }),
            };
            assert_eq!(*verdicts, expected, "{:?}, AP {ap:#05b}", job.config.access_model);
            // What everybody may do is what `translate` reports.
            let found = table.translate(&memory, u64::from(address)).unwrap().attributes;
            let passes = |kind: usize| matches!(verdicts[kind], Verdict::Passes(..));
            let user = found.privilege == Privilege::User;
            let (read, write) = if user { (2, 3) } else { (0, 1) };
            assert_eq!(found.access.contains(Access::READ), passes(read));
            assert_eq!(found.access.contains(Access::WRITE), passes(write));
        }
    }
}
