//! Two ways to do the same, in turns.

use crate::Outcome;
use crate::count::{Counts, mark};
use crate::regions::Shared;
use std::hint::black_box;
use std::time::Instant;

/// Something done in steps, over and over.
pub(crate) trait Contestant {
    /// Does the step of this number.
    fn step(&mut self, number: usize) -> Outcome<()>;
}

/// One step, done in both ways.
pub(crate) struct Row {
    pub(crate) what: String,
    /// Nanoseconds.
    pub(crate) bare: f64,
    pub(crate) ours: f64,
    /// By how much the median of every second bare one differs from that of the others.
    pub(crate) noise: f64,
    pub(crate) calls: Option<[Counts; 2]>,
}

/// All measurements of a run.
#[derive(Default)]
pub(crate) struct Bench {
    rounds: usize,
    is_traced: bool,
    counts: std::vec::IntoIter<Counts>,
    pub(crate) rows: Vec<Row>,
    pub(crate) shared: Vec<Shared>,
    pub(crate) notes: Vec<String>,
    /// What it takes to read the clock, in nanoseconds: subtracted everywhere.
    pub(crate) clock: f64,
}

impl Bench {
    pub(crate) fn new(rounds: usize, counts: Vec<Counts>) -> Self {
        let mut times: Vec<u64> = (0..10_001).map(|_| nanoseconds(|| {})).collect();
        Self { rounds, counts: counts.into_iter(), clock: median(&mut times), ..Self::default() }
    }

    /// For a process that counts the system calls of this one.
    pub(crate) fn traced() -> Self {
        Self { is_traced: true, ..Self::default() }
    }

    /// Something to be said with the numbers.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// The counts that the child has made of the next stretch between two marks.
    pub(crate) fn next_counts(&mut self) -> Option<Counts> {
        self.counts.next()
    }

    /// Does something between marks.
    pub(crate) fn marked<T>(&self, work: impl FnOnce() -> T) -> T {
        if self.is_traced {
            mark();
        }
        let result = work();
        if self.is_traced {
            mark();
        }
        result
    }

    /// Compares: `bare` twice in each round, so that what it differs by from itself is known.
    pub(crate) fn compare(
        &mut self,
        what: &str,
        steps: &[&str],
        bare: &mut (dyn Contestant + '_),
        ours: &mut (dyn Contestant + '_),
    ) -> Outcome<()> {
        for number in 0..steps.len() {
            bare.step(number)?;
        }
        for number in 0..steps.len() {
            ours.step(number)?;
        }
        if self.is_traced {
            for number in 0..steps.len() {
                self.marked(|| bare.step(number))?;
            }
            for number in 0..steps.len() {
                self.marked(|| ours.step(number))?;
            }
            return Ok(());
        }
        let mut times = vec![[const { Vec::new() }; 3]; steps.len()];
        for round in 0..self.rounds {
            // Each comes first, and after each of the others, equally often.
            for turn in 0..3 {
                let who = if round % 2 == 0 { (round / 2 + turn) % 3 } else { (round / 2 + 2 - turn) % 3 };
                for (number, times) in times.iter_mut().enumerate() {
                    let mut result = Ok(());
                    let work = || result = if who == 2 { ours.step(number) } else { bare.step(number) };
                    times[who].push(nanoseconds(work));
                    result?;
                }
            }
        }
        let counts: Vec<_> = (0..2 * steps.len()).map_while(|_| self.next_counts()).collect();
        for (number, (step, [first, second, ours])) in steps.iter().zip(times).enumerate() {
            let [mut first, mut second, mut ours] = [first, second, ours];
            let noise = (median(&mut first) - median(&mut second)).abs();
            first.append(&mut second);
            let time = |times: &mut [u64]| (median(times) - self.clock).max(1.0);
            let calls = counts.get(number).cloned().zip(counts.get(steps.len() + number).cloned());
            self.rows.push(Row {
                what: format!("{what}, {step}"),
                bare: time(&mut first),
                ours: time(&mut ours),
                noise,
                calls: calls.map(|(bare, ours)| [bare, ours]),
            });
        }
        Ok(())
    }
}

fn nanoseconds(work: impl FnOnce()) -> u64 {
    let start = Instant::now();
    work();
    black_box(start.elapsed().as_nanos() as u64)
}

fn median(times: &mut [u64]) -> f64 {
    times.sort_unstable();
    let middle = times.len() / 2;
    match times.len() {
        0 => 0.0,
        len if len % 2 == 1 => times[middle] as f64,
        _ => (times[middle - 1] + times[middle]) as f64 / 2.0,
    }
}
