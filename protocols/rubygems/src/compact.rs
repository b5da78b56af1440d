//! The compact index: `/info/{gem}` and the lines a gem contributes to `/versions` (rubygems.md §3).
//!
//! The log in `/versions` follows from the releases themselves: each was exposed once and may have been yanked
//! once, both at recorded instants. A line that was once served is served again unless a release is brought back,
//! deleted or hidden; clients then notice by its digest and fetch the whole (ADR 0023).

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use md5::{Digest, Md5};
use publaryn_core::{ArtifactKind, BoxError, Timestamp};
use publaryn_registry::{LiveRelease, PackageDocument};
use sha2::Sha256;

use crate::{gemspec::Gemspec, version};

/// What opens every text of the compact index.
const OPENING: &str = "---\n";

/// A text of the compact index with the digests that Bundler checks, all over the whole text.
#[derive(Debug, Clone)]
pub struct Text {
    pub body: Bytes,
    /// Lower-case hex; Bundler before 2.5 compares it with the entity tag.
    pub md5: String,
    /// Base64, for `Repr-Digest` (RFC 9530).
    pub sha256: String,
}

impl Text {
    pub fn new(body: String) -> Self {
        let md5 = hex::encode(Md5::digest(&body));
        let sha256 = BASE64_STANDARD.encode(Sha256::digest(&body));
        Self { body: body.into(), md5, sha256 }
    }
}

/// Everything the indexes say of one gem.
#[derive(Debug)]
pub struct GemIndex {
    pub name: String,
    pub info: Text,
    pub events: Vec<Event>,
    /// Releases that resolve: exposed and not yanked, in the order of exposure.
    pub rows: Vec<Row>,
}

/// A line of `/versions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub at: Timestamp,
    pub line: String,
}

/// A release as the legacy index lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub number: String,
    pub platform: String,
    pub is_prerelease: bool,
    pub sort_key: Vec<u8>,
}

/// A release on its way into the index.
struct Entry<'a> {
    release: &'a LiveRelease,
    line: String,
    exposed_at: Timestamp,
}

impl GemIndex {
    /// # Errors
    /// When a stored document cannot be read: the index is served whole or not at all.
    pub fn build(document: &PackageDocument) -> Result<Self, BoxError> {
        let mut entries = Vec::with_capacity(document.releases.len());
        for release in &document.releases {
            let Some(file) = release.file_of(ArtifactKind::Gem) else { continue };
            let spec: Gemspec = serde_json::from_str(&release.row.metadata)?;
            let line = info_line(&spec, &file.sha256.hex());
            let exposed_at = release.row.published_at.unwrap_or(release.row.created_at);
            entries.push(Entry { release, line, exposed_at });
        }
        entries.sort_by(|a, b| (a.exposed_at, &a.release.row.sort_key).cmp(&(b.exposed_at, &b.release.row.sort_key)));
        let name = document.package.name.clone();
        let events = events(&name, &entries);
        let listed: Vec<&Entry<'_>> = entries.iter().filter(|entry| !entry.release.row.is_yanked).collect();
        let info = listed.iter().fold(OPENING.to_owned(), |text, entry| text + &entry.line);
        let rows = listed.iter().map(|entry| row(entry.release)).collect();
        Ok(Self { name, info: Text::new(info), events, rows })
    }

    /// Memory it takes, about.
    pub fn bytes(&self) -> usize {
        let events: usize = self.events.iter().map(|event| size_of::<Event>() + event.line.len()).sum();
        let rows =
            self.rows.iter().map(|row| size_of::<Row>() + row.number.len() + row.platform.len() + row.sort_key.len());
        size_of::<Self>() + self.name.len() + self.info.body.len() + events + rows.sum::<usize>() + 256
    }
}

fn row(release: &LiveRelease) -> Row {
    let (number, platform) = version::split(&release.row.version);
    Row {
        number: number.to_owned(),
        platform: platform.to_owned(),
        is_prerelease: release.row.is_prerelease,
        sort_key: release.row.sort_key.clone(),
    }
}

/// One line of `/info`: version, what it needs, what it demands.
pub fn info_line(spec: &Gemspec, sha256: &str) -> String {
    let mut wanted: Vec<_> = spec.dependencies.iter().filter(|dependency| !dependency.is_development).collect();
    wanted.sort_by(|a, b| a.name.cmp(&b.name));
    let wanted: Vec<String> =
        wanted.iter().map(|dependency| format!("{}:{}", dependency.name, dependency.requirement.joined("&"))).collect();
    let mut line = format!("{} {}|checksum:{sha256}", spec.full_version(), wanted.join(","));
    for (key, requirement) in [("ruby", &spec.required_ruby_version), ("rubygems", &spec.required_rubygems_version)] {
        if !requirement.is_any() {
            line.push_str(&format!(",{key}:{}", requirement.joined("&")));
        }
    }
    line + "\n"
}

