//! How a route is declared: one call that names its handler, who may call it, and what goes in and out.
//!
//! [`Routes`] is the only way into the router, so the OpenAPI document ([`super::openapi`]) is complete by
//! construction, and what a declaration says about credentials is what [`super::guard`] enforces before
//! the handler runs. A module of `/v1` reads:
//!
//! ```ignore
//! pub fn routes() -> Routes {
//!     Routes::new("teams")
//!         .get("/orgs/{slug}/teams", list, scoped(Scope::OrgsRead, "Teams of an organization, by name")
//!             .list("teams", "Team", 100))
//!         .post("/orgs/{slug}/teams", create, scoped(Scope::OrgsWrite, "Creates a team")
//!             .body("name s, slug s, description s?")
//!             .answer(201, "Team")
//!             .problem(409, "already_exists")
//!             .audit(AuditAction::TeamCreate))
//! }
//! ```
//!
//! The texts are in the notation of the contract's tables, explained in [`super::openapi::notation`]; the
//! object types of control-plane.md §2 are named there already. Handlers keep their usual form: they take
//! [`super::extract::Caller`] (already authenticated and of the declared kind), [`super::extract::Body`]
//! and so on, and return `Result<Response, Problem>`. What the guard does for every route, so that no
//! handler does it: 401, 403 for scope and kind of credential, `Idempotency-Key`, `ETag` and
//! `If-None-Match` of JSON documents read by anonymous callers, compression.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, patch, post, put},
};
use http::Method;
use publaryn_core::{RegistryError, Scope, audit::AuditAction};
use publaryn_ratelimit::Tier;

use super::{ApiState, guard, problem::Problem};

/// Routes with what is known about them.
pub struct Routes {
    tag: &'static str,
    base: &'static str,
    router: Router<ApiState>,
    described: Vec<Described>,
}

/// One method of one path.
#[derive(Debug, Clone)]
pub struct Described {
    pub method: Method,
    /// From the root, with `{parameters}`.
    pub path: String,
    pub tag: &'static str,
    pub spec: Arc<Spec>,
}

/// Who may call, and what goes in and out.
#[derive(Debug, Clone)]
pub struct Spec {
    pub(super) summary: &'static str,
    pub(super) notes: Option<&'static str>,
    pub(super) gate: Gate,
    pub(super) query: Vec<String>,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Option<BodySpec>,
    pub(super) answers: Vec<Answer>,
    pub(super) problems: Vec<(u16, &'static str)>,
    pub(super) actions: Vec<AuditAction>,
    pub(super) keeps_idempotency_keys: bool,
    /// Which limit requests count against; follows from method and path.
    pub(super) tier: Tier,
    /// The answer to a request beyond it.
    pub(super) limited: fn(RegistryError) -> Response,
}

/// What is asked of the credential before anything else of a request is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Gate {
    pub(super) who: Needs,
    /// One of them is enough; empty asks for none.
    pub(super) scopes: &'static [Scope],
    /// Open even where `access.require_login` closes public reads.
    pub(super) is_always_open: bool,
}

/// The kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// Any valid session or API token.
    Credential,
    /// A session; API tokens are refused.
    Session,
    /// The account of a platform administrator.
    PlatformAdmin,
}

/// A request body.
#[derive(Debug, Clone)]
pub(super) enum BodySpec {
    /// A JSON object in the contract's notation.
    Json { members: &'static str, is_optional: bool },
    /// Bytes of any type.
    Bytes,
}

/// A successful answer.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Json {
        status: u16,
        schema: String,
    },
    /// A media type other than JSON.
    Media {
        status: u16,
        media: &'static str,
    },
    Empty {
        status: u16,
    },
}

/// Anybody may call; what they see depends on who they are.
pub fn public(summary: &'static str) -> Spec {
    Spec::new(Needs::Nothing, &[], summary)
}

/// Anybody with a valid credential.
pub fn signed_in(summary: &'static str) -> Spec {
    Spec::new(Needs::Credential, &[], summary)
}

/// A session, not an API token.
pub fn in_session(summary: &'static str) -> Spec {
    Spec::new(Needs::Session, &[], summary)
}

/// A credential with this scope or one that implies it.
pub fn scoped(scope: Scope, summary: &'static str) -> Spec {
    Spec::new(Needs::Credential, just(scope), summary)
}

