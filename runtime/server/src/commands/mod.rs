//! One file per command.

pub mod admin;
pub mod backup;
pub mod doctor;
pub mod migrate;
pub mod restore;
pub mod serve;
