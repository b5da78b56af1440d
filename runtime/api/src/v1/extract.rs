//! Reading requests: who calls, from where, and a JSON body whose faults are all named at once.

use std::{net::IpAddr, str::FromStr};

use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::{HeaderMap, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use publaryn_auth::{Presented, RuleBreak, Secret};
use publaryn_core::{Ecosystem, Principal, Scope, audit::ClientOrigin};
use publaryn_registry::identity::{Surface, require_scope, require_session, require_user};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    ApiState,
    context::ClientIp,
    problem::{FieldProblem, Problem},
};

/// Deepest nesting of a JSON body.
pub const MAX_DEPTH: usize = 64;

/// Who calls. A credential that does not hold refuses the request on every route (§1.2).
#[derive(Debug, Clone)]
pub struct Caller(pub Principal);

impl Caller {
    /// Anybody with a valid credential.
    pub fn require_any(&self) -> Result<&Principal, Problem> {
        if self.0.is_anonymous() {
            return Err(publaryn_core::RegistryError::Unauthenticated.into());
        }
        Ok(&self.0)
    }
    pub fn require_scope(&self, scope: Scope) -> Result<&Principal, Problem> {
        require_scope(&self.0, scope)?;
        Ok(&self.0)
    }
    pub fn require_session(&self) -> Result<&Principal, Problem> {
        require_session(&self.0)?;
        Ok(&self.0)
    }
    /// Anybody behind whom a person stands.
    pub fn require_user(&self) -> Result<&Principal, Problem> {
        require_user(&self.0)?;
        Ok(&self.0)
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        // The guard of the route asked already.
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        Ok(Self(state.identity.authenticate(&presented(&parts.headers), Surface::Control).await?))
    }
}

/// The credential that a request came with.
pub fn presented(headers: &HeaderMap) -> Presented {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Presented::None,
        (Some(one), None) => Presented::from_header(Some(one.as_bytes())),
        // Which of two would count depends on who reads; nobody gets to choose.
        (Some(_), Some(_)) => Presented::Malformed,
    }
}

/// The client, for the audit log and the session list.
#[derive(Debug, Clone)]
pub struct Origin(pub ClientOrigin);

impl FromRequestParts<ApiState> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Self::Rejection> {
        let ip: Option<IpAddr> = parts.extensions.get::<ClientIp>().map(|ip| ip.address);
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self(ClientOrigin::new(ip, agent)))
    }
}

/// A path parameter. One that is not UTF-8 is a 400 in our form.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<ApiState> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| Problem::malformed("a part of the path cannot be decoded"))
    }
}

/// Reads an identifier from a path or query.
///
/// # Errors
/// 400 when it is no UUID.
pub fn id<T: FromStr>(name: &'static str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::bad_parameter(name, "must be a UUID"))
}

/// A request body that was not read yet, so that a refusal comes before it.
pub struct Body {
    headers: HeaderMap,
    body: axum::body::Body,
    limit_bytes: usize,
}

impl FromRequest<ApiState> for Body {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Self::Rejection> {
        let (parts, body) = request.into_parts();
        Ok(Self::new(parts.headers, body, state.settings.json_body_bytes))
    }
}

impl Body {
    pub fn new(headers: HeaderMap, body: axum::body::Body, limit_bytes: usize) -> Self {
        Self { headers, body, limit_bytes }
    }

    /// The bytes as they are.
    pub async fn bytes(self) -> Result<Bytes, Problem> {
        self.read().await.map(|(bytes, _)| bytes)
    }

    /// The JSON object of the body.
    pub async fn fields(self) -> Result<Fields, Problem> {
        let (bytes, is_json) = self.read().await?;
        if !is_json {
            return Err(Problem::unsupported_media_type());
        }
        Fields::parse(&bytes)
    }

    /// The same, where a missing body means an empty object.
    pub async fn optional_fields(self) -> Result<Fields, Problem> {
        let (bytes, is_json) = self.read().await?;
        if bytes.is_empty() {
            return Ok(Fields::empty());
        }
        if !is_json {
            return Err(Problem::unsupported_media_type());
        }
        Fields::parse(&bytes)
    }

