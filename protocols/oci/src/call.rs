//! One request on its way through this adapter: who asks, how far they may, and where answers point.
//!
//! Two questions are kept apart: what the caller's rights allow, which the registry decides, and what
//! their bearer token names. A token that names too little is a 401 that says what to ask for; rights
//! that do not reach are 404 or 403 (oci.md §9).

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts};
use publaryn_auth::Presented;
use publaryn_core::{Decision, PackageName, Principal, RegistryError, Timestamp, UploadId, audit::ClientOrigin};
use publaryn_protocol::BaseUrl;
use publaryn_registry::{
    Registry,
    identity::OciCaller,
    oci::{OciRepository, Standing},
};
use serde_json::json;

use crate::{ALIAS_MOUNT, error::OciError, name, route::Route};

pub(crate) type Answer = Result<Response, OciError>;

/// What clients repeat as `service=`; must not hold the words basic or bearer.
pub(crate) const SERVICE: &str = "publaryn";
/// For how long an upload may go on with the token it was begun with, though that has ended.
const UPLOAD_GRACE: Duration = Duration::from_secs(24 * 3600);

/// What a route does with a repository, in the words of token scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    /// Actions of which any one in a token will do.
    const fn accepted(self) -> &'static [&'static str] {
        match self {
            Self::Pull => &["pull", "*"],
            Self::Push => &["push", "*"],
            // Clients that delete ask for whatever their authors thought of.
            Self::Delete => &["delete", "push", "*"],
        }
    }
    /// What a client without a token is told to ask for.
    const fn asked(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete",
        }
    }
}

/// A request whose caller is known.
pub(crate) struct Call {
    pub registry: Registry,
    caller: OciCaller,
    pub headers: HeaderMap,
    pub uri: Uri,
    pub is_head: bool,
    mount: &'static str,
}

/// Who sent a request, as far as logins are slowed down by it.
pub(crate) fn origin(parts: &Parts) -> ClientOrigin {
    match parts.extensions.get::<ClientOrigin>() {
        Some(origin) => origin.clone(),
        None => ClientOrigin::new(None, parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok())),
    }
}

