//! What teams are granted (control-plane.md §5.2).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use publaryn_core::{Operation, Principal, Scope, TeamPermission, audit::AuditAction};
use publaryn_metadata::{
    organizations::Slice,
    teams::{Grant, Grantable, GrantedClaim, GrantedPackage, GrantedRepository},
};
use publaryn_registry::governance::{GrantOn, GrantedResource};
use serde_json::{Value, json};

use super::{
    super::{
        ApiState,
        auth::message,
        extract::{Body, Caller, Fields, Origin, Path},
        input::{path_ecosystem, path_id},
        page::Query,
        problem::{FieldProblem, Place, Problem},
        route::{Routes, Spec, scoped},
    },
    objects,
};

/// A list of grants.
fn listing(summary: &'static str, items: &str, object: &str) -> Spec {
    let members = "page i, per_page i, total i, has_next b";
    scoped(Scope::OrgsRead, summary)
        .notes("For owners, admins and auditors.")
        .listed(100, format!("team {{id u, slug s, name s}}, {items} [{object}], {members}"))
        .problem(403, "insufficient_permission")
}

fn setting(summary: &'static str, action: AuditAction, answer: &str) -> Spec {
    scoped(Scope::OrgsWrite, summary)
        .notes("Replaces the whole set. The resource must belong to the organization.")
        .body("permissions [TeamPermission]")
        .answer(200, format!("message s, {answer}, permissions [TeamPermission]"))
        .problem(403, "insufficient_permission")
        .audit(action)
}

fn ending(summary: &'static str, action: AuditAction) -> Spec {
    scoped(Scope::OrgsWrite, summary).message().problem(403, "insufficient_permission").audit(action)
}

pub fn routes() -> Routes {
    use AuditAction::{TeamNamespaceAccessUpdate, TeamPackageAccessUpdate, TeamRepositoryAccessUpdate};
    let package = "/orgs/{slug}/teams/{team}/package-access/{ecosystem}/{name}";
    let repository = "/orgs/{slug}/teams/{team}/repository-access/{repository}";
    let claim = "/orgs/{slug}/teams/{team}/namespace-access/{claim_id}";
    Routes::new("grants")
        .get(
            "/orgs/{slug}/teams/{team}/package-access",
            list::<GrantedPackage>,
            listing("What a team may do with packages", "package_access", "PackageGrant"),
        )
        .put(
            package,
            set_package,
            setting(
                "Grants a team rights on a package",
                TeamPackageAccessUpdate,
                "package {id u, ecosystem Ecosystem, name s, normalized_name s}",
            ),
        )
        .delete(package, end_package, ending("Ends a team's rights on a package", TeamPackageAccessUpdate))
        .get(
            "/orgs/{slug}/teams/{team}/repository-access",
            list::<GrantedRepository>,
            listing("What a team may do with repositories", "repository_access", "RepositoryGrant"),
        )
        .put(
            repository,
            set_repository,
            setting(
                "Grants a team rights on a repository and its packages",
                TeamRepositoryAccessUpdate,
                "repository {id u, name s, slug s, kind RepositoryKind, visibility Visibility}",
            ),
        )
        .delete(repository, end_repository, ending("Ends a team's rights on a repository", TeamRepositoryAccessUpdate))
        .get(
            "/orgs/{slug}/teams/{team}/namespace-access",
            list::<GrantedClaim>,
            listing("What a team may do with namespace claims", "namespace_access", "NamespaceGrant"),
        )
        .put(
            claim,
            set_claim,
            setting(
                "Grants a team rights on a namespace claim",
                TeamNamespaceAccessUpdate,
                "namespace_claim {id u, ecosystem Ecosystem, namespace s, is_verified b}",
            ),
        )
        .delete(claim, end_claim, ending("Ends a team's rights on a namespace claim", TeamNamespaceAccessUpdate))
}

/// A kind of grant as answers show it.
pub trait Shown: Grantable {
    /// The name of a list of them.
    const ITEMS: &'static str;
    fn object(grant: &Grant<Self>) -> Value;
}

/// The grants of one kind that a team holds.
async fn list<T: Shown>(
    State(state): State<ApiState>,
    caller: Caller,
    Path((slug, team)): Path<(String, String)>,
    query: Query,
) -> Result<Response, Problem> {
    let (who, page) = (caller.require_scope(Scope::OrgsRead)?, query.page(100)?);
    let slice = Slice::new(page.per_page, page.offset());
    let (team, rows, total) = state.registry.grants::<T>(who, &slug, &team, slice).await?;
    let list = rows.iter().map(T::object).collect();
    Ok(page.answer_with(&query, T::ITEMS, list, total, [("team", objects::team_label(&team))]))
}

/// The grant a route is about.
struct GrantPlace {
    slug: String,
    team: String,
    on: GrantOn,
}

impl GrantPlace {
    fn package(state: &ApiState, path: (String, String, String, String)) -> Result<Self, Problem> {
        let (slug, team, ecosystem, name) = path;
        let ecosystem = path_ecosystem(&ecosystem)?;
        // What is no name names nothing.
        let name = (state.parse_name)(ecosystem, &name).map_err(|_| Problem::not_found())?;
        Ok(Self { slug, team, on: GrantOn::Package(ecosystem, name.canonical().to_owned()) })
    }

