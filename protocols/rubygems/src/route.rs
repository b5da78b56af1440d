//! What a path below the mount asks for.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Lists of the legacy index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    All,
    Latest,
    Prerelease,
}

/// What a request is about; names are decoded but not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Root,
    Versions,
    Names,
    Info(String),
    /// `/gems/{full}.gem`; what stands before the ending.
    Gem(String),
    Specs {
        list: List,
        is_gzip: bool,
    },
    Quick(String),
    Push,
    Yank,
    Unyank,
    ApiKey {
        format: Option<Format>,
    },
    Profile(Format),
    /// `/api/v1/gems.json`
    OwnGems,
    /// `/api/v1/gems/{name}.json`
    About(String, Format),
    Owners {
        name: String,
        format: Option<Format>,
    },
    GemsOf(String),
    ListOf(String),
    LatestOf(String),
    Version {
        name: String,
        number: String,
    },
    Search,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
}

const MAX_SEGMENTS: usize = 6;

impl Route {
    /// What metrics and logs may say of the path.
    pub const fn template(&self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Versions => "/versions",
            Self::Names => "/names",
            Self::Info(_) => "/info/{gem}",
            Self::Gem(_) => "/gems/{file}",
            Self::Specs { .. } => "/{list}.4.8",
            Self::Quick(_) => "/quick/Marshal.4.8/{file}",
            Self::Push => "/api/v1/gems",
            Self::Yank => "/api/v1/gems/yank",
            Self::Unyank => "/api/v1/gems/unyank",
            Self::ApiKey { .. } => "/api/v1/api_key",
            Self::Profile(_) => "/api/v1/profile/me",
            Self::OwnGems => "/api/v1/gems.json",
            Self::About(..) => "/api/v1/gems/{gem}.json",
            Self::Owners { .. } => "/api/v1/gems/{gem}/owners",
            Self::GemsOf(_) => "/api/v1/owners/{handle}/gems.json",
            Self::ListOf(_) => "/api/v1/versions/{gem}.json",
            Self::LatestOf(_) => "/api/v1/versions/{gem}/latest.json",
            Self::Version { .. } => "/api/v2/rubygems/{gem}/versions/{version}.json",
            Self::Search => "/api/v1/search.json",
            Self::Unknown => "unmatched",
        }
    }

    /// Reads an undecoded path, which is empty or starts with a slash.
    pub fn of(path: &str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.is_empty() {
            return Self::Root;
        }
        let mut segments: Vec<Cow<'_, str>> = Vec::with_capacity(MAX_SEGMENTS);
        for segment in path.split('/') {
            let Ok(decoded) = percent_decode_str(segment).decode_utf8() else { return Self::Unknown };
            if decoded.is_empty() || segments.len() == MAX_SEGMENTS {
                return Self::Unknown;
            }
            segments.push(decoded);
        }
        let segments: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
        match segments.as_slice() {
            ["versions"] => Self::Versions,
            ["names"] => Self::Names,
            ["info", name] => Self::Info((*name).to_owned()),
            ["gems" | "downloads", file] => suffixed(file, ".gem", Self::Gem),
            ["quick", "Marshal.4.8", file] => suffixed(file, ".gemspec.rz", Self::Quick),
            [file] => specs(file),
            ["api", "v1", rest @ ..] => api(rest),
            ["api", "v2", "rubygems", name, "versions", file] => {
                let version = |number| Self::Version { name: (*name).to_owned(), number };
                suffixed(file, ".json", version)
            }
            _ => Self::Unknown,
        }
    }
}

fn suffixed(file: &str, suffix: &str, route: impl FnOnce(String) -> Route) -> Route {
    match file.strip_suffix(suffix).filter(|stem| !stem.is_empty()) {
        Some(stem) => route(stem.to_owned()),
        None => Route::Unknown,
    }
}

fn specs(file: &str) -> Route {
    let (file, is_gzip) = file.strip_suffix(".gz").map_or((file, false), |file| (file, true));
    let list = match file {
        "specs.4.8" => List::All,
        "latest_specs.4.8" => List::Latest,
        "prerelease_specs.4.8" => List::Prerelease,
        _ => return Route::Unknown,
    };
    Route::Specs { list, is_gzip }
}

fn api(segments: &[&str]) -> Route {
    match segments {
        ["gems"] => Route::Push,
        ["gems.json"] => Route::OwnGems,
        ["gems", "yank"] => Route::Yank,
        ["gems", "unyank"] => Route::Unyank,
        ["gems", file] => match format_of(file) {
            (name, Some(format)) => Route::About(name.to_owned(), format),
            _ => Route::Unknown,
        },
        ["gems", name, file] => match format_of(file) {
            ("owners", format) => Route::Owners { name: (*name).to_owned(), format },
            _ => Route::Unknown,
        },
        ["owners", handle, "gems.json"] => Route::GemsOf((*handle).to_owned()),
        ["versions", name, "latest.json"] => Route::LatestOf((*name).to_owned()),
        ["versions", file] => suffixed(file, ".json", Route::ListOf),
        ["search.json"] => Route::Search,
        ["profile", file] => match format_of(file) {
            ("me", Some(format)) => Route::Profile(format),
            _ => Route::Unknown,
        },
        [file] => match format_of(file) {
            ("api_key", format) => Route::ApiKey { format },
            _ => Route::Unknown,
        },
        _ => Route::Unknown,
    }
}

fn format_of(file: &str) -> (&str, Option<Format>) {
    if let Some(stem) = file.strip_suffix(".json") {
        (stem, Some(Format::Json))
    } else if let Some(stem) = file.strip_suffix(".yaml") {
        (stem, Some(Format::Yaml))
    } else {
        (file, None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_say_what_is_asked_for() {
        let text = str::to_owned;
        for (path, wanted) in [
            ("", Route::Root),
            ("/", Route::Root),
            ("/versions", Route::Versions),
            ("/info/a.b", Route::Info(text("a.b"))),
            ("/gems/a-1.0.gem", Route::Gem(text("a-1.0"))),
            ("/gems/a", Route::Unknown),
            ("/specs.4.8.gz", Route::Specs { list: List::All, is_gzip: true }),
            ("/latest_specs.4.8", Route::Specs { list: List::Latest, is_gzip: false }),
            ("/quick/Marshal.4.8/a-1.gemspec.rz", Route::Quick(text("a-1"))),
            ("/api/v1/gems", Route::Push),
            ("/api/v1/gems/yank", Route::Yank),
            ("/api/v1/gems/a.b.json", Route::About(text("a.b"), Format::Json)),
            ("/api/v1/gems/a/owners", Route::Owners { name: text("a"), format: None }),
            ("/api/v1/gems/a/owners.yaml", Route::Owners { name: text("a"), format: Some(Format::Yaml) }),
            ("/api/v1/versions/a.json", Route::ListOf(text("a"))),
            ("/api/v1/versions/a/latest.json", Route::LatestOf(text("a"))),
            ("/api/v2/rubygems/a/versions/1.0.json", Route::Version { name: text("a"), number: text("1.0") }),
            ("/api/v1/api_key", Route::ApiKey { format: None }),
            ("/api/v1/dependencies", Route::Unknown),
            ("/info/a/", Route::Unknown),
            ("//versions", Route::Unknown),
            ("/info/%ff", Route::Unknown),
        ] {
            assert_eq!(Route::of(path), wanted, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "/[ -~]{0,80}") {
            Route::of(&path);
        }
    }
}
