//! Whether a device node is there and opens.

use super::check::{Check, Section, State};
use crate::host::Host;
use crate::host::read;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;

/// What became of opening a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Node {
    /// It can be used.
    Opens,
    Absent,
    /// This process may not; and the line that would change it.
    Denied {
        enable: String,
    },
    /// A node with nothing behind it, or another reason.
    Fails(String),
}

impl Host {
    /// Opens a node for reading and writing, and closes it again. The kernel may load the module that is behind it.
    pub(super) fn open_node(&self, path: &str) -> Node {
        let opened = OpenOptions::new().read(true).write(true).open(self.path(path));
        match opened {
            Ok(_) => Node::Opens,
            Err(error) => self.why_not(path, &error),
        }
    }

    /// Whether a node may be opened. It is not: that of a group can be open once only, and somebody else may want it.
    pub(super) fn may_open_node(&self, path: &str) -> Node {
        let wanted = Access::READ_OK | Access::WRITE_OK;
        match accessat(CWD, self.path(path), wanted, AtFlags::EACCESS) {
            Ok(()) => Node::Opens,
            Err(errno) => self.why_not(path, &errno.into()),
        }
    }

    fn why_not(&self, path: &str, error: &std::io::Error) -> Node {
        match Errno::from_io_error(error) {
            Some(Errno::NOENT | Errno::NOTDIR) => Node::Absent,
            // Nobody may, whatever its mode says: a container's rules for devices.
            Some(Errno::PERM) => {
                Node::Denied { enable: format!("start the container with --device /{path}") }
            }
            Some(Errno::ACCESS) => Node::Denied { enable: self.admit(path) },
            _ => Node::Fails(error.to_string()),
        }
    }

    /// The line that gives a user access to a node.
    fn admit(&self, path: &str) -> String {
        const GROUP_MAY: u32 = 0o060;
        let group =
            self.path(path).metadata().ok().filter(|it| it.mode() & GROUP_MAY == GROUP_MAY && it.gid() != 0);
        match group.and_then(|it| self.group_name(it.gid())) {
            Some(group) => format!("sudo usermod -aG {group} \"$USER\"   # then log in again"),
            None => format!("sudo chown \"$USER\" /{path}   # until the next boot"),
        }
    }

    /// What a group of users is called.
    pub(super) fn group_name(&self, number: u32) -> Option<String> {
        let groups = read::maybe(&self.path("etc/group"))?;
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, found) = (fields.next()?, fields.nth(1)?);
            (found.parse() == Ok(number)).then(|| name.to_owned())
        })
    }
}

/// A check that comes out well when the node opens. `absent` says what it means that there is none.
pub(super) fn node_check(
    host: &Host,
    section: Section,
    name: &str,
    path: &str,
    absent: impl FnOnce(Check) -> Check,
) -> Check {
    let check = |state, found: String| Check::new(section, name, &format!("/{path}"), state, found);
    match host.open_node(path) {
        Node::Opens => check(State::Ok, "opens".into()),
        Node::Absent => absent(check(State::Missing, "not there".into())),
        Node::Denied { enable } => {
            check(State::Missing, "there, but not for this user".into()).enable(enable)
        }
        Node::Fails(why) => absent(check(State::Missing, format!("there, but does not open: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown};

    #[test]
    fn the_group_that_may_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path());
        let node = folder.path().join("dev/kvm");
        std::fs::create_dir_all(node.parent().unwrap()).unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(&node, "").unwrap();
        if node.metadata().unwrap().gid() == 0 {
            chown(&node, None, Some(107)).unwrap();
        }
        let group = node.metadata().unwrap().gid();
        std::fs::write(folder.path().join("etc/group"), format!("root:x:0:\nkvm:x:{group}:\n")).unwrap();
        for (mode, line) in [
            (0o660, "sudo usermod -aG kvm \"$USER\"   # then log in again"),
            (0o600, "sudo chown \"$USER\" /dev/kvm   # until the next boot"),
        ] {
            std::fs::set_permissions(&node, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(host.admit("dev/kvm"), line);
        }
    }

    #[test]
    fn why_a_node_does_not_open() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path());
        std::fs::create_dir(folder.path().join("dev")).unwrap();
        std::fs::create_dir(folder.path().join("dev/kvm")).unwrap();
        assert_eq!(host.open_node("dev/iommu"), Node::Absent);
        assert!(matches!(host.open_node("dev/kvm"), Node::Fails(_)));
        assert!(
            matches!(host.why_not("dev/kvm", &Errno::PERM.into()), Node::Denied { enable } if enable.contains("--device"))
        );
    }
}
