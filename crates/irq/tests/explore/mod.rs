//! A machine in which everything can be seen, and things happen in the order that is asked for.

pub(crate) mod action;
pub(crate) mod architecture;
pub(crate) mod fair;
pub(crate) mod guest;
pub(crate) mod hardware;
pub(crate) mod rig;
pub(crate) mod search;
pub(crate) mod world;
