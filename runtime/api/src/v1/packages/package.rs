//! The package itself, and lists of packages.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{Ecosystem, Operation, PackageName, RegistryError, Scope, Visibility, audit::AuditAction};
use publaryn_metadata::{
    organizations::Slice,
    package_views::{PackageDetails, PackagesOf},
};
use publaryn_registry::control::{NewPackageRequest, PackagePage, PackagePatch};
use serde_json::{Value, json};

use super::{
    super::{
        ApiState,
        auth::{message, refused},
        extract::{Body, Caller, Fields, Origin, Path},
        input::{self, DESCRIPTION, LINE, WEB_ADDRESS},
        orgs::objects::{new_owner, with_message},
        page::Query,
        problem::{FieldProblem, Problem},
        route::{Routes, Spec, public, scoped},
        validators::{IfMatch, Revision},
    },
    objects, package_in,
};

/// Longest readme, in bytes.
const MAX_README_BYTES: usize = 512 << 10;
/// Keywords of a package, and characters of one.
const MAX_KEYWORDS: usize = 50;
const MAX_KEYWORD_CHARS: usize = 50;

fn listing(summary: &'static str) -> Spec {
    public(summary).query("ecosystem Ecosystem?").list("packages", "PackageSummary", 20)
}

/// A route that makes a package, now or later, with what that is refused for.
pub fn creating(scope: Scope, summary: &'static str) -> Spec {
    scoped(scope, summary)
        .problem(403, "insufficient_permission")
        .problem(403, "namespace_claimed")
        .problem(403, "namespace_claim_required")
        .problem(404, "not_found")
        .problem(409, "already_exists")
        .problem(422, "invalid_name")
        .problem(422, "reserved_name")
        .problem(422, "name_too_similar")
        .problem(422, "visibility_too_broad")
}

pub fn routes() -> Routes {
    let at = "/packages/{ecosystem}/{name}";
    Routes::new("packages")
        .get("/users/{username}/packages", of_user, listing("Packages of a person, most downloaded first"))
        .get("/orgs/{slug}/packages", of_org, listing("Packages of an organization, most downloaded first"))
        .get("/repositories/{slug}/packages", of_repository, listing("Packages in a repository, most downloaded first"))
        .post(
            "/packages",
            create,
            creating(Scope::PackagesPublish, "Creates a package in a repository; its owner is the repository's")
                .body(
                    "ecosystem Ecosystem, name s, repository_slug s, visibility Visibility?, display_name s?, \
                     description s?, readme s?, homepage s?, repository_url s?, license s?, keywords [s]?",
                )
                .answer(201, "Package")
                .audit(AuditAction::PackageCreate),
        )
        .get(at, show, public("A package").answer(200, "Package"))
        .patch(
            at,
            update,
            scoped(Scope::PackagesWrite, "Changes what a package says, its visibility, or archives it")
                .if_match()
                .body(
                    "display_name s?, description s?, readme s?, homepage s?, repository_url s?, license s?, \
                     keywords [s]?, is_deprecated b?, deprecation_message s?, visibility Visibility?, is_archived b?, \
                     allow_missing_references b?",
                )
                .notes("`allow_missing_references` is for OCI: pushes may then name content that is not there.")
                .answer(200, "..Package, message s")
                .problem(403, "insufficient_permission")
                .problem(422, "visibility_too_broad")
                .problem(422, "visibility_needs_organization")
                .audit(AuditAction::PackageUpdate)
                .audit(AuditAction::PackageVisibilityChange),
        )
        .delete(
            at,
            remove,
            scoped(Scope::PackagesWrite, "Archives a package, or deletes one of which nothing was ever published")
                .if_match()
                .query("mode archive|delete?=archive")
                .message()
                .problem(403, "insufficient_permission")
                .problem(409, "package_has_releases")
                .audit(AuditAction::PackageDelete),
        )
        .post(
            "/packages/{ecosystem}/{name}/ownership-transfer",
            transfer,
            scoped(Scope::PackagesTransfer, "Hands a package to an organization the caller governs")
                .notes("Grants on the package end, and so do tokens bound to it whose holders lose it.")
                .body("target_org_slug s, target_repository_slug s?")
                .answer(
                    200,
                    "message s, package {id u, ecosystem Ecosystem, name s, normalized_name s}, \
                     owner {type s, id u, slug s, name s}, repository_slug s",
                )
                .problem(403, "insufficient_permission")
                .problem(409, "already_owner")
                .problem(422, "visibility_too_broad")
                .audit(AuditAction::PackageTransfer),
        )
        .put(
            "/packages/{ecosystem}/{name}/quarantine",
            quarantine,
            scoped(Scope::SecurityWrite, "Puts a package in quarantine: native clients do not see it any more")
                .any_scope(&[Scope::SecurityWrite, Scope::AdminWrite])
                .if_match()
                .body("reason s")
                .answer(200, "Package")
                .problem(403, "insufficient_permission")
                .audit(AuditAction::PackageQuarantine),
        )
        .delete(
            "/packages/{ecosystem}/{name}/quarantine",
            lift,
            scoped(Scope::SecurityWrite, "Lifts the quarantine of a package")
                .any_scope(&[Scope::SecurityWrite, Scope::AdminWrite])
                .if_match()
                .answer(200, "Package")
                .problem(403, "insufficient_permission")
                .problem(403, "platform_admin_required")
                .audit(AuditAction::PackageUnquarantine),
        )
}

