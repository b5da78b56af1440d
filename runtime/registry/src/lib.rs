//! The application layer.

pub mod identity;
