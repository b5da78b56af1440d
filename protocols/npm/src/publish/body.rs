//! Splits a publish body while it streams in: the tarball's bytes on one side, the rest of the JSON on the other.
//!
//! npm sends the tarball as base64 inside the JSON document, before or after the manifests. This scanner keeps
//! everything but that one string (the skeleton, bounded), and decodes the string chunk by chunk, so a large
//! package costs no more memory than a small one. It does not validate: the skeleton is parsed strictly later.

use base64::{Engine, prelude::BASE64_STANDARD};

/// Why a body cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body holds more than one tarball")]
    SecondTarball,
    #[error("the attachment is not strict base64")]
    Base64,
    #[error("the body without its tarball is larger than {0} bytes")]
    SkeletonTooLarge(usize),
    #[error("the body is nested too deeply")]
    TooDeep,
}

/// Containers open at once; the strict parser allows fewer.
const MAX_OPEN: usize = 128;

/// A push scanner; see the module.
#[derive(Debug)]
pub struct BodyScanner {
    skeleton: Vec<u8>,
    max_skeleton_bytes: usize,
    /// The open containers, outermost first: `true` for objects.
    open: Vec<bool>,
    /// The current keys of the three outermost objects, as raw JSON string contents.
    keys: [Vec<u8>; 3],
    expects_key: bool,
    state: State,
    decoder: Decoder,
    tarball: Tarball,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    Key {
        escaped: bool,
    },
    Text {
        escaped: bool,
    },
    Data,
    /// After a backslash inside the data string; then how many hex digits of `\uXXXX` came, and their value.
    DataEscape,
    DataUnicode {
        digits: u8,
        value: u16,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tarball {
    Ahead,
    Inside,
    Passed,
}

impl BodyScanner {
    pub fn new(max_skeleton_bytes: usize) -> Self {
        Self {
            skeleton: Vec::with_capacity(4096),
            max_skeleton_bytes,
            open: Vec::with_capacity(8),
            keys: Default::default(),
            expects_key: false,
            state: State::Between,
            decoder: Decoder::default(),
            tarball: Tarball::Ahead,
        }
    }

    /// Takes the next piece of the body; tarball bytes in it are appended to `tarball`.
    pub fn feed(&mut self, mut input: &[u8], tarball: &mut Vec<u8>) -> Result<(), BodyError> {
        while let Some(&byte) = input.first() {
            if self.state == State::Data {
                let run = input.iter().position(|b| matches!(b, b'"' | b'\\')).unwrap_or(input.len());
                self.decoder.push(&input[..run], tarball)?;
                input = &input[run..];
                match input.first() {
                    Some(b'"') => {
                        self.decoder.finish()?;
                        self.tarball = Tarball::Passed;
                        self.state = State::Between;
                        self.keep(b"\"")?;
                    }
                    Some(_) => self.state = State::DataEscape,
                    None => return Ok(()),
                }
                input = &input[1..];
                continue;
            }
            input = &input[1..];
            match self.state {
                State::DataEscape => self.data_escape(byte, tarball)?,
                State::DataUnicode { digits, value } => self.data_unicode(byte, digits, value, tarball)?,
                _ => self.plain(byte)?,
            }
        }
        Ok(())
    }

    /// The string with the tarball has begun.
    pub fn reached_tarball(&self) -> bool {
        self.tarball != Tarball::Ahead
    }

    /// The string with the tarball has ended; the next piece holds none of it.
    pub fn passed_tarball(&self) -> bool {
        self.tarball == Tarball::Passed
    }

    /// The body with an empty string in place of the tarball.
    pub fn into_skeleton(self) -> Vec<u8> {
        self.skeleton
    }

    fn plain(&mut self, byte: u8) -> Result<(), BodyError> {
        self.keep(&[byte])?;
        match self.state {
            State::Key { escaped } => {
                if byte == b'"' && !escaped {
                    self.state = State::Between;
                } else {
                    if let Some(key) = self.keys.get_mut(self.open.len() - 1) {
                        key.push(byte);
                    }
                    self.state = State::Key { escaped: byte == b'\\' && !escaped };
                }
            }
            State::Text { escaped } => {
                self.state = match byte {
                    b'"' if !escaped => State::Between,
                    _ => State::Text { escaped: byte == b'\\' && !escaped },
                };
            }
            _ => return self.between(byte),
        }
        Ok(())
    }

    fn between(&mut self, byte: u8) -> Result<(), BodyError> {
        match byte {
            b'{' | b'[' => {
                if self.open.len() == MAX_OPEN {
                    return Err(BodyError::TooDeep);
                }
                self.open.push(byte == b'{');
                self.expects_key = byte == b'{';
            }
            b'}' | b']' => {
                self.open.pop();
                self.expects_key = false;
            }
            b',' => self.expects_key = self.open.last() == Some(&true),
            b':' => self.expects_key = false,
            b'"' if self.expects_key => {
                if let Some(key) = self.keys.get_mut(self.open.len() - 1) {
                    key.clear();
                }
                self.state = State::Key { escaped: false };
            }
            b'"' if self.at_tarball() => {
                if self.tarball != Tarball::Ahead {
                    return Err(BodyError::SecondTarball);
                }
                self.tarball = Tarball::Inside;
                self.state = State::Data;
            }
            b'"' => self.state = State::Text { escaped: false },
            _ => {}
        }
        Ok(())
    }

    /// Whether the value that begins here is `_attachments.<name>.tgz.data`.
    fn at_tarball(&self) -> bool {
        self.open == [true, true, true]
            && self.key(2) == "data"
            && self.key(0) == "_attachments"
            && self.key(1).ends_with(".tgz")
    }

    fn key(&self, at: usize) -> String {
        let mut quoted = Vec::with_capacity(self.keys[at].len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(&self.keys[at]);
        quoted.push(b'"');
        serde_json::from_slice(&quoted).unwrap_or_default()
    }

    /// Encoders may escape the slash, and any character in the long form.
    fn data_escape(&mut self, byte: u8, tarball: &mut Vec<u8>) -> Result<(), BodyError> {
        match byte {
            b'/' => {
                self.decoder.push(b"/", tarball)?;
                self.state = State::Data;
            }
            b'u' => self.state = State::DataUnicode { digits: 0, value: 0 },
            _ => return Err(BodyError::Base64),
        }
        Ok(())
    }

    fn data_unicode(&mut self, byte: u8, digits: u8, value: u16, tarball: &mut Vec<u8>) -> Result<(), BodyError> {
        let digit = (byte as char).to_digit(16).ok_or(BodyError::Base64)? as u16;
        let value = value << 4 | digit;
        if digits < 3 {
            self.state = State::DataUnicode { digits: digits + 1, value };
            return Ok(());
        }
        let character = u8::try_from(value).map_err(|_| BodyError::Base64)?;
        self.state = State::Data;
        self.decoder.push(&[character], tarball)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        if self.skeleton.len() + bytes.len() > self.max_skeleton_bytes {
            return Err(BodyError::SkeletonTooLarge(self.max_skeleton_bytes));
        }
        self.skeleton.extend_from_slice(bytes);
        Ok(())
    }
}

/// Strict base64 (RFC 4648 §4) in pieces.
#[derive(Debug, Default)]
struct Decoder {
    /// An incomplete group of four.
    carry: Vec<u8>,
    is_padded: bool,
}

impl Decoder {
    fn push(&mut self, mut text: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        if text.is_empty() {
            return Ok(());
        }
        if self.is_padded {
            return Err(BodyError::Base64);
        }
        if !self.carry.is_empty() {
            let missing = (4 - self.carry.len()).min(text.len());
            self.carry.extend_from_slice(&text[..missing]);
            text = &text[missing..];
            if self.carry.len() < 4 {
                return Ok(());
            }
            let group = std::mem::take(&mut self.carry);
            self.groups(&group, out)?;
            self.carry = group;
            self.carry.clear();
            if text.is_empty() {
                return Ok(());
            }
            if self.is_padded {
                return Err(BodyError::Base64);
            }
        }
        let whole = text.len() / 4 * 4;
        self.groups(&text[..whole], out)?;
        if self.is_padded && whole < text.len() {
            return Err(BodyError::Base64);
        }
        self.carry.extend_from_slice(&text[whole..]);
        Ok(())
    }

    fn groups(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        let at = out.len();
        out.resize(at + text.len() / 4 * 3, 0);
        let written = BASE64_STANDARD.decode_slice(text, &mut out[at..]).map_err(|_| BodyError::Base64)?;
        out.truncate(at + written);
        self.is_padded = text.last() == Some(&b'=');
        Ok(())
    }

    fn finish(&self) -> Result<(), BodyError> {
        if self.carry.is_empty() { Ok(()) } else { Err(BodyError::Base64) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn split(body: &[u8], piece: usize) -> Result<(Value, Vec<u8>), BodyError> {
        let mut scanner = BodyScanner::new(1 << 20);
        let mut tarball = Vec::new();
        for chunk in body.chunks(piece.max(1)) {
            scanner.feed(chunk, &mut tarball)?;
        }
        Ok((serde_json::from_slice(&scanner.into_skeleton()).unwrap_or(Value::Null), tarball))
    }

    #[test]
    fn the_tarball_is_found_wherever_it_lies_and_however_the_body_is_cut() {
        let data = BASE64_STANDARD.encode(b"tarball bytes\x00\xff!");
        let first = format!(
            r#"{{"_attachments":{{"@s/n-1.0.0.tgz":{{"content_type":"x","data":"{data}","length":16}}}},"name":"a","versions":{{"1":{{"data":"kept \" text"}}}}}}"#
        );
        let last = format!(
            r#"{{"name":"a","x":["data",{{"data":"kept"}}],"_attachments":{{"n-1.tgz":{{"data":"{data}"}},"n-1.sigstore":{{"data":"{{}}"}}}}}}"#
        );
        for piece in [1, 2, 3, 5, 7, 64, 10_000] {
            let (skeleton, tarball) = split(first.as_bytes(), piece).unwrap();
            assert_eq!(tarball, b"tarball bytes\x00\xff!");
            assert_eq!(
                skeleton["_attachments"]["@s/n-1.0.0.tgz"],
                json!({"content_type": "x", "data": "", "length": 16})
            );
            assert_eq!(skeleton["versions"]["1"]["data"], "kept \" text");
            let (skeleton, tarball) = split(last.as_bytes(), piece).unwrap();
            assert_eq!(tarball, b"tarball bytes\x00\xff!");
            assert_eq!(skeleton["x"][1]["data"], "kept");
            assert_eq!(skeleton["_attachments"]["n-1.sigstore"]["data"], "{}");
        }
    }

    #[test]
    fn escapes_are_understood_in_keys_and_data() {
        let body = br#"{"\u005fattachments":{"a-1.t\u0067z":{"d\u0061ta":"\/\/8\u003d"}}}"#;
        assert_eq!(split(body, 1).unwrap().1, [0xff, 0xff]);
    }

    #[test]
    fn what_is_not_strict_base64_or_comes_twice_is_refused() {
        let with = |data: &str| format!(r#"{{"_attachments":{{"a-1.tgz":{{"data":"{data}"}}}}}}"#);
        for bad in ["AAA", "A===", "AA==AAAA", "AA=A", "AAAA AAAA", r"AAAA\nAAAA", "AA-_", "AB==", "AA=="] {
            let result = split(with(bad).as_bytes(), 1).map(|(_, t)| t);
            // The last one is well formed and shows that the others fail for their own reason.
            if bad == "AA==" {
                assert_eq!(result, Ok(vec![0]))
            } else {
                assert_eq!(result, Err(BodyError::Base64), "{bad}")
            }
            assert_eq!(split(with(bad).as_bytes(), 1000).map(|(_, t)| t).is_ok(), bad == "AA==", "{bad}");
        }
        let twice = r#"{"_attachments":{"a-1.tgz":{"data":"AA=="},"b-1.tgz":{"data":"AA=="}}}"#;
        assert_eq!(split(twice.as_bytes(), 3).unwrap_err(), BodyError::SecondTarball);
    }

    #[test]
    fn memory_is_bounded() {
        let mut scanner = BodyScanner::new(100);
        let mut out = Vec::new();
        assert_eq!(scanner.feed(&[b' '; 101], &mut out), Err(BodyError::SkeletonTooLarge(100)));
        let mut scanner = BodyScanner::new(1 << 20);
        assert_eq!(scanner.feed(&[b'['; 1000], &mut out), Err(BodyError::TooDeep));
    }

    /// What any JSON reader sees as tarballs of a document, in order; they are emptied.
    fn take_tarballs(document: &mut Value) -> Vec<String> {
        let Some(Value::Object(attachments)) = document.get_mut("_attachments") else { return Vec::new() };
        let tarballs = attachments.iter_mut().filter(|(name, _)| name.ends_with(".tgz"));
        tarballs
            .filter_map(|(_, attachment)| match attachment.as_object_mut()?.get_mut("data")? {
                Value::String(data) => Some(std::mem::take(data)),
                _ => None,
            })
            .collect()
    }

    /// Documents in which everything may hold anything, with the words that matter in all places.
    fn document() -> impl Strategy<Value = Value> {
        let text = prop_oneof![3 => "[a-zA-Z0-9+/=]{0,12}", 1 => "\\PC{0,6}", 1 => "[\\\\\"{}\\[\\]:,]{0,6}"];
        let leaf = prop_oneof![
            text.prop_map(Value::from),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| BASE64_STANDARD.encode(bytes).into()),
            any::<i32>().prop_map(Value::from),
            Just(Value::Null),
        ];
        let key = prop_oneof![
            4 => prop_oneof!["_attachments", "data", "a-1.tgz", "b.tgz", "a-1.sigstore"].prop_map(|k| k.to_owned()),
            1 => "[\\\\\"a-z._]{0,6}",
        ];
        leaf.prop_recursive(4, 40, 4, move |inner| {
            prop_oneof![
                1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                4 => proptest::collection::vec((key.clone(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_document_is_split_where_a_json_reader_would(
            inner in document(), tarballs in document(), piece in 1usize..30, pretty in any::<bool>(),
        ) {
            let mut whole = json!({ "versions": inner, "_attachments": tarballs });
            let text = if pretty { format!("{whole:#}") } else { whole.to_string() };
            let found = take_tarballs(&mut whole);
            match split(text.as_bytes(), piece) {
                Ok((skeleton, tarball)) => {
                    prop_assert_eq!(skeleton, whole);
                    prop_assert!(found.len() <= 1);
                    let wanted = found.first().map(|data| BASE64_STANDARD.decode(data).unwrap());
                    prop_assert_eq!(tarball, wanted.unwrap_or_default());
                }
                Err(BodyError::SecondTarball) => prop_assert!(found.len() > 1),
                Err(BodyError::Base64) => prop_assert!(found.iter().any(|data| BASE64_STANDARD.decode(data).is_err())),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }

        #[test]
        fn how_a_body_is_cut_changes_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            noise in "(\\{|\\}|\\[|\\]|:|,|\"|\\\\|\"_attachments\"|\"a\\.tgz\"|\"data\"|[A-Za-z0-9=u/]{1,5}){0,40}",
            piece in 1usize..20,
        ) {
            for body in [bytes.as_slice(), noise.as_bytes(), format!(r#"{{"_attachments":{{"a.tgz":{{"data":{noise}"#).as_bytes()] {
                prop_assert_eq!(split(body, piece), split(body, usize::MAX));
            }
        }

        #[test]
        fn any_bytes_come_back_and_any_noise_is_survived(
            content in proptest::collection::vec(any::<u8>(), 0..300),
            piece in 1usize..40,
            noise in "[\\[\\]{}\":,\\\\a-z_ ]{0,60}",
        ) {
            let body = json!({"name": noise, "_attachments": {"a-1.tgz": {"data": BASE64_STANDARD.encode(&content)}}, "z": noise});
            let (skeleton, tarball) = split(body.to_string().as_bytes(), piece).unwrap();
            prop_assert_eq!(&tarball, &content);
            prop_assert_eq!(skeleton["name"].as_str().unwrap(), noise.as_str());
            let _ = split(noise.as_bytes(), piece);
        }
    }
}
