//! The product as a library: what holds without foreign clients. One file per aspect.

mod dependencies;
