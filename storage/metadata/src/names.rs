//! Open packages of other owners whose names are easily mistaken for a new one (access.md §8).

use publaryn_core::{Ecosystem, PackageId, access::Owner, similar::one_typo_away};
use smol_str::SmolStr;
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
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT p.name, p.visibility = 'public' AND r.visibility = 'public' AS is_public FROM ",
            $from,
            " JOIN repositories r ON r.id = p.repository_id WHERE p.ecosystem = $1 AND p.deleted_at IS NULL ",
            "AND NOT p.is_quarantined AND p.visibility IN ('public', 'unlisted') ",
            "AND r.visibility IN ('public', 'unlisted') ",
            "AND NOT (COALESCE(p.owner_user_id = $2, FALSE) OR COALESCE(p.owner_org_id = $3, FALSE)) AND ",
            $rest,
            " LIMIT 1"
        )
    };
}

/// Of several names, the one that is given first; each is looked up by index.
const NAMED: Sql = Sql {
    // A cross join keeps SQLite from turning it around.
    sqlite: open_packages!(
        "json_each($4) given CROSS JOIN packages p",
        "p.normalized_name = given.value ORDER BY given.key"
    ),
    postgres: open_packages!(
        "json_array_elements_text($4::json) WITH ORDINALITY AS given(value, key) CROSS JOIN packages p",
        "p.normalized_name = given.value ORDER BY given.key"
    ),
};

impl Tx {
    /// An open package of another owner that looks the same or is one typing error away. The cost does not
    /// depend on how many packages there are: every candidate is looked up by index.
    pub async fn mistakable_open_package(
        &mut self,
        ecosystem: Ecosystem,
        normalized: &str,
        lookalike_key: &str,
        owner: Owner,
    ) -> DbResult<Option<SimilarName>> {
        const ALIKE: &str = open_packages!("packages p", "p.lookalike_key = $4");
        let alike = self.open_package(ALIKE, ecosystem, owner, lookalike_key).await?;
        if alike.is_some() {
            return Ok(alike);
        }
        let near = one_typo_away(normalized);
        self.open_package_named(ecosystem, owner, near.iter().map(String::as_str)).await
    }

    /// The open package of another owner whose name is closest to this one, if it is similar at all.
    pub async fn similar_open_package(
        &mut self,
        ecosystem: Ecosystem,
        normalized: &str,
        owner: Owner,
    ) -> DbResult<Option<SimilarName>> {
        let near = self.names_near(ecosystem, normalized).await?;
        self.open_package_named(ecosystem, owner, near.iter().map(SmolStr::as_str)).await
    }

    async fn open_package_named<'n>(
        &mut self,
        ecosystem: Ecosystem,
        owner: Owner,
        names: impl Iterator<Item = &'n str>,
    ) -> DbResult<Option<SimilarName>> {
        let names: Vec<&str> = names.collect();
        if names.is_empty() {
            return Ok(None);
        }
        let sql = NAMED.on(self.engine());
        self.open_package(sql, ecosystem, owner, &serde_json::json!(names).to_string()).await
    }

    async fn open_package(
        &mut self,
        sql: &'static str,
        ecosystem: Ecosystem,
        other_than: Owner,
        given: &str,
    ) -> DbResult<Option<SimilarName>> {
        let (user, org) = match other_than {
            Owner::User(id) => (Some(id), None),
            Owner::Org(id) => (None, Some(id)),
        };
        Ok(on_tx!(self, |c| sqlx::query_as(sql)
            .bind(ecosystem)
            .bind(user)
            .bind(org)
            .bind(given)
            .fetch_optional(c)
            .await)?)
    }

    /// The key under which a package's name looks like others.
    pub async fn lookalike_key_of(&mut self, package: PackageId) -> DbResult<String> {
        const SQL: &str = "SELECT lookalike_key FROM packages WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(package).fetch_one(c).await)?)
    }
}
