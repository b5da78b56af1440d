//! The URL that links in documents start with.

use http::{HeaderMap, header};
use publaryn_registry::Registry;
use smol_str::{SmolStr, format_smolstr};

/// An absolute URL without trailing slash, e.g. `https://packages.example.com`.
///
/// The configured `server.base_url` wins; without one, links follow the host the client used, so a
/// server that was never told its name still hands out addresses its clients can reach.
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
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).filter(|h| is_plain_host(h));
        Self(match host {
            Some(host) => format_smolstr!("http://{host}"),
            None => SmolStr::new(&settings.base_url),
        })
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A host that cannot break out of a URL or a JSON string.
fn is_plain_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= MAX_HOST
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::is_plain_host;

    #[test]
    fn only_plain_hosts_are_repeated() {
        assert!(is_plain_host("127.0.0.1:3000") && is_plain_host("[::1]:80") && is_plain_host("a-b.example"));
        for bad in ["", "a/b", "a\"b", "a@b", "a b", "a\\b", &"a".repeat(256)] {
            assert!(!is_plain_host(bad), "{bad}");
        }
    }
}
