//! What a verified identity token says of its workload, against what a package trusts.
//!
//! The large forges put the place a job runs for into claims of their own and let `sub` vary with branch, tag
//! and environment. So besides an exact subject, a publisher may name just the repository
//! (`repo:owner/name`, `project_path:group/name`), which is never a whole subject of theirs.
//! Sources: <https://docs.github.com/en/actions/concepts/security/openid-connect>,
//! <https://docs.gitlab.com/ci/secrets/id_token_authentication/>.

use publaryn_auth::WorkloadClaims;
use publaryn_core::Timestamp;
use publaryn_metadata::trusted_publishers::TrustedPublisherRow;
use serde_json::{Map, Value};

use super::{ExchangeError, hash_of};

/// A job whose token was verified.
pub(super) struct Workload {
    claims: WorkloadClaims,
    kind: Kind,
    /// The subject that names the source alone, in the form it is stored in.
    short_subject: Option<String>,
}

/// Whose claims they are: seen by claims that only such an issuer's tokens have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    GitHub,
    GitLab,
    Other,
}

/// The claim that fits no publisher; configured values are not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mismatch(&'static str);

impl Mismatch {
    pub fn claim(name: &'static str) -> Self {
        Self(name)
    }
    pub fn into_error(self) -> ExchangeError {
        ExchangeError::Publisher(self.0.to_owned())
    }
}

pub(super) const GITHUB_PREFIX: &str = "repo:";
pub(super) const GITLAB_PREFIX: &str = "project_path:";

/// How a subject is stored: those that name a source alone in lower case, since forges do not tell case apart
/// there; others as they are.
pub(crate) fn stored_subject(subject: &str) -> String {
    let names_source_alone = [GITHUB_PREFIX, GITLAB_PREFIX]
        .iter()
        .any(|prefix| subject.strip_prefix(prefix).is_some_and(|source| source.contains('/') && !source.contains(':')));
    if names_source_alone { subject.to_lowercase() } else { subject.to_owned() }
}

impl Workload {
    /// # Errors
    /// The claim that is missing, or that says the job must never publish.
    pub fn of(claims: WorkloadClaims) -> Result<Self, Mismatch> {
        let has = |claim: &str| claims.text(claim).is_some();
        let kind = match () {
            () if has("job_workflow_ref") && has("repository") => Kind::GitHub,
            // A pipeline that is defined elsewhere has no `ci_config_ref_uri`, and is no less GitLab's.
            () if has("project_path") && (has("ci_config_ref_uri") || has("namespace_id")) => Kind::GitLab,
            () => Kind::Other,
        };
        let need = |claim: &'static str| claims.text(claim).ok_or(Mismatch(claim));
        let short_subject = match kind {
            Kind::GitHub => {
                // Such jobs run a stranger's code with the rights of the repository.
                if claims.text("event_name") == Some("pull_request_target") {
                    return Err(Mismatch("event_name"));
                }
                let (repository, owner) = (need("repository")?, need("repository_owner")?);
                need("repository_owner_id")?;
                need("ref").or_else(|_| need("sha"))?;
                let is_its_own = repository.split_once('/').is_some_and(|(of, _)| of.eq_ignore_ascii_case(owner));
                if !is_its_own {
                    return Err(Mismatch("repository_owner"));
                }
                Some(stored_subject(&format!("{GITHUB_PREFIX}{repository}")))
            }
            Kind::GitLab => {
                need("ref_path")?;
                need("sha")?;
                let short = stored_subject(&format!("{GITLAB_PREFIX}{}", need("project_path")?));
                let is_of_it = claims.subject.to_lowercase().strip_prefix(&short).is_some_and(|r| r.starts_with(':'));
                is_of_it.then_some(short)
            }
            Kind::Other => None,
        };
        Ok(Self { claims, kind, short_subject })
    }

    pub fn issuer(&self) -> &str {
        &self.claims.issuer
    }

    /// Subjects of publishers that may mean this job.
    pub fn subjects(&self) -> [&str; 2] {
        let whole = self.claims.subject.as_str();
        [whole, self.short_subject.as_deref().unwrap_or(whole)]
    }

    pub fn token_hash(&self) -> [u8; 32] {
        hash_of(&self.claims.issuer, &self.claims.token_id)
    }
    pub fn token_ends(&self) -> Timestamp {
        self.claims.unusable_from()
    }

