//! The order in which a transfer touches bytes: what the contents that a check expects are worked out from.
//!
//! This is written from the definition of [`Layout`] and shares nothing with the machines, so that each checks the
//! other.

use vcm_platform::{Layout, Rectangle, splitmix64};

/// Calls `touch` with the offset from the surface's start, and the length, of each run of bytes, in order.
pub(super) fn visit<E>(layout: Layout, mut touch: impl FnMut(u64, u64) -> Result<(), E>) -> Result<(), E> {
    match layout {
        Layout::Linear { len } => touch(0, len),
        Layout::Rectangle(picture) => block(picture, (0, 0), (picture.width, picture.height), &mut touch),
        Layout::Columns(picture) => {
            for x in 0..picture.width {
                block(picture, (x, 0), (1, picture.height), &mut touch)?;
            }
            Ok(())
        }
        Layout::Tiled { picture, tile_width, tile_height } => {
            for y in (0..picture.height).step_by(tile_height as usize) {
                for x in (0..picture.width).step_by(tile_width as usize) {
                    let size = (tile_width.min(picture.width - x), tile_height.min(picture.height - y));
                    block(picture, (x, y), size, &mut touch)?;
                }
            }
            Ok(())
        }
        Layout::Scattered { len, piece, seed } => {
            let piece = u64::from(piece);
            let count = len / piece;
            for n in 0..count {
                touch(place(n, count, seed) * piece, piece)?;
            }
            Ok(())
        }
    }
}

/// Part of a picture, row by row.
fn block<E>(
    picture: Rectangle,
    (left, top): (u32, u32),
    (width, height): (u32, u32),
    touch: &mut impl FnMut(u64, u64) -> Result<(), E>,
) -> Result<(), E> {
    let pixel = u64::from(picture.bytes_per_pixel);
    for y in top..top + height {
        touch(u64::from(y) * u64::from(picture.stride) + u64::from(left) * pixel, u64::from(width) * pixel)?;
    }
    Ok(())
}

/// The `n`-th of `0..count` in the order of `seed`: four Feistel rounds over the fewest bits, an even number of them,
/// that `count` needs, repeated while the result is outside (Black and Rogaway, "Ciphers with arbitrary finite
/// domains", 2002).
fn place(n: u64, count: u64, seed: u64) -> u64 {
    let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
    let half = bits.div_ceil(2).max(1);
    let low = (1_u64 << half) - 1;
    let mut value = n;
    loop {
        for round in 0..4 {
            let (left, right) = (value >> half, value & low);
            value = (right << half) | (left ^ (splitmix64(seed ^ round, right) & low));
        }
        if value < count {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(layout: Layout) -> Vec<u64> {
        let mut all = Vec::new();
        visit(layout, |offset, len| {
            all.extend(offset..offset + len);
            Ok::<(), ()>(())
        })
        .unwrap();
        all
    }

    const PICTURE: Rectangle = Rectangle { width: 3, height: 2, bytes_per_pixel: 2, stride: 8 };

    #[test]
    fn pictures_are_visited_by_row_column_and_tile() {
        assert_eq!(offsets(Layout::Rectangle(PICTURE)), [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]);
        assert_eq!(offsets(Layout::Columns(PICTURE)), [0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13]);
        let tiled = Layout::Tiled { picture: PICTURE, tile_width: 2, tile_height: 2 };
        assert_eq!(offsets(tiled), [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 12, 13]);
    }

    #[test]
    fn each_piece_is_visited_once() {
        for count in [1, 2, 3, 100, 257] {
            let mut all = offsets(Layout::Scattered { len: count * 8, piece: 8, seed: 5 });
            all.sort_unstable();
            assert_eq!(all, (0..count * 8).collect::<Vec<_>>());
        }
    }
}
