//! The portal's refresh cookie (shared/README.md, portal session).
//!
//! `HttpOnly` keeps it from scripts, `SameSite=Strict` and the demanded request header from other
//! sites, and the path from every route but `/v1/auth`.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use publaryn_auth::Secret;

use super::ApiSettings;

const NAME: &str = "publaryn_refresh";
/// Browsers do not let other sites send it without asking this server first.
const PORTAL_HEADER: &str = "x-publaryn-portal";

/// The refresh token of the portal, if the request may use it.
pub fn read(headers: &HeaderMap) -> Option<Secret> {
    if headers.get(PORTAL_HEADER).is_none_or(|value| value != "1") {
        return None;
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, value)| *name == NAME && !value.is_empty()).map(|(_, value)| Secret::new(value))
}

/// `Set-Cookie` that hands the token to the browser.
pub fn set(settings: &ApiSettings, token: &Secret, max_age: Duration) -> Option<HeaderValue> {
    let text = format!("{NAME}={}; Max-Age={}{}", token.expose(), max_age.as_secs(), attributes(settings));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `Set-Cookie` that takes it away.
pub fn clear(settings: &ApiSettings) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{NAME}=; Max-Age=0{}", attributes(settings))).ok()
}

fn attributes(settings: &ApiSettings) -> String {
    let (scheme, rest) = settings.base_url.split_once("://").unwrap_or(("http", &settings.base_url));
    let prefix = rest.find('/').map_or("", |at| rest[at..].trim_end_matches('/'));
    let secure = if scheme.eq_ignore_ascii_case("https") { "; Secure" } else { "" };
    format!("; Path={prefix}/v1/auth; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_cookie_counts_only_with_the_portals_header() {
        let cookie = ("cookie", "other=1; publaryn_refresh=abc; x=y");
        assert_eq!(read(&headers(&[cookie, ("x-publaryn-portal", "1")])).unwrap().expose(), "abc");
        assert!(read(&headers(&[cookie])).is_none());
        assert!(read(&headers(&[cookie, ("x-publaryn-portal", "0")])).is_none());
        assert!(read(&headers(&[("cookie", "publaryn_refresh="), ("x-publaryn-portal", "1")])).is_none());
    }

    #[test]
    fn the_cookie_is_limited_to_the_auth_routes_of_this_server() {
        let of = |base_url: &str| {
            let settings = ApiSettings { base_url: base_url.into(), ..ApiSettings::default() };
            set(&settings, &Secret::new("t"), Duration::from_secs(60)).unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(
            of("http://127.0.0.1:3000"),
            "publaryn_refresh=t; Max-Age=60; Path=/v1/auth; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            of("https://example.com/packages/"),
            "publaryn_refresh=t; Max-Age=60; Path=/packages/v1/auth; HttpOnly; SameSite=Strict; Secure"
        );
    }
}
