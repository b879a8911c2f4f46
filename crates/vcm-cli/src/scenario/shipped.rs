//! The scenarios that come with the program.

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        /// Name and text; each lies in the repository's folder `scenarios`.
        const SHIPPED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../../scenarios/", $name, ".toml")))),*];
    };
}

shipped! {
    "walkthrough",
    "three-mappings",
    "video-pipeline",
    "context-switch",
    "split",
    "faults",
    "permissions",
    "block-sizes",
    "alias",
    "virtual-machine",
    "forward",
    "unforward-live",
    "kill",
    "storm",
}

/// The text of the shipped scenario with this name.
pub fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of the shipped scenarios, in the order in which to read them.
pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}
