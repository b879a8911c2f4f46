//! A domain: what its streams' contexts say, and how its cached translations are dropped.

use super::commands::Command;
use super::directory::Context;
use super::spec::{self, Capabilities, Iohgatp, Iosatp, Iotinval, IotinvalAddress, Ta, Tc};
use crate::ranges::{Pages, Ranges, Sizes};
use crate::{Invalidation, Reach, Tables};

/// More pages than this are not invalidated one by one.
pub const PAGEWISE_LIMIT: u64 = 512;

/// How a domain translates, with the numbers that tag what is cached of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Domain {
    /// Not at all: nothing is cached.
    Identity,
    /// By a first stage.
    First { table: Tables, levels: u8, process: u32 },
    /// By a second stage.
    Second { table: Tables, levels: u8, guest: u16 },
    /// By both.
    Nested { first: Tables, first_levels: u8, process: u32, second: Tables, second_levels: u8, guest: u16 },
}

impl Domain {
    /// The context of a stream that is attached to it.
    pub(super) const fn context(&self) -> Context {
        let tc = Tc::new().with_v(true);
        let none = (Iohgatp::new(), Ta::new(), Iosatp::new());
        let (iohgatp, ta, fsc) = match *self {
            Self::Identity => none,
            Self::First { table, levels, process } => (none.0, attributes(process), first(table, levels)),
            Self::Second { table, levels, guest } => (second(table, levels, guest), none.1, none.2),
            Self::Nested { first: table, first_levels, process, second: below, second_levels, guest } => {
                (second(below, second_levels, guest), attributes(process), first(table, first_levels))
            }
        };
        Context { tc, iohgatp, ta, fsc }
    }

    /// Drops everything that is cached of it.
    pub(super) fn everything(&self) -> impl Iterator<Item = Command> + Clone {
        let whole = |which| Some(Command::translations(which, IotinvalAddress::new()));
        let first = Iotinval::new().with_func3(spec::VMA);
        let second = Iotinval::new().with_func3(spec::GVMA);
        let commands = match *self {
            Self::Identity => [None, None],
            Self::First { process, .. } => [whole(first.with_pscv(true).with_pscid(process)), None],
            Self::Second { guest, .. } | Self::Nested { guest, .. } => {
                let of = |which: Iotinval| whole(which.with_gv(true).with_gscid(guest));
                [of(first), of(second)]
            }
        };
        commands.into_iter().flatten()
    }

    /// The command that drops what is cached of one address; `None` where nothing is.
    fn one(&self) -> Option<Iotinval> {
        let command = Iotinval::new().with_av(true);
        Some(match *self {
            Self::Identity => return None,
            Self::First { process, .. } => command.with_func3(spec::VMA).with_pscv(true).with_pscid(process),
            Self::Second { guest, .. } => command.with_func3(spec::GVMA).with_gv(true).with_gscid(guest),
            Self::Nested { process, guest, .. } => command
                .with_func3(spec::VMA)
                .with_pscv(true)
                .with_pscid(process)
                .with_gv(true)
                .with_gscid(guest),
        })
    }

    /// Drops what is cached of some addresses. `None`: so many, or in such a way, that everything must go.
    pub(super) fn addresses<'a>(
        &self,
        invalidation: &Invalidation<'a>,
        capabilities: Capabilities,
    ) -> Option<impl Iterator<Item = Command> + Clone + 'a> {
        let Invalidation::Addresses { spans, reach, .. } = *invalidation else {
            return None;
        };
        let deep = reach == Reach::Tables;
        let command = self.one()?.with_nl(deep);
        if deep && !capabilities.nl() {
            return None;
        }
        // Without ranges a large page is named by each of its pages of 4 KiB. Any would do, were the large one
        // cached whole; but emulations keep its parts apart and drop one at a time, as QEMU does, and nothing
        // forbids hardware to do so.
        let sizes = if capabilities.s() { Sizes::PowersOfTwo } else { Sizes::Single };
        let ranges = spans.iter().map(move |span| Ranges::of(*span, sizes));
        let count = ranges.clone().fold(0_u64, |sum, ranges| sum.saturating_add(ranges.at_most()));
        let named = ranges.flatten().map(move |pages| Command::translations(command, address(pages)));
        (count <= PAGEWISE_LIMIT).then_some(named)
    }
}

const fn address(pages: Pages) -> IotinvalAddress {
    IotinvalAddress::new().with_page(pages.encoded()).with_s(pages.order > 0)
}

const fn attributes(process: u32) -> Ta {
    Ta::new().with_pscid(process)
}

const fn first(table: Tables, levels: u8) -> Iosatp {
    Iosatp::new().with_ppn(table.root.raw() >> 12).with_mode(spec::translation_mode(levels))
}

const fn second(table: Tables, levels: u8, guest: u16) -> Iohgatp {
    let iohgatp = Iohgatp::new().with_ppn(table.root.raw() >> 12).with_gscid(guest);
    iohgatp.with_mode(spec::translation_mode(levels))
}
