//! Token buckets that all replicas take from.

use std::time::Duration;

use async_trait::async_trait;

use crate::ClusterError;

/// Buckets by name. Each fills by itself; what is missing in it, its *debt*, is told as the time that takes.
#[async_trait]
pub trait SharedBuckets: Send + Sync {
    /// Takes from several buckets, and tells their debts after it, in the same order.
    ///
    /// # Errors
    /// When the buckets cannot be reached; then nothing is known, least of all that nothing was taken.
    async fn charge(&self, charges: &[Charge]) -> Result<Vec<Charged>, ClusterError>;
}

/// What is to be taken from one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub bucket: String,
    /// Taken only if this much more would be in the bucket; zero takes whatever there is, and beyond.
    pub needs: Duration,
    pub cost: Duration,
    /// The debt of an empty bucket.
    pub most: Duration,
    /// Debt beyond this is forgiven.
    pub longest: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charged {
    pub is_taken: bool,
    pub debt: Duration,
}
