//! What scanners report about an artifact (scanning.md §2).

use serde::{Deserialize, Serialize};

text_enum! {
    /// How bad a finding is; ordered from harmless to critical.
    pub enum Severity { Info = "info", Low = "low", Medium = "medium", High = "high", Critical = "critical" }
}

text_enum! {
    /// The kind of a finding on the API (control-plane.md §2); finer words are the `category`.
    pub enum FindingKind {
        Vulnerability = "vulnerability",
        Malware = "malware",
        PolicyViolation = "policy_violation",
        SecretsExposed = "secrets_exposed",
        SuspiciousInstallHook = "suspicious_install_hook",
        ArchiveBomb = "archive_bomb",
        FileTypeAnomaly = "file_type_anomaly",
        DependencyConfusion = "dependency_confusion",
    }
}

text_enum! {
    /// The scanner family that speaks (scanning.md §2, kinds).
    pub enum Category {
        ArchiveUnsafe = "archive_unsafe",
        ArchiveLimit = "archive_limit",
        MetadataMismatch = "metadata_mismatch",
        InstallHook = "install_hook",
        MalwareHeuristic = "malware_heuristic",
        MalwareSignature = "malware_signature",
        MaliciousAdvisory = "malicious_advisory",
        Secret = "secret",
        Vulnerability = "vulnerability",
        DependencyVulnerability = "dependency_vulnerability",
        DependencyConfusion = "dependency_confusion",
        NameConfusion = "name_confusion",
        License = "license",
        ScannerFailure = "scanner_failure",
    }
}

/// One observation of a scanner, before it is stored.
///
/// (artifact SHA-256, `rule_id`, `location`) is its identity: scanning unchanged bytes again
/// updates the stored finding and never reopens a resolved one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `ARC-T2`, `META-DEPS`, …: the family prefix and the rule.
    pub rule_id: String,
    pub kind: FindingKind,
    pub category: Category,
    pub severity: Severity,
    /// One line for people; no secrets.
    pub title: String,
    pub description: Option<String>,
    /// Path inside the artifact, or empty for the artifact as a whole.
    pub location: String,
}
