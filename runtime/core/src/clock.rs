//! Time as a value: instants in microseconds and the clock that hands them out.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// An instant in whole microseconds since the Unix epoch, UTC.
///
/// Stored as a 64-bit integer in both engines, so one SQL text compares and orders it
/// (docs/adr/0003-dual-sql.md); RFC 3339 on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "sql", derive(sqlx::Type), sqlx(transparent))]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }
    pub const fn as_micros(self) -> i64 {
        self.0
    }
    pub fn now() -> Self {
        Self((OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000) as i64)
    }
    /// Time since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
    fn to_datetime(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
    /// `2026-01-02T03:04:05.678Z`: the millisecond form npm clients expect.
    pub fn to_millis_string(self) -> String {
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        self.to_datetime().format(form).unwrap_or_default()
    }
    /// `2026-01-02T03:04:05Z`: whole seconds, as Cargo's `pubtime`.
    pub fn to_seconds_string(self) -> String {
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        self.to_datetime().format(form).unwrap_or_default()
    }
    /// Date and time as zips keep them, of UTC: a later one is a greater number. Clamped to the years they can tell.
    pub fn to_dos(self) -> u32 {
        let at = self.to_datetime();
        match at.year() {
            ..1980 => 0,
            2108.. => u32::MAX,
            year => {
                let date = (year as u32 - 1980) << 9 | u32::from(u8::from(at.month())) << 5 | u32::from(at.day());
                let time = u32::from(at.hour()) << 11 | u32::from(at.minute()) << 5 | (u32::from(at.second()) / 2);
                date << 16 | time
            }
        }
    }
    /// `Fri, 02 Jan 2026 03:04:05 GMT` (RFC 9110 §5.6.7, IMF-fixdate).
    pub fn to_http_date(self) -> String {
        let form =
            format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
        self.to_datetime().format(form).unwrap_or_default()
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(rhs.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(rhs.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_datetime().format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

/// Reads RFC 3339 of any offset.
impl std::str::FromStr for Timestamp {
    type Err = time::error::Parse;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let instant = OffsetDateTime::parse(text, &Rfc3339)?;
        Ok(Self((instant.unix_timestamp_nanos() / 1_000) as i64))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where the present comes from; passed in so that rules about time can be tested.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock to share between components.
pub type SharedClock = Arc<dyn Clock>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_forms_of_one_instant() {
        let t = Timestamp::from_micros(1_767_323_045_678_901);
        assert_eq!(t.to_millis_string(), "2026-01-02T03:04:05.678Z");
        assert_eq!(t.to_seconds_string(), "2026-01-02T03:04:05Z");
        assert_eq!(t.to_http_date(), "Fri, 02 Jan 2026 03:04:05 GMT");
        assert_eq!(t.to_dos(), (46 << 9 | 1 << 5 | 2) << 16 | 3 << 11 | 4 << 5 | 2);
        let json = serde_json::to_string(&t).unwrap();
        assert_eq!(json, "\"2026-01-02T03:04:05.678901Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), t);
    }
}
