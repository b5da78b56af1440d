//! The bounded collection a scanner writes to, and the one place that words a finding.

use publaryn_core::finding::{Category, Finding, FindingKind, Severity};

/// Findings one scanner may report on one artifact (scanning.md §2).
pub const MAX_FINDINGS: usize = 200;
/// Longest title, description and location, in bytes. The evidence bound of scanning.md §2 is the description's.
pub const MAX_TITLE_BYTES: usize = 200;
pub const MAX_DESCRIPTION_BYTES: usize = 512;
pub const MAX_LOCATION_BYTES: usize = 1024;

/// Words a finding about the artifact as a whole; the API's kind follows from category and severity.
///
/// `kind: malware` always blocks (control-plane.md §8.2), so a heuristic gets it only when critical.
pub fn finding(rule_id: &str, category: Category, severity: Severity, title: impl Into<String>) -> Finding {
    Finding {
        rule_id: rule_id.to_owned(),
        kind: kind_of(category, severity),
        category,
        severity,
        title: title.into(),
        description: None,
        location: String::new(),
    }
}

fn kind_of(category: Category, severity: Severity) -> FindingKind {
    match category {
        Category::ArchiveUnsafe => FindingKind::FileTypeAnomaly,
        Category::ArchiveLimit => FindingKind::ArchiveBomb,
        Category::MetadataMismatch | Category::License | Category::ScannerFailure => FindingKind::PolicyViolation,
        Category::InstallHook => FindingKind::SuspiciousInstallHook,
        Category::MalwareHeuristic if severity < Severity::Critical => FindingKind::SuspiciousInstallHook,
        Category::MalwareHeuristic | Category::MalwareSignature | Category::MaliciousAdvisory => FindingKind::Malware,
        Category::Secret => FindingKind::SecretsExposed,
        Category::Vulnerability | Category::DependencyVulnerability => FindingKind::Vulnerability,
        Category::DependencyConfusion | Category::NameConfusion => FindingKind::DependencyConfusion,
    }
}

/// At most [`MAX_FINDINGS`] findings with bounded texts; what does not fit is summed up in one more.
#[derive(Debug, Default)]
pub struct Findings {
    kept: Vec<Finding>,
    suppressed: Option<Suppressed>,
}

/// What the `truncated` finding must still say: how many, and the worst of them (which may block).
#[derive(Debug)]
struct Suppressed {
    count: u64,
    worst: Finding,
}

impl Findings {
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the finding, or counts it once the cap is reached. Texts are cut and stripped of control characters.
    pub fn push(&mut self, mut finding: Finding) {
        tidy(&mut finding.title, MAX_TITLE_BYTES);
        tidy(&mut finding.location, MAX_LOCATION_BYTES);
        if let Some(text) = &mut finding.description {
            tidy(text, MAX_DESCRIPTION_BYTES);
        }
        if self.kept.len() < MAX_FINDINGS {
            self.kept.push(finding);
            return;
        }
        match &mut self.suppressed {
            None => self.suppressed = Some(Suppressed { count: 1, worst: finding }),
            Some(seen) => {
                seen.count += 1;
                if finding.severity > seen.worst.severity {
                    seen.worst = finding;
                }
            }
        }
    }

    /// Shorthand for [`finding`] at a path inside the artifact.
    pub fn add(&mut self, rule_id: &str, category: Category, severity: Severity, title: impl Into<String>, at: &str) {
        self.push(Finding { location: at.to_owned(), ..finding(rule_id, category, severity, title) });
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The kept findings and, if any were suppressed, one `truncated` finding at their highest severity.
    pub fn into_vec(self) -> Vec<Finding> {
        let mut all = self.kept;
        if let Some(Suppressed { count, worst }) = self.suppressed {
            all.push(Finding {
                rule_id: "truncated".to_owned(),
                title: format!("{count} further findings are not listed; the worst is {}", worst.severity),
                description: Some(format!("worst of them: {} {}", worst.rule_id, worst.title)),
                location: String::new(),
                ..worst
            });
        }
        all
    }
}

impl Extend<Finding> for Findings {
    fn extend<I: IntoIterator<Item = Finding>>(&mut self, findings: I) {
        findings.into_iter().for_each(|f| self.push(f));
    }
}

fn tidy(text: &mut String, max_bytes: usize) {
    if text.chars().any(char::is_control) {
        *text = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    }
    if text.len() > max_bytes {
        let mut end = max_bytes - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_suppressed_severity_survives_the_cap() {
        let mut findings = Findings::new();
        for _ in 0..MAX_FINDINGS {
            findings.add("SEC-X", Category::Secret, Severity::Low, "a", "p");
        }
        findings.add("SEC-Y", Category::Secret, Severity::High, "b", "p");
        findings.add("SEC-X", Category::Secret, Severity::Low, "c", "p");
        let all = findings.into_vec();
        assert_eq!(all.len(), MAX_FINDINGS + 1);
        let last = all.last().unwrap();
        assert_eq!(
            (last.rule_id.as_str(), last.severity, last.category),
            ("truncated", Severity::High, Category::Secret)
        );
        assert!(last.title.starts_with("2 further"), "{}", last.title);
    }

    #[test]
    fn texts_are_bounded_and_printable() {
        let mut findings = Findings::new();
        let mut long = finding("X", Category::Secret, Severity::Low, "é\n".repeat(300));
        long.description = Some("\u{1b}[31m".repeat(400));
        findings.push(long);
        let all = findings.into_vec();
        assert!(all[0].title.len() <= MAX_TITLE_BYTES && !all[0].title.contains('\n'));
        let description = all[0].description.as_ref().unwrap();
        assert!(description.len() <= MAX_DESCRIPTION_BYTES && !description.chars().any(char::is_control));
    }

    #[test]
    fn only_critical_heuristics_are_called_malware() {
        assert_eq!(kind_of(Category::MalwareHeuristic, Severity::Medium), FindingKind::SuspiciousInstallHook);
        assert_eq!(kind_of(Category::MalwareHeuristic, Severity::Critical), FindingKind::Malware);
        assert_eq!(kind_of(Category::MalwareSignature, Severity::Low), FindingKind::Malware);
    }
}
