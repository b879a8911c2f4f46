//! The distribution's own kernel with the modules that the tests need, as its users have it.

use super::cache::{Cache, Kept, YOUNG, key};
use super::kernel::Kernel;
use super::modules::Tree;
use super::packages::Packages;
use std::fs;
use std::path::{Path, PathBuf};

const KIND: &str = "distribution-linux";

/// The packages that depend on the newest kernel of a distribution: Debian's, Ubuntu's.
const META: [&str; 2] = ["linux-image-amd64", "linux-image-generic"];

/// The modules that have to be there, and those that some kernels have.
const MODULES: [&str; 4] = ["vfio-pci", "vfio_iommu_type1", "kvm-amd", "nvme"];
const MODULES_OF_SOME: [&str; 1] = ["iommufd"];

/// Changes when what is kept changes.
const RECIPE: &str = "vmlinuz, config, modules in order; 1";

/// The distribution's kernel, from the cache if it is there.
pub(crate) fn kernel() -> Result<Kernel, String> {
    let key = key(RECIPE);
    let cache = Cache::open()?;
    let kept = cache.youngest(KIND, &key);
    let folder = match kept {
        Some(kept) if kept.age < YOUNG => {
            println!("kernel: the distribution's {} from {}", kept.version, kept.folder.display());
            kept.folder
        }
        kept => fetch(&cache, kept, &key)?,
    };
    read(&folder, &key)
}

fn fetch(cache: &Cache, kept: Option<Kept>, key: &str) -> Result<PathBuf, String> {
    println!("kernel: asking the mirror for the distribution's");
    let asked = Packages::ask(&cache.lists()).and_then(|packages| {
        let meta = META.into_iter().find(|name| packages.version(name).is_ok());
        let meta = meta.ok_or_else(|| format!("the mirror has neither {}", META.join(" nor ")))?;
        let depends = packages.depends(meta)?;
        let image = depends.iter().find(|name| name.starts_with("linux-image-"));
        let image = image.ok_or_else(|| format!("{meta} depends on no linux-image-*"))?.clone();
        let version = packages.version(&image)?;
        Ok((packages, image, version))
    });
    let (packages, image, version) = match (asked, kept) {
        (Ok((_, _, version)), Some(kept)) if version == kept.version => {
            println!(
                "kernel: the distribution's {version} from {} is still the newest",
                kept.folder.display()
            );
            cache.refresh(&kept);
            return Ok(kept.folder);
        }
        (Ok(asked), _) => asked,
        (Err(error), Some(kept)) => {
            println!("kernel: the distribution's {}, because {error}", kept.version);
            return Ok(kept.folder);
        }
        (Err(error), None) => return Err(error),
    };
    let workplace = cache.workplace()?;
    let place = &workplace.0;
    println!("kernel: downloading {image} {version}");
    packages.unpack(&image, place)?;
    // Ubuntu has the modules in packages of their own.
    for name in packages.depends(&image)?.iter().filter(|name| name.starts_with("linux-modules-")) {
        packages.unpack(name, place)?;
    }
    let done = place.join("done");
    take(place, &done)?;
    cache.keep(&done, KIND, &version, key)
}

/// Takes what is needed out of unpacked packages.
fn take(place: &Path, done: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", done.display());
    fs::create_dir_all(done.join("modules")).map_err(failed)?;
    let image = only(&place.join("boot"), "vmlinuz-")?;
    let release = image.file_name().unwrap_or_default().to_string_lossy().replace("vmlinuz-", "");
    fs::copy(&image, done.join("vmlinuz")).map_err(failed)?;
    fs::copy(place.join("boot").join(format!("config-{release}")), done.join("config")).map_err(failed)?;
    let folders = ["lib/modules", "usr/lib/modules"].map(|folder| place.join(folder).join(&release));
    let folder = folders.iter().find(|folder| folder.is_dir());
    let folder = folder.ok_or_else(|| format!("the packages have no lib/modules/{release}"))?;
    let tree = Tree::of(folder)?;
    let all = [&MODULES[..], &MODULES_OF_SOME[..]].concat();
    let found = tree.find(&all)?;
    let optional = MODULES_OF_SOME.map(|name| name.replace('-', "_"));
    let missing: Vec<&String> = found.missing.iter().filter(|name| !optional.contains(name)).collect();
    // What is built into the kernel is in the list of a package that may not be here; the tests miss what is not.
    if !missing.is_empty() {
        println!("kernel: not found as modules: {missing:?}");
    }
    let mut order = String::new();
    for name in &found.ordered {
        fs::write(done.join("modules").join(name), tree.read(name)?).map_err(failed)?;
        order.push_str(name);
        order.push('\n');
    }
    fs::write(done.join("order"), order).map_err(failed)
}

fn only(folder: &Path, front: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let found = paths
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(front)))
        .max();
    found.ok_or_else(|| format!("{} has no {front}*", folder.display()))
}

/// Reads a kept kernel.
fn read(folder: &Path, key: &str) -> Result<Kernel, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let config = fs::read_to_string(folder.join("config")).map_err(failed)?;
    let order = fs::read_to_string(folder.join("order")).map_err(failed)?;
    let modules = order
        .lines()
        .map(|name| Ok((name.to_owned(), fs::read(folder.join("modules").join(name)).map_err(failed)?)))
        .collect::<Result<_, String>>()?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let version =
        name.trim_start_matches(&format!("{KIND}-")).trim_end_matches(&format!("-{key}")).to_owned();
    let image = folder.join("vmlinuz");
    Ok(Kernel { version, image, modules, iommufd: has_iommufd(&config), headers: None })
}

fn has_iommufd(config: &str) -> bool {
    config.lines().any(|line| matches!(line, "CONFIG_IOMMUFD=y" | "CONFIG_IOMMUFD=m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iommufd_is_there_as_the_configuration_says() {
        assert!(has_iommufd("CONFIG_VFIO=m\nCONFIG_IOMMUFD=m\n"));
        assert!(!has_iommufd("CONFIG_VFIO=m\n# CONFIG_IOMMUFD is not set\n"));
        assert!(!has_iommufd("CONFIG_IOMMUFD_TEST=y\n"));
    }
}
