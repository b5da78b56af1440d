//! From the raw path of a request to what it asks for.
//!
//! One logical package has three spellings in a URL (`@s/n`, `@s%2fn`, `@s%2Fn`), so the path is split
//! here, undecoded, rather than by the router: every spelling of every route ends in the same [`Route`].

use percent_encoding::percent_decode_str;

/// What a path names. Names and other parts are decoded but not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Root,
    Ping,
    Whoami,
    Keys,
    /// `NAME@VERSION`.
    Attestations(String),
    Search,
    Login,
    /// The `loginUrl` of a web login.
    LoginPage(String),
    /// The `doneUrl` of a web login.
    LoginStatus(String),
    /// `/-/user/org.couchdb.user:NAME`, with or without `/-rev/R`.
    User(String),
    /// `/-/user/token/TOKEN`: the secret itself is in the path.
    Logout(String),
    UserPackages(String),
    /// `/-/user/U/stars`: what pnpm asks for instead of the view.
    UserStars(String),
    OrgPackages(String),
    Tokens,
    Token(String),
    Profile,
    BulkAudit,
    QuickAudit,
    StarredByUser,
    OidcExchange(String),
    DistTags(String),
    DistTag {
        name: String,
        tag: String,
    },
    Access(String),
    /// `/-/package/P/owners`: pnpm changes owners one by one.
    Owners(String),
    Owner {
        name: String,
        user: String,
    },
    Visibility(String),
    Collaborators(String),
    Packument(String),
    /// `/P/V`: `spec` is a version or a dist-tag.
    Manifest {
        name: String,
        spec: String,
    },
    Tarball {
        name: String,
        file: String,
    },
    TarballRevision {
        name: String,
        file: String,
        rev: String,
    },
    Revision {
        name: String,
        rev: String,
    },
    Unknown,
}

impl Route {
    /// The route as metrics name it.
    pub fn template(&self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Ping => "/-/ping",
            Self::Whoami => "/-/whoami",
            Self::Keys => "/-/npm/v1/keys",
            Self::Attestations(_) => "/-/npm/v1/attestations/{package}@{version}",
            Self::Search => "/-/v1/search",
            Self::Login => "/-/v1/login",
            Self::LoginPage(_) => "/-/v1/login/{id}",
            Self::LoginStatus(_) => "/-/v1/done/{id}",
            Self::User(_) => "/-/user/{user}",
            Self::Logout(_) => "/-/user/token/{token}",
            Self::UserPackages(_) => "/-/user/{user}/package",
            Self::UserStars(_) => "/-/user/{user}/stars",
            Self::OrgPackages(_) => "/-/org/{org}/package",
            Self::Tokens => "/-/npm/v1/tokens",
            Self::Token(_) => "/-/npm/v1/tokens/token/{token}",
            Self::Profile => "/-/npm/v1/user",
            Self::BulkAudit => "/-/npm/v1/security/advisories/bulk",
            Self::QuickAudit => "/-/npm/v1/security/audits/quick",
            Self::StarredByUser => "/-/_view/starredByUser",
            Self::OidcExchange(_) => "/-/npm/v1/oidc/token/exchange/package/{package}",
            Self::DistTags(_) => "/-/package/{package}/dist-tags",
            Self::DistTag { .. } => "/-/package/{package}/dist-tags/{tag}",
            Self::Access(_) => "/-/package/{package}/access",
            Self::Owners(_) => "/-/package/{package}/owners",
            Self::Owner { .. } => "/-/package/{package}/owners/{user}",
            Self::Visibility(_) => "/-/package/{package}/visibility",
            Self::Collaborators(_) => "/-/package/{package}/collaborators",
            Self::Packument(_) => "/{package}",
            Self::Manifest { .. } => "/{package}/{version}",
            Self::Tarball { .. } => "/{package}/-/{file}",
            Self::TarballRevision { .. } => "/{package}/-/{file}/-rev/{revision}",
            Self::Revision { .. } => "/{package}/-rev/{revision}",
            Self::Unknown => "unmatched",
        }
    }

    /// Reads the path below the mount point, still percent-encoded; a query is not part of it.
    pub fn parse(raw: &str) -> Self {
        // Some clients join a registry URL ending in `/` with a path beginning with one.
        let Some(parts) = decode(raw.trim_start_matches('/')) else { return Self::Unknown };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [] => Self::Root,
            ["-", rest @ ..] => special(rest),
            [first, ..] if first.starts_with("-") => Self::Unknown,
            parts => package(parts),
        }
    }

    /// The package a route is about, if it is about one.
    pub fn package_name(&self) -> Option<&str> {
        match self {
            Self::Packument(name)
            | Self::Manifest { name, .. }
            | Self::Tarball { name, .. }
            | Self::TarballRevision { name, .. }
            | Self::Revision { name, .. }
            | Self::DistTags(name)
            | Self::DistTag { name, .. }
            | Self::Access(name)
            | Self::Owners(name)
            | Self::Owner { name, .. }
            | Self::Visibility(name)
            | Self::Collaborators(name)
            | Self::OidcExchange(name) => Some(name),
            _ => None,
        }
    }
}

