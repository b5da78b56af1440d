//! URLs and hosts: of this server, of its services, and of those it trusts.

use std::{fmt, net::IpAddr, path::PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use url::{Host, Url};

use crate::value::{Raw, Refusal, Setting};

/// The public address of this server, without a final slash; may carry a path prefix.
///
/// Every absolute URL in an answer is made with [`BaseUrl::join`], never from the `Host` header.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// `https://packages.example.com/prefix`, without a final slash.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The absolute URL of `path`, which starts below the prefix; a leading slash is optional.
    ///
    /// `path` is taken as it is: the caller encodes its segments.
    pub fn join(&self, path: &str) -> String {
        format!("{}/{}", self.as_str(), path.trim_start_matches('/'))
    }

    /// `host[:port]` as clients write it; default ports are left out.
    pub fn authority(&self) -> &str {
        &self.0[url::Position::BeforeHost..url::Position::AfterPort]
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// `scheme://host[:port]`.
    pub fn origin(&self) -> &str {
        &self.0[..url::Position::AfterPort]
    }

    /// The path prefix, empty or `/like/this`.
    pub fn prefix(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host is this machine: `localhost`, `*.localhost` or a loopback address.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Setting for BaseUrl {
    const EXPECTS: &'static str = "a URL such as https://packages.example.com";

    fn parse_text(text: &str) -> Result<Self, Refusal> {
        let url = http_url(text)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::because("must not carry credentials"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Refusal::because("must not carry a query or fragment"));
        }
        if url.path().contains("//") {
            return Err(Refusal::because("must not have empty path segments"));
        }
        Ok(Self(url))
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// The http(s) address of a service; a password in it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

impl HttpUrl {
    pub fn url(&self) -> &Url {
        &self.0
    }
    /// The text, possibly with a password, without a final slash.
    pub fn expose(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl Setting for HttpUrl {
    const EXPECTS: &'static str = "an http:// or https:// URL";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        http_url(text).map(Self)
    }
    fn show(&self) -> Option<String> {
        Some(without_password(&self.0))
    }
}

/// `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(Url);

impl RedisUrl {
    /// The text, possibly with a password.
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl Setting for RedisUrl {
    const EXPECTS: &'static str = "a URL such as redis://cache:6379";
    const FROM_FILE: bool = true;
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        let url = Url::parse(text).map_err(|_| Refusal::Unlike)?;
        if !matches!(url.scheme(), "redis" | "rediss") || url.host_str().is_none_or(str::is_empty) {
            return Err(Refusal::Unlike);
        }
        Ok(Self(url))
    }
    fn show(&self) -> Option<String> {
        Some(without_password(&self.0))
    }
}

/// Where the metadata lives.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file of this machine.
    Sqlite(PathBuf),
    /// A PostgreSQL server, 14 or later.
    Postgres(PostgresUrl),
}

/// A `postgres://` URL; its password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(Url);

/// What would be read as something else in the path of an `sqlite:` URL.
const SQLITE_PATH: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

impl DatabaseUrl {
    /// The text the database driver takes, possibly with a password.
    pub fn expose(&self) -> String {
        match self {
            Self::Sqlite(path) => {
                format!("sqlite://{}", utf8_percent_encode(&path.to_string_lossy(), SQLITE_PATH))
            }
            Self::Postgres(url) => url.0.to_string(),
        }
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(_) => f.write_str(&self.expose()),
            Self::Postgres(url) => f.write_str(&without_password(&url.0)),
        }
    }
}

impl Setting for DatabaseUrl {
    const EXPECTS: &'static str = "sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE";
    const FROM_FILE: bool = true;

    fn parse_text(text: &str) -> Result<Self, Refusal> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.contains(['?', '#']) {
                return Err(Refusal::because("an sqlite URL takes no options"));
            }
            let path = percent_decode_str(path).decode_utf8().map_err(|_| Refusal::Unlike)?;
            if path.is_empty() || path.contains('\0') {
                return Err(Refusal::Unlike);
            }
            if path.contains(":memory:") {
                return Err(Refusal::because("an in-memory database loses acknowledged writes"));
            }
            return Ok(Self::Sqlite(path.into_owned().into()));
        }
        let url = Url::parse(text).map_err(|_| Refusal::Unlike)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(Refusal::Unlike);
        }
        // A socket directory may stand in the query instead: postgres:///name?host=/run/postgresql.
        let has_host = url.host_str().is_some_and(|h| !h.is_empty()) || url.query_pairs().any(|(k, _)| k == "host");
        if has_host { Ok(Self::Postgres(PostgresUrl(url))) } else { Err(Refusal::Unlike) }
    }

    fn show(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

/// A browser origin that may read answers: exactly `http(s)://host[:port]`, in the browser's spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CorsOrigin(String);

impl CorsOrigin {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for CorsOrigin {
    const EXPECTS: &'static str = "an origin such as https://app.example.com";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        if text.contains('*') {
            return Err(Refusal::because("a wildcard origin is not allowed, list every origin"));
        }
        let url = http_url(text)?;
        let after_scheme = text.split_once("://").map_or("", |(_, rest)| rest);
        if after_scheme.contains(['/', '?', '#', '@', '\\']) {
            return Err(Refusal::Because(format!(
                "the origin {} must not have a path, query or credentials",
                Raw::Text(text.to_owned())
            )));
        }
        Ok(Self(url.origin().ascii_serialization()))
    }
    fn show(&self) -> Option<String> {
        Some(self.0.clone())
    }
}

/// `host:port` of a service without a URL scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Setting for HostPort {
    const EXPECTS: &'static str = "host:port such as clamd:3310";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        let (host, port) = text.rsplit_once(':').ok_or(Refusal::Unlike)?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(Refusal::Unlike)?;
        Host::parse(host).map_err(|_| Refusal::Unlike)?;
        Ok(Self { host: host.to_owned(), port })
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// An OpenID issuer whose tokens may be exchanged for publishing rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcIssuer {
    /// The exact text of the `iss` claim.
    pub issuer: String,
    /// Where its keys are, when discovery is not to be used.
    pub jwks_url: Option<HttpUrl>,
}

