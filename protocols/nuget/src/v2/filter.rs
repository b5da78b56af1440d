//! `$filter` and `$orderby`, as far as clients use them; anything else is refused.

use std::cmp::Ordering;

use crate::version::Parts;

/// Longest filter, in bytes, and its deepest nesting.
const MAX_BYTES: usize = 8 << 10;
const MAX_DEPTH: usize = 32;

/// A field of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Id,
    Version,
    Title,
    Tags,
    Description,
    Authors,
    IsLatest,
    IsAbsoluteLatest,
    IsPrerelease,
}

impl Field {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "Id" => Self::Id,
            "Version" | "NormalizedVersion" => Self::Version,
            "Title" => Self::Title,
            "Tags" => Self::Tags,
            "Description" => Self::Description,
            "Authors" => Self::Authors,
            "IsLatestVersion" => Self::IsLatest,
            "IsAbsoluteLatestVersion" => Self::IsAbsoluteLatest,
            "IsPrerelease" => Self::IsPrerelease,
            _ => return None,
        })
    }
}

/// What a filter looks at.
pub trait Row {
    fn text(&self, field: Field) -> String;
    fn flag(&self, field: Field) -> bool;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Flag(Field, bool),
    Compare(Field, Comparison, String),
    Text(Match, Field, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    Contains,
    Starts,
    Ends,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// What is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err("the filter is too long".into());
        }
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
        let filter = parser.any()?;
        match parser.peek() {
            None => Ok(filter),
            Some(token) => Err(format!("the filter is not understood at {}", token.shown())),
        }
    }

    pub fn admits(&self, row: &impl Row) -> bool {
        match self {
            Self::And(a, b) => a.admits(row) && b.admits(row),
            Self::Or(a, b) => a.admits(row) || b.admits(row),
            Self::Flag(field, wanted) => row.flag(*field) == *wanted,
            Self::Compare(field, comparison, wanted) => {
                let order = compare(*field, &row.text(*field), wanted);
                match comparison {
                    Comparison::Eq => order == Ordering::Equal,
                    Comparison::Ne => order != Ordering::Equal,
                    Comparison::Gt => order == Ordering::Greater,
                    Comparison::Ge => order != Ordering::Less,
                    Comparison::Lt => order == Ordering::Less,
                    Comparison::Le => order != Ordering::Greater,
                }
            }
            Self::Text(kind, field, wanted) => {
                let (text, wanted) = (row.text(*field).to_lowercase(), wanted.to_lowercase());
                match kind {
                    Match::Contains => text.contains(&wanted),
                    Match::Starts => text.starts_with(&wanted),
                    Match::Ends => text.ends_with(&wanted),
                }
            }
        }
    }

    /// The one id that a release must have to be admitted.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Compare(Field::Id, Comparison::Eq, id) => Some(id),
            Self::And(a, b) => a.id().or_else(|| b.id()),
            _ => None,
        }
    }

    /// Whether it is nothing but a question for the newest release of each package.
    pub fn is_latest_only(&self) -> bool {
        matches!(self, Self::Flag(Field::IsLatest | Field::IsAbsoluteLatest, true))
    }
}

/// Versions by their order, other texts without case.
fn compare(field: Field, text: &str, wanted: &str) -> Ordering {
    if field == Field::Version
        && let (Some(a), Some(b)) = (Parts::parse(text), Parts::parse(wanted))
    {
        return a.sort_key().cmp(&b.sort_key());
    }
    text.to_lowercase().cmp(&wanted.to_lowercase())
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
    Comma,
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Word(word) => word.chars().take(40).collect(),
            Self::Text(text) => format!("'{}'", text.chars().filter(|c| !c.is_control()).take(40).collect::<String>()),
            Self::Open => "(".into(),
            Self::Close => ")".into(),
            Self::Comma => ",".into(),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            ',' => tokens.push(Token::Comma),
            c if c.is_whitespace() => {}
            '\'' => {
                let (value, after) = quoted(&rest[1..])?;
                tokens.push(Token::Text(value));
                rest = after;
                continue;
            }
            c if c.is_ascii_alphanumeric() => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                rest = &rest[end..];
                continue;
            }
            other => return Err(format!("the filter has a sign that is not understood: {}", other.escape_default())),
        }
        rest = &rest[first.len_utf8()..];
    }
    Ok(tokens)
}