/// A platform administrator's credential with this scope.
pub fn platform(scope: Scope, summary: &'static str) -> Spec {
    Spec::new(Needs::PlatformAdmin, just(scope), summary)
}

impl Spec {
    fn new(who: Needs, scopes: &'static [Scope], summary: &'static str) -> Self {
        Self {
            summary,
            notes: None,
            gate: Gate { who, scopes, is_always_open: false },
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            answers: Vec::new(),
            problems: Vec::new(),
            actions: Vec::new(),
            keeps_idempotency_keys: true,
            tier: Tier::Read,
            limited: |error| Problem::from(error).into_response(),
        }
    }

    /// More than the summary says: permissions, side effects.
    pub fn notes(mut self, text: &'static str) -> Self {
        self.notes = Some(text);
        self
    }
    /// Besides the scope, API tokens are refused.
    pub fn in_session_only(mut self) -> Self {
        self.gate.who = Needs::Session;
        self
    }
    /// Any of these scopes is enough to get to the handler, which knows which one it needs when.
    pub fn any_scope(mut self, scopes: &'static [Scope]) -> Self {
        self.gate.scopes = scopes;
        self
    }
    /// Open to anonymous callers even with `access.require_login`.
    pub fn always_open(mut self) -> Self {
        self.gate.is_always_open = true;
        self
    }
    /// Query parameters, in the contract's notation.
    pub fn query(mut self, members: impl Into<String>) -> Self {
        self.query.push(members.into());
        self
    }
    /// An optional request header.
    pub fn header(mut self, name: &'static str, description: &'static str) -> Self {
        self.headers.push((name, description));
        self
    }
    /// `If-Match` is honoured ([`super::validators::IfMatch`]).
    pub fn if_match(self) -> Self {
        self.header("If-Match", "the change is made only if the resource still has this `ETag`")
            .problem(412, "precondition_failed")
    }
    /// The members of the JSON object that is sent.
    pub fn body(mut self, members: &'static str) -> Self {
        self.body = Some(BodySpec::Json { members, is_optional: false });
        self
    }
    /// The same, where no body at all means an empty object.
    pub fn optional_body(mut self, members: &'static str) -> Self {
        self.body = Some(BodySpec::Json { members, is_optional: true });
        self
    }
    /// Raw bytes are sent.
    pub fn upload(mut self) -> Self {
        self.body = Some(BodySpec::Bytes);
        self
    }
    /// A JSON answer: members, or the name of an object type.
    pub fn answer(mut self, status: u16, schema: impl Into<String>) -> Self {
        self.answers.push(Answer::Json { status, schema: schema.into() });
        self
    }
    /// The answer that only says what happened: `{message}`.
    pub fn message(self) -> Self {
        self.answer(200, "message s")
    }
    /// An answer of another media type.
    pub fn media(mut self, status: u16, media: &'static str) -> Self {
        self.answers.push(Answer::Media { status, media });
        self
    }
    /// An answer without a body.
    pub fn empty(mut self, status: u16) -> Self {
        self.answers.push(Answer::Empty { status });
        self
    }
    /// A paged list of `items`, each of the type `object`.
    pub fn list(self, items: &str, object: &str, per_page: u32) -> Self {
        self.listed(per_page, format!("{items} [{object}], page i, per_page i, total i, has_next b"))
    }
    /// A paged list that can also be walked with a cursor; its total may be unknown.
    pub fn walk(self, items: &str, object: &str, per_page: u32) -> Self {
        let schema = format!("{items} [{object}], page i, per_page i, total i?, has_next b, next_cursor s?");
        self.query("cursor s?").listed(per_page, schema)
    }
    /// A paged list with its own answer; `Page::answer` writes the paging members.
    pub fn listed(self, per_page: u32, schema: impl Into<String>) -> Self {
        self.query(format!("page i?=1, per_page i?={per_page}")).answer(200, schema)
    }
    /// A refusal beyond those that the declaration implies (401, scopes, body syntax, paging, …).
    pub fn problem(mut self, status: u16, code: &'static str) -> Self {
        self.problems.push((status, code));
        self
    }
    /// The audit action it leaves behind.
    pub fn audit(mut self, action: AuditAction) -> Self {
        self.actions.push(action);
        self
    }
    /// `Idempotency-Key` is ignored: the answer holds a secret, which is not kept (control-plane.md §1.5).
    pub fn holds_secrets(mut self) -> Self {
        self.keeps_idempotency_keys = false;
        self
    }
    /// Requests beyond the limit are refused in a form of this route's own.
    pub fn when_limited(mut self, answer: fn(RegistryError) -> Response) -> Self {
        self.limited = answer;
        self
    }
    pub fn gate(&self) -> Gate {
        self.gate
    }
}

