//! The decision.
//!
//! Most tiers are decided by this process' own bucket at once, and what was taken is added to the shared bucket
//! soon after ([`super::upkeep`]); the answer brings back what the other replicas took. So a read never waits for
//! Redis, and replicas together let through at most what reaches them between two reports beyond the limit, which
//! is then paid back. [`Tier::is_exact`] asks the shared bucket first. Without an answer the own bucket decides:
//! there is a limit per process then, never none.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use metrics::Counter;
use publaryn_cluster::{Charge, Charged, Cluster, SharedBuckets};

use crate::{
    Payer, Verdict,
    bucket::{Bucket, Nanos, Rate, Taken, longest_debt},
    buckets::Buckets,
    tier::{Key, Tier},
};

/// Longest wait for the shared bucket; a healthy Redis takes well below a millisecond.
const PATIENCE: Duration = Duration::from_millis(250);

/// Requests per minute of each tier.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub auth: NonZeroU32,
    pub write: NonZeroU32,
    pub read: NonZeroU32,
    pub protocol_read: NonZeroU32,
    pub protocol_write: NonZeroU32,
}

/// The limits and everybody's buckets; cheap to clone.
#[derive(Clone)]
pub struct Limiter(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    began: Instant,
    rates: [Rate; Tier::ALL.len()],
    refused: [Counter; Tier::ALL.len()],
    pub buckets: Buckets,
    cluster: Arc<dyn Cluster>,
    /// The shared buckets did not answer lately.
    is_away: AtomicBool,
}

impl Limiter {
    /// Shares with other replicas if the cluster has buckets.
    pub fn new(limits: Limits, cluster: Arc<dyn Cluster>) -> Self {
        let rate = |tier| {
            Rate::per_minute(match tier {
                Tier::Auth => limits.auth,
                Tier::Write => limits.write,
                Tier::Read => limits.read,
                Tier::ProtocolRead => limits.protocol_read,
                Tier::ProtocolWrite => limits.protocol_write,
            })
        };
        let refused = |tier: Tier| {
            let counter = metrics::counter!("publaryn_rate_limited_total", "tier" => tier.as_str());
            // Shown as zero from the start: a metric that appears with its first event cannot be alerted on.
            counter.increment(0);
            counter
        };
        Self(Arc::new(Inner {
            began: Instant::now(),
            rates: Tier::ALL.map(rate),
            refused: Tier::ALL.map(refused),
            buckets: Buckets::default(),
            cluster,
            is_away: AtomicBool::new(false),
        }))
    }

    /// Takes one request of this tier from the payer's bucket.
    pub async fn take(&self, tier: Tier, payer: Payer, now: Instant) -> Verdict {
        self.ask(tier, payer, now, Bucket::take, Ask::Take).await
    }

    /// Whether a request of this tier would be let through; takes nothing. For what counts only if it fails.
    pub async fn check(&self, tier: Tier, payer: Payer, now: Instant) -> Verdict {
        let look = |bucket: &Bucket, now, rate: Rate| {
            let debt = bucket.debt(now);
            Taken { is_taken: rate.allows(debt), debt }
        };
        self.ask(tier, payer, now, look, Ask::Check).await
    }

    /// Takes one request that was let through before, if need be from an empty bucket.
    pub async fn charge(&self, tier: Tier, payer: Payer, now: Instant) {
        let charge = |bucket: &Bucket, now, rate: Rate| Taken { is_taken: true, debt: bucket.charge(now, rate) };
        self.ask(tier, payer, now, charge, Ask::Charge).await;
    }

