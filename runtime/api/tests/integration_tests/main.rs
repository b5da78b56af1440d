//! The product as a library: what holds without foreign clients. One file per aspect.

mod app;
mod cargo;
mod dependencies;
mod governance;
mod matrix;
mod matrix_credentials;
mod npm;
mod packages;
