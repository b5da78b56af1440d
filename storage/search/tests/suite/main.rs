//! One contract for every search back end, and what is particular to each.

mod contract;
mod embedded;
mod fake_meilisearch;
mod meilisearch;
mod sample;
mod scale;
