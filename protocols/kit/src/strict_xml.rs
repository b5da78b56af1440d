//! XML without surprises: no document type, no entities but the five of XML itself, bounded nodes and depth.
//!
//! Scanning.md §3b: a DTD can make a small document huge or read files; nothing that packages hold needs one.

use std::borrow::Cow;

use roxmltree::ParsingOptions;
pub use roxmltree::{Document, Node};

/// Deepest nesting of elements (scanning.md §3b).
pub const MAX_DEPTH: usize = 64;
/// Elements, texts, comments and instructions together; a manifest of 2 MiB has fewer.
pub const MAX_NODES: u32 = 200_000;
/// Longest tag, in bytes: the parser compares the attributes of a tag pairwise, for 18 s where one tag fills 1 MiB.
const MAX_TAG_BYTES: usize = 16 << 10;
/// Declarations of namespaces: the parser copies those in force to every element that adds one.
const MAX_NAMESPACES: usize = 256;

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlFault {
    #[error("it is neither UTF-8 nor what its declaration says")]
    Encoding,
    #[error("it has a document type (DTD)")]
    Dtd,
    #[error("elements are nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("it has more than {MAX_NODES} nodes")]
    TooLarge,
    #[error("it has a tag of more than {MAX_TAG_BYTES} bytes")]
    LongTag,
    #[error("it declares more than {MAX_NAMESPACES} namespaces")]
    Namespaces,
    #[error("{0}")]
    Syntax(String),
}

/// The text of a document: UTF-8 with or without byte order mark, or Latin-1 where its declaration says so.
///
/// # Errors
/// `Encoding` for anything else.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, XmlFault> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) if declares_latin1(bytes) => Ok(Cow::Owned(bytes.iter().copied().map(char::from).collect())),
        Err(_) => Err(XmlFault::Encoding),
    }
}

fn declares_latin1(bytes: &[u8]) -> bool {
    let declaration = bytes.split(|byte| *byte == b'>').next().unwrap_or_default();
    let declaration = String::from_utf8_lossy(&declaration[..declaration.len().min(200)]).to_ascii_lowercase();
    declaration.starts_with("<?xml") && (declaration.contains("iso-8859-1") || declaration.contains("latin1"))
}

/// Parses one document strictly.
///
/// # Errors
/// Whatever is not well-formed, and everything this module is there to refuse.
pub fn parse(text: &str) -> Result<Document<'_>, XmlFault> {
    // Counted beforehand: the parser keeps open elements on its stack of calls.
    if nests_deeper(text, MAX_DEPTH) {
        return Err(XmlFault::TooDeep);
    }
    if text.matches("xmlns").count() > MAX_NAMESPACES {
        return Err(XmlFault::Namespaces);
    }
    if has_long_tag(text) {
        return Err(XmlFault::LongTag);
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => XmlFault::Dtd,
        roxmltree::Error::NodesLimitReached => XmlFault::TooLarge,
        other => XmlFault::Syntax(other.to_string()),
    })
}

/// Whether a start tag is longer than allowed, were the text well-formed.
fn has_long_tag(text: &str) -> bool {
    let begins_tag = |rest: &str| rest.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | ':'));
    let is_long = |rest: &str| rest.len() > MAX_TAG_BYTES && !rest.as_bytes()[..MAX_TAG_BYTES].contains(&b'>');
    text.match_indices('<').map(|(at, _)| &text[at + 1..]).any(|rest| begins_tag(rest) && is_long(rest))
}

/// Whether more than `limit` elements are open at once, were the text well-formed; an upper bound otherwise.
fn nests_deeper(text: &str, limit: usize) -> bool {
    let mut rest = text;
    let mut depth = 0_usize;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let skipped = [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>")]
            .into_iter()
            .find_map(|(start, end)| Some(rest.strip_prefix(start)?.split_once(end).map_or("", |(_, after)| after)));
        if let Some(after) = skipped {
            rest = after;
            continue;
        }
        if rest.starts_with('/') {
            depth = depth.saturating_sub(1);
            continue;
        }
        let (tag, after) = tag(rest);
        if !tag.ends_with('/') {
            depth += 1;
        }
        if depth > limit {
            return true;
        }
        rest = after;
    }
    false
}

