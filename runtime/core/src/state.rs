//! The states and kinds of things, as words (control-plane.md §2).

text_enum! {
    /// Where a release stands. See [`ReleaseState::can_become`].
    pub enum ReleaseState {
        Quarantine = "quarantine",
        Scanning = "scanning",
        Published = "published",
        Deprecated = "deprecated",
        Yanked = "yanked",
        Deleted = "deleted",
    }
}

impl ReleaseState {
    /// Live releases are the only ones native protocols may name (access.md §2.2).
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Published | Self::Deprecated | Self::Yanked)
    }
    /// Staged releases are visible to `manage_view` holders through the control plane only.
    pub const fn is_staged(self) -> bool {
        matches!(self, Self::Quarantine | Self::Scanning)
    }
    /// The life cycle of control-plane.md §8.2.
    pub const fn can_become(self, next: Self) -> bool {
        use ReleaseState::*;
        match (self, next) {
            (Quarantine, Scanning) | (Scanning, Quarantine) => true,
            (Scanning, n) => n.is_live(),
            (Published | Deprecated | Yanked, n) => n.is_live() || matches!(n, Quarantine | Deleted),
            (Quarantine, Deleted) => true,
            (Quarantine | Deleted, _) => false,
        }
    }
}

text_enum! {
    /// Who may see a package or repository. Declared from widest to narrowest, so `max` is the narrower.
    pub enum Visibility {
        Public = "public",
        Unlisted = "unlisted",
        InternalOrg = "internal_org",
        Private = "private",
        Quarantined = "quarantined",
    }
}

impl Visibility {
    /// The effective visibility of a package in its repository (access.md §1).
    pub fn effective(package: Self, repository: Self, is_quarantined: bool) -> Self {
        if is_quarantined { Self::Quarantined } else { package.max(repository) }
    }
    /// Readable by anyone who knows the address.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Public | Self::Unlisted)
    }
}

text_enum! {
    /// What a repository is for (access.md §6). Proxy and virtual kinds are not offered.
    pub enum RepositoryKind { Public = "public", Private = "private", Staging = "staging", Release = "release" }
}

impl RepositoryKind {
    pub const fn default_visibility(self) -> Visibility {
        match self {
            Self::Public | Self::Release => Visibility::Public,
            Self::Private | Self::Staging => Visibility::Private,
        }
    }
    pub const fn allows(self, visibility: Visibility) -> bool {
        match self {
            Self::Public | Self::Release => true,
            Self::Private | Self::Staging => !visibility.is_open(),
        }
    }
}

text_enum! {
    /// What a stored file is (control-plane.md §2, artifact kind).
    pub enum ArtifactKind {
        Tarball = "tarball",
        Wheel = "wheel",
        Sdist = "sdist",
        Jar = "jar",
        Pom = "pom",
        Gem = "gem",
        Nupkg = "nupkg",
        Snupkg = "snupkg",
        OciManifest = "oci_manifest",
        OciLayer = "oci_layer",
        Crate = "crate",
        ComposerZip = "composer_zip",
        Checksum = "checksum",
        Signature = "signature",
        Sbom = "sbom",
        SourceZip = "source_zip",
    }
}

text_enum! {
    /// Where a file stands within its release. It is served while its release is live and itself `joint` or `live`.
    pub enum ArtifactState {
        /// Judged together with its release.
        Joint = "joint",
        /// Has a quarantine of its own and is in it.
        Scanning = "scanning",
        /// Has passed its own scan.
        Live = "live",
        /// Was refused by policy; its name stays taken.
        Held = "held",
    }
}

text_enum! {
    /// What is kept beside a file for clients that fetch it without the file.
    pub enum CompanionRole {
        /// The manifest inside: a wheel's METADATA, a package's nuspec.
        Manifest = "manifest",
        /// Signed statements about the file, as uploaded and not verified.
        Attestations = "attestations",
    }
}

text_enum! {
    /// What the verifier found wrong with the bytes of a blob.
    pub enum BlobDamage { Missing = "missing", Corrupt = "corrupt" }
}

text_enum! {
    /// A person's role in an organization (access.md §3).
    pub enum OrgRole {
        Owner = "owner",
        Admin = "admin",
        Maintainer = "maintainer",
        Publisher = "publisher",
        SecurityManager = "security_manager",
        Auditor = "auditor",
        BillingManager = "billing_manager",
        Viewer = "viewer",
    }
}

impl OrgRole {
    /// The roles whose holders govern an organization.
    pub const fn governs(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }
}

text_enum! {
    /// Where an invitation into an organization stands.
    pub enum InvitationState {
        Pending = "pending",
        Accepted = "accepted",
        Declined = "declined",
        Revoked = "revoked",
        Expired = "expired",
    }
}

text_enum! {
    /// What a team grant allows on a package, repository or claim (access.md §3.1).
    pub enum TeamPermission {
        Admin = "admin",
        Publish = "publish",
        WriteMetadata = "write_metadata",
        ReadPrivate = "read_private",
        SecurityReview = "security_review",
        TransferOwnership = "transfer_ownership",
    }
}

text_enum! {
    /// The kinds of API tokens (access.md §5).
    pub enum TokenKind {
        Personal = "personal",
        OrgAutomation = "org_automation",
        Repository = "repository",
        Package = "package",
        Ci = "ci",
        Publish = "publish",
        OidcDerived = "oidc_derived",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_visibility_is_the_narrower_one() {
        use Visibility::*;
        assert_eq!(Visibility::effective(Public, Private, false), Private);
        assert_eq!(Visibility::effective(Unlisted, Public, false), Unlisted);
        assert_eq!(Visibility::effective(Public, Public, true), Quarantined);
    }

    #[test]
    fn nothing_goes_live_without_scanning() {
        for state in [ReleaseState::Quarantine, ReleaseState::Deleted] {
            for next in ReleaseState::ALL {
                assert!(!(next.is_live() && state.can_become(*next)), "{state} -> {next}");
            }
        }
    }

    #[test]
    fn words_are_read_leniently_and_unknown_ones_refused() {
        assert_eq!("internal-org".parse::<Visibility>().unwrap(), Visibility::InternalOrg);
        assert_eq!("PUBLIC".parse::<Visibility>().unwrap(), Visibility::Public);
        assert!("publik".parse::<Visibility>().is_err());
    }
}
