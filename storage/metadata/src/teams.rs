//! Teams, who is in them, and what they are granted.

use publaryn_core::{
    ClaimId, Ecosystem, OrgId, PackageId, RepositoryId, RepositoryKind, TeamId, TeamPermission, Timestamp, UserId,
    Visibility,
};
use sqlx::{FromRow, postgres::PgRow, sqlite::SqliteRow};

use crate::{Db, DbResult, Engine, Sql, Tx, organizations::Slice, standing::parse_permissions};

#[derive(Debug, Clone, FromRow)]
pub struct TeamRow {
    pub id: TeamId,
    pub org_id: OrgId,
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub member_count: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, FromRow)]
pub struct TeamMemberRow {
    pub user_id: UserId,
    pub username: String,
    pub display_name: Option<String>,
    pub added_at: Timestamp,
}

/// A grant on a package, repository or claim with what it is on.
#[derive(Debug, Clone)]
pub struct Grant<T> {
    pub on: T,
    pub permissions: Vec<TeamPermission>,
    pub granted_at: Timestamp,
}

#[derive(Debug, Clone, FromRow)]
pub struct GrantedPackage {
    pub id: PackageId,
    pub ecosystem: Ecosystem,
    pub name: String,
    pub normalized_name: String,
}

#[derive(Debug, Clone, FromRow)]
pub struct GrantedRepository {
    pub id: RepositoryId,
    pub name: String,
    pub slug: String,
    pub kind: RepositoryKind,
    pub visibility: Visibility,
}

#[derive(Debug, Clone, FromRow)]
pub struct GrantedClaim {
    pub id: ClaimId,
    pub ecosystem: Ecosystem,
    pub namespace: String,
    pub is_verified: bool,
}

/// A team's grant on one package, as the package's own page lists it.
#[derive(Debug, Clone, FromRow)]
pub struct TeamAccessRow {
    pub team_id: TeamId,
    pub team_slug: String,
    pub team_name: String,
    pub permissions: String,
    pub granted_at: Timestamp,
}

impl TeamAccessRow {
    pub fn permission_list(&self) -> DbResult<Vec<TeamPermission>> {
        parse_permissions(&self.permissions)
    }
}

/// A team that may publish a package of its organization.
#[derive(Debug, Clone, FromRow)]
pub struct PublishingTeam {
    /// Integer id within u32, as Cargo wants it.
    pub number: i64,
    pub org: String,
    pub slug: String,
    pub name: String,
}

#[derive(FromRow)]
struct MemberOfTeam {
    team_slug: String,
    #[sqlx(flatten)]
    member: TeamMemberRow,
}

#[derive(FromRow)]
struct GrantRow<T> {
    team_slug: String,
    #[sqlx(flatten)]
    on: T,
    permissions: String,
    granted_at: Timestamp,
}

impl<T> GrantRow<T> {
    fn into_grant(self) -> DbResult<Grant<T>> {
        Ok(Grant { on: self.on, permissions: parse_permissions(&self.permissions)?, granted_at: self.granted_at })
    }
}

/// What a grant is on, by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantTarget {
    Package(PackageId),
    Repository(RepositoryId),
    Claim(ClaimId),
}

macro_rules! team_columns {
    ($rest:literal) => {
        concat!(
            "SELECT t.id, t.org_id, t.slug, t.name, t.description, ",
            "(SELECT CAST(COUNT(*) AS BIGINT) FROM team_members m WHERE m.team_id = t.id) AS member_count, ",
            "t.created_at, t.updated_at FROM teams t ",
            $rest
        )
    };
}

/// What can be granted to teams: a row of what the grant is on, and how it is read.
pub trait Grantable: Sized + Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {
    const SQL: GrantSql;
}

/// How grants of one kind are read; all of them on things the team's organization owns now.
#[derive(Debug, Clone, Copy)]
pub struct GrantSql {
    /// Of team `$1`, a page of them.
    list: &'static str,
    count: &'static str,
    /// Of all teams of organization `$1`, up to `$2`.
    of_org: &'static str,
}

