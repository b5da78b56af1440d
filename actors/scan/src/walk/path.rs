//! Names inside an archive (scanning.md §3a Z3): what may be written to any file system, and stays where it should.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hasher, RandomState},
};

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Longest path and longest component, in bytes: PATH_MAX of the strictest reader and NAME_MAX.
const MAX_PATH: usize = 1024;
const MAX_COMPONENT: usize = 255;

/// A stored path that passed [`check`].
#[derive(Debug, Clone, Copy)]
pub(super) struct SafePath<'a> {
    /// Without the trailing slash of a directory.
    pub(super) plain: &'a str,
    /// The first component and what lies below it, if anything.
    pub(super) root: &'a str,
    pub(super) below_root: Option<&'a str>,
}

/// Refuses paths that leave their directory or mean different files to different readers.
///
/// # Errors
/// A sentence saying what is wrong with the path.
pub(super) fn check(path: &str, max_depth: usize) -> Result<SafePath<'_>, PathFault> {
    use PathFault::Unsafe;
    if path.len() > MAX_PATH {
        return Err(Unsafe("a path is longer than 1024 bytes"));
    }
    if path.starts_with('/') {
        return Err(Unsafe("a path is absolute"));
    }
    if path.contains('\\') {
        return Err(Unsafe("a path contains a backslash"));
    }
    if path.chars().any(char::is_control) {
        return Err(Unsafe("a path contains a control character"));
    }
    let plain = path.strip_suffix('/').unwrap_or(path);
    for (depth, component) in plain.split('/').enumerate() {
        match component {
            "" => return Err(Unsafe("a path has an empty component")),
            "." | ".." => return Err(Unsafe("a path contains `.` or `..`")),
            c if c.len() > MAX_COMPONENT => return Err(Unsafe("a path component is longer than 255 bytes")),
            // The second component comes first once npm has stripped the root.
            c if depth < 2 && is_drive(c) => return Err(Unsafe("a path starts with a drive letter")),
            _ if depth >= max_depth => return Err(PathFault::TooDeep),
            _ => {}
        }
    }
    let (root, below_root) = plain.split_once('/').map_or((plain, None), |(root, rest)| (root, Some(rest)));
    Ok(SafePath { plain, root, below_root })
}

