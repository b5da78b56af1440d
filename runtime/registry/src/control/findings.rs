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
use crate::Registry;

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

    /// Resolves or reopens a finding, by a person or by an organization's automation. Saying what is so already changes
    /// and records nothing; `None` leaves the note as it is.
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
        note: Option<Option<&str>>,
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
        let note = note.unwrap_or(row.note.as_deref());
        if row.resolved_at.is_some() == is_resolved && row.note.as_deref() == note {
            return Ok(row);
        }
        // Another note about what is resolved already changes neither who resolved it nor when.
        let resolution = match row.resolved_at {
            _ if !is_resolved => None,
            Some(at) => Some((row.resolved_by, at)),
            None => Some((who.acting_user(), change.now)),
        };
        change.tx.resolve_finding(finding, resolution, note).await?;
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
            .with("note", after.note.as_deref());
        change.commit(entry).await?;
        Ok(after)
    }
}
