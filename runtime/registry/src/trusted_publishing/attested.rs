//! Whose workflow stands behind a signature: the trusted publisher of a package that its certificate names.
//!
//! A certificate names issuer, repository and workflow, but no environment; constraints on that are not compared.

use publaryn_auth::sigstore::Signer;
use publaryn_core::{Ecosystem, PackageName, RegistryError};
use publaryn_metadata::{organizations::Slice, trusted_publishers::TrustedPublisherRow};
use serde::{Deserialize, Serialize};

use super::{
    MAX_PUBLISHERS,
    workload::{GITHUB_PREFIX, GITLAB_PREFIX, below},
};
use crate::Registry;

/// The publisher of an attestation, in the words of PEP 740's provenance object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum AttestedBy {
    GitHub { repository: String, workflow: String },
    GitLab { repository: String, workflow_filepath: String },
}

/// Where a workflow lies: `owner/name` and the file, with the ref it ran at.
struct Place<'a> {
    repository: &'a str,
    file: &'a str,
    is_github: bool,
    /// What a publisher may name in full, up to the file and from the file on. GitHub's tokens leave the host out,
    /// GitLab's do not.
    folder: &'a str,
    file_at: &'a str,
    /// The forge's number for the owner of the repository.
    owner_id: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(signer: &'a Signer) -> Option<Self> {
        let (_, source) = signer.source_repository.split_once("://")?;
        let (host, repository) = source.split_once('/')?;
        let (_, config) = signer.build_config.split_once("://")?;
        let below_host = config.strip_prefix(host)?.strip_prefix('/')?;
        let rest = below_host.strip_prefix(repository)?;
        let (file_at, is_github) = match rest.strip_prefix("/.github/workflows/") {
            Some(file_at) => (file_at, true),
            None => (rest.strip_prefix("//")?, false),
        };
        let (file, _) = file_at.split_once('@')?;
        let named = if is_github { below_host } else { config };
        let folder = named.strip_suffix(file_at)?;
        Some(Self { repository, file, is_github, folder, file_at, owner_id: signer.source_owner_id.as_deref() })
    }

    fn is_that_of(&self, publisher: &TrustedPublisherRow) -> bool {
        let prefix = if self.is_github { GITHUB_PREFIX } else { GITLAB_PREFIX };
        let named = publisher.subject.strip_prefix(prefix).and_then(|rest| rest.split(':').next());
        let is_repository = |named: &str| named.eq_ignore_ascii_case(self.repository);
        let is_workflow = |wanted: &String| {
            wanted == self.file || below(wanted, self.folder).is_some_and(|w| w == self.file || w == self.file_at)
        };
        // A name that was given up and registered again is another owner's.
        let is_owner = |known: &String| Some(known.as_str()) == self.owner_id;
        named.is_some_and(is_repository)
            && publisher.repository.as_deref().is_none_or(is_repository)
            && publisher.workflow_ref.as_ref().is_none_or(is_workflow)
            && publisher.source_owner_id.as_ref().is_none_or(is_owner)
    }
}

impl Registry {
    /// The workflow that signed, if the package trusts it to publish.
    pub async fn attested_by(
        &self,
        ecosystem: Ecosystem,
        name: &PackageName,
        signer: &Signer,
    ) -> Result<Option<AttestedBy>, RegistryError> {
        let Some(place) = Place::of(signer) else { return Ok(None) };
        let Some(head) = self.0.heads.get(ecosystem, name.canonical()).await? else { return Ok(None) };
        let (publishers, _) = self.0.db.trusted_publishers(head.id, Slice::new(MAX_PUBLISHERS, 0)).await?;
        let is_trusted = publishers.iter().any(|one| one.issuer == signer.issuer && place.is_that_of(one));
        let (repository, file) = (place.repository.to_owned(), place.file.to_owned());
        let by = match place.is_github {
            true => AttestedBy::GitHub { repository, workflow: file },
            false => AttestedBy::GitLab { repository, workflow_filepath: file },
        };
        Ok(is_trusted.then_some(by))
    }
}

