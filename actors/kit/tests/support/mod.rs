//! Waiting for facts instead of for time.

use std::time::Duration;

use publaryn_actors::{ActorSnapshot, Limits, Tree};

/// Polls until `fact` holds; gives up after a minute, which only a hang reaches.
pub async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if fact() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}

#[allow(dead_code, reason = "not every test file looks at the tree")]
pub fn find(tree: &Tree, name: &str) -> ActorSnapshot {
    tree.snapshot(Some(name), 9).expect("the actor exists").tree
}

/// The real limits with delays a test can sit through.
#[allow(dead_code, reason = "not every test file needs them")]
pub fn quick() -> Limits {
    Limits {
        delay_base: Duration::from_millis(5),
        delay_cap: Duration::from_millis(20),
        degraded_retry: Duration::from_millis(50),
        ..Limits::default()
    }
}
