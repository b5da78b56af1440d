//! Transactions that lose to another one.

use std::time::Duration;

/// How often a transaction that loses is tried before whoever asked is told to come back.
const MAX_ATTEMPTS: u32 = 8;

/// Runs a transaction again, each time a little later, as long as it `lost` to another one: that left nothing
/// behind.
pub async fn until_won<T, E, F>(run: impl Fn() -> F, lost: impl Fn(&E) -> bool) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    for attempt in 1..MAX_ATTEMPTS {
        match run().await {
            Err(error) if lost(&error) => tokio::time::sleep(Duration::from_millis(5 << attempt)).await,
            outcome => return outcome,
        }
    }
    run().await
}
