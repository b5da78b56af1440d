//! Findings of scanners, and what people say about them.

use publaryn_core::{
    Ecosystem, FindingId, Operation, Principal, RegistryError,
    audit::{AuditAction, ClientOrigin},
};
use publaryn_metadata::{
    organizations::Slice,
    release_views::{FindingFilter, FindingViewRow},
};

use super::PackageAccessed;
use crate::{Registry, identity::require_user};

impl Registry {
    /// Findings of a package, newest first; those of staged releases only for who may see these.
    pub async fn findings(
        &self,
        who: &Principal,
        package: &PackageAccessed,
        filter: FindingFilter,
        slice: Slice,
    ) -> Result<(Vec<FindingViewRow>, i64), RegistryError> {
        let filter = FindingFilter { staged: package.shows_staged(who), ..filter };
        Ok(self.0.db.package_findings(package.id(), &filter, slice).await?)
    }

    /// Resolves or reopens a finding. Saying what is so already changes and records nothing.
    ///
    /// # Errors
    /// `NotFound` also for a finding of another package, or of a release the caller may not see.
    #[allow(clippy::too_many_arguments, reason = "who, where, what, from where: each is one thing")]
    pub async fn triage(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        finding: FindingId,
        is_resolved: bool,
        note: Option<&str>,
        origin: &ClientOrigin,
    ) -> Result<FindingViewRow, RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Triage, origin).await?;
        let row = change.tx.finding_of(change.head.id, finding).await?.ok_or(RegistryError::NotFound)?;
        let is_shown = row.release_status.is_live()
            || publaryn_core::access::permits(
                who,
                Operation::ReadStaged,
                publaryn_core::access::Resource::Package(&change.access),
            );
        if !is_shown {
            return Err(RegistryError::NotFound);
        }
        if row.resolved_at.is_some() == is_resolved && row.note.as_deref() == note {
            return Ok(row);
        }
        // A note about what is resolved already keeps when it was.
        let by = require_user(who).map(|user| user.id).ok().or(row.resolved_by);
        let resolved = by.filter(|_| is_resolved).map(|by| (by, row.resolved_at.unwrap_or(change.now)));
        if is_resolved && resolved.is_none() {
            return Err(RegistryError::Denied(publaryn_core::access::Denial::CredentialNotAccepted));
        }
        change.tx.resolve_finding(finding, resolved, note).await?;
        if row.release_status.is_live() {
            // Documents tell what is known against a version.
            change.tx.bump_revision(&change.head, change.now).await?;
        }
        let after = change.tx.finding_of(change.head.id, finding).await?.ok_or(RegistryError::NotFound)?;
        let action = if is_resolved { AuditAction::SecurityFindingResolve } else { AuditAction::SecurityFindingReopen };
        let entry = change
            .audit(action)
            .with("finding_id", finding.to_string())
            .with("rule_id", row.rule_id)
            .with("version", row.release_version)
            .with("note", note);
        change.commit(entry).await?;
        Ok(after)
    }
}