    async fn ask(
        &self,
        tier: Tier,
        payer: Payer,
        now: Instant,
        own: impl Fn(&Bucket, Nanos, Rate) -> Taken,
        ask: Ask,
    ) -> Verdict {
        let (key, rate, now) = (Key { tier, payer }, self.0.rate(tier), self.0.nanos(now));
        let taken = match self.0.shared().filter(|_| tier.is_exact()) {
            Some(shared) => match self.0.ask_shared(shared, key, now, ask).await {
                Some(taken) => taken,
                None => self.0.buckets.with(key, |bucket| own(bucket, now, rate)),
            },
            None => {
                let taken = self.0.buckets.with(key, |bucket| own(bucket, now, rate));
                if taken.is_taken && ask != Ask::Check && self.0.cluster.buckets().is_some() {
                    self.0.buckets.owe_report(key);
                }
                taken
            }
        };
        if !taken.is_taken {
            self.0.refused[tier as usize].increment(1);
        }
        Verdict::new(rate, taken.is_taken, taken.debt)
    }
}

/// What is asked of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Take,
    Check,
    Charge,
}

impl Inner {
    pub fn rate(&self, tier: Tier) -> Rate {
        self.rates[tier as usize]
    }

    pub fn nanos(&self, at: Instant) -> Nanos {
        u64::try_from(at.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX / 2)
    }

    /// The buckets of all replicas together, while they answer.
    fn shared(&self) -> Option<&dyn SharedBuckets> {
        self.cluster.buckets().filter(|_| !self.is_away.load(Ordering::Relaxed))
    }

    /// Asks the shared bucket, and learns from its answer; `None` when there is none.
    async fn ask_shared(&self, shared: &dyn SharedBuckets, key: Key, now: Nanos, ask: Ask) -> Option<Taken> {
        let rate = self.rate(key.tier);
        let known = self.buckets.with_known(&key, |bucket| bucket.debt(now)).unwrap_or(0);
        if ask != Ask::Charge && !rate.allows(known) {
            // Known to be empty: nobody else can have filled it.
            return Some(Taken { is_taken: false, debt: known });
        }
        let token = Duration::from_nanos(rate.token);
        let charge = Charge {
            needs: if ask == Ask::Charge { Duration::ZERO } else { token },
            cost: if ask == Ask::Check { Duration::ZERO } else { token },
            ..self.free_of_charge(key)
        };
        let [Charged { is_taken, debt }] = self.charge_shared(shared, &[charge]).await?.try_into().ok()?;
        let debt = u64::try_from(debt.as_nanos()).unwrap_or(u64::MAX / 2);
        if debt > 0 {
            self.buckets.with(key, |bucket| bucket.learn(now, debt));
        }
        Some(Taken { is_taken, debt })
    }

    pub fn free_of_charge(&self, key: Key) -> Charge {
        let most = Duration::from_nanos(self.rate(key.tier).most());
        let (needs, cost) = (Duration::ZERO, Duration::ZERO);
        Charge { bucket: key.to_string(), needs, cost, most, longest: longest_debt() }
    }

    /// One exchange with the shared buckets, and what it says of their being there.
    pub async fn charge_shared(&self, shared: &dyn SharedBuckets, charges: &[Charge]) -> Option<Vec<Charged>> {
        let answer = tokio::time::timeout(PATIENCE, shared.charge(charges)).await;
        let (answer, cause) = match answer {
            Ok(Ok(charged)) if charged.len() == charges.len() => (Some(charged), None),
            Ok(Ok(_)) => (None, Some("an answer that does not fit".to_owned())),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(_) => (None, Some("no answer in time".to_owned())),
        };
        let was_away = self.is_away.swap(answer.is_none(), Ordering::Relaxed);
        metrics::gauge!("publaryn_rate_limit_shared").set(if answer.is_some() { 1.0 } else { 0.0 });
        match (was_away, cause) {
            (false, Some(cause)) => tracing::warn!(cause, "rate limits hold per process until redis is back"),
            (true, None) => tracing::info!("rate limits are shared again"),
            _ => {}
        }
        answer
    }

    pub fn cluster(&self) -> &dyn Cluster {
        &*self.cluster
    }
    pub fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }
}
