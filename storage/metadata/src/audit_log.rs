//! Reading the audit log: pages, walks and totals with filters.

use publaryn_core::{AuditId, OrgId, PackageId, ReleaseId, Timestamp, TokenId, UserId, audit::AuditAction};
use serde_json::{Map, Value};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{Db, DbResult, Engine};

/// Which entries; every member that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub action: Option<AuditAction>,
    pub actor_user: Option<UserId>,
    pub target_org: Option<OrgId>,
    pub target_package: Option<PackageId>,
    pub target_user: Option<UserId>,
    /// Both ends belong to the range.
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Only changes of what teams are granted.
    pub access: Option<AccessFilter>,
}

/// What a team is granted something on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessScope {
    Package,
    Repository,
    Namespace,
}

/// Which changes of what teams are granted.
#[derive(Debug, Clone, Default)]
pub struct AccessFilter {
    pub scope: Option<AccessScope>,
    pub team_slug: Option<String>,
    /// Part of the label of what the grant is on ([`AccessScope::label`]), ignoring case.
    pub target: Option<String>,
}

impl AccessScope {
    pub const ALL: [Self; 3] = [Self::Package, Self::Repository, Self::Namespace];

    pub const fn action(self) -> AuditAction {
        match self {
            Self::Package => AuditAction::TeamPackageAccessUpdate,
            Self::Repository => AuditAction::TeamRepositoryAccessUpdate,
            Self::Namespace => AuditAction::TeamNamespaceAccessUpdate,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::Repository => "repository",
            Self::Namespace => "namespace",
        }
    }

    /// What a grant is on, for people: `npm/left-pad`, `tools`, `npm/@acme`. [`LABEL`] says the same in SQL.
    pub fn label(self, metadata: &Map<String, Value>) -> String {
        let member = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
        match self {
            Self::Package => format!("{}/{}", member("ecosystem"), member("name")),
            Self::Repository => member("repository_slug").to_owned(),
            Self::Namespace => format!("{}/{}", member("ecosystem"), member("namespace")),
        }
    }
}

/// Where a walk stands: behind this entry, which was the last of the step before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPosition {
    pub occurred_at: Timestamp,
    pub id: AuditId,
}

/// An **AuditEntry** with the names of its people as they are now.
#[derive(Debug, Clone, FromRow)]
pub struct AuditRow {
    pub id: AuditId,
    pub action: String,
    pub actor_user_id: Option<UserId>,
    pub actor_username: Option<String>,
    pub actor_display_name: Option<String>,
    pub actor_token_id: Option<TokenId>,
    pub target_user_id: Option<UserId>,
    pub target_username: Option<String>,
    pub target_display_name: Option<String>,
    pub target_org_id: Option<OrgId>,
    pub target_package_id: Option<PackageId>,
    pub target_release_id: Option<ReleaseId>,
    pub ip_address: Option<String>,
    pub user_agent: Option<String>,
    /// A JSON object.
    pub metadata: String,
    pub occurred_at: Timestamp,
}

impl AuditRow {
    pub fn position(&self) -> AuditPosition {
        AuditPosition { occurred_at: self.occurred_at, id: self.id }
    }
}

/// Entries are counted up to here; beyond it a total is not told (control-plane.md §1.4).
pub const COUNTED: i64 = 10_000;

/// The entries of a page, whose places are found first: in an index alone, however many come before it. SQLite keeps
/// to the order of a `CROSS JOIN`.
const PAGE: &str = "SELECT a.id, a.action, a.actor_user_id, u.username AS actor_username, \
     u.display_name AS actor_display_name, a.actor_token_id, a.target_user_id, t.username AS target_username, \
     t.display_name AS target_display_name, a.target_org_id, a.target_package_id, a.target_release_id, a.ip_address, \
     a.user_agent, a.metadata, a.occurred_at FROM (SELECT a.id, a.occurred_at FROM audit_log a";
const NAMES: &str = ") AS page CROSS JOIN audit_log a LEFT JOIN users u ON u.id = a.actor_user_id \
     LEFT JOIN users t ON t.id = a.target_user_id WHERE a.id = page.id ORDER BY page.occurred_at DESC, page.id DESC";

/// The actions of [`AccessScope`], as the partial index of migration 0008 has them.
const ACCESS_ACTIONS: &str =
    "a.action IN ('team_package_access_update', 'team_repository_access_update', 'team_namespace_access_update')";
/// The label of what a grant is on; `{member}` stands for reading a member of the metadata.
const LABEL: &str = "LOWER(CASE a.action WHEN 'team_repository_access_update' THEN {repository_slug} \
     WHEN 'team_package_access_update' THEN {ecosystem} || '/' || {name} ELSE {ecosystem} || '/' || {namespace} END)";

