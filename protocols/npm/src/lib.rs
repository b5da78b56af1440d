//! The npm registry protocol: what npm, pnpm, yarn and bun speak (docs/adapters/npm.md).
//!
//! [`route`] says what a request asks for, [`publish`] takes packages in, [`packument`] gives them out.

pub mod name;
pub mod route;
pub mod version;
