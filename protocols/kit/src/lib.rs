//! What every native adapter is made of: the [`Adapter`] trait and the HTTP manners they share.
//!
//! Adapters see a `Registry`, never a pool, a bucket or a key; they decide nothing about access and
//! serve only what a proof (`PackageView`, `ServableArtifact`) was handed out for.

mod adapter;
mod base_url;
mod body;
mod dialect;
mod failure;
pub mod makeup;
mod metadata;
mod multipart;
mod range;
pub mod replacement;
mod route;
pub mod strict_json;
pub mod strict_xml;
mod transfer;

pub use adapter::{Adapter, DraftFile, KeptFile, KeptRelease, Login, Mount, RequestFacts};
pub use base_url::{BaseUrl, PROXY_HEADERS, forwarded_parameter};
pub use body::{byte_stream, drain, read_body};
pub use dialect::{Dialect, NOSNIFF, Refusal, render};
pub use failure::{Reason, error_response, error_status, json_error};
pub use makeup::Makeup;
pub use metadata::{matches_etag, respond_rendered};
pub use multipart::{Form, FormLimits, Part};
pub use range::{RangeOutcome, parse_range};
pub use route::{RouteTemplate, note_route};
pub use transfer::{is_unchanged, respond_artifact, respond_recallable};
