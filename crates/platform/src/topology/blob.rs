//! The flattened form of a device tree, read in one pass into an index of its nodes.
//!
//! Source of the format: Devicetree Specification 0.4, chapter 5 ("Flattened Devicetree (DTB) Format").
//!
//! The blob may come from anywhere. Everything is bounded: the blob's size, the depth of the tree, the length of a
//! name and of a path; nothing recurses. Names are taken as they come, printable ASCII, because trees in use break the
//! specification's limit of 31 characters for them (`snps,quirk-frame-length-adjustment` has 34).

use super::TopologyError;
use std::collections::BTreeMap;
use vcm::Span;

/// The largest blob, as in Linux for arm64 (`MAX_FDT_SIZE`).
const MAX_BLOB: usize = 2 << 20;
/// The deepest nesting, as in Linux (`FDT_MAX_DEPTH`).
const MAX_DEPTH: usize = 64;
/// The longest name of a node or property.
const MAX_NAME: usize = 255;
/// The longest path: with the blob's size it bounds the memory that reports about nodes can take.
const MAX_PATH: usize = 1024;

const MAGIC: u32 = 0xd00d_feed;
/// The version of the format that is read.
const VERSION: u32 = 17;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// A node of the index.
pub(super) struct RawNode<'b> {
    pub(super) name: &'b str,
    pub(super) parent: Option<usize>,
    /// Where its properties are in [`Blob::properties`].
    pub(super) properties: std::ops::Range<usize>,
    /// One past the index of its last descendant: nodes are in the order of the blob.
    pub(super) end: usize,
}

/// A device tree blob and the index of its nodes; node 0 is the root.
pub(super) struct Blob<'b> {
    pub(super) nodes: Vec<RawNode<'b>>,
    pub(super) properties: Vec<(&'b str, &'b [u8])>,
    /// The memory reservation block, in physical addresses.
    pub(super) reservations: Vec<Span>,
    /// Which node has which phandle.
    pub(super) phandles: BTreeMap<u32, usize>,
}

fn wrong(offset: usize, found: impl Into<String>, expected: impl Into<String>) -> TopologyError {
    TopologyError::Blob { offset, found: found.into(), expected: expected.into() }
}

/// A block of the blob, with the offset where it begins so that errors can say where they are.
struct Cursor<'b> {
    bytes: &'b [u8],
    start: usize,
    at: usize,
}

impl<'b> Cursor<'b> {
    fn block(blob: &'b [u8], what: &str, start: u32, len: usize) -> Result<Self, TopologyError> {
        let start = start as usize;
        match start.checked_add(len).and_then(|end| blob.get(start..end)) {
            Some(bytes) => Ok(Self { bytes, start, at: 0 }),
            None => Err(wrong(
                start,
                format!("the {what} block of {len:#x} bytes passes the end"),
                "blocks inside the blob",
            )),
        }
    }

    fn offset(&self) -> usize {
        self.start + self.at
    }

    fn take(&mut self, len: usize, what: &str) -> Result<&'b [u8], TopologyError> {
        match self.at.checked_add(len).and_then(|end| self.bytes.get(self.at..end)) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => Err(wrong(self.offset(), "the end of the block", format!("{what} of {len:#x} bytes"))),
        }
    }

    fn u32(&mut self, what: &str) -> Result<u32, TopologyError> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn u64(&mut self, what: &str) -> Result<u64, TopologyError> {
        Ok(u64::from(self.u32(what)?) << 32 | u64::from(self.u32(what)?))
    }

    /// A name that ends in a zero byte, with the zero taken and not returned.
    fn name(&mut self, what: &str) -> Result<&'b str, TopologyError> {
        let offset = self.offset();
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let name = &rest[..rest.iter().take(MAX_NAME + 1).position(|&byte| byte == 0).ok_or_else(|| {
            wrong(offset, format!("no end of {what}"), format!("a zero byte within {} bytes", MAX_NAME + 1))
        })?];
        self.at += name.len() + 1;
        match std::str::from_utf8(name) {
            Ok(name) if name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') => Ok(name),
            _ => Err(wrong(
                offset,
                format!("{what} {:?}", name.escape_ascii().to_string()),
                "printable ASCII without a slash",
            )),
        }
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(4);
    }
}