/// The decoded segments; an encoded slash splits only where it separates scope and name.
fn decode(raw: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    for segment in raw.split('/') {
        let text = percent_decode_str(segment).decode_utf8().ok()?;
        if text.contains('\0') {
            return None;
        }
        parts.push(text.into_owned());
    }
    // A trailing slash names the same thing.
    if parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    (!parts.iter().any(String::is_empty)).then_some(parts)
}

/// Takes a package name off the front.
fn take_name<'a, 'p>(parts: &'a [&'p str]) -> Option<(String, &'a [&'p str])> {
    match parts {
        [scoped, rest @ ..] if scoped.starts_with('@') && scoped.contains('/') => Some(((*scoped).to_owned(), rest)),
        [scope, name, rest @ ..] if scope.starts_with('@') => Some((format!("{scope}/{name}"), rest)),
        [scope] if scope.starts_with('@') => None,
        [name, rest @ ..] => Some(((*name).to_owned(), rest)),
        [] => None,
    }
}

fn package(parts: &[&str]) -> Route {
    let Some((name, rest)) = take_name(parts) else { return Route::Unknown };
    let own = |text: &str| text.to_owned();
    match rest {
        [] => Route::Packument(name),
        ["-rev", rev] => Route::Revision { name, rev: own(rev) },
        ["-", file] => Route::Tarball { name, file: bare_file(file) },
        // Lockfiles of other registries repeat the scope: `@s/n/-/@s/n-1.0.0.tgz`.
        ["-", scope, file] if scope.starts_with('@') => Route::Tarball { name, file: own(file) },
        ["-", file, "-rev", rev] => Route::TarballRevision { name, file: bare_file(file), rev: own(rev) },
        ["-", scope, file, "-rev", rev] if scope.starts_with('@') => {
            Route::TarballRevision { name, file: own(file), rev: own(rev) }
        }
        [spec] if !spec.starts_with('-') => Route::Manifest { name, spec: own(spec) },
        _ => Route::Unknown,
    }
}

fn bare_file(file: &str) -> String {
    match file.split_once('/') {
        Some((scope, bare)) if scope.starts_with('@') => bare.to_owned(),
        _ => file.to_owned(),
    }
}

