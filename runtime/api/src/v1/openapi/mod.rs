//! The OpenAPI 3.1 document of everything that answers in the form of control-plane.md.
//!
//! It is made from what the routes declare ([`super::route`]), so it cannot miss one. What every route
//! shares (credentials, syntax, idempotency, paging) is derived here and not declared again.

pub mod notation;
mod objects;

use std::{collections::BTreeMap, sync::OnceLock};

use http::Method;
use publaryn_core::Scope;
use serde_json::{Map, Value, json};

use super::route::{Answer, BodySpec, Described, Needs, Spec};
use notation::{Member, Side};

const PROBLEM: &str = "application/problem+json";

/// The document as it is served and printed; made once.
pub fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let document = document(&super::described()).expect("a test reads the notation of every route");
        format!("{document:#}\n")
    })
}

/// The document of these routes.
///
/// # Errors
/// Names the route or object type whose notation cannot be read.
pub fn document(routes: &[Described]) -> Result<Value, String> {
    let mut paths = Map::new();
    for route in routes {
        let operation = operation(route).map_err(|error| format!("{} {}: {error}", route.method, route.path))?;
        let item = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    let mut tags: Vec<&str> = Vec::new();
    routes.iter().filter(|route| !tags.contains(&route.tag)).collect::<Vec<_>>().iter().for_each(|route| {
        if !tags.contains(&route.tag) {
            tags.push(route.tag);
        }
    });
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Publaryn",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The management API of a Publaryn registry. Native protocols (`/npm`, `/cargo`, …) are \
                specified by their ecosystems and are not part of this document.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "tags": tags.iter().map(|tag| json!({"name": tag})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas()?,
            "headers": HEADERS.iter().map(|(name, text)| {
                ((*name).to_owned(), json!({"description": text, "schema": {"type": "integer"}}))
            }).collect::<Map<_, _>>(),
            "securitySchemes": {"bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "A session's access token, or an API token (`pub_…`).",
            }},
        },
    }))
}

fn lookup(name: &str) -> Option<&'static str> {
    // Words are looked up by name only; nothing is taken over from them.
    let object = objects::OBJECTS.iter().find(|(known, _)| *known == name).map(|(_, members)| *members);
    object.or_else(|| objects::enums().iter().any(|(known, _)| *known == name).then_some(""))
}

fn schemas() -> Result<Map<String, Value>, String> {
    let mut all = Map::new();
    for (name, members) in objects::OBJECTS {
        let schema = notation::schema(members, Side::Answer, &lookup).map_err(|error| format!("{name}: {error}"))?;
        all.insert((*name).to_owned(), schema);
    }
    for (name, words) in objects::enums() {
        all.insert(name.to_owned(), json!({"type": "string", "enum": words}));
    }
    all.insert("Problem".to_owned(), problem());
    Ok(all)
}

/// RFC 9457 with the members of control-plane.md §1.3; codes add members of their own.
fn problem() -> Value {
    json!({
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string"},
            "detail": {"type": "string"},
            "error": {"type": "string"},
            "request_id": {"type": ["string", "null"]},
            "errors": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string"},
                    "parameter": {"type": "string"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
                "required": ["code", "message"],
            }},
        },
        "required": ["type", "title", "status", "code", "detail", "error", "request_id"],
    })
}

fn operation(route: &Described) -> Result<Value, String> {
    let spec = &*route.spec;
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [route.tag],
        "summary": spec.summary,
        "parameters": parameters(route)?,
        "responses": responses(route)?,
        "security": security(spec),
    });
    if let Some(text) = description(spec) {
        operation["description"] = json!(text);
    }
    if let Some(body) = &spec.body {
        operation["requestBody"] = request_body(body)?;
    }
    if !spec.gate.scopes.is_empty() {
        operation["x-required-scopes"] = json!(words(spec.gate.scopes));
    }
    if !spec.actions.is_empty() {
        operation["x-audit-actions"] = json!(spec.actions);
    }
    Ok(operation)
}

fn words(scopes: &[Scope]) -> Vec<&'static str> {
    scopes.iter().copied().map(Scope::as_str).collect()
}

