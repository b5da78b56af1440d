//! Compares what is served of a package with what is inside, and notes what runs by itself.

use publaryn_core::{
    ArtifactKind, Ecosystem,
    finding::{Category, Severity},
};
use publaryn_scan::{ArchiveError, Findings, ScanError, ScanInput, ScanJob, Scanner};

use crate::{
    archive::{ArchiveLimits, MAX_ENTRIES, Package, Pdb, read_package},
    name,
    nuspec::Nuspec,
    release::Stored,
    version,
};

/// Looser than at upload, where the operator's limits were applied to the same bytes.
const LIMITS: ArchiveLimits =
    ArchiveLimits { max_entries: MAX_ENTRIES, max_unpacked_bytes: 64 << 30, max_ratio: 1000, latest: None };

/// Agreement of a package, or of its symbols, with what is served of it.
pub struct NugetMetadata;

impl Scanner for NugetMetadata {
    fn id(&self) -> &'static str {
        "nuget-metadata"
    }
    fn version(&self) -> u32 {
        1
    }
    fn applies(&self, job: &ScanJob) -> bool {
        job.ecosystem == Ecosystem::Nuget && matches!(job.artifact.kind, ArtifactKind::Nupkg | ArtifactKind::Snupkg)
    }
    fn scan(&self, job: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError> {
        let package = read_package(&mut *input.open()?, LIMITS)?;
        let is_of_release = name::canonical(&package.nuspec.id) == name::canonical(&job.package)
            && version::parse_version(&package.nuspec.version).map(|v| v.unique_key().to_owned())
                == version::parse_version(&job.version).map(|v| v.unique_key().to_owned());
        let is_symbols = job.artifact.kind == ArtifactKind::Snupkg;
        let agrees = if is_symbols { agrees_with_symbols(job, &package)? } else { agrees_with_release(job, &package)? };
        if !is_of_release || !agrees || package.nuspec.is_symbols() != is_symbols {
            let message = "what is stored of the package is not what is inside";
            return Err(ArchiveError::refuse("META-IDENTITY", Some("nuspec"), message).into());
        }
        note(&package, out);
        out.extend(package.notes);
        Ok(())
    }
}

fn agrees_with_release(job: &ScanJob, package: &Package) -> Result<bool, ScanError> {
    let stored: Stored =
        serde_json::from_value(job.metadata.clone()).map_err(|error| ScanError::Other(error.into()))?;
    Ok(stored == Stored::of(package))
}

fn agrees_with_symbols(job: &ScanJob, package: &Package) -> Result<bool, ScanError> {
    #[derive(serde::Deserialize)]
    struct Symbols {
        nuspec: Nuspec,
        pdbs: Vec<Pdb>,
    }
    let stored: Symbols =
        serde_json::from_value(job.metadata.clone()).map_err(|error| ScanError::Other(error.into()))?;
    Ok(stored.nuspec == package.nuspec && stored.pdbs == package.pdbs)
}

/// What a reviewer should know; none of it blocks.
fn note(package: &Package, out: &mut Findings) {
    for path in &package.hooks {
        let (rule, title) = if path.to_ascii_lowercase().ends_with(".ps1") {
            ("HOOK-PS1", format!("a script that Visual Studio runs when the package is installed: {path}"))
        } else {
            ("HOOK-MSBUILD", format!("a project file that every build with the package includes: {path}"))
        };
        out.add(rule, Category::InstallHook, Severity::Info, title, path);
    }
}

#[cfg(test)]
mod tests {
    use publaryn_core::{ArtifactId, Digest};
    use publaryn_scan::{ScanArtifact, corpus::ZipBuilder};

    use super::*;
    use crate::archive::tests::{LIMITS as UPLOAD, nuspec};

    fn scan(change: impl FnOnce(&mut ScanJob), extra: &[(&str, &[u8])]) -> Result<Vec<String>, String> {
        let manifest = nuspec("");
        let zip = ZipBuilder::new().file("Acme.Lib.nuspec", manifest.as_bytes());
        let zip = extra.iter().fold(zip, |zip, (path, data)| zip.file(path, data)).finish();
        let package = read_package(&mut zip.as_slice(), UPLOAD).unwrap();
        let artifact = ScanArtifact {
            id: ArtifactId::new(),
            kind: ArtifactKind::Nupkg,
            filename: "x.nupkg".into(),
            sha256: Digest::from_bytes([0; 32]),
            size_bytes: zip.len() as u64,
        };
        let mut job = ScanJob {
            ecosystem: Ecosystem::Nuget,
            package: "acme.LIB".into(),
            version: "1.0.0".into(),
            artifact,
            metadata: Stored::of(&package).to_metadata().unwrap(),
        };
        change(&mut job);
        assert!(NugetMetadata.applies(&job));
        let mut findings = Findings::new();
        NugetMetadata.scan(&job, &zip, &mut findings).map_err(|error| error.to_string())?;
        Ok(findings.into_vec().into_iter().map(|finding| finding.rule_id).collect())
    }

    #[test]
    fn what_is_served_must_be_what_is_packed() {
        assert_eq!(scan(|_| {}, &[]).unwrap(), Vec::<String>::new());
        let differs = |change: fn(&mut ScanJob)| scan(change, &[]).unwrap_err();
        for error in [
            differs(|job| job.package = "Other".into()),
            differs(|job| job.version = "1.0.1".into()),
            differs(|job| job.metadata["nuspec"]["description"] = "other".into()),
            differs(|job| job.metadata["manifest"]["path"] = "other.nuspec".into()),
        ] {
            assert!(error.contains("not what is inside"), "{error}");
        }
    }

    #[test]
    fn what_runs_by_itself_is_noted() {
        let found = scan(|_| {}, &[("tools/install.ps1", b"x"), ("build/Acme.Lib.targets", b"x")]).unwrap();
        assert_eq!(found, ["HOOK-PS1", "HOOK-MSBUILD"]);
    }
}
