//! The kernel that is built for the tests, from the newest source package that the distribution's mirror has.

use super::cache::{Cache, YOUNG, key};
use super::packages::{Packages, output};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What the kernel is to have.
pub(crate) const FRAGMENT: &str = "crates/linux/vm/linux.config";

/// Changes when the way to build changes, so that kernels built another way are not taken.
const RECIPE: &str = "allnoconfig with the fragment; bzImage; headers; 1";

/// From this comment on, the fragment has lines that not every version of the kernel knows.
const MAYBE: &str = "# Not in every version";

/// A line about progress at most this often.
const OFTEN: Duration = Duration::from_secs(20);

/// A kernel and what belongs to it.
pub(crate) struct Kernel {
    pub(crate) version: String,
    pub(crate) image: PathBuf,
    /// Modules by file name with their content, in the order to load them.
    pub(crate) modules: Vec<(String, Vec<u8>)>,
    /// Whether it has iommufd.
    pub(crate) iommufd: bool,
    /// The headers that it offers to programs.
    pub(crate) headers: Option<PathBuf>,
}

/// Why there is no kernel.
pub(crate) enum Lack {
    /// This machine cannot have it now.
    Unavailable(String),
    /// It should be possible: something is wrong with us.
    Broken(String),
}

impl From<String> for Lack {
    fn from(why: String) -> Self {
        Self::Unavailable(why)
    }
}

/// The built kernel, from the cache if it is there. `tools` tells whether there is all that building needs.
pub(crate) fn built(tools: Result<(), String>) -> Result<Kernel, Lack> {
    if let Some(image) = std::env::var_os("VCM_VM_KERNEL").map(PathBuf::from) {
        println!("kernel: {}, as VCM_VM_KERNEL says", image.display());
        let version = "given".into();
        return Ok(Kernel { version, image, modules: Vec::new(), iommufd: true, headers: None });
    }
    let fragment = fs::read_to_string(FRAGMENT).map_err(|error| format!("{FRAGMENT}: {error}"))?;
    let key = key(&format!("{RECIPE}\n{fragment}"));
    let cache = Cache::open()?;
    let kept = cache.youngest("linux", &key);
    let folder = match kept {
        Some(kept) if kept.age < YOUNG => {
            println!("kernel: {} from {}", kept.version, kept.folder.display());
            kept.folder
        }
        kept => {
            println!("kernel: asking the mirror for the newest source package");
            let newest = Packages::ask(&cache.lists()).and_then(|packages| {
                let name = packages.newest_source()?;
                let version = packages.version(&name)?;
                Ok((packages, name, version))
            });
            match (newest, kept) {
                (Ok((_, _, version)), Some(kept)) if version == kept.version => {
                    println!("kernel: {version} from {} is still the newest", kept.folder.display());
                    cache.refresh(&kept);
                    kept.folder
                }
                (Ok((packages, name, version)), _) => {
                    tools?;
                    build(&cache, &packages, &name, &version, &fragment, &key)?
                }
                (Err(error), Some(kept)) => {
                    println!("kernel: {} from {}, because {error}", kept.version, kept.folder.display());
                    kept.folder
                }
                (Err(error), None) => return Err(error.into()),
            }
        }
    };
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let version = name.trim_start_matches("linux-").trim_end_matches(&format!("-{key}")).to_owned();
    let headers = Some(folder.join("include")).filter(|headers| headers.is_dir());
    Ok(Kernel { version, image: folder.join("bzImage"), modules: Vec::new(), iommufd: true, headers })
}

