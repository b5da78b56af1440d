//! The notation of the contract's tables, read into JSON Schema.
//!
//! `id u, username s, bio s?, tags [s], owner {type s, id u}, counts {* i}, kind npm|cargo, user UserPublic`:
//! members with their types. Types: `s` string, `i` integer, `n` number, `b` boolean, `t` instant, `u` UUID,
//! `o` any object, `any`, `[x]` list of x, `{…}` object, `{* x}` map to x, `a|b` one of these words, `Name`
//! (or `A | B`) an object type of [`super::objects`]. A `?` after the type: nullable in an answer, optional
//! and nullable in a request; `??`: left out of an answer where it has no value. A name followed by nothing
//! else is a string. `=20` after that: the default of an optional member. `..Name` takes over the members of an object type.

use std::iter::Peekable;

use serde_json::{Map, Value, json};

/// What the members are for: it decides what `?` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Request,
    Answer,
}

/// One member.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub schema: Value,
    pub is_optional: bool,
    /// An answer may come without it.
    pub is_left_out: bool,
    pub default: Option<Value>,
}

/// Finds an object type's notation by its name.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<&'static str>;

/// The schema of members or of a type.
///
/// # Errors
/// What cannot be read, for the developer who wrote it.
pub fn schema(text: &str, side: Side, lookup: Lookup<'_>) -> Result<Value, String> {
    let mut reader = Reader::new(text, side, lookup)?;
    let is_type = matches!(reader.tokens.peek(), Some(Token::Word(word)) if is_name(word));
    let schema = if is_type { reader.type_of()? } else { object(reader.members()?, side) };
    reader.end()?;
    Ok(schema)
}

/// The members alone, for parameters.
pub fn members(text: &str, side: Side, lookup: Lookup<'_>) -> Result<Vec<Member>, String> {
    let mut reader = Reader::new(text, side, lookup)?;
    let members = reader.members()?;
    reader.end()?;
    Ok(members)
}

fn object(members: Vec<Member>, side: Side) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for member in members {
        let is_required = if side == Side::Answer { !member.is_left_out } else { !member.is_optional };
        if is_required {
            required.push(member.name.clone());
        }
        let is_nullable = member.is_optional && !member.is_left_out;
        let mut schema = if is_nullable { nullable(member.schema) } else { member.schema };
        if let (Some(default), Some(object)) = (member.default, schema.as_object_mut()) {
            object.insert("default".into(), default);
        }
        properties.insert(member.name, schema);
    }
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn nullable(mut schema: Value) -> Value {
    match schema.get("type") {
        Some(Value::String(word)) if schema.get("enum").is_none() => {
            let word = word.clone();
            schema["type"] = json!([word, "null"]);
            schema
        }
        None if schema.as_object().is_some_and(Map::is_empty) => schema,
        _ => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Mark(char),
    Spread,
}

struct Reader<'a> {
    tokens: Peekable<std::vec::IntoIter<Token>>,
    side: Side,
    lookup: Lookup<'a>,
}

