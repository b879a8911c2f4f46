//! What can be wrong with a device tree.

use thiserror::Error;

/// Why a device tree has no topology: where it is wrong, what is there and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TopologyError {
    /// The bytes are not a flattened device tree, or not a whole one.
    #[error("not a device tree: at byte {offset:#x}: {found}, expected {expected}")]
    Blob {
        /// How many bytes into the blob the trouble is.
        offset: usize,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// A node says something that cannot be.
    #[error("{path}: {}{found}, expected {expected}", property.as_ref().map(|name| format!("{name}: ")).unwrap_or_default())]
    Node {
        /// The path of the node.
        path: String,
        /// The property at fault, where it is one.
        property: Option<String>,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
}