    async fn read(self) -> Result<(Bytes, bool), Problem> {
        let declared = self.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        if declared.is_some_and(|length| length > self.limit_bytes) {
            return Err(Problem::too_large(self.limit_bytes));
        }
        let is_json = is_json(&self.headers);
        match Limited::new(self.body, self.limit_bytes).collect().await {
            Ok(collected) => Ok((collected.to_bytes(), is_json)),
            Err(error) if error.is::<LengthLimitError>() => Err(Problem::too_large(self.limit_bytes)),
            Err(_) => Err(Problem::malformed("the body broke off")),
        }
    }
}

/// `application/json` or a `+json` type; without a type we take the sender's word.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let Ok(text) = value.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The members of a JSON object; collects everything wrong with them.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    fn empty() -> Self {
        Self { object: Map::new(), problems: Vec::new() }
    }

    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        if is_deeper_than(bytes, MAX_DEPTH) {
            return Err(Problem::malformed(format!("the body is nested deeper than {MAX_DEPTH} levels")));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| {
            // Line and column only: the message of the parser may quote the body.
            Problem::malformed(format!("the body is not JSON (line {}, column {})", error.line(), error.column()))
        })?;
        match value {
            Value::Object(object) => Ok(Self { object, problems: Vec::new() }),
            _ => Err(Problem::unprocessable(vec![FieldProblem {
                place: super::problem::Place::Pointer(String::new()),
                code: "validation_failed",
                message: "the body must be an object".into(),
            }])),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// A member as it was sent.
    pub fn raw(&self, name: &str) -> Option<&Value> {
        self.object.get(name)
    }

    /// Whether something was wrong so far.
    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// A text of blanks only.
    pub fn is_blank(&self, name: &str) -> bool {
        self.object.get(name).and_then(Value::as_str).is_some_and(|text| text.trim().is_empty())
    }

    /// A text that must be there and not be blank.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let text = self.string(name, true)?;
        let text = text.trim();
        if text.is_empty() {
            self.report(name, "must not be blank");
            return None;
        }
        self.plain(name, text)
    }

    /// A text that may be absent, null or blank.
    pub fn optional_text(&mut self, name: &'static str) -> Option<String> {
        let text = self.string(name, false)?;
        let text = text.trim();
        if text.is_empty() { None } else { self.plain(name, text) }
    }

    /// An optional text for people to read, with line breaks and tabs.
    pub fn prose(&mut self, name: &'static str) -> Option<String> {
        let text = self.string(name, false)?;
        let text = text.trim();
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            self.report(name, "must not contain control characters");
            return None;
        }
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A text kept exactly as it is; must be there.
    pub fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let text = self.string(name, true)?;
        if text.is_empty() {
            self.report(name, "must not be empty");
            return None;
        }
        Some(Secret::new(text))
    }

    /// The same, absent allowed.
    pub fn optional_secret(&mut self, name: &'static str) -> Option<Secret> {
        self.string(name, false).filter(|text| !text.is_empty()).map(Secret::new)
    }

    /// A member of a PATCH: absent = leave, `Some(None)` = clear.
    pub fn patch_text(&mut self, name: &'static str) -> Option<Option<String>> {
        match self.object.get(name)? {
            Value::Null => Some(None),
            Value::String(text) => Some(Some(text.clone())),
            _ => {
                self.report(name, "must be a string or null");
                None
            }
        }
    }

    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        match self.object.get(name)? {
            Value::Null => None,
            Value::Bool(flag) => Some(*flag),
            _ => {
                self.report(name, "must be true or false");
                None
            }
        }
    }

    /// A whole number; null counts as absent, so ask [`Fields::is_null`] where it means something.
    pub fn number(&mut self, name: &'static str) -> Option<i64> {
        match self.object.get(name)? {
            Value::Null => None,
            Value::Number(number) if number.is_i64() => number.as_i64(),
            _ => {
                self.report(name, "must be a whole number");
                None
            }
        }
    }

    pub fn is_null(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(Value::is_null)
    }

    /// An identifier that may be absent or null.
    pub fn id<T: FromStr>(&mut self, name: &'static str) -> Option<T> {
        let text = self.optional_text(name)?;
        let id = text.parse().ok();
        if id.is_none() {
            self.report(name, "must be a UUID");
        }
        id
    }

    /// A list of strings that must be there.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        let list = match self.object.get(name) {
            Some(Value::Array(list)) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            Some(_) => None,
            None => {
                self.report(name, "is required");
                return None;
            }
        };
        if list.is_none() {
            self.report(name, "must be a list of strings");
        }
        list
    }

    /// A word of an enumeration; unknown ones are a fault.
    pub fn word<T: std::str::FromStr>(&mut self, name: &'static str) -> Option<T> {
        let text = self.optional_text(name)?;
        let word = text.parse().ok();
        if word.is_none() {
            self.report(name, "is not one of the known words");
        }
        word
    }

    /// An object inside, with its own faults reported below `name`.
    pub fn object(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        match self.object.get(name)? {
            Value::Null => None,
            Value::Object(object) => Some(object.clone()),
            _ => {
                self.report(name, "must be an object");
                None
            }
        }
    }

    /// Takes the value of a rule or notes how it was broken.
    pub fn rule<T>(&mut self, outcome: Result<T, RuleBreak>) -> Option<T> {
        outcome.map_err(|broken| self.problems.push(broken.into())).ok()
    }

    pub fn report(&mut self, name: &str, message: impl Into<String>) {
        self.problem(FieldProblem::in_body(name, "validation_failed", message));
    }

    pub fn problem(&mut self, problem: FieldProblem) {
        self.problems.push(problem);
    }

    /// 422 with everything that was noted, if anything was.
    pub fn finish(self) -> Result<(), Problem> {
        if self.problems.is_empty() { Ok(()) } else { Err(Problem::unprocessable(self.problems)) }
    }

    fn string(&mut self, name: &'static str, is_required: bool) -> Option<String> {
        match self.object.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            None | Some(Value::Null) => {
                if is_required {
                    self.report(name, "is required");
                }
                None
            }
            Some(_) => {
                self.report(name, "must be a string");
                None
            }
        }
    }

    fn plain(&mut self, name: &'static str, text: &str) -> Option<String> {
        if text.chars().any(char::is_control) {
            self.report(name, "must not contain control characters");
            return None;
        }
        Some(text.to_owned())
    }
}

