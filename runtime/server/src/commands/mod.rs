//! One file per command.

pub mod admin;
pub mod backup;
pub mod bench;
pub mod doctor;
pub mod gc;
pub mod migrate;
pub mod openapi;
pub mod restore;
pub mod serve;