/// The life of a gem: each line ends in the digest that `/info` had then.
fn events(name: &str, entries: &[Entry<'_>]) -> Vec<Event> {
    let mut moments: Vec<(Timestamp, bool, usize)> = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        moments.push((entry.exposed_at, false, at));
        let row = &entry.release.row;
        if row.is_yanked {
            moments.push((row.yanked_at.unwrap_or(row.updated_at).max(entry.exposed_at), true, at));
        }
    }
    moments.sort();
    let mut info = InfoDigests::new();
    let mut events = Vec::with_capacity(moments.len());
    for (at, is_yank, index) in moments {
        let md5 = if is_yank { info.drop_line(index) } else { info.add_line(&entries[index].line) };
        let sign = if is_yank { "-" } else { "" };
        let version = &entries[index].release.row.version;
        events.push(Event { at, line: format!("{name} {sign}{version} {md5}\n") });
    }
    events
}

/// The digest of an `/info` that lines are appended to and taken out of. It is computed anew from the line that goes,
/// not from the beginning: what is yanked is mostly new.
struct InfoDigests<'a> {
    /// What was ever appended; `None` once it was taken out.
    lines: Vec<Option<&'a str>>,
    /// `states[n]` has read the first `n` lines.
    states: Vec<Md5>,
}

impl<'a> InfoDigests<'a> {
    fn new() -> Self {
        Self { lines: Vec::new(), states: vec![Md5::new_with_prefix(OPENING)] }
    }

    fn add_line(&mut self, line: &'a str) -> String {
        self.lines.push(Some(line));
        self.read_from(self.lines.len() - 1)
    }

    fn drop_line(&mut self, index: usize) -> String {
        self.lines[index] = None;
        self.read_from(index)
    }

    fn read_from(&mut self, index: usize) -> String {
        self.states.truncate(index + 1);
        let mut state = self.states[index].clone();
        for line in &self.lines[index..] {
            state.update(line.unwrap_or_default());
            self.states.push(state.clone());
        }
        hex::encode(state.finalize())
    }
}

/// The text of `/versions` for these gems. The date in its head must not change: the text only grows.
pub fn versions(gems: &[std::sync::Arc<GemIndex>]) -> String {
    let mut events: Vec<&Event> = gems.iter().flat_map(|gem| &gem.events).collect();
    // Stable: what happened to one gem at one instant stays in its order.
    events.sort_by_key(|event| event.at);
    let size = events.iter().map(|event| event.line.len()).sum::<usize>();
    let mut text = String::with_capacity(size + 64);
    text.push_str("created_at: 2026-01-01T00:00:00Z\n---\n");
    events.iter().for_each(|event| text.push_str(&event.line));
    text
}

/// The text of `/names` for these gems, which are sorted.
pub fn names(gems: &[std::sync::Arc<GemIndex>]) -> String {
    let mut names: Vec<&str> = gems.iter().filter(|gem| !gem.events.is_empty()).map(|gem| gem.name.as_str()).collect();
    names.sort_unstable();
    names.iter().fold(OPENING.to_owned(), |text, name| text + name + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemspec::{PackedSpec, tests::SPEC};

    #[test]
    fn a_line_of_info_has_what_bundler_resolves_by() {
        let mut spec = PackedSpec::parse(SPEC.as_bytes()).unwrap().spec;
        assert_eq!(info_line(&spec, "ab"), "1.10 rack:< 3&>= 2.0|checksum:ab,ruby:>= 2.7\n");
        spec.dependencies.clear();
        spec.platform = "x86_64-linux".into();
        spec.required_ruby_version = Default::default();
        assert_eq!(info_line(&spec, "ab"), "1.10-x86_64-linux |checksum:ab\n");
    }

    #[test]
    fn digests_are_those_of_the_lines_that_are_left() {
        let md5 = |lines: &str| hex::encode(Md5::digest(format!("{OPENING}{lines}")));
        let mut info = InfoDigests::new();
        assert_eq!(info.add_line("a\n"), md5("a\n"));
        assert_eq!(info.add_line("b\n"), md5("a\nb\n"));
        assert_eq!(info.drop_line(0), md5("b\n"));
        assert_eq!(info.add_line("c\n"), md5("b\nc\n"));
        assert_eq!(info.drop_line(2), md5("b\n"));
        assert_eq!(info.drop_line(1), md5(""));
    }

    #[test]
    fn digests_cover_the_text() {
        let text = Text::new("---\n".into());
        assert_eq!(
            (text.md5.as_str(), text.sha256.as_str()),
            ("6105347ebb9825ac754615ca55ff3b0c", "9S1xEQPVCkN4MMb7zQT7S6tJoPgvbSbRx5HG6EiN0JA=")
        );
    }
}