impl Setting for OidcIssuer {
    const EXPECTS: &'static str = "an issuer URL, or a table { issuer, jwks_url }";

    fn parse_text(text: &str) -> Result<Self, Refusal> {
        trusted_url(text)?;
        Ok(Self { issuer: text.to_owned(), jwks_url: None })
    }

    fn parse(raw: &Raw) -> Result<Self, Refusal> {
        let table = match raw {
            Raw::Text(text) => return Self::parse_text(text),
            Raw::List(_) => return Err(Refusal::Unlike),
            Raw::Table(table) => table,
        };
        if let Some(other) = table.keys().find(|key| !matches!(key.as_str(), "issuer" | "jwks_url")) {
            return Err(Refusal::Because(format!("unknown member `{other}`, an issuer has `issuer` and `jwks_url`")));
        }
        let text = |key: &str| match table.get(key) {
            None => Ok(None),
            Some(Raw::Text(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(Refusal::Because(format!("`{key}` must be a text"))),
        };
        let issuer = text("issuer")?.ok_or_else(|| Refusal::because("an issuer without `issuer`"))?;
        let jwks_url = text("jwks_url")?.map(trusted_url).transpose()?.map(HttpUrl);
        Ok(Self { jwks_url, ..Self::parse_text(issuer)? })
    }

    fn show(&self) -> Option<String> {
        Some(match &self.jwks_url {
            Some(url) => format!("{} (keys at {})", self.issuer, without_password(&url.0)),
            None => self.issuer.clone(),
        })
    }
}

/// Keys decide who may publish: over plain http they may only come from this machine.
fn trusted_url(text: &str) -> Result<Url, Refusal> {
    let url = http_url(text)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(Refusal::Because(format!("{} must use https", Raw::Text(text.to_owned()))));
    }
    Ok(url)
}

fn http_url(text: &str) -> Result<Url, Refusal> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Refusal::Unlike);
    }
    // `localhost:3000` would parse as the scheme `localhost`, `http:/x` as the host `x`.
    if !text.contains("://") {
        return Err(Refusal::because("has no scheme, write https://… or http://…"));
    }
    let url = Url::parse(text).map_err(|_| Refusal::Unlike)?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(Refusal::Because(format!("the scheme must be http or https, not {other}"))),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        None => false,
    }
}

