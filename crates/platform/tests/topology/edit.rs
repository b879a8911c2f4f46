//! Device trees to change: read by another crate's parser, so that ours is not its own judge.

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};

/// A node that owns what it has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dt {
    pub(crate) name: String,
    pub(crate) properties: Vec<(String, Vec<u8>)>,
    pub(crate) children: Vec<Dt>,
}

impl Dt {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), properties: Vec::new(), children: Vec::new() }
    }

    pub(crate) fn shipped(name: &str) -> Self {
        Self::read(vcm_platform::topology::shipped(name).unwrap())
    }

    pub(crate) fn read(blob: &[u8]) -> Self {
        Self::copy(&Fdt::new(blob).unwrap().root())
    }

    fn copy(node: &FdtNode<'_>) -> Self {
        let properties = node.properties().map(|it| (it.name().to_string(), it.value().to_vec()));
        let children = node.children().map(|child| Self::copy(&child));
        Self { name: node.name().into(), properties: properties.collect(), children: children.collect() }
    }

    pub(crate) fn at(&mut self, path: &str) -> &mut Self {
        let mut node = self;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            node = node.children.iter_mut().find(|child| child.name == name).expect(name);
        }
        node
    }

    pub(crate) fn remove(&mut self, property: &str) -> &mut Self {
        let before = self.properties.len();
        self.properties.retain(|(name, _)| name != property);
        assert!(self.properties.len() < before, "{} has no {property} to remove", self.name);
        self
    }

    pub(crate) fn set(&mut self, property: &str, value: &[u8]) -> &mut Self {
        match self.properties.iter_mut().find(|(name, _)| name == property) {
            Some((_, old)) => *old = value.to_vec(),
            None => self.properties.push((property.into(), value.to_vec())),
        }
        self
    }

    pub(crate) fn cells(&mut self, property: &str, cells: &[u32]) -> &mut Self {
        let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.set(property, &bytes)
    }

    pub(crate) fn string(&mut self, property: &str, string: &str) -> &mut Self {
        self.set(property, format!("{string}\0").as_bytes())
    }

    pub(crate) fn child(&mut self, name: &str) -> &mut Self {
        self.children.push(Self::new(name));
        self.children.last_mut().unwrap()
    }

    /// The value of `phandle`.
    pub(crate) fn phandle(&mut self) -> u32 {
        let value = &self.properties.iter().find(|(name, _)| name == "phandle").expect("a phandle").1;
        u32::from_be_bytes(value.as_slice().try_into().unwrap())
    }

    /// The paths of this node, which is at `path`, and of all below.
    pub(crate) fn paths(&self, path: &str) -> Vec<String> {
        let own = if path.is_empty() { "/".into() } else { path.into() };
        let below = self.children.iter().flat_map(|child| child.paths(&format!("{path}/{}", child.name)));
        std::iter::once(own).chain(below).collect()
    }

    pub(crate) fn blob(&self) -> Vec<u8> {
        let (mut structure, mut strings) = (Vec::new(), Vec::new());
        self.write(&mut structure, &mut strings);
        structure.extend(9u32.to_be_bytes());
        assemble(&structure, &strings)
    }

    fn write(&self, structure: &mut Vec<u8>, strings: &mut Vec<u8>) {
        structure.extend(1u32.to_be_bytes());
        structure.extend(self.name.bytes().chain([0]));
        pad(structure);
        for (name, value) in &self.properties {
            structure.extend(3u32.to_be_bytes());
            structure.extend((value.len() as u32).to_be_bytes());
            structure.extend((strings.len() as u32).to_be_bytes());
            structure.extend(value);
            strings.extend(name.bytes().chain([0]));
            pad(structure);
        }
        self.children.iter().for_each(|child| child.write(structure, strings));
        structure.extend(2u32.to_be_bytes());
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A blob of version 17 with the two blocks, and no memory reserved.
pub(crate) fn assemble(structure: &[u8], strings: &[u8]) -> Vec<u8> {
    let (header, reservations) = (40, 16);
    let at = header + reservations;
    let total = at + structure.len() + strings.len();
    let words =
        [0xd00d_feed, total, at, at + structure.len(), header, 17, 16, 0, strings.len(), structure.len()];
    let mut blob: Vec<u8> = words.iter().flat_map(|&word| (word as u32).to_be_bytes()).collect();
    blob.extend([0; 16]);
    blob.extend(structure);
    blob.extend(strings);
    blob
}
