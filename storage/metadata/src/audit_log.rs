//! Reading the audit log: pages, walks and totals with filters.

use publaryn_core::{AuditId, OrgId, PackageId, ReleaseId, Timestamp, TokenId, UserId, audit::AuditAction};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{Db, DbResult};

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

const COLUMNS: &str = "SELECT a.id, a.action, a.actor_user_id, u.username AS actor_username, \
     u.display_name AS actor_display_name, a.actor_token_id, a.target_user_id, t.username AS target_username, \
     t.display_name AS target_display_name, a.target_org_id, a.target_package_id, a.target_release_id, a.ip_address, \
     a.user_agent, a.metadata, a.occurred_at FROM (SELECT a.id, a.action, a.actor_user_id, a.actor_token_id, \
     a.target_user_id, a.target_org_id, a.target_package_id, a.target_release_id, a.ip_address, a.user_agent, \
     a.metadata, a.occurred_at FROM audit_log a";
const NAMES: &str = ") AS a LEFT JOIN users u ON u.id = a.actor_user_id LEFT JOIN users t ON t.id = a.target_user_id \
     ORDER BY a.occurred_at DESC, a.id DESC";

#[derive(Clone)]
enum Arg {
    Int(i64),
    Text(&'static str),
    Id(Uuid),
}

/// Conditions with their arguments; the texts are ours, the values bound.
struct Conditions {
    text: String,
    args: Vec<Arg>,
}

impl Conditions {
    fn new(filter: &AuditFilter) -> Self {
        let mut all = Self { text: " WHERE TRUE".into(), args: Vec::new() };
        if let Some(action) = filter.action {
            all.add("a.action =", Arg::Text(action.as_str()));
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
        all
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
        let mut conditions = Conditions::new(filter);
        if let Some(position) = behind {
            let at = conditions.arg(Arg::Int(position.occurred_at.as_micros()));
            let id = conditions.arg(Arg::Id(position.id.0));
            conditions.text.push_str(&format!(" AND (a.occurred_at, a.id) < (${at}, ${id})"));
        }
        let limit = conditions.arg(Arg::Int(limit));
        let offset = conditions.arg(Arg::Int(if behind.is_some() { 0 } else { offset }));
        let sql = format!(
            "{COLUMNS}{} ORDER BY a.occurred_at DESC, a.id DESC LIMIT ${limit} OFFSET ${offset}{NAMES}",
            conditions.text
        );
        let args = conditions.args;
        Ok(on_db!(self, |c| bind_all!(sqlx::query_as(sqlx::AssertSqlSafe(sql)), args).fetch_all(c).await)?)
    }

    /// How many entries there are; `None` beyond [`COUNTED`].
    pub async fn audit_total(&self, filter: &AuditFilter) -> DbResult<Option<i64>> {
        let mut conditions = Conditions::new(filter);
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
