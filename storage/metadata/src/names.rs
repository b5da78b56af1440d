//! Open packages of other owners whose names are easily mistaken for a new one (access.md §8).

use publaryn_core::{Ecosystem, PackageId, access::Owner, similar::one_typo_away};
use sqlx::FromRow;

use crate::{DbResult, Sql, Tx};

/// A package that a new name resembles.
#[derive(Debug, Clone, FromRow)]
pub struct SimilarName {
    pub name: String,
    /// Anybody may be told of it; unlisted packages are compared too, but not named.
    pub is_public: bool,
}

macro_rules! open_packages {
    ($rest:literal) => {
        concat!(
            "SELECT p.name, p.visibility = 'public' AND r.visibility = 'public' AS is_public FROM packages p ",
            "JOIN repositories r ON r.id = p.repository_id WHERE p.ecosystem = $1 AND p.deleted_at IS NULL ",
            "AND NOT p.is_quarantined AND p.visibility IN ('public', 'unlisted') ",
            "AND r.visibility IN ('public', 'unlisted') ",
            "AND NOT (COALESCE(p.owner_user_id = $2, FALSE) OR COALESCE(p.owner_org_id = $3, FALSE)) AND ",
            $rest,
            " LIMIT 1"
        )
    };
}

impl Tx {
    /// An open package of another owner that looks the same or is one typing error away. The cost does not
    /// depend on how many packages there are: every candidate is looked up by index.
    pub async fn similar_open_package(
        &mut self,
        ecosystem: Ecosystem,
        normalized: &str,
        lookalike_key: &str,
        owner: Owner,
    ) -> DbResult<Option<SimilarName>> {
        const ALIKE: &str = open_packages!("p.lookalike_key = $4");
        const NEAR: Sql = Sql {
            sqlite: open_packages!("p.normalized_name IN (SELECT value FROM json_each($4))"),
            postgres: open_packages!("p.normalized_name = ANY(ARRAY(SELECT json_array_elements_text($4::json)))"),
        };
        let (user, org) = match owner {
            Owner::User(id) => (Some(id), None),
            Owner::Org(id) => (None, Some(id)),
        };
        let alike: Option<SimilarName> = on_tx!(self, |c| sqlx::query_as(ALIKE)
            .bind(ecosystem)
            .bind(user)
            .bind(org)
            .bind(lookalike_key)
            .fetch_optional(c)
            .await)?;
        if alike.is_some() {
            return Ok(alike);
        }
        let near = one_typo_away(normalized);
        if near.is_empty() {
            return Ok(None);
        }
        let (sql, near) = (NEAR.on(self.engine()), serde_json::json!(near).to_string());
        Ok(on_tx!(self, |c| sqlx::query_as(sql)
            .bind(ecosystem)
            .bind(user)
            .bind(org)
            .bind(near)
            .fetch_optional(c)
            .await)?)
    }

    /// The key under which a package's name looks like others.
    pub async fn lookalike_key_of(&mut self, package: PackageId) -> DbResult<String> {
        const SQL: &str = "SELECT lookalike_key FROM packages WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(package).fetch_one(c).await)?)
    }
}