    async fn set(self, state: &ApiState, caller: &Caller, origin: Origin, body: Body) -> Result<Response, Problem> {
        let who: &Principal = caller.require_scope(Scope::OrgsWrite)?;
        let mut fields = body.fields().await?;
        state.registry.team(who, &self.slug, &self.team, Operation::Govern).await?;
        let permissions = permissions(&mut fields, matches!(self.on, GrantOn::Claim(_)));
        fields.finish()?;
        let grant = state.registry.grant(who, &self.slug, &self.team, &self.on, permissions, &origin.0).await?;
        let (key, resource) = match &grant.on {
            GrantedResource::Package(package) => ("package", package_label(package)),
            GrantedResource::Repository(repository) => ("repository", repository_label(repository)),
            GrantedResource::Claim(claim) => ("namespace_claim", claim_label(claim)),
        };
        let answer = json!({"message": "access set", key: resource, "permissions": grant.permissions});
        Ok(Json(answer).into_response())
    }

    async fn end(self, state: &ApiState, caller: &Caller, origin: Origin) -> Result<Response, Problem> {
        let who = caller.require_scope(Scope::OrgsWrite)?;
        state.registry.end_grant(who, &self.slug, &self.team, &self.on, &origin.0).await?;
        Ok(message("access ended"))
    }
}

pub async fn set_package(
    State(state): State<ApiState>,
    caller: Caller,
    origin: Origin,
    Path(path): Path<(String, String, String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    caller.require_scope(Scope::OrgsWrite)?;
    GrantPlace::package(&state, path)?.set(&state, &caller, origin, body).await
}

pub async fn end_package(
    State(state): State<ApiState>,
    caller: Caller,
    origin: Origin,
    Path(path): Path<(String, String, String, String)>,
) -> Result<Response, Problem> {
    caller.require_scope(Scope::OrgsWrite)?;
    GrantPlace::package(&state, path)?.end(&state, &caller, origin).await
}

pub async fn set_repository(
    State(state): State<ApiState>,
    caller: Caller,
    origin: Origin,
    Path((slug, team, repository)): Path<(String, String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    GrantPlace { slug, team, on: GrantOn::Repository(repository) }.set(&state, &caller, origin, body).await
}

pub async fn end_repository(
    State(state): State<ApiState>,
    caller: Caller,
    origin: Origin,
    Path((slug, team, repository)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    GrantPlace { slug, team, on: GrantOn::Repository(repository) }.end(&state, &caller, origin).await
}

pub async fn set_claim(
    State(state): State<ApiState>,
    caller: Caller,
    origin: Origin,
    Path((slug, team, claim)): Path<(String, String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    caller.require_scope(Scope::OrgsWrite)?;
    let on = GrantOn::Claim(path_id(&claim)?);
    GrantPlace { slug, team, on }.set(&state, &caller, origin, body).await
}

pub async fn end_claim(
    State(state): State<ApiState>,
    caller: Caller,
    origin: Origin,
    Path((slug, team, claim)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    caller.require_scope(Scope::OrgsWrite)?;
    let on = GrantOn::Claim(path_id(&claim)?);
    GrantPlace { slug, team, on }.end(&state, &caller, origin).await
}

/// The list `permissions`; only some mean anything on a claim.
fn permissions(fields: &mut Fields, on_claim: bool) -> Vec<TeamPermission> {
    let Some(words) = fields.texts("permissions") else { return Vec::new() };
    if words.is_empty() {
        fields.report("permissions", "must name at least one permission");
    }
    let mut permissions = Vec::with_capacity(words.len());
    for (position, word) in words.iter().enumerate() {
        let known = word.parse::<TeamPermission>().ok();
        let fits = |permission: &TeamPermission| {
            !on_claim || matches!(permission, TeamPermission::Admin | TeamPermission::TransferOwnership)
        };
        match known.filter(fits) {
            Some(permission) => permissions.push(permission),
            None => fields.problem(FieldProblem {
                place: Place::Pointer(format!("/permissions/{position}")),
                code: "validation_failed",
                message: "is not a permission that can be granted here".into(),
            }),
        }
    }
    permissions
}

fn package_label(package: &GrantedPackage) -> Value {
    json!({
        "id": package.id,
        "ecosystem": package.ecosystem,
        "name": package.name,
        "normalized_name": package.normalized_name,
    })
}

fn repository_label(repository: &GrantedRepository) -> Value {
    json!({
        "id": repository.id,
        "name": repository.name,
        "slug": repository.slug,
        "kind": repository.kind,
        "visibility": repository.visibility,
    })
}

fn claim_label(claim: &GrantedClaim) -> Value {
    json!({
        "id": claim.id,
        "ecosystem": claim.ecosystem,
        "namespace": claim.namespace,
        "is_verified": claim.is_verified,
    })
}

impl Shown for GrantedPackage {
    const ITEMS: &'static str = "package_access";

    fn object(grant: &Grant<Self>) -> Value {
        json!({
            "package_id": grant.on.id,
            "ecosystem": grant.on.ecosystem,
            "name": grant.on.name,
            "normalized_name": grant.on.normalized_name,
            "permissions": grant.permissions,
            "granted_at": grant.granted_at,
        })
    }
}

impl Shown for GrantedRepository {
    const ITEMS: &'static str = "repository_access";

    fn object(grant: &Grant<Self>) -> Value {
        json!({
            "repository_id": grant.on.id,
            "name": grant.on.name,
            "slug": grant.on.slug,
            "kind": grant.on.kind,
            "visibility": grant.on.visibility,
            "permissions": grant.permissions,
            "granted_at": grant.granted_at,
        })
    }
}

impl Shown for GrantedClaim {
    const ITEMS: &'static str = "namespace_access";

    fn object(grant: &Grant<Self>) -> Value {
        json!({
            "namespace_claim_id": grant.on.id,
            "ecosystem": grant.on.ecosystem,
            "namespace": grant.on.namespace,
            "is_verified": grant.on.is_verified,
            "permissions": grant.permissions,
            "granted_at": grant.granted_at,
        })
    }
}