macro_rules! grantable {
    ($row:ty: $columns:literal, $grants:literal, $resource:literal, $order:literal) => {
        impl Grantable for $row {
            const SQL: GrantSql = GrantSql {
                list: concat!(
                    "SELECT t.slug AS team_slug, ",
                    $columns,
                    ", g.permissions, g.granted_at FROM ",
                    $grants,
                    " g JOIN teams t ON t.id = g.team_id JOIN ",
                    $resource,
                    " x ON x.id = g.resource_id AND x.owner_org_id = t.org_id WHERE g.team_id = $1 ORDER BY ",
                    $order,
                    " LIMIT $2 OFFSET $3"
                ),
                count: concat!(
                    "SELECT CAST(COUNT(*) AS BIGINT) FROM ",
                    $grants,
                    " g JOIN teams t ON t.id = g.team_id JOIN ",
                    $resource,
                    " x ON x.id = g.resource_id AND x.owner_org_id = t.org_id WHERE g.team_id = $1"
                ),
                of_org: concat!(
                    "SELECT t.slug AS team_slug, ",
                    $columns,
                    ", g.permissions, g.granted_at FROM teams t JOIN ",
                    $grants,
                    " g ON g.team_id = t.id JOIN ",
                    $resource,
                    " x ON x.id = g.resource_id AND x.owner_org_id = t.org_id WHERE t.org_id = $1 ORDER BY t.slug, ",
                    $order,
                    " LIMIT $2"
                ),
            };
        }
    };
}

grantable!(GrantedPackage: "x.id, x.ecosystem, x.name, x.normalized_name", "team_package_grants", "packages",
    "x.ecosystem, x.normalized_name");
grantable!(GrantedRepository: "x.id, x.name, x.slug, x.kind, x.visibility", "team_repository_grants", "repositories",
    "x.slug");
grantable!(GrantedClaim: "x.id, x.ecosystem, x.namespace, x.is_verified", "team_claim_grants", "namespace_claims",
    "x.ecosystem, x.namespace_key");

impl Db {
    /// Teams of an organization, by name.
    pub async fn teams(&self, org: OrgId, slice: Slice) -> DbResult<(Vec<TeamRow>, i64)> {
        const SQL: &str = team_columns!("WHERE t.org_id = $1 ORDER BY t.name, t.slug LIMIT $2 OFFSET $3");
        const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM teams WHERE org_id = $1";
        let rows =
            on_db!(self, |c| sqlx::query_as(SQL).bind(org).bind(slice.limit).bind(slice.offset).fetch_all(c).await)?;
        Ok((rows, on_db!(self, |c| sqlx::query_scalar(COUNT).bind(org).fetch_one(c).await)?))
    }

    pub async fn team(&self, org: OrgId, slug: &str) -> DbResult<Option<TeamRow>> {
        const SQL: &str = team_columns!("WHERE t.org_id = $1 AND t.slug = $2");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(org).bind(slug).fetch_optional(c).await)?)
    }

    /// Members of a team, by user name.
    pub async fn team_members(&self, team: TeamId, slice: Slice) -> DbResult<(Vec<TeamMemberRow>, i64)> {
        const SQL: &str = "SELECT m.user_id, u.username, u.display_name, m.added_at FROM team_members m \
             JOIN users u ON u.id = m.user_id WHERE m.team_id = $1 ORDER BY u.username_key LIMIT $2 OFFSET $3";
        const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM team_members WHERE team_id = $1";
        let rows =
            on_db!(self, |c| sqlx::query_as(SQL).bind(team).bind(slice.limit).bind(slice.offset).fetch_all(c).await)?;
        Ok((rows, on_db!(self, |c| sqlx::query_scalar(COUNT).bind(team).fetch_one(c).await)?))
    }

    /// Grants of a team, and how many there are.
    pub async fn grants<T: Grantable>(&self, team: TeamId, slice: Slice) -> DbResult<(Vec<Grant<T>>, i64)> {
        let sql = T::SQL;
        let rows: Vec<GrantRow<T>> = on_db!(self, |c| sqlx::query_as(sql.list)
            .bind(team)
            .bind(slice.limit)
            .bind(slice.offset)
            .fetch_all(c)
            .await)?;
        let total: i64 = on_db!(self, |c| sqlx::query_scalar(sql.count).bind(team).fetch_one(c).await)?;
        Ok((rows.into_iter().map(GrantRow::into_grant).collect::<DbResult<_>>()?, total))
    }

    /// Grants of every team of an organization, by the team's slug.
    pub async fn grants_of_org<T: Grantable>(&self, org: OrgId) -> DbResult<Vec<(String, Grant<T>)>> {
        let sql = T::SQL.of_org;
        let rows: Vec<GrantRow<T>> =
            on_db!(self, |c| sqlx::query_as(sql).bind(org).bind(Slice::ALL.limit).fetch_all(c).await)?;
        rows.into_iter().map(|row| Ok((row.team_slug.clone(), row.into_grant()?))).collect()
    }

    /// Members of every team of an organization, by the team's slug and user name.
    pub async fn team_members_of_org(&self, org: OrgId) -> DbResult<Vec<(String, TeamMemberRow)>> {
        const SQL: &str = "SELECT t.slug AS team_slug, m.user_id, u.username, u.display_name, m.added_at FROM teams t \
             JOIN team_members m ON m.team_id = t.id JOIN users u ON u.id = m.user_id WHERE t.org_id = $1 \
             ORDER BY t.slug, u.username_key LIMIT $2";
        let rows: Vec<MemberOfTeam> =
            on_db!(self, |c| sqlx::query_as(SQL).bind(org).bind(Slice::ALL.limit).fetch_all(c).await)?;
        Ok(rows.into_iter().map(|row| (row.team_slug, row.member)).collect())
    }

    /// The teams of the owning organization that hold a grant on a package, by name.
    pub async fn teams_with_access(&self, package: PackageId) -> DbResult<Vec<TeamAccessRow>> {
        const SQL: &str = "SELECT t.id AS team_id, t.slug AS team_slug, t.name AS team_name, g.permissions, g.granted_at \
             FROM team_package_grants g JOIN teams t ON t.id = g.team_id JOIN packages p ON p.id = g.resource_id \
             AND p.owner_org_id = t.org_id WHERE g.resource_id = $1 ORDER BY t.name, t.slug";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(package).fetch_all(c).await)?)
    }
}

