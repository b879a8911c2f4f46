//! Memory at its real addresses, for devices without an IOMMU.

use super::Linux;
use super::request::MemorySpec;
use super::start::page_len;
use crate::Error;
use crate::memory::{MemoryRequest, PageKind, physical_spans};
use std::sync::Arc;
use vcm::{PhysicalAddress, Span};
use vcm_platform::MemoryDescription;

impl Linux {
    /// Sets a memory aside, a file for each of its huge pages, and gives each the window where it is on the bus. The longest
    /// stretch of them has the memory's name; what is elsewhere is another memory, `ram.1` and so on.
    ///
    /// # Errors
    /// It is not of huge pages, there are too few of them, or this process may not know where they are.
    pub(super) fn add_physical(&mut self, memory: &MemorySpec) -> Result<(), Error> {
        let page = page_len(memory.pages);
        if !matches!(memory.pages, PageKind::Huge2M | PageKind::Huge1G) || !memory.len.is_multiple_of(page) {
            return Err(Error::argument(
                format!("memory `{}` of {:#x} bytes", memory.name, memory.len),
                "a device without an IOMMU needs memory that stays where it is: whole huge pages (`pages = \"2M\"`)",
            ));
        }
        let mut spans = Vec::new();
        for _ in 0..memory.len / page {
            let file = MemoryRequest::new(&memory.name, page).pages(memory.pages).create()?;
            for span in physical_spans(&file)? {
                spans.push((span, PhysicalAddress::new(span.first())));
            }
            let Some((_, at)) = spans.last() else { continue };
            self.memory.add_at(*at, Arc::new(file))?;
        }
        let mut stretches = join(spans.into_iter().map(|(span, _)| span).collect());
        stretches.sort_by_key(|span| std::cmp::Reverse(span.len()));
        for (number, span) in stretches.into_iter().enumerate() {
            let name = if number == 0 { memory.name.clone() } else { format!("{}.{number}", memory.name) };
            self.page_lens.push((span, page));
            self.memories.push(MemoryDescription { name, span });
        }
        Ok(())
    }
}

/// The stretches that pages beside each other make.
fn join(mut pages: Vec<Span>) -> Vec<Span> {
    pages.sort_by_key(|page| page.first());
    let mut stretches: Vec<Span> = Vec::new();
    for page in pages {
        let joined = stretches.last().and_then(|last| {
            let beside = last.last().checked_add(1) == Some(page.first());
            beside.then(|| Span::inclusive(last.first(), page.last())).flatten()
        });
        match (joined, stretches.last_mut()) {
            (Some(joined), Some(last)) => *last = joined,
            _ => stretches.push(page),
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_beside_each_other_are_one_stretch() {
        let page = |number: u64| Span::new(number * 0x20_0000, 0x20_0000).unwrap();
        let stretches = join(vec![page(7), page(2), page(3), page(9), page(8)]);
        let found: Vec<(u64, u128)> =
            stretches.iter().map(|span| (span.first() / 0x20_0000, span.len() / 0x20_0000)).collect();
        assert_eq!(found, [(2, 2), (7, 3)]);
        assert!(join(Vec::new()).is_empty());
    }
}