/// `get /v1/users/{username}` → `get_users_username`.
fn operation_id(route: &Described) -> String {
    let path = route.path.trim_start_matches("/v1");
    let parts = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    let parts = std::iter::once(route.method.as_str()).chain(parts);
    parts.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

fn description(spec: &Spec) -> Option<String> {
    let credential = match spec.gate.who {
        Needs::Nothing | Needs::Credential => None,
        Needs::Session => Some("Needs a session; API tokens are refused."),
        Needs::PlatformAdmin => Some("For platform administrators."),
    };
    let parts: Vec<&str> = credential.into_iter().chain(spec.notes).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// A public route may be called with a credential, too; it decides what is seen.
fn security(spec: &Spec) -> Value {
    if spec.gate.is_public() { json!([{}, {"bearer": []}]) } else { json!([{"bearer": []}]) }
}

fn parameters(route: &Described) -> Result<Vec<Value>, String> {
    let spec = &*route.spec;
    let mut all: Vec<Value> = path_parameters(&route.path)
        .map(|name| {
            let schema = if is_id(name) {
                json!({"type": "string", "format": "uuid"})
            } else if name == "ecosystem" {
                json!({"$ref": "#/components/schemas/Ecosystem"})
            } else {
                json!({"type": "string", "minLength": 1})
            };
            json!({"name": name, "in": "path", "required": true, "schema": schema})
        })
        .collect();
    for text in &spec.query {
        all.extend(notation::members(text, Side::Request, &lookup)?.into_iter().map(query_parameter));
    }
    for (name, description) in &spec.headers {
        all.push(json!({"name": name, "in": "header", "description": description, "schema": {"type": "string"}}));
    }
    if takes_idempotency_key(route) {
        all.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Sent again with the same body within 24 hours, the request is answered as it was the first time.",
            "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
        }));
    }
    Ok(all)
}

fn query_parameter(member: Member) -> Value {
    let mut schema = member.schema;
    if let (Some(default), Some(object)) = (member.default, schema.as_object_mut()) {
        object.insert("default".into(), default);
    }
    json!({"name": member.name, "in": "query", "required": !member.is_optional, "schema": schema})
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn is_id(name: &str) -> bool {
    name == "id" || name.ends_with("_id")
}

fn takes_idempotency_key(route: &Described) -> bool {
    route.method == Method::POST && route.spec.keeps_idempotency_keys
}

fn request_body(body: &BodySpec) -> Result<Value, String> {
    Ok(match body {
        BodySpec::Json { members, is_optional } => json!({
            "required": !is_optional,
            "content": {"application/json": {"schema": notation::schema(members, Side::Request, &lookup)?}},
        }),
        BodySpec::Bytes => json!({
            "required": true,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }),
    })
}

fn responses(route: &Described) -> Result<Map<String, Value>, String> {
    let mut all = Map::new();
    for answer in &route.spec.answers {
        let (status, response) = match answer {
            Answer::Json { status, schema } => {
                let schema = notation::schema(schema, Side::Answer, &lookup)?;
                (status, json!({"content": {"application/json": {"schema": schema}}}))
            }
            Answer::Media { status, media } => (status, json!({"content": {*media: {}}})),
            Answer::Empty { status } => (status, json!({})),
        };
        let mut response = response;
        response["description"] = json!(meaning(*status));
        // Several forms of one status are alternatives of one response.
        match all.get_mut(&status.to_string()).and_then(|known: &mut Value| known.get_mut("content")?.as_object_mut()) {
            Some(content) => {
                if let Some(Value::Object(more)) = response.get("content") {
                    content.extend(more.clone());
                }
            }
            None => {
                all.insert(status.to_string(), response);
            }
        }
    }
    for (status, codes) in problems(route) {
        all.insert(
            status.to_string(),
            json!({
                "description": format!("{}: {}", meaning(status), codes.join(", ")),
                "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                "x-problem-codes": codes,
            }),
        );
    }
    if route.method == Method::GET && route.spec.gate.is_public() && route.path.starts_with("/v1/") {
        all.insert("304".into(), json!({"description": meaning(304)}));
    }
    for (status, response) in all.iter_mut() {
        let headers = headers(route, status);
        if !headers.is_empty() {
            response["headers"] = Value::Object(headers);
        }
    }
    all.sort_keys();
    Ok(all)
}

/// Probes, metrics and documents are not.
fn is_limited(route: &Described) -> bool {
    route.path.starts_with("/v1/") || route.path.starts_with(super::exchange::BASE)
}

const HEADERS: [(&str, &str); 4] = [
    ("x-ratelimit-limit", "Requests that the caller may make in a minute."),
    ("x-ratelimit-remaining", "How many of them are left."),
    ("x-ratelimit-reset", "Seconds until all of them are there again."),
    ("retry-after", "Seconds to wait before the next attempt."),
];

/// What an answer says beside its body: where the caller stands with the limits, and when to come back.
fn headers(route: &Described, status: &str) -> Map<String, Value> {
    let is_told = is_limited(route) && (status.starts_with('2') || status == "429");
    let is_told_when = matches!(status, "429" | "503");
    let named = HEADERS.iter().filter(|(name, _)| if *name == "retry-after" { is_told_when } else { is_told });
    named.map(|(name, _)| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")}))).collect()
}

/// Every problem a route may answer: what its declaration implies, and what it names.
fn problems(route: &Described) -> BTreeMap<u16, Vec<&'static str>> {
    let spec = &*route.spec;
    let mut all: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    let mut add = |status: u16, code: &'static str| {
        let codes = all.entry(status).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    };
    if is_limited(route) {
        // A credential is checked wherever one is sent.
        for code in ["unauthenticated", "token_expired", "token_revoked", "session_revoked", "account_disabled"] {
            add(401, code);
        }
    }
    if route.path.starts_with("/v1/") {
        add(403, "credential_not_accepted");
        if !spec.gate.scopes.is_empty() {
            add(403, "insufficient_scope");
            // Tokens may be bound to something else than what the route is about.
            add(403, "token_not_bound");
            if route.method != Method::GET {
                add(403, "mfa_required_by_organization");
            }
        }
        match spec.gate.who {
            Needs::Session => add(403, "session_required"),
            Needs::PlatformAdmin => add(403, "platform_admin_required"),
            Needs::Nothing | Needs::Credential => {}
        }
        let has_path = path_parameters(&route.path).next().is_some();
        add(400, "malformed_request");
        if has_path {
            add(404, "not_found");
        }
        if !spec.query.is_empty() {
            add(422, "validation_failed");
        }
        if let Some(BodySpec::Json { .. }) = spec.body {
            add(413, "payload_too_large");
            add(415, "unsupported_media_type");
            add(422, "validation_failed");
        }
        if takes_idempotency_key(route) {
            add(409, "idempotency_in_progress");
            add(422, "idempotency_key_reused");
        }
        add(429, "rate_limited");
        add(500, "internal_error");
        add(503, "unavailable");
    }
    for (status, code) in &spec.problems {
        add(*status, code);
    }
    all
}

