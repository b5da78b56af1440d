//! Judges a file after upload: POMs against the coordinates they lie under, archives against what is safe to open.

use std::io::Read;

use publaryn_core::{
    ArtifactKind, Ecosystem,
    finding::{Category, Severity},
};
use publaryn_scan::{ArchiveError, ErrorKind, Findings, ScanError, ScanInput, ScanJob, Scanner};

use crate::{
    archive::{Archive, ArchiveLimits, MAX_ENTRIES, OwnPom, RULE, read_archive},
    file::FileName,
    module,
    name::Coordinates,
    pom::{MAX_POM_BYTES, Pom},
    version,
};

/// Looser than at upload, where the operator's limits were applied to the same bytes.
const LIMITS: ArchiveLimits = ArchiveLimits {
    max_entries: MAX_ENTRIES,
    max_unpacked_bytes: 64 << 30,
    max_entry_bytes: 64 << 30,
    max_ratio: 1000,
};

/// Agreement of the files of a version with where they lie.
pub struct MavenMetadata;

impl Scanner for MavenMetadata {
    fn id(&self) -> &'static str {
        "maven-metadata"
    }
    fn version(&self) -> u32 {
        1
    }
    fn applies(&self, job: &ScanJob) -> bool {
        job.ecosystem == Ecosystem::Maven && job.artifact.kind != ArtifactKind::Signature
    }
    fn scan(&self, job: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError> {
        let (group, artifact) = job.package.split_once(':').unwrap_or_default();
        let coordinates = Coordinates::new(group, artifact).map_err(|fault| ScanError::Other(fault.into()))?;
        let Some(name) = FileName::parse(&job.artifact.filename, artifact, &job.version) else {
            // Only the management API takes such files; no client can ask for them.
            let title =
                format!("no client finds a file of this name: it does not start with {artifact}-{}", job.version);
            out.add("META-FILENAME", Category::MetadataMismatch, Severity::Low, title, "");
            return Ok(());
        };
        if name.is_pom() {
            let pom = read_pom(input, &coordinates, &name, &job.version)?;
            note(&pom, out);
        } else if name.is_module() {
            let bytes = read_all(input, module::MAX_MODULE_BYTES)?;
            module::check(&bytes, &coordinates, &job.version).map_err(|fault| refuse(fault.to_string()))?;
        } else if name.is_archive() {
            let own = format!("META-INF/maven/{group}/{artifact}/pom.xml");
            let archive = read_archive(&mut *input.open()?, LIMITS, Some(&own))?;
            compare(&archive, &coordinates, &name, &job.version, &own, out);
            out.extend(archive.notes);
        }
        Ok(())
    }
}

fn read_pom(
    input: &dyn ScanInput,
    coordinates: &Coordinates,
    name: &FileName,
    version: &str,
) -> Result<Pom, ScanError> {
    let bytes = read_all(input, MAX_POM_BYTES)?;
    let pom = Pom::parse(&bytes).map_err(|fault| refuse(fault.to_string()))?;
    pom.check_identity(coordinates, name.prefix(), version).map_err(|fault| refuse(fault.to_string()))?;
    Ok(pom)
}

fn read_all(input: &dyn ScanInput, max_bytes: u64) -> Result<Vec<u8>, ScanError> {
    let mut bytes = Vec::new();
    input.open()?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(refuse(format!("the file is larger than {max_bytes} bytes")).into());
    }
    Ok(bytes)
}

fn refuse(message: String) -> ArchiveError {
    ArchiveError::new(ErrorKind::Malformed, RULE, None, message)
}