impl<'b> Blob<'b> {
    /// Reads a blob; bytes after its `totalsize` are ignored, as padded files have them.
    pub(super) fn read(bytes: &'b [u8]) -> Result<Self, TopologyError> {
        let mut header = Cursor::block(bytes, "header", 0, bytes.len().min(40))?;
        let magic = header.u32("the magic number")?;
        if magic != MAGIC {
            return Err(wrong(0, format!("{magic:#010x}"), format!("the magic number {MAGIC:#010x}")));
        }
        let total = header.u32("the total size")? as usize;
        if !(40..=MAX_BLOB).contains(&total) {
            return Err(wrong(
                4,
                format!("a total size of {total:#x} bytes"),
                format!("0x28 to {MAX_BLOB:#x}"),
            ));
        }
        let bytes = bytes.get(..total).ok_or_else(|| {
            wrong(4, format!("{:#x} bytes", bytes.len()), format!("{total:#x} bytes, as the header says"))
        })?;
        let structure = header.u32("the structure block's offset")?;
        let strings = header.u32("the strings block's offset")?;
        let reservations = header.u32("the reservation block's offset")?;
        let version = header.u32("the version")?;
        let compatible = header.u32("the oldest compatible version")?;
        if version < VERSION || compatible > VERSION {
            return Err(wrong(
                20,
                format!("version {version}, readable as {compatible}"),
                format!("version {VERSION}"),
            ));
        }
        let _boot_cpu = header.u32("the boot processor's id")?;
        let strings_len = header.u32("the strings block's size")? as usize;
        let structure_len = header.u32("the structure block's size")? as usize;

        let reservations_len = bytes.len().saturating_sub(reservations as usize);
        let mut reservations = Cursor::block(bytes, "memory reservation", reservations, reservations_len)?;
        let mut blob = Blob {
            nodes: Vec::new(),
            properties: Vec::new(),
            reservations: read_reservations(&mut reservations)?,
            phandles: BTreeMap::new(),
        };
        if structure % 4 != 0 {
            return Err(wrong(8, format!("the structure block at {structure:#x}"), "a multiple of 4"));
        }
        let mut structure = Cursor::block(bytes, "structure", structure, structure_len)?;
        let strings = Cursor::block(bytes, "strings", strings, strings_len)?;
        blob.read_structure(&mut structure, &strings)?;
        Ok(blob)
    }

    fn read_structure(
        &mut self,
        structure: &mut Cursor<'b>,
        strings: &Cursor<'b>,
    ) -> Result<(), TopologyError> {
        // The nodes that are open, with the length of the path that leads to each.
        let mut open: Vec<(usize, usize)> = Vec::new();
        // Whether the properties of the innermost one may still come: they precede its children.
        let mut properties_allowed = false;
        loop {
            let offset = structure.offset();
            match structure.u32("a token")? {
                BEGIN_NODE => {
                    if open.is_empty() && !self.nodes.is_empty() {
                        return Err(wrong(offset, "a second root", "the end of the structure block"));
                    }
                    let name = structure.name("a node's name")?;
                    structure.align();
                    if name.is_empty() != open.is_empty() {
                        return Err(wrong(
                            offset,
                            format!("a node named {name:?}"),
                            "a name, except for the root",
                        ));
                    }
                    let path = open.last().map_or(0, |&(_, path)| path + 1 + name.len());
                    if open.len() >= MAX_DEPTH || path > MAX_PATH {
                        let limit = format!("{MAX_DEPTH} levels at most, and paths of {MAX_PATH} bytes");
                        return Err(wrong(offset, format!("a node at depth {}", open.len()), limit));
                    }
                    let here = self.properties.len();
                    let parent = open.last().map(|&(node, _)| node);
                    open.push((self.nodes.len(), path));
                    self.nodes.push(RawNode { name, parent, properties: here..here, end: 0 });
                    properties_allowed = true;
                }
                END_NODE => {
                    let Some((node, _)) = open.pop() else {
                        return Err(wrong(offset, "the end of a node", "an open node"));
                    };
                    self.nodes[node].end = self.nodes.len();
                    properties_allowed = false;
                }
                PROPERTY => {
                    let (true, Some(&(node, _))) = (properties_allowed, open.last()) else {
                        return Err(wrong(
                            offset,
                            "a property",
                            "properties before children, and inside a node",
                        ));
                    };
                    self.read_property(node, structure, strings)?;
                }
                NOP => {}
                END if open.is_empty() && !self.nodes.is_empty() => return Ok(()),
                END => return Err(wrong(offset, "the end of the tree", "a root, and every node closed")),
                token => return Err(wrong(offset, format!("token {token:#x}"), "1, 2, 3, 4 or 9")),
            }
        }
    }

    fn read_property(
        &mut self,
        node: usize,
        structure: &mut Cursor<'b>,
        strings: &Cursor<'b>,
    ) -> Result<(), TopologyError> {
        let len = structure.u32("a property's size")? as usize;
        let name = structure.u32("a property's name")? as usize;
        let offset = structure.offset();
        let value = structure.take(len, "a property's value")?;
        structure.align();
        let name =
            Cursor { bytes: strings.bytes, start: strings.start, at: name }.name("a property's name")?;
        if name == "phandle" || name == "linux,phandle" {
            let Ok(phandle) = <[u8; 4]>::try_from(value) else {
                return Err(wrong(offset, format!("a {name} of {len} bytes"), "4 bytes"));
            };
            // A node may say it twice, in the old spelling and the new one.
            let phandle = u32::from_be_bytes(phandle);
            let earlier = self.phandles.insert(phandle, node);
            if earlier.is_some_and(|earlier| earlier != node) {
                return Err(wrong(
                    offset,
                    format!("phandle {phandle:#x} a second time"),
                    "one node for each",
                ));
            }
        }
        self.properties.push((name, value));
        self.nodes[node].properties.end = self.properties.len();
        Ok(())
    }
}

fn read_reservations(block: &mut Cursor<'_>) -> Result<Vec<Span>, TopologyError> {
    let mut reservations = Vec::new();
    loop {
        let offset = block.offset();
        let (address, size) = (block.u64("a reserved address")?, block.u64("a reserved size")?);
        if (address, size) == (0, 0) {
            return Ok(reservations);
        }
        // An entry of no bytes reserves nothing.
        if size != 0 {
            let reserved = Span::new(address, size);
            reservations.push(reserved.ok_or_else(|| {
                wrong(offset, format!("{size:#x} bytes reserved from {address:#x}"), "an end within 64 bits")
            })?);
        }
    }
}