/// The URL with `***` for its password, and for query values that could be one.
fn without_password(url: &Url) -> String {
    let mut shown = url.clone();
    if shown.password().is_some() {
        // Fails only for URLs without a host, and those have no password.
        let _ = shown.set_password(Some("***"));
    }
    if url.query_pairs().any(|(key, _)| key.contains("password")) {
        shown.set_query(Some("***"));
    }
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_url_parts() {
        let url = BaseUrl::parse_text("https://Packages.Example.com:443/registry/").unwrap();
        assert_eq!(url.as_str(), "https://packages.example.com/registry");
        assert_eq!(url.join("/v1/search"), "https://packages.example.com/registry/v1/search");
        assert_eq!((url.authority(), url.prefix()), ("packages.example.com", "/registry"));
        assert_eq!(url.origin(), "https://packages.example.com");
        let plain = BaseUrl::parse_text("http://127.0.0.1:3000").unwrap();
        assert_eq!((plain.as_str(), plain.prefix()), ("http://127.0.0.1:3000", ""));
        assert_eq!(plain.join("npm"), "http://127.0.0.1:3000/npm");
        assert!(plain.is_loopback() && !url.is_loopback());
        assert!(BaseUrl::parse_text("http://[::ffff:127.0.0.1]/").unwrap().is_loopback());
        assert!(!BaseUrl::parse_text("http://127.0.0.1.example.com/").unwrap().is_loopback());
    }

    #[test]
    fn cors_origins_take_the_spelling_of_browsers() {
        assert_eq!(CorsOrigin::parse_text("https://App.example.com:443").unwrap().as_str(), "https://app.example.com");
        assert_eq!(CorsOrigin::parse_text("http://localhost:5173").unwrap().as_str(), "http://localhost:5173");
        for bad in [
            "*",
            "https://*.example.com",
            "https://a.com/",
            "https://a.com/x",
            "https://a.com?x",
            "https://u@a.com",
            "ftp://a.com",
            "a.com",
            "null",
            "https://",
        ] {
            assert!(CorsOrigin::parse_text(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn database_urls_round_trip_through_the_driver_spelling() {
        for path in ["data/publaryn.db", "/var/lib/a b/50%.db", "/odd?#.db"] {
            let url = DatabaseUrl::Sqlite(path.into());
            assert_eq!(DatabaseUrl::parse_text(&url.expose()).unwrap(), url);
        }
        for bad in ["mysql://h/d", "sqlite:", "sqlite://x.db?mode=ro", "sqlite::memory:", "postgres:///db", "data.db"] {
            assert!(DatabaseUrl::parse_text(bad).is_err(), "{bad} was accepted");
        }
        assert!(DatabaseUrl::parse_text("postgres:///db?host=/run/postgresql").is_ok());
    }

    #[test]
    fn passwords_in_urls_are_not_shown() {
        let database = DatabaseUrl::parse_text("postgres://u:hunter2@db/x").unwrap();
        let redis = RedisUrl::parse_text("redis://:hunter2@cache/0").unwrap();
        let query = DatabaseUrl::parse_text("postgres://db/x?user=u&password=hunter2").unwrap();
        for shown in [format!("{database:?}"), format!("{redis:?}"), database.show().unwrap(), query.show().unwrap()] {
            assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
        }
        assert!(database.expose().contains("hunter2"));
    }
}
