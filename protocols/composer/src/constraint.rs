//! Version constraints: checked for their syntax, because one that clients cannot read breaks every resolution that
//! meets it.
//!
//! Source: `VersionParser::parseConstraints` of composer/semver. What is taken here, it takes; of its leniencies those
//! are left out that nobody means (`feature-dev` for `dev-feature`).

use crate::version::Normalized;

/// Longest first. A space may follow these.
const COMPARATORS: [&str; 8] = ["<=", ">=", "==", "!=", "<>", "<", ">", "="];

/// Whether clients can read this as a constraint.
pub fn is_constraint(text: &str) -> bool {
    // Only as the whole text it is put in by clients.
    text == "self.version"
        || !text.chars().any(char::is_control) && text.replace("||", "|").split('|').all(is_alternative)
}

/// Parts that must all hold, separated by spaces or commas; `a - b` is a range, `a as b` an alias.
fn is_alternative(text: &str) -> bool {
    let tokens: Vec<&str> = text.split(' ').filter(|token| !token.is_empty()).collect();
    match tokens.as_slice() {
        [version, "as", alias] => is_part(version) && is_version(alias),
        _ => text.split(',').all(is_conjunction),
    }
}

fn is_conjunction(text: &str) -> bool {
    let mut tokens = text.split(' ').filter(|token| !token.is_empty()).peekable();
    if tokens.peek().is_none() {
        return false;
    }
    while let Some(token) = tokens.next() {
        let is_read = if COMPARATORS.contains(&token) {
            tokens.next().is_some_and(is_version)
        } else if tokens.next_if_eq(&"-").is_some() {
            is_numbered(token) && tokens.next().is_some_and(is_numbered)
        } else {
            is_part(token)
        };
        if !is_read {
            return false;
        }
    }
    true
}

/// One bound without spaces: `^1.2`, `>=1.0@beta`, `1.*`, `@dev`.
fn is_part(text: &str) -> bool {
    let Some(text) = without_flag(text) else { return false };
    if text.is_empty() || is_any(text) || is_wildcard(text) {
        return true;
    }
    if let Some(version) = text.strip_prefix(['^', '~']) {
        return is_numbered(version);
    }
    match COMPARATORS.iter().find_map(|comparator| text.strip_prefix(comparator)) {
        Some(version) => is_version(version),
        // What follows the `#` is for Composer alone; after `dev-` it is read as a part of the branch.
        None => is_version(text.split_once('#').filter(|(branch, _)| is_numeric_branch(branch)).map_or(text, |b| b.0)),
    }
}

/// The text without `@beta` and the like; `None` where that is no stability.
fn without_flag(text: &str) -> Option<&str> {
    let Some((version, flag)) = text.rsplit_once('@') else { return Some(text) };
    ["stable", "rc", "beta", "alpha", "dev"].iter().any(|known| flag.eq_ignore_ascii_case(known)).then_some(version)
}

/// What may follow a comparator.
fn is_version(text: &str) -> bool {
    let Some(text) = without_flag(text) else { return false };
    let is_branch = text.get(..4).is_some_and(|dev| dev.eq_ignore_ascii_case("dev-"))
        && text.len() > 4
        && text.bytes().all(|b| b.is_ascii_graphic());
    is_branch
        || matches!(text, "master" | "trunk" | "default")
        || is_numeric_branch(text)
        || is_normal(without_dev(text).unwrap_or(text))
}