impl Gate {
    pub fn is_public(self) -> bool {
        self.who == Needs::Nothing && self.scopes.is_empty()
    }
}

impl Routes {
    /// Routes below `/v1`, filed under `tag` in the document.
    pub fn new(tag: &'static str) -> Self {
        Self::below("/v1", tag)
    }
    /// Routes below another base; paths are written without it.
    pub fn below(base: &'static str, tag: &'static str) -> Self {
        Self { tag, base, router: Router::new(), described: Vec::new() }
    }

    pub fn get<H: Handler<T, ApiState>, T: 'static>(self, path: &str, handler: H, spec: Spec) -> Self {
        self.add(Method::GET, path, get(handler), spec)
    }
    pub fn post<H: Handler<T, ApiState>, T: 'static>(self, path: &str, handler: H, spec: Spec) -> Self {
        self.add(Method::POST, path, post(handler), spec)
    }
    pub fn put<H: Handler<T, ApiState>, T: 'static>(self, path: &str, handler: H, spec: Spec) -> Self {
        self.add(Method::PUT, path, put(handler), spec)
    }
    pub fn patch<H: Handler<T, ApiState>, T: 'static>(self, path: &str, handler: H, spec: Spec) -> Self {
        self.add(Method::PATCH, path, patch(handler), spec)
    }
    pub fn delete<H: Handler<T, ApiState>, T: 'static>(self, path: &str, handler: H, spec: Spec) -> Self {
        self.add(Method::DELETE, path, delete(handler), spec)
    }

    /// Describes a route that another router serves: probes, the documents.
    pub fn described(mut self, method: Method, path: &str, spec: Spec) -> Self {
        self.describe(method, path, Arc::new(spec));
        self
    }

    /// Takes over the routes of another module below the same base.
    pub fn with(mut self, other: Self) -> Self {
        assert_eq!(self.base, other.base, "routes of one router share their base");
        self.router = self.router.merge(other.router);
        self.described.extend(other.described);
        self
    }

    /// The path that all of them are below.
    pub fn base(&self) -> &'static str {
        self.base
    }
    pub fn into_router(self) -> Router<ApiState> {
        self.router
    }
    /// Everything declared, in the order of declaration.
    pub fn into_described(self) -> Vec<Described> {
        self.described
    }

    fn add(mut self, method: Method, path: &str, handler: MethodRouter<ApiState>, mut spec: Spec) -> Self {
        spec.tier = tier_of(&method, &format!("{}{path}", self.base));
        let spec = Arc::new(spec);
        let guarded = spec.clone();
        // Only where path and method match: a wrong method is told so before its credential is looked at.
        let guarded = handler
            .route_layer(middleware::from_fn(move |request, next| guard::around(guarded.clone(), request, next)));
        self.router = self.router.route(path, guarded);
        self.describe(method, path, spec);
        self
    }

    fn describe(&mut self, method: Method, path: &str, spec: Arc<Spec>) {
        let path = format!("{}{path}", self.base);
        self.described.push(Described { method, path, tag: self.tag, spec });
    }
}

/// configuration.md §4, `rate_limit`.
fn tier_of(method: &Method, path: &str) -> Tier {
    match *method {
        Method::POST if path.starts_with("/v1/auth/") || path == "/_/oidc/mint-token" => Tier::Auth,
        Method::GET | Method::HEAD => Tier::Read,
        _ => Tier::Write,
    }
}

/// A list of one scope that lives as long as the program: there are as many as scopes.
fn just(scope: Scope) -> &'static [Scope] {
    let all = Scope::ALL;
    let at = all.iter().position(|known| *known == scope).unwrap_or_default();
    &all[at..=at]
}
