//! The npm registry protocol: what npm, pnpm, yarn and bun speak (docs/adapters/npm.md).
//!
//! [`route`] says what a request asks for, [`publish`] takes packages in, [`packument`] gives them out.

pub mod archive;
pub mod name;
pub mod packument;
pub mod publish;
pub mod release;
pub mod route;
pub mod scanner;
pub mod signature;
pub mod strict_json;
pub mod version;
