//! The actor: forgets full buckets, and tells the other replicas what was used.
//!
//! It owns nothing: the buckets outlive it, and decisions go on without it. Its work is bounded by the number of
//! buckets. While it is down the map does not shrink and replicas do not hear of each other, which ends with its
//! restart. It reports the buckets, those that had to share one, and whether Redis answers.

use std::time::{Duration, Instant};

use publaryn_actors::{ChildSpec, Context};
use publaryn_cluster::{Charge, Charged};
use publaryn_core::BoxError;
use serde_json::json;

use crate::{Limiter, limiter::Inner};

/// How often the other replicas are told. Between two reports a client may use each replica as if it were alone.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// How often full buckets are forgotten; at the default limits, nobody can fill the map in less.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Buckets told of in one exchange: a fraction of a millisecond of Redis' time.
const AT_ONCE: usize = 256;

impl Limiter {
    /// The child for `root/auth`.
    pub fn upkeep(&self) -> ChildSpec {
        let limiter = self.clone();
        ChildSpec::service("rate_limits", move |context| run(limiter.clone(), context))
    }
}

async fn run(limiter: Limiter, context: Context) -> Result<(), BoxError> {
    let inner = &*limiter.0;
    let mut report = tokio::time::interval(REPORT_EVERY);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    for timer in [&mut report, &mut sweep] {
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    let is_shared = inner.cluster().buckets().is_some();
    while !context.is_stopping() {
        tokio::select! {
            _ = report.tick(), if is_shared => inner.report().await,
            _ = sweep.tick() => {
                let started = Instant::now();
                inner.buckets.sweep(inner.nanos(started));
                context.worked(started);
            }
            () = context.stopping() => break,
        }
        context.set_state(inner.state());
    }
    Ok(())
}

impl Inner {
    /// Adds what was taken here to the shared buckets, and learns what the others took. While those are away it
    /// asks whether they are back; what was taken meanwhile stays between this process and its clients.
    pub async fn report(&self) {
        let Some(shared) = self.cluster().buckets() else { return };
        let used = self.buckets.take_unreported();
        if self.is_away() {
            self.charge_shared(shared, &[]).await;
            return;
        }
        for some in used.chunks(AT_ONCE) {
            // As of before the question: the answer's debt is a little smaller by the time it is here.
            let now = self.nanos(Instant::now());
            let charges: Vec<Charge> = some
                .iter()
                .map(|(key, count)| {
                    let cost = Duration::from_nanos(self.rate(key.tier).token.saturating_mul(u64::from(*count)));
                    Charge { cost, ..self.free_of_charge(*key) }
                })
                .collect();
            let Some(charged) = self.charge_shared(shared, &charges).await else { return };
            for ((key, _), Charged { debt, .. }) in some.iter().zip(charged) {
                self.buckets.with_known(key, |bucket| {
                    let since = self.rate(key.tier).token.saturating_mul(u64::from(bucket.unreported()));
                    let debt = u64::try_from(debt.as_nanos()).unwrap_or(u64::MAX / 2);
                    bucket.learn(now, debt.saturating_add(since));
                });
            }
        }
    }

    fn state(&self) -> serde_json::Value {
        let shared = match self.cluster().buckets() {
            None => "no",
            Some(_) if self.is_away() => "away",
            Some(_) => "yes",
        };
        metrics::gauge!("publaryn_rate_limit_buckets").set(self.buckets.len() as f64);
        json!({
            "buckets": self.buckets.len(),
            "capacity": self.buckets.most(),
            "crowded_total": self.buckets.crowded(),
            "shared": shared,
        })
    }
}
