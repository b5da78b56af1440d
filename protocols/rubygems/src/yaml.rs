//! YAML as gems use it, read into plain nodes: no type is guessed (`version: 1.10` stays that text) and no object
//! is made of a tag.
//!
//! Gems of old RubyGems versions repeat a requirement by alias; aliases may point at such small nodes only, and
//! every node they bring in counts.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

/// Largest document, in bytes (rubygems.md §7).
pub const MAX_BYTES: usize = 1 << 20;
/// A gemspec nests eight levels.
const MAX_DEPTH: usize = 12;
/// A document of 1 MiB can hold some hundred thousand file names.
const MAX_NODES: usize = 400_000;
/// Nodes that aliases may bring in altogether.
const MAX_ALIASED: usize = 10_000;

/// Classes whose objects a gemspec may name. A platform is a text: its object would have to be put together again.
const CLASSES: [&str; 5] =
    ["Gem::Specification", "Gem::Version", "Gem::Version::Requirement", "Gem::Requirement", "Gem::Dependency"];

/// A node of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// The text, unless it is plainly nothing (`~`, `null`, or no text without quotes).
    Scalar(Option<String>),
    Sequence(Vec<Node>),
    Mapping(Vec<(String, Node)>),
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Self::Mapping(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar(text) => text.as_deref(),
            _ => None,
        }
    }
    pub fn items(&self) -> &[Node] {
        match self {
            Self::Sequence(items) => items,
            _ => &[],
        }
    }
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Scalar(None))
    }
    fn count(&self) -> usize {
        match self {
            Self::Scalar(_) => 1,
            Self::Sequence(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            Self::Mapping(pairs) => 1 + pairs.iter().map(|(_, node)| 1 + node.count()).sum::<usize>(),
        }
    }
}

/// A collection that is still open.
enum Open {
    Sequence(Vec<Node>),
    /// With the key whose value comes next.
    Mapping(Vec<(String, Node)>, Option<String>),
}

/// Reads the one document of a text.
///
/// # Errors
/// Why the text is refused; lower case, no final dot.
pub fn parse(bytes: &[u8]) -> Result<Node, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("the YAML is larger than {MAX_BYTES} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "the YAML is not UTF-8")?;
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| {
            let shown: String = error.to_string().chars().take(200).collect();
            format!("the YAML is malformed: {shown}")
        })?;
        builder.event(event)?;
    }
    builder.root.ok_or_else(|| "the YAML is empty".to_owned())
}

#[derive(Default)]
struct Builder {
    open: Vec<(Open, usize)>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    aliased: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err("the YAML has more than one document".into());
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                check_tag(tag.as_deref())?;
                let is_nothing = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let node = Node::Scalar((!is_nothing).then(|| text.into_owned()));
                self.place(node, anchor)?;
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref())?;
                self.begin(Open::Sequence(Vec::new()), anchor)?;
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref())?;
                self.begin(Open::Mapping(Vec::new(), None), anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((open, anchor)) = self.open.pop() else { return Err("the YAML is malformed".into()) };
                let node = match open {
                    Open::Sequence(items) => Node::Sequence(items),
                    Open::Mapping(pairs, _) => Node::Mapping(pairs),
                };
                self.place(node, anchor)?;
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or("an alias points at nothing finished")?;
                self.aliased += node.count();
                if self.aliased > MAX_ALIASED {
                    return Err("the aliases of the YAML stand for too much".into());
                }
                self.place(node, 0)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, open: Open, anchor: usize) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err("the YAML nests too deeply".into());
        }
        self.open.push((open, anchor));
        Ok(())
    }

    fn place(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err("the YAML has too many nodes".into());
        }
        if anchor != 0 {
            // Requirements, versions and words are small; nothing else is ever repeated.
            if node.count() <= 64 {
                self.anchors.insert(anchor, node.clone());
            } else {
                return Err("an anchor names more than a requirement".into());
            }
        }
        match self.open.last_mut().map(|(open, _)| open) {
            None => self.root = Some(node),
            Some(Open::Sequence(items)) => items.push(node),
            Some(Open::Mapping(pairs, key @ None)) => {
                let Node::Scalar(text) = node else { return Err("a key of the YAML is no text".into()) };
                let text = text.unwrap_or_default();
                // Several hundred keys at most, in practice some thirty.
                if pairs.len() >= 1024 {
                    return Err("a mapping of the YAML has too many keys".into());
                }
                if pairs.iter().any(|(known, _)| *known == text) {
                    let shown: String = text.chars().take(100).collect();
                    return Err(format!("the YAML has the key `{shown}` twice"));
                }
                *key = Some(text);
            }
            Some(Open::Mapping(pairs, key)) => pairs.push((key.take().unwrap_or_default(), node)),
        }
        Ok(())
    }
}

fn check_tag(tag: Option<&Tag>) -> Result<(), String> {
    let Some(tag) = tag else { return Ok(()) };
    let is_known = match (tag.handle.as_str(), tag.suffix.as_str()) {
        ("tag:yaml.org,2002:", suffix) => matches!(suffix, "str" | "seq" | "map" | "null" | "bool" | "timestamp"),
        ("!" | "", "" | "!") => true,
        (_, suffix) => suffix.strip_prefix("ruby/object:").is_some_and(|class| CLASSES.contains(&class)),
    };
    let shown: String = format!("{}{}", tag.handle, tag.suffix).chars().take(100).collect();
    if is_known { Ok(()) } else { Err(format!("the YAML has a tag that gems do not need: {shown}")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Result<Node, String> {
        parse(text.as_bytes())
    }

    #[test]
    fn texts_stay_what_they_are() {
        let node =
            of("--- !ruby/object:Gem::Version\nversion: 1.10\nempty: ''\nnothing:\nlist:\n- a\n- \"~\"\n").unwrap();
        assert_eq!(node.get("version").unwrap().text(), Some("1.10"));
        assert_eq!(node.get("empty").unwrap().text(), Some(""));
        assert!(node.get("nothing").unwrap().is_nothing());
        assert_eq!(node.get("list").unwrap().items()[1].text(), Some("~"));
    }

    #[test]
    fn requirements_may_be_repeated_by_alias() {
        let node = of("a: &id !ruby/object:Gem::Requirement\n  requirements:\n  - - '>='\nb: *id\n").unwrap();
        assert_eq!(node.get("a"), node.get("b"));
    }

    #[test]
    fn what_could_hurt_is_refused() {
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n";
        let (deep, nested) = ("[".repeat(100_000), "[".repeat(200));
        for (text, wanted) in [
            ("--- !ruby/object:Kernel\na: 1\n", "a tag"),
            ("--- !ruby/hash:Gem::Version\na: 1\n", "a tag"),
            ("--- !ruby/object:Gem::Platform\nos: java\n", "a tag"),
            ("a: !binary aGk=\n", "a tag"),
            ("a: 1\na: 2\n", "twice"),
            ("--- a\n--- b\n", "more than one"),
            ("", "empty"),
            ("a: [", "malformed"),
            ("? [a]\n: b\n", "no text"),
            ("a: &x [*x]\n", "alias"),
            (bomb, "anchor"),
            (deep.as_str(), "recursion limit"),
            (nested.as_str(), "deeply"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(wanted), "{text:.40}: {error}");
        }
        assert!(parse(b"\xff").is_err() && parse(&vec![b'a'; MAX_BYTES + 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([-a:&*!{}\\[\\]'\"\n #|>?]|[ -~]){0,80}") {
            let _ = of(&text);
        }
    }
}
