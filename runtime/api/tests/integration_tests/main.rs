//! The product as a library: what holds without foreign clients. One file per aspect.

mod app;
mod cargo;
#[path = "../shared/conformance.rs"]
mod conformance;
mod contract;
mod dependencies;
mod edge;
mod exchange;
mod governance;
#[allow(dead_code, reason = "the client tests use the rest")]
#[path = "../issuer/mod.rs"]
mod issuer;
mod limits;
mod matrix;
mod matrix_credentials;
mod matrix_moved;
mod no_oracle;
mod npm;
mod oci;
mod operators;
mod packages;
mod replicas;
