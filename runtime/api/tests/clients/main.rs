//! Real clients against the real program, on the embedded default and on PostgreSQL + Redis + S3.
//!
//! Every test starts its own `publaryn` process on a random port with a scratch data directory and
//! stops it by process id. The external variants run when `make test` has started the services.

mod cargo;
mod npm;
mod npm_upload;
mod pypi;
mod server;

mod crashes;

pub use server::{Backend, Server, User};

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
                body($crate::Server::start($crate::Backend::Embedded).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn external() {
                let Some(backend) = $crate::Backend::external().await else {
                    eprintln!("no external services in this run (make test starts them)");
                    return;
                };
                let body = $body;
                body($crate::Server::start(backend).await).await;
            }
        }
    };
}