/// The inside of a tag, whose quoted values may hold `>`, and what follows it.
fn tag(text: &str) -> (&str, &str) {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return (&text[..at], &text[at + 1..]),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    (text, "")
}

/// The first child element of that name, whatever its namespace.
pub fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    children(node, name).next()
}

/// The child elements of that name, whatever their namespace.
pub fn children<'a, 'input: 'a>(node: Node<'a, 'input>, name: &str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The text of a child element, trimmed; `None` where it is missing or blank.
pub fn child_text(node: Node<'_, '_>, name: &str) -> Option<String> {
    text_of(child(node, name)?)
}

/// All text directly inside an element, trimmed; `None` where it is blank.
pub fn text_of(node: Node<'_, '_>) -> Option<String> {
    let text: String = node.children().filter_map(|child| child.is_text().then(|| child.text()).flatten()).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Text as the content of an element or of a quoted attribute. Characters that XML 1.0 cannot hold are left out.
pub fn escape(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !matches!(c, '<' | '>' | '&' | '"' | '\'') && is_legal(c);
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c if is_legal(c) => escaped.push(c),
            _ => {}
        }
    }
    Cow::Owned(escaped)
}

/// <https://www.w3.org/TR/xml/#charsets>
fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_surprise_is_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
        assert_eq!(parse(bomb).unwrap_err(), XmlFault::Dtd);
        assert_eq!(parse("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>").unwrap_err(), XmlFault::Dtd);
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&nested(MAX_DEPTH + 1)).unwrap_err(), XmlFault::TooDeep);
        assert_eq!(parse(&nested(200_000)).unwrap_err(), XmlFault::TooDeep);
        assert_eq!(parse(&format!("<a>{}</a>", "<b/>".repeat(200_001))).unwrap_err(), XmlFault::TooLarge);
        let many = |form: fn(usize) -> String| format!("<a{}/>", (0..3000).map(form).collect::<String>());
        assert_eq!(parse(&many(|n| format!(" a{n}=\"\""))).unwrap_err(), XmlFault::LongTag);
        assert_eq!(parse(&many(|n| format!(" xmlns:n{n}=\"u\""))).unwrap_err(), XmlFault::Namespaces);
        for bad in ["", "text", "<a>", "<a></b>", "<a>&undefined;</a>", "<a/><b/>", "<a b=1/>", "<a>\u{1}</a>"] {
            assert!(matches!(parse(bad), Err(XmlFault::Syntax(_))), "{bad}");
        }
    }

    #[test]
    fn siblings_comments_and_quoted_brackets_are_no_depth() {
        let wide = format!("<a>{}</a>", "<b c='>'/><!-- <x><x> --><d><![CDATA[<x>]]></d>".repeat(100));
        assert!(parse(&wide).is_ok());
    }

    #[test]
    fn texts_are_read_in_the_encodings_that_manifests_use() {
        assert_eq!(decode("\u{feff}<a>é</a>".as_bytes()).unwrap(), "<a>é</a>");
        let latin = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xe9</a>";
        assert!(decode(latin).unwrap().ends_with("<a>é</a>"));
        assert_eq!(decode(b"<a>\xe9</a>").unwrap_err(), XmlFault::Encoding);
    }

    #[test]
    fn elements_are_found_in_any_namespace() {
        let document = parse("<p xmlns=\"urn:x\"><n> a<!-- - -->b </n><e> </e><n>c</n></p>").unwrap();
        let root = document.root_element();
        assert_eq!(child_text(root, "n").as_deref(), Some("ab"));
        assert_eq!((child_text(root, "e"), child_text(root, "x")), (None, None));
        assert_eq!(children(root, "n").count(), 2);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[<>/a!\\[\\]?\"'& -]{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes).map(|text| parse(&text).is_ok());
        }

        #[test]
        fn escaped_text_comes_back(text in "[ -~éß]{0,60}") {
            let document = format!("<a>x{}x</a>", escape(&text));
            let read = parse(&document).unwrap().root_element().text().map(str::to_owned);
            prop_assert_eq!(read, Some(format!("x{text}x")));
        }
    }
}