fn special(parts: &[&str]) -> Route {
    let own = |text: &str| text.to_owned();
    match parts {
        ["ping"] => Route::Ping,
        ["whoami"] => Route::Whoami,
        ["v1", "search"] => Route::Search,
        ["v1", "login"] => Route::Login,
        ["v1", "login", id] => Route::LoginPage(own(id)),
        ["v1", "done", id] => Route::LoginStatus(own(id)),
        ["npm", "v1", "keys"] => Route::Keys,
        ["npm", "v1", "tokens"] => Route::Tokens,
        ["npm", "v1", "tokens", "token", key] => Route::Token(own(key)),
        ["npm", "v1", "user"] => Route::Profile,
        ["npm", "v1", "security", "advisories", "bulk"] => Route::BulkAudit,
        ["npm", "v1", "security", "audits"] | ["npm", "v1", "security", "audits", "quick"] => Route::QuickAudit,
        ["npm", "v1", "attestations", rest @ ..] => match take_name(rest) {
            Some((spec, [])) => Route::Attestations(spec),
            _ => Route::Unknown,
        },
        ["npm", "v1", "oidc", "token", "exchange", "package", rest @ ..] => match take_name(rest) {
            Some((name, [])) => Route::OidcExchange(name),
            _ => Route::Unknown,
        },
        ["user", "token", token] => Route::Logout(own(token)),
        ["user", user, "package"] => Route::UserPackages(own(user)),
        ["user", user, "stars"] => Route::UserStars(own(user)),
        ["user", user] | ["user", user, "-rev", _] => match user.strip_prefix("org.couchdb.user:") {
            Some(name) => Route::User(own(name)),
            None => Route::Unknown,
        },
        ["org", org, "package"] => Route::OrgPackages(own(org)),
        ["_view", "starredByUser"] => Route::StarredByUser,
        ["package", rest @ ..] => match take_name(rest) {
            Some((name, ["dist-tags"])) => Route::DistTags(name),
            Some((name, ["dist-tags", tag])) => Route::DistTag { name, tag: own(tag) },
            Some((name, ["access"])) => Route::Access(name),
            Some((name, ["owners"])) => Route::Owners(name),
            Some((name, ["owners", user])) => Route::Owner { name, user: own(user) },
            Some((name, ["visibility"])) => Route::Visibility(name),
            Some((name, ["collaborators"])) => Route::Collaborators(name),
            _ => Route::Unknown,
        },
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn s(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn every_spelling_of_a_scoped_name_is_the_same_route() {
        for spelling in ["@s/n", "@s%2fn", "@s%2Fn", "%40s%2fn", "%40s/n"] {
            let name = s("@s/n");
            for (path, route) in [
                (format!("/{spelling}"), Route::Packument(name.clone())),
                (format!("//{spelling}"), Route::Packument(name.clone())),
                (format!("/{spelling}/"), Route::Packument(name.clone())),
                (format!("/{spelling}/1.0.0"), Route::Manifest { name: name.clone(), spec: s("1.0.0") }),
                (format!("/{spelling}/latest"), Route::Manifest { name: name.clone(), spec: s("latest") }),
                (format!("/{spelling}/-/n-1.0.0.tgz"), Route::Tarball { name: name.clone(), file: s("n-1.0.0.tgz") }),
                (
                    format!("/{spelling}/-/@s/n-1.0.0.tgz"),
                    Route::Tarball { name: name.clone(), file: s("n-1.0.0.tgz") },
                ),
                (
                    format!("/{spelling}/-/@s%2fn-1.0.0.tgz"),
                    Route::Tarball { name: name.clone(), file: s("n-1.0.0.tgz") },
                ),
                (format!("/{spelling}/-rev/3-ab"), Route::Revision { name: name.clone(), rev: s("3-ab") }),
                (
                    format!("/{spelling}/-/n-1.0.0.tgz/-rev/3-ab"),
                    Route::TarballRevision { name: name.clone(), file: s("n-1.0.0.tgz"), rev: s("3-ab") },
                ),
                (format!("/-/package/{spelling}/dist-tags"), Route::DistTags(name.clone())),
                (
                    format!("/-/package/{spelling}/dist-tags/beta"),
                    Route::DistTag { name: name.clone(), tag: s("beta") },
                ),
                (format!("/-/package/{spelling}/access"), Route::Access(name.clone())),
                (format!("/-/package/{spelling}/owners"), Route::Owners(name.clone())),
                (format!("/-/package/{spelling}/owners/grace"), Route::Owner { name: name.clone(), user: s("grace") }),
                (format!("/-/package/{spelling}/visibility"), Route::Visibility(name.clone())),
                (format!("/-/package/{spelling}/collaborators"), Route::Collaborators(name.clone())),
                (format!("/-/npm/v1/attestations/{spelling}@1.0.0"), Route::Attestations(s("@s/n@1.0.0"))),
                (format!("/-/npm/v1/oidc/token/exchange/package/{spelling}"), Route::OidcExchange(name.clone())),
            ] {
                assert_eq!(Route::parse(&path), route, "{path}");
            }
        }
    }

    #[test]
    fn unscoped_and_account_routes() {
        for (path, route) in [
            ("", Route::Root),
            ("/", Route::Root),
            ("/left-pad", Route::Packument(s("left-pad"))),
            ("/left-pad/1.0.0%2Bb", Route::Manifest { name: s("left-pad"), spec: s("1.0.0+b") }),
            ("/left-pad/-/left-pad-1.0.0.tgz", Route::Tarball { name: s("left-pad"), file: s("left-pad-1.0.0.tgz") }),
            ("/-/ping", Route::Ping),
            ("/-/whoami", Route::Whoami),
            ("/-/v1/search", Route::Search),
            ("/-/v1/login", Route::Login),
            ("/-/v1/login/abc", Route::LoginPage(s("abc"))),
            ("/-/v1/done/abc", Route::LoginStatus(s("abc"))),
            ("/-/npm/v1/keys", Route::Keys),
            ("/-/npm/v1/tokens", Route::Tokens),
            ("/-/npm/v1/tokens/token/0123", Route::Token(s("0123"))),
            ("/-/npm/v1/user", Route::Profile),
            ("/-/npm/v1/security/advisories/bulk", Route::BulkAudit),
            ("/-/npm/v1/security/audits/quick", Route::QuickAudit),
            ("/-/npm/v1/security/audits", Route::QuickAudit),
            ("/-/user/org.couchdb.user:alice", Route::User(s("alice"))),
            ("/-/user/org.couchdb.user%3Aalice", Route::User(s("alice"))),
            ("/-/user/org.couchdb.user:alice/-rev/1", Route::User(s("alice"))),
            ("/-/user/token/pub_x", Route::Logout(s("pub_x"))),
            ("/-/user/alice/package", Route::UserPackages(s("alice"))),
            ("/-/user/alice/stars", Route::UserStars(s("alice"))),
            ("/-/org/acme/package", Route::OrgPackages(s("acme"))),
            ("/-/_view/starredByUser", Route::StarredByUser),
        ] {
            assert_eq!(Route::parse(path), route, "{path}");
        }
    }

    #[test]
    fn everything_else_is_unknown() {
        for path in [
            "/@s",
            "/-",
            "/-/",
            "/-/all",
            "/-x",
            "/a/b/c",
            "/a//b",
            "/a/-/",
            "/a/-rev",
            "/a/%00",
            "/%ff",
            "/-/user/alice",
            "/-/package/a",
            "/-/package/@s/dist-tags",
            "/a/-/x/y",
            "/npm/a/-/a-1.0.0.tgz/-rev/1",
            "/-/org/a/user",
            "/-/team/a/b/user",
        ] {
            assert_eq!(Route::parse(path), Route::Unknown, "{path}");
        }
    }

    /// The text with some of its bytes percent-encoded, in either case; what they spell is the same.
    fn respelled(text: &str, choices: &[u8]) -> String {
        let mut choices = choices.iter().cycle();
        let spell = |byte: u8| match choices.next().map_or(0, |choice| choice % 4) {
            0 => format!("%{byte:02x}"),
            1 => format!("%{byte:02X}"),
            _ => char::from(byte).to_string(),
        };
        text.bytes().map(spell).collect()
    }

    proptest! {
        #[test]
        fn every_spelling_of_every_name_is_one_route(
            name in "(@[a-z0-9][a-z0-9._-]{0,4}/)?[a-z0-9][a-z0-9._-]{0,6}",
            version in "[0-9]\\.[0-9]\\.[0-9](-[a-z0-9.]{1,4})?(\\+[a-z]{1,3})?",
            choices in proptest::collection::vec(any::<u8>(), 1..20),
        ) {
            let (n, v) = (respelled(&name, &choices), respelled(&version, &choices));
            let bare = name.rsplit('/').next().unwrap();
            let file = format!("{bare}-{version}.tgz");
            prop_assert_eq!(Route::parse(&format!("/{n}")), Route::Packument(name.clone()));
            prop_assert_eq!(
                Route::parse(&format!("//{n}/{v}")), Route::Manifest { name: name.clone(), spec: version.clone() });
            prop_assert_eq!(
                Route::parse(&format!("/{n}/-/{}", respelled(&file, &choices))),
                Route::Tarball { name: name.clone(), file });
            prop_assert_eq!(
                Route::parse(&format!("/-/package/{n}/dist-tags/beta")),
                Route::DistTag { name: name.clone(), tag: s("beta") });
        }

        #[test]
        fn no_path_at_all_panics(path in "\\PC{0,40}") {
            let _ = Route::parse(&path);
        }

        #[test]
        fn no_path_panics_or_yields_an_empty_name(path in "(/|[a-z@%2f.\\-]|%2F|%00|-rev|-/){0,24}") {
            let route = Route::parse(&path);
            prop_assert!(route.package_name().is_none_or(|n| !n.is_empty()));
        }
    }
}
