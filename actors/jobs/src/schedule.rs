//! When work comes up by itself (jobs.md §4).

use std::time::Duration;

use croner::Cron;
use publaryn_core::{Timestamp, job::JobKind};
use std::str::FromStr;

/// A kind of job that is enqueued again and again.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub name: &'static str,
    pub kind: JobKind,
    pub every: Every,
}

/// The rhythm of a schedule, in UTC.
#[derive(Debug, Clone)]
pub enum Every {
    /// Whole periods since the epoch, shifted by an offset.
    Period { period: Duration, offset: Duration },
    Cron(Box<Cron>, &'static str),
}

impl Schedule {
    pub fn period(name: &'static str, kind: JobKind, period: Duration, offset: Duration) -> Self {
        Self { name, kind, every: Every::Period { period, offset } }
    }

    /// # Panics
    /// When `pattern` is not a cron pattern: patterns are constants of the program.
    pub fn cron(name: &'static str, kind: JobKind, pattern: &'static str) -> Self {
        let cron = Cron::from_str(pattern).expect("a constant cron pattern is valid");
        Self { name, kind, every: Every::Cron(Box::new(cron), pattern) }
    }

    /// How it is shown: a cron pattern, or `every 30s`.
    pub fn pattern(&self) -> String {
        match &self.every {
            Every::Period { period, .. } => format!("every {}s", period.as_secs()),
            Every::Cron(_, pattern) => (*pattern).to_owned(),
        }
    }

    /// The last tick at or before `now`, and the one after it.
    pub(crate) fn around(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        match &self.every {
            Every::Period { period, offset } => {
                let (period, offset) = (micros(*period).max(1), micros(*offset));
                let last = (now.as_micros() - offset).div_euclid(period) * period + offset;
                (Timestamp::from_micros(last), Timestamp::from_micros(last + period))
            }
            // Every pattern here ticks at least daily and on whole minutes: two days back are enough.
            Every::Cron(cron, _) => {
                let minute = 60_000_000;
                let this = now.as_micros().div_euclid(minute) * minute;
                let hit = |at: i64| matches(cron, at);
                let last = (0..2 * 1440).map(|n| this - n * minute).find(|at| hit(*at)).unwrap_or(this);
                let next = (1..=2 * 1440).map(|n| this + n * minute).find(|at| hit(*at)).unwrap_or(this + minute);
                (Timestamp::from_micros(last), Timestamp::from_micros(next))
            }
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn matches(cron: &Cron, micros: i64) -> bool {
    chrono::DateTime::from_timestamp_micros(micros)
        .is_some_and(|at: chrono::DateTime<chrono::Utc>| cron.is_time_matching(&at).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        serde_json::from_value(text.into()).unwrap()
    }

    #[test]
    fn ticks_lie_around_now() {
        let half_minute =
            Schedule::period("x", JobKind::FlushDownloads, Duration::from_secs(30), Duration::ZERO);
        assert_eq!(half_minute.around(at("2026-01-02T03:04:45Z")), (at("2026-01-02T03:04:30Z"), at("2026-01-02T03:05:00Z")));
        let daily = Schedule::cron("y", JobKind::VerifyBlobs, "17 3 * * *");
        assert_eq!(daily.around(at("2026-01-02T03:04:45Z")), (at("2026-01-01T03:17:00Z"), at("2026-01-02T03:17:00Z")));
        assert_eq!(daily.around(at("2026-01-02T03:17:00Z")).0, at("2026-01-02T03:17:00Z"));
    }
}