    /// The forge's number for the owner of the source; a name may be registered again by somebody else.
    pub fn source_owner(&self) -> Option<&str> {
        match self.kind {
            Kind::Other => None,
            _ => self.claims.text(self.source_owner_claim()),
        }
    }
    pub fn source_owner_claim(&self) -> &'static str {
        match self.kind {
            Kind::GitHub => "repository_owner_id",
            Kind::GitLab => "namespace_id",
            Kind::Other => "sub",
        }
    }

    /// Whether every constraint of a publisher of this subject holds.
    ///
    /// # Errors
    /// The first claim that does not fit.
    pub fn check(&self, publisher: &TrustedPublisherRow) -> Result<(), Mismatch> {
        let said = |claim: &'static str| self.claims.text(claim).ok_or(Mismatch(claim));
        let ignores_case = |claim: &'static str, wanted: &str| match said(claim)?.eq_ignore_ascii_case(wanted) {
            true => Ok(()),
            false => Err(Mismatch(claim)),
        };
        let exactly = |claim: &'static str, wanted: &str| match said(claim)? == wanted {
            true => Ok(()),
            false => Err(Mismatch(claim)),
        };
        if let Some(wanted) = &publisher.repository {
            match self.kind {
                Kind::GitHub => ignores_case("repository", wanted)?,
                Kind::GitLab => ignores_case("project_path", wanted)?,
                Kind::Other => exactly("repository", wanted)?,
            }
        }
        let workflow = publisher.workflow_ref.as_deref();
        match self.kind {
            Kind::GitHub => {
                let place = format!("{}/.github/workflows/", said("repository")?);
                self.runs(workflow, "job_workflow_ref", &place, ["ref", "sha"])?;
            }
            Kind::GitLab => {
                let host = self.claims.issuer.split_once("://").map_or("", |(_, rest)| rest);
                let place = format!("{host}/{}//", said("project_path")?);
                self.runs(workflow, "ci_config_ref_uri", &place, ["ref_path", "sha"])?;
            }
            Kind::Other => workflow.map_or(Ok(()), |wanted| exactly("workflow_ref", wanted))?,
        }
        match publisher.environment.as_str() {
            "" => Ok(()),
            wanted if self.kind == Kind::GitHub => ignores_case("environment", wanted),
            wanted => exactly("environment", wanted),
        }
    }

    /// Whether `claim` is `{place}{file}@{ref}` with a ref of this job, and `wanted`, if anything is, names it: the
    /// file, its whole path, or all of it.
    ///
    /// Without `wanted`, too: a job whose steps another repository wrote has the subject of the one that called it.
    fn runs(&self, wanted: Option<&str>, claim: &'static str, place: &str, refs: [&str; 2]) -> Result<(), Mismatch> {
        let said = self.claims.text(claim).ok_or(Mismatch(claim))?;
        let file_at = below(said, place).ok_or(Mismatch(claim))?;
        let mut refs = refs.into_iter().filter_map(|name| self.claims.text(name));
        let file = refs.find_map(|at| file_at.strip_suffix(at)?.strip_suffix('@')).ok_or(Mismatch(claim))?;
        let names_it = |wanted: &str| wanted == file || below(wanted, place).is_some_and(|w| w == file || w == file_at);
        if wanted.is_none_or(names_it) { Ok(()) } else { Err(Mismatch(claim)) }
    }

    /// What the audit log says of it.
    pub fn facts(&self) -> Map<String, Value> {
        let names: &[(&str, &str)] = match self.kind {
            Kind::GitHub => &[
                ("repository", "repository"),
                ("ref", "ref"),
                ("sha", "sha"),
                ("workflow", "job_workflow_ref"),
                ("environment", "environment"),
                ("run_id", "run_id"),
            ],
            Kind::GitLab => &[
                ("repository", "project_path"),
                ("ref", "ref_path"),
                ("sha", "sha"),
                ("workflow", "ci_config_ref_uri"),
                ("environment", "environment"),
                ("run_id", "job_id"),
            ],
            Kind::Other => &[("repository", "repository"), ("ref", "ref"), ("environment", "environment")],
        };
        let texts = names.iter().filter_map(|(as_what, claim)| Some((*as_what, self.claims.text(claim)?)));
        let ours = [("issuer", self.claims.issuer.as_str()), ("subject", self.claims.subject.as_str())];
        let cut = |text: &str| Value::from(text.chars().take(MAX_FACT_CHARS).collect::<String>());
        ours.into_iter().chain(texts).map(|(name, text)| (name.to_owned(), cut(text))).collect()
    }
}