impl Db {
    /// The teams that were granted to publish or administer a package, or its repository, by name.
    pub async fn publishing_teams(&self, package: PackageId) -> DbResult<Vec<PublishingTeam>> {
        const SQL: &str = "SELECT t.number, o.slug AS org, t.slug, t.name FROM packages p \
             JOIN organizations o ON o.id = p.owner_org_id JOIN teams t ON t.org_id = o.id WHERE p.id = $1 AND \
             (EXISTS (SELECT 1 FROM team_package_grants g WHERE g.team_id = t.id AND g.resource_id = p.id \
             AND (g.permissions LIKE '%\"publish\"%' OR g.permissions LIKE '%\"admin\"%')) \
             OR EXISTS (SELECT 1 FROM team_repository_grants g WHERE g.team_id = t.id AND g.resource_id = p.repository_id \
             AND (g.permissions LIKE '%\"publish\"%' OR g.permissions LIKE '%\"admin\"%'))) ORDER BY t.slug";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(package).fetch_all(c).await)?)
    }
}

impl Tx {
    /// Creates a team; `false` when the slug is taken in its organization.
    pub async fn insert_team(&mut self, new: &TeamRow) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO teams (id, number, org_id, slug, name, description, created_at, updated_at) \
             SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4, $5, $6, $6 FROM teams WHERE TRUE ON CONFLICT DO NOTHING";
        // Numbers follow each other. SQLite has one writer anyway; the key is arbitrary, but no other lock may use it.
        if self.engine() == Engine::Postgres {
            on_tx!(self, |c| sqlx::query("SELECT pg_advisory_xact_lock(72012)").execute(c).await.map(drop))?;
        }
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.id)
            .bind(new.org_id)
            .bind(new.slug.as_str())
            .bind(new.name.as_str())
            .bind(new.description.as_deref())
            .bind(new.created_at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// A team; its organization is locked already.
    pub async fn team(&mut self, org: OrgId, slug: &str) -> DbResult<Option<TeamRow>> {
        const SQL: &str = team_columns!("WHERE t.org_id = $1 AND t.slug = $2");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(org).bind(slug).fetch_optional(c).await)?)
    }

    pub async fn update_team(&mut self, team: &TeamRow, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE teams SET name = $2, description = $3, updated_at = $4 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(team.id)
            .bind(team.name.as_str())
            .bind(team.description.as_deref())
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// How many grants a team holds, on whatever.
    pub async fn count_grants(&mut self, team: TeamId) -> DbResult<i64> {
        const SQL: &str = "SELECT CAST((SELECT COUNT(*) FROM team_package_grants WHERE team_id = $1) \
             + (SELECT COUNT(*) FROM team_repository_grants WHERE team_id = $1) \
             + (SELECT COUNT(*) FROM team_claim_grants WHERE team_id = $1) AS BIGINT)";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(team).fetch_one(c).await)?)
    }

    /// Deletes a team with its memberships and grants.
    pub async fn delete_team(&mut self, team: TeamId) -> DbResult<()> {
        const SQL: &str = "DELETE FROM teams WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(team).execute(c).await.map(drop))?;
        Ok(())
    }

    pub async fn team_member(&mut self, team: TeamId, user: UserId) -> DbResult<Option<TeamMemberRow>> {
        const SQL: &str = "SELECT m.user_id, u.username, u.display_name, m.added_at FROM team_members m \
             JOIN users u ON u.id = m.user_id WHERE m.team_id = $1 AND m.user_id = $2";
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(team).bind(user).fetch_optional(c).await)?)
    }

    /// Adds a member of the organization to a team; `false` when already in.
    pub async fn add_team_member(&mut self, team: &TeamRow, user: UserId, now: Timestamp) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO team_members (team_id, org_id, user_id, added_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(team.id)
            .bind(team.org_id)
            .bind(user)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    pub async fn remove_team_member(&mut self, team: TeamId, user: UserId) -> DbResult<bool> {
        const SQL: &str = "DELETE FROM team_members WHERE team_id = $1 AND user_id = $2";
        let done =
            on_tx!(self, |c| sqlx::query(SQL).bind(team).bind(user).execute(c).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// What a team is granted on something; empty without a grant.
    pub async fn granted(&mut self, team: TeamId, target: GrantTarget) -> DbResult<Vec<TeamPermission>> {
        macro_rules! sql {
            ($table:literal) => {
                concat!("SELECT permissions FROM ", $table, " WHERE team_id = $1 AND resource_id = $2")
            };
        }
        let (sql, id) = match target {
            GrantTarget::Package(id) => (sql!("team_package_grants"), id.0),
            GrantTarget::Repository(id) => (sql!("team_repository_grants"), id.0),
            GrantTarget::Claim(id) => (sql!("team_claim_grants"), id.0),
        };
        let list: Option<String> =
            on_tx!(self, |c| sqlx::query_scalar(sql).bind(team).bind(id).fetch_optional(c).await)?;
        list.map_or(Ok(Vec::new()), |list| parse_permissions(&list))
    }

    /// Replaces what a team is granted on something; nothing ends the grant.
    pub async fn set_granted(
        &mut self,
        team: TeamId,
        target: GrantTarget,
        permissions: &[TeamPermission],
        now: Timestamp,
    ) -> DbResult<()> {
        macro_rules! sqls {
            ($table:literal) => {
                (
                    concat!(
                        "INSERT INTO ",
                        $table,
                        " (team_id, resource_id, permissions, granted_at) VALUES ($1, $2, $3, $4) ",
                        "ON CONFLICT (team_id, resource_id) DO UPDATE SET permissions = excluded.permissions, ",
                        "granted_at = excluded.granted_at"
                    ),
                    concat!("DELETE FROM ", $table, " WHERE team_id = $1 AND resource_id = $2"),
                )
            };
        }
        let ((set, end), id) = match target {
            GrantTarget::Package(id) => (sqls!("team_package_grants"), id.0),
            GrantTarget::Repository(id) => (sqls!("team_repository_grants"), id.0),
            GrantTarget::Claim(id) => (sqls!("team_claim_grants"), id.0),
        };
        if permissions.is_empty() {
            on_tx!(self, |c| sqlx::query(end).bind(team).bind(id).execute(c).await.map(drop))?;
            return Ok(());
        }
        let list = serde_json::json!(permissions).to_string();
        on_tx!(self, |c| sqlx::query(set).bind(team).bind(id).bind(list).bind(now).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Ends every grant on something that changes hands; returns the slugs of the teams that held one.
    pub async fn revoke_grants_on(&mut self, target: GrantTarget) -> DbResult<Vec<String>> {
        macro_rules! sqls {
            ($table:literal) => {
                Sql {
                    sqlite: concat!(
                        "DELETE FROM ",
                        $table,
                        " WHERE resource_id = $1 RETURNING (SELECT t.slug FROM teams t WHERE t.id = team_id)"
                    ),
                    postgres: concat!(
                        "DELETE FROM ",
                        $table,
                        " g USING teams t WHERE g.resource_id = $1 AND t.id = g.team_id RETURNING t.slug"
                    ),
                }
            };
        }
        let (sql, id) = match target {
            GrantTarget::Package(id) => (sqls!("team_package_grants"), id.0),
            GrantTarget::Repository(id) => (sqls!("team_repository_grants"), id.0),
            GrantTarget::Claim(id) => (sqls!("team_claim_grants"), id.0),
        };
        let sql = sql.on(self.engine());
        let mut slugs: Vec<String> = on_tx!(self, |c| sqlx::query_scalar(sql).bind(id).fetch_all(c).await)?;
        slugs.sort();
        Ok(slugs)
    }
}
