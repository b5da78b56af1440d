//! What a user name, an e-mail address and a new password must look like (control-plane.md §3).

use std::fmt;

use smol_str::SmolStr;

use crate::secret::Secret;

/// Names nobody may take as a package name without a scope (access.md §8, first row).
pub const RESERVED_EVERYWHERE: &[&str] = &[
    "admin",
    "administrator",
    "root",
    "system",
    "publaryn",
    "registry",
    "api",
    "www",
    "mail",
    "smtp",
    "ftp",
    "ssh",
    "npm",
    "pypi",
    "cargo",
    "nuget",
    "rubygems",
    "maven",
    "docker",
    "oci",
    "composer",
    "security",
    "internal",
    "private",
    "public",
    "official",
];

/// Further names nobody may take as a user name or organization slug (access.md §8, second row).
pub const RESERVED_FOR_ACCOUNTS: &[&str] = &[
    "me",
    "self",
    "null",
    "undefined",
    "none",
    "anonymous",
    "unknown",
    "bun",
    "pip",
    "crates",
    "gems",
    "packagist",
    "help",
    "support",
    "status",
    "health",
    "readiness",
    "metrics",
    "login",
    "logout",
    "register",
    "settings",
    "search",
    "stats",
    "static",
    "assets",
    "swagger",
    "v1",
    "v2",
];

/// Longest password, in bytes: bounds what one hash reads.
pub const MAX_PASSWORD_BYTES: usize = 1024;
/// Longest e-mail address, in bytes (RFC 5321 §4.5.3.1.3 less the angle brackets).
pub const MAX_EMAIL_BYTES: usize = 254;
/// Longest local part of an e-mail address, in bytes (RFC 5321 §4.5.3.1.1).
const MAX_EMAIL_LOCAL_BYTES: usize = 64;

/// An input that breaks a rule: which field, the stable code and the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuleBreak {
    pub field: &'static str,
    /// `validation_failed` or `reserved_name` (control-plane.md §1.3).
    pub code: &'static str,
    pub message: String,
}

impl RuleBreak {
    /// A `validation_failed` about one field.
    pub fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, code: "validation_failed", message: message.into() }
    }
}

/// The rules an operator may change.
#[derive(Debug, Clone)]
pub struct AccountRules {
    /// `auth.password_min_length`, in characters.
    pub password_min_chars: usize,
    /// `policy.extra_reserved_names`.
    pub extra_reserved: Vec<String>,
}

impl Default for AccountRules {
    fn default() -> Self {
        Self { password_min_chars: 12, extra_reserved: Vec::new() }
    }
}

impl AccountRules {
    /// Accepts a user name that may be registered.
    pub fn username(&self, text: &str) -> Result<Username, RuleBreak> {
        let name = Username::parse(text)?;
        if self.is_reserved(name.as_str()) {
            return Err(RuleBreak {
                field: "username",
                code: "reserved_name",
                message: format!("`{name}` is a reserved name"),
            });
        }
        Ok(name)
    }

    /// Accepts a user name that an operator chooses: reserved ones too, but not one that a route means
    /// otherwise (`/v1/users/me`).
    pub fn operator_username(&self, text: &str) -> Result<Username, RuleBreak> {
        let name = Username::parse(text)?;
        if name.key() == "me" { self.username(text) } else { Ok(name) }
    }

    /// Accepts a new password.
    pub fn password(&self, password: Secret) -> Result<NewPassword, RuleBreak> {
        let text = password.expose();
        if text.chars().count() < self.password_min_chars {
            let message = format!("must have at least {} characters", self.password_min_chars);
            return Err(RuleBreak::invalid("password", message));
        }
        if text.len() > MAX_PASSWORD_BYTES {
            return Err(RuleBreak::invalid("password", format!("must not be longer than {MAX_PASSWORD_BYTES} bytes")));
        }
        Ok(NewPassword(password))
    }

    /// Whether the name is on a list, ignoring case and separators.
    pub fn is_reserved(&self, name: &str) -> bool {
        let folded = fold(name);
        RESERVED_EVERYWHERE.iter().chain(RESERVED_FOR_ACCOUNTS).any(|reserved| *reserved == folded)
            || self.extra_reserved.iter().any(|reserved| fold(reserved) == folded)
    }
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | '.')).flat_map(char::to_lowercase).collect()
}

