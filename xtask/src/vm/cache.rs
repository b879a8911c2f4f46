//! Kernels are kept outside of the checkout: getting one takes minutes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// So many kernels of a kind are kept.
const KEPT: usize = 2;

/// A kernel younger than this is taken without asking whether there is a newer one.
pub(crate) const YOUNG: Duration = Duration::from_secs(60 * 24 * 3600);

/// The folder of kept kernels, of which one process at a time is the master.
pub(crate) struct Cache {
    folder: PathBuf,
    _lock: File,
}

/// A kernel that is kept.
pub(crate) struct Kept {
    pub(crate) folder: PathBuf,
    pub(crate) version: String,
    pub(crate) age: Duration,
}

impl Cache {
    /// Opens it; waits while another process is getting a kernel.
    pub(crate) fn open() -> Result<Self, String> {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
        let folder = base.ok_or("neither XDG_CACHE_HOME nor HOME is set")?.join("vcm-ci");
        Self::at(folder)
    }

    fn at(folder: PathBuf) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(failed)?;
        let lock = File::create(folder.join("kernels.lock")).map_err(failed)?;
        if lock.try_lock().is_err() {
            println!("kernel: waiting for another process that is getting one");
            lock.lock().map_err(failed)?;
        }
        // Left by a process that was killed: nobody else is at work here.
        for (path, _) in entries(&folder, "building-") {
            let _ = fs::remove_dir_all(path);
        }
        Ok(Self { folder, _lock: lock })
    }

    /// The youngest kernel with a name "KIND-VERSION-KEY".
    pub(crate) fn youngest(&self, kind: &str, key: &str) -> Option<Kept> {
        let (front, back) = (format!("{kind}-"), format!("-{key}"));
        let all = entries(&self.folder, &front).into_iter().filter_map(|(path, changed)| {
            let name = path.file_name()?.to_str()?;
            let version = name.strip_prefix(&front)?.strip_suffix(&back)?.to_owned();
            Some((changed, Kept { folder: path, version, age: changed.elapsed().unwrap_or_default() }))
        });
        all.max_by_key(|(changed, _)| *changed).map(|(_, kept)| kept)
    }

    /// A kernel has been found to be the newest there is: it counts as new.
    pub(crate) fn refresh(&self, kept: &Kept) {
        // If that does not work the mirror is asked again next time.
        let _ = File::open(&kept.folder).and_then(|folder| folder.set_modified(SystemTime::now()));
    }

    /// A folder to work in; it goes away with the value.
    pub(crate) fn workplace(&self) -> Result<Workplace, String> {
        let folder = self.folder.join(format!("building-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Workplace(folder))
    }

    /// Keeps what is in a folder of the workplace, whole or not at all, and lets the oldest of its kind go.
    pub(crate) fn keep(&self, from: &Path, kind: &str, version: &str, key: &str) -> Result<PathBuf, String> {
        let to = self.folder.join(format!("{kind}-{version}-{key}"));
        let failed = |error: std::io::Error| format!("{}: {error}", to.display());
        if to.exists() {
            fs::remove_dir_all(&to).map_err(failed)?;
        }
        fs::rename(from, &to).map_err(failed)?;
        let _ = File::open(&to).and_then(|folder| folder.set_modified(SystemTime::now()));
        let mut all = entries(&self.folder, &format!("{kind}-"));
        all.sort_by_key(|(_, changed)| std::cmp::Reverse(*changed));
        for (old, _) in all.into_iter().skip(KEPT).filter(|(old, _)| *old != to) {
            println!("kernel: {} is no longer kept", old.display());
            let _ = fs::remove_dir_all(old);
        }
        Ok(to)
    }

    /// The folder for what apt-get knows.
    pub(crate) fn lists(&self) -> PathBuf {
        self.folder.join("apt")
    }

    /// Where what a build said is left when it fails.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("kernel-build.log")
    }
}

/// A folder that goes away with the value.
pub(crate) struct Workplace(pub(crate) PathBuf);

impl Drop for Workplace {
    fn drop(&mut self) {
        // What is left is removed by the next process.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entries(folder: &Path, front: &str) -> Vec<(PathBuf, SystemTime)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let entries =
        entries.filter_map(Result::ok).filter(|entry| entry.file_name().to_string_lossy().starts_with(front));
    entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.modified().ok()?))).collect()
}

/// A short name for a text: FNV-1a with 64 bits.
pub(crate) fn key(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_kernels_are_kept_and_the_youngest_with_the_key_is_found() {
        let folder = std::env::temp_dir().join(format!("vcm-cache-test-{}", std::process::id()));
        fs::create_dir_all(folder.join("building-99")).unwrap();
        let cache = Cache::at(folder.clone()).unwrap();
        assert!(!folder.join("building-99").exists());
        for (version, key) in [("6.1-1", "a"), ("6.2~rc1-1", "b"), ("6.3-1", "a")] {
            let workplace = cache.workplace().unwrap();
            fs::create_dir(workplace.0.join("done")).unwrap();
            fs::write(workplace.0.join("done/bzImage"), version).unwrap();
            let kept = cache.keep(&workplace.0.join("done"), "linux", version, key).unwrap();
            assert_eq!(fs::read_to_string(kept.join("bzImage")).unwrap(), version);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(cache.youngest("linux", "a").unwrap().version, "6.3-1");
        assert_eq!(cache.youngest("linux", "b").unwrap().version, "6.2~rc1-1");
        assert!(!folder.join("linux-6.1-1-a").exists());
        assert!(cache.youngest("linux", "c").is_none());
        cache.refresh(&cache.youngest("linux", "b").unwrap());
        assert!(cache.youngest("linux", "b").unwrap().age < Duration::from_secs(10));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn keys_are_the_published_ones() {
        // The test vectors of the draft "The FNV Non-Cryptographic Hash Algorithm".
        assert_eq!(key(""), "cbf29ce484222325");
        assert_eq!(key("foobar"), "85944171f73967e8");
    }
}
