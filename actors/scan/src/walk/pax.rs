//! PAX extended header records (POSIX.1-2017 pax, "pax Extended Header"), read strictly: never skip a bad one.

use std::{collections::HashSet, str};

/// What the records of one extended header change about the entry that follows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) has_link: bool,
}

impl Pax {
    /// Reads the body of a type `x` (or, with `is_global`, type `g`) entry.
    ///
    /// # Errors
    /// A sentence saying what is wrong; the rule is always T2.
    pub(super) fn parse(body: &[u8], is_global: bool) -> Result<Self, &'static str> {
        let mut pax = Self::default();
        let mut seen = HashSet::new();
        let mut rest = body;
        while !rest.is_empty() {
            let (key, value);
            (key, value, rest) = record(rest)?;
            if !seen.insert(key) {
                return Err("a pax header repeats a key");
            }
            pax.apply(key, value, is_global)?;
        }
        Ok(pax)
    }

    fn apply(&mut self, key: &str, value: &[u8], is_global: bool) -> Result<(), &'static str> {
        match key {
            "path" | "linkpath" | "size" if is_global => Err("a global pax header sets the path or size of entries"),
            "path" => {
                let path = str::from_utf8(value).map_err(|_| "a pax path is not utf-8")?;
                // POSIX: an empty value deletes the record; readers differ.
                if path.is_empty() {
                    return Err("a pax path is empty");
                }
                self.path = Some(path.to_owned());
                Ok(())
            }
            "linkpath" => {
                self.has_link = true;
                Ok(())
            }
            "size" => {
                self.size = Some(decimal(value).ok_or("a pax size is malformed")?);
                Ok(())
            }
            "hdrcharset" if value != b"ISO-IR 10646 2000 UTF-8" && value != b"BINARY" => {
                Err("a pax header changes the character set")
            }
            key if key.starts_with("GNU.sparse.") || key == "SCHILY.realsize" => Err("the tar entry is sparse"),
            key if key.starts_with("GNU.volume.") => Err("the tar archive has several volumes"),
            _ => Ok(()),
        }
    }
}

/// Splits `<length> <key>=<value>\n` off the front.
fn record(bytes: &[u8]) -> Result<(&str, &[u8], &[u8]), &'static str> {
    const MALFORMED: &str = "a pax header has a malformed record";
    // A longer number could not be a length we accept.
    let space = bytes.iter().take(12).position(|b| *b == b' ').ok_or(MALFORMED)?;
    let length = decimal(&bytes[..space]).and_then(|n| usize::try_from(n).ok()).ok_or(MALFORMED)?;
    if length > bytes.len() || length < space + 4 {
        return Err(MALFORMED);
    }
    let (record, rest) = bytes.split_at(length);
    let body = record[space + 1..].strip_suffix(b"\n").ok_or(MALFORMED)?;
    let equals = body.iter().position(|b| *b == b'=').ok_or(MALFORMED)?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    let key = str::from_utf8(key).map_err(|_| MALFORMED)?;
    if key.is_empty() || key.chars().any(char::is_control) {
        return Err(MALFORMED);
    }
    // node-tar splits the body at line feeds and takes every line that looks like a record.
    let hides_record = |line: &[u8]| {
        let line = line.trim_ascii_start();
        line.first().is_some_and(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-')) && line.contains(&b'=')
    };
    if value.split(|b| *b == b'\n').skip(1).any(hides_record) {
        return Err("a pax value hides a second record");
    }
    Ok((key, value, rest))
}

/// Decimal digits without sign or leading zero.
fn decimal(digits: &[u8]) -> Option<u64> {
    let is_plain = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first() != Some(&b'0'));
    if is_plain { str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_and_unknown_keys_ignored() {
        let body = b"16 path=root/\xc3\xa9\n10 size=5\n20 SCHILY.xattr.x=\n\n";
        let body = &body[..];
        assert_eq!(Pax::parse(body, false), Ok(Pax { path: Some("root/é".into()), size: Some(5), has_link: false }));
        assert_eq!(Pax::parse(b"15 comment=abc\n", true), Ok(Pax::default()));
    }

    #[test]
    fn every_ambiguous_record_is_refused() {
        let bad: &[&[u8]] = &[
            b"9 path=ab",
            b"10 path=ab\n",
            b"011 path=ab\n",
            b" 10 path=a\n",
            b"9 path=a\n9 path=b\n",
            b"8 path=\n",
            b"11 size=007\n",
            b"10 size=+1\n",
            b"99 path=a\n",
            b"7 =abc\n",
            b"8 pathab\n",
            b"x path=a\n",
            b"22 GNU.sparse.major=1\n",
            b"23 comment=a\n9 path=b\n\n",
            b"9 path=\xff\n",
            b"9 path=a\n\0\0",
        ];
        for body in bad {
            assert!(Pax::parse(body, false).is_err(), "{}", body.escape_ascii());
        }
        assert!(Pax::parse(b"9 path=a\n", false).is_ok());
        assert!(Pax::parse(b"9 path=a\n", true).is_err());
    }
}
