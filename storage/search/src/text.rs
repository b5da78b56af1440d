//! How names, descriptions and search texts become comparable words.
//!
//! Index and query go through the same rules, so a package is found however its separators, scope
//! or capitals are typed. Every function here is total: no text makes it fail or panic.

use std::collections::BTreeSet;

/// Longest search text, in characters (control-plane.md §9).
pub const MAX_QUERY_CHARS: usize = 256;

/// Longest word kept, in characters; longer ones are cut on both sides of the comparison.
const MAX_WORD_CHARS: usize = 64;

/// Words of one search that count. Each costs several index look-ups, and nobody types more.
const MAX_QUERY_TERMS: usize = 12;

/// Words of a description that are indexed; bounds what one package can add to the index.
const MAX_DESCRIPTION_WORDS: usize = 400;

/// Shortest word for which one typo is forgiven, in characters (control-plane.md §9).
pub const MIN_TYPO_CHARS: usize = 5;

/// English words that a search may contain without every hit having to.
const FILLER_WORDS: &[&str] =
    &["a", "an", "and", "as", "at", "by", "for", "from", "in", "is", "of", "on", "or", "the", "to", "with"];

/// A search text, read once: what the caller typed, as words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchText {
    terms: Vec<String>,
    folded: String,
}

/// The text is longer than [`MAX_QUERY_CHARS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("search text is longer than {MAX_QUERY_CHARS} characters")]
pub struct TextTooLong;

impl SearchText {
    /// Reads any text; one without a letter or digit is blank and matches everything.
    ///
    /// # Errors
    /// [`TextTooLong`] above [`MAX_QUERY_CHARS`] characters.
    pub fn parse(raw: &str) -> Result<Self, TextTooLong> {
        if raw.chars().nth(MAX_QUERY_CHARS).is_some() {
            return Err(TextTooLong);
        }
        let all = words(raw);
        let folded = all.join(" ");
        let mut terms: Vec<String> = Vec::new();
        let has_content = all.iter().any(|w| !FILLER_WORDS.contains(&w.as_str()));
        for word in all {
            let counts = !has_content || !FILLER_WORDS.contains(&word.as_str());
            if counts && !terms.contains(&word) && terms.len() < MAX_QUERY_TERMS {
                terms.push(word);
            }
        }
        Ok(Self { terms, folded })
    }

    pub fn is_blank(&self) -> bool {
        self.terms.is_empty()
    }
    /// The distinct words a hit must contain.
    pub fn terms(&self) -> &[String] {
        &self.terms
    }
    /// All words in order, joined by a blank: comparable with [`NameForms`].
    pub fn folded(&self) -> &str {
        &self.folded
    }
    /// All words written together, so that `foo bar` finds `foobar`.
    pub fn compact(&self) -> String {
        self.folded.replace(' ', "")
    }
}

/// A package name in the forms it is searched by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameForms {
    /// `@acme/foo-bar` → `acme foo bar`.
    pub full: String,
    /// Without scope, vendor, group or path: `foo bar`.
    pub base: String,
    /// Single words: `acme`, `foo`, `bar` and, written together, `foobar`; `camelCase` also splits.
    pub words: BTreeSet<String>,
}

impl NameForms {
    pub fn of(name: &str) -> Self {
        let base = name.rsplit(['/', ':']).next().unwrap_or(name);
        let mut all: BTreeSet<String> = words(name).into_iter().collect();
        all.extend(words(&split_camel_case(name)));
        let base = words(base).join(" ");
        all.insert(cut(base.replace(' ', "")));
        all.remove("");
        Self { full: words(name).join(" "), base, words: all }
    }
}

/// The distinct words of a description.
pub fn description_words(text: &str) -> BTreeSet<String> {
    words(text).into_iter().take(MAX_DESCRIPTION_WORDS).collect()
}

/// A value to filter by (keyword, licence, scope): lower case, without what a filter language could trip over.
pub fn facet_value(text: &str) -> String {
    let kept = text.trim().chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\'' | '\\')).take(MAX_QUERY_CHARS);
    kept.collect::<String>().to_lowercase()
}

/// The licence expression and every licence in it, so that `MIT` finds `MIT OR Apache-2.0`.
pub fn license_values(expression: &str) -> BTreeSet<String> {
    let whole = facet_value(expression);
    let mut values: BTreeSet<String> = whole
        .split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '/' | ','))
        .filter(|w| !matches!(*w, "" | "or" | "and" | "with"))
        .map(str::to_owned)
        .collect();
    values.insert(whole);
    values.remove("");
    values
}