/// A user name of legal form: `^[A-Za-z0-9][A-Za-z0-9_-]{1,38}$`.
///
/// Keeps the spelling for display; [`Username::key`] is what must be unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(SmolStr);

impl Username {
    /// Checks the form only; [`AccountRules::username`] also refuses reserved names.
    pub fn parse(text: &str) -> Result<Self, RuleBreak> {
        let text = text.trim();
        let legal = (2..=39).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !legal {
            let message = "must be 2 to 39 letters, digits, `-` or `_`, starting with a letter or digit";
            return Err(RuleBreak::invalid("username", message));
        }
        Ok(Self(text.into()))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The form compared: lower case.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One e-mail address, unquoted local part (RFC 5321 `Dot-string`, or with RFC 6531 letters).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailAddress(SmolStr);

impl EmailAddress {
    pub fn parse(text: &str) -> Result<Self, RuleBreak> {
        let text = text.trim();
        let legal = text.len() <= MAX_EMAIL_BYTES
            && text.split_once('@').is_some_and(|(local, domain)| is_local_part(local) && is_domain(domain));
        if !legal {
            return Err(RuleBreak::invalid("email", "must be one e-mail address"));
        }
        Ok(Self(text.into()))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The form compared: lower case.
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

fn is_local_part(local: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.chars().all(|c| c.is_alphanumeric() || (c.is_ascii() && "!#$%&'*+-/=?^_`{|}~".contains(c)))
    };
    local.len() <= MAX_EMAIL_LOCAL_BYTES && local.split('.').all(is_atom)
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.split('.').all(is_label)
}

/// A password that satisfies the rules, ready to be hashed.
#[derive(Debug, Clone)]
pub struct NewPassword(Secret);

impl NewPassword {
    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_of_legal_form_are_accepted() {
        for good in ["ab", "Alice", "a-b_c", "9lives", &"x".repeat(39)] {
            assert_eq!(Username::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a", "-ab", "_ab", "a b", "a.b", "ä1", "a@b", &"x".repeat(40)] {
            assert_eq!(Username::parse(bad).unwrap_err().code, "validation_failed", "{bad}");
        }
    }

    #[test]
    fn reserved_names_are_refused_in_every_spelling() {
        let rules = AccountRules { extra_reserved: vec!["Acme Corp".into(), "ac-me".into()], ..Default::default() };
        for name in ["admin", "Ad-Min", "PY_PI", "me", "v1", "c-r-a-t-e-s", "acme", "A-C-M-E"] {
            assert_eq!(rules.username(name).unwrap_err().code, "reserved_name", "{name}");
        }
        assert!(rules.username("admina").is_ok());
    }

    #[test]
    fn email_addresses_are_one_address() {
        for good in ["a@b.c", "first.last+tag@sub.example.com", "root@localhost", "jürgen@exämple.de", "o'neil@x.ie"]
        {
            assert_eq!(EmailAddress::parse(good).unwrap().as_str(), good);
        }
        let long = format!("{}@example.com", "x".repeat(65));
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c.d",
            "a@b c",
            "a..b@c.d",
            ".a@b.c",
            "a@-b.c",
            "a@b..c",
            "a@b,c@d",
            "<a@b.c>",
            "a@b.c\u{0}",
            "a\n@b.c",
            &long,
        ] {
            assert!(EmailAddress::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(EmailAddress::parse("Me@Example.COM").unwrap().key(), "me@example.com");
    }

    #[test]
    fn passwords_are_counted_in_characters_and_bounded_in_bytes() {
        let rules = AccountRules::default();
        assert!(rules.password(Secret::new("ééééééééééé")).is_err(), "11 characters in 22 bytes");
        assert!(rules.password(Secret::new("éééééééééééé")).is_ok());
        assert!(rules.password(Secret::new("x".repeat(1024))).is_ok());
        assert!(rules.password(Secret::new("x".repeat(1025))).is_err());
    }
}