#[cfg(test)]
mod tests {
    use publaryn_core::{PackageId, Timestamp, TrustedPublisherId, UserId};

    use super::*;

    fn signer(source: &str, config: &str) -> Signer {
        Signer {
            issuer: "https://ci.test".into(),
            source_repository: source.into(),
            build_config: config.into(),
            source_owner_id: Some("17".into()),
            signed_at: Timestamp::from_micros(0),
        }
    }

    fn trusts(subject: &str, repository: Option<&str>, workflow: Option<&str>) -> TrustedPublisherRow {
        TrustedPublisherRow {
            id: TrustedPublisherId::new(),
            package_id: PackageId::new(),
            issuer: "https://ci.test".into(),
            subject: subject.into(),
            repository: repository.map(str::to_owned),
            workflow_ref: workflow.map(str::to_owned),
            environment: String::new(),
            created_by: UserId::new(),
            created_at: Timestamp::from_micros(0),
            last_used_at: None,
            source_owner_id: None,
        }
    }

    #[test]
    fn a_certificate_names_a_workflow_that_a_publisher_names_too() {
        let hub = signer(
            "https://github.test/Acme/Widget",
            "https://github.test/Acme/Widget/.github/workflows/r.yml@refs/tags/v1",
        );
        let lab = signer(
            "https://git.test:8443/acme/a/widget",
            "https://git.test:8443/acme/a/widget//ci/r.yml@refs/heads/main",
        );
        for (signer, publisher, is) in [
            (&hub, trusts("repo:acme/widget", None, None), true),
            (&hub, trusts("repo:acme/widget:ref:refs/tags/v1", None, Some("r.yml")), true),
            (&hub, trusts("repo:acme/widget", None, Some("Acme/Widget/.github/workflows/r.yml")), true),
            (&hub, trusts("repo:acme/widget", None, Some("Acme/Widget/.github/workflows/r.yml@refs/tags/v1")), true),
            (&hub, trusts("repo:acme/widget", None, Some("other.yml")), false),
            (&hub, trusts("repo:acme/widget", None, Some("acme/widget/.github/workflows/r.yml@refs/tags/v1")), true),
            (&hub, trusts("repo:acme/widget", None, Some("R.yml")), false),
            (&hub, trusts("repo:acme/widget", None, Some("Acme/Widget/.github/workflows/R.yml")), false),
            (
                &hub,
                TrustedPublisherRow { source_owner_id: Some("17".into()), ..trusts("repo:acme/widget", None, None) },
                true,
            ),
            (
                &hub,
                TrustedPublisherRow { source_owner_id: Some("18".into()), ..trusts("repo:acme/widget", None, None) },
                false,
            ),
            (&hub, trusts("repo:acme/widget2", None, None), false),
            (&hub, trusts("repo:acme/widget", Some("acme/other"), None), false),
            (&hub, trusts("project_path:acme/widget", None, None), false),
            (&lab, trusts("project_path:acme/a/widget", None, Some("ci/r.yml")), true),
            (&lab, trusts("project_path:acme/a/widget", None, Some("git.test:8443/acme/a/widget//ci/r.yml")), true),
            (&lab, trusts("repo:acme/a/widget", None, None), false),
        ] {
            let place = Place::of(signer).unwrap();
            assert_eq!(place.is_that_of(&publisher), is, "{publisher:?}");
        }
        let nameless = Signer { source_owner_id: None, ..hub };
        let known =
            TrustedPublisherRow { source_owner_id: Some("17".into()), ..trusts("repo:acme/widget", None, None) };
        assert!(!Place::of(&nameless).unwrap().is_that_of(&known));
        for (source, config) in [
            ("https://github.test/a/b", "https://evil.test/a/b/.github/workflows/r.yml@x"),
            ("https://github.test/a/b", "https://github.test/a/bc/.github/workflows/r.yml@x"),
            ("https://github.test/a/b", "https://github.test/a/b/.github/workflows/r.yml"),
            ("x", "y"),
        ] {
            assert!(Place::of(&signer(source, config)).is_none(), "{config}");
        }
    }
}