/// Whether the target of a link is a plain relative path that begins with at most `max_climb` times `..`.
pub(super) fn climbs_at_most(target: &str, max_climb: usize) -> bool {
    let mut components = target.split('/').peekable();
    let mut climbed = 0;
    while components.next_if_eq(&"..").is_some() {
        climbed += 1;
    }
    let is_below = |component: &str| {
        !matches!(component, "" | "." | "..")
            && component.len() <= MAX_COMPONENT
            && !is_drive(component)
            && !component.contains('\\')
            && !component.chars().any(char::is_control)
    };
    climbed <= max_climb && target.len() <= MAX_PATH && components.all(is_below)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathFault {
    Unsafe(&'static str),
    TooDeep,
}

/// A name Windows cannot create or silently changes: recorded, not refused.
pub(super) fn is_windows_trap(plain: &str) -> bool {
    plain.split('/').any(|component| {
        let stem = component.split('.').next().unwrap_or_default().trim_end();
        let numbered = |prefix: &str| {
            stem.len() == 4
                && stem.get(..3).is_some_and(|s| s.eq_ignore_ascii_case(prefix))
                && matches!(stem.as_bytes()[3], b'1'..=b'9')
        };
        ["con", "prn", "aux", "nul"].iter().any(|name| stem.eq_ignore_ascii_case(name))
            || numbered("com")
            || numbered("lpt")
            || component.ends_with(['.', ' '])
            || component.contains([':', '<', '>', '"', '|', '?', '*'])
    })
}

fn is_drive(component: &str) -> bool {
    matches!(component.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// Which paths were seen, as 128-bit keyed hashes: constant memory per entry whatever the path length.
///
/// The keys are random per walk, so nobody can craft a collision; an accidental one among 100,000 paths has a
/// chance of about 10^-29 and would only refuse an honest archive.
pub(super) struct SeenPaths {
    keys: [RandomState; 2],
    nodes: HashMap<u128, Node>,
    folded: HashSet<u128>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    File,
    Directory,
    /// Only named as the parent of something.
    Implied,
}

/// How a path relates to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clash {
    None,
    /// The same path, or the same after Unicode composition.
    Duplicate,
    /// Differs from an earlier path only in case.
    CaseFold,
    /// A file where another entry needs a directory, or the reverse.
    FileAndDirectory,
}

impl SeenPaths {
    pub(super) fn new() -> Self {
        Self { keys: [RandomState::new(), RandomState::new()], nodes: HashMap::new(), folded: HashSet::new() }
    }

    /// Remembers a checked path without trailing slash. Repeating a directory is harmless.
    pub(super) fn insert(&mut self, plain: &str, is_file: bool) -> Clash {
        let composed: std::borrow::Cow<'_, str> = match is_nfc_quick(plain.chars()) {
            IsNormalized::Yes => plain.into(),
            _ => plain.nfc().collect::<String>().into(),
        };
        let mut hash = PathHash::new(&self.keys);
        for byte in composed.bytes() {
            if byte == b'/' {
                match self.nodes.entry(hash.value()).or_insert(Node::Implied) {
                    Node::File => return Clash::FileAndDirectory,
                    Node::Directory | Node::Implied => {}
                }
            }
            hash.push(byte);
        }
        let key = hash.value();
        match (self.nodes.get(&key), is_file) {
            (Some(Node::File), true) => return Clash::Duplicate,
            (Some(Node::File), false) | (Some(Node::Directory | Node::Implied), true) => {
                return Clash::FileAndDirectory;
            }
            (Some(Node::Directory), false) => return Clash::None,
            (Some(Node::Implied) | None, _) => {}
        }
        self.nodes.insert(key, if is_file { Node::File } else { Node::Directory });
        let mut folded = PathHash::new(&self.keys);
        composed.chars().flat_map(char::to_lowercase).for_each(|c| folded.push_char(c));
        if self.folded.insert(folded.value()) { Clash::None } else { Clash::CaseFold }
    }
}

struct PathHash([<RandomState as BuildHasher>::Hasher; 2]);

impl PathHash {
    fn new(keys: &[RandomState; 2]) -> Self {
        Self([keys[0].build_hasher(), keys[1].build_hasher()])
    }
    fn push(&mut self, byte: u8) {
        self.0.iter_mut().for_each(|h| h.write_u8(byte));
    }
    fn push_char(&mut self, c: char) {
        self.0.iter_mut().for_each(|h| h.write_u32(c.into()));
    }
    fn value(&self) -> u128 {
        u128::from(self.0[0].finish()) << 64 | u128::from(self.0[1].finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_climb_first_and_not_too_far() {
        for (target, max_climb) in [("a", 0), ("a/b", 0), ("..", 1), ("../a", 1), ("../../a/b", 2)] {
            assert!(climbs_at_most(target, max_climb), "{target}");
            assert!(max_climb == 0 || !climbs_at_most(target, max_climb - 1), "{target}");
        }
        for bad in ["", "/", "/etc", "a/..", "a/../b", "./a", "a//b", "a/", "c:/x", "c:", "a\\b", "a\nb", "a\0"] {
            assert!(!climbs_at_most(bad, 9), "{bad:?}");
        }
    }

    #[test]
    fn safe_paths_pass_and_unsafe_ones_do_not() {
        for good in ["a", "a/", "a/b.c", "a/..b", "a/b..", "a/...", "é/ü", "a/bc:d", "@scope/a b", "a/~x"] {
            assert!(check(good, 64).is_ok(), "{good}");
        }
        let long = format!("a/{}", "b".repeat(256));
        for bad in [
            "",
            "/",
            "/a",
            "a//b",
            "a//",
            "./a",
            "a/.",
            "..",
            "a/../b",
            "a\\b",
            "a/\0",
            "a/\u{7f}",
            "a/\u{85}x",
            "C:/a",
            "c:",
            "a/C:/b",
            &long,
            &"a/".repeat(600),
        ] {
            assert!(check(bad, 64).is_err(), "{bad:?}");
        }
        assert_eq!(check("a/b/c", 2).unwrap_err(), PathFault::TooDeep);
    }

    #[test]
    fn clashes_are_seen() {
        let mut seen = SeenPaths::new();
        assert_eq!(seen.insert("r/a", true), Clash::None);
        assert_eq!(seen.insert("r/a", true), Clash::Duplicate);
        assert_eq!(seen.insert("r/A", true), Clash::CaseFold);
        assert_eq!(seen.insert("r/a/b", true), Clash::FileAndDirectory);
        assert_eq!(seen.insert("r", true), Clash::FileAndDirectory);
        assert_eq!(seen.insert("r", false), Clash::None);
        assert_eq!(seen.insert("r", false), Clash::None);
        assert_eq!(seen.insert("r/a", false), Clash::FileAndDirectory);
        assert_eq!(seen.insert("r/e\u{301}", true), Clash::None);
        assert_eq!(seen.insert("r/\u{e9}", true), Clash::Duplicate);
        assert_eq!(seen.insert("r/\u{c9}", true), Clash::CaseFold);
    }

    #[test]
    fn windows_traps() {
        for trap in ["r/con", "r/NUL.txt", "com1/x", "r/Lpt9.c", "r/a.", "r/a ", "r/a:b"] {
            assert!(is_windows_trap(trap), "{trap}");
        }
        for fine in ["r/console", "r/com0", "r/com10", "r/é€1", "r/.a", "aux2"] {
            assert!(!is_windows_trap(fine), "{fine}");
        }
    }
}
