//! The same through the kernel's driver.

use crate::world::pattern;
use crate::{Outcome, PAGE, timed};
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Duration;

/// Past the kernel's caches, writes and reads so many parts of a disk, with a thread each.
pub(crate) fn by_the_kernel(disk: &str, count: usize, part: u64) -> Outcome<(Duration, Duration)> {
    let direct = OFlags::DIRECT.bits() as i32;
    let file = OpenOptions::new().read(true).write(true).custom_flags(direct).open(disk);
    let file = file.map_err(|error| format!("{disk}: {error}"))?;
    // Memory for it begins at a page.
    let mut buffers: Vec<Vec<u8>> = vec![vec![0; (part + PAGE) as usize]; count];
    let aligned = |buffer: &mut Vec<u8>| buffer.as_ptr().align_offset(PAGE as usize);
    for (number, buffer) in (0..).zip(&mut buffers) {
        let start = aligned(buffer);
        pattern(number * part, &mut buffer[start..][..part as usize]);
    }
    let written = timed(&mut buffers, |number, buffer| {
        let start = aligned(buffer);
        file.write_all_at(&buffer[start..][..part as usize], number * part)?;
        Ok(file.sync_data()?)
    })?;
    buffers.iter_mut().for_each(|buffer| buffer.fill(0));
    let read = timed(&mut buffers, |number, buffer| {
        let start = aligned(buffer);
        Ok(file.read_exact_at(&mut buffer[start..][..part as usize], number * part)?)
    })?;
    let mut expected = vec![0; part as usize];
    for (number, buffer) in (0..).zip(&mut buffers) {
        let start = aligned(buffer);
        pattern(number * part, &mut expected);
        if buffer[start..][..part as usize] != expected {
            return Err(format!("{disk} gives other bytes than it was given").into());
        }
    }
    Ok((written, read))
}
