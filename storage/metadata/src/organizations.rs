//! Organizations, their members and invitations.

use std::collections::{BTreeSet, HashMap};

use publaryn_core::{InvitationId, InvitationState, OrgId, OrgRole, RepositoryId, Timestamp, UserId};
use sqlx::FromRow;

use crate::{Db, DbResult, Engine, Sql, Tx, reach::Reach, rows::id_list};

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct OrgRow {
    pub id: OrgId,
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub website: Option<String>,
    pub email: Option<String>,
    pub avatar_url: Option<String>,
    pub is_verified: bool,
    pub mfa_required: bool,
    pub member_directory_is_private: bool,
    pub restrict_private_reads: bool,
    pub default_repository_id: Option<RepositoryId>,
    /// Absent when the organization does not own it any more.
    pub default_repository_slug: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An organization as one of its members lists it.
#[derive(Debug, Clone, FromRow)]
pub struct OrgSummaryRow {
    #[sqlx(flatten)]
    pub org: OrgRow,
    pub role: OrgRole,
    pub joined_at: Timestamp,
    pub team_count: i64,
    pub package_count: i64,
}

#[derive(Debug, Clone, FromRow)]
pub struct MemberRow {
    pub user_id: UserId,
    pub username: String,
    pub display_name: Option<String>,
    pub role: OrgRole,
    pub joined_at: Timestamp,
    pub mfa_enabled: bool,
}

#[derive(Debug, Clone, FromRow)]
pub struct InvitationRow {
    pub id: InvitationId,
    pub org_id: OrgId,
    pub org_slug: String,
    pub org_name: String,
    pub user_id: UserId,
    pub username: String,
    /// Set when it was addressed by e-mail.
    pub email: Option<String>,
    pub role: OrgRole,
    pub status: InvitationState,
    pub inviter_id: Option<UserId>,
    pub inviter: Option<String>,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

impl InvitationRow {
    /// What it reads as now: nobody has to notice that a date has passed.
    pub fn state(&self, now: Timestamp) -> InvitationState {
        match self.status {
            InvitationState::Pending if self.expires_at <= now => InvitationState::Expired,
            other => other,
        }
    }
}

/// An invitation about to be sent.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    pub id: InvitationId,
    pub org: OrgId,
    pub user: UserId,
    pub email: Option<String>,
    pub role: OrgRole,
    pub invited_by: Option<UserId>,
    pub expires_at: Timestamp,
}

/// Which page of a list.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    pub limit: i64,
    pub offset: i64,
}

impl Slice {
    pub fn new(limit: u32, offset: u64) -> Self {
        Self { limit: i64::from(limit), offset: i64::try_from(offset).unwrap_or(i64::MAX) }
    }
    /// Everything, as far as one answer goes.
    pub const ALL: Self = Self { limit: 10_000, offset: 0 };

    /// How long the whole list is, where a page of so many rows says so.
    pub(crate) fn total(&self, rows: usize) -> Option<i64> {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        (rows < self.limit && (rows > 0 || self.offset == 0)).then(|| self.offset + rows)
    }
}

macro_rules! org_columns {
    ($more:expr, $rest:literal) => {
        concat!(
            "SELECT o.id, o.slug, o.name, o.description, o.website, o.email, o.avatar_url, o.is_verified, o.mfa_required, ",
            "o.member_directory_is_private, o.restrict_private_reads, o.default_repository_id, ",
            "d.slug AS default_repository_slug, o.created_at, o.updated_at",
            $more,
            " FROM organizations o LEFT JOIN repositories d ON d.id = o.default_repository_id AND d.owner_org_id = o.id ",
            $rest
        )
    };
}

macro_rules! invitation_columns {
    ($rest:literal) => {
        concat!(
            "SELECT i.id, i.org_id, o.slug AS org_slug, o.name AS org_name, i.user_id, u.username, i.email, i.role, ",
            "i.status, b.id AS inviter_id, b.username AS inviter, i.expires_at, i.created_at, i.ended_at ",
            "FROM invitations i JOIN organizations o ON o.id = i.org_id JOIN users u ON u.id = i.user_id ",
            "LEFT JOIN users b ON b.id = i.invited_by ",
            $rest
        )
    };
}

