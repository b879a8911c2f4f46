//! The order in which a master visits the bytes of a surface.

use crate::{Layout, Rectangle, Surface, splitmix64};
use std::fmt;

/// A surface that no master can visit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadSurface {
    /// A pixel has no bytes, or more than 16.
    BytesPerPixel,
    /// A row is longer than the distance between rows.
    Stride,
    /// A tile has no pixels.
    Tile,
    /// A piece has no bytes, or the range is no multiple of it.
    Piece,
    /// It is longer than a 64-bit space, or passes its end.
    Range,
}

impl fmt::Display for BadSurface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BytesPerPixel => "a pixel has 1 to 16 bytes",
            Self::Stride => "the stride is shorter than a row",
            Self::Tile => "a tile has no pixels",
            Self::Piece => "the length is no multiple of the piece",
            Self::Range => "the surface passes the end of the address space",
        })
    }
}

impl std::error::Error for BadSurface {}

impl Surface {
    /// The last address that it touches, if it touches any.
    ///
    /// # Errors
    /// [`BadSurface`]: no master can visit it.
    pub fn last_touched(&self) -> Result<Option<u64>, BadSurface> {
        check(self)
    }
}

fn check(surface: &Surface) -> Result<Option<u64>, BadSurface> {
    match surface.layout {
        Layout::Linear { .. } => {}
        Layout::Rectangle(picture) | Layout::Columns(picture) => check_picture(picture)?,
        Layout::Tiled { picture, tile_width, tile_height } => {
            check_picture(picture)?;
            if tile_width == 0 || tile_height == 0 {
                return Err(BadSurface::Tile);
            }
        }
        Layout::Scattered { len, piece, .. } => {
            if piece == 0 || !len.is_multiple_of(u64::from(piece)) {
                return Err(BadSurface::Piece);
            }
        }
    }
    if surface.layout.bytes() == 0 {
        return Ok(None);
    }
    surface.address.checked_add(surface.layout.extent() - 1).map(Some).ok_or(BadSurface::Range)
}

/// Three factors of 32, 32 and 5 bits pass 64 bits: check before anybody multiplies them.
fn check_picture(picture: Rectangle) -> Result<(), BadSurface> {
    if !(1..=16).contains(&picture.bytes_per_pixel) {
        return Err(BadSurface::BytesPerPixel);
    }
    let row = u64::from(picture.width) * u64::from(picture.bytes_per_pixel);
    if row > u64::from(picture.stride) {
        return Err(BadSurface::Stride);
    }
    Ok(())
}

/// Bytes beside each other that are visited one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The first one's address.
    pub address: u64,
    /// How many, at least one.
    pub len: u64,
}

/// Visits the bytes of a surface, run by run.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    surface: Surface,
    /// Runs given so far.
    next: u64,
    /// Runs in all.
    runs: u64,
}

impl Visit {
    /// A visit that has not begun.
    ///
    /// # Errors
    /// [`BadSurface`].
    pub fn new(surface: Surface) -> Result<Self, BadSurface> {
        check(&surface)?;
        let runs = match surface.layout {
            Layout::Linear { len } => u64::from(len > 0),
            Layout::Rectangle(picture) if picture.width > 0 => u64::from(picture.height),
            Layout::Rectangle(_) => 0,
            Layout::Columns(picture) => u64::from(picture.width) * u64::from(picture.height),
            // In every tile column, each row of the picture is visited once.
            Layout::Tiled { picture, tile_width, .. } => {
                u64::from(picture.width.div_ceil(tile_width.max(1))) * u64::from(picture.height)
            }
            Layout::Scattered { len, piece, .. } => len / u64::from(piece.max(1)),
        };
        Ok(Self { surface, next: 0, runs })
    }

