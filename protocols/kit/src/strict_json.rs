//! JSON that two readers cannot understand differently: no duplicate keys, bounded depth.
//!
//! Clients and scanners must agree on what a manifest says (scanning.md §3b), and common readers
//! disagree about which of two equal keys counts.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// Deepest nesting of a manifest or publish body (scanning.md §3b).
pub const MAX_DEPTH: u32 = 64;

/// Parses one JSON document strictly. A leading byte order mark is skipped, as npm does.
///
/// # Errors
/// Syntax errors, duplicate or `__proto__` keys, more than [`MAX_DEPTH`] levels, trailing text.
pub fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Parses a document that must be an object.
pub fn parse_object(bytes: &[u8]) -> serde_json::Result<Map<String, Value>> {
    match parse(bytes)? {
        Value::Object(map) => Ok(map),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: u32,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(list.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if key == "__proto__" {
                return Err(A::Error::custom("the key `__proto__` is not allowed"));
            }
            let value = entries.next_value_seed(inner)?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
            }
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is accepted here, every reader understands, and the same way.
        #[test]
        fn nothing_is_accepted_that_others_read_differently(
            text in "(\\{|\\}|\\[|\\]|:|,|\"a\"|\"b\"|\"\\\\u0061\"|1|-0\\.5e3|true|null| ){0,20}",
            bytes in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            for input in [text.as_bytes(), bytes.as_slice()] {
                if let Ok(value) = parse(input) {
                    let plain = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
                    prop_assert_eq!(serde_json::from_slice::<Value>(plain).unwrap(), value);
                }
            }
        }
    }

    #[test]
    fn ordinary_documents_read_as_usual() {
        let text = r#"{"b":1,"a":[true,null,1.5,"x"],"c":{"d":-1}}"#;
        assert_eq!(serde_json::to_string(&parse(text.as_bytes()).unwrap()).unwrap(), text);
        assert!(parse(b"\xef\xbb\xbf{}").is_ok());
    }

    #[test]
    fn ambiguous_documents_are_refused() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        for bad in
            [r#"{"a":1,"a":2}"#, r#"{"x":{"a":1,"\u0061":2}}"#, r#"{"__proto__":{}}"#, "{} {}", "{", "", deep.as_str()]
        {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(format!("{}{}", "[".repeat(64), "]".repeat(64)).as_bytes()).is_ok());
        assert!(parse_object(b"[]").is_err());
    }
}
