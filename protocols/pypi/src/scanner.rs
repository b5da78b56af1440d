//! Judges a distribution after upload: hashes against `RECORD`, the form against the archive, script names.

use std::collections::BTreeSet;

use publaryn_core::{
    ArtifactKind, Ecosystem,
    finding::{Category, Severity},
};
use publaryn_scan::{Findings, ScanError, ScanInput, ScanJob, Scanner};

use crate::{
    archive::{ArchiveLimits, Distribution, MAX_ENTRIES, read_distribution},
    document::{Claims, FileDocument},
    filename::{DistributionName, Format},
    name::normalize,
};

/// Looser than at upload, where the operator's limits were applied to the same bytes.
const LIMITS: ArchiveLimits = ArchiveLimits {
    max_entries: MAX_ENTRIES,
    max_unpacked_bytes: 64 << 30,
    max_entry_bytes: 64 << 30,
    max_ratio: 1000,
    checks_hashes: true,
};

/// Agreement of a distribution with itself and with what its uploader said of it.
pub struct DistributionMetadata;

impl Scanner for DistributionMetadata {
    fn id(&self) -> &'static str {
        "pypi-metadata"
    }
    fn version(&self) -> u32 {
        1
    }
    fn applies(&self, job: &ScanJob) -> bool {
        job.ecosystem == Ecosystem::Pypi && matches!(job.artifact.kind, ArtifactKind::Wheel | ArtifactKind::Sdist)
    }
    fn scan(&self, job: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError> {
        let document: FileDocument =
            serde_json::from_value(job.metadata.clone()).map_err(|error| ScanError::Other(error.into()))?;
        let project = normalize(&job.package).unwrap_or_default();
        let file = DistributionName::parse(&job.artifact.filename, &project, &job.version)
            .map_err(|error| ScanError::Other(error.into()))?;
        let distribution = read_distribution(&mut *input.open()?, file.format, LIMITS)?;
        distribution.check_identity(&file, &project, &job.version)?;
        compare(&distribution, &document.form, file.format, out);
        out.extend(distribution.notes);
        Ok(())
    }
}

fn compare(distribution: &Distribution, form: &Claims, format: Format, out: &mut Findings) {
    let metadata = &distribution.metadata;
    let at = match format {
        Format::Wheel => "METADATA",
        Format::SdistTarGz | Format::SdistZip => "PKG-INFO",
    };
    let mut differs = |rule: &str, what: &str, severity| {
        let title = format!("{what} differs between the upload form and {at}");
        out.add(rule, Category::MetadataMismatch, severity, title, at);
    };
    // An sdist's dependencies may only be known once it is built, and then its PKG-INFO says less.
    let severity = if format == Format::Wheel { Severity::High } else { Severity::Low };
    let python = metadata.requires_python.as_deref().unwrap_or_default();
    if form.requires_python.as_deref().is_some_and(|said| folded(said) != folded(python)) {
        differs("META-PYTHON", "Requires-Python", severity);
    }
    let set = |list: &[String]| list.iter().map(|entry| folded(entry)).collect::<BTreeSet<_>>();
    if !form.requires_dist.is_empty() && set(&form.requires_dist) != set(&metadata.requires_dist) {
        differs("META-DEPS", "Requires-Dist", severity);
    }
    let extras =
        |list: &[String]| list.iter().map(|e| normalize(e).unwrap_or_else(|| e.clone())).collect::<BTreeSet<_>>();
    if !form.provides_extra.is_empty() && extras(&form.provides_extra) != extras(&metadata.provides_extra) {
        differs("META-EXTRAS", "Provides-Extra", severity);
    }
    if form.summary.as_deref().is_some_and(|said| metadata.summary.as_deref().map(folded) != Some(folded(said))) {
        differs("META-ABOUT", "Summary", Severity::Low);
    }
    if !form.classifiers.is_empty() && set(&form.classifiers) != set(&metadata.classifiers) {
        differs("META-ABOUT", "Classifier", Severity::Low);
    }
    for script in &distribution.scripts {
        if script.is_empty() || script.contains(['/', '\\', '\0']) || script == "." || script == ".." {
            let title = format!("a script would be installed outside of its directory: {script}");
            out.add("META-SCRIPTS", Category::MetadataMismatch, Severity::High, title, "entry_points.txt");
        }
    }
}

/// Tools write requirements with other spaces, quotes and brackets, and mean the same.
fn folded(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')')).collect();
    text.replace('\'', "\"").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core_metadata::CoreMetadata;

    fn distribution(fields: &str, scripts: &[&str]) -> Distribution {
        let text = format!("Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n{fields}");
        Distribution {
            stem: "demo-1.0".into(),
            metadata: CoreMetadata::parse(text.as_bytes(), true).unwrap(),
            metadata_file: text.into_bytes().into(),
            tags: None,
            scripts: scripts.iter().map(|s| (*s).to_owned()).collect(),
            notes: Vec::new(),
        }
    }

    fn rules(distribution: &Distribution, form: &Claims, format: Format) -> Vec<(String, Severity)> {
        let mut out = Findings::new();
        compare(distribution, form, format, &mut out);
        out.into_vec().into_iter().map(|f| (f.rule_id, f.severity)).collect()
    }

    fn claims(dependencies: &[&str]) -> Claims {
        Claims { requires_dist: dependencies.iter().map(|d| (*d).to_owned()).collect(), ..Claims::default() }
    }

    const FIELDS: &str = "Requires-Dist: six (>=1.0)\nRequires-Dist: rich; extra == \"x\"\nProvides-Extra: X.y\n\
        Requires-Python: >=3.8\nSummary: s\n";

    #[test]
    fn another_spelling_is_no_difference() {
        let packed = distribution(FIELDS, &["run"]);
        let form = Claims {
            requires_python: Some(">= 3.8".into()),
            provides_extra: vec!["x-y".into()],
            summary: Some("s".into()),
            ..claims(&["rich ; extra == 'x'", "six>=1.0"])
        };
        assert_eq!(rules(&packed, &form, Format::Wheel), []);
        assert_eq!(rules(&packed, &Claims::default(), Format::Wheel), []);
    }

    #[test]
    fn other_dependencies_than_the_archive_has_are_found() {
        let packed = distribution(FIELDS, &[]);
        for (form, rule) in [
            (claims(&["six>=1.0"]), "META-DEPS"),
            (claims(&["six>=1.0", "rich; extra == 'x'", "evil"]), "META-DEPS"),
            (Claims { requires_python: Some(">=3.9".into()), ..Claims::default() }, "META-PYTHON"),
            (Claims { provides_extra: vec!["z".into()], ..Claims::default() }, "META-EXTRAS"),
        ] {
            assert_eq!(rules(&packed, &form, Format::Wheel), [(rule.to_owned(), Severity::High)]);
            assert_eq!(rules(&packed, &form, Format::SdistTarGz), [(rule.to_owned(), Severity::Low)]);
        }
        let other = Claims { summary: Some("t".into()), classifiers: vec!["A".into()], ..Claims::default() };
        let low = ("META-ABOUT".to_owned(), Severity::Low);
        assert_eq!(rules(&packed, &other, Format::Wheel), [low.clone(), low]);
    }

    #[test]
    fn scripts_stay_in_their_directory() {
        let packed = distribution("", &["run", "../evil", "a/b", ".."]);
        assert_eq!(rules(&packed, &Claims::default(), Format::Wheel).len(), 3);
    }
}
