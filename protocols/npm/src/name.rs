//! npm package names: what may be published, and what a lookup matches.
//!
//! Rules: <https://github.com/npm/validate-npm-package-name>, narrowed where npm.md §4 says so.

use publaryn_core::PackageName;

/// Longest npm package name, in bytes, counting `@scope/`.
///
/// The client refuses longer names before uploading, so a longer one here is not from npm.
/// Source: <https://docs.npmjs.com/cli/configuring-npm/package-json#name>
pub const MAX_NAME_BYTES: usize = 214;

/// Why a name may not be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("name cannot be empty")]
    Empty,
    #[error("name cannot be longer than {MAX_NAME_BYTES} characters")]
    TooLong,
    #[error("name cannot contain capital letters")]
    Capitals,
    #[error("name can only contain URL-friendly characters: a-z, 0-9, `-`, `.` and `_`, after an optional `@scope/`")]
    Characters,
    #[error("name and scope cannot start with `.`, `_` or `-`")]
    Start,
    #[error("`{0}` is a reserved name")]
    Reserved(&'static str),
}

/// Accepts a name that may be published.
///
/// The collision key of an unscoped name has its separators removed (typosquat guard, npm.md §4);
/// a scoped name collides with itself only.
pub fn parse_name(text: &str) -> Result<PackageName, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong);
    }
    let (scope, bare) = split(text).ok_or(NameError::Characters)?;
    for part in scope.into_iter().chain([bare]) {
        part_is_valid(part)?;
    }
    if scope.is_some() {
        return Ok(PackageName::accepted(text, text, text));
    }
    if let Some(reserved) = RESERVED.iter().chain(NODE_MODULES).find(|r| **r == text) {
        return Err(NameError::Reserved(reserved));
    }
    let collision: String = text.chars().filter(|c| !matches!(c, '-' | '.' | '_')).collect();
    Ok(PackageName::accepted(text, text, &collision))
}

/// Whether a package of this name can exist at all; anything else is a cheap 404.
pub fn is_possible(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && split(text).is_some_and(|(scope, bare)| scope.into_iter().chain([bare]).all(|p| part_is_valid(p).is_ok()))
}

/// The name without its scope: what tarball files are called after.
pub fn unscoped(name: &str) -> &str {
    split(name).map_or(name, |(_, bare)| bare)
}

/// The file name under which a release's tarball is served.
pub fn tarball_filename(name: &str, version: &str) -> String {
    format!("{}-{version}.tgz", unscoped(name))
}

fn split(text: &str) -> Option<(Option<&str>, &str)> {
    match text.strip_prefix('@') {
        Some(rest) => rest.split_once('/').map(|(scope, bare)| (Some(scope), bare)),
        None => Some((None, text)),
    }
}

fn part_is_valid(part: &str) -> Result<(), NameError> {
    match part.as_bytes() {
        [] => return Err(NameError::Empty),
        [b'.' | b'_' | b'-', ..] => return Err(NameError::Start),
        bytes if bytes.iter().any(u8::is_ascii_uppercase) => return Err(NameError::Capitals),
        bytes if !bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_')) => {
            return Err(NameError::Characters);
        }
        _ => {}
    }
    Ok(())
}

/// Names that mean something else to clients, servers or browsers.
const RESERVED: &[&str] = &["node_modules", "favicon.ico"];

/// Modules that Node.js ships: `require` never looks further for them.
/// Source: `require("module").builtinModules` of Node 20, without the internal ones.
const NODE_MODULES: &[&str] = &[
    "assert",
    "async_hooks",
    "buffer",
    "child_process",
    "cluster",
    "console",
    "constants",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "domain",
    "events",
    "fs",
    "http",
    "http2",
    "https",
    "inspector",
    "module",
    "net",
    "os",
    "path",
    "perf_hooks",
    "process",
    "punycode",
    "querystring",
    "readline",
    "repl",
    "stream",
    "string_decoder",
    "sys",
    "timers",
    "tls",
    "trace_events",
    "tty",
    "url",
    "util",
    "v8",
    "vm",
    "wasi",
    "worker_threads",
    "zlib",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::Route;

    #[test]
    fn names_that_may_be_published() {
        for good in ["a", "left-pad", "a.b_c-d", "0", "@acme/lib-a", "@a/b", "@acme/fs", "@1/2", &"a".repeat(214)] {
            let name = parse_name(good).unwrap_or_else(|e| panic!("{good}: {e}"));
            assert_eq!(name.canonical(), good);
            assert!(is_possible(good));
        }
    }

    #[test]
    fn names_that_may_not() {
        let long = "a".repeat(215);
        for (bad, why) in [
            ("", NameError::Empty),
            (long.as_str(), NameError::TooLong),
            ("Foo", NameError::Capitals),
            ("@Acme/x", NameError::Capitals),
            (".a", NameError::Start),
            ("_a", NameError::Start),
            ("-a", NameError::Start),
            ("@-a/b", NameError::Start),
            ("@a/_b", NameError::Start),
            ("a~b", NameError::Characters),
            ("a'b", NameError::Characters),
            ("a!b", NameError::Characters),
            ("a(b)", NameError::Characters),
            ("a*", NameError::Characters),
            (" a", NameError::Characters),
            ("a ", NameError::Characters),
            ("a/b", NameError::Characters),
            ("@a", NameError::Characters),
            ("@a/b/c", NameError::Characters),
            ("@/b", NameError::Empty),
            ("@a/", NameError::Empty),
            ("café", NameError::Characters),
            ("a%2fb", NameError::Characters),
            ("node_modules", NameError::Reserved("node_modules")),
            ("favicon.ico", NameError::Reserved("favicon.ico")),
            ("fs", NameError::Reserved("fs")),
        ] {
            assert_eq!(parse_name(bad).unwrap_err(), why, "{bad}");
        }
    }

    #[test]
    fn separators_do_not_make_a_new_unscoped_name() {
        assert_eq!(parse_name("left-pad").unwrap().collision_key(), parse_name("left.p_ad").unwrap().collision_key());
        assert_ne!(
            parse_name("@a/left-pad").unwrap().collision_key(),
            parse_name("@a/leftpad").unwrap().collision_key()
        );
    }

    proptest! {
        /// Whatever comes in: an accepted name is itself in a URL, has a flat file name, and can be looked up.
        #[test]
        fn accepted_names_are_safe_everywhere(text in prop_oneof!["\\PC{0,30}", "[@a-zA-Z0-9._~/% -]{0,20}", "(@[a-z.-]{1,3}/)?[a-z._-]{1,5}"]) {
            let accepted = parse_name(&text);
            prop_assert!(accepted.is_err() || is_possible(&text));
            if let Ok(name) = accepted {
                prop_assert_eq!(name.canonical(), &text);
                prop_assert_eq!(Route::parse(&format!("/{text}")), Route::Packument(text.clone()));
                let file = tarball_filename(&text, "1.0.0");
                prop_assert!(!file.contains(['/', '\\', '%']) && !file.starts_with('.'), "{}", file);
                prop_assert!(!name.collision_key().is_empty());
            }
        }
    }

    #[test]
    fn tarballs_are_called_after_the_bare_name() {
        assert_eq!(tarball_filename("@acme/lib-a", "1.0.0"), "lib-a-1.0.0.tgz");
        assert_eq!(tarball_filename("lib-a", "1.0.0-rc.1+x"), "lib-a-1.0.0-rc.1+x.tgz");
    }
}
