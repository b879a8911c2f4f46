//! Transparent huge pages of shared memory (Documentation/admin-guide/mm/transhuge.rst, "shmem / internal tmpfs").

use crate::Error;

const FOLDER: &str = "/sys/kernel/mm/transparent_hugepage";
/// Since Linux 6.11 each size has a knob of its own beside the common one.
const SIZED: &str = "hugepages-2048kB/shmem_enabled";
const COMMON: &str = "shmem_enabled";

/// Whether the kernel gives huge pages to shared memory that asks for them.
pub(super) fn check() -> Result<(), Error> {
    let read = |name| std::fs::read_to_string(format!("{FOLDER}/{name}")).ok();
    judge(read(SIZED).as_deref(), read(COMMON).as_deref())
}

fn judge(sized: Option<&str>, common: Option<&str>) -> Result<(), Error> {
    let what = "shared memory in transparent huge pages";
    let Some(common) = common.and_then(chosen) else {
        return Err(Error::not_supported(what, format!("this kernel has no {FOLDER}/{COMMON}")));
    };
    let (name, value) = match sized.and_then(chosen) {
        // Before the sizes had knobs, or with the one that passes the question on. `deny` and `force` go first always.
        Some(own) if own != "inherit" && common != "deny" && common != "force" => (SIZED, own),
        _ => (COMMON, common),
    };
    if matches!(value, "never" | "deny") {
        let why = format!("{FOLDER}/{name} is `{value}`: `echo advise > {FOLDER}/{name}`");
        return Err(Error::not_supported(what, why));
    }
    Ok(())
}

/// The word in brackets.
fn chosen(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(sized: Option<&str>, common: Option<&str>) -> String {
        judge(sized, common).map_or_else(|error| error.to_string(), |()| "yes".into())
    }

    #[test]
    fn the_knob_of_the_size_goes_before_the_common_one() {
        let common =
            |word: &str| "always within_size advise never deny force".replace(word, &format!("[{word}]"));
        let sized =
            |word: &str| "always inherit within_size advise never".replace(word, &format!("[{word}]"));
        for word in ["always", "within_size", "advise", "force"] {
            assert_eq!(verdict(None, Some(&common(word))), "yes");
            assert_eq!(verdict(Some(&sized("inherit")), Some(&common(word))), "yes");
        }
        assert_eq!(verdict(Some(&sized("advise")), Some(&common("never"))), "yes");
        let refused = verdict(Some(&sized("inherit")), Some(&common("never")));
        assert!(refused.contains("`echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled`"));
        let refused = verdict(Some(&sized("never")), Some(&common("always")));
        assert!(refused.contains("hugepages-2048kB/shmem_enabled is `never`"), "{refused}");
        assert!(verdict(Some(&sized("always")), Some(&common("deny"))).contains("is `deny`"));
        assert!(verdict(None, None).contains("has no"));
    }
}
