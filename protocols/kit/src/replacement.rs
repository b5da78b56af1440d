//! Deprecations that name what to use instead: the registry keeps one message, and clients want the name by itself.

/// The message that [`named_by`] reads.
pub fn message_naming(package: &str) -> String {
    format!("{BEFORE}{package}{BEHIND}")
}

/// What a deprecation's message tells people to use instead, if it says nothing else. Whether that is a name is for
/// the ecosystem to say.
pub fn named_by(message: &str) -> Option<&str> {
    message.trim().strip_prefix(BEFORE)?.strip_suffix(BEHIND)
}

const BEFORE: &str = "Use ";
const BEHIND: &str = " instead.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_that_says_nothing_else_names_a_package() {
        assert_eq!(named_by(&message_naming("acme/new")), Some("acme/new"));
        assert_eq!(named_by(" Use Acme.New instead.\n"), Some("Acme.New"));
        assert_eq!(named_by("Use Acme.New instead. It is faster."), None);
        assert_eq!(named_by("Acme.New"), None);
    }
}