/// A member of an entry's metadata as text.
fn member(engine: Engine, name: &str) -> String {
    match engine {
        Engine::Sqlite => format!("(a.metadata ->> '{name}')"),
        Engine::Postgres => format!("(CAST(a.metadata AS JSON) ->> '{name}')"),
    }
}

#[derive(Clone)]
enum Arg {
    Int(i64),
    Text(String),
    Id(Uuid),
}

/// Conditions with their arguments; the texts are ours, the values bound.
struct Conditions {
    text: String,
    args: Vec<Arg>,
}

impl Conditions {
    fn new(filter: &AuditFilter, engine: Engine) -> Self {
        let mut all = Self { text: " WHERE TRUE".into(), args: Vec::new() };
        if let Some(action) = filter.action {
            all.add("a.action =", Arg::Text(action.as_str().to_owned()));
        }
        let ids = [
            ("a.actor_user_id =", filter.actor_user.map(|id| id.0)),
            ("a.target_org_id =", filter.target_org.map(|id| id.0)),
            ("a.target_package_id =", filter.target_package.map(|id| id.0)),
            ("a.target_user_id =", filter.target_user.map(|id| id.0)),
        ];
        for (condition, id) in ids {
            if let Some(id) = id {
                all.add(condition, Arg::Id(id));
            }
        }
        for (condition, at) in [("a.occurred_at >=", filter.from), ("a.occurred_at <=", filter.until)] {
            if let Some(at) = at {
                all.add(condition, Arg::Int(at.as_micros()));
            }
        }
        if let Some(access) = &filter.access {
            all.add_access(access, engine);
        }
        all
    }

    fn add_access(&mut self, filter: &AccessFilter, engine: Engine) {
        self.text.push_str(&format!(" AND {ACCESS_ACTIONS}"));
        if let Some(scope) = filter.scope {
            self.add("a.action =", Arg::Text(scope.action().as_str().to_owned()));
        }
        if let Some(slug) = &filter.team_slug {
            self.add(&format!("{} =", member(engine, "team_slug")), Arg::Text(slug.clone()));
        }
        if let Some(part) = &filter.target {
            let names = ["repository_slug", "ecosystem", "namespace", "name"];
            let label = names
                .iter()
                .fold(LABEL.to_owned(), |text, name| text.replace(&format!("{{{name}}}"), &member(engine, name)));
            let number = self.arg(Arg::Text(part.to_ascii_lowercase()));
            let position = match engine {
                Engine::Sqlite => "INSTR",
                Engine::Postgres => "STRPOS",
            };
            self.text.push_str(&format!(" AND {position}({label}, ${number}) > 0"));
        }
    }

    fn add(&mut self, condition: &str, arg: Arg) {
        let number = self.arg(arg);
        self.text.push_str(&format!(" AND {condition} ${number}"));
    }

    fn arg(&mut self, arg: Arg) -> usize {
        self.args.push(arg);
        self.args.len()
    }
}

macro_rules! bind_all {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for arg in $args {
            query = match arg {
                Arg::Int(n) => query.bind(n),
                Arg::Text(text) => query.bind(text),
                Arg::Id(id) => query.bind(id),
            };
        }
        query
    }};
}

impl Db {
    /// Up to `limit` entries, newest first: behind a position, or after `offset` others.
    pub async fn audit_entries(
        &self,
        filter: &AuditFilter,
        behind: Option<AuditPosition>,
        offset: i64,
        limit: i64,
    ) -> DbResult<Vec<AuditRow>> {
        let mut conditions = Conditions::new(filter, self.engine());
        if let Some(position) = behind {
            let at = conditions.arg(Arg::Int(position.occurred_at.as_micros()));
            let id = conditions.arg(Arg::Id(position.id.0));
            conditions.text.push_str(&format!(" AND (a.occurred_at, a.id) < (${at}, ${id})"));
        }
        let limit = conditions.arg(Arg::Int(limit));
        let offset = conditions.arg(Arg::Int(if behind.is_some() { 0 } else { offset }));
        let sql = format!(
            "{PAGE}{} ORDER BY a.occurred_at DESC, a.id DESC LIMIT ${limit} OFFSET ${offset}{NAMES}",
            conditions.text
        );
        let args = conditions.args;
        Ok(on_db!(self, |c| bind_all!(sqlx::query_as(sqlx::AssertSqlSafe(sql)), args).fetch_all(c).await)?)
    }

    /// How many entries there are; `None` beyond [`COUNTED`].
    pub async fn audit_total(&self, filter: &AuditFilter) -> DbResult<Option<i64>> {
        let mut conditions = Conditions::new(filter, self.engine());
        let limit = conditions.arg(Arg::Int(COUNTED + 1));
        let sql = format!(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM audit_log a{} LIMIT ${limit}) AS some_entries",
            conditions.text
        );
        let args = conditions.args;
        let total: i64 =
            on_db!(self, |c| bind_all!(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)), args).fetch_one(c).await)?;
        Ok((total <= COUNTED).then_some(total))
    }
}
