//! Transfers: a device or a CPU moves bytes, faults are answered on the way, and what was moved is checked.

use super::Log;
use super::contents::{checksum, pattern_checksum};
use super::failure::Failure;
use super::judge::{Expected, judge};
use super::record::{Faulted, Transferred};
use super::world::{Master, World};
use crate::scenario::{Base, LONGEST_SURFACE, Movement, SurfaceSpec, TransferSpec};
use vcm::{Handled, Privilege, RegionKind};
use vcm_platform::{Event, Layout, Outcome, Surface, Transfer, TransferReport};

/// A surface, found.
#[derive(Clone, Debug)]
struct Located {
    surface: Surface,
    /// The buffer and the surface's first byte in it; none for a bare address.
    home: Option<(String, u64)>,
    /// What it is called.
    title: String,
}

impl Located {
    /// Whether the two may share a byte.
    fn overlaps(&self, other: &Self) -> bool {
        let (Some((buffer, at)), Some((other_buffer, other_at))) = (&self.home, &other.home) else {
            return true;
        };
        let (extent, other_extent) = (self.surface.layout.extent(), other.surface.layout.extent());
        buffer == other_buffer && *at < other_at + other_extent && *other_at < at + extent
    }
}

impl World<'_> {
    fn locate(&self, master: &Master, spec: &SurfaceSpec) -> Result<Located, Failure> {
        let (name, offset) = match &spec.base {
            Base::Address(address) => {
                let layout = spec.layout.unwrap_or(Layout::Linear { len: 1 });
                return Ok(Located {
                    surface: Surface { address: *address, layout },
                    home: None,
                    title: format!("{address:#x}"),
                });
            }
            Base::In(name, offset) => (name, *offset),
        };
        let share = match self.shares.get(&name.text) {
            Some(share) => share,
            None => {
                let regions = self.regions_of(master);
                let mut candidates = regions.iter().flat_map(|(region, _)| {
                    self.shares.values().filter(move |share| {
                        share.region == *region && share.buffer == name.text && share.offset <= offset
                    })
                });
                // An earlier part of the buffer may be shared on its own.
                let covers = |share: &&super::world::ShareEntry| offset < share.offset + share.len;
                candidates.find(covers).ok_or_else(|| {
                    let known = self.shares.keys().map(String::as_str);
                    name.problem(format!("\"{name}\" is not shared with {} there", master.title()))
                        .with_known(&name.text, known)
                })?
            }
        };
        let into = if self.shares.contains_key(&name.text) { offset } else { offset - share.offset };
        let Some(left) = share.len.checked_sub(into).filter(|left| *left > 0) else {
            return Err(name.problem(format!("offset {offset} is past the end of \"{name}\"")).into());
        };
        // Addresses that wait for memory may be more than the buffer has.
        let buffer = self.buffers.get(&share.buffer).map_or(u64::MAX, |buffer| buffer.len);
        let whole = buffer.saturating_sub(share.offset).saturating_sub(into).min(left).max(1);
        let layout = spec.layout.unwrap_or(Layout::Linear { len: whole });
        if layout.extent() > left {
            let what = format!("the surface has {} bytes, but only {left} are left there", layout.extent());
            return Err(name.problem(what).into());
        }
        if layout.bytes() > LONGEST_SURFACE {
            return Err(name.problem("no surface is longer than 4G").into());
        }
        let address = self.graph.device_address(share.reservation).map_err(|error| self.refused(error))?;
        Ok(Located {
            surface: Surface { address: address.raw() + into, layout },
            home: Some((share.buffer.clone(), share.offset + into)),
            title: name.text.clone(),
        })
    }

    /// Does a transfer and checks it.
    ///
    /// # Errors
    /// It could not be started, or the machine broke. How it ended is a matter of the checks in `log`.
    pub fn transfer(
        &mut self,
        spec: &TransferSpec,
        about: Option<&str>,
        base_seed: u64,
        default_seed: u64,
        log: &mut Log<'_>,
    ) -> Result<(), Failure> {
        let master = self.master(&spec.device)?;
        if master.kind == RegionKind::Cpu && spec.privilege == Some(Privilege::User) {
            let problem = spec.device.problem(format!("{} moves bytes as supervisor", master.title()));
            return Err(problem.with_help("leave `as` out").into());
        }
        let seed_of = |seed: Option<u64>| base_seed.wrapping_add(seed.unwrap_or(default_seed));
        let (transfer, from, to) = match &spec.movement {
            Movement::Write { to, seed } => {
                let to = self.locate(&master, to)?;
                (Transfer::Write { to: to.surface, seed: seed_of(*seed) }, None, Some(to))
            }
            Movement::Read { from, .. } => {
                let from = self.locate(&master, from)?;
                (Transfer::Read { from: from.surface }, Some(from), None)
            }
            Movement::Copy { from, to } => {
                let (left, right) = (self.locate(&master, from)?, self.locate(&master, to)?);
                if left.surface.layout.bytes() != right.surface.layout.bytes() {
                    let (a, b) = (left.surface.layout.bytes(), right.surface.layout.bytes());
                    return Err(spec.device.problem(format!("a copy from {a} bytes to {b} bytes")).into());
                }
                (Transfer::Copy { from: left.surface, to: right.surface }, Some(left), Some(right))
            }
        };
        let title =
            |located: &Option<Located>| located.as_ref().map(|found| found.title.clone()).unwrap_or_default();
        let described = match &spec.movement {
            Movement::Write { .. } => format!("{} writes {}", master.role, title(&to)),
            Movement::Read { .. } => format!("{} reads {}", master.role, title(&from)),
            Movement::Copy { .. } => format!("{} copies {} to {}", master.role, title(&from), title(&to)),
        };
        let name = about.map_or(described, str::to_owned);
        // What is read is what was there before anything is written.
        let expected = match (&spec.movement, &from) {
            (Movement::Read { seed: Some(seed), .. }, Some(from)) => {
                let bytes = from.surface.layout.bytes();
                Some(Expected::Pattern(pattern_checksum(seed_of(Some(*seed)), bytes), seed_of(Some(*seed))))
            }
            (_, Some(from)) => self.expected(from),
            _ => None,
        };
        // What a copy onto itself leaves depends on how far it reads ahead.
        let overlapping = from.as_ref().zip(to.as_ref()).is_some_and(|(from, to)| from.overlaps(to));
        let expected = expected.filter(|_| !overlapping);
        let faults_before = log.record.faults.len();
        let report = if master.kind == RegionKind::Cpu {
            self.cpu_transfer(&transfer, log)?
        } else {
            self.drive(&master, &transfer, spec.privilege.unwrap_or(Privilege::User), &name, log)?
        };
        self.note_written(&master, &transfer, to.as_ref(), &expected, &report);
        log.record.transfers.push(Transferred {
            name: spec.name.as_ref().map_or_else(|| name.clone(), |name| name.text.clone()),
            device: master.name.clone(),
            outcome: report.outcome,
            bytes_read: report.bytes_read,
            bytes_written: report.bytes_written,
            tlb_lookups: report.tlb_lookups,
            tlb_misses: report.tlb_misses,
            faults: report.faults,
        });
        let new_faults: Vec<Faulted> = log.record.faults[faults_before..].to_vec();
        judge(spec, &name, &transfer, expected.as_ref(), &report, &new_faults, log);
        Ok(())
    }

    /// What a surface has to hold, in the order of the visit.
    fn expected(&self, from: &Located) -> Option<Expected> {
        let (buffer, at) = from.home.as_ref()?;
        let bytes = self.buffers.get(buffer)?.contents.read(*at, from.surface.layout);
        Some(Expected::Bytes(checksum(&bytes), bytes))
    }

    /// Notes what memory holds now.
    fn note_written(
        &mut self,
        master: &Master,
        transfer: &Transfer,
        to: Option<&Located>,
        expected: &Option<Expected>,
        report: &TransferReport,
    ) {
        let Some(to) = to else { return };
        if report.outcome == Outcome::Aborted && report.bytes_written == 0 && master.kind != RegionKind::Cpu {
            // What was there has to be there still.
            return;
        }
        let layout = to.surface.layout;
        let Some((buffer, at)) = &to.home else {
            // A bare address may be anybody's: whatever this device can reach is not known any more.
            let regions: Vec<String> =
                self.regions_of(master).iter().map(|(name, _)| (*name).to_owned()).collect();
            for share in self.shares.values().filter(|share| regions.contains(&share.region)) {
                if let Some(buffer) = self.buffers.get_mut(&share.buffer) {
                    buffer.contents.forget(share.offset, share.len);
                }
            }
            return;
        };
        let Some(buffer) = self.buffers.get_mut(buffer) else { return };
        match (report.outcome, transfer, expected) {
            (Outcome::Completed, Transfer::Write { seed, .. }, _) => {
                buffer.contents.write_pattern(*at, layout, *seed);
            }
            (Outcome::Completed, Transfer::Copy { .. }, Some(Expected::Bytes(_, bytes))) => {
                buffer.contents.write(*at, layout, bytes);
            }
            _ => buffer.contents.forget(*at, layout.extent()),
        }
    }

    /// Lets a device do a transfer, and answers its faults.
    fn drive(
        &mut self,
        master: &Master,
        transfer: &Transfer,
        privilege: Privilege,
        name: &str,
        log: &mut Log<'_>,
    ) -> Result<TransferReport, Failure> {
        let machine = |error: vcm_platform::PlatformError| Failure::Machine(error.to_string());
        self.platform.start(master.handle, transfer, privilege).map_err(machine)?;
        loop {
            match self.platform.next_event().map_err(machine)? {
                None => {
                    return Err(Failure::Machine(format!("{} stopped without an end", master.title())));
                }
                Some(Event::Progress { done, total, .. }) => log.progress.at(name, done, total),
                Some(Event::Interrupt { .. }) => {}
                Some(Event::Fault { token, fault }) => {
                    let verdict = self.graph.handle_fault(&fault, &mut *self.platform);
                    let device = self.device_name(fault.device);
                    if let Handled::ByNobody { warn: true } = verdict.handled {
                        let what = format!("{device}: {fault}; nobody handles its faults, terminated");
                        log.warn(what);
                    }
                    log.record.faults.push(Faulted {
                        device,
                        address: format!("{:#x}", fault.address),
                        access: fault.access.to_string(),
                        reason: fault.reason.to_string(),
                        answer: verdict.answer.to_string(),
                        by: match verdict.handled {
                            Handled::ByHook => "hook".into(),
                            Handled::ByNobody { .. } => "nobody".into(),
                            Handled::Overruled => "retry limit".into(),
                            Handled::UnknownDevice => "nobody: unknown device".into(),
                        },
                        region: verdict
                            .region
                            .and_then(|region| self.graph.region(region).ok())
                            .map(|region| region.label.to_string()),
                    });
                    self.platform.answer(token, verdict.answer);
                }
                Some(Event::Completed { device, report }) if device == master.handle => {
                    self.note_transfer(device);
                    return Ok(report);
                }
                Some(Event::Completed { .. }) => {}
            }
        }
    }
}