/// What a reviewer should know of a POM; none of it blocks.
fn note(pom: &Pom, out: &mut Findings) {
    let at = "pom.xml";
    for url in &pom.repositories {
        let severity = if url.starts_with("http://") { Severity::High } else { Severity::Medium };
        let title = format!("its users look for what it needs at {url}");
        out.add("HOOK-URLDEP", Category::InstallHook, severity, title, at);
    }
    let is_changing = |version: &Option<String>| version.as_deref().is_some_and(version::is_snapshot);
    if pom.parent.as_ref().is_some_and(|parent| is_changing(&parent.version)) {
        let title = "its parent is a SNAPSHOT, which may change";
        out.add("META-PARENT", Category::MetadataMismatch, Severity::Low, title, at);
    }
    if let Some(dependency) = pom.dependencies.iter().find(|dependency| is_changing(&dependency.version)) {
        let title = format!("it depends on a SNAPSHOT of {}:{}", dependency.group, dependency.artifact);
        out.add("META-DEPS", Category::MetadataMismatch, Severity::Low, title, at);
    }
    if let Some(dependency) = pom.dependencies.iter().find(|d| d.scope.as_deref() == Some("system")) {
        let title = format!("it needs a file of its user's machine as {}:{}", dependency.group, dependency.artifact);
        out.add("META-DEPS", Category::MetadataMismatch, Severity::Low, title, at);
    }
    if pom.packaging == "maven-plugin" {
        out.add(
            "HOOK-PLUGIN",
            Category::InstallHook,
            Severity::Info,
            "it is a Maven plugin: it runs inside of builds",
            at,
        );
    }
}

/// The POMs inside an archive against where it lies. Shaded archives hold those of what they swallowed.
fn compare(
    archive: &Archive,
    coordinates: &Coordinates,
    name: &FileName,
    version: &str,
    own: &str,
    out: &mut Findings,
) {
    let another = |fault: String| format!("the POM inside the archive is another one: {fault}");
    let fault = match &archive.own {
        OwnPom::Absent => None,
        OwnPom::Several => Some("the archive holds two POMs for its coordinates".to_owned()),
        OwnPom::TooLarge => Some(another(format!("it is larger than {MAX_POM_BYTES} bytes"))),
        OwnPom::Found(bytes) => {
            let checked = Pom::parse(bytes).and_then(|pom| pom.check_identity(coordinates, name.prefix(), version));
            checked.err().map(|fault| another(fault.to_string()))
        }
    };
    if let Some(fault) = fault {
        out.add("META-GAV", Category::MetadataMismatch, Severity::High, fault, own);
    }
    if let Some(first) = &archive.first_other {
        let title = format!("the archive holds POMs of {} other artifacts", archive.others);
        out.add("META-SHADED", Category::MetadataMismatch, Severity::Low, title, first);
    }
}

#[cfg(test)]
mod tests {
    use publaryn_core::{ArtifactId, Digest};
    use publaryn_scan::{
        ScanArtifact,
        corpus::{Verdict, ZipBuilder, zip_cases},
    };

    use super::*;

    const POM: &str =
        "<project><groupId>com.acme</groupId><artifactId>widget</artifactId><version>1.0</version></project>";
    const OWN: &str = "META-INF/maven/com.acme/widget/pom.xml";

    fn scan(filename: &str, bytes: &[u8]) -> Result<Vec<(String, Severity)>, String> {
        let kind = FileName::parse(filename, "widget", "1.0").map_or(ArtifactKind::Jar, |name| name.kind());
        let job = ScanJob {
            ecosystem: Ecosystem::Maven,
            package: "com.acme:widget".into(),
            version: "1.0".into(),
            artifact: ScanArtifact {
                id: ArtifactId::new(),
                kind,
                filename: filename.into(),
                sha256: Digest::from_bytes([0; 32]),
                size_bytes: bytes.len() as u64,
            },
            metadata: serde_json::json!({}),
        };
        let mut out = Findings::new();
        MavenMetadata.scan(&job, &bytes.to_vec(), &mut out).map_err(|error| error.to_string())?;
        Ok(out.into_vec().into_iter().map(|finding| (finding.rule_id, finding.severity)).collect())
    }

