//! Package names: `vendor/package`, lower case.
//!
//! Source: `res/composer-schema.json` of composer/composer; composer.md §6.

use publaryn_core::{PackageName, RegistryError};

/// Longest name, in bytes (access.md §7).
const MAX_NAME_BYTES: usize = 200;

/// Names that mean the platform to every client (`PlatformRepository` of composer/composer).
const PLATFORM: &[&str] = &[
    "php",
    "php-64bit",
    "php-ipv6",
    "php-zts",
    "php-debug",
    "hhvm",
    "composer",
    "composer-plugin-api",
    "composer-runtime-api",
];

/// Parses the name of a package that is to be hosted here.
///
/// # Errors
/// `Invalid` with the reason.
pub fn parse_name(raw: &str) -> Result<PackageName, RegistryError> {
    let invalid = |message: String| Err(RegistryError::invalid("invalid_name", message));
    if !is_name(raw) {
        let shown: String = raw.chars().filter(|c| !c.is_control()).take(80).collect();
        return invalid(format!(
            "`{shown}` is no package name: it must be vendor/package in lower case, with single `.`, `_` or `-` between"
        ));
    }
    if let Some(part) = raw.split('/').find(|part| is_reserved(part)) {
        return invalid(format!("`{raw}` cannot be hosted: `{part}` means something else to clients"));
    }
    Ok(PackageName::accepted(raw, raw, raw))
}

/// The canonical form of a name from a URL; `None` for what is no name. Clients write names in lower case, people do not.
pub fn canonical(raw: &str) -> Option<String> {
    let lower = raw.to_ascii_lowercase();
    is_name(&lower).then_some(lower)
}

/// The vendor of a valid name.
pub fn vendor(name: &str) -> &str {
    name.split_once('/').map_or(name, |(vendor, _)| vendor)
}

/// Whether this is a well-formed name of a package (not of the platform).
pub fn is_name(raw: &str) -> bool {
    raw.len() <= MAX_NAME_BYTES
        && raw.split_once('/').is_some_and(|(vendor, package)| is_part(vendor, 1) && is_part(package, 2))
}

/// Lower-case letters and digits; between them one separator, or up to `hyphens` hyphens.
fn is_part(part: &str, hyphens: usize) -> bool {
    let is_edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = part.as_bytes();
    if !is_edge(bytes.first()) || !is_edge(bytes.last()) {
        return false;
    }
    part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|gap| matches!(gap, "" | "." | "_" | "-") || (hyphens == 2 && gap == "--"))
}

fn is_reserved(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part);
    let is_numbered =
        |prefix: &str| stem.strip_prefix(prefix).is_some_and(|rest| matches!(rest.as_bytes(), [b'1'..=b'9']));
    PLATFORM.contains(&part)
        || part.starts_with("ext-")
        || part.starts_with("lib-")
        || part.ends_with(".json")
        // No file of that name can be made on Windows.
        || matches!(stem, "con" | "prn" | "aux" | "nul")
        || is_numbered("com")
        || is_numbered("lpt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_vendor_and_package_in_lower_case() {
        for good in ["acme/lib", "a/b", "acme.corp/my--lib", "a_b/c.d-e", "0/1", "php-http/client"] {
            assert!(parse_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "acme",
            "/lib",
            "acme/",
            "acme/lib/x",
            "Acme/lib",
            "acme/-lib",
            "acme/lib-",
            "ac--me/lib",
            "acme/a---b",
            "acme/a..b",
            "acme/a_.b",
            "acme/li b",
            "acme/../x",
            "acme/ünicode",
            "acme/lib~dev",
            "acme/l\0b",
            &format!("acme/{}", "a".repeat(196)),
        ] {
            assert!(!is_name(bad), "{bad}");
            assert!(parse_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_the_platform_and_of_devices_are_refused() {
        for bad in [
            "php/x",
            "acme/php",
            "acme/ext-json",
            "lib-x/y",
            "acme/composer",
            "acme/con",
            "com1/x",
            "acme/x.json",
            "nul.x/y",
        ] {
            assert!(is_name(bad) && parse_name(bad).is_err(), "{bad}");
        }
        assert_eq!(canonical("Acme/Lib").as_deref(), Some("acme/lib"));
        assert_eq!(vendor("acme/lib"), "acme");
    }
}
