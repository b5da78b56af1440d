//! Judges a gem after upload: the document that is served against the specification inside, and that against the
//! files.

use std::collections::BTreeSet;

use publaryn_core::{
    ArtifactKind, Ecosystem,
    finding::{Category, Severity},
};
use publaryn_scan::{ArchiveError, Findings, ScanError, ScanInput, ScanJob, Scanner};

use crate::{
    archive::{ArchiveLimits, GemArchive, MAX_ENTRIES, read_gem},
    gemspec::Gemspec,
};

/// Looser than at upload, where the operator's limits were applied to the same bytes.
const LIMITS: ArchiveLimits = ArchiveLimits { max_entries: MAX_ENTRIES, max_unpacked_bytes: 64 << 30, max_ratio: 1000 };

/// Agreement of a gem with itself and with what is served of it.
pub struct GemMetadata;

impl Scanner for GemMetadata {
    fn id(&self) -> &'static str {
        "rubygems-metadata"
    }
    fn version(&self) -> u32 {
        1
    }
    fn applies(&self, job: &ScanJob) -> bool {
        job.ecosystem == Ecosystem::Rubygems && job.artifact.kind == ArtifactKind::Gem
    }
    fn scan(&self, job: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError> {
        let served: Gemspec =
            serde_json::from_value(job.metadata.clone()).map_err(|error| ScanError::Other(error.into()))?;
        let gem = read_gem(&mut *input.open()?, LIMITS)?;
        if !served.is_made_of(&gem.packed.spec) || served.full_version() != job.version {
            let message = "the stored specification is not the one inside the gem";
            return Err(ArchiveError::refuse("META-IDENTITY", Some("metadata.gz"), message).into());
        }
        compare(&gem, out);
        out.extend(gem.notes);
        Ok(())
    }
}

/// Most files named one by one.
const MAX_NAMED: usize = 20;

fn compare(gem: &GemArchive, out: &mut Findings) {
    let packed: BTreeSet<&str> = gem.paths.iter().map(String::as_str).collect();
    let unlisted = packed.iter().filter(|path| !gem.packed.files.contains(**path));
    for path in unlisted.take(MAX_NAMED) {
        let title = format!("a file is packed that the specification does not name: {path}");
        out.add("META-FILES", Category::MetadataMismatch, Severity::High, title, path);
    }
    for path in &gem.packed.spec.extensions {
        if !packed.contains(path.trim_start_matches("./")) {
            let title = format!("the extension {path} is not in the gem");
            out.add("META-EXTENSIONS", Category::MetadataMismatch, Severity::High, title, path.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemspec::{PackedSpec, tests::SPEC};

    fn rules(paths: &[&str], extensions: &[&str]) -> Vec<String> {
        let mut packed = PackedSpec::parse(SPEC.as_bytes()).unwrap();
        packed.spec.extensions = extensions.iter().map(|text| (*text).to_owned()).collect();
        let gem =
            GemArchive { packed, paths: paths.iter().map(|text| (*text).to_owned()).collect(), notes: Vec::new() };
        let mut out = Findings::new();
        compare(&gem, &mut out);
        out.into_vec().into_iter().map(|finding| finding.rule_id).collect()
    }

    #[test]
    fn files_and_extensions_are_those_the_specification_names() {
        assert_eq!(rules(&["lib/acme.rb", "exe/run"], &[]), Vec::<String>::new());
        // What is named and missing is only missing.
        assert_eq!(rules(&[], &[]), Vec::<String>::new());
        assert_eq!(rules(&["lib/acme.rb", "rubygems_plugin.rb"], &[]), ["META-FILES"]);
        assert_eq!(rules(&[], &["ext/extconf.rb"]), ["META-EXTENSIONS"]);
    }
}
