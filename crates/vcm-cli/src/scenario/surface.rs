//! Reading surfaces: where the bytes of a transfer are, and in which order they are visited.

use super::model::{Base, SurfaceSpec};
use super::table::{Table, TextOrTable};
use crate::problem::Problem;
use vcm_platform::{Layout, Rectangle};

/// No transfer is longer than this, in bytes: a slip of the pen must not keep the machine busy for days.
pub const LONGEST: u64 = 1 << 32;

/// The surface under `key`: a buffer's name for all of it, or a table.
///
/// # Errors
/// It is not there, or says what cannot be.
pub(super) fn surface(table: &mut Table<'_>, key: &'static str) -> Result<SurfaceSpec, Problem> {
    match table.text_or_table(key)? {
        None => Err(table.missing(key)),
        Some(TextOrTable::Text(name)) => {
            Ok(SurfaceSpec { place: name.place.clone(), base: Base::In(name, 0), layout: None })
        }
        Some(TextOrTable::Table(mut inner)) => {
            let layout = layout(&mut inner)?;
            let base = match inner.number("address")? {
                Some(address) => {
                    if inner.has("buffer") || inner.has("offset") {
                        return Err(inner.problem("address", "a bare address goes without buffer and offset"));
                    }
                    let Some(layout) = layout else { return Err(inner.missing("len")) };
                    if address.checked_add(layout.extent()).is_none() {
                        return Err(
                            inner.problem("address", "the surface passes the end of the 64-bit space")
                        );
                    }
                    Base::Address(address)
                }
                None => {
                    let buffer = inner.required_text("buffer")?;
                    Base::In(buffer, inner.number("offset")?.unwrap_or(0))
                }
            };
            let place = inner.place().clone();
            inner.finish()?;
            Ok(SurfaceSpec { place, base, layout })
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Linear,
    Rectangle,
    Columns,
    Tiled,
    Scattered,
}

/// The layout that a table's keys describe. `None` when it says nothing: all of the buffer, linear.
///
/// # Errors
/// A key is missing, or the layout cannot be.
pub(super) fn layout(table: &mut Table<'_>) -> Result<Option<Layout>, Problem> {
    let words = [
        ("linear", Kind::Linear),
        ("rectangle", Kind::Rectangle),
        ("columns", Kind::Columns),
        ("tiled", Kind::Tiled),
        ("scattered", Kind::Scattered),
    ];
    let layout = match table.choice("layout", &words)?.unwrap_or(Kind::Linear) {
        Kind::Linear => match table.number("len")? {
            None => return Ok(None),
            Some(len) => Layout::Linear { len },
        },
        Kind::Rectangle => Layout::Rectangle(rectangle(table)?),
        Kind::Columns => Layout::Columns(rectangle(table)?),
        Kind::Tiled => {
            let picture = rectangle(table)?;
            let sides = table.numbers("tile")?.ok_or_else(|| table.missing("tile"))?;
            let side = |n: usize| sides.get(n).and_then(|side| u32::try_from(*side).ok());
            match (side(0), side(1), sides.len()) {
                (Some(tile_width @ 1..), Some(tile_height @ 1..), 2) => {
                    Layout::Tiled { picture, tile_width, tile_height }
                }
                _ => {
                    let what = "a tile is [pixels in a row, rows], both at least 1";
                    return Err(table.problem("tile", what));
                }
            }
        }
        Kind::Scattered => {
            let len = table.required_number("len")?;
            let piece = table.small("piece")?.unwrap_or(64);
            if piece == 0 || !len.is_multiple_of(u64::from(piece)) {
                return Err(table.problem("piece", format!("{len} bytes are no whole number of such pieces")));
            }
            Layout::Scattered { len, piece, seed: table.number("order")?.unwrap_or(0) }
        }
    };
    if layout.bytes() == 0 || layout.bytes() > LONGEST || layout.extent() > LONGEST {
        let what = format!("a surface has from 1 byte to 4G, not {}", layout.bytes());
        return Err(Problem::at(table.place(), what));
    }
    Ok(Some(layout))
}

fn rectangle(table: &mut Table<'_>) -> Result<Rectangle, Problem> {
    let width = table.small("width")?.ok_or_else(|| table.missing("width"))?;
    let height = table.small("height")?.ok_or_else(|| table.missing("height"))?;
    let bytes_per_pixel = table.small("pixel")?.unwrap_or(1);
    if !(1..=16).contains(&bytes_per_pixel) {
        return Err(table.problem("pixel", "a pixel has 1 to 16 bytes"));
    }
    let row = u64::from(width) * u64::from(bytes_per_pixel);
    let stride =
        u64::from(table.small("stride")?.unwrap_or(0)).max(if table.has("stride") { 0 } else { row });
    if stride < row {
        return Err(table.problem("stride", format!("a row has {row} bytes, more than this")));
    }
    // A row and the number of rows are checked one by one, so that the products fit.
    let Ok(stride) = u32::try_from(stride) else {
        return Err(table.problem("width", "a row is longer than 4G"));
    };
    if u64::from(height).checked_mul(u64::from(stride)).is_none_or(|bytes| bytes > LONGEST) {
        return Err(table.problem("height", "a picture is longer than 4G"));
    }
    Ok(Rectangle { width, height, bytes_per_pixel, stride })
}
