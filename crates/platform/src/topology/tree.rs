//! Nodes and the values of their properties.

use super::TopologyError;
use super::blob::Blob;

/// The largest value that is taken for strings: with it, looking at `compatible` stays cheap in any tree.
const MAX_STRINGS: usize = 4 << 10;

/// A node of a device tree.
#[derive(Clone, Copy)]
pub(super) struct Node<'t> {
    blob: &'t Blob<'t>,
    index: usize,
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}

impl<'t> Node<'t> {
    pub(super) fn root(blob: &'t Blob<'t>) -> Self {
        Self::at(blob, 0)
    }

    /// Every node of the tree, in the order of the blob: parents before children.
    pub(super) fn all(blob: &'t Blob<'t>) -> impl Iterator<Item = Self> {
        (0..blob.nodes.len()).map(move |index| Self::at(blob, index))
    }

    /// The node with the number that [`Node::index`] gave.
    pub(super) fn at(blob: &'t Blob<'t>, index: usize) -> Self {
        Self { blob, index }
    }

    /// The node with `phandle`.
    pub(super) fn by_phandle(self, phandle: u32) -> Option<Self> {
        Some(Self::at(self.blob, *self.blob.phandles.get(&phandle)?))
    }

    /// A number that tells it from the other nodes of its tree.
    pub(super) fn index(self) -> usize {
        self.index
    }

    pub(super) fn name(self) -> &'t str {
        self.blob.nodes[self.index].name
    }

    pub(super) fn parent(self) -> Option<Self> {
        Some(Self::at(self.blob, self.blob.nodes[self.index].parent?))
    }

    pub(super) fn path(self) -> String {
        let mut names = Vec::new();
        let mut node = self;
        while let Some(parent) = node.parent() {
            names.push(node.name());
            node = parent;
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }

    /// Its children, in the order of the blob.
    pub(super) fn children(self) -> impl Iterator<Item = Self> {
        let nodes = &self.blob.nodes;
        let end = nodes[self.index].end;
        let mut next = self.index + 1;
        std::iter::from_fn(move || {
            let index = next;
            next = nodes.get(index).filter(|_| index < end)?.end;
            Some(Self::at(self.blob, index))
        })
    }

    /// The value of a property; an empty one for a property that is only there or not.
    pub(super) fn property(self, name: &str) -> Option<&'t [u8]> {
        let range = self.blob.nodes[self.index].properties.clone();
        self.blob.properties[range].iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.property(name).is_some()
    }

    /// A property of one cell.
    pub(super) fn cell(self, name: &str) -> Result<Option<u32>, TopologyError> {
        match self.cells(name)?.as_deref() {
            None => Ok(None),
            Some([cell]) => Ok(Some(*cell)),
            Some(cells) => Err(self.wrong(name, format!("{} cells", cells.len()), "one")),
        }
    }

    /// A property of any number of cells: 32 bits each, the most significant byte first.
    pub(super) fn cells(self, name: &str) -> Result<Option<Vec<u32>>, TopologyError> {
        let Some(value) = self.property(name) else { return Ok(None) };
        let (cells, rest) = value.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(self.wrong(name, format!("{} bytes", value.len()), "cells of 4 bytes each"));
        }
        Ok(Some(cells.iter().map(|cell| u32::from_be_bytes(*cell)).collect()))
    }

    /// A property of strings that each end in a zero byte; none when the property is absent.
    pub(super) fn strings(self, name: &str) -> Result<Vec<&'t str>, TopologyError> {
        let Some(value) = self.property(name) else { return Ok(Vec::new()) };
        let text = std::str::from_utf8(value).ok().filter(|text| text.is_empty() || text.ends_with('\0'));
        let text = text.filter(|text| text.len() <= MAX_STRINGS).ok_or_else(|| {
            let expected = format!("strings that each end in a zero byte, {MAX_STRINGS} bytes at most");
            self.wrong(name, format!("{} bytes", value.len()), expected)
        })?;
        Ok(text.split_terminator('\0').collect())
    }

    /// A property of one string.
    pub(super) fn string(self, name: &str) -> Result<Option<&'t str>, TopologyError> {
        match self.strings(name)?.as_slice() {
            [] if !self.has(name) => Ok(None),
            [string] if !string.is_empty() => Ok(Some(string)),
            strings => Err(self.wrong(name, format!("{} strings", strings.len()), "one that is not empty")),
        }
    }

    pub(super) fn compatible(self) -> Result<Vec<String>, TopologyError> {
        Ok(self.strings("compatible")?.into_iter().map(String::from).collect())
    }

    /// The outermost disabled node from the root down to this one: a disabled bus disables all on it.
    ///
    /// Source: Devicetree Specification 0.4, 2.3.4 `status`; absent means "okay".
    pub(super) fn disabled_by(self) -> Result<Option<Self>, TopologyError> {
        let mut disabled = None;
        let mut next = Some(self);
        while let Some(node) = next {
            if !matches!(node.string("status")?, None | Some("okay" | "ok")) {
                disabled = Some(node);
            }
            next = node.parent();
        }
        Ok(disabled)
    }

    /// Whether DMA of this node sees what is in the processors' caches. The nearest node that says so counts, from this
    /// one up (Linux of_dma_is_coherent); nobody saying so is a no.
    pub(super) fn dma_coherent(self) -> bool {
        let mut next = Some(self);
        while let Some(node) = next {
            if node.has("dma-coherent") {
                return true;
            }
            if node.has("dma-noncoherent") {
                return false;
            }
            next = node.parent();
        }
        false
    }

    /// The error that this node's property says something that cannot be.
    pub(super) fn wrong(
        self,
        property: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> TopologyError {
        TopologyError::Node {
            path: self.path(),
            property: Some(property.into()),
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// The error that this node itself cannot be.
    pub(super) fn impossible(self, found: impl Into<String>, expected: impl Into<String>) -> TopologyError {
        TopologyError::Node {
            path: self.path(),
            property: None,
            found: found.into(),
            expected: expected.into(),
        }
    }
}