/// An ecosystem as `/v1` names it; `bun` is another word for npm (control-plane.md §1.1).
pub fn ecosystem(word: &str) -> Option<Ecosystem> {
    if word.trim().eq_ignore_ascii_case("bun") { Some(Ecosystem::Npm) } else { word.parse().ok() }
}

/// Whether brackets outside strings are nested deeper than `limit`; looks at each byte once.
fn is_deeper_than(json: &[u8], limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            (true, _) => {}
            (false, b'"') => in_string = true,
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            (false, _) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n)).into_bytes();
        assert!(!is_deeper_than(&nested(64), 64) && is_deeper_than(&nested(65), 64));
        assert!(!is_deeper_than(format!("\"{}\"", "[\\\"".repeat(200)).as_bytes(), 64));
        assert!(!is_deeper_than("[],".repeat(200).as_bytes(), 64));
    }

    #[test]
    fn every_fault_of_a_body_is_collected() {
        let mut fields =
            Fields::parse(br#"{"a": 5, "b": "  ", "c": "x\u0000", "d": [1], "e": "yes", "f": 1.5}"#).unwrap();
        assert!(fields.text("a").is_none() && fields.text("b").is_none() && fields.text("c").is_none());
        assert!(fields.texts("d").is_none() && fields.flag("e").is_none() && fields.number("f").is_none());
        assert!(fields.text("missing").is_none() && fields.optional_text("missing").is_none());
        assert_eq!(fields.problems.len(), 7);
        let problem = fields.finish().unwrap_err();
        assert_eq!((problem.status().as_u16(), problem.code()), (422, "validation_failed"));
    }

    #[test]
    fn only_json_types_are_json() {
        let of = |text: &str| is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, text.parse().unwrap())]));
        assert!(of("application/json") && of("Application/JSON; charset=utf-8") && of("application/merge-patch+json"));
        assert!(!of("text/plain") && !of("application/x-www-form-urlencoded") && !of("text/json") && !of("json"));
        assert!(is_json(&HeaderMap::new()));
    }
}