/// Lower-case runs of letters and digits. Ideographs and kana stand alone, as they are not
/// separated by blanks.
pub fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if is_unspaced_script(c) {
            close(&mut word, &mut found);
            found.push(c.to_string());
        } else if c.is_alphanumeric() {
            word.push(c);
        } else if !is_combining(c) {
            // Combining marks (from lower-casing, `İ` → `i̇`) neither belong to a word nor end it.
            close(&mut word, &mut found);
        }
    }
    close(&mut word, &mut found);
    found
}

fn close(word: &mut String, found: &mut Vec<String>) {
    if !word.is_empty() {
        found.push(cut(std::mem::take(word)));
    }
}

fn cut(mut word: String) -> String {
    if let Some((end, _)) = word.char_indices().nth(MAX_WORD_CHARS) {
        word.truncate(end);
    }
    word
}

fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

fn is_unspaced_script(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// `NewtonsoftJson` → `Newtonsoft Json`, `HTTPServer` → `HTTP Server`.
fn split_camel_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 8);
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|p| chars[p]);
        let after = chars.get(i + 1);
        let starts_word = c.is_uppercase()
            && before.is_some_and(|b| {
                b.is_lowercase() || b.is_numeric() || (b.is_uppercase() && after.is_some_and(|a| a.is_lowercase()))
            });
        if starts_word {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn names_are_known_by_their_parts() {
        let scoped = NameForms::of("@acme/foo-bar");
        assert_eq!((scoped.full.as_str(), scoped.base.as_str()), ("acme foo bar", "foo bar"));
        assert_eq!(scoped.words, set(&["acme", "foo", "bar", "foobar"]));

        let maven = NameForms::of("org.acme:json-core");
        assert_eq!(maven.base, "json core");
        assert_eq!(maven.words, set(&["org", "acme", "json", "core", "jsoncore"]));

        let nuget = NameForms::of("Newtonsoft.JsonSchema");
        assert_eq!(nuget.words, set(&["newtonsoft", "jsonschema", "json", "schema", "newtonsoftjsonschema"]));
        assert_eq!(NameForms::of("HTTPServer").words, set(&["httpserver", "http", "server"]));
    }

    #[test]
    fn searches_ignore_separators_case_and_filler() {
        let text = |raw: &str| SearchText::parse(raw).unwrap();
        for same in ["foo-bar", "Foo_Bar", " foo.bar ", "foo bar", "foo/bar"] {
            assert_eq!(text(same), text("foo bar"), "{same}");
        }
        assert_eq!(text("a parser for the web").terms(), ["parser", "web"]);
        assert_eq!(text("the").terms(), ["the"]);
        assert_eq!(text("react react").terms(), ["react"]);
        assert_eq!(text("注册表").terms(), ["注", "册", "表"]);
        assert!(text("  --- ").is_blank());
        assert_eq!(text("foo bar").compact(), "foobar");
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert!(SearchText::parse(&"é".repeat(MAX_QUERY_CHARS)).is_ok());
        assert_eq!(SearchText::parse(&"é".repeat(MAX_QUERY_CHARS + 1)), Err(TextTooLong));
    }

    #[test]
    fn licences_are_found_inside_expressions() {
        assert_eq!(license_values("(MIT OR Apache-2.0)"), set(&["(mit or apache-2.0)", "mit", "apache-2.0"]));
        assert_eq!(license_values("MIT"), set(&["mit"]));
        assert!(license_values(" ").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read(raw in "\\PC{0,300}") {
            match SearchText::parse(&raw) {
                Err(TextTooLong) => prop_assert!(raw.chars().count() > MAX_QUERY_CHARS),
                Ok(text) => {
                    prop_assert!(raw.chars().count() <= MAX_QUERY_CHARS);
                    prop_assert!(text.terms().len() <= MAX_QUERY_TERMS);
                    for term in text.terms() {
                        prop_assert!(!term.is_empty() && term.chars().count() <= MAX_WORD_CHARS);
                    }
                    prop_assert_eq!(text.is_blank(), !raw.chars().flat_map(char::to_lowercase).any(char::is_alphanumeric));
                }
            }
        }

        #[test]
        fn any_bytes_are_read(raw in proptest::collection::vec(any::<u8>(), 0..256)) {
            let raw = String::from_utf8_lossy(&raw);
            let _ = SearchText::parse(&raw);
            let forms = NameForms::of(&raw);
            prop_assert!(!forms.words.contains(""));
            prop_assert!(!facet_value(&raw).contains(['"', '\\', '\0']));
        }

        #[test]
        fn a_name_is_found_by_its_own_spelling(name in "(@[a-z]{1,8}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,30}") {
            let text = SearchText::parse(&name).unwrap();
            let forms = NameForms::of(&name);
            prop_assert_eq!(text.folded(), &forms.full);
            for term in text.terms() {
                prop_assert!(forms.words.contains(term), "{} in {:?}", term, forms);
            }
        }
    }
}
