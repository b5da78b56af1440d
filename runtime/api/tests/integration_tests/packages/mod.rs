//! Packages, releases and what hangs on them over HTTP.

mod drafts;
mod package;
mod releases;
mod search;
mod security;
mod transfer;
mod triage;