impl Db {
    pub async fn organization_by_slug(&self, slug: &str) -> DbResult<Option<OrgRow>> {
        const SQL: &str = org_columns!("", "WHERE o.slug = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(slug).fetch_optional(c).await)?)
    }

    pub async fn organization(&self, id: OrgId) -> DbResult<Option<OrgRow>> {
        const SQL: &str = org_columns!("", "WHERE o.id = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    /// Slugs of organizations by id; those that are gone are left out.
    pub async fn organization_slugs(&self, ids: &[OrgId]) -> DbResult<HashMap<OrgId, String>> {
        const SQL: Sql = for_packages!("SELECT id, slug FROM organizations WHERE id", "");
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let (sql, list) = (self.sql(SQL), id_list(ids.iter().copied()));
        let rows: Vec<(OrgId, String)> = on_db!(self, |c| sqlx::query_as(sql).bind(list).fetch_all(c).await)?;
        Ok(rows.into_iter().collect())
    }

    /// The organizations a person is a member of, by name, with how many of their packages the credential may be
    /// told of.
    pub async fn organizations_of(
        &self,
        user: UserId,
        reach: &Reach,
        slice: Slice,
    ) -> DbResult<(Vec<OrgSummaryRow>, i64)> {
        // Most members may be told of every package; only for the others each one is looked at.
        const SQL: &str = org_columns!(
            concat!(
                ", m.role, m.joined_at, ",
                "(SELECT CAST(COUNT(*) AS BIGINT) FROM teams t WHERE t.org_id = o.id) AS team_count, ",
                "CASE WHEN $1 IS NOT NULL AND $4 IS NULL AND $5 IS NULL ",
                "AND NOT (o.restrict_private_reads AND m.role IN ('viewer', 'billing_manager')) ",
                "THEN (SELECT CAST(COUNT(*) AS BIGINT) FROM packages p ",
                "WHERE p.owner_org_id = o.id AND p.deleted_at IS NULL) ",
                "ELSE (SELECT CAST(COUNT(*) AS BIGINT) FROM packages p JOIN repositories r ON r.id = p.repository_id ",
                "WHERE p.owner_org_id = o.id AND p.deleted_at IS NULL AND ",
                discoverable_package!(),
                ") END AS package_count"
            ),
            "JOIN memberships m ON m.org_id = o.id AND m.user_id = $6 ORDER BY o.name, o.id LIMIT $7 OFFSET $8"
        );
        const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM memberships WHERE user_id = $1";
        let rows = on_db!(self, |c| bind_reach!(sqlx::query_as(SQL), reach)
            .bind(user)
            .bind(slice.limit)
            .bind(slice.offset)
            .fetch_all(c)
            .await)?;
        Ok((rows, on_db!(self, |c| sqlx::query_scalar(COUNT).bind(user).fetch_one(c).await)?))
    }

    /// Members, owners first, then by name. `query` is looked for in user and display names.
    pub async fn members(
        &self,
        org: OrgId,
        role: Option<OrgRole>,
        query: Option<&str>,
        slice: Slice,
    ) -> DbResult<(Vec<MemberRow>, i64)> {
        macro_rules! matching {
            ($select:literal, $rest:literal) => {
                Sql {
                    sqlite: matching!($select, "u.username_key GLOB $3 OR u.display_name GLOB $3", $rest),
                    postgres: matching!($select, "u.username_key ~ $3 OR u.display_name ~ $3", $rest),
                }
            };
            ($select:literal, $is_like:literal, $rest:literal) => {
                concat!(
                    "SELECT ",
                    $select,
                    " FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.org_id = $1 ",
                    "AND (m.role = $2 OR $2 = '') AND ($3 = '' OR ",
                    $is_like,
                    ") ",
                    $rest
                )
            };
        }
        const SQL: Sql = matching!(
            "m.user_id, u.username, u.display_name, m.role, m.joined_at, u.totp_enabled_at IS NOT NULL AS mfa_enabled",
            "ORDER BY CASE WHEN m.role = 'owner' THEN 0 ELSE 1 END, u.username_key LIMIT $4 OFFSET $5"
        );
        const COUNT: Sql = matching!("CAST(COUNT(*) AS BIGINT)", "");
        let (sql, count) = (self.sql(SQL), self.sql(COUNT));
        let role = role.map_or("", OrgRole::as_str);
        let pattern = query.map(|text| contains_pattern(text, self.engine())).unwrap_or_default();
        let rows = on_db!(self, |c| sqlx::query_as(sql)
            .bind(org)
            .bind(role)
            .bind(pattern.as_str())
            .bind(slice.limit)
            .bind(slice.offset)
            .fetch_all(c)
            .await)?;
        let total =
            on_db!(self, |c| sqlx::query_scalar(count).bind(org).bind(role).bind(pattern.as_str()).fetch_one(c).await)?;
        Ok((rows, total))
    }

    /// Invitations of an organization, newest first; only those still open unless `inactive`.
    pub async fn invitations_of_org(
        &self,
        org: OrgId,
        inactive: bool,
        now: Timestamp,
        slice: Slice,
    ) -> DbResult<(Vec<InvitationRow>, i64)> {
        const SQL: &str = invitation_columns!(
            "WHERE i.org_id = $1 AND ($2 OR (i.status = 'pending' AND i.expires_at > $3)) \
             ORDER BY i.created_at DESC, i.id DESC LIMIT $4 OFFSET $5"
        );
        const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM invitations i \
             WHERE i.org_id = $1 AND ($2 OR (i.status = 'pending' AND i.expires_at > $3))";
        let rows = on_db!(self, |c| sqlx::query_as(SQL)
            .bind(org)
            .bind(inactive)
            .bind(now)
            .bind(slice.limit)
            .bind(slice.offset)
            .fetch_all(c)
            .await)?;
        let total = on_db!(self, |c| sqlx::query_scalar(COUNT).bind(org).bind(inactive).bind(now).fetch_one(c).await)?;
        Ok((rows, total))
    }

    /// The same for the person who is invited.
    pub async fn invitations_of_user(
        &self,
        user: UserId,
        inactive: bool,
        now: Timestamp,
        slice: Slice,
    ) -> DbResult<(Vec<InvitationRow>, i64)> {
        const SQL: &str = invitation_columns!(
            "WHERE i.user_id = $1 AND ($2 OR (i.status = 'pending' AND i.expires_at > $3)) \
             ORDER BY i.created_at DESC, i.id DESC LIMIT $4 OFFSET $5"
        );
        const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM invitations i \
             WHERE i.user_id = $1 AND ($2 OR (i.status = 'pending' AND i.expires_at > $3))";
        let rows = on_db!(self, |c| sqlx::query_as(SQL)
            .bind(user)
            .bind(inactive)
            .bind(now)
            .bind(slice.limit)
            .bind(slice.offset)
            .fetch_all(c)
            .await)?;
        let total = on_db!(self, |c| sqlx::query_scalar(COUNT).bind(user).bind(inactive).bind(now).fetch_one(c).await)?;
        Ok((rows, total))
    }
}

/// A pattern for texts that contain `text` in whatever case, for `GLOB` of SQLite and `~` of PostgreSQL: what the
/// engines themselves know of letters stops at ASCII, or depends on how the database was set up.
fn contains_pattern(text: &str, engine: Engine) -> String {
    let (mut pattern, any) = match engine {
        Engine::Sqlite => ("*".to_owned(), "*"),
        Engine::Postgres => (String::new(), ""),
    };
    for c in text.chars() {
        let forms: BTreeSet<char> = c.to_lowercase().chain(c.to_uppercase()).collect();
        match engine {
            _ if forms.len() > 1 => {
                pattern.push('[');
                pattern.extend(forms);
                pattern.push(']');
            }
            Engine::Sqlite if matches!(c, '*' | '?' | '[') => pattern.extend(['[', c, ']']),
            Engine::Postgres if c.is_ascii_punctuation() => pattern.extend(['\\', c]),
            _ => pattern.push(c),
        }
    }
    pattern + any
}

impl Tx {
    /// Creates an organization; `false` when the slug is taken.
    pub async fn insert_organization(&mut self, new: &OrgRow) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO organizations (id, slug, name, description, website, email, avatar_url, created_at, \
             updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT DO NOTHING";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.id)
            .bind(new.slug.as_str())
            .bind(new.name.as_str())
            .bind(new.description.as_deref())
            .bind(new.website.as_deref())
            .bind(new.email.as_deref())
            .bind(new.avatar_url.as_deref())
            .bind(new.created_at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// An organization, locked against other changes of it and its people until the end of the transaction.
    pub async fn lock_organization(&mut self, slug: &str) -> DbResult<Option<OrgRow>> {
        let sql = Sql {
            sqlite: org_columns!("", "WHERE o.slug = $1"),
            postgres: org_columns!("", "WHERE o.slug = $1 FOR UPDATE OF o"),
        }
        .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(slug).fetch_optional(c).await)?)
    }

    /// Writes every changeable column.
    pub async fn update_organization(&mut self, org: &OrgRow, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE organizations SET name = $2, description = $3, website = $4, email = $5, avatar_url = $6, \
             mfa_required = $7, member_directory_is_private = $8, restrict_private_reads = $9, \
             default_repository_id = $10, updated_at = $11 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(org.id)
            .bind(org.name.as_str())
            .bind(org.description.as_deref())
            .bind(org.website.as_deref())
            .bind(org.email.as_deref())
            .bind(org.avatar_url.as_deref())
            .bind(org.mfa_required)
            .bind(org.member_directory_is_private)
            .bind(org.restrict_private_reads)
            .bind(org.default_repository_id)
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Packages, repositories and claims an organization owns, unpublished packages included.
    pub async fn count_owned_by_org(&mut self, org: OrgId) -> DbResult<i64> {
        const SQL: &str = "SELECT CAST((SELECT COUNT(*) FROM packages WHERE owner_org_id = $1) \
             + (SELECT COUNT(*) FROM repositories WHERE owner_org_id = $1) \
             + (SELECT COUNT(*) FROM namespace_claims WHERE owner_org_id = $1) AS BIGINT)";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(org).fetch_one(c).await)?)
    }

    /// Deletes an organization with its people, teams, invitations and tokens.
    pub async fn delete_organization(&mut self, org: OrgId) -> DbResult<()> {
        const TOKENS: &str = "DELETE FROM tokens WHERE org_id = $1";
        const SQL: &str = "DELETE FROM organizations WHERE id = $1";
        on_tx!(self, |c| sqlx::query(TOKENS).bind(org).execute(c).await.map(drop))?;
        on_tx!(self, |c| sqlx::query(SQL).bind(org).execute(c).await.map(drop))?;
        self.notice().credentials = true;
        Ok(())
    }

    pub async fn member(&mut self, org: OrgId, user: UserId) -> DbResult<Option<MemberRow>> {
        const SQL: &str = "SELECT m.user_id, u.username, u.display_name, m.role, m.joined_at, \
             u.totp_enabled_at IS NOT NULL AS mfa_enabled FROM memberships m JOIN users u ON u.id = m.user_id \
             WHERE m.org_id = $1 AND m.user_id = $2";
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(org).bind(user).fetch_optional(c).await)?)
    }

