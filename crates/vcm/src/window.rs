//! Windows of addresses that a device must never be given.

use crate::Span;
use crate::bound::Bound;
use crate::error::Error;
use crate::id::DeviceId;
use crate::range::{RangeKey, Ranges};
use crate::region::{Occupant, PAGE, Region};
use crate::storage::{Key, List};

/// A window that was taken out of the region, or of one of its bounds.
#[derive(Clone, Copy)]
pub(crate) enum Window {
    Region(RangeKey),
    Bound(Key<Bound>, RangeKey),
}

pub(crate) fn remove_window(region: &mut Region, window: Window) {
    match window {
        Window::Region(range) => {
            region.ranges.remove(range);
        }
        Window::Bound(bound, range) => {
            if let Some(bound) = region.bounds.get_mut(bound) {
                bound.ranges.remove(range);
            }
        }
    }
}

/// Takes a device's reserved windows out of the region's addresses; they stay out for the region's life.
pub(crate) fn keep_out(
    region: &mut Region,
    device: DeviceId,
    reserved: &[Span],
) -> Result<List<Window>, Error> {
    let mut kept = List::new();
    for asked in reserved {
        // Reservations are whole pages: a window keeps every page out that it touches.
        let first = asked.first() & !(PAGE - 1);
        let last = asked.last() | (PAGE - 1);
        let Some(window) =
            Span::inclusive(first, last).and_then(|touched| touched.intersection(region.usable))
        else {
            continue;
        };
        if let Err(error) = keep_window_out(region, device, window, &mut kept) {
            for window in &kept {
                remove_window(region, *window);
            }
            return Err(error);
        }
    }
    Ok(kept)
}

fn keep_window_out(
    region: &mut Region,
    device: DeviceId,
    window: Span,
    kept: &mut List<Window>,
) -> Result<(), Error> {
    if let Some(key) = region.reservations_in(window).next() {
        return Err(Error::InReservedWindow { reservation: region.reservation_id(key), device, window });
    }
    occupy_gaps(&mut region.ranges, window, kept, Window::Region)?;
    // A bound hands out its addresses itself.
    for (key, bound) in region.bounds.iter_mut() {
        if let Some(part) = bound.span.intersection(window) {
            occupy_gaps(&mut bound.ranges, part, kept, |range| Window::Bound(key, range))?;
        }
    }
    Ok(())
}

/// Occupies what is free of `window`.
fn occupy_gaps(
    ranges: &mut Ranges<Occupant>,
    window: Span,
    kept: &mut List<Window>,
    wrap: impl Fn(RangeKey) -> Window,
) -> Result<(), Error> {
    let mut at = window.first();
    while let Some(rest) = Span::inclusive(at, window.last()) {
        let next = ranges.overlapping(rest).next().map(|(_, span, _)| span);
        let gap = match next {
            None => Some(rest),
            Some(span) => span.first().checked_sub(1).and_then(|end| Span::inclusive(at, end)),
        };
        if let Some(gap) = gap {
            kept.reserve(1)?;
            let place = ranges.place_at(gap, Occupant::ReservedWindow);
            kept.push_reserved(wrap(place.map_err(|_| crate::OutOfMemory)?));
        }
        match next.and_then(|span| span.last().checked_add(1)) {
            Some(after) => at = after,
            None => return Ok(()),
        }
    }
    Ok(())
}
