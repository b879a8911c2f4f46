//! What devices wrote to.

use crate::Error;
use vcm::Span;

/// One bit for each page of a span of addresses: whether a device wrote to it.
///
/// Bits are only ever added by reading ([`Hwpt::read_dirty`](super::Hwpt::read_dirty)); [`DirtyBitmap::clear`] takes them away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirtyBitmap {
    span: Span,
    page: u64,
    words: Vec<u64>,
}

impl DirtyBitmap {
    /// A bitmap without a bit set, for pages of `page` bytes (a power of two) of `span`, which is made of whole pages.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not, or when there is no memory for so many bits.
    pub fn new(span: Span, page: u64) -> Result<Self, Error> {
        let what = || format!("a bitmap for pages of {page:#x} bytes of {span}");
        if !page.is_power_of_two() {
            return Err(Error::argument(what(), "the size of a page is a power of two"));
        }
        if !span.is_aligned(page) {
            return Err(Error::argument(what(), "it is not made of whole pages"));
        }
        let pages = span.len() / u128::from(page);
        let count =
            usize::try_from(pages.div_ceil(64)).map_err(|_| Error::argument(what(), "it is too long"))?;
        let mut words = Vec::new();
        words.try_reserve_exact(count).map_err(|_| Error::argument(what(), "there is no memory for it"))?;
        words.resize(count, 0);
        Ok(Self { span, page, words })
    }

    /// The addresses.
    pub const fn span(&self) -> Span {
        self.span
    }

    /// The size of a page in bytes.
    pub const fn page(&self) -> u64 {
        self.page
    }

    /// Takes all bits away.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Sets all bits: all may have been written to, say because nobody took note for a while.
    pub fn mark_all(&mut self) {
        self.words.fill(u64::MAX);
        let pages = self.span.len() / u128::from(self.page);
        if let Some(last) = self.words.last_mut().filter(|_| !pages.is_multiple_of(64)) {
            *last = (1 << (pages % 64)) - 1;
        }
    }

    /// Whether the page with `address` was written to. Pages outside of the span were not, as far as is known here.
    pub fn is_dirty(&self, address: u64) -> bool {
        if !self.span.contains(address) {
            return false;
        }
        let index = (address - self.span.first()) / self.page;
        // The address is in the span, so that the index is one of a page.
        self.words[(index / 64) as usize] >> (index % 64) & 1 == 1
    }

    /// The number of pages that were written to.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The pages that were written to, as runs of neighbours, in order.
    pub fn runs(&self) -> impl Iterator<Item = Span> {
        let mut next = Some(self.span.first());
        std::iter::from_fn(move || {
            let first = self.from(next?, |dirty| dirty)?;
            let end = self.from(first, |dirty| !dirty);
            next = end;
            Span::inclusive(first, end.map_or(self.span.last(), |end| end - 1))
        })
    }

    /// The first page from `address` on that is as `wanted`. Words without such a page are passed over whole.
    fn from(&self, address: u64, wanted: impl Fn(bool) -> bool) -> Option<u64> {
        let pages = (self.span.len() / u128::from(self.page)) as u64;
        let flip = if wanted(true) { 0 } else { u64::MAX };
        let mut index = (address - self.span.first()) / self.page;
        while index < pages {
            let rest = (self.words[(index / 64) as usize] ^ flip) >> (index % 64);
            if rest != 0 {
                index += u64::from(rest.trailing_zeros());
                return (index < pages).then(|| self.span.first() + index * self.page);
            }
            index = (index / 64 + 1) * 64;
        }
        None
    }

    /// The bits, the first page's in the lowest of the first word.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 0x1000;

    fn bitmap(pages: u64, dirty: &[u64]) -> DirtyBitmap {
        let mut bitmap = DirtyBitmap::new(Span::new(0x10_0000, pages * PAGE).unwrap(), PAGE).unwrap();
        for page in dirty {
            bitmap.words_mut()[(page / 64) as usize] |= 1 << (page % 64);
        }
        bitmap
    }

    #[test]
    fn the_geometry_is_checked() {
        let span = Span::new(0x1000, 0x3000).unwrap();
        assert!(DirtyBitmap::new(span, 0).is_err());
        assert!(DirtyBitmap::new(span, 0x1800).is_err());
        assert!(DirtyBitmap::new(span, 0x2000).is_err(), "it begins inside a page");
        assert!(DirtyBitmap::new(Span::ALL, 1).is_err(), "2^64 bits");
        assert_eq!(DirtyBitmap::new(span, 0x1000).unwrap().words().len(), 1);
        assert_eq!(bitmap(65, &[]).words().len(), 2);
    }

    #[test]
    fn runs_are_what_the_bits_say() {
        for pages in [1, 63, 64, 65, 200] {
            for dirty in
                [vec![], vec![0], (0..pages).collect(), (0..pages).step_by(2).collect(), vec![pages - 1]]
            {
                let bitmap = bitmap(pages, &dirty);
                let from_runs: Vec<u64> = bitmap
                    .runs()
                    .flat_map(|run| (run.first()..=run.last()).step_by(PAGE as usize))
                    .map(|address| (address - 0x10_0000) / PAGE)
                    .collect();
                assert_eq!(from_runs, dirty, "{pages} pages");
                assert_eq!(bitmap.count(), dirty.len() as u64);
                for page in 0..pages {
                    assert_eq!(bitmap.is_dirty(0x10_0000 + page * PAGE + 5), dirty.contains(&page));
                }
            }
        }
    }

    #[test]
    fn nothing_outside_of_the_span_is_dirty() {
        let mut bitmap = bitmap(4, &[0, 1, 2, 3]);
        assert!(!bitmap.is_dirty(0) && !bitmap.is_dirty(0x10_4000) && !bitmap.is_dirty(u64::MAX));
        assert_eq!(bitmap.runs().count(), 1);
        bitmap.clear();
        assert_eq!(bitmap.count(), 0);
    }

    #[test]
    fn all_pages_can_be_marked_and_no_more() {
        for pages in [1, 63, 64, 65, 128] {
            let mut bitmap = bitmap(pages, &[]);
            bitmap.mark_all();
            assert_eq!(bitmap.count(), pages);
        }
    }

    #[test]
    fn the_last_page_of_the_space_has_a_bit() {
        let mut bitmap =
            DirtyBitmap::new(Span::inclusive(u64::MAX - 0x1fff, u64::MAX).unwrap(), PAGE).unwrap();
        bitmap.words_mut()[0] = 0b10;
        assert!(bitmap.is_dirty(u64::MAX));
        assert_eq!(bitmap.runs().collect::<Vec<_>>(), [Span::inclusive(u64::MAX - 0xfff, u64::MAX).unwrap()]);
    }
}