fn build(
    cache: &Cache,
    packages: &Packages,
    name: &str,
    version: &str,
    fragment: &str,
    key: &str,
) -> Result<PathBuf, Lack> {
    let begin = Instant::now();
    let workplace = cache.workplace()?;
    let place = &workplace.0;
    let failed = |error: std::io::Error| format!("{}: {error}", place.display());
    println!("kernel: downloading {name} {version}");
    packages.unpack(name, place)?;
    println!("kernel: unpacking, {} s", begin.elapsed().as_secs());
    let archive = source_archive(&place.join("usr/src"))?;
    let tree = place.join("tree");
    fs::create_dir_all(&tree).map_err(failed)?;
    output(Command::new("tar").arg("-xf").arg(&archive).args(["--strip-components=1", "-C"]).arg(&tree))?;
    fs::remove_dir_all(place.join("usr")).map_err(failed)?;
    println!("kernel: configuring, {} s", begin.elapsed().as_secs());
    let wanted = place.join("wanted.config");
    fs::write(&wanted, fragment).map_err(failed)?;
    let mut configure = Command::new("make");
    configure.args(["-s", "allnoconfig"]).env("KCONFIG_ALLCONFIG", &wanted).current_dir(&tree);
    output(&mut configure)?;
    let config = fs::read_to_string(tree.join(".config")).map_err(failed)?;
    let missing = missing(fragment, &config);
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(Lack::Broken(format!(
            "Linux {version} does not take these lines of {FRAGMENT}: {missing}"
        )));
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let log = cache.log();
    make(&tree, &[&format!("-j{jobs}"), "bzImage"], begin, &log).map_err(Lack::Broken)?;
    make(&tree, &["headers"], begin, &log).map_err(Lack::Broken)?;
    let done = place.join("done");
    fs::create_dir_all(&done).map_err(failed)?;
    fs::rename(tree.join("arch/x86/boot/bzImage"), done.join("bzImage")).map_err(failed)?;
    fs::rename(tree.join(".config"), done.join("config")).map_err(failed)?;
    fs::rename(tree.join("usr/include"), done.join("include")).map_err(failed)?;
    let kept = cache.keep(&done, "linux", version, key)?;
    let _ = fs::remove_file(log);
    println!("kernel: {version} built in {} s, kept in {}", begin.elapsed().as_secs(), kept.display());
    Ok(kept)
}

/// The archive with the sources in what the package has put there: Ubuntu's has it in a folder.
fn source_archive(folder: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let archive = paths
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".tar.")))
        .find(|path| path.is_file());
    archive.ok_or_else(|| format!("{} has no archive of sources", folder.display()))
}

/// Runs make and tells how far it is; all that it says goes into the log.
fn make(tree: &Path, words: &[&str], begin: Instant, log: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("make {}: {error}", words.join(" "));
    let (said, writer) = std::io::pipe().map_err(failed)?;
    let mut command = Command::new("make");
    command.args(words).current_dir(tree).env("LC_ALL", "C").env("KBUILD_BUILD_USER", "vcm");
    command.env("KBUILD_BUILD_HOST", "xtask").stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let mut child = command.spawn().map_err(failed)?;
    // The command holds the writing end: the reading end would never end.
    drop(command);
    let mut log_file = File::create(log).map_err(failed)?;
    let (mut steps, mut last, mut told) = (0, Vec::new(), Instant::now());
    for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
        steps += 1;
        let line = String::from_utf8_lossy(&line).into_owned();
        let _ = writeln!(log_file, "{line}");
        last.push(line);
        if last.len() > 30 {
            last.remove(0);
        }
        if told.elapsed() >= OFTEN {
            told = Instant::now();
            let what = words.last().unwrap_or(&"");
            println!("kernel: building {what}, {steps} steps, {} s", begin.elapsed().as_secs());
        }
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        _ => {
            let last = last.join("\n");
            Err(format!(
                "{last}\nthe kernel does not compile (make {}); all in {}",
                words.join(" "),
                log.display()
            ))
        }
    }
}

/// The wanted lines that a configuration does not have, except those that not every version knows.
fn missing<'a>(fragment: &'a str, config: &str) -> Vec<&'a str> {
    let sure = fragment.split(MAYBE).next().unwrap_or_default();
    let wanted = sure.lines().filter(|line| line.starts_with("CONFIG_"));
    wanted.filter(|wanted| !config.lines().any(|line| line == *wanted)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_line_that_does_not_hold_is_named() {
        let fragment = "# A\nCONFIG_A=y\nCONFIG_B=y\n# Not in every version: some\nCONFIG_C=y\n";
        assert_eq!(missing(fragment, "CONFIG_A=y\n# CONFIG_B is not set\n"), ["CONFIG_B=y"]);
        assert_eq!(missing(fragment, "CONFIG_A=y\nCONFIG_B=m\n"), ["CONFIG_B=y"]);
        assert_eq!(missing(fragment, "CONFIG_A=y\nCONFIG_B=y\n"), Vec::<&str>::new());
    }

    #[test]
    fn the_fragment_says_what_may_be_missing() {
        let fragment = include_str!("../../../crates/linux/vm/linux.config");
        assert_eq!(fragment.matches(MAYBE).count(), 1);
        assert!(missing(fragment, "").contains(&"CONFIG_IOMMUFD=y"));
    }
}