    #[test]
    fn a_pom_that_lies_elsewhere_is_refused() {
        assert_eq!(scan("widget-1.0.pom", POM.as_bytes()), Ok(vec![]));
        assert!(scan("widget-1.0.pom", POM.replace("1.0", "2.0").as_bytes()).unwrap_err().contains("version is 2.0"));
        assert!(scan("widget-1.0.pom", b"<!DOCTYPE x><project/>").unwrap_err().contains("DTD"));
        let module = br#"{"formatVersion":"1.1","component":{"group":"x","module":"widget","version":"1.0"}}"#;
        assert!(scan("widget-1.0.module", module).unwrap_err().contains("group is x"));
    }

    #[test]
    fn what_a_reviewer_should_know_of_a_pom_is_noted() {
        let with = |more: &str| POM.replace("</project>", &format!("{more}</project>"));
        let repositories = with("<repositories><repository><url>http://elsewhere</url></repository></repositories>");
        assert_eq!(scan("widget-1.0.pom", repositories.as_bytes()), Ok(vec![("HOOK-URLDEP".into(), Severity::High)]));
        let parent =
            with("<parent><groupId>a</groupId><artifactId>b</artifactId><version>1-SNAPSHOT</version></parent>");
        assert_eq!(scan("widget-1.0.pom", parent.as_bytes()), Ok(vec![("META-PARENT".into(), Severity::Low)]));
    }

    #[test]
    fn the_pom_inside_a_jar_is_that_of_its_coordinates() {
        let jar = |files: &[(&str, &str)]| {
            files.iter().fold(ZipBuilder::new(), |zip, (path, data)| zip.file(path, data.as_bytes())).finish()
        };
        let found = |files: &[(&str, &str)]| scan("widget-1.0.jar", &jar(files));
        assert_eq!(found(&[("a.class", "x"), (OWN, POM)]), Ok(vec![]));
        let other = POM.replace("com.acme", "org.other");
        assert_eq!(found(&[(OWN, &other)]), Ok(vec![("META-GAV".into(), Severity::High)]));
        let shaded = "META-INF/maven/org.other/thing/pom.xml";
        assert_eq!(found(&[(OWN, POM), (shaded, &other)]), Ok(vec![("META-SHADED".into(), Severity::Low)]));
        let many: Vec<String> = (0..300).map(|n| format!("META-INF/maven/org.other/thing{n}/pom.xml")).collect();
        let files: Vec<(&str, &str)> = many.iter().map(|path| (path.as_str(), "no pom")).chain([(OWN, POM)]).collect();
        let archive = read_archive(&mut jar(&files).as_slice(), LIMITS, Some(OWN)).unwrap();
        assert_eq!((archive.own, archive.others), (OwnPom::Found(POM.into()), 300), "its own is found behind others");
        assert_eq!(read_archive(&mut jar(&files).as_slice(), LIMITS, None).unwrap().own, OwnPom::Absent);
        let twice = found(&[(OWN, POM), (OWN, POM)]).unwrap();
        assert!(twice.contains(&("META-GAV".into(), Severity::High)), "{twice:?}");
    }

    #[test]
    fn jars_may_hold_a_path_twice() {
        let bytes = ZipBuilder::new().file("a.class", b"1").file("a.class", b"2").finish();
        assert_eq!(scan("widget-1.0.jar", &bytes), Ok(vec![("ARC-Z3".into(), Severity::Low)]));
    }

    #[test]
    fn archives_that_are_not_safe_to_open_are_refused() {
        for case in zip_cases(&[("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n")]) {
            let outcome = scan("widget-1.0.jar", &case.bytes);
            match case.verdict {
                // Jars may hold a path twice; nothing else of what is refused passes.
                Verdict::Refused(_) => {
                    let is_noted =
                        outcome.as_ref().is_ok_and(|found| found.contains(&("ARC-Z3".into(), Severity::Low)));
                    assert!(outcome.is_err() || is_noted, "{}: {outcome:?}", case.name);
                }
                _ => assert!(outcome.is_ok(), "{}: {outcome:?}", case.name),
            }
        }
        assert!(scan("widget-1.0.jar", b"not a zip").is_err());
        assert!(scan("widget-1.0.tar.gz", b"anything").is_ok());
    }
}
