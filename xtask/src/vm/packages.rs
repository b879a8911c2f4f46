//! Fetches packages of the machine's distribution without installing them.
//!
//! With lists of its own: neither the machine's list of sources nor what it knows of packages changes, and nothing
//! here needs to be root. Signatures are checked against the distribution's keys.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Where distributions keep the keys that their archives are signed with.
const KEYS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/ubuntu-archive-keyring.gpg"];

/// The suite with the newest kernel sources that is signed with keys that today's Debian releases have.
const NEWER: &str = "trixie-backports";

/// What the distribution's archive offers.
pub(crate) struct Packages {
    options: Vec<String>,
}

impl Packages {
    /// Asks the machine's mirror; `folder` is for the lists.
    pub(crate) fn ask(folder: &Path) -> Result<Self, String> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let targets = Command::new("apt-get")
            .args(["indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"])
            .output()
            .map_err(|error| format!("apt-get could not be started: {error}"))?;
        let keys = KEYS.into_iter().find(|path| Path::new(path).exists());
        let own = sources(&release, &String::from_utf8_lossy(&targets.stdout), keys)?;
        let newer = newer(&release, &own);
        // The newer suite may not be there, or be signed with keys that this machine does not know.
        let list = folder.join("sources.list");
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(folder.join("lists/partial")).map_err(failed)?;
        fs::create_dir_all(folder.join("cache/archives/partial")).map_err(failed)?;
        let setting = |key: &str, value: &Path| ["-o".to_owned(), format!("{key}={}", value.display())];
        let options: Vec<String> = [
            setting("Dir::Etc::sourcelist", &list),
            setting("Dir::Etc::sourceparts", Path::new("-")),
            setting("Dir::State::lists", &folder.join("lists")),
            setting("Dir::Cache", &folder.join("cache")),
            // Another user could not write into a folder below somebody's home.
            setting("APT::Sandbox::User", Path::new("root")),
            setting("Acquire::Languages", Path::new("none")),
        ]
        .concat();
        let packages = Self { options };
        fs::write(&list, [own.clone(), newer].concat().join("\n") + "\n").map_err(failed)?;
        if let Err(error) = packages.output("apt-get", &["update", "-qq"]) {
            println!("kernel: {error}; asking for the machine's own release only");
            fs::write(&list, own.join("\n") + "\n").map_err(failed)?;
            packages.output("apt-get", &["update", "-qq"])?;
        }
        Ok(packages)
    }

    /// The newest package of kernel sources: its name.
    pub(crate) fn newest_source(&self) -> Result<String, String> {
        let found = self.output("apt-cache", &["search", "--names-only", "^linux-source-[0-9.]+$"])?;
        newest_source(&found).ok_or_else(|| "the mirror has no package linux-source-*".into())
    }

    /// The version of a package that would be taken.
    pub(crate) fn version(&self, name: &str) -> Result<String, String> {
        let shown = self.output("apt-cache", &["show", "--no-all-versions", name])?;
        let version = shown.lines().find_map(|line| line.strip_prefix("Version: "));
        version.map(str::to_owned).ok_or_else(|| format!("the mirror does not tell the version of {name}"))
    }

    /// The packages that this one depends on.
    pub(crate) fn depends(&self, name: &str) -> Result<Vec<String>, String> {
        let shown = self.output("apt-cache", &["depends", "--no-recommends", "--no-suggests", name])?;
        let names = shown.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.map(str::to_owned).collect())
    }

    /// Downloads a package and unpacks it into `folder`.
    pub(crate) fn unpack(&self, name: &str, folder: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        let download = folder.join(format!("download-{name}"));
        fs::create_dir_all(&download).map_err(failed)?;
        let mut command = Command::new("apt-get");
        command.args(&self.options).args(["download", "-qq", name]).current_dir(&download);
        output(&mut command)?;
        for entry in fs::read_dir(&download).map_err(failed)? {
            let package = entry.map_err(failed)?.path();
            output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(folder))?;
        }
        fs::remove_dir_all(&download).map_err(failed)
    }

    fn output(&self, program: &str, words: &[&str]) -> Result<String, String> {
        output(Command::new(program).args(&self.options).args(words))
    }
}

