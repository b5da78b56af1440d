//! What a path below the mount asks for.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What a request is about; names are decoded but not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/simple/`
    List {
        has_slash: bool,
    },
    /// `/simple/{project}/`, and hatch's `/legacy/+simple/{project}/`
    Project {
        name: String,
        has_slash: bool,
    },
    /// `/files/{id}/{filename}`
    File {
        id: String,
        filename: String,
    },
    /// `/files/{id}/{filename}.metadata`; `filename` is the wheel's
    Metadata {
        id: String,
        filename: String,
    },
    /// `/legacy/` and `/legacy/{repository}/`
    Upload {
        repository: Option<String>,
    },
    /// `/osv/v1/query`
    Advisories,
    /// `/{project}/json` and `/{project}/{version}/json`
    Json {
        name: String,
        version: Option<String>,
    },
    /// `/integrity/{project}/{version}/{filename}/provenance`
    Provenance {
        name: String,
        version: String,
        filename: String,
    },
    Unknown,
}

/// No address of ours has more.
const MAX_SEGMENTS: usize = 5;

impl Route {
    /// Reads an undecoded path, which starts with a slash.
    pub fn of(path: &str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (path, has_slash) = match path.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (path, false),
        };
        let mut segments: Vec<Cow<'_, str>> = Vec::with_capacity(MAX_SEGMENTS);
        for segment in path.split('/') {
            let Ok(decoded) = percent_decode_str(segment).decode_utf8() else { return Self::Unknown };
            if decoded.is_empty() || segments.len() == MAX_SEGMENTS {
                return Self::Unknown;
            }
            segments.push(decoded);
        }
        let segments: Vec<&str> = segments.iter().map(|s| &**s).collect();
        match segments.as_slice() {
            ["simple"] => Self::List { has_slash },
            ["simple", name] | ["legacy", "+simple", name] => {
                // Hatch's alias has one spelling only; it is never redirected.
                Self::Project { name: (*name).to_owned(), has_slash: has_slash || segments.len() == 3 }
            }
            ["files", id, filename] if !has_slash => {
                let id = (*id).to_owned();
                match filename.strip_suffix(".metadata") {
                    Some(filename) => Self::Metadata { id, filename: filename.to_owned() },
                    None => Self::File { id, filename: (*filename).to_owned() },
                }
            }
            ["legacy"] => Self::Upload { repository: None },
            ["legacy", repository] => Self::Upload { repository: Some((*repository).to_owned()) },
            ["integrity", name, version, filename, "provenance"] => Self::Provenance {
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                filename: (*filename).to_owned(),
            },
            ["osv", "v1", "query"] => Self::Advisories,
            [name, "json"] => Self::Json { name: (*name).to_owned(), version: None },
            [name, version, "json"] => Self::Json { name: (*name).to_owned(), version: Some((*version).to_owned()) },
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_say_what_is_asked_for() {
        let project = |name: &str, has_slash| Route::Project { name: name.to_owned(), has_slash };
        let upload = |repository: Option<&str>| Route::Upload { repository: repository.map(str::to_owned) };
        let text = str::to_owned;
        for (path, wanted) in [
            ("/simple/", Route::List { has_slash: true }),
            ("/simple", Route::List { has_slash: false }),
            ("/simple/demo/", project("demo", true)),
            ("/simple/Demo.Pkg", project("Demo.Pkg", false)),
            ("/simple/a%20b/", project("a b", true)),
            ("/legacy/+simple/demo/", project("demo", true)),
            ("/legacy/%2Bsimple/demo/", project("demo", true)),
            ("/legacy/", upload(None)),
            ("/legacy", upload(None)),
            ("/legacy/team/", upload(Some("team"))),
            ("/files/1/a.whl", Route::File { id: text("1"), filename: text("a.whl") }),
            ("/files/1/a.whl.metadata", Route::Metadata { id: text("1"), filename: text("a.whl") }),
            ("/files/1/a%2B1.whl", Route::File { id: text("1"), filename: text("a+1.whl") }),
            ("/files/1/a.whl/", Route::Unknown),
            ("/files/1", Route::Unknown),
            ("/osv/v1/query", Route::Advisories),
            ("/osv/json", Route::Json { name: text("osv"), version: None }),
            ("/demo/json", Route::Json { name: text("demo"), version: None }),
            ("/demo/1.0/json", Route::Json { name: text("demo"), version: Some(text("1.0")) }),
            (
                "/integrity/demo/1.0/a.whl/provenance",
                Route::Provenance { name: text("demo"), version: text("1.0"), filename: text("a.whl") },
            ),
            ("/", Route::Unknown),
            ("//simple/", Route::Unknown),
            ("/simple//demo/", Route::Unknown),
            ("/simple/%ff/", Route::Unknown),
            ("/simple/a/b/", Route::Unknown),
            ("/a/b/c/d/e/f", Route::Unknown),
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