/// A literal behind its first quote, whose own quotes are doubled, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('\'').ok_or("a text in the filter has no end")?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('\'') {
            Some(after) => {
                value.push('\'');
                rest = after;
            }
            None => return Ok((value, rest)),
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }
    fn next(&mut self) -> Result<Token, String> {
        let token = self.peek().cloned().ok_or("the filter ends too early")?;
        self.at += 1;
        Ok(token)
    }
    fn expect(&mut self, wanted: &Token) -> Result<(), String> {
        let found = self.next()?;
        if found == *wanted { Ok(()) } else { Err(format!("the filter is not understood at {}", found.shown())) }
    }
    fn takes_word(&mut self, word: &str) -> bool {
        let is_there = matches!(self.peek(), Some(Token::Word(found)) if found == word);
        self.at += usize::from(is_there);
        is_there
    }

    fn any(&mut self) -> Result<Filter, String> {
        let mut filter = self.all()?;
        while self.takes_word("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.all()?));
        }
        Ok(filter)
    }

    fn all(&mut self) -> Result<Filter, String> {
        let mut filter = self.one()?;
        while self.takes_word("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one()?));
        }
        Ok(filter)
    }

    fn one(&mut self) -> Result<Filter, String> {
        match self.next()? {
            Token::Open => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err("the filter is nested too deep".into());
                }
                let filter = self.any()?;
                self.expect(&Token::Close)?;
                self.depth -= 1;
                Ok(filter)
            }
            Token::Word(word) => self.statement(&word),
            other => Err(format!("the filter is not understood at {}", other.shown())),
        }
    }

    fn statement(&mut self, word: &str) -> Result<Filter, String> {
        let unknown = || format!("the filter is not understood at {word}");
        match word {
            "substringof" => {
                self.expect(&Token::Open)?;
                let text = self.literal()?;
                self.expect(&Token::Comma)?;
                let field = self.field()?;
                self.expect(&Token::Close)?;
                self.is_true()?;
                Ok(Filter::Text(Match::Contains, field, text))
            }
            "startswith" | "endswith" => {
                self.expect(&Token::Open)?;
                let field = self.field()?;
                self.expect(&Token::Comma)?;
                let text = self.literal()?;
                self.expect(&Token::Close)?;
                self.is_true()?;
                let kind = if word == "startswith" { Match::Starts } else { Match::Ends };
                Ok(Filter::Text(kind, field, text))
            }
            "tolower" => {
                self.at -= 1;
                let field = self.field()?;
                self.comparison(field)
            }
            word => match Field::of(word).ok_or_else(unknown)? {
                field @ (Field::IsLatest | Field::IsAbsoluteLatest | Field::IsPrerelease) => self.flag(field),
                field => self.comparison(field),
            },
        }
    }

    fn flag(&mut self, field: Field) -> Result<Filter, String> {
        if !self.takes_word("eq") {
            return Ok(Filter::Flag(field, true));
        }
        if self.takes_word("true") {
            return Ok(Filter::Flag(field, true));
        }
        self.expect(&Token::Word("false".into()))?;
        Ok(Filter::Flag(field, false))
    }

    fn comparison(&mut self, field: Field) -> Result<Filter, String> {
        let comparison = match self.next()? {
            Token::Word(word) => match word.as_str() {
                "eq" => Comparison::Eq,
                "ne" => Comparison::Ne,
                "gt" => Comparison::Gt,
                "ge" => Comparison::Ge,
                "lt" => Comparison::Lt,
                "le" => Comparison::Le,
                _ => return Err(format!("the filter is not understood at {word}")),
            },
            other => return Err(format!("the filter is not understood at {}", other.shown())),
        };
        Ok(Filter::Compare(field, comparison, self.literal()?))
    }

    /// Functions are truths by themselves, or compared with `true`.
    fn is_true(&mut self) -> Result<(), String> {
        if self.takes_word("eq") { self.expect(&Token::Word("true".into())) } else { Ok(()) }
    }

    /// A text, perhaps inside `tolower(…)`: case never counts.
    fn literal(&mut self) -> Result<String, String> {
        if self.takes_word("tolower") {
            self.expect(&Token::Open)?;
            let text = self.literal()?;
            self.expect(&Token::Close)?;
            return Ok(text);
        }
        match self.next()? {
            Token::Text(text) => Ok(text),
            other => Err(format!("the filter is not understood at {}", other.shown())),
        }
    }

    fn field(&mut self) -> Result<Field, String> {
        if self.takes_word("tolower") {
            self.expect(&Token::Open)?;
            let field = self.field()?;
            self.expect(&Token::Close)?;
            return Ok(field);
        }
        match self.next()? {
            Token::Word(word) => match Field::of(&word) {
                Some(Field::IsLatest | Field::IsAbsoluteLatest | Field::IsPrerelease) | None => {
                    Err(format!("the filter is not understood at {word}"))
                }
                Some(field) => Ok(field),
            },
            other => Err(format!("the filter is not understood at {}", other.shown())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Sample;

    impl Row for Sample {
        fn text(&self, field: Field) -> String {
            match field {
                Field::Id => "Acme.Lib",
                Field::Version => "1.10.0-beta",
                Field::Tags => "json fast",
                _ => "",
            }
            .to_owned()
        }
        fn flag(&self, field: Field) -> bool {
            field == Field::IsAbsoluteLatest
        }
    }

    #[test]
    fn filters_say_what_they_admit() {
        for (filter, wanted) in [
            ("IsAbsoluteLatestVersion", true),
            ("IsLatestVersion", false),
            ("IsLatestVersion eq false", true),
            ("IsLatestVersion or IsAbsoluteLatestVersion and Id eq 'x'", false),
            ("(IsLatestVersion or IsAbsoluteLatestVersion) and Id eq 'acme.lib'", true),
            ("tolower(Id) eq 'acme.lib'", true),
            ("Id ne 'x'", true),
            ("Version gt '1.9.0'", true),
            ("NormalizedVersion ge '1.10.0'", false),
            ("Version le '1.10.0-BETA'", true),
            ("substringof('JSON',Tags) eq true", true),
            ("substringof('it''s',tolower(Id))", false),
            ("startswith(Id,'Acme') and endswith(tolower(Id), tolower('LIB'))", true),
        ] {
            let parsed = Filter::parse(filter).unwrap_or_else(|fault| panic!("{filter}: {fault}"));
            assert_eq!(parsed.admits(&Sample), wanted, "{filter}");
        }
        assert_eq!(Filter::parse("IsLatestVersion and tolower(Id) eq 'x'").unwrap().id(), Some("x"));
        assert!(Filter::parse("IsLatestVersion").unwrap().is_latest_only());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let deep = format!("{}Id eq 'x'{}", "(".repeat(40), ")".repeat(40));
        for bad in [
            "",
            "Id",
            "Id eq",
            "Id eq x",
            "Nothing eq 'x'",
            "Id eq 'x' and",
            "(Id eq 'x'",
            "Id eq 'x')",
            "not IsLatestVersion",
            "length(Id) gt 5",
            "Id eq 'x",
            "IsLatestVersion eq 'true'",
            "substringof(Id,'x')",
            "Id + 'x'",
            &deep,
            &"a".repeat(9000),
        ] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_filter_panics(text in "((Id|Version|eq|and|or|tolower|substringof|IsLatestVersion|'x'|[(),']) ?){0,12}") {
            if let Ok(filter) = Filter::parse(&text) {
                filter.admits(&Sample);
            }
        }
    }
}
