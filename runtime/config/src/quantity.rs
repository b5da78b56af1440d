//! Sizes, durations and counts with their bounds in the type.

use std::{fmt, num::NonZeroU32, time::Duration};

use crate::value::{Refusal, Setting};

/// A size in bytes, at least 1; written `1048576` or `"1MiB"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// For in-memory limits: what does not fit the address space is the largest that does.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const UNITS: &[(&str, u64)] = &[
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
];

impl Setting for ByteSize {
    const EXPECTS: &'static str = "a size such as 1048576 or \"256MiB\"";

    fn parse_text(text: &str) -> Result<Self, Refusal> {
        let folded = text.trim().to_ascii_lowercase();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, factor)| folded.strip_suffix(name).map(|number| (number.trim_end(), *factor)))
            .unwrap_or((folded.as_str(), 1));
        let number: u64 = integer(number)?;
        match number.checked_mul(unit) {
            Some(0) => Err(Refusal::because("must be larger than 0")),
            Some(bytes) if bytes <= i64::MAX as u64 => Ok(Self(bytes)),
            _ => Err(Refusal::because("is larger than any file can be")),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count<const MIN: u64 = 1, const MAX: u64 = 4_294_967_295>(u64);

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    pub const fn get(self) -> u64 {
        self.0
    }
    pub fn as_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<const MIN: u64, const MAX: u64> Setting for Count<MIN, MAX> {
    const EXPECTS: &'static str = "a whole number";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        within(integer(text)?, MIN, MAX).map(Self)
    }
    fn show(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

impl<const MIN: u64, const MAX: u64> fmt::Debug for Count<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The longest duration a setting can have: a hundred years keeps date arithmetic in range.
const CENTURY_SECONDS: u64 = 36_525 * 86_400;

macro_rules! duration_setting {
    ($(#[$meta:meta])* $name:ident, $unit:literal, $per_second:literal, $multiple:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name<const MIN: u64 = 0, const MAX: u64 = { CENTURY_SECONDS * $per_second / $multiple }>(u64);

        impl<const MIN: u64, const MAX: u64> $name<MIN, MAX> {
            /// The number as written, in the unit of the type.
            pub const fn get(self) -> u64 {
                self.0
            }
            pub const fn duration(self) -> Duration {
                Duration::from_millis(self.0 * (1000 / $per_second) * $multiple)
            }
            /// For settings where 0 means "never" or "for ever".
            pub const fn unless_zero(self) -> Option<Duration> {
                if self.0 == 0 { None } else { Some(self.duration()) }
            }
        }

        impl<const MIN: u64, const MAX: u64> Setting for $name<MIN, MAX> {
            const EXPECTS: &'static str = concat!("a whole number of ", $unit);
            fn parse_text(text: &str) -> Result<Self, Refusal> {
                within(integer(text)?, MIN, MAX).map(Self)
            }
            fn show(&self) -> Option<String> {
                Some(self.0.to_string())
            }
        }

        impl<const MIN: u64, const MAX: u64> fmt::Debug for $name<MIN, MAX> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", self.0, $unit)
            }
        }
    };
}

duration_setting!(
    /// A duration in milliseconds.
    Millis, "milliseconds", 1000, 1
);
duration_setting!(
    /// A duration in seconds.
    Seconds, "seconds", 1, 1
);
duration_setting!(
    /// A duration in minutes.
    Minutes, "minutes", 1, 60
);
duration_setting!(
    /// A duration in hours.
    Hours, "hours", 1, 3600
);
duration_setting!(
    /// A duration in days.
    Days, "days", 1, 86_400
);

/// Requests per minute of one rate-limit tier, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PerMinute(NonZeroU32);

impl PerMinute {
    pub const fn get(self) -> NonZeroU32 {
        self.0
    }
}

impl Setting for PerMinute {
    const EXPECTS: &'static str = "a whole number of requests per minute";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        match integer(text)? {
            0 => Err(Refusal::because(
                "must be at least 1: 0 would refuse every request (rate_limit.enabled = false turns limits off)",
            )),
            n => within(n, 1, u64::from(u32::MAX)).map(|n| Self(NonZeroU32::MIN.saturating_add(n as u32 - 1))),
        }
    }
    fn show(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

/// How long after publishing a release may be deleted by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteWindow {
    /// Written `0`.
    Never,
    Within(Duration),
    /// Written `-1`.
    Always,
}

impl Setting for DeleteWindow {
    const EXPECTS: &'static str = "a whole number of hours, 0 (never) or -1 (always)";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        match text {
            "-1" => Ok(Self::Always),
            "0" => Ok(Self::Never),
            hours => Ok(Self::Within(Hours::<0>::parse_text(hours)?.duration())),
        }
    }
    fn show(&self) -> Option<String> {
        Some(match self {
            Self::Never => "0".to_owned(),
            Self::Always => "-1".to_owned(),
            Self::Within(window) => (window.as_secs() / 3600).to_string(),
        })
    }
}

fn integer(text: &str) -> Result<u64, Refusal> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::Unlike);
    }
    text.parse().map_err(|_| Refusal::because("is too large"))
}

fn within(n: u64, min: u64, max: u64) -> Result<u64, Refusal> {
    if n < min {
        Err(Refusal::Because(format!("must be at least {min}")))
    } else if n > max {
        Err(Refusal::Because(format!("must be at most {max}")))
    } else {
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_written() {
        let read = |text: &str| ByteSize::parse_text(text).map(ByteSize::bytes);
        assert_eq!(read("1"), Ok(1));
        assert_eq!(read("256MiB"), Ok(256 << 20));
        assert_eq!(read("10 GiB"), Ok(10 << 30));
        assert_eq!(read("10gb"), Ok(10_000_000_000));
        assert_eq!(read("5b"), Ok(5));
        for bad in ["", "MiB", "-1", "1.5GiB", "1XiB", "1e9", "0", "0MiB", "99999999TiB", "99999999999999999999"] {
            assert!(read(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn durations_keep_their_unit() {
        assert_eq!(Days::<0>::parse_text("2").unwrap().duration(), Duration::from_secs(172_800));
        assert_eq!(Millis::<0>::parse_text("200").unwrap().duration(), Duration::from_millis(200));
        assert_eq!(Minutes::<0>::parse_text("0").unwrap().unless_zero(), None);
        assert!(Hours::<0>::parse_text("18446744073709551615").is_err());
        assert!(Seconds::<60, 3600>::parse_text("59").is_err());
        assert!(Seconds::<0>::parse_text("30s").is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_shown_size_reads_back(bytes in 1u64..(1 << 62)) {
            let size = ByteSize::parse_text(&bytes.to_string()).unwrap();
            proptest::prop_assert_eq!(ByteSize::parse_text(&size.to_string()), Ok(size));
        }
    }
}
