//! What the tests of the graph share. Each test binary uses its own part of it.
#![allow(dead_code)]

pub(crate) mod allocator;
pub(crate) mod compare;
pub(crate) mod dump;
pub(crate) mod formats;
pub(crate) mod machine;
pub(crate) mod model;
pub(crate) mod steps;
pub(crate) mod world;
