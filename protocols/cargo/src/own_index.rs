//! Recognising our own index under every spelling a manifest may use for it.
//!
//! A dependency on this registry is stored as "same index as this line", whichever of the entry
//! points its author wrote; otherwise one build would pull the same crate twice from two sources and
//! its types would not match (cargo.md §1).

use publaryn_core::BoxError;
use url::Url;

/// Path of the anonymous entry point under the base URL.
const PLAIN: &str = "/cargo/index";
/// Path of the entry point that always asks for a token.
const AUTHENTICATED: &str = "/cargo/index/auth";

/// The addresses this registry answers under.
#[derive(Debug, Clone, Default)]
pub struct OwnIndexes {
    bases: Vec<Place>,
}

/// A URL without what does not matter: scheme, case of the host, trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: String,
    /// `None` when it is the default of the scheme, so that `http` and `https` compare equal.
    port: Option<u16>,
    path: String,
}

impl OwnIndexes {
    /// `base_urls`: the present external URL and former ones, e.g. `https://packages.example.com`.
    pub fn new<'a>(base_urls: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bases = Vec::new();
        for place in base_urls.into_iter().filter_map(Place::of) {
            if !bases.contains(&place) {
                bases.push(place);
            }
        }
        Self { bases }
    }

    /// Whether `index_url` is one of our entry points, with or without `sparse+`, over http or https.
    pub fn contains(&self, index_url: &str) -> bool {
        let Some(place) = Place::of(index_url) else { return false };
        self.bases.iter().any(|base| {
            (&base.host, base.port) == (&place.host, place.port)
                && place.path.strip_prefix(&base.path).is_some_and(|rest| matches!(rest, PLAIN | AUTHENTICATED))
        })
    }

    /// The host of one of our base URLs: plain `http` is fine there.
    fn is_own_host(&self, url: &Url) -> bool {
        url.host_str().is_some_and(|host| self.bases.iter().any(|base| base.host == host))
    }

    /// Checks that a foreign index can be handed to other people's builds.
    ///
    /// # Errors
    /// The reason, naming the URL without its credentials.
    pub fn check_foreign(&self, index_url: &str) -> Result<(), BoxError> {
        let url = parse(index_url).ok_or_else(|| format!("`{}` is not a URL", shortened(index_url)))?;
        let has_password = url.password().is_some() || (!url.username().is_empty() && url.scheme() != "ssh");
        if has_password {
            return Err("the URL carries credentials".into());
        }
        let is_loopback = match url.host() {
            Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        match url.scheme() {
            "https" | "ssh" => Ok(()),
            "http" if is_loopback || self.is_own_host(&url) => Ok(()),
            scheme => Err(format!("the scheme `{}` is not allowed", shortened(scheme)).into()),
        }
    }
}

impl Place {
    fn of(text: &str) -> Option<Self> {
        let url = parse(text)?;
        matches!(url.scheme(), "http" | "https").then_some(())?;
        Some(Self {
            host: url.host_str()?.to_owned(),
            port: url.port(),
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// Reads an index URL; cargo marks the protocol with `sparse+`, older tools the kind with `registry+`.
fn parse(text: &str) -> Option<Url> {
    let text = text.trim();
    let text = text.strip_prefix("registry+").unwrap_or(text);
    Url::parse(text.strip_prefix("sparse+").unwrap_or(text)).ok()
}

/// What may be repeated of a text that is no URL: not what could be credentials.
fn shortened(text: &str) -> String {
    let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
    shown.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_our_entry_points_is_recognised() {
        let own = OwnIndexes::new(["https://pkg.example/base", "http://127.0.0.1:3000", "https://old.example"]);
        for ours in [
            "sparse+https://pkg.example/base/cargo/index/",
            "https://pkg.example/base/cargo/index",
            "sparse+http://pkg.example/base/cargo/index/auth/",
            "sparse+https://PKG.example:443/base/cargo/index/auth",
            "sparse+http://127.0.0.1:3000/cargo/index/",
            "sparse+https://old.example/cargo/index/",
            "registry+https://old.example/cargo/index",
        ] {
            assert!(own.contains(ours), "{ours}");
        }
        for foreign in [
            "https://github.com/rust-lang/crates.io-index",
            "sparse+https://index.crates.io/",
            "sparse+https://pkg.example/cargo/index/",
            "sparse+https://pkg.example:8443/base/cargo/index/",
            "sparse+http://127.0.0.1:3001/cargo/index/",
            "sparse+https://old.example/cargo/index/other/",
            "sparse+https://old.example.evil/cargo/index/",
            "file:///cargo/index",
            "",
        ] {
            assert!(!own.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn foreign_indexes_must_be_safe_to_hand_on() {
        let own = OwnIndexes::new(["http://pkg.intern:3000"]);
        for good in [
            "https://github.com/rust-lang/crates.io-index",
            "sparse+https://index.crates.io/",
            "ssh://git@host.example/index.git",
            "sparse+http://localhost:4000/index/",
            "http://127.0.0.1/index",
            "http://[::1]:80/index",
            "sparse+http://pkg.intern:4000/other/",
        ] {
            assert!(own.check_foreign(good).is_ok(), "{good}");
        }
        for bad in [
            "file:///home/me/index",
            "sparse+file:///x",
            "http://plain.example/index",
            "https://user:secret@host.example/index",
            "https://token@host.example/index",
            "ssh://git:secret@host.example/index",
            "git://host.example/index",
            "not a url",
            "",
        ] {
            let error = own.check_foreign(bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_url_panics_or_leaks(url in "\\PC{0,60}|(sparse\\+)?(https?|ssh|file)://([a-z]{0,4}(:[a-z]{0,9})?@)?[a-z.:0-9]{0,12}/[a-z/]{0,12}") {
            let own = OwnIndexes::new(["https://pkg.example/base"]);
            own.contains(&url);
            if let (Err(error), Some((_, rest))) = (own.check_foreign(&url), url.split_once("://"))
                && let Some((credentials, _)) = rest.split_once('@')
                && let Some((_, password)) = credentials.split_once(':')
                && password.len() > 3
            {
                prop_assert!(!error.to_string().contains(password), "{}", error);
            }
        }

        #[test]
        fn ours_is_ours_in_every_spelling(sparse: bool, plain: bool, slash: bool, upper: bool, auth: bool) {
            let host = if upper { "PKG.Example" } else { "pkg.example" };
            let url = format!(
                "{}{}://{host}/base/cargo/index{}{}",
                if sparse { "sparse+" } else { "" },
                if plain { "http" } else { "https" },
                if auth { "/auth" } else { "" },
                if slash { "/" } else { "" },
            );
            prop_assert!(OwnIndexes::new(["https://pkg.example/base"]).contains(&url), "{}", url);
        }
    }
}
