//! What is kept aside while a tree is read: what was passed over, and which names are taken.

use super::tree::Node;
use super::{PassedOver, TopologyError};
use std::collections::BTreeSet;

/// The most entries that the list of what was passed over has, so that no tree can make it grow without end.
const MAX_PASSED_OVER: usize = 4096;

/// What was passed over.
#[derive(Default)]
pub(super) struct Notes {
    passed_over: Vec<PassedOver>,
    more: usize,
}

impl Notes {
    pub(super) fn pass_over(&mut self, node: Node<'_>, reason: impl Into<String>) {
        if self.passed_over.len() < MAX_PASSED_OVER {
            self.passed_over.push(PassedOver { path: node.path(), reason: reason.into() });
        } else {
            self.more += 1;
        }
    }

    /// Whether `node` counts; notes it where it or what it is on is disabled.
    pub(super) fn enabled(&mut self, node: Node<'_>) -> Result<bool, TopologyError> {
        match node.disabled_by()? {
            None => return Ok(true),
            Some(disabled) if disabled == node => self.pass_over(node, "it is disabled"),
            Some(disabled) => self.pass_over(node, format!("{} is disabled", disabled.path())),
        }
        Ok(false)
    }

    pub(super) fn finish(mut self) -> Vec<PassedOver> {
        if self.more > 0 {
            self.passed_over.push(PassedOver { path: "/".into(), reason: format!("and {} more", self.more) });
        }
        self.passed_over
    }
}

/// The names that are taken, so that none is given twice.
#[derive(Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// The `label` of `node`, which must be its own; without one, as for a node without a label.
    pub(super) fn label(&mut self, node: Node<'_>) -> Result<String, TopologyError> {
        match node.string("label")? {
            Some(label) => self.claim(node, label.into()),
            None => Ok(self.node_name(node)),
        }
    }

    /// `name`, for `node` and nothing else.
    pub(super) fn claim(&mut self, node: Node<'_>, name: String) -> Result<String, TopologyError> {
        if !self.0.insert(name.clone()) {
            return Err(node.impossible(format!("the name {name:?} a second time"), "a name of its own"));
        }
        Ok(name)
    }

    /// The name of `node`, or its path where another has that name: unit addresses are unique on one bus only.
    pub(super) fn node_name(&mut self, node: Node<'_>) -> String {
        let name = if self.0.contains(node.name()) { node.path() } else { node.name().into() };
        self.0.insert(name.clone());
        name
    }
}
