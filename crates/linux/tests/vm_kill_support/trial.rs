//! A process is started, killed at a random point, and what it leaves is looked for; again and again.

use super::census::{Census, available};
use super::plan::Plan;
use super::resets::{Reset, Resets};
use super::tally::{STAGES, Stage, Tally, VARIABLE, WORDS, Word};
use super::{PATIENCE, bind};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SIGKILL: i32 = 9;
/// How much memory all killed processes together may have taken away for ever, in KiB: much less than each of them uses,
/// if it were lost each time.
const LOST: u64 = 32 << 10;

/// What is killed, and how often.
pub struct Trial {
    /// The name of the test, which is the process to be killed when it is started by this.
    pub test: &'static str,
    pub device: &'static str,
    pub kills: u64,
    /// After how many kills the device is tried out by this process.
    pub check_every: u64,
    pub seed: u64,
    /// What the process does that is killed.
    pub load: fn(&str, &Tally) -> !,
    /// Tries the device out.
    pub check: fn(&str),
}

impl Trial {
    /// Goes on as the process that is killed, if this is it.
    fn play_the_part(&self) {
        if let Some(tally) = Tally::inherited() {
            // No thread goes on without another one.
            std::panic::set_hook(Box::new(|panic| {
                eprintln!("{panic}");
                std::process::abort();
            }));
            (self.load)(self.device, &tally);
        }
    }

    /// All of them on the machine with everything and two CPUs; half on the others, so that a run of all machines takes three
    /// minutes. The last one is tried out.
    fn kills_here(&self) -> u64 {
        let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
        if is("VCM_VM_KERNEL", "built") && is("VCM_VM_CPUS", "2") {
            return self.kills;
        }
        (self.kills / 2).next_multiple_of(self.check_every)
    }

    /// Kills.
    pub fn run(&self) {
        self.play_the_part();
        let kills = self.kills_here();
        println!("{kills} kills, seed {:#x}", self.seed);
        bind(self.device);
        (self.check)(self.device);
        let resets = Resets::of(self.device);
        let stand = Stand::new();
        let before = Census::now();
        before.assert_idle();
        let (mut memory, mut reached, mut sum) = (available(), [0; STAGES.len()], [0; WORDS]);
        let (mut under_way, mut not_reset) = (0, 0);
        let begun = Instant::now();
        for number in 0..kills {
            let plan = Plan::new(self.seed, number);
            not_reset += u64::from(resets.set(plan.reset) == Reset::Impossible);
            let mut child = stand.start(self.test);
            let what = format!("kill {number} of {kills}, {plan:?}");
            stand.wait_for(plan.stage, &mut child, &what);
            std::thread::sleep(plan.delay);
            child.kill().unwrap();
            let status = child.wait().unwrap();
            assert_eq!(status.signal(), Some(SIGKILL), "{what}: {status}: {}", stand.said());
            before.settle(&what);
            let done = stand.tally.read();
            reached[done[Word::Stage as usize] as usize] += 1;
            under_way += u64::from(done[Word::UnderWay as usize] > 0);
            sum.iter_mut().zip(done).for_each(|(sum, done)| *sum += done);
            if (number + 1) % self.check_every == 0 {
                (self.check)(self.device);
                before.settle("the check");
            }
            if number == kills / 5 {
                // What the kernel keeps for the next one is kept by now.
                memory = available();
            }
        }
        let lost = memory.saturating_sub(available());
        let stages = STAGES.map(|stage| format!("{stage:?} {}", reached[stage as usize])).join(", ");
        println!(
            "after {:.1?}: {stages}; with DMA under way {under_way}, without a reset {not_reset}",
            begun.elapsed()
        );
        let [_, rounds, interrupts, mappings, switches, _] = sum;
        println!(
            "rounds {rounds}, interrupts {interrupts}, mappings {mappings}, switches {switches}; {lost} KiB"
        );
        assert!(reached[Stage::Loaded as usize] * 2 >= kills, "too few of them under load");
        assert!(under_way * 8 >= kills, "too few of them with DMA under way");
        let early = reached[Stage::Started as usize] + reached[Stage::Opening as usize];
        assert!(early > 0 && reached[Stage::Opened as usize] > 0, "none of them before the load");
        assert!(lost < LOST, "{lost} KiB of memory are lost");
    }

    /// Shows that what is looked for is found as long as the process lives.
    pub fn watch_one(&self) {
        bind(self.device);
        let (stand, before) = (Stand::new(), Census::now());
        before.assert_idle();
        let mut child = stand.start(self.test);
        stand.wait_for(Stage::Loaded, &mut child, "a process that lives");
        let during = Census::now();
        println!("{during:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        before.settle("after it");
        during.assert_busy(&before);
    }
}

/// Where the process tells how far it has come, and what it complains of.
struct Stand {
    folder: TempDir,
    tally: Tally,
}

impl Stand {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = File::options().read(true).write(true).create_new(true).open(folder.path().join("tally"));
        Self { tally: Tally::new(file.unwrap()), folder }
    }

    /// Starts the process that is to be killed: a test of this program, which finds out what it is.
    fn start(&self, test: &str) -> Child {
        self.tally.clear();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
            .env(VARIABLE, self.folder.path().join("tally"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.folder.path().join("said")).unwrap())
            .spawn()
            .unwrap()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap()
    }

    /// Waits until the process has come so far.
    fn wait_for(&self, stage: Stage, child: &mut Child, what: &str) {
        let begun = Instant::now();
        while self.tally.read()[Word::Stage as usize] < stage as u64 {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{what}: it ended by itself, with {ended:?}: {}", self.said());
            if begun.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("{what}: no further than {:?} in {PATIENCE:?}: {}", self.tally.read(), self.said());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
