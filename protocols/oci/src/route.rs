//! What a path asks for. Names may hold any segment the protocol uses, so paths are read from the right.

use percent_encoding::percent_decode_str;

use crate::error::OciError;

/// A request's target, decoded but not yet judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The mount itself: is this a registry, and who am I?
    Base,
    Token,
    Catalog,
    Tags {
        name: String,
    },
    Manifest {
        name: String,
        /// A tag, or a digest where it holds a colon.
        reference: String,
    },
    Referrers {
        name: String,
        digest: String,
    },
    StartUpload {
        name: String,
    },
    Upload {
        name: String,
        id: String,
    },
    Blob {
        name: String,
        digest: String,
    },
}

/// Longest path looked at, in bytes: a name, a digest and what lies between, all percent-encoded.
const MAX_PATH_BYTES: usize = 4096;

impl Route {
    /// Reads an undecoded path below the mount.
    ///
    /// # Errors
    /// 404 for what is no route, an encoded slash included: decoded, it would mean another name.
    pub fn parse(path: &str) -> Result<Self, OciError> {
        if path.len() > MAX_PATH_BYTES {
            return Err(OciError::no_route());
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        let segments: Vec<String> =
            path.split('/').map(decode).collect::<Option<_>>().ok_or_else(OciError::no_route)?;
        let words: Vec<&str> = segments.iter().map(String::as_str).collect();
        match words[..] {
            [] | [""] => return Ok(Self::Base),
            ["token"] => return Ok(Self::Token),
            ["_catalog"] => return Ok(Self::Catalog),
            _ => {}
        }
        let named = |before: &[&str]| {
            let is_name = !before.is_empty() && before.iter().all(|segment| !segment.is_empty());
            is_name.then(|| before.join("/"))
        };
        let route = match words[..] {
            [ref before @ .., "blobs", "uploads", ""] | [ref before @ .., "blobs", "uploads"] => {
                named(before).map(|name| Self::StartUpload { name })
            }
            [ref before @ .., "tags", "list"] => named(before).map(|name| Self::Tags { name }),
            [ref before @ .., "manifests", reference] => {
                named(before).map(|name| Self::Manifest { name, reference: reference.to_owned() })
            }
            [ref before @ .., "referrers", digest] => {
                named(before).map(|name| Self::Referrers { name, digest: digest.to_owned() })
            }
            [ref before @ .., "blobs", "uploads", id] if !id.contains(':') => {
                named(before).map(|name| Self::Upload { name, id: id.to_owned() })
            }
            [ref before @ .., "blobs", digest] => {
                named(before).map(|name| Self::Blob { name, digest: digest.to_owned() })
            }
            _ => None,
        };
        route.filter(Self::names_something).ok_or_else(OciError::no_route)
    }

    /// The route as metrics name it.
    pub fn template(&self) -> &'static str {
        match self {
            Self::Base => "/",
            Self::Token => "/token",
            Self::Catalog => "/_catalog",
            Self::Tags { .. } => "/{name}/tags/list",
            Self::Manifest { .. } => "/{name}/manifests/{reference}",
            Self::Referrers { .. } => "/{name}/referrers/{digest}",
            Self::StartUpload { .. } => "/{name}/blobs/uploads/",
            Self::Upload { .. } => "/{name}/blobs/uploads/{id}",
            Self::Blob { .. } => "/{name}/blobs/{digest}",
        }
    }

    /// The repository it is about.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Base | Self::Token | Self::Catalog => None,
            Self::Tags { name }
            | Self::Manifest { name, .. }
            | Self::Referrers { name, .. }
            | Self::StartUpload { name }
            | Self::Upload { name, .. }
            | Self::Blob { name, .. } => Some(name),
        }
    }

    fn names_something(&self) -> bool {
        match self {
            Self::Manifest { reference, .. } => !reference.is_empty(),
            Self::Referrers { digest, .. } | Self::Blob { digest, .. } => !digest.is_empty(),
            _ => true,
        }
    }
}

/// A decoded segment; `None` when it is not text, or is more than one.
fn decode(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.contains(['/', '\0'])).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(path: &str) -> Option<Route> {
        Route::parse(path).ok()
    }

    #[test]
    fn the_rightmost_words_decide() {
        let name = |name: &str| name.to_owned();
        for (path, wanted) in [
            ("", Route::Base),
            ("/", Route::Base),
            ("/token", Route::Token),
            ("/_catalog", Route::Catalog),
            ("/a/tags/list", Route::Tags { name: name("a") }),
            ("/a/tags/tags/list", Route::Tags { name: name("a/tags") }),
            ("/a/tags/list/tags/list", Route::Tags { name: name("a/tags/list") }),
            ("/a/blobs/uploads/", Route::StartUpload { name: name("a") }),
            ("/a/blobs/uploads", Route::StartUpload { name: name("a") }),
            ("/a/manifests/blobs/uploads/", Route::StartUpload { name: name("a/manifests") }),
            ("/a/blobs/uploads/blobs/uploads/", Route::StartUpload { name: name("a/blobs/uploads") }),
            ("/a/b/blobs/uploads/123", Route::Upload { name: name("a/b"), id: name("123") }),
            ("/a/b/blobs/sha256:0", Route::Blob { name: name("a/b"), digest: name("sha256:0") }),
            ("/a/b/blobs/sha256%3A0", Route::Blob { name: name("a/b"), digest: name("sha256:0") }),
            ("/a/manifests/latest", Route::Manifest { name: name("a"), reference: name("latest") }),
            ("/a/manifests/manifests/x", Route::Manifest { name: name("a/manifests"), reference: name("x") }),
            ("/a/blobs/uploads/manifests/v1", Route::Manifest { name: name("a/blobs/uploads"), reference: name("v1") }),
            ("/a/referrers/sha256:0", Route::Referrers { name: name("a"), digest: name("sha256:0") }),
            ("/token/manifests/x", Route::Manifest { name: name("token"), reference: name("x") }),
        ] {
            assert_eq!(parse(path), Some(wanted), "{path}");
        }
    }

    #[test]
    fn what_is_no_route_is_not_found() {
        for path in [
            "/a",
            "/tags/list",
            "//tags/list",
            "/a//b/tags/list",
            "/manifests/x",
            "/a%2Fb/tags/list",
            "/a/manifests/",
            "/a/blobs/",
            "/a/manifests/%ff",
            "/a/tags/list/",
            "/_catalog/",
            "/token/",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_panic(path in "(/[a-z_%:.{}\\PC]{0,12}){0,9}") {
            let _ = parse(&path);
        }

        #[test]
        fn every_name_reaches_every_route(name in "[a-z0-9]{1,5}(/(tags|list|blobs|uploads|manifests|referrers|[a-z0-9]{1,5})){0,5}") {
            let digest = "sha256:00";
            prop_assert_eq!(parse(&format!("/{name}/tags/list")), Some(Route::Tags { name: name.clone() }));
            prop_assert_eq!(parse(&format!("/{name}/blobs/uploads/")), Some(Route::StartUpload { name: name.clone() }));
            prop_assert_eq!(parse(&format!("/{name}/blobs/{digest}")), Some(Route::Blob { name: name.clone(), digest: digest.into() }));
            prop_assert_eq!(
                parse(&format!("/{name}/manifests/{digest}")),
                Some(Route::Manifest { name: name.clone(), reference: digest.into() })
            );
            let id = "0190aaaa-0000-7000-8000-000000000000";
            prop_assert_eq!(parse(&format!("/{name}/blobs/uploads/{id}")), Some(Route::Upload { name, id: id.into() }));
        }
    }
}