pub async fn of_user(
    State(state): State<ApiState>,
    caller: Caller,
    Path(username): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let user = state.identity.user_by_name(&username).await?;
    list(&state, &caller, &query, PackagesOf::User(user.id)).await
}

pub async fn of_org(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let org = state.registry.organization(&slug).await?;
    list(&state, &caller, &query, PackagesOf::Org(org.id)).await
}

pub async fn of_repository(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let (page, ecosystem) = (query.page(20)?, input::query_ecosystem(&query)?);
    let slice = Slice::new(page.per_page, page.offset());
    let (views, total) = state.registry.packages_in_repository(&caller.0, &slug, ecosystem, slice).await?;
    Ok(page.answer(&query, "packages", views.iter().map(objects::summary).collect(), total))
}

async fn list(state: &ApiState, caller: &Caller, query: &Query, of: PackagesOf) -> Result<Response, Problem> {
    let (page, ecosystem) = (query.page(20)?, input::query_ecosystem(query)?);
    let slice = Slice::new(page.per_page, page.offset());
    let (views, total) = state.registry.packages(&caller.0, of, ecosystem, slice).await?;
    Ok(page.answer(query, "packages", views.iter().map(objects::summary).collect(), total))
}

/// The name of a package to be; faults are noted in `fields`.
pub fn new_name(state: &ApiState, fields: &mut Fields) -> Option<(Ecosystem, PackageName)> {
    let ecosystem = input::required_ecosystem(fields);
    let (text, ecosystem) = fields.text("name").zip(ecosystem)?;
    match (state.parse_name)(ecosystem, &text) {
        Ok(name) => Some((ecosystem, name)),
        Err(RegistryError::Invalid { code, message }) => {
            fields.problem(FieldProblem::in_body("name", code, message));
            None
        }
        Err(error) => {
            fields.report("ecosystem", error.to_string());
            None
        }
    }
}

async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesPublish)?;
    let mut fields = body.fields().await?;
    let slug = fields.text("repository_slug");
    if let Some(slug) = &slug {
        state.registry.may_change_repository(who, slug, Operation::CreatePackage).await?;
    }
    let named = new_name(&state, &mut fields);
    let visibility: Option<Visibility> = fields.word("visibility");
    let texts = texts(&mut fields);
    let (Some((ecosystem, name)), Some(repository_slug)) = (named, slug) else {
        return Err(refused(fields.finish()));
    };
    fields.finish()?;
    let new = NewPackageRequest {
        ecosystem,
        name,
        repository_slug,
        visibility,
        display_name: texts.display_name.flatten(),
        description: texts.description.flatten(),
        readme: texts.readme.flatten(),
        homepage: texts.homepage.flatten(),
        repository_url: texts.repository_url.flatten(),
        license: texts.license.flatten(),
        keywords: texts.keywords.unwrap_or_default(),
    };
    let page = state.registry.create_package(who, new, &origin).await?;
    Ok(revision(&page.details).on((StatusCode::CREATED, Json(objects::package(&state, &page)))))
}

/// The descriptive members of a package.
fn texts(fields: &mut Fields) -> PackagePatch {
    PackagePatch {
        display_name: input::patch(fields, "display_name", LINE),
        description: input::patch(fields, "description", DESCRIPTION),
        readme: input::patch_long(fields, "readme", MAX_README_BYTES),
        homepage: input::patch(fields, "homepage", WEB_ADDRESS),
        repository_url: input::patch(fields, "repository_url", WEB_ADDRESS),
        license: input::patch(fields, "license", LINE),
        keywords: keywords(fields),
        ..PackagePatch::default()
    }
}

fn keywords(fields: &mut Fields) -> Option<Vec<String>> {
    if !fields.has("keywords") {
        return None;
    }
    if fields.is_null("keywords") {
        return Some(Vec::new());
    }
    let words: Vec<String> = fields.texts("keywords")?.iter().map(|word| word.trim().to_owned()).collect();
    let is_legal = |word: &String| {
        !word.is_empty() && word.chars().count() <= MAX_KEYWORD_CHARS && !word.chars().any(char::is_control)
    };
    if words.len() > MAX_KEYWORDS || !words.iter().all(is_legal) {
        fields
            .report("keywords", format!("must be at most {MAX_KEYWORDS} words of 1 to {MAX_KEYWORD_CHARS} characters"));
    }
    Some(words)
}

