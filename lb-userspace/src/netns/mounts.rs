//! Network namespaces that are mounted as files, from /proc/self/mountinfo.
//!
//! Reads text only: whether a namespace is still there shows when it is opened.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// Inode number and mount point of each network namespace among the mounts (see
/// proc_pid_mountinfo(5)).
pub(super) fn namespaces(mountinfo: &[u8]) -> impl Iterator<Item = (u64, PathBuf)> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(namespace)
}

fn namespace(line: &[u8]) -> Option<(u64, PathBuf)> {
    let mut fields = line.split(|&byte| byte == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    // Mount options, then optional fields that end with a hyphen.
    let kind = fields.skip_while(|&field| field != b"-").nth(1)?;
    if kind != b"nsfs" {
        return None;
    }
    let inode = inode(Path::new(str::from_utf8(root).ok()?))?;
    Some((inode, OsString::from_vec(unescape(point)).into()))
}

/// The number in `net:[4026531840]`: the name of a network namespace in /proc and among mounts.
pub(super) fn inode(name: &Path) -> Option<u64> {
    name.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// The kernel writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if *first == b'\\' => {
                Some(((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = after;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_network_namespaces_among_mounts() {
        let mountinfo = b"\
            22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
            30 22 0:4 net:[4026532281] /run/netns/cni-1 rw shared:7 - nsfs nsfs rw\n\
            31 22 0:4 mnt:[4026532300] /run/snapd/ns/lxd.mnt rw - nsfs nsfs rw\n\
            32 22 0:4 net:[4026532299] /run/my\\040net\\134s/1 rw shared:1 master:2 - nsfs nsfs rw\n\
            33 22 0:4 net:[1] /tmp/a rw - nsfs\n\
            34 22 0:5 net:[2] /tmp/b rw - tmpfs nsfs rw\n\
            35 22 0:4 net:[3] /tmp/c\n";
        let found: Vec<_> = namespaces(mountinfo).collect();
        assert_eq!(
            found,
            [
                (4_026_532_281, PathBuf::from("/run/netns/cni-1")),
                (4_026_532_299, PathBuf::from("/run/my net\\s/1")),
                (1, PathBuf::from("/tmp/a")),
            ]
        );
    }

    #[test]
    fn takes_no_other_link_for_a_network_namespace() {
        for name in ["mnt:[1]", "net:[]", "net:[1", "net:[-1]", "socket:[1]", "/dev/net:[1]", ""] {
            assert_eq!(inode(Path::new(name)), None, "{name}");
        }
        assert_eq!(inode(Path::new("net:[7]")), Some(7));
    }

    #[test]
    fn leaves_what_is_no_escape_as_it_is() {
        assert_eq!(unescape(br"\011\012\0409\04\x\777\"), b"\t\n 9\\04\\x\\777\\");
    }
}