/// What may follow `^` and `~`, and stand in a range: up to four numbers with their suffix, no date with separators.
fn is_numbered(text: &str) -> bool {
    let mut rest = text.strip_prefix(['v', 'V']).unwrap_or(text).trim_start_matches(|c: char| c.is_ascii_digit());
    for _ in 0..3 {
        let Some(after) = rest.strip_prefix('.').filter(|after| after.starts_with(|c: char| c.is_ascii_digit())) else {
            break;
        };
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    let is_dated = rest.trim_start_matches(['.', ':', '-', '_']).starts_with(|c: char| c.is_ascii_digit());
    !is_dated && (is_numeric_branch(text) || is_normal(without_dev(text).unwrap_or(text)))
}

fn is_normal(text: &str) -> bool {
    !text.contains([' ', '@']) && Normalized::parse(text).is_ok()
}

fn without_dev(text: &str) -> Option<&str> {
    let (version, dev) = text.split_at_checked(text.len().checked_sub(3)?)?;
    dev.eq_ignore_ascii_case("dev").then(|| version.strip_suffix(['.', '-']).unwrap_or(version))
}

/// `1.x-dev`, `1.2-dev`: numbers, then wildcards or numbers, and that it is a branch.
fn is_numeric_branch(text: &str) -> bool {
    let Some(name) = without_dev(text) else { return false };
    let mut parts = name.strip_prefix(['v', 'V']).unwrap_or(name).split('.');
    parts.next().is_some_and(is_number) && parts.clone().count() <= 3 && parts.all(|part| is_number(part) || is_x(part))
}

/// `*`, `x`, `v*.*`
fn is_any(text: &str) -> bool {
    text.strip_prefix(['v', 'V']).unwrap_or(text).split('.').all(is_x)
}

/// `1.*`, `1.2.x`, `1.2.3.*`
fn is_wildcard(text: &str) -> bool {
    let parts: Vec<&str> = text.strip_prefix('v').unwrap_or(text).split('.').collect();
    let numbers = parts.iter().take_while(|part| is_number(part)).count();
    (1..=3).contains(&numbers) && parts.len() > numbers && parts[numbers..].iter().all(|part| is_x(part))
}

fn is_x(part: &str) -> bool {
    matches!(part, "*" | "x" | "X")
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_in_use_are_read() {
        for good in [
            "*",
            "1.0",
            "v1.0.*",
            "^1.2",
            "~1.2.3",
            ">=1.0",
            ">= 1.0",
            ">=1.0 <2.0",
            ">=1.0,<2.0",
            "^7.4 || ^8.0",
            "^7.4|^8.0",
            "1.0 - 2.0",
            "dev-main",
            "dev-feature/x#abc123",
            "1.x-dev",
            "1.0.x-dev as 1.0.0",
            "@dev",
            "1.0@beta",
            "*@stable",
            "self.version",
            "!=1.3",
            "<>1.3",
            "1.0-beta.2",
            "x",
            "1.0.0+build",
            "20100102",
            ">=2010-01-02",
            ">=1.0, <2.0",
            ">=1.0 , !=1.5,<2.0",
            "^1.0@dev",
            "~1.2-beta1",
            "^2.x-dev",
            ">=8.x-dev",
            "1.2.3.*",
            "1.*.*",
            "v*",
            "1.x-dev#abc123",
            "1.0 - 2.0 !=1.5",
            "1.0 - 2.x-dev",
            "=1.0-stable",
            "<1.0-dev",
            ">dev-main",
            "dev-master as 1.0.x-dev || ^2",
        ] {
            assert!(is_constraint(good), "{good}");
        }
        for bad in [
            "",
            " ",
            "||",
            "^1.0 ||",
            "foo",
            ">=",
            "^",
            "1.0 -",
            "- 1.0",
            "as 1.0",
            "1.0@never",
            "dev-",
            "1.0; rm",
            "latest",
            "1.0\n2.0",
            ">=8.*",
            "<8.x",
            "!=*",
            "^1.*",
            "~1.x",
            "^ 1.0",
            "^dev-main",
            "^2010-01-02",
            "~>1.0",
            "1.2.3.4.5",
            "^1.2.3.4.5",
            "1.0-foo",
            "1.0-foo-dev",
            "1..2",
            ">=1.0,",
            ",>=1.0",
            ">=1.0,,<2.0",
            ">=,1.0",
            "1.* - 2.0",
            "1.0 - ^2.0",
            "1.0 -2.0",
            "1.0 - 2.0 - 3.0",
            "1.0#abc123",
            "*.1",
            "1.*.1",
            "1.2.3.4.*",
            "self.version || ^1.0",
            "1.0.",
            ">=99999999999999999999",
            ">>1.0",
        ] {
            assert!(!is_constraint(bad), "{bad:?}");
        }
    }
}
