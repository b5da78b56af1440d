//! The top library: the control plane, the HTTP edge, and the composition of the whole product.
//!
//! [`App::start`] puts storage, actors, registry and adapters together and serves them on a port,
//! so integration tests run the same product as the binary.

mod app;
pub mod backends;
pub mod http;
mod protocols;
mod supervision;
pub mod v1;

/// The OpenAPI 3.1 document, as `/api-docs/openapi.json` serves it and `publaryn openapi` prints it.
pub fn openapi() -> &'static str {
    v1::openapi::text()
}

pub use app::{App, AppOptions, StartError, account_rules, identity};
pub use protocols::scanners;
