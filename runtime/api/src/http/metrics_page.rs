//! The Prometheus page.

use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

static PAGE: OnceLock<Option<MetricsPage>> = OnceLock::new();

/// Upper bounds of latency buckets, in seconds.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Everything this process measures, as text; cheap to clone.
#[derive(Clone)]
pub struct MetricsPage {
    recorder: PrometheusHandle,
    process: Arc<Collector>,
}

impl MetricsPage {
    /// Installs the process-wide recorder once. `None` when another recorder is there.
    ///
    /// `mode`: `embedded` or `external` (configuration.md §8).
    pub fn install(mode: &'static str) -> Option<Self> {
        PAGE.get_or_init(|| {
            let recorder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
                .and_then(PrometheusBuilder::install_recorder)
                .inspect_err(|error| tracing::warn!(%error, "metrics are off"))
                .ok()?;
            let process = Collector::default();
            process.describe();
            let commit = option_env!("PUBLARYN_COMMIT").unwrap_or("unknown");
            let version = env!("CARGO_PKG_VERSION");
            metrics::gauge!("publaryn_build_info", "version" => version, "commit" => commit, "mode" => mode).set(1.0);
            Some(Self { recorder, process: Arc::new(process) })
        })
        .clone()
    }

    /// The page in the Prometheus text format, process figures read now.
    pub fn render(&self) -> String {
        self.process.collect();
        self.recorder.render()
    }
}

/// Folds the samples of histograms into their buckets. The recorder keeps every single sample until
/// this is called or the page is read: without it, a server that nobody scrapes would grow for ever.
pub fn fold_samples() {
    if let Some(Some(page)) = PAGE.get() {
        page.recorder.run_upkeep();
    }
}
