//! The HTTP edge: connections, what happens around every request, probes and metrics.

mod client_address;
pub(crate) mod cors;
mod edge;
mod leftover;
pub(crate) mod limits;
mod metrics_page;
mod probes;
mod serve;
mod surface;

pub use client_address::TrustedProxies;
pub use edge::Edge;
pub use limits::RateLimits;
pub use metrics_page::{MetricsPage, fold_samples};
pub use probes::{Probes, ReadinessState, probe_routes};
pub use serve::{HttpLimits, Listening, bind, serve};
pub use surface::Surfaces;
pub(crate) use surface::with_templates;
