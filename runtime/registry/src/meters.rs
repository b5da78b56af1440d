//! Counters on every download's way: their handles are looked up once, not per request.

use std::sync::LazyLock;

use metrics::Counter;
use publaryn_core::Ecosystem;

/// One counter with an `ecosystem` label.
pub(crate) struct PerEcosystem(Vec<Counter>);

impl PerEcosystem {
    pub fn new(counter: impl Fn(&'static str) -> Counter) -> Self {
        Self(Ecosystem::ALL.iter().map(|ecosystem| counter(ecosystem.as_str())).collect())
    }
    pub fn of(&self, ecosystem: Ecosystem) -> &Counter {
        &self.0[ecosystem as usize]
    }
}

/// Which way artifact bytes went.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direction {
    /// With a publish.
    In,
    /// Opened for a download.
    Out,
}

pub(crate) fn count_bytes(direction: Direction, ecosystem: Ecosystem, bytes: u64) {
    static COUNTERS: LazyLock<[PerEcosystem; 2]> = LazyLock::new(|| {
        ["in", "out"].map(|direction| {
            PerEcosystem::new(|label| {
                metrics::counter!("publaryn_artifact_bytes_total", "direction" => direction, "ecosystem" => label)
            })
        })
    });
    COUNTERS[direction as usize].of(ecosystem).increment(bytes);
}
