//! The Cargo registry: sparse index, publishing, owners, search (docs/adapters/cargo.md).

pub mod archive;
mod category;
pub mod frame;
pub mod index;
mod manifest;
pub mod name;
pub mod own_index;
pub mod publish_json;
pub mod release;
pub mod scanner;
