//! **Analysis**: what a release is made of and how risky it looks (control-plane.md §2). It is made of what is read for
//! the release anyway, so there is nothing to compute in the background and nothing that could be out of date.

use publaryn_core::finding::Severity;
use publaryn_registry::control::ReleaseView;
use serde_json::{Value, json};

use super::{super::ApiState, objects};

/// `document`: what its adapter wrote of it.
pub fn analysis(state: &ApiState, view: &ReleaseView, document: &Value) -> Value {
    let made = objects::told(state, view, document, |adapter, release| adapter.makeup(release)).unwrap_or_default();
    let stored: i64 = view.files.iter().map(|file| file.size_bytes).sum();
    let mut object = json!(made);
    object["source_version"] = json!(view.details.summary.version);
    object["artifact_count"] = json!(view.files.len());
    object["total_artifact_size_bytes"] = json!(stored);
    object["compressed_size_bytes"] = json!(made.compressed_size_bytes.unwrap_or(stored.unsigned_abs()));
    object["direct_dependency_count"] = json!(made.direct_dependency_count());
    object["risk"] = risk(view, made.install_script_count.unwrap_or(0), made.has_native_code == Some(true));
    object["notes"] = json!([]);
    object
}

/// What is known against it, and what gives its authors power over the machines that install it.
fn risk(view: &ReleaseView, install_scripts: usize, has_native_code: bool) -> Value {
    let worst = view.findings.keys().max().copied();
    let open: i64 = view.findings.values().sum();
    let mut factors = Vec::new();
    if open > 0 {
        factors.push("open_findings");
    }
    if install_scripts > 0 {
        factors.push("install_scripts");
    }
    if has_native_code {
        factors.push("native_code");
    }
    let score = worst.map_or(0, base_score).max(if install_scripts > 0 { 20 } else { 0 }) + open.clamp(0, 5);
    json!({
        "score": score,
        "level": worst.map_or("low", objects::risk_level),
        "unresolved_finding_count": open,
        "worst_unresolved_severity": worst,
        "factors": factors,
    })
}

const fn base_score(worst: Severity) -> i64 {
    match worst {
        Severity::Info => 5,
        Severity::Low => 20,
        Severity::Medium => 45,
        Severity::High => 70,
        Severity::Critical => 95,
    }
}
