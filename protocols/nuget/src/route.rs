//! What a path below the mount asks for.

use percent_encoding::percent_decode_str;

use crate::v2;

/// One of two views of the same packages (nuget.md §0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Anonymous callers read what is public.
    Public,
    /// Everybody is asked who they are, on every path.
    Challenge,
}

impl View {
    /// Below the mount.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Public => "",
            Self::Challenge => "/~auth",
        }
    }
}

/// The collections of metadata documents: each tells less to older clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hive {
    Plain,
    Gzip,
    SemVer2,
}

impl Hive {
    /// The folder of its addresses.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Plain => "registration",
            Self::Gzip => "registration-gz",
            Self::SemVer2 => "registration-semver2",
        }
    }
    pub const fn is_semver2(self) -> bool {
        matches!(self, Self::SemVer2)
    }
    /// Whether its documents are always compressed.
    pub const fn is_gzip(self) -> bool {
        !matches!(self, Self::Plain)
    }
}

/// A file inside a package that is served by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inner {
    Readme,
    Icon,
    License,
}

/// What a request is about; ids and versions are decoded but not checked, and in whatever case they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    ServiceIndex,
    /// Every version of a package.
    Versions(String),
    Nupkg {
        id: String,
        version: String,
    },
    Nuspec {
        id: String,
        version: String,
    },
    Inner {
        id: String,
        version: String,
        inner: Inner,
    },
    Registration {
        hive: Hive,
        id: String,
    },
    Page {
        hive: Hive,
        id: String,
        lower: String,
        upper: String,
    },
    Leaf {
        hive: Hive,
        id: String,
        version: String,
    },
    Search,
    Autocomplete,
    VulnerabilityIndex,
    Vulnerabilities(String),
    Push,
    PushSymbols,
    /// Download (GET), unlist (DELETE), relist (POST).
    Release {
        id: String,
        version: String,
    },
    /// `{name}.pdb/{id}` in lower case.
    Symbols(String),
    V2(v2::Resource),
    Unknown,
}

const MAX_SEGMENTS: usize = 8;

impl Route {
    /// What metrics and logs may say of the path.
    pub const fn template(&self) -> &'static str {
        match self {
            Self::ServiceIndex => "/v3/index.json",
            Self::Versions(_) => "/v3/flatcontainer/{id}/index.json",
            Self::Nupkg { .. } => "/v3/flatcontainer/{id}/{version}/{file}.nupkg",
            Self::Nuspec { .. } => "/v3/flatcontainer/{id}/{version}/{id}.nuspec",
            Self::Inner { .. } => "/v3/flatcontainer/{id}/{version}/{inner}",
            Self::Registration { .. } => "/v3/{registration}/{id}/index.json",
            Self::Page { .. } => "/v3/{registration}/{id}/page/{lower}/{upper}.json",
            Self::Leaf { .. } => "/v3/{registration}/{id}/{version}.json",
            Self::Search => "/v3/search",
            Self::Autocomplete => "/v3/autocomplete",
            Self::VulnerabilityIndex => "/v3/vulnerabilities/index.json",
            Self::Vulnerabilities(_) => "/v3/vulnerabilities/{page}.json",
            Self::Push => "/v2/package",
            Self::PushSymbols => "/v2/symbolpackage",
            Self::Release { .. } => "/v2/package/{id}/{version}",
            Self::Symbols(_) => "/symbols/{pdb}/{key}/{pdb}",
            Self::V2(_) => "/v2/{resource}",
            Self::Unknown => "unmatched",
        }
    }

    /// Reads an undecoded path, which is empty or starts with a slash. One slash at the end is allowed everywhere:
    /// clients add one to addresses of the index (nuget.md §0).
    pub fn of(path: &str) -> (View, Self) {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        // The view is told whatever follows it.
        if percent_decode_str(first).decode_utf8().is_ok_and(|first| first == "~auth") {
            (View::Challenge, Self::read(rest))
        } else {
            (View::Public, Self::read(path))
        }
    }

    fn read(path: &str) -> Self {
        let mut segments = Vec::with_capacity(MAX_SEGMENTS);
        for segment in path.split('/').filter(|_| !path.is_empty()) {
            let Ok(decoded) = percent_decode_str(segment).decode_utf8() else { return Self::Unknown };
            if segments.len() == MAX_SEGMENTS {
                return Self::Unknown;
            }
            segments.push(decoded.into_owned());
        }
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Self::below(&segments)
    }

    fn below(segments: &[&str]) -> Self {
        if segments.iter().any(|segment| segment.is_empty()) {
            return Self::Unknown;
        }
        match segments {
            ["v3", rest @ ..] => v3(rest),
            ["v3-flatcontainer", rest @ ..] => flat_container(rest),
            ["v2", "package"] => Self::Push,
            ["v2", "symbolpackage"] => Self::PushSymbols,
            ["v2", "package", id, version] => Self::Release { id: text(id), version: text(version) },
            ["v2", rest @ ..] => match v2::Resource::of(rest) {
                Some(resource) => Self::V2(resource),
                None => match rest {
                    // Old clients delete below the source's own address.
                    [id, version] => Self::Release { id: text(id), version: text(version) },
                    _ => Self::Unknown,
                },
            },
            ["symbols", file, key, again] if file.eq_ignore_ascii_case(again) => {
                Self::Symbols(format!("{file}/{key}").to_lowercase())
            }
            _ => Self::Unknown,
        }
    }
}

