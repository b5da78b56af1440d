//! What people may write about themselves (control-plane.md §1.1, §4).

use crate::account::RuleBreak;

/// Longest display name, in characters.
pub const MAX_NAME_CHARS: usize = 200;
/// Longest biography, in characters.
pub const MAX_BIO_CHARS: usize = 4000;
/// Longest web address, in bytes: what every browser and proxy still takes.
pub const MAX_URL_BYTES: usize = 2048;

/// A one-line text; blank means absent.
pub fn name(field: &'static str, text: &str) -> Result<Option<String>, RuleBreak> {
    line(field, text, MAX_NAME_CHARS)
}

/// A text of several lines; blank means absent.
pub fn bio(field: &'static str, text: &str) -> Result<Option<String>, RuleBreak> {
    let text = text.trim();
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t' && c != '\r') {
        return Err(RuleBreak::invalid(field, "must not contain control characters"));
    }
    if text.chars().count() > MAX_BIO_CHARS {
        return Err(RuleBreak::invalid(field, format!("must not be longer than {MAX_BIO_CHARS} characters")));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// An absolute `http` or `https` address without credentials; blank means absent.
pub fn web_address(field: &'static str, text: &str) -> Result<Option<String>, RuleBreak> {
    let Some(text) = line(field, text, MAX_URL_BYTES)? else { return Ok(None) };
    let is_web = text.len() <= MAX_URL_BYTES
        && url::Url::parse(&text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        });
    if is_web { Ok(Some(text)) } else { Err(RuleBreak::invalid(field, "must be an http or https URL")) }
}

fn line(field: &'static str, text: &str, max_chars: usize) -> Result<Option<String>, RuleBreak> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(RuleBreak::invalid(field, "must not contain control characters"));
    }
    if text.chars().count() > max_chars {
        return Err(RuleBreak::invalid(field, format!("must not be longer than {max_chars} characters")));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_texts_are_absent_and_others_are_trimmed() {
        assert_eq!(name("display_name", "  ").unwrap(), None);
        assert_eq!(name("display_name", " Ada ").unwrap().as_deref(), Some("Ada"));
        assert_eq!(bio("bio", "a\nb\tc").unwrap().as_deref(), Some("a\nb\tc"));
        assert!(name("display_name", "a\nb").is_err() && bio("bio", "a\u{7}").is_err());
        assert!(name("display_name", &"x".repeat(201)).is_err() && bio("bio", &"x".repeat(4001)).is_err());
    }

    #[test]
    fn only_web_addresses_are_links() {
        assert!(web_address("website", "https://example.com/~me?x=1").unwrap().is_some());
        for bad in [
            "javascript:alert(1)",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://me:pw@example.com",
            "data:text/html,x",
            "//example.com",
        ] {
            assert!(web_address("website", bad).is_err(), "{bad}");
        }
    }
}