impl<'a> Reader<'a> {
    fn new(text: &str, side: Side, lookup: Lookup<'a>) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                c if c.is_whitespace() => {}
                '.' if rest.next() == Some('.') => tokens.push(Token::Spread),
                ',' | '?' | '|' | '[' | ']' | '{' | '}' | '*' | '=' => tokens.push(Token::Mark(c)),
                c if is_word(c) => {
                    let mut word = c.to_string();
                    while let Some(next) = rest.next_if(|c| is_word(*c)) {
                        word.push(next);
                    }
                    tokens.push(Token::Word(word));
                }
                other => return Err(format!("`{other}` in `{text}`")),
            }
        }
        Ok(Self { tokens: tokens.into_iter().peekable(), side, lookup })
    }

    fn members(&mut self) -> Result<Vec<Member>, String> {
        let mut members = Vec::new();
        while !matches!(self.tokens.peek(), None | Some(Token::Mark('}'))) {
            match self.tokens.next() {
                Some(Token::Spread) => {
                    let name = self.word()?;
                    let text = (self.lookup)(&name).ok_or_else(|| format!("no object type `{name}`"))?;
                    members.extend(self::members(text, self.side, self.lookup)?);
                }
                Some(Token::Word(name)) => members.push(self.member(name)?),
                other => return Err(format!("expected a member, found {other:?}")),
            }
            if !self.takes(',') {
                break;
            }
        }
        Ok(members)
    }

    fn member(&mut self, name: String) -> Result<Member, String> {
        let is_bare = matches!(self.tokens.peek(), None | Some(Token::Mark('?' | ',' | '}' | '=')));
        let schema = if is_bare { simple("s").ok_or("no strings")? } else { self.type_of()? };
        let is_optional = self.takes('?');
        let is_left_out = is_optional && self.takes('?');
        let default = if self.takes('=') {
            let word = self.word()?;
            Some(word.parse::<i64>().map_or_else(|_| json!(word), |number| json!(number)))
        } else {
            None
        };
        Ok(Member { name, schema, is_optional, is_left_out, default })
    }

    fn type_of(&mut self) -> Result<Value, String> {
        match self.tokens.next() {
            Some(Token::Mark('[')) => {
                let items = self.type_of()?;
                let items = if self.takes('?') { nullable(items) } else { items };
                self.expect(']')?;
                Ok(json!({"type": "array", "items": items}))
            }
            Some(Token::Mark('{')) if self.takes('*') => {
                let values = self.type_of()?;
                let values = if self.takes('?') { nullable(values) } else { values };
                self.expect('}')?;
                Ok(json!({"type": "object", "additionalProperties": values}))
            }
            Some(Token::Mark('{')) => {
                let members = self.members()?;
                self.expect('}')?;
                Ok(object(members, self.side))
            }
            Some(Token::Word(word)) => {
                let mut words = vec![word];
                while self.takes('|') {
                    words.push(self.word()?);
                }
                self.alternatives(words)
            }
            other => Err(format!("expected a type, found {other:?}")),
        }
    }

    fn alternatives(&self, words: Vec<String>) -> Result<Value, String> {
        if words.iter().all(|word| is_name(word)) {
            let mut refs = Vec::new();
            for word in &words {
                if (self.lookup)(word).is_none() {
                    return Err(format!("no object type `{word}`"));
                }
                refs.push(json!({"$ref": format!("#/components/schemas/{word}")}));
            }
            return Ok(if refs.len() == 1 { refs.remove(0) } else { json!({"anyOf": refs}) });
        }
        match (words.len(), simple(&words[0])) {
            (1, Some(schema)) => Ok(schema),
            (1, None) => Err(format!("`{}` is no type", words[0])),
            _ => Ok(json!({"type": "string", "enum": words})),
        }
    }

    fn word(&mut self) -> Result<String, String> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(format!("expected a word, found {other:?}")),
        }
    }
    fn takes(&mut self, mark: char) -> bool {
        self.tokens.next_if_eq(&Token::Mark(mark)).is_some()
    }
    fn expect(&mut self, mark: char) -> Result<(), String> {
        if self.takes(mark) { Ok(()) } else { Err(format!("expected `{mark}`, found {:?}", self.tokens.peek())) }
    }
    fn end(&mut self) -> Result<(), String> {
        self.tokens.next().map_or(Ok(()), |token| Err(format!("unexpected {token:?}")))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':')
}

fn simple(word: &str) -> Option<Value> {
    Some(match word {
        "s" => json!({"type": "string"}),
        "i" => json!({"type": "integer"}),
        "n" => json!({"type": "number"}),
        "b" => json!({"type": "boolean"}),
        "t" => json!({"type": "string", "format": "date-time"}),
        "u" => json!({"type": "string", "format": "uuid"}),
        "o" => json!({"type": "object"}),
        "any" => json!({}),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<&'static str> {
        (name == "Pair").then_some("a i, b s?")
    }

    #[test]
    fn members_of_answers_are_required_and_may_be_null() {
        let schema =
            schema("id u, note?, at t?, list [s], kind npm|cargo, map {* i}, pair Pair?", Side::Answer, &lookup);
        assert_eq!(
            schema.unwrap(),
            json!({
                "type": "object",
                "properties": {
                    "id": {"type": "string", "format": "uuid"},
                    "note": {"type": ["string", "null"]},
                    "at": {"type": ["string", "null"], "format": "date-time"},
                    "list": {"type": "array", "items": {"type": "string"}},
                    "kind": {"type": "string", "enum": ["npm", "cargo"]},
                    "map": {"type": "object", "additionalProperties": {"type": "integer"}},
                    "pair": {"anyOf": [{"$ref": "#/components/schemas/Pair"}, {"type": "null"}]},
                },
                "required": ["id", "note", "at", "list", "kind", "map", "pair"],
            })
        );
    }

    #[test]
    fn members_of_requests_may_be_left_out() {
        let schema = schema("name s, ..Pair, size i?=20", Side::Request, &lookup).unwrap();
        assert_eq!(schema["required"], json!(["name", "a"]));
        assert_eq!(schema["properties"]["size"], json!({"type": ["integer", "null"], "default": 20}));
        assert!(schema["properties"].get("b").is_some());
    }

    #[test]
    fn types_stand_alone_and_mistakes_are_told() {
        let of = |text: &str| schema(text, Side::Answer, &lookup);
        assert_eq!(of("Pair").unwrap(), json!({"$ref": "#/components/schemas/Pair"}));
        assert_eq!(of("Pair | Pair").unwrap()["anyOf"].as_array().unwrap().len(), 2);
        for bad in ["id x", "id [s", "..Nothing", "Nothing", "id s, , x", "id {a s", "a ; b"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
