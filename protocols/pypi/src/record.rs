//! The `RECORD` of a wheel: every file in it with its hash, as installers check it.
//!
//! Source: <https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-record-file>

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

/// Largest `RECORD`, in bytes: 100,000 lines of 80.
pub const MAX_RECORD_BYTES: u64 = 8 << 20;

/// The files of a wheel as they turned out to be: constant size per file, whatever its path.
///
/// Paths are kept as hashes with random keys, so nobody can craft two that are taken for each other.
#[derive(Debug, Default)]
pub struct Members {
    keys: RandomState,
    /// The SHA-256 of the content, where it was computed.
    found: HashMap<u64, Option<[u8; 32]>>,
}

impl Members {
    pub fn insert(&mut self, path: &str, sha256: Option<[u8; 32]>) {
        self.found.insert(self.keys.hash_one(path), sha256);
    }
}

/// A way in which a `RECORD` and the files disagree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    #[error("RECORD is not a table of paths, hashes and sizes")]
    Malformed,
    #[error("RECORD lists a file twice: {0}")]
    Twice(String),
    #[error("RECORD lists a file that is not there: {0}")]
    Absent(String),
    #[error("a file is missing from RECORD")]
    Unlisted,
    #[error("the hash in RECORD is not that of the file: {0}")]
    Hash(String),
    #[error("RECORD has no usable hash for a file: {0}")]
    NoHash(String),
}

/// Compares a `RECORD` with the files of its wheel; `dist_info` is the directory it lies in.
///
/// Hashes are compared where the members have them.
pub fn compare(record: &[u8], dist_info: &str, members: &Members) -> Result<(), Disagreement> {
    let text = std::str::from_utf8(record).map_err(|_| Disagreement::Malformed)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut left: HashMap<u64, Option<[u8; 32]>> = members.found.clone();
    let exempt = ["RECORD", "RECORD.jws", "RECORD.p7s"].map(|name| format!("{dist_info}/{name}"));
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (path, hash) = columns(line).ok_or(Disagreement::Malformed)?;
        // Tools on Windows once wrote backslashes.
        let path = path.replace('\\', "/");
        let key = members.keys.hash_one(path.as_str());
        let Some(actual) = left.remove(&key) else {
            return Err(match members.found.contains_key(&key) {
                true => Disagreement::Twice(path),
                // Signatures are added afterwards and taken away again.
                false if exempt.contains(&path) => continue,
                false => Disagreement::Absent(path),
            });
        };
        if exempt.contains(&path) {
            continue;
        }
        match (actual, Hash::parse(&hash)) {
            (None, _) | (Some(_), Hash::Other) => {}
            (Some(actual), Hash::Sha256(listed)) if actual == listed => {}
            (Some(_), Hash::Sha256(_)) => return Err(Disagreement::Hash(path)),
            (Some(_), Hash::Missing) => return Err(Disagreement::NoHash(path)),
        }
    }
    for path in &exempt {
        left.remove(&members.keys.hash_one(path.as_str()));
    }
    if left.is_empty() { Ok(()) } else { Err(Disagreement::Unlisted) }
}

enum Hash {
    Sha256([u8; 32]),
    /// Stronger than SHA-256, and not computed here.
    Other,
    Missing,
}

impl Hash {
    fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some(("sha256", value)) => {
                let decoded = BASE64_URL_SAFE_NO_PAD.decode(value.trim_end_matches('='));
                decoded.ok().and_then(|bytes| bytes.try_into().ok()).map_or(Self::Missing, Self::Sha256)
            }
            Some(("sha384" | "sha512", _)) => Self::Other,
            _ => Self::Missing,
        }
    }
}

