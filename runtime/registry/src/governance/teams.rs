//! Teams and who is in them.

use publaryn_core::{
    Operation, Principal, RegistryError, TeamId,
    audit::{AuditAction, AuditEntry, ClientOrigin},
};
use publaryn_metadata::{
    organizations::Slice,
    teams::{TeamMemberRow, TeamRow},
};

use super::OrgChange;
use crate::Registry;

/// A team about to be made; the values passed their rules.
#[derive(Debug, Clone)]
pub struct NewTeam {
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
}

/// Changes to a team: absent = leave, `Some(None)` = clear.
#[derive(Debug, Clone, Default)]
pub struct TeamPatch {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
}

impl OrgChange<'_> {
    pub(super) async fn team(&mut self, slug: &str) -> Result<TeamRow, RegistryError> {
        self.tx.team(self.org.id, slug).await?.ok_or(RegistryError::NotFound)
    }

    pub(super) fn audit_team(&self, action: AuditAction, team: &TeamRow) -> AuditEntry {
        self.audit(action)
            .with("team_id", team.id.to_string())
            .with("team_slug", team.slug.as_str())
            .with("team_name", team.name.as_str())
    }
}

impl Registry {
    /// Teams of an organization, by name.
    pub async fn teams(&self, who: &Principal, slug: &str, slice: Slice) -> Result<(Vec<TeamRow>, i64), RegistryError> {
        let org = self.organization_for(who, slug, Operation::ReadDirectory).await?;
        Ok(self.0.db.teams(org.id, slice).await?)
    }

    /// A team, for whoever may do `operation` to its organization.
    pub async fn team(
        &self,
        who: &Principal,
        slug: &str,
        team: &str,
        operation: Operation,
    ) -> Result<TeamRow, RegistryError> {
        let org = self.organization_for(who, slug, operation).await?;
        self.0.db.team(org.id, team).await?.ok_or(RegistryError::NotFound)
    }

    /// # Errors
    /// `already_exists` when the slug is taken in the organization.
    pub async fn create_team(
        &self,
        who: &Principal,
        slug: &str,
        new: NewTeam,
        origin: &ClientOrigin,
    ) -> Result<TeamRow, RegistryError> {
        let mut change = self.change_org(who, slug, Operation::Govern, origin).await?;
        let team = TeamRow {
            id: TeamId::new(),
            org_id: change.org.id,
            slug: new.slug,
            name: new.name,
            description: new.description,
            member_count: 0,
            created_at: change.now,
            updated_at: change.now,
        };
        if !change.tx.insert_team(&team).await? {
            return Err(RegistryError::already_exists("slug"));
        }
        let entry = change.audit_team(AuditAction::TeamCreate, &team);
        change.commit(entry).await?;
        Ok(team)
    }

    pub async fn update_team(
        &self,
        who: &Principal,
        slug: &str,
        team: &str,
        patch: TeamPatch,
        origin: &ClientOrigin,
    ) -> Result<TeamRow, RegistryError> {
        let mut change = self.change_org(who, slug, Operation::Govern, origin).await?;
        let before = change.team(team).await?;
        let mut after = before.clone();
        if let Some(name) = patch.name {
            after.name = name;
        }
        if let Some(description) = patch.description {
            after.description = description;
        }
        if (&after.name, &after.description) == (&before.name, &before.description) {
            return Ok(before);
        }
        after.updated_at = change.now;
        change.tx.update_team(&after, change.now).await?;
        let entry = change.audit_team(AuditAction::TeamUpdate, &after).with("previous_name", before.name);
        change.commit(entry).await?;
        Ok(after)
    }

    /// Deletes a team; its memberships and grants go with it.
    pub async fn delete_team(
        &self,
        who: &Principal,
        slug: &str,
        team: &str,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let mut change = self.change_org(who, slug, Operation::Govern, origin).await?;
        let team = change.team(team).await?;
        let grants = change.tx.count_grants(team.id).await?;
        change.tx.delete_team(team.id).await?;
        let entry = change
            .audit_team(AuditAction::TeamDelete, &team)
            .with("removed_members", team.member_count)
            .with("removed_grants", grants);
        change.commit(entry).await
    }

    /// A team with its members, by user name.
    pub async fn team_members(
        &self,
        who: &Principal,
        slug: &str,
        team: &str,
        slice: Slice,
    ) -> Result<(TeamRow, Vec<TeamMemberRow>, i64), RegistryError> {
        let team = self.team(who, slug, team, Operation::ReadDirectory).await?;
        let (rows, total) = self.0.db.team_members(team.id, slice).await?;
        Ok((team, rows, total))
    }

    /// Adds a member of the organization to a team; the flag says whether that was news.
    ///
    /// # Errors
    /// `NotFound` for no such active account, `Invalid` for one that is no member.
    pub async fn add_team_member(
        &self,
        who: &Principal,
        slug: &str,
        team: &str,
        username: &str,
        origin: &ClientOrigin,
    ) -> Result<(TeamMemberRow, bool), RegistryError> {
        self.team(who, slug, team, Operation::Govern).await?;
        let user = self.active_user(username).await?;
        let mut change = self.change_org(who, slug, Operation::Govern, origin).await?;
        let team = change.team(team).await?;
        if change.tx.member(change.org.id, user.id).await?.is_none() {
            let message = "is not a member of the organization";
            return Err(RegistryError::invalid_member("username", "validation_failed", message));
        }
        let is_new = change.tx.add_team_member(&team, user.id, change.now).await?;
        let row = change.tx.team_member(team.id, user.id).await?.ok_or(RegistryError::NotFound)?;
        if is_new {
            let entry = change.audit_team(AuditAction::TeamMemberAdd, &team).user(user.id);
            change.commit(entry.with("username", user.username)).await?;
        }
        Ok((row, is_new))
    }

    /// # Errors
    /// `NotFound` for anybody who is not in the team.
    pub async fn remove_team_member(
        &self,
        who: &Principal,
        slug: &str,
        team: &str,
        username: &str,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        self.team(who, slug, team, Operation::Govern).await?;
        let user = self.0.db.user_by_name(&username.to_ascii_lowercase()).await?.ok_or(RegistryError::NotFound)?;
        let mut change = self.change_org(who, slug, Operation::Govern, origin).await?;
        let team = change.team(team).await?;
        if !change.tx.remove_team_member(team.id, user.id).await? {
            return Err(RegistryError::NotFound);
        }
        let entry = change.audit_team(AuditAction::TeamMemberRemove, &team).user(user.id);
        change.commit(entry.with("username", user.username)).await
    }
}
