//! Byte ranges (RFC 9110 §14): one range is served, several are answered with the whole.

use std::ops::Range;

/// What a `Range` header asks of a body of known size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeOutcome {
    /// No (usable) range: send everything.
    Whole,
    Part(Range<u64>),
    /// 416.
    Unsatisfiable,
}

/// Reads a `Range` header. Unknown units and malformed or multiple ranges mean the whole.
pub fn parse_range(header: Option<&str>, size: u64) -> RangeOutcome {
    let Some(spec) = header.and_then(|h| h.trim().strip_prefix("bytes=")) else { return RangeOutcome::Whole };
    let Some((from, to)) = spec.split_once('-').filter(|_| !spec.contains(',')) else { return RangeOutcome::Whole };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match (from.trim().is_empty(), to.trim().is_empty()) {
        (true, true) => return RangeOutcome::Whole,
        (true, false) => match number(to) {
            Some(0) => return RangeOutcome::Unsatisfiable,
            Some(last) => size.saturating_sub(last)..size,
            None => return RangeOutcome::Whole,
        },
        (false, open) => match (number(from), if open { Some(u64::MAX) } else { number(to) }) {
            (Some(first), Some(last)) if first <= last => first..size.min(last.saturating_add(1)),
            _ => return RangeOutcome::Whole,
        },
    };
    if range.start >= size { RangeOutcome::Unsatisfiable } else { RangeOutcome::Part(range) }
}

#[cfg(test)]
mod tests {
    use super::{RangeOutcome::*, parse_range};

    #[test]
    fn ranges_of_ten_bytes() {
        for (header, wanted) in [
            (None, Whole),
            (Some("bytes=0-0"), Part(0..1)),
            (Some("bytes=2-4"), Part(2..5)),
            (Some("bytes=5-"), Part(5..10)),
            (Some("bytes=-3"), Part(7..10)),
            (Some("bytes=-30"), Part(0..10)),
            (Some("bytes=0-99"), Part(0..10)),
            (Some("bytes=10-"), Unsatisfiable),
            (Some("bytes=-0"), Unsatisfiable),
            (Some("bytes=4-2"), Whole),
            (Some("bytes=0-1,3-4"), Whole),
            (Some("lines=0-1"), Whole),
            (Some("bytes=x-1"), Whole),
            (Some("bytes=0-18446744073709551615"), Part(0..10)),
        ] {
            assert_eq!(parse_range(header, 10), wanted, "{header:?}");
        }
    }
}
