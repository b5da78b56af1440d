//! The product as a library: what holds without foreign clients. One file per aspect.

mod app;
mod dependencies;
mod governance;
mod npm;