    fn run(&self, n: u64) -> Run {
        let base = self.surface.address;
        let pixel = |picture: Rectangle, x: u64, y: u64| {
            base + y * u64::from(picture.stride) + x * u64::from(picture.bytes_per_pixel)
        };
        match self.surface.layout {
            Layout::Linear { len } => Run { address: base, len },
            Layout::Rectangle(picture) => Run {
                address: pixel(picture, 0, n),
                len: u64::from(picture.width) * u64::from(picture.bytes_per_pixel),
            },
            Layout::Columns(picture) => {
                let height = u64::from(picture.height);
                Run {
                    address: pixel(picture, n / height, n % height),
                    len: u64::from(picture.bytes_per_pixel),
                }
            }
            Layout::Tiled { picture, tile_width, tile_height } => {
                let (x, y) = tile_place(picture, u64::from(tile_width), u64::from(tile_height), n);
                let width = (u64::from(picture.width) - x).min(u64::from(tile_width));
                Run { address: pixel(picture, x, y), len: width * u64::from(picture.bytes_per_pixel) }
            }
            Layout::Scattered { piece, seed, .. } => {
                let piece = u64::from(piece);
                Run { address: base + permute(n, self.runs, seed) * piece, len: piece }
            }
        }
    }
}

impl Iterator for Visit {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if self.next == self.runs {
            return None;
        }
        let run = self.run(self.next);
        self.next += 1;
        Some(run)
    }
}

/// Where the `n`-th row of a tile begins, in pixels: tiles from left to right and from top to bottom, rows of a tile
/// from top to bottom. Tiles at the right and lower edges may be smaller.
fn tile_place(picture: Rectangle, tile_width: u64, tile_height: u64, n: u64) -> (u64, u64) {
    let columns = u64::from(picture.width).div_ceil(tile_width);
    let band = n / (columns * tile_height);
    let height = (u64::from(picture.height) - band * tile_height).min(tile_height);
    let inside = n - band * columns * tile_height;
    (inside / height * tile_width, band * tile_height + inside % height)
}