/// What follows a place, which forges compare without case; files they do not.
pub(super) fn below<'a>(path: &'a str, place: &str) -> Option<&'a str> {
    let (head, rest) = path.split_at_checked(place.len())?;
    head.eq_ignore_ascii_case(place).then_some(rest)
}

/// Longest text of a claim that the audit log keeps.
const MAX_FACT_CHARS: usize = 500;

#[cfg(test)]
mod tests {
    use publaryn_core::{PackageId, TrustedPublisherId, UserId};
    use serde_json::json;

    use super::*;

    fn workload(claims: Value) -> Result<Workload, Mismatch> {
        let mut all = json!({ "iss": "https://ci.test", "sub": "job", "jti": "1", "aud": "a", "iat": 0, "exp": 60 });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let Value::Object(all) = all else { unreachable!() };
        Workload::of(WorkloadClaims::check(all, "a", Timestamp::from_micros(0)).unwrap())
    }

    fn github(more: Value) -> Result<Workload, Mismatch> {
        let mut claims = json!({
            "sub": "repo:Acme/Widget:environment:release",
            "repository": "Acme/Widget", "repository_owner": "Acme", "repository_owner_id": "17",
            "job_workflow_ref": "Acme/Widget/.github/workflows/release.yml@refs/tags/v1@2",
            "ref": "refs/tags/v1@2", "sha": "abc", "environment": "Release", "event_name": "push",
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        workload(claims)
    }

    fn gitlab(more: Value) -> Result<Workload, Mismatch> {
        let mut claims = json!({
            "iss": "https://git.test:8443",
            "sub": "project_path:acme/tools/widget:ref_type:branch:ref:main",
            "project_path": "acme/tools/widget", "namespace_id": "4",
            "ci_config_ref_uri": "git.test:8443/acme/tools/widget//.gitlab-ci.yml@refs/heads/main",
            "ref_path": "refs/heads/main", "sha": "abc",
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        workload(claims)
    }

    fn trusts(
        subject: &str,
        repository: Option<&str>,
        workflow: Option<&str>,
        environment: &str,
    ) -> TrustedPublisherRow {
        TrustedPublisherRow {
            id: TrustedPublisherId::new(),
            package_id: PackageId::new(),
            issuer: "https://ci.test".into(),
            subject: subject.into(),
            repository: repository.map(str::to_owned),
            workflow_ref: workflow.map(str::to_owned),
            environment: environment.into(),
            created_by: UserId::new(),
            created_at: Timestamp::from_micros(0),
            last_used_at: None,
            source_owner_id: None,
        }
    }

    #[test]
    fn sources_alone_are_stored_without_case() {
        assert_eq!(stored_subject("repo:Acme/Widget"), "repo:acme/widget");
        assert_eq!(stored_subject("project_path:Acme/a/B"), "project_path:acme/a/b");
        for whole in ["repo:Acme/Widget:ref:refs/heads/Main", "Job", "repo:Acme", "project_path:A/B:ref_type:tag"] {
            assert_eq!(stored_subject(whole), whole);
        }
    }

    #[test]
    fn a_job_is_known_by_its_subject_and_by_its_source() {
        let job = github(json!({})).unwrap();
        assert_eq!(job.subjects(), ["repo:Acme/Widget:environment:release", "repo:acme/widget"]);
        assert_eq!((job.source_owner(), job.source_owner_claim()), (Some("17"), "repository_owner_id"));
        let job = gitlab(json!({})).unwrap();
        assert_eq!(job.subjects()[1], "project_path:acme/tools/widget");
        assert_eq!(job.source_owner(), Some("4"));
        // A subject that is not of its project speaks for itself only.
        let job = gitlab(json!({ "sub": "project_path:acme/tools/widget2:ref:main" })).unwrap();
        assert_eq!(job.subjects(), ["project_path:acme/tools/widget2:ref:main"; 2]);
        assert_eq!(workload(json!({})).unwrap().subjects(), ["job", "job"]);
    }

    #[test]
    fn jobs_that_must_not_publish_are_refused() {
        let refused = |job: Result<Workload, Mismatch>, claim| assert_eq!(job.err(), Some(Mismatch(claim)));
        refused(github(json!({ "event_name": "pull_request_target" })), "event_name");
        refused(github(json!({ "repository_owner": "evil" })), "repository_owner");
        refused(github(json!({ "repository_owner_id": null })), "repository_owner_id");
        refused(github(json!({ "ref": null, "sha": null })), "sha");
        refused(gitlab(json!({ "ref_path": null })), "ref_path");
        refused(gitlab(json!({ "sha": "" })), "sha");
    }

    #[test]
    fn every_constraint_that_is_set_must_hold() {
        let (hub, lab) = (github(json!({})).unwrap(), gitlab(json!({})).unwrap());
        let other = workload(json!({ "repository": "a/b", "workflow_ref": "w", "environment": "E" })).unwrap();
        let s = Some;
        for (job, repository, workflow, environment, wanted) in [
            (&hub, None, None, "", Ok(())),
            (&hub, s("acme/widget"), s("release.yml"), "release", Ok(())),
            (&hub, None, s("acme/widget/.github/workflows/release.yml"), "", Ok(())),
            (&hub, None, s("Acme/Widget/.github/workflows/release.yml@refs/tags/v1@2"), "", Ok(())),
            (&hub, None, s("Acme/Widget/.github/workflows/release.yml@refs/heads/main"), "", Err("job_workflow_ref")),
            (&hub, s("acme/widget2"), None, "", Err("repository")),
            (&hub, None, s("acme/widget/.github/workflows/release.yml@refs/tags/v1@2"), "", Ok(())),
            (&hub, None, s("Release.yml"), "", Err("job_workflow_ref")),
            (&hub, None, s("Acme/Widget/.github/workflows/Release.yml"), "", Err("job_workflow_ref")),
            (&hub, None, s("other.yml"), "", Err("job_workflow_ref")),
            (&hub, None, None, "staging", Err("environment")),
            (&lab, s("ACME/tools/widget"), s(".gitlab-ci.yml"), "", Ok(())),
            (&lab, None, s("git.test:8443/acme/tools/widget//.gitlab-ci.yml"), "", Ok(())),
            (&lab, None, s("ci.yml"), "", Err("ci_config_ref_uri")),
            (&lab, s("acme/tools"), None, "", Err("project_path")),
            (&lab, None, None, "production", Err("environment")),
            (&other, s("a/b"), s("w"), "E", Ok(())),
            (&other, s("A/b"), None, "", Err("repository")),
            (&other, None, s("x"), "", Err("workflow_ref")),
            (&other, None, None, "e", Err("environment")),
        ] {
            let verdict = job.check(&trusts("s", repository, workflow, environment));
            assert_eq!(verdict, wanted.map_err(Mismatch), "{repository:?} {workflow:?} {environment}");
        }
        // A workflow of another repository, called from this one, is not this one's file, whatever is asked of it.
        let evil = "evil/x/.github/workflows/release.yml@refs/tags/v1@2";
        let called = github(json!({ "job_workflow_ref": evil })).unwrap();
        for workflow in [None, Some("release.yml"), Some(evil)] {
            assert_eq!(called.check(&trusts("s", None, workflow, "")), Err(Mismatch("job_workflow_ref")));
        }
        for config in [json!("git.test:8443/evil/x//.gitlab-ci.yml@refs/heads/main"), Value::Null] {
            let defined_elsewhere = gitlab(json!({ "ci_config_ref_uri": config })).unwrap();
            assert_eq!(defined_elsewhere.check(&trusts("s", None, None, "")), Err(Mismatch("ci_config_ref_uri")));
        }
        // The file as it was at another commit than the job's.
        let moved = github(json!({ "job_workflow_ref": "Acme/Widget/.github/workflows/release.yml@refs/heads/x" }));
        let verdict = moved.unwrap().check(&trusts("s", None, Some("release.yml"), ""));
        assert_eq!(verdict, Err(Mismatch("job_workflow_ref")));
    }

    #[test]
    fn the_audit_log_learns_where_it_came_from() {
        let facts = github(json!({ "run_id": "9" })).unwrap().facts();
        assert_eq!(
            (&facts["repository"], &facts["run_id"], &facts["ref"]),
            (&json!("Acme/Widget"), &json!("9"), &json!("refs/tags/v1@2"))
        );
    }
}
