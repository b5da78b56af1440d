//! Byte ranges of blob downloads and of upload chunks.

use std::ops::Range;

/// More parts than this in one request are answered with the whole (podman asks for dozens at most).
const MAX_PARTS: usize = 64;

/// What a `Range` header asks of a blob of known size (RFC 9110 §14, and what clients expect beyond it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    /// At least one, none of them empty.
    Parts(Vec<Range<u64>>),
    /// 416.
    Nothing,
}

/// Reads a `Range` header. Unknown units and what is no range at all mean the whole; a range whose end
/// lies before its start means nothing, as the conformance suite wants it.
pub fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(list) = header.and_then(|h| h.trim().strip_prefix("bytes=")) else { return Wanted::Whole };
    let mut parts = Vec::new();
    for (n, spec) in list.split(',').enumerate() {
        if n >= MAX_PARTS {
            return Wanted::Whole;
        }
        let Some((from, to)) = spec.trim().split_once('-') else { return Wanted::Whole };
        let range = match (from.trim(), to.trim()) {
            ("", "") => return Wanted::Whole,
            ("", last) => match number(last) {
                Some(last) => size.saturating_sub(last)..size,
                None => return Wanted::Whole,
            },
            (first, "") => match number(first) {
                Some(first) => first..size,
                None => return Wanted::Whole,
            },
            (first, last) => match (number(first), number(last)) {
                (Some(first), Some(last)) => first..size.min(last.saturating_add(1)),
                _ => return Wanted::Whole,
            },
        };
        if range.start < range.end {
            parts.push(range);
        }
    }
    // Parts that lie over each other would send the same bytes again and again (RFC 9110 §14.2).
    let is_more_than_whole =
        parts.iter().map(|part| part.end - part.start).try_fold(0u64, u64::checked_add) > Some(size);
    match parts.len() {
        0 => Wanted::Nothing,
        1 => Wanted::Parts(parts),
        _ if is_more_than_whole => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

/// The place of an upload chunk: first and last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    pub first: u64,
    pub last: u64,
}

impl Chunk {
    /// Reads `a-b` as the distribution specification has it, or `bytes a-b/x` as HTTP does.
    pub fn parse(header: &str) -> Option<Self> {
        let text = header.trim();
        let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
        let text = text.split_once('/').map_or(text, |(range, _)| range);
        let (first, last) = text.split_once('-')?;
        Some(Self { first: number(first.trim())?, last: number(last.trim())? })
    }

    /// How many bytes it has; `None` when it ends before it begins.
    pub fn length(self) -> Option<u64> {
        self.last.checked_sub(self.first)?.checked_add(1)
    }
}

/// Decimal digits only: no sign, no space.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Wanted::*, *};

    fn parts(ranges: &[(u64, u64)]) -> Wanted {
        Parts(ranges.iter().map(|(start, end)| *start..*end).collect())
    }

    #[test]
    fn ranges_of_ten_bytes() {
        for (header, expected) in [
            (None, Whole),
            (Some("bytes=0-0"), parts(&[(0, 1)])),
            (Some("bytes=2-4"), parts(&[(2, 5)])),
            (Some("bytes=5-"), parts(&[(5, 10)])),
            (Some("bytes=-3"), parts(&[(7, 10)])),
            (Some("bytes=-30"), parts(&[(0, 10)])),
            (Some("bytes=0-99"), parts(&[(0, 10)])),
            (Some("bytes=0-99999999999999999999999"), parts(&[(0, 10)])),
            (Some("bytes=10-"), Nothing),
            (Some("bytes=-0"), Nothing),
            (Some("bytes=500-0"), Nothing),
            (Some("bytes=0-1,3-4"), parts(&[(0, 2), (3, 5)])),
            (Some("bytes=0-1, 30-40"), parts(&[(0, 2)])),
            (Some("bytes=0-5,4-9"), Whole),
            (Some("bytes=0-,0-"), Whole),
            (Some("bytes=0-4,5-9"), parts(&[(0, 5), (5, 10)])),
            (Some("lines=0-1"), Whole),
            (Some("bytes=x-1"), Whole),
            (Some("bytes=+1-2"), Whole),
            (Some("bytes="), Whole),
        ] {
            assert_eq!(wanted(header, 10), expected, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Nothing, "an empty blob has no parts");
        assert_eq!(wanted(Some(&format!("bytes=0-0{}", ",1-1".repeat(64))), 10), Whole);
    }

    #[test]
    fn chunks_in_both_dialects() {
        for (header, expected) in [
            ("0-9", Some((0, 9))),
            ("bytes 5-9/100", Some((5, 9))),
            ("bytes=5-9", Some((5, 9))),
            (" 5 - 9 ", Some((5, 9))),
            ("9-5", Some((9, 5))),
            ("5", None),
            ("-5", None),
            ("5-", None),
            ("a-b", None),
            ("", None),
        ] {
            assert_eq!(Chunk::parse(header).map(|c| (c.first, c.last)), expected, "{header}");
        }
        assert_eq!(Chunk { first: 9, last: 5 }.length(), None);
        assert_eq!(Chunk { first: 5, last: 5 }.length(), Some(1));
        assert_eq!(Chunk { first: 0, last: u64::MAX }.length(), None);
    }

    proptest! {
        #[test]
        fn parts_lie_within_the_blob(header in "bytes=[0-9,-]{0,24}|\\PC{0,30}", size in 0u64..50) {
            if let Parts(parts) = wanted(Some(&header), size) {
                prop_assert!(!parts.is_empty() && parts.len() <= MAX_PARTS);
                prop_assert!(parts.iter().all(|p| p.start < p.end && p.end <= size));
            }
            let _ = Chunk::parse(&header).and_then(Chunk::length);
        }
    }
}