/// The place of `n` in an order of `0..count` that is drawn from `seed`, each once.
///
/// A Feistel network of four rounds permutes the numbers with as many bits as `count` needs (an even number of them);
/// what falls outside goes through again until it is inside (Black and Rogaway, "Ciphers with arbitrary finite
/// domains", 2002).
fn permute(n: u64, count: u64, seed: u64) -> u64 {
    let half = (64 - count.saturating_sub(1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1_u64 << half) - 1;
    let mut value = n;
    loop {
        let (mut left, mut right) = (value >> half, value & mask);
        for round in 0..4 {
            let mixed = splitmix64(seed ^ round, right) & mask;
            (left, right) = (right, left ^ mixed);
        }
        value = left << half | right;
        if value < count {
            return value;
        }
    }
}

/// Cuts the runs of a visit into bursts: at most so many bytes, within one 4 KiB page.
#[derive(Clone, Copy, Debug)]
pub struct Bursts {
    visit: Visit,
    rest: Option<Run>,
}

impl Bursts {
    /// Of a visit that has not begun.
    ///
    /// # Errors
    /// [`BadSurface`].
    pub fn new(surface: Surface) -> Result<Self, BadSurface> {
        Ok(Self { visit: Visit::new(surface)?, rest: None })
    }

    /// The next burst of at most `most` bytes (at least one).
    pub fn next(&mut self, most: u64) -> Option<Run> {
        let run = match self.rest.take() {
            Some(run) => run,
            None => self.visit.next()?,
        };
        let len = run.len.min(most.max(1)).min(0x1000 - (run.address & 0xfff));
        if len < run.len {
            self.rest = Some(Run { address: run.address + len, len: run.len - len });
        }
        Some(Run { address: run.address, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(layout: Layout) -> Vec<u64> {
        let surface = Surface { address: 0x1000, layout };
        Visit::new(surface).unwrap().flat_map(|run| run.address..run.address + run.len).collect()
    }

    const PICTURE: Rectangle = Rectangle { width: 7, height: 5, bytes_per_pixel: 3, stride: 25 };

    fn pixels(order: impl Iterator<Item = (u64, u64)>) -> Vec<u64> {
        order.flat_map(|(x, y)| (0..3).map(move |byte| 0x1000 + 25 * y + 3 * x + byte)).collect()
    }

    #[test]
    fn each_layout_visits_what_a_plain_loop_does() {
        let rows = pixels((0..5).flat_map(|y| (0..7).map(move |x| (x, y))));
        assert_eq!(bytes(Layout::Rectangle(PICTURE)), rows);
        let columns = pixels((0..7).flat_map(|x| (0..5).map(move |y| (x, y))));
        assert_eq!(bytes(Layout::Columns(PICTURE)), columns);
        let mut tiles = Vec::new();
        for top in [0, 2, 4] {
            for left in [0, 4] {
                for y in top..(top + 2).min(5) {
                    for x in left..(left + 4).min(7) {
                        tiles.push((x, y));
                    }
                }
            }
        }
        let tiled = Layout::Tiled { picture: PICTURE, tile_width: 4, tile_height: 2 };
        assert_eq!(bytes(tiled), pixels(tiles.into_iter()));
        assert_eq!(bytes(Layout::Linear { len: 3 }), [0x1000, 0x1001, 0x1002]);
    }

    #[test]
    fn pieces_are_visited_once_each_in_an_order_of_the_seed() {
        let order = |seed| bytes(Layout::Scattered { len: 1000, piece: 8, seed });
        let mut sorted = order(1);
        assert_ne!(order(1), order(2));
        assert_eq!(order(1), order(1));
        sorted.sort_unstable();
        assert_eq!(sorted, (0x1000..0x1000 + 1000).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_visited_of_nothing() {
        for layout in [
            Layout::Linear { len: 0 },
            Layout::Rectangle(Rectangle { width: 0, ..PICTURE }),
            Layout::Columns(Rectangle { height: 0, ..PICTURE }),
            Layout::Tiled { picture: Rectangle { height: 0, ..PICTURE }, tile_width: 9, tile_height: 9 },
            Layout::Scattered { len: 0, piece: 1, seed: 0 },
        ] {
            assert_eq!(bytes(layout), []);
        }
    }

    #[test]
    fn what_cannot_be_visited_is_refused() {
        let check = |address, layout| super::check(&Surface { address, layout });
        let tiled = |tile_width| Layout::Tiled { picture: PICTURE, tile_width, tile_height: 1 };
        assert_eq!(check(0, tiled(0)), Err(BadSurface::Tile));
        assert_eq!(check(0, Layout::Columns(Rectangle { stride: 20, ..PICTURE })), Err(BadSurface::Stride));
        assert_eq!(
            check(0, Layout::Rectangle(Rectangle { bytes_per_pixel: 0, ..PICTURE })),
            Err(BadSurface::BytesPerPixel)
        );
        let huge = Rectangle { width: u32::MAX, height: u32::MAX, bytes_per_pixel: 16, stride: u32::MAX };
        assert_eq!(check(0, Layout::Rectangle(huge)), Err(BadSurface::Stride));
        assert_eq!(check(0, Layout::Scattered { len: 9, piece: 2, seed: 0 }), Err(BadSurface::Piece));
        assert_eq!(check(u64::MAX, Layout::Linear { len: 2 }), Err(BadSurface::Range));
        assert_eq!(check(u64::MAX, Layout::Linear { len: 1 }), Ok(Some(u64::MAX)));
    }

    #[test]
    fn bursts_stay_within_their_length_and_their_page() {
        let mut bursts =
            Bursts::new(Surface { address: 0x1fe0, layout: Layout::Linear { len: 0x80 } }).unwrap();
        let mut all = Vec::new();
        while let Some(run) = bursts.next(64) {
            all.push((run.address, run.len));
        }
        assert_eq!(all, [(0x1fe0, 0x20), (0x2000, 0x40), (0x2040, 0x20)]);
    }
}
