//! What people look at: summary, pictures, report.

mod chart;
mod dot;
mod escape;
mod interrupt_bars;
mod interrupt_layers;
mod picture;
mod report;
mod summary;
mod svg;

pub use dot::dot;
pub use escape::escape;
pub use interrupt_bars::interrupt_bars;
pub use interrupt_layers::interrupt_layers;
pub use picture::picture;
pub use report::report;
pub(crate) use summary::printable;
pub use summary::{Style, summary};
pub use svg::svg;