/// What a program prints; what it complains about is the error.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let name = format!("{:?}", command.get_program()).replace('"', "");
    let done =
        command.env("LC_ALL", "C").output().map_err(|error| format!("{name} cannot be started: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&done.stderr);
    let last: Vec<&str> = errors.lines().rev().take(3).collect();
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let verb = words.iter().find(|word| !word.starts_with('-') && !word.contains('=')).cloned();
    let last = last.into_iter().rev().collect::<Vec<_>>().join(" / ");
    Err(format!("{name} {} failed ({}): {last}", verb.unwrap_or_default(), done.status))
}

fn value<'a>(release: &'a str, key: &str) -> Option<&'a str> {
    release.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim_matches('"'))
}

/// The lines of a list of sources with the machine's own release. `targets` has a suite, a component and a mirror a line.
fn sources(release: &str, targets: &str, keys: Option<&str>) -> Result<Vec<String>, String> {
    let codename = value(release, "VERSION_CODENAME=").ok_or("/etc/os-release has no VERSION_CODENAME")?;
    let signed = keys.map_or(String::new(), |keys| format!("[signed-by={keys}] "));
    let mut lines = Vec::new();
    for target in targets.lines() {
        let mut words = target.split_whitespace();
        let (Some(suite), Some("main"), Some(mirror)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let rest = suite.strip_prefix(codename);
        if rest.is_some_and(|rest| ["", "-updates", "-security"].contains(&rest)) {
            lines.push(format!("deb {signed}{mirror} {suite} main"));
        }
    }
    if lines.is_empty() && value(release, "ID=") == Some("debian") {
        lines.push(format!("deb {signed}http://deb.debian.org/debian/ {codename} main"));
        lines.push(format!("deb {signed}http://deb.debian.org/debian-security/ {codename}-security main"));
    }
    lines.dedup();
    if lines.is_empty() { Err(format!("apt-get knows no source for {codename}")) } else { Ok(lines) }
}

/// The line with newer kernels, from the mirror of the machine's own release. Only Debian has such.
fn newer(release: &str, own: &[String]) -> Vec<String> {
    let codename = value(release, "VERSION_CODENAME=").unwrap_or_default();
    let plain = own.iter().find(|line| line.ends_with(&format!(" {codename} main")));
    match plain {
        Some(line) if value(release, "ID=") == Some("debian") => {
            vec![line.replace(&format!(" {codename} main"), &format!(" {NEWER} main"))]
        }
        _ => Vec::new(),
    }
}

/// Of lines "linux-source-6.12 - Linux kernel source", the name with the highest version.
fn newest_source(found: &str) -> Option<String> {
    let version = |name: &&str| -> Vec<u32> {
        let digits = name.trim_start_matches("linux-source-");
        digits.split('.').filter_map(|number| number.parse().ok()).collect()
    };
    let names = found.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| name.starts_with("linux-source-")).max_by_key(version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "ID=debian\nVERSION_CODENAME=bookworm\n";

    #[test]
    fn the_machines_own_mirror_and_suites_are_asked_and_no_stranger() {
        let targets = "bookworm main http://mirror/debian/\nbookworm-updates main http://mirror/debian/\n\
            bookworm contrib http://mirror/debian/\nbookworm-security main http://mirror/security/\n\
            cloud-sdk-bookworm main https://stranger/apt\nnodistro main https://other\n";
        let own = sources(DEBIAN, targets, Some("/keys.gpg")).unwrap();
        assert_eq!(
            own,
            [
                "deb [signed-by=/keys.gpg] http://mirror/debian/ bookworm main",
                "deb [signed-by=/keys.gpg] http://mirror/debian/ bookworm-updates main",
                "deb [signed-by=/keys.gpg] http://mirror/security/ bookworm-security main",
            ]
        );
        assert_eq!(
            newer(DEBIAN, &own),
            [format!("deb [signed-by=/keys.gpg] http://mirror/debian/ {NEWER} main")]
        );
    }

    #[test]
    fn ubuntu_has_its_own_sources_only() {
        let release = "ID=ubuntu\nVERSION_CODENAME=noble\n";
        let own = sources(release, "noble main http://archive.ubuntu.com/ubuntu/\n", None).unwrap();
        assert_eq!(own, ["deb http://archive.ubuntu.com/ubuntu/ noble main"]);
        assert_eq!(newer(release, &own), Vec::<String>::new());
        assert!(sources(release, "", None).is_err());
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let found =
            "linux-source-6.9 - Linux\nlinux-source-6.12 - Linux\nlinux-source-6.1 - Linux\nother - x\n";
        assert_eq!(newest_source(found).as_deref(), Some("linux-source-6.12"));
        assert_eq!(newest_source("other - x\n"), None);
    }
}