    /// Adds a member or changes the role of one.
    pub async fn set_member(&mut self, org: OrgId, user: UserId, role: OrgRole, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "INSERT INTO memberships (org_id, user_id, role, joined_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (org_id, user_id) DO UPDATE SET role = excluded.role";
        on_tx!(self, |c| sqlx::query(SQL).bind(org).bind(user).bind(role).bind(now).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Removes a member, from the organization's teams too. `false` when there was none.
    pub async fn remove_member(&mut self, org: OrgId, user: UserId) -> DbResult<bool> {
        const SQL: &str = "DELETE FROM memberships WHERE org_id = $1 AND user_id = $2";
        let done =
            on_tx!(self, |c| sqlx::query(SQL).bind(org).bind(user).execute(c).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Sends an invitation; `false` when one to the same person is open.
    pub async fn insert_invitation(&mut self, new: &NewInvitation, now: Timestamp) -> DbResult<bool> {
        const LAPSED: &str = "UPDATE invitations SET status = 'expired' WHERE org_id = $1 AND user_id = $2 \
             AND status = 'pending' AND expires_at <= $3";
        const SQL: &str = "INSERT INTO invitations (id, org_id, user_id, email, role, status, invited_by, expires_at, \
             created_at) VALUES ($1, $2, $3, $4, $5, 'pending', $6, $7, $8) ON CONFLICT DO NOTHING";
        on_tx!(self, |c| sqlx::query(LAPSED).bind(new.org).bind(new.user).bind(now).execute(c).await.map(drop))?;
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.id)
            .bind(new.org)
            .bind(new.user)
            .bind(new.email.as_deref())
            .bind(new.role)
            .bind(new.invited_by)
            .bind(new.expires_at)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// The slug of the organization that invited this person, not locked.
    pub async fn inviting_organization(&mut self, id: InvitationId, user: UserId) -> DbResult<Option<String>> {
        const SQL: &str = "SELECT o.slug FROM invitations i JOIN organizations o ON o.id = i.org_id \
             WHERE i.id = $1 AND i.user_id = $2";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(id).bind(user).fetch_optional(c).await)?)
    }

    pub async fn invitation(&mut self, id: InvitationId) -> DbResult<Option<InvitationRow>> {
        let sql = Sql {
            sqlite: invitation_columns!("WHERE i.id = $1"),
            postgres: invitation_columns!("WHERE i.id = $1 FOR UPDATE OF i"),
        }
        .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)?)
    }

    pub async fn end_invitation(&mut self, id: InvitationId, state: InvitationState, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE invitations SET status = $2, ended_at = $3 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(state).bind(now).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Open invitations of a person into an organization end, because the person is a member now.
    pub async fn settle_invitations(&mut self, org: OrgId, user: UserId, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE invitations SET status = 'revoked', ended_at = $3 \
             WHERE org_id = $1 AND user_id = $2 AND status = 'pending'";
        on_tx!(self, |c| sqlx::query(SQL).bind(org).bind(user).bind(now).execute(c).await.map(drop))?;
        Ok(())
    }
}
