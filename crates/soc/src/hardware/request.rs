//! The interrupts of a bus master: what it asks for, and how it is quieted.

use super::interrupts::{Interrupts, Level, Wire};
use std::collections::VecDeque;
use vcm_platform::Pace;
use vcm_platform::topology::Trigger;

/// How many steps a device works between being served and asking again.
pub const WORK: u32 = 32;

/// What a line does while its device asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signalling {
    /// It is high.
    Level,
    /// It is high for a moment each time.
    Pulse,
}

impl From<Trigger> for Signalling {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::EdgeRising | Trigger::EdgeFalling | Trigger::EdgeBoth => Self::Pulse,
            Trigger::LevelHigh | Trigger::LevelLow | Trigger::Unspecified => Self::Level,
        }
    }
}

/// One interrupt of a bus master. It counts what it asks for; software reads how many requests it has not quieted,
/// and says how many it has. What came in between stays.
#[derive(Debug)]
pub struct Request {
    wire: Wire,
    signalling: Signalling,
    asked: u64,
    open: u64,
    left: VecDeque<(u64, Pace)>,
    work: u32,
}

impl Request {
    pub(super) const fn new(wire: Wire, signalling: Signalling) -> Self {
        Self { wire, signalling, asked: 0, open: 0, left: VecDeque::new(), work: 0 }
    }

    /// The wire that it drives.
    pub const fn wire(&self) -> Wire {
        self.wire
    }

    /// What its line does.
    pub const fn signalling(&self) -> Signalling {
        self.signalling
    }

    /// How often it asked.
    pub const fn asked(&self) -> u64 {
        self.asked
    }

    /// How many requests are not quieted.
    pub const fn open(&self) -> u64 {
        self.open
    }

    /// Whether it will ask again without anybody doing anything.
    pub fn goes_on(&self) -> bool {
        self.left.front().is_some_and(|(_, pace)| self.open == 0 || self.asks_again(*pace))
    }

    /// Whether it asks although it was not quieted.
    fn asks_again(&self, pace: Pace) -> bool {
        pace == Pace::AtOnce && self.signalling == Signalling::Pulse
    }

    /// It asks `times` more times.
    pub(super) fn ask(&mut self, times: u64, pace: Pace) {
        match self.left.back_mut() {
            Some((left, last)) if *last == pace => *left = left.saturating_add(times),
            _ if times > 0 => self.left.push_back((times, pace)),
            _ => {}
        }
    }

    /// It asks now.
    pub(super) fn raise(&mut self, interrupts: &mut Interrupts) {
        self.asked += 1;
        self.open += 1;
        match self.signalling {
            Signalling::Level => interrupts.set(self.wire, Level::High),
            Signalling::Pulse => interrupts.pulse(self.wire),
        }
    }

    /// A step of time.
    pub(super) fn step(&mut self, interrupts: &mut Interrupts) {
        let Some((_, pace)) = self.left.front().copied() else { return };
        if !self.goes_on() {
            return;
        }
        if self.work > 0 && pace == Pace::Served {
            self.work -= 1;
            return;
        }
        if let Some((left, _)) = self.left.front_mut() {
            *left -= 1;
            if *left == 0 {
                self.left.pop_front();
            }
        }
        self.raise(interrupts);
    }

    /// `requests` of those that are open are quieted.
    pub(super) fn content(&mut self, requests: u64, interrupts: &mut Interrupts) {
        if self.open == 0 {
            return;
        }
        self.open = self.open.saturating_sub(requests);
        if self.open == 0 {
            self.work = WORK;
            interrupts.set(self.wire, Level::Low);
        }
    }

    /// As after power-on; what it counted stays.
    pub(super) fn reset(&mut self, interrupts: &mut Interrupts) {
        self.left.clear();
        self.content(self.open, interrupts);
        self.work = 0;
    }
}