fn meaning(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_can_be_made_and_its_operations_are_told_apart() {
        let routes = super::super::described();
        let document = document(&routes).unwrap();
        let mut ids: Vec<_> = routes.iter().map(operation_id).collect();
        ids.sort();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
        let operations: usize =
            document["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
        assert_eq!(operations, count);
    }

    #[test]
    fn every_operation_has_an_answer_and_every_reference_a_target() {
        let document = document(&super::super::described()).unwrap();
        for route in super::super::described() {
            assert!(!route.spec.answers.is_empty(), "{} {} answers nothing", route.method, route.path);
        }
        let text = document.to_string();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn limited_routes_tell_where_their_caller_stands() {
        let document = document(&super::super::described()).unwrap();
        let headers = |path: &str, method: &str, status: &str| {
            let answer = &document["paths"][path][method]["responses"][status];
            assert!(!answer.is_null(), "{method} {path} {status}");
            answer["headers"].as_object().map_or_else(Vec::new, |headers| headers.keys().cloned().collect())
        };
        let told = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
        assert_eq!(headers("/v1/stats", "get", "200"), told);
        assert_eq!(headers("/_/oidc/mint-token", "post", "200"), told);
        for (path, method) in [("/v1/stats", "get"), ("/_/oidc/audience", "get"), ("/_/oidc/burn-token", "post")] {
            let limited = headers(path, method, "429");
            assert!(
                told.iter().chain(["retry-after"].iter()).all(|name| limited.iter().any(|h| h == name)),
                "{limited:?}"
            );
            assert!(headers(path, method, "401").is_empty(), "{path}");
        }
        assert!(headers("/health", "get", "200").is_empty());
    }
}