async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path((ecosystem, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let page = state.registry.package_page(&caller.0, ecosystem, name.canonical()).await?;
    Ok(shown(&state, &page))
}

fn shown(state: &ApiState, page: &PackagePage) -> Response {
    revision(&page.details).on(Json(objects::package(state, page)))
}

fn revision(details: &PackageDetails) -> Revision {
    Revision::of(details.id, details.updated_at)
}

async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name)): Path<(String, String)>,
    if_match: IfMatch,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesWrite)?;
    let mut fields = body.fields().await?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let administers = ["visibility", "is_archived", "allow_missing_references"].iter().any(|name| fields.has(name));
    let operation = if administers { Operation::Administer } else { Operation::EditMetadata };
    let package = state.registry.package_for(who, ecosystem, name.canonical(), operation).await?;
    // Before what is wrong with the members (§1.2); the change asks again under its lock.
    if_match.check(&revision(&package.details))?;
    if fields.has("allow_missing_references") && ecosystem != Ecosystem::Oci {
        fields.report("allow_missing_references", "is for OCI repositories only");
    }
    for member in ["visibility", "is_archived", "is_deprecated", "allow_missing_references"] {
        if fields.is_null(member) {
            fields.report(member, "cannot be cleared");
        }
    }
    let patch = PackagePatch {
        is_deprecated: fields.flag("is_deprecated"),
        deprecation_message: input::patch(&mut fields, "deprecation_message", DESCRIPTION),
        visibility: fields.word("visibility"),
        is_archived: fields.flag("is_archived"),
        allow_missing_references: fields.flag("allow_missing_references"),
        ..texts(&mut fields)
    };
    fields.finish()?;
    let check = |details: &PackageDetails| if_match.check(&revision(details));
    let page = state.registry.update_package(who, ecosystem, name.canonical(), patch, check, &origin).await?;
    Ok(revision(&page.details).on(Json(with_message(objects::package(&state, &page), "package updated"))))
}

async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name)): Path<(String, String)>,
    if_match: IfMatch,
    query: Query,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesWrite)?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let name = name.canonical();
    let package = state.registry.package_for(who, ecosystem, name, Operation::Administer).await?;
    if_match.check(&revision(&package.details))?;
    let check = |details: &PackageDetails| if_match.check(&revision(details));
    if query.one_of("mode", &["archive", "delete"])? == Some("delete") {
        state.registry.delete_package(who, ecosystem, name, check, &origin).await?;
        return Ok(message("package deleted"));
    }
    state.registry.archive_package(who, ecosystem, name, check, &origin).await?;
    Ok(message("package archived"))
}

async fn transfer(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name)): Path<(String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesTransfer)?;
    let mut fields = body.fields().await?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    state.registry.package_for(who, ecosystem, name.canonical(), Operation::Transfer).await?;
    let target = fields.text("target_org_slug");
    let repository = fields.optional_text("target_repository_slug");
    let Some(target) = target else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let moved = state
        .registry
        .transfer_package(who, ecosystem, name.canonical(), &target, repository.as_deref(), &origin)
        .await?;
    let answer: Value = json!({
        "message": format!("the package belongs to `{}` now", moved.owner.slug),
        "package": {
            "id": moved.id,
            "ecosystem": moved.ecosystem,
            "name": moved.name,
            "normalized_name": moved.normalized_name,
        },
        "owner": new_owner(&moved.owner),
        "repository_slug": moved.repository_slug,
    });
    Ok(Json(answer).into_response())
}

async fn quarantine(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name)): Path<(String, String)>,
    if_match: IfMatch,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_any()?;
    let mut fields = body.fields().await?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let package = state.registry.package_for(who, ecosystem, name.canonical(), Operation::Quarantine).await?;
    if_match.check(&revision(&package.details))?;
    let reason = input::optional(&mut fields, "reason", DESCRIPTION);
    if reason.is_none() && !fields.has_problems() {
        fields.report("reason", "is required");
    }
    let Some(reason) = reason else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let check = |details: &PackageDetails| if_match.check(&revision(details));
    let page = state.registry.quarantine_package(who, ecosystem, name.canonical(), &reason, check, &origin).await?;
    Ok(shown(&state, &page))
}

async fn lift(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let who = caller.require_any()?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    state.registry.package_for(who, ecosystem, name.canonical(), Operation::Quarantine).await?;
    let check = |details: &PackageDetails| if_match.check(&revision(details));
    let page = state.registry.lift_quarantine(who, ecosystem, name.canonical(), check, &origin).await?;
    Ok(shown(&state, &page))
}
