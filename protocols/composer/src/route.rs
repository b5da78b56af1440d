//! What a path below the mount asks for.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What a request is about; parts are decoded but not checked. `package` is `vendor/package`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/packages.json`
    Root,
    /// `/p2/{v}/{p}.json`, `/p/{v}/{p}`
    Tagged {
        package: String,
    },
    /// `/p2/{v}/{p}~dev.json`
    Branches {
        package: String,
    },
    /// `/dist/{v}/{p}/{version}/{reference}.zip`
    Dist {
        package: String,
        version: String,
        reference: String,
    },
    /// `/files/{id}/{file}`
    File {
        id: String,
    },
    /// `/search.json`
    Search,
    /// `/list.json`
    List,
    /// `/providers/{v}/{p}.json`
    Providers {
        package: String,
    },
    /// `/metadata/changes.json`
    Changes,
    /// `/downloads`
    Downloads,
    /// `/api/security-advisories`
    Advisories,
    /// `/packages/{v}/{p}`, `/packages/upload/{v}/{p}/{version}`
    Publish {
        package: String,
        version: Option<String>,
    },
    /// `/packages/{v}/{p}/versions/{version}`
    Version {
        package: String,
        version: String,
    },
    /// `/packages/{v}/{p}/abandoned`
    Abandoned {
        package: String,
    },
    Unknown,
}

/// No address of ours has more.
const MAX_SEGMENTS: usize = 6;

impl Route {
    /// Reads an undecoded path, which starts with a slash.
    pub fn of(path: &str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut segments: Vec<Cow<'_, str>> = Vec::with_capacity(MAX_SEGMENTS);
        for segment in path.split('/') {
            let Ok(decoded) = percent_decode_str(segment).decode_utf8() else { return Self::Unknown };
            if decoded.is_empty() || decoded.contains('/') || segments.len() == MAX_SEGMENTS {
                return Self::Unknown;
            }
            segments.push(decoded);
        }
        let segments: Vec<&str> = segments.iter().map(|s| &**s).collect();
        let package = |vendor: &str, package: &str| format!("{vendor}/{package}");
        match segments.as_slice() {
            ["packages.json"] => Self::Root,
            ["p2", vendor, file] => match file.strip_suffix(".json") {
                Some(name) => match name.strip_suffix("~dev") {
                    Some(name) => Self::Branches { package: package(vendor, name) },
                    None => Self::Tagged { package: package(vendor, name) },
                },
                None => Self::Unknown,
            },
            ["p", vendor, file] => {
                Self::Tagged { package: package(vendor, file.strip_suffix(".json").unwrap_or(file)) }
            }
            ["dist", vendor, name, version, file] => match file.strip_suffix(".zip") {
                Some(reference) => Self::Dist {
                    package: package(vendor, name),
                    version: (*version).to_owned(),
                    reference: reference.to_owned(),
                },
                None => Self::Unknown,
            },
            ["files", id, _] => Self::File { id: (*id).to_owned() },
            ["search.json"] => Self::Search,
            ["list.json"] => Self::List,
            ["providers", vendor, file] => match file.strip_suffix(".json") {
                Some(name) => Self::Providers { package: package(vendor, name) },
                None => Self::Unknown,
            },
            ["metadata", "changes.json"] => Self::Changes,
            ["downloads"] => Self::Downloads,
            ["api", "security-advisories"] => Self::Advisories,
            ["packages", vendor, name] => Self::Publish { package: package(vendor, name), version: None },
            ["packages", vendor, name, "abandoned"] => Self::Abandoned { package: package(vendor, name) },
            ["packages", vendor, name, "versions", version] if *vendor != "upload" => {
                Self::Version { package: package(vendor, name), version: (*version).to_owned() }
            }
            ["packages", "upload", vendor, name, version] => {
                Self::Publish { package: package(vendor, name), version: Some((*version).to_owned()) }
            }
            _ => Self::Unknown,
        }
    }

    /// What logs and metrics may say of it.
    pub const fn template(&self) -> &'static str {
        match self {
            Self::Root => "/packages.json",
            Self::Tagged { .. } => "/p2/{vendor}/{package}.json",
            Self::Branches { .. } => "/p2/{vendor}/{package}~dev.json",
            Self::Dist { .. } => "/dist/{vendor}/{package}/{version}/{reference}.zip",
            Self::File { .. } => "/files/{id}/{file}",
            Self::Search => "/search.json",
            Self::List => "/list.json",
            Self::Providers { .. } => "/providers/{vendor}/{package}.json",
            Self::Changes => "/metadata/changes.json",
            Self::Downloads => "/downloads",
            Self::Advisories => "/api/security-advisories",
            Self::Publish { .. } => "/packages/{vendor}/{package}",
            Self::Version { .. } => "/packages/{vendor}/{package}/versions/{version}",
            Self::Abandoned { .. } => "/packages/{vendor}/{package}/abandoned",
            Self::Unknown => "unmatched",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_say_what_is_asked_for() {
        let package = || "acme/lib".to_owned();
        for (path, wanted) in [
            ("/packages.json", Route::Root),
            ("/p2/acme/lib.json", Route::Tagged { package: package() }),
            ("/p/acme/lib", Route::Tagged { package: package() }),
            ("/p2/acme/lib~dev.json", Route::Branches { package: package() }),
            ("/p2/acme/lib%7Edev.json", Route::Branches { package: package() }),
            (
                "/dist/acme/lib/1.0%2B2/ab.zip",
                Route::Dist { package: package(), version: "1.0+2".into(), reference: "ab".into() },
            ),
            ("/packages/acme/lib/", Route::Publish { package: package(), version: None }),
            ("/packages/upload/acme/lib/1.0", Route::Publish { package: package(), version: Some("1.0".into()) }),
            ("/packages/acme/lib/versions/1.0", Route::Version { package: package(), version: "1.0".into() }),
            ("/packages/acme/lib/abandoned", Route::Abandoned { package: package() }),
            ("/api/security-advisories/", Route::Advisories),
            ("/providers/acme/lib.json", Route::Providers { package: package() }),
            ("/providers/acme/lib", Route::Unknown),
            ("/metadata/changes.json", Route::Changes),
            ("/p2/acme%2Flib.json", Route::Unknown),
            ("/p2/acme/a%2Fb.json", Route::Unknown),
            ("/p2/acme/lib", Route::Unknown),
            ("/", Route::Unknown),
            ("/%ff", Route::Unknown),
        ] {
            assert_eq!(Route::of(path), wanted, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "/?(p2|packages|dist|[a-z%~./+]{0,12}){1,3}(/[a-zA-Z0-9%~.]{0,8}){0,7}") {
            let _ = Route::of(&path).template();
        }
    }
}