impl Call {
    /// # Errors
    /// 401 with a challenge for a credential that does not hold, on open repositories too.
    pub async fn authenticate(registry: Registry, mount: &'static str, parts: Parts) -> Result<Self, OciError> {
        let presented = Presented::from_header(parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes));
        let caller = registry.identity().oci_caller(&presented, &origin(&parts)).await;
        let is_head = parts.method == http::Method::HEAD;
        let (headers, uri) = (parts.headers, parts.uri);
        match caller {
            Ok(caller) => Ok(Self { registry, caller, headers, uri, is_head, mount }),
            Err(error @ RegistryError::BadCredential(_)) => {
                let challenge = challenge(&realm(&registry, mount, &headers), None, Some("invalid_token"));
                Err(OciError::from(error).with(header::WWW_AUTHENTICATE, &challenge))
            }
            Err(other) => Err(other.into()),
        }
    }

    pub fn who(&self) -> &Principal {
        &self.caller.who
    }

    /// A header's text.
    pub fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The values of a query parameter, decoded.
    pub fn query(&self, name: &str) -> impl Iterator<Item = String> {
        let query = self.uri.query().unwrap_or_default().as_bytes();
        let pairs: Vec<String> = url::form_urlencoded::parse(query)
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect();
        pairs.into_iter()
    }

    /// `/v2/…` or `/oci/v2/…`, as the client sees it: what every `Location` and `Link` starts with.
    pub fn place(&self, rest: &str) -> String {
        format!("{}/{rest}", visible_mount(&self.registry, self.mount, &self.headers))
    }

    /// Clients learn from this alone whether and how to log in, so it never answers 200 to nobody.
    pub fn ping(&self) -> Answer {
        if !self.caller.is_known {
            return Err(self.unauthorized(None, None));
        }
        let mut response = json!({}).to_string().into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    /// # Errors
    /// 401 for callers without any credential, for what is not about one repository; and for whoever has a token of
    /// nobody's where reading needs a login.
    pub fn require_known(&self, scope: &str) -> Result<(), OciError> {
        let is_nobody = self.who().is_anonymous() && self.registry.settings().require_login;
        if self.caller.is_known && !is_nobody { Ok(()) } else { Err(self.unauthorized(Some(scope.to_owned()), None)) }
    }

    /// A token that has ended is still good for the upload it began: the client of a long upload cannot
    /// renew it in the middle.
    pub async fn refuse_expired(&self, route: &Route) -> Result<(), OciError> {
        if !self.caller.is_expired {
            return Ok(());
        }
        if let Route::Upload { name, id } = route
            && let (Ok(name), Ok(id)) = (name::addressed(name), id.parse::<UploadId>())
            && let Some(upload) = self.registry.oci_upload(self.who(), &name, id).await?
            && Timestamp::now().since(upload.begun) < UPLOAD_GRACE
        {
            return Ok(());
        }
        Err(self.unauthorized(None, Some("invalid_token")))
    }

    pub async fn repository(&self, name: &PackageName) -> Result<OciRepository, OciError> {
        Ok(self.registry.oci_repository(self.who(), name).await?)
    }

    /// The repository of a read. Its content may still be missing: a caller who could make it is told so
    /// piece by piece.
    ///
    /// # Errors
    /// 401 for nobody and for tokens that name too little, 404 `NAME_UNKNOWN` for the rest.
    pub async fn readable(&self, raw_name: &str) -> Result<OciRepository, OciError> {
        let name = name::addressed(raw_name)?;
        if self.who().is_anonymous() && self.registry.settings().require_login {
            return Err(self.needs(&name, Action::Pull, None));
        }
        let repository = self.repository(&name).await?;
        match repository.reads() {
            Standing::Allowed => self.require_named(&name, Action::Pull)?,
            Standing::Missing => {}
            Standing::Refused(_) if self.who().is_anonymous() => {
                // To whoever holds an anonymous token: docker then says "access denied" and how to log in.
                let error = self.caller.is_known.then_some("insufficient_scope");
                return Err(self.needs(&name, Action::Pull, error));
            }
            Standing::Refused(Decision::Denied(denial)) => {
                return Err(RegistryError::Denied(denial.clone()).into());
            }
            Standing::Refused(_) => return Err(OciError::name_unknown()),
        }
        Ok(repository)
    }

    /// A blob that is not there for this caller. Who presented no credential at all may only not have
    /// said that they are its publisher, who would see it; clients then come again with one.
    pub fn missing_blob(&self, repository: &OciRepository) -> OciError {
        if self.caller.is_known {
            OciError::blob_unknown()
        } else {
            let scope = format!("repository:{}:{}", repository.name(), Action::Pull.asked());
            self.unauthorized(Some(scope), None)
        }
    }

    /// The repository of a push.
    ///
    /// # Errors
    /// 401 for nobody and for tokens that name too little, 404 where it is hidden, 403 where it is not theirs.
    pub async fn pushable(&self, raw_name: &str) -> Result<OciRepository, OciError> {
        let name = name::addressed(raw_name)?;
        if self.who().is_anonymous() {
            return Err(self.needs(&name, Action::Push, None));
        }
        name::check_pushed(&name)?;
        let repository = self.repository(&name).await?;
        match repository.writes() {
            Standing::Allowed | Standing::Missing => self.require_named(&name, Action::Push)?,
            Standing::Refused(Decision::Denied(denial)) => {
                return Err(RegistryError::Denied(denial.clone()).into());
            }
            Standing::Refused(Decision::Unauthenticated) => return Err(self.needs(&name, Action::Push, None)),
            Standing::Refused(_) => return Err(OciError::name_unknown()),
        }
        Ok(repository)
    }

    /// The name of a delete, which the registry decides itself.
    pub fn deletable(&self, raw_name: &str) -> Result<PackageName, OciError> {
        let name = name::addressed(raw_name)?;
        if self.who().is_anonymous() {
            return Err(self.needs(&name, Action::Delete, None));
        }
        self.require_named(&name, Action::Delete)?;
        Ok(name)
    }

    fn require_named(&self, name: &PackageName, action: Action) -> Result<(), OciError> {
        let Some(access) = &self.caller.access else { return Ok(()) };
        let names_it = access.iter().any(|resource| {
            resource.kind == "repository"
                && resource.name == name.canonical()
                && action.accepted().iter().any(|word| resource.has(word))
        });
        if names_it { Ok(()) } else { Err(self.needs(name, action, Some("insufficient_scope"))) }
    }

    fn needs(&self, name: &PackageName, action: Action, error: Option<&str>) -> OciError {
        self.unauthorized(Some(format!("repository:{name}:{}", action.asked())), error)
    }

    fn unauthorized(&self, scope: Option<String>, error: Option<&str>) -> OciError {
        let realm = realm(&self.registry, self.mount, &self.headers);
        OciError::from(RegistryError::Unauthenticated)
            .with(header::WWW_AUTHENTICATE, &challenge(&realm, scope.as_deref(), error))
    }
}

