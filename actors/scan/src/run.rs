//! Runs every scanner that applies to a job, and names the ruleset they form.

use std::time::{Duration, Instant};

use publaryn_core::finding::Finding;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    findings::Findings,
    scanner::{ScanError, ScanInput, ScanJob, Scanner},
    walk::{ErrorKind, WALKER_VERSION},
};

/// The scanners of one program, in order.
pub type Scanners = Vec<Box<dyn Scanner>>;

/// What scanning one artifact gave. A report exists only if every scanner that applies came to an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanReport {
    pub findings: Vec<Finding>,
    /// Digest of the scanners and their versions; another one means: scan again.
    pub ruleset: String,
    /// One per scanner that applied, for `required_scanners` and for the log.
    pub runs: Vec<ScannerRun>,
}

/// One scanner's part in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannerRun {
    pub scanner: String,
    pub version: u32,
    pub findings: usize,
    pub elapsed: Duration,
}

/// A scanner that could not judge the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannerFault {
    pub scanner: String,
    pub message: String,
}

/// 64 hex digits that change whenever a scanner, its version or the walker changes.
pub fn ruleset(scanners: &[Box<dyn Scanner>]) -> String {
    let mut lines: Vec<String> = scanners.iter().map(|s| format!("{} {}\n", s.id(), s.version())).collect();
    lines.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(format!("walker {WALKER_VERSION}\n"));
    lines.iter().for_each(|line| hash.update(line));
    hex::encode(hash.finalize())
}

/// Runs all scanners that apply, each with its own cap on findings.
///
/// # Errors
/// The first scanner that failed: a report without it would look cleaner than it is.
pub fn run(scanners: &[Box<dyn Scanner>], job: &ScanJob, input: &dyn ScanInput) -> Result<ScanReport, ScannerFault> {
    let mut report = ScanReport { findings: Vec::new(), ruleset: ruleset(scanners), runs: Vec::new() };
    for scanner in scanners.iter().filter(|s| s.applies(job)) {
        let started = Instant::now();
        let mut out = Findings::new();
        match scanner.scan(job, input, &mut out) {
            Ok(()) => {}
            Err(ScanError::Archive(refusal)) if refusal.kind != ErrorKind::Io => out.push(refusal.to_finding()),
            Err(error) => return Err(ScannerFault { scanner: scanner.id().to_owned(), message: chain(&error) }),
        }
        let found = out.into_vec();
        report.runs.push(ScannerRun {
            scanner: scanner.id().to_owned(),
            version: scanner.version(),
            findings: found.len(),
            elapsed: started.elapsed(),
        });
        report.findings.extend(found);
    }
    // Several scanners walk the same archive and meet the same refusal or note.
    let mut seen = std::collections::HashSet::new();
    report.findings.retain(|f| seen.insert((f.rule_id.clone(), f.location.clone(), f.title.clone())));
    Ok(report)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use publaryn_core::{
        ArtifactId, ArtifactKind, Digest, Ecosystem,
        finding::{Category, Severity},
    };

    use super::*;
    use crate::{
        corpus,
        scanner::ScanArtifact,
        walk::{ArchiveRules, RootRule, walk_targz},
    };

    struct Walks(&'static str);
    impl Scanner for Walks {
        fn id(&self) -> &'static str {
            self.0
        }
        fn version(&self) -> u32 {
            1
        }
        fn applies(&self, job: &ScanJob) -> bool {
            job.artifact.kind == ArtifactKind::Crate
        }
        fn scan(&self, _: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError> {
            let summary = walk_targz(input.open()?, &ArchiveRules::new(RootRule::Single), &mut |_| Ok(()))?;
            out.extend(summary.notes);
            Ok(())
        }
    }

    struct Fails;
    impl Scanner for Fails {
        fn id(&self) -> &'static str {
            "fails"
        }
        fn version(&self) -> u32 {
            1
        }
        fn applies(&self, _: &ScanJob) -> bool {
            true
        }
        fn scan(&self, _: &ScanJob, _: &dyn ScanInput, _: &mut Findings) -> Result<(), ScanError> {
            Err(ScanError::Io(std::io::Error::other("disk on fire")))
        }
    }

    fn job(kind: ArtifactKind) -> ScanJob {
        ScanJob {
            ecosystem: Ecosystem::Cargo,
            package: "x".into(),
            version: "1.0.0".into(),
            artifact: ScanArtifact {
                id: ArtifactId::new(),
                kind,
                filename: "x-1.0.0.crate".into(),
                sha256: Digest::from_bytes([0; 32]),
                size_bytes: 0,
            },
            metadata: serde_json::Value::Null,
        }
    }

    fn walkers() -> Scanners {
        vec![Box::new(Walks("one")), Box::new(Walks("two"))]
    }

    #[test]
    fn a_refused_archive_is_one_blocking_finding_not_a_failure() {
        let link = corpus::tar(&[]).special(b'2', "x/l", "y").targz();
        let report = run(&walkers(), &job(ArtifactKind::Crate), &link).unwrap();
        assert_eq!(report.runs.len(), 2);
        let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
        assert_eq!((finding.rule_id.as_str(), finding.category), ("ARC-L", Category::ArchiveUnsafe));
        assert_eq!((finding.severity, finding.location.as_str()), (Severity::High, "x/l"));
    }

    #[test]
    fn scanners_that_do_not_apply_do_not_run() {
        let report = run(&walkers(), &job(ArtifactKind::Wheel), &Vec::new()).unwrap();
        assert_eq!((report.findings.len(), report.runs.len()), (0, 0));
    }

    #[test]
    fn one_failing_scanner_fails_the_whole_report() {
        let mut scanners = walkers();
        scanners.push(Box::new(Fails));
        let fault = run(&scanners, &job(ArtifactKind::Crate), &corpus::targz(&[("x/a", b"")])).unwrap_err();
        assert_eq!(
            fault,
            ScannerFault { scanner: "fails".into(), message: "cannot read the artifact: disk on fire".into() }
        );
    }

    #[test]
    fn the_ruleset_changes_with_the_scanners_but_not_with_their_order() {
        let (one, two) = (walkers(), walkers().into_iter().rev().collect::<Scanners>());
        assert_eq!(ruleset(&one), ruleset(&two));
        assert_ne!(ruleset(&one), ruleset(&one[..1]));
    }
}
