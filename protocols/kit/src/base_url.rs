//! The URL that links in documents start with.

use http::{HeaderMap, header};
use publaryn_registry::Registry;
use smol_str::{SmolStr, format_smolstr};

/// An absolute URL without trailing slash, e.g. `https://packages.example.com`.
///
/// The configured `server.base_url` wins; without one, links follow the host the client used, so a
/// server that was never told its name still hands out addresses its clients can reach. Behind a proxy
/// of `server.trusted_proxies` that is what the proxy says; from anyone else the edge drops such headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(SmolStr);

/// Longest `Host` we repeat in a document.
const MAX_HOST: usize = 255;

impl BaseUrl {
    pub fn of(registry: &Registry, headers: &HeaderMap) -> Self {
        let settings = registry.settings();
        if settings.base_url_is_explicit {
            return Self(SmolStr::new(&settings.base_url));
        }
        Self(follow(headers).unwrap_or_else(|| SmolStr::new(&settings.base_url)))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Headers by which a proxy says how the client addressed it (RFC 7239, and the older ones in use). The edge
/// passes them on only from trusted proxies.
pub const PROXY_HEADERS: [&str; 4] = ["forwarded", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix"];

/// The address as the client wrote it.
fn follow(headers: &HeaderMap) -> Option<SmolStr> {
    let host = last(headers, "x-forwarded-host")
        .or_else(|| forwarded(headers, "host"))
        .filter(|host| is_plain_host(host))
        .or_else(|| headers.get(header::HOST)?.to_str().ok().filter(|host| is_plain_host(host)))?;
    let scheme = last(headers, "x-forwarded-proto").or_else(|| forwarded(headers, "proto"));
    let scheme = if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) { "https" } else { "http" };
    let prefix = last(headers, "x-forwarded-prefix").filter(|prefix| is_plain_path(prefix)).unwrap_or_default();
    Some(format_smolstr!("{scheme}://{host}{}", prefix.trim_end_matches('/')))
}

/// The last entry of a list: the one our own proxy added. Those before it are hearsay.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let list = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    list.rsplit(',').next().map(str::trim).filter(|entry| !entry.is_empty())
}

/// A parameter of the last element of `Forwarded`.
fn forwarded<'a>(headers: &'a HeaderMap, parameter: &str) -> Option<&'a str> {
    forwarded_parameter(last(headers, "forwarded")?, parameter)
}

/// A parameter of one element of `Forwarded`, without its quotes (RFC 7239 §4).
pub fn forwarded_parameter<'a>(element: &'a str, parameter: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case(parameter).then(|| value.trim().trim_matches('"'))
    })
}

/// A path that cannot break out of a URL or a JSON string, nor climb.
fn is_plain_path(path: &str) -> bool {
    path.len() <= MAX_HOST
        && path.starts_with('/')
        && !path.starts_with("//")
        && path.split('/').all(|part| !matches!(part, "." | ".."))
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~' | b'/'))
}

/// A host that cannot break out of a URL or a JSON string.
fn is_plain_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= MAX_HOST
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName};

    use super::{follow, is_plain_host};

    fn address(headers: &[(&'static str, &str)]) -> Option<String> {
        let pair = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().map(pair) {
            map.append(name, value);
        }
        follow(&map).map(String::from)
    }

    #[test]
    fn links_follow_what_the_proxy_says_the_client_wrote() {
        for (headers, wanted) in [
            (&[("host", "in:1")][..], "http://in:1"),
            (&[("host", "in:1"), ("x-forwarded-proto", "https")], "https://in:1"),
            (&[("host", "in:1"), ("x-forwarded-host", "out.test"), ("x-forwarded-proto", "HTTPS")], "https://out.test"),
            (&[("host", "in:1"), ("x-forwarded-host", "evil, out.test")], "http://out.test"),
            (&[("host", "in:1"), ("x-forwarded-host", "evil"), ("x-forwarded-host", "out.test")], "http://out.test"),
            (&[("host", "in:1"), ("x-forwarded-prefix", "/a/b/")], "http://in:1/a/b"),
            (&[("host", "in:1"), ("x-forwarded-prefix", "/a/../b")], "http://in:1"),
            (&[("host", "in:1"), ("x-forwarded-prefix", "//evil")], "http://in:1"),
            (&[("host", "in:1"), ("x-forwarded-host", "a/b")], "http://in:1"),
            (&[("host", "in:1"), ("x-forwarded-proto", "javascript")], "http://in:1"),
            (
                &[("host", "in:1"), ("forwarded", "for=1.2.3.4;proto=https;host=\"out.test:8443\"")],
                "https://out.test:8443",
            ),
            (&[("host", "in:1"), ("forwarded", "host=evil, Proto=https; Host=out.test")], "https://out.test"),
        ] {
            assert_eq!(address(headers).as_deref(), Some(wanted), "{headers:?}");
        }
        assert_eq!(address(&[]), None);
    }

    #[test]
    fn only_plain_hosts_are_repeated() {
        assert!(is_plain_host("127.0.0.1:3000") && is_plain_host("[::1]:80") && is_plain_host("a-b.example"));
        for bad in ["", "a/b", "a\"b", "a@b", "a b", "a\\b", &"a".repeat(256)] {
            assert!(!is_plain_host(bad), "{bad}");
        }
    }
}
