//! Compares what is served of a release with the `composer.json` inside its zip, and notes what runs by itself.

use publaryn_core::{
    ArtifactKind, Ecosystem,
    finding::{Category, Severity},
};
use publaryn_scan::{Findings, ScanError, ScanInput, ScanJob, Scanner};
use serde_json::{Map, Value};

use crate::{
    archive::{ArchiveLimits, MAX_ENTRIES, read_zip},
    manifest::Manifest,
    name::vendor,
    version::Normalized,
};

/// Looser than at upload, where the operator's limits were applied to the same bytes.
const LIMITS: ArchiveLimits = ArchiveLimits { max_entries: MAX_ENTRIES, max_unpacked_bytes: 8 << 30, max_ratio: 1000 };
const AT: &str = "composer.json";

/// Agreement of the metadata with the archive.
pub struct ComposerMetadata;

impl Scanner for ComposerMetadata {
    fn id(&self) -> &'static str {
        "composer-metadata"
    }
    fn version(&self) -> u32 {
        1
    }
    fn applies(&self, job: &ScanJob) -> bool {
        job.ecosystem == Ecosystem::Composer && job.artifact.kind == ArtifactKind::ComposerZip
    }
    fn scan(&self, job: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError> {
        let zip = read_zip(&mut *input.open()?, LIMITS)?;
        out.extend(zip.notes);
        compare(job, &zip.manifest, out);
        note(&zip.manifest, out);
        Ok(())
    }
}

fn compare(job: &ScanJob, manifest: &Manifest, out: &mut Findings) {
    let mut mismatch = |rule: &str, title: String| out.add(rule, Category::MetadataMismatch, Severity::High, title, AT);
    if manifest.name != job.package {
        mismatch("META-NAME", format!("the zip is of `{}`", manifest.name));
    }
    let unique = |text: &str| Normalized::parse(text).ok().map(|version| version.unique);
    if let Some(packed) = &manifest.version
        && unique(packed) != unique(&job.version)
    {
        mismatch("META-VERSION", format!("the zip is of version `{packed}`"));
    }
    let none = Map::new();
    let served = job.metadata.get("manifest").and_then(Value::as_object).unwrap_or(&none);
    for key in manifest.served.keys().chain(served.keys().filter(|key| !manifest.served.contains_key(*key))) {
        if manifest.served.get(key) != served.get(key) {
            mismatch("META-SERVED", format!("`{key}` differs between what is served and what is packed"));
        }
    }
}

/// What a reviewer should know; none of it blocks.
fn note(manifest: &Manifest, out: &mut Findings) {
    if manifest.served.get("type").and_then(Value::as_str) == Some("composer-plugin") {
        let title = "the package is a Composer plugin: it runs inside of Composer";
        out.add("HOOK-PLUGIN", Category::InstallHook, Severity::Info, title, AT);
    }
    let files = manifest.served.get("autoload").and_then(|autoload| autoload.get("files"));
    if files.and_then(Value::as_array).is_some_and(|files| !files.is_empty()) {
        let title = "the package runs code whenever the autoloader is loaded (`autoload.files`)";
        out.add("HOOK-FILES", Category::InstallHook, Severity::Info, title, AT);
    }
    let replaced = manifest.served.get("replace").and_then(Value::as_object).into_iter().flatten();
    for (name, _) in replaced.filter(|(name, _)| name.contains('/') && vendor(name) != vendor(&manifest.name)) {
        let title = format!("the package replaces `{name}` of another vendor");
        out.add("META-REPLACE", Category::MetadataMismatch, Severity::Low, title, AT);
    }
}

#[cfg(test)]
mod tests {
    use publaryn_core::{ArtifactId, Digest};
    use publaryn_scan::{ScanArtifact, corpus::ZipBuilder};
    use serde_json::json;

    use super::*;

    fn scan(composer_json: &Value, package: &str, version: &str, served: Value) -> Vec<String> {
        let zip = ZipBuilder::new().file("composer.json", composer_json.to_string().as_bytes()).finish();
        let artifact = ScanArtifact {
            id: ArtifactId::new(),
            kind: ArtifactKind::ComposerZip,
            filename: "x.zip".into(),
            sha256: Digest::from_bytes([0; 32]),
            size_bytes: zip.len() as u64,
        };
        let metadata = json!({ "manifest": served });
        let job = ScanJob {
            ecosystem: Ecosystem::Composer,
            package: package.into(),
            version: version.into(),
            artifact,
            metadata,
        };
        assert!(ComposerMetadata.applies(&job));
        let mut findings = Findings::new();
        ComposerMetadata.scan(&job, &zip, &mut findings).unwrap();
        findings.into_vec().into_iter().map(|finding| finding.rule_id).collect()
    }

    #[test]
    fn what_is_served_must_be_what_is_packed() {
        let packed = json!({"name": "acme/lib", "version": "v1.0", "require": {"php": ">=8"}, "license": "MIT"});
        let served = json!({"license": ["MIT"], "require": {"php": ">=8"}});
        assert!(scan(&packed, "acme/lib", "1.0.0", served.clone()).is_empty());
        assert_eq!(scan(&packed, "acme/other", "1.0.0", served.clone()), ["META-NAME"]);
        assert_eq!(scan(&packed, "acme/lib", "1.1", served.clone()), ["META-VERSION"]);
        let mut changed = served.clone();
        changed["require"]["php"] = json!("*");
        changed["bin"] = json!(["x"]);
        assert_eq!(scan(&packed, "acme/lib", "1.0", changed), ["META-SERVED", "META-SERVED"]);
    }

    #[test]
    fn what_runs_by_itself_is_noted() {
        let packed = json!({"name": "acme/lib", "type": "composer-plugin", "autoload": {"files": ["a.php"]},
            "replace": {"acme/old": "*", "other/lib": "*"}});
        let served = Manifest::parse(packed.to_string().as_bytes()).unwrap().served;
        assert_eq!(
            scan(&packed, "acme/lib", "1.0", Value::Object(served)),
            ["HOOK-PLUGIN", "HOOK-FILES", "META-REPLACE"]
        );
    }
}
