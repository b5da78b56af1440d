//! Errors as problem documents (RFC 9457, control-plane.md §1.3).

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use publaryn_auth::RuleBreak;
use publaryn_core::{RegistryError, access::Denial};
use publaryn_registry::identity::IdentityError;
use serde_json::{Value, json};

use super::context::RequestId;

/// One error answer: what the caller may know, and nothing more.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldProblem>,
    extras: Vec<(String, Value)>,
    retry_after_seconds: Option<u64>,
}

/// One thing that is wrong with the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    pub place: Place,
    pub code: &'static str,
    pub message: String,
}

/// Where in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A JSON Pointer into the body (RFC 6901).
    Pointer(String),
    /// A query, path or header parameter.
    Parameter(&'static str),
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let (errors, extras) = (Vec::new(), Vec::new());
        Self { status, code, detail: detail.into(), errors, extras, retry_after_seconds: None }
    }
    /// Adds a member that the code's row names.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extras.push((name.to_owned(), value.into()));
        self
    }
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_request", detail)
    }
    /// A path or query parameter that cannot be read.
    pub fn bad_parameter(name: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        let mut problem = Self::malformed(format!("`{name}` {message}"));
        problem.errors.push(FieldProblem { place: Place::Parameter(name), code: "malformed_request", message });
        problem
    }
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "not found")
    }
    pub fn route_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "route_not_found", "there is no such route")
    }
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this route does not take that method")
    }
    pub fn too_large(limit_bytes: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            format!("the body is larger than {limit_bytes} bytes"),
        )
        .with("limit_bytes", limit_bytes)
    }
    pub fn unsupported_media_type() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "send application/json")
    }
    /// 422 for everything found wrong; at least one problem.
    pub fn unprocessable(errors: Vec<FieldProblem>) -> Self {
        let first = errors.first().map_or("validation_failed", |problem| problem.code);
        let code = if errors.iter().all(|problem| problem.code == first) { first } else { "validation_failed" };
        let detail = errors.iter().map(FieldProblem::sentence).collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail) }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }
    pub fn code(&self) -> &'static str {
        self.code
    }

    fn document(&self, request_id: Option<&RequestId>) -> Value {
        let mut document = json!({
            "type": format!("urn:publaryn:problem:{}", self.code),
            "title": title(self.code),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "error": self.detail,
            "request_id": request_id.map(|id| id.0.as_str()),
        });
        if !self.errors.is_empty() {
            document["errors"] = self.errors.iter().map(FieldProblem::document).collect();
        }
        if let Some(object) = document.as_object_mut() {
            object.extend(self.extras.clone());
        }
        document
    }

    fn unavailable(error: &RegistryError) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string());
        problem.retry_after_seconds = error.retry_after_seconds();
        problem
    }
}

impl FieldProblem {
    pub fn in_body(field: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { place: Place::Pointer(format!("/{field}")), code, message: message.into() }
    }
    fn sentence(&self) -> String {
        let place = match &self.place {
            Place::Pointer(pointer) => pointer.trim_start_matches('/'),
            Place::Parameter(name) => name,
        };
        if place.is_empty() { self.message.clone() } else { format!("`{place}` {}", self.message) }
    }
    fn document(&self) -> Value {
        let (key, place) = match &self.place {
            Place::Pointer(pointer) => ("pointer", pointer.as_str()),
            Place::Parameter(name) => ("parameter", *name),
        };
        json!({key: place, "code": self.code, "message": self.message})
    }
}

impl From<RuleBreak> for FieldProblem {
    fn from(broken: RuleBreak) -> Self {
        Self::in_body(broken.field, broken.code, broken.message)
    }
}

