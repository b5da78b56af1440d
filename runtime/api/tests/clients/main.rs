//! Real clients against the real program, on the embedded default and on PostgreSQL + Redis + S3.
//!
//! Every test starts its own `publaryn` process on a random port with a scratch data directory and
//! stops it by process id. The external variants run when `make test` has started the services.

mod cargo;
mod collecting;
mod composer;
mod drafts;
mod faults;
#[allow(dead_code, reason = "the integration tests use the rest")]
#[path = "../issuer/mod.rs"]
mod issuer;
mod maven;
mod metrics;
mod npm;
mod npm_upload;
mod nuget;
mod oci;
mod openapi;
mod process;
mod pypi;
mod rubygems;
mod server;
mod trusted;

pub use server::{Backend, Server, User, bulk};

/// No test needs longer, even on a busy machine: one that hangs must not keep the others from being reported.
pub const TEST_WITHIN: std::time::Duration = std::time::Duration::from_secs(480);

/// Runs a test body within [`TEST_WITHIN`].
pub async fn bounded(body: impl Future<Output = ()>) {
    assert!(tokio::time::timeout(TEST_WITHIN, body).await.is_ok(), "the test did not end within {TEST_WITHIN:?}");
}

/// Runs one test body on every backend of this run: `on_backends!(name, async |server: Server| { … });`
#[macro_export]
macro_rules! on_backends {
    ($name:ident, $body:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "bodies use what their file imports")]
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn embedded() {
                let body = $body;
                $crate::bounded(async { body($crate::Server::start($crate::Backend::Embedded).await).await }).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn external() {
                let Some(backend) = $crate::Backend::external().await else {
                    eprintln!("no external services in this run (make test starts them)");
                    return;
                };
                let body = $body;
                $crate::bounded(async { body($crate::Server::start(backend).await).await }).await;
            }
        }
    };
}
