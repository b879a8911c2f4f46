//! What people look at: summary, pictures, report.

mod chart;
mod dot;
mod escape;
mod picture;
mod report;
mod summary;
mod svg;

pub use dot::dot;
pub use escape::escape;
pub use picture::picture;
pub use report::report;
pub(crate) use summary::printable;
pub use summary::{Style, summary};
pub use svg::svg;
