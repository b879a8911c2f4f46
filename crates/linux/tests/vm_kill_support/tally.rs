//! How far the process has come that is going to be killed: words in a file, which outlive it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

/// What names the file to the process.
pub const VARIABLE: &str = "VCM_KILL_TALLY";

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// The process was made.
    Started = 0,
    /// It is about to open the device.
    Opening = 1,
    /// It has opened it, and brings it up.
    Opened = 2,
    /// It is under load: DMA and interrupts.
    Loaded = 3,
}

pub const STAGES: [Stage; 4] = [Stage::Started, Stage::Opening, Stage::Opened, Stage::Loaded];

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub enum Word {
    /// The number of the [`Stage`].
    Stage = 0,
    /// DMA both ways, with its bytes compared.
    Rounds = 1,
    /// Interrupts that came.
    Interrupts = 2,
    /// Memory that was mapped and unmapped.
    Mappings = 3,
    /// Interrupts forwarded and taken back.
    Switches = 4,
    /// DMA that is under way.
    UnderWay = 5,
}

pub const WORDS: usize = 6;

/// The words. One process writes them, its parent reads them.
#[derive(Debug)]
pub struct Tally {
    file: File,
    words: Mutex<[u64; WORDS]>,
}

impl Tally {
    pub fn new(file: File) -> Self {
        let tally = Self { file, words: Mutex::default() };
        tally.clear();
        tally
    }

    /// The one that the parent has made, in the process that is to be killed.
    pub fn inherited() -> Option<Self> {
        let path = std::env::var_os(VARIABLE)?;
        Some(Self::new(File::options().read(true).write(true).open(path).unwrap()))
    }

    /// Begins anew.
    pub fn clear(&self) {
        *self.words.lock().unwrap() = [0; WORDS];
        self.file.write_all_at(&[0; WORDS * 8], 0).unwrap();
    }

    pub fn reach(&self, stage: Stage) {
        self.change(Word::Stage, |word| *word = stage as u64);
    }

    pub fn add(&self, word: Word, count: u64) {
        self.change(word, |word| *word += count);
    }

    pub fn subtract(&self, word: Word, count: u64) {
        self.change(word, |word| *word -= count);
    }

    fn change(&self, word: Word, change: impl FnOnce(&mut u64)) {
        // Locked until it is written: a later count is not overwritten by an earlier one.
        let mut words = self.words.lock().unwrap();
        change(&mut words[word as usize]);
        self.file.write_all_at(&words[word as usize].to_ne_bytes(), word as u64 * 8).unwrap();
    }

    /// All of them, as the other process has written them.
    pub fn read(&self) -> [u64; WORDS] {
        let mut bytes = [0; WORDS * 8];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        std::array::from_fn(|word| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[word * 8 + byte])))
    }
}