fn text(segment: &str) -> String {
    segment.to_owned()
}

fn v3(segments: &[&str]) -> Route {
    match segments {
        ["index.json"] => Route::ServiceIndex,
        ["flatcontainer", rest @ ..] => flat_container(rest),
        ["registration", rest @ ..] => registration(Hive::Plain, rest),
        ["registration-gz", rest @ ..] => registration(Hive::Gzip, rest),
        ["registration-semver2", rest @ ..] => registration(Hive::SemVer2, rest),
        ["search"] => Route::Search,
        ["autocomplete"] => Route::Autocomplete,
        ["vulnerabilities", "index.json"] => Route::VulnerabilityIndex,
        ["vulnerabilities", file] => match file.strip_suffix(".json") {
            Some(page) => Route::Vulnerabilities(text(page)),
            None => Route::Unknown,
        },
        _ => Route::Unknown,
    }
}

fn flat_container(segments: &[&str]) -> Route {
    let inner = |id: &str, version: &str, inner| Route::Inner { id: text(id), version: text(version), inner };
    match segments {
        [id, "index.json"] => Route::Versions(text(id)),
        [id, version, "readme"] => inner(id, version, Inner::Readme),
        [id, version, "icon"] => inner(id, version, Inner::Icon),
        [id, version, "license"] => inner(id, version, Inner::License),
        [id, version, file] if file.eq_ignore_ascii_case(&format!("{id}.{version}.nupkg")) => {
            Route::Nupkg { id: text(id), version: text(version) }
        }
        [id, version, file] if file.eq_ignore_ascii_case(&format!("{id}.nuspec")) => {
            Route::Nuspec { id: text(id), version: text(version) }
        }
        _ => Route::Unknown,
    }
}

fn registration(hive: Hive, segments: &[&str]) -> Route {
    match segments {
        [id, "index.json"] => Route::Registration { hive, id: text(id) },
        [id, "page", lower, file] => match file.strip_suffix(".json") {
            Some(upper) => Route::Page { hive, id: text(id), lower: text(lower), upper: text(upper) },
            None => Route::Unknown,
        },
        [id, file] => match file.strip_suffix(".json") {
            Some(version) => Route::Leaf { hive, id: text(id), version: text(version) },
            None => Route::Unknown,
        },
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_say_what_is_asked_for() {
        let release = |id: &str, version: &str| Route::Release { id: text(id), version: text(version) };
        let (id, version) = (text("a.b"), text("1.0.0"));
        for (path, wanted) in [
            ("/v3/index.json", Route::ServiceIndex),
            ("/v3/flatcontainer/a.b/index.json", Route::Versions(id.clone())),
            ("/v3-flatcontainer/a.b/index.json", Route::Versions(id.clone())),
            ("/v3/flatcontainer/a.b/1.0.0/A.B.1.0.0.nupkg", Route::Nupkg { id: id.clone(), version: version.clone() }),
            ("/v3/flatcontainer/a.b/1.0.0/c.1.0.0.nupkg", Route::Unknown),
            ("/v3/flatcontainer/a.b/1.0.0/a.b.nuspec", Route::Nuspec { id: id.clone(), version: version.clone() }),
            (
                "/v3/flatcontainer/a.b/1.0.0/icon",
                Route::Inner { id: id.clone(), version: version.clone(), inner: Inner::Icon },
            ),
            ("/v3/registration-gz/a.b/index.json", Route::Registration { hive: Hive::Gzip, id: id.clone() }),
            ("/v3/registration/a.b/1.0.0.json", Route::Leaf { hive: Hive::Plain, id: id.clone(), version }),
            (
                "/v3/registration-semver2/a.b/page/1.0.0/2.0.0-a.json",
                Route::Page { hive: Hive::SemVer2, id, lower: text("1.0.0"), upper: text("2.0.0-a") },
            ),
            ("/v3/search/", Route::Search),
            ("/v3/autocomplete", Route::Autocomplete),
            ("/v2/package/", Route::Push),
            ("/v2", Route::V2(v2::Resource::Service)),
            ("/v2/", Route::V2(v2::Resource::Service)),
            ("/v2/package/A/1.0", release("A", "1.0")),
            ("/v2/A/1.0", release("A", "1.0")),
            ("/v2/FindPackagesById()", Route::V2(v2::Resource::of(&["FindPackagesById()"]).unwrap())),
            ("/symbols/A.pdb/0AF/a.pdb", Route::Symbols(text("a.pdb/0af"))),
            ("/symbols/A.pdb/0AF/b.pdb", Route::Unknown),
            ("", Route::Unknown),
            ("/v3//index.json", Route::Unknown),
            ("/v3/%ff", Route::Unknown),
        ] {
            assert_eq!(Route::of(path), (View::Public, wanted.clone()), "{path}");
            assert_eq!(Route::of(&format!("/~auth{path}")), (View::Challenge, wanted), "{path}");
        }
        assert_eq!(Route::of(&format!("/~auth{}", "/a".repeat(20))), (View::Challenge, Route::Unknown));
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "/[ -~]{0,80}") {
            Route::of(&path);
        }
    }
}
