//! What a finding blocks (scanning.md §3), as one pure function.

use publaryn_core::finding::{Category, Finding, FindingKind, Severity};

/// The column of the policy table that applies to a release: the kind of its repository and who can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyLevel {
    Public,
    Release,
    Private,
    Staging,
}

impl PolicyLevel {
    pub const ALL: [Self; 4] = [Self::Public, Self::Release, Self::Private, Self::Staging];

    const fn is_strict(self) -> bool {
        matches!(self, Self::Public | Self::Release)
    }
}

/// Whether an unresolved finding keeps a release from going live at this level.
///
/// The floor comes first and holds everywhere: anything critical, anything of kind `malware`
/// (control-plane.md §8.2), an archive that would have been refused at upload, a required scanner that failed.
/// `archive_*` below high are the rows marked "record" of scanning.md §3a. Dependency and name confusion are
/// emitted at high only for the first publish of a name, which is when the table blocks them.
pub fn blocks(finding: &Finding, level: PolicyLevel) -> bool {
    let severity = finding.severity;
    if severity == Severity::Critical || finding.kind == FindingKind::Malware {
        return true;
    }
    match finding.category {
        Category::ScannerFailure | Category::MalwareSignature | Category::MaliciousAdvisory => true,
        Category::ArchiveUnsafe | Category::ArchiveLimit => severity >= Severity::High,
        Category::MetadataMismatch => severity >= Severity::High && level != PolicyLevel::Staging,
        Category::MalwareHeuristic | Category::Secret | Category::DependencyConfusion | Category::NameConfusion => {
            severity >= Severity::High && level.is_strict()
        }
        Category::Vulnerability | Category::DependencyVulnerability | Category::License | Category::InstallHook => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use Category::*;
    use Severity::*;

    use super::*;

    /// Severity from which a row blocks per level; `None` = only critical does.
    type Row = (Category, [Option<Severity>; 4]);

    const TABLE: &[Row] = &[
        (ArchiveUnsafe, [Some(High); 4]),
        (ArchiveLimit, [Some(High); 4]),
        (MetadataMismatch, [Some(High), Some(High), Some(High), None]),
        (MalwareSignature, [Some(Info); 4]),
        (MaliciousAdvisory, [Some(Info); 4]),
        (MalwareHeuristic, [Some(High), Some(High), None, None]),
        (Secret, [Some(High), Some(High), None, None]),
        (Vulnerability, [None; 4]),
        (DependencyVulnerability, [None; 4]),
        (DependencyConfusion, [Some(High), Some(High), None, None]),
        (NameConfusion, [Some(High), Some(High), None, None]),
        (License, [None; 4]),
        (InstallHook, [None; 4]),
        (ScannerFailure, [Some(Info); 4]),
    ];

    #[test]
    fn the_table_of_scanning_3_holds_for_every_category_level_and_severity() {
        assert_eq!(TABLE.len(), Category::ALL.len());
        for (category, columns) in TABLE {
            for (level, from) in PolicyLevel::ALL.into_iter().zip(columns) {
                for severity in Severity::ALL.iter().copied() {
                    let finding = crate::finding("R", *category, severity, "t");
                    let expected = severity == Critical || from.is_some_and(|from| severity >= from);
                    assert_eq!(blocks(&finding, level), expected, "{category} {severity} {level:?}");
                }
            }
        }
    }

    #[test]
    fn kind_malware_blocks_whatever_the_severity() {
        let mut finding = crate::finding("R", License, Info, "t");
        finding.kind = FindingKind::Malware;
        assert!(PolicyLevel::ALL.into_iter().all(|level| blocks(&finding, level)));
    }
}