/// `name_too_similar` → `Name too similar`.
fn title(code: &str) -> String {
    let mut words = code.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

impl From<&RegistryError> for Problem {
    fn from(error: &RegistryError) -> Self {
        let text = error.to_string();
        let at = |status, code| Self::new(status, code, text.clone());
        match error {
            RegistryError::Unauthenticated => at(StatusCode::UNAUTHORIZED, "unauthenticated"),
            RegistryError::BadCredential(problem) => at(StatusCode::UNAUTHORIZED, problem.code()),
            RegistryError::Denied(denial) => {
                let problem = at(StatusCode::FORBIDDEN, denial.code());
                match denial {
                    Denial::InsufficientScope(scope) => problem.with("required_scopes", vec![scope.as_str()]),
                    Denial::InsufficientPermission(permission) => problem.with("required", vec![permission.as_str()]),
                    Denial::MfaRequiredByOrganization(org) => problem.with("org", org.as_str()),
                    Denial::NamespaceClaimed(namespace) => problem.with("namespace", namespace.as_str()),
                    _ => problem,
                }
            }
            RegistryError::NotFound | RegistryError::VersionNotFound(_) => at(StatusCode::NOT_FOUND, "not_found"),
            RegistryError::VersionExists(_) => at(StatusCode::CONFLICT, "already_exists").with("field", "version"),
            RegistryError::FileExists { .. } => at(StatusCode::CONFLICT, "artifact_content_mismatch"),
            RegistryError::NameTaken { existing } => {
                at(StatusCode::UNPROCESSABLE_ENTITY, "name_too_similar").with("similar_to", existing.clone())
            }
            RegistryError::Invalid { code, .. } => at(StatusCode::UNPROCESSABLE_ENTITY, code),
            RegistryError::Archive { .. } | RegistryError::Unsupported(_) => {
                at(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed")
            }
            RegistryError::Malformed(_) => at(StatusCode::BAD_REQUEST, "malformed_request"),
            RegistryError::TooLarge { limit_bytes, .. } => {
                at(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large").with("limit_bytes", *limit_bytes)
            }
            RegistryError::Conflict { code, .. } => at(StatusCode::CONFLICT, code),
            RegistryError::ConflictWith { code, extras, .. } => {
                let problem = at(StatusCode::CONFLICT, code);
                extras.iter().fold(problem, |problem, (name, value)| problem.with(name, value.clone()))
            }
            RegistryError::InvalidMember { member, code, message } => {
                Self::unprocessable(vec![FieldProblem::in_body(member, code, message.as_str())])
            }
            RegistryError::VisibilityTooBroad { limit } => {
                at(StatusCode::UNPROCESSABLE_ENTITY, "visibility_too_broad").with("limit", limit.as_str())
            }
            RegistryError::Blocked(_) => at(StatusCode::CONFLICT, "state_conflict"),
            RegistryError::PreconditionFailed => at(StatusCode::PRECONDITION_FAILED, "precondition_failed"),
            RegistryError::RateLimited { .. } => {
                let seconds = error.retry_after_seconds();
                let mut problem =
                    at(StatusCode::TOO_MANY_REQUESTS, "rate_limited").with("retry_after_seconds", seconds);
                problem.retry_after_seconds = seconds;
                problem
            }
            RegistryError::Overloaded { .. } | RegistryError::Unavailable { .. } => {
                tracing::warn!(error = error.cause_chain(), "request not served");
                Self::unavailable(error)
            }
            RegistryError::Internal(_) => {
                tracing::error!(error = error.cause_chain(), "request failed");
                at(StatusCode::INTERNAL_SERVER_ERROR, "internal_error")
            }
        }
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        Self::from(&error)
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        let text = error.to_string();
        match error {
            IdentityError::Registry(error) => Self::from(&error),
            IdentityError::AlreadyExists { field } => {
                Self::new(StatusCode::CONFLICT, "already_exists", text).with("field", field)
            }
            IdentityError::Throttled { retry_after } => {
                let limited = Self::from(RegistryError::RateLimited { retry_after });
                Self { code: "login_throttled", detail: text, ..limited }
            }
            IdentityError::NotGrantable { scopes, .. } => {
                Self::new(StatusCode::FORBIDDEN, "scope_not_grantable", text).with("scopes", scopes.words())
            }
            IdentityError::Invalid(problems) => {
                Self::unprocessable(problems.into_iter().map(FieldProblem::from).collect())
            }
        }
    }
}

impl IntoResponse for Problem {
    /// Without a request id; [`stamp`] adds it on the way out.
    fn into_response(self) -> Response {
        let mut response = render(&self, None);
        response.extensions_mut().insert(Unstamped(Box::new(self)));
        response
    }
}

/// A problem whose document does not name its request yet.
#[derive(Clone)]
struct Unstamped(Box<Problem>);

/// Writes the request id into the answer, if it is a problem document.
pub fn stamp(mut response: Response, id: &RequestId) -> Response {
    let Some(Unstamped(problem)) = response.extensions_mut().remove::<Unstamped>() else { return response };
    // `Allow` of a 405 and the like were added by the router; they stay.
    let (parts, _) = response.into_parts();
    let mut stamped = render(&problem, Some(id));
    for (name, value) in &parts.headers {
        if name != header::CONTENT_LENGTH {
            stamped.headers_mut().insert(name, value.clone());
        }
    }
    stamped
}

fn render(problem: &Problem, id: Option<&RequestId>) -> Response {
    let mut response = Response::new(Body::from(problem.document(id).to_string()));
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    if problem.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, challenge(problem.code));
    }
    if let Some(seconds) = problem.retry_after_seconds {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// RFC 6750 §3: a bad token is `invalid_token`; a bad password or refresh token is what OAuth calls a bad grant.
fn challenge(code: &str) -> HeaderValue {
    HeaderValue::from_static(match code {
        "unauthenticated" | "token_expired" | "token_revoked" | "session_revoked" | "account_disabled" => {
            "Bearer realm=\"publaryn\", error=\"invalid_token\""
        }
        _ => "Bearer realm=\"publaryn\", error=\"invalid_grant\"",
    })
}