/// Path and hash of a line; fields may be quoted, with quotes inside doubled.
fn columns(line: &str) -> Option<(String, String)> {
    let mut columns = Vec::with_capacity(3);
    let mut rest = line;
    loop {
        let column;
        (column, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_column(quoted)?,
            None => rest.find(',').map_or((rest.to_owned(), ""), |at| (rest[..at].to_owned(), &rest[at..])),
        };
        columns.push(column);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.is_empty() => break,
            None => return None,
        }
        if columns.len() == 3 {
            return None;
        }
    }
    match <[String; 3]>::try_from(columns) {
        Ok([path, hash, _]) if !path.is_empty() => Some((path, hash)),
        _ => None,
    }
}

fn quoted_column(text: &str) -> Option<(String, &str)> {
    let mut column = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        column.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                column.push('"');
                rest = more;
            }
            None => return Some((column, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    const INFO: &str = "demo-1.0.dist-info";

    fn members(files: &[(&str, &[u8])]) -> Members {
        let mut members = Members::default();
        for (path, data) in files {
            members.insert(path, Some(Sha256::digest(data).into()));
        }
        members.insert("demo-1.0.dist-info/RECORD", None);
        members
    }

    fn line(path: &str, data: &[u8]) -> String {
        format!("{path},sha256={},{}\n", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(data)), data.len())
    }

    #[test]
    fn a_record_must_list_exactly_what_is_there() {
        let members = members(&[("demo/a.py", b"a"), ("demo/b,\"c.py", b"b")]);
        let good = [line("demo/a.py", b"a"), line("\"demo/b,\"\"c.py\"", b"b"), format!("{INFO}/RECORD,,\n")].concat();
        let check = |text: &str| compare(text.as_bytes(), INFO, &members);
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&good.replace('\n', "\r\n")), Ok(()));
        assert_eq!(check(&good.replace("demo/a.py", "demo\\a.py")), Ok(()));
        assert_eq!(check(&format!("{good}{INFO}/RECORD.jws,,\n")), Ok(()));
        assert_eq!(check(&format!("{good}demo/x.py,,\n")), Err(Disagreement::Absent("demo/x.py".into())));
        assert_eq!(check(&format!("{good}../evil,,\n")), Err(Disagreement::Absent("../evil".into())));
        assert_eq!(check(&good.replace(&line("demo/a.py", b"a"), "")), Err(Disagreement::Unlisted));
        assert_eq!(check(&format!("{good}{}", line("demo/a.py", b"a"))), Err(Disagreement::Twice("demo/a.py".into())));
        assert_eq!(
            check(&good.replace(&line("demo/a.py", b"a"), &line("demo/a.py", b"x"))),
            Err(Disagreement::Hash("demo/a.py".into()))
        );
        for weak in ["demo/a.py,,1\n", "demo/a.py,md5=abc,1\n", "demo/a.py,sha256=zz,1\n"] {
            let text = good.replace(&line("demo/a.py", b"a"), weak);
            assert_eq!(check(&text), Err(Disagreement::NoHash("demo/a.py".into())), "{weak}");
        }
        let strong = good.replace(&line("demo/a.py", b"a"), "demo/a.py,sha512=abc,1\n");
        assert_eq!(check(&strong), Ok(()));
        for broken in ["a\n", "a,b\n", "a,b,c,d\n", ",b,c\n", "\"a,b,c\n", "\"a\"x,b,c\n"] {
            assert_eq!(check(broken), Err(Disagreement::Malformed), "{broken}");
        }
        assert_eq!(compare(b"\xff", INFO, &members), Err(Disagreement::Malformed));
    }

    #[test]
    fn without_hashes_only_the_paths_count() {
        let mut members = Members::default();
        members.insert("a", None);
        assert_eq!(compare(b"a,,\n", INFO, &members), Ok(()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = compare(&bytes, INFO, &members(&[("a", b"a")]));
        }

        #[test]
        fn quoted_paths_come_back(path in "[ -~]{1,30}") {
            let mut members = Members::default();
            members.insert(&path.replace('\\', "/"), None);
            let line = format!("\"{}\",,\n", path.replace('"', "\"\""));
            prop_assert_eq!(compare(line.as_bytes(), INFO, &members), Ok(()));
        }
    }
}
