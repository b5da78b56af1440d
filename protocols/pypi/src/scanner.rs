//! Judges a distribution after upload: hashes against `RECORD`, the form against the archive, script names.

use publaryn_core::{
    ArtifactKind, Ecosystem,
    finding::{Category, Severity},
};
use publaryn_scan::{Findings, ScanError, ScanInput, ScanJob, Scanner};

use crate::{
    archive::{ArchiveLimits, Distribution, MAX_ENTRIES, read_distribution},
    claims::Differing,
    document::FileDocument,
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
        2
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
        judge(&distribution, &document.form_differs, file.format, out);
        out.extend(distribution.notes);
        Ok(())
    }
}

fn judge(distribution: &Distribution, form_differs: &[Differing], format: Format, out: &mut Findings) {
    let at = match format {
        Format::Wheel => "METADATA",
        Format::SdistTarGz | Format::SdistZip => "PKG-INFO",
    };
    for field in form_differs {
        let title = format!("{} differs between the upload form and {at}", field.field());
        out.add(field.rule(), Category::MetadataMismatch, field.severity(format), title, at);
    }
    for script in &distribution.scripts {
        if script.is_empty() || script.contains(['/', '\\', '\0']) || script == "." || script == ".." {
            let title = format!("a script would be installed outside of its directory: {script}");
            out.add("META-SCRIPTS", Category::MetadataMismatch, Severity::High, title, "entry_points.txt");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core_metadata::CoreMetadata;

    fn rules(scripts: &[&str], form_differs: &[Differing], format: Format) -> Vec<(String, Severity)> {
        let metadata_file: &[u8] = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n";
        let distribution = Distribution {
            stem: "demo-1.0".into(),
            metadata: CoreMetadata::parse(metadata_file, true).unwrap(),
            metadata_file: metadata_file.into(),
            tags: None,
            scripts: scripts.iter().map(|s| (*s).to_owned()).collect(),
            notes: Vec::new(),
        };
        let mut out = Findings::new();
        judge(&distribution, form_differs, format, &mut out);
        out.into_vec().into_iter().map(|f| (f.rule_id, f.severity)).collect()
    }

    #[test]
    fn each_field_that_differs_is_a_finding() {
        let fields = [Differing::RequiresDist, Differing::Summary];
        let found = |severity| vec![("META-DEPS".to_owned(), severity), ("META-ABOUT".to_owned(), Severity::Low)];
        assert_eq!(rules(&["run"], &fields, Format::Wheel), found(Severity::High));
        assert_eq!(rules(&["run"], &fields, Format::SdistTarGz), found(Severity::Low));
        assert_eq!(rules(&["run"], &[], Format::Wheel), []);
    }

    #[test]
    fn scripts_stay_in_their_directory() {
        assert_eq!(rules(&["run", "../evil", "a/b", ".."], &[], Format::Wheel).len(), 3);
    }
}
