//! Every committed blob is what the device tree compiler makes of its source.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Set to 1 where the device tree compiler cannot be had.
const WITHOUT: &str = "VCM_WITHOUT_DTC";

fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.join("device-trees"), root.join("tests/topology")];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "dts")).collect()
}

#[test]
fn committed_blobs_are_what_dtc_makes_of_their_sources() {
    if std::env::var(WITHOUT).as_deref() == Ok("1") {
        println!("SKIPPED TIER: dtc: {WITHOUT}=1");
        return;
    }
    let sources = sources();
    assert_eq!(sources.len(), 9, "three shipped trees, four of QEMU and two of the tests: {sources:?}");
    for source in sources {
        let made = Command::new("dtc").args(["-q", "-I", "dts", "-O", "dtb"]).arg(&source).output().unwrap_or_else(|error| {
            panic!("dtc does not run ({error}): install device-tree-compiler, or set {WITHOUT}=1 to do without")
        });
        assert!(made.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&made.stderr));
        let committed = std::fs::read(source.with_extension("dtb")).unwrap();
        assert!(committed == made.stdout, "{} differs from its blob: run dtc on it", source.display());
    }
}
