//! Version constraints: checked for their syntax, because one that clients cannot read breaks every resolution that
//! meets it.
//!
//! Source: `VersionParser::parseConstraints` of composer/semver.

/// Longest first.
const OPERATORS: &[&str] = &["<=", ">=", "==", "!=", "<>", "<", ">", "=", "^", "~"];

/// Whether clients can read this as a constraint.
pub fn is_constraint(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.replace("||", "|").split('|').all(is_alternative)
}

/// Parts that must all hold, separated by spaces or commas; `a - b` is a range, `a as b` an alias.
fn is_alternative(text: &str) -> bool {
    let mut tokens = text.split([' ', ',']).filter(|token| !token.is_empty()).peekable();
    if tokens.peek().is_none() {
        return false;
    }
    let mut wants_version = true;
    while let Some(token) = tokens.next() {
        match token {
            "-" | "as" if wants_version => return false,
            "-" | "as" => wants_version = true,
            // The version may stand apart from its operator.
            token if OPERATORS.contains(&token) => match tokens.next() {
                Some(version) if is_version(version) => wants_version = false,
                _ => return false,
            },
            token => {
                let version = OPERATORS.iter().find_map(|operator| token.strip_prefix(operator)).unwrap_or(token);
                if !is_version(version) {
                    return false;
                }
                wants_version = false;
            }
        }
    }
    !wants_version
}

fn is_version(text: &str) -> bool {
    let text = match text.rsplit_once('@') {
        Some((version, flag)) => {
            if !["stable", "rc", "beta", "alpha", "dev"].iter().any(|known| flag.eq_ignore_ascii_case(known)) {
                return false;
            }
            if version.is_empty() {
                return true;
            }
            version
        }
        None => text,
    };
    let is_branch = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    match text {
        "*" | "x" | "X" | "self.version" | "master" | "trunk" | "default" => true,
        branch if branch.len() > 4 && branch.get(..4).is_some_and(|dev| dev.eq_ignore_ascii_case("dev-")) => {
            is_branch(&branch[4..])
        }
        _ => {
            let plain = text.split_once('#').map_or(text, |(version, _)| version);
            let plain = plain.strip_prefix(['v', 'V']).unwrap_or(plain);
            plain.starts_with(|c: char| c.is_ascii_digit())
                && plain
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*' | b'+' | b':'))
        }
    }
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
        ] {
            assert!(!is_constraint(bad), "{bad:?}");
        }
    }
}