fn challenge(realm: &str, scope: Option<&str>, error: Option<&str>) -> String {
    let mut text = format!("Bearer realm=\"{realm}\",service=\"{SERVICE}\"");
    if let Some(scope) = scope {
        text.push_str(&format!(",scope=\"{scope}\""));
    }
    if let Some(error) = error {
        text.push_str(&format!(",error=\"{error}\""));
    }
    text
}

/// The mount with the path prefix of the public URL, which belongs to the alias only: no client puts one
/// before `/v2`.
fn visible_mount(registry: &Registry, mount: &'static str, headers: &HeaderMap) -> String {
    if mount != ALIAS_MOUNT {
        return mount.to_owned();
    }
    let base = BaseUrl::of(registry, headers);
    format!("{}{mount}", Address::of(base.as_str()).path)
}

/// The absolute address of the token endpoint.
fn realm(registry: &Registry, mount: &'static str, headers: &HeaderMap) -> String {
    let base = BaseUrl::of(registry, headers);
    let base = Address::of(base.as_str());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    // go-containerregistry refuses a realm on another private address than the one it was given.
    let authority = host.filter(|host| is_loopback_alias(host, base.authority)).unwrap_or(base.authority);
    format!("{}://{authority}{}/token", base.scheme, visible_mount(registry, mount, headers))
}

/// A URL in its parts.
#[derive(Debug, PartialEq, Eq)]
struct Address<'a> {
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
}

impl<'a> Address<'a> {
    fn of(url: &'a str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Self { scheme, authority, path: path.trim_end_matches('/') }
    }
}

/// Both are this machine, under whatever name, at the same port.
fn is_loopback_alias(host: &str, authority: &str) -> bool {
    let parts = |text: &str| -> Option<String> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => (name, port),
            _ => (text, ""),
        };
        matches!(name, "localhost" | "127.0.0.1" | "[::1]").then(|| port.to_owned())
    };
    matches!((parts(host), parts(authority)), (Some(a), Some(b)) if a == b)
}

/// An empty answer with these headers.
pub(crate) fn empty(status: StatusCode, headers: &[(header::HeaderName, &str)]) -> Response {
    let mut response = status.into_response();
    insert(response.headers_mut(), headers);
    response
}

/// Puts texts into headers; one that no header can hold is left out.
pub(crate) fn insert(into: &mut HeaderMap, headers: &[(header::HeaderName, &str)]) {
    for (name, text) in headers {
        if let Ok(value) = HeaderValue::from_str(text) {
            into.insert(name.clone(), value);
        }
    }
}

pub(crate) const CONTENT_DIGEST: header::HeaderName = header::HeaderName::from_static("docker-content-digest");

/// A `Warning` header's value (RFC 7234 §5.5); what it cannot hold becomes a space.
pub(crate) fn warning(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if (' '..='~').contains(&c) && !matches!(c, '"' | '\\') { c } else { ' ' }).collect();
    format!("299 - \"{plain}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart() {
        let of = Address::of;
        assert_eq!(of("http://h:1"), Address { scheme: "http", authority: "h:1", path: "" });
        assert_eq!(of("https://h/a/b/"), Address { scheme: "https", authority: "h", path: "/a/b" });
    }

    #[test]
    fn only_other_names_of_this_machine_replace_the_realm() {
        for (host, authority, wanted) in [
            ("localhost:5000", "127.0.0.1:5000", true),
            ("[::1]:5000", "localhost:5000", true),
            ("127.0.0.1:5000", "127.0.0.1:5000", true),
            ("127.0.0.1:5001", "127.0.0.1:5000", false),
            ("evil:5000", "127.0.0.1:5000", false),
            ("localhost:5000", "registry.example.com", false),
            ("localhost", "127.0.0.1", true),
        ] {
            assert_eq!(is_loopback_alias(host, authority), wanted, "{host} {authority}");
        }
    }

    #[test]
    fn challenges_are_one_line_of_quoted_pairs() {
        assert_eq!(
            challenge("http://h/v2/token", Some("repository:a/b:pull,push"), Some("insufficient_scope")),
            "Bearer realm=\"http://h/v2/token\",service=\"publaryn\",scope=\"repository:a/b:pull,push\",error=\"insufficient_scope\""
        );
        assert_eq!(warning("a \"b\"\nc\\ä"), "299 - \"a  b  c  \"");
    }
}
