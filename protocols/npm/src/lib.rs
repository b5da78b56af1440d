//! The npm registry protocol: what npm, pnpm, yarn and bun speak (docs/adapters/npm.md).
//!
//! [`route`] says what a request asks for, [`packument`] gives packages out.

pub mod name;
pub mod packument;
pub mod publish;
pub mod release;
pub mod route;
pub mod signature;
pub mod strict_json;
pub mod version;
