//! When recurring work is due (jobs.md §4): pure functions of time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use publaryn_core::{Timestamp, job::JobKind};
use publaryn_metadata::jobs::NewJob;

#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is not a cron pattern")]
pub struct ScheduleError {
    pattern: String,
    #[source]
    source: croner::errors::CronError,
}

/// The rhythm of a schedule, in UTC.
#[derive(Debug, Clone)]
pub enum Cadence {
    Cron(Box<croner::Cron>),
    /// At every multiple of `period` since 1970, plus `offset`.
    Every {
        period: Duration,
        offset: Duration,
    },
}

impl Cadence {
    /// Five fields, minutes first.
    pub fn cron(pattern: &str) -> Result<Self, ScheduleError> {
        pattern
            .parse()
            .map(|cron| Self::Cron(Box::new(cron)))
            .map_err(|source| ScheduleError { pattern: pattern.to_owned(), source })
    }

    /// The latest tick at or before `now`.
    pub fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.find_previous_occurrence(&datetime(now)?, true).ok().map(timestamp),
            Self::Every { period, offset } => {
                let (period, offset) = (period.as_micros() as i64, offset.as_micros() as i64);
                Some(Timestamp::from_micros((now.as_micros() - offset).div_euclid(period.max(1)) * period + offset))
            }
        }
    }

    /// The first tick after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.find_next_occurrence(&datetime(now)?, false).ok().map(timestamp),
            Self::Every { period, .. } => self.latest(now).map(|tick| tick + *period),
        }
    }
}

impl std::fmt::Display for Cadence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cron(cron) => f.write_str(cron.pattern.as_str()),
            Self::Every { period, offset } if offset.is_zero() => write!(f, "@every {}s", period.as_secs()),
            Self::Every { period, offset } => write!(f, "@every {}s+{}s", period.as_secs(), offset.as_secs()),
        }
    }
}

/// In whole seconds, as cron counts: the parser carries a fraction over to the tick, which would then be
/// another one at every look.
fn datetime(at: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.as_micros().div_euclid(1_000_000), 0)
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp::from_micros(at.timestamp_micros())
}

/// A recurring job with the unique key `all`.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub name: String,
    pub kind: JobKind,
    pub cadence: Cadence,
}

impl Schedule {
    pub fn new(name: &str, kind: JobKind, cadence: Cadence) -> Self {
        Self { name: name.to_owned(), kind, cadence }
    }

    pub(crate) fn job(&self) -> NewJob {
        NewJob::new(self.kind, &serde_json::json!({}))
            .unique("all".to_owned())
            .by(Some(format!("schedule:{}", self.name)), None)
    }
}

/// The schedules of jobs.md §4, with `gc.interval_minutes` as `gc_interval`.
pub fn default_schedules(gc_interval: Duration) -> Vec<Schedule> {
    let every = |period, offset| Cadence::Every { period, offset };
    let seconds = Duration::from_secs;
    let cron = |pattern| Cadence::cron(pattern).expect("the patterns below are valid; a test parses them");
    vec![
        Schedule::new("expired-tokens", JobKind::CleanupExpiredTokens, cron("*/10 * * * *")),
        Schedule::new("oci-blobs", JobKind::CleanupOciBlobs, every(gc_interval, seconds(0))),
        Schedule::new("blobs", JobKind::CleanupBlobs, every(gc_interval, seconds(300))),
        Schedule::new("prune-jobs", JobKind::PruneJobs, cron("*/15 * * * *")),
        Schedule::new("downloads", JobKind::FlushDownloads, every(seconds(30), seconds(0))),
        Schedule::new("reconcile", JobKind::ReconcileReleases, every(seconds(30), seconds(0))),
        Schedule::new("verify-blobs", JobKind::VerifyBlobs, cron("17 3 * * *")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        serde_json::from_str(&format!("\"{text}\"")).unwrap()
    }

    #[test]
    fn ticks_before_and_after() {
        let now = at("2026-01-02T03:04:05Z");
        let cases = [
            (Cadence::cron("*/10 * * * *").unwrap(), "2026-01-02T03:00:00Z", "2026-01-02T03:10:00Z"),
            (Cadence::cron("17 3 * * *").unwrap(), "2026-01-01T03:17:00Z", "2026-01-02T03:17:00Z"),
            (
                Cadence::Every { period: Duration::from_secs(30), offset: Duration::ZERO },
                "2026-01-02T03:04:00Z",
                "2026-01-02T03:04:30Z",
            ),
            (
                Cadence::Every { period: Duration::from_secs(3600), offset: Duration::from_secs(300) },
                "2026-01-02T02:05:00Z",
                "2026-01-02T03:05:00Z",
            ),
        ];
        for (cadence, latest, next) in cases {
            assert_eq!(cadence.latest(now), Some(at(latest)), "{cadence}");
            assert_eq!(cadence.next(now), Some(at(next)), "{cadence}");
        }
        let on_time = at("2026-01-02T03:10:00Z");
        assert_eq!(Cadence::cron("*/10 * * * *").unwrap().latest(on_time), Some(on_time));
        assert!(Cadence::cron("every day").is_err());
    }

    #[test]
    fn default_schedules_are_those_of_the_contract() {
        let all = default_schedules(Duration::from_secs(3600));
        let shown: Vec<_> = all.iter().map(|s| format!("{} {}", s.name, s.cadence)).collect();
        assert_eq!(shown[0], "expired-tokens */10 * * * *");
        assert_eq!(shown[2], "blobs @every 3600s+300s");
        assert_eq!(shown.len(), 7);
    }
}
