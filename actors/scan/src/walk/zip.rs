//! The zip walk: entries in file order, then the directory that must describe exactly them.
//!
//! Readers usually start from the end of a zip and disagree wherever its two descriptions do. This walk goes the other
//! way, in one pass: every byte belongs to an entry, the directory or the end record (so nothing overlaps, precedes
//! or follows), and the directory must name exactly the entries that were read, with the values that were found.
//! Format: APPNOTE.TXT 6.3.10, <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>.

use std::{collections::HashMap, io::Read};

use super::{
    ArchiveEntry, ArchiveError, ArchiveRules, ArchiveSummary, Budget, ByteSource, DescriptorRule, EntryKind, ErrorKind,
    LinkRule,
    header::{BLOCK, has_valid_checksum},
    listing::{Found, Level, Visit, Walk, at_path, shown, unsafe_name},
    path::SeenPaths,
    polyglot::Container,
};

mod header;
mod inflate;
mod raw;

use header::{CENTRAL, Central, END, END64, EndRecord, LOCAL, LOCATOR64, Local, Method};
use inflate::{Packed, Sizes};
pub(super) use raw::Raw;

/// Walks a zip, calling `visit` for every file and directory that passed the rules so far.
///
/// The verdict is only final when the call returns: the directory at the end may contradict what was shown.
///
/// # Errors
/// The first rule broken, by the archive or by the visitor.
pub fn walk_zip<R: Read>(
    mut input: R,
    rules: &ArchiveRules,
    visit: &mut Visit<'_>,
) -> Result<ArchiveSummary, ArchiveError> {
    let mut walk = Walk::new(rules);
    walk.zip(&mut Raw::new(&mut input, true), &Level::OUTERMOST, visit)?;
    Ok(walk.finish())
}

/// Longest content that is looked at as the target of a link: PATH_MAX of the strictest reader.
const MAX_LINK_BYTES: u64 = 1024;

/// What was found of an entry, for the directory to agree with: constant size whatever its name.
struct Listed {
    name: u128,
    is_directory: bool,
    /// Its content is the target of a link that the rules allow.
    may_be_link: bool,
    flags: u16,
    method: u16,
    sizes: Sizes,
}

impl Walk<'_> {
    pub(super) fn zip(&mut self, raw: &mut Raw<'_>, at: &Level<'_>, visit: &mut Visit<'_>) -> Result<(), ArchiveError> {
        self.check_start(raw, at)?;
        let names = NameHash::new();
        let mut listed = HashMap::new();
        let mut seen = SeenPaths::new();
        let (mut start, mut signature) = (raw.position(), raw.u32(&mut self.budget)?);
        while signature == LOCAL {
            let entry = self.zip_entry(raw, start, &names, &mut seen, at, visit)?;
            listed.insert(start, entry);
            (start, signature) = (raw.position(), raw.u32(&mut self.budget)?);
        }
        let mut directory = EndRecord { start, ..EndRecord::default() };
        let mut end = start;
        while signature == CENTRAL {
            let central = Central::read(raw, &mut self.budget)?;
            self.check_central(&central, listed.remove(&central.offset), &names)?;
            directory.entries += 1;
            (end, signature) = (raw.position(), raw.u32(&mut self.budget)?);
        }
        directory.size = end - start;
        if !matches!(signature, END | END64) {
            return Err(malformed("the zip has bytes that belong to none of its entries"));
        }
        if !listed.is_empty() {
            return Err(refuse("ARC-Z2", "the zip has an entry that its directory does not list"));
        }
        self.zip_end(raw, signature, end, &directory)
    }

    /// A file that tar or gzip readers open, too, is not taken for a zip.
    fn check_start(&mut self, raw: &mut Raw<'_>, at: &Level<'_>) -> Result<(), ArchiveError> {
        let head = raw.peek(BLOCK, &mut self.budget)?;
        if !matches!(Container::detect(head), Some(Container::Zip)) {
            return Err(match Container::detect(head) {
                Some(Container::Gzip) => refuse("ARC-P", "the file is a gzip archive, not zip"),
                Some(Container::Tar) => refuse("ARC-P", "the file is a tar archive, not zip"),
                _ => malformed("not a zip file"),
            });
        }
        if at.is_outermost()
            && let Ok(block) = head.try_into()
            && has_valid_checksum(block)
        {
            return Err(refuse("ARC-P", "the file is a zip and a tar archive at once"));
        }
        Ok(())
    }

    fn zip_entry(
        &mut self,
        raw: &mut Raw<'_>,
        start: u64,
        names: &NameHash,
        seen: &mut SeenPaths,
        at: &Level<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<Listed, ArchiveError> {
        self.budget.entry()?;
        let local = Local::read(raw, &mut self.budget)?;
        let path = local.path()?;
        let safe = self.safe_path(path)?;
        local.modified.check(self.rules.latest, path)?;
        let method = local.method()?;
        if local.has_descriptor() {
            if self.rules.descriptors == DescriptorRule::Refuse {
                return Err(at_path("ARC-Z5", path, "an entry tells its size only behind its data"));
            }
            // Nothing but its size says where stored data ends.
            if method == Method::Stored {
                return Err(at_path("ARC-Z5", path, "a stored entry tells its size only behind its data"));
            }
        }
        let kind = if path.ends_with('/') { EntryKind::Directory } else { EntryKind::File };
        let declared = local.declared();
        if kind == EntryKind::Directory && declared.is_some_and(|sizes| sizes.unpacked != 0) {
            return Err(at_path("ARC-Z2", path, "a directory has a size"));
        }
        let found = Found { path, kind, size: declared.map(|sizes| sizes.unpacked), mode: None, offset: Some(start) };
        self.place(&found, &safe, seen, at)?;
        let mut packed = Packed::new(raw, &local, method);
        // Whether it is a link stands in the directory, behind everything; what it would lead to stands here.
        let links = self.rules.links;
        let mut may_be_link = false;
        let is_short = found.size.is_some_and(|size| size <= MAX_LINK_BYTES);
        if links != LinkRule::Refuse && kind == EntryKind::File && is_short && at.is_outermost() {
            let mut watch = |entry: ArchiveEntry<'_>| {
                let ArchiveEntry { path, kind, size, mode, within, offset, data } = entry;
                let mut content = Vec::new();
                data.read_to_end(&mut content)?;
                may_be_link |= links.allows(safe.plain, &content);
                visit(ArchiveEntry { path, kind, size, mode, within, offset, data: &mut content.as_slice() })
            };
            self.show(&mut packed, &found, 0, at, &mut watch)?;
        } else {
            self.show(&mut packed, &found, 0, at, visit)?;
        }
        let sizes = packed.close(&mut self.budget)?;
        if kind == EntryKind::Directory && sizes.unpacked != 0 {
            return Err(at_path("ARC-Z2", path, "a directory has a size"));
        }
        Ok(Listed {
            name: names.of(&local.name),
            is_directory: kind == EntryKind::Directory,
            may_be_link,
            flags: local.flags,
            method: local.method,
            sizes,
        })
    }

    fn check_central(
        &mut self,
        central: &Central,
        listed: Option<Listed>,
        names: &NameHash,
    ) -> Result<(), ArchiveError> {
        let path = shown(&central.name);
        central.modified.check(self.rules.latest, &path)?;
        let Some(listed) = listed else {
            return Err(at_path("ARC-Z2", &path, "the directory lists an entry that is not there"));
        };
        let difference = match () {
            () if listed.name != names.of(&central.name) => "name",
            () if listed.method != central.method => "method",
            () if listed.flags != central.flags => "flags",
            () if listed.sizes.crc != central.sizes.crc => "checksum",
            () if listed.sizes != central.sizes => "size",
            () => {
                self.note_mode(central.mode() & 0o7777, &path);
                return central.check_type(listed.is_directory, listed.may_be_link, &path);
            }
        };
        let message = format!("the {difference} of an entry differs from what the directory says: {path}");
        Err(ArchiveError::refuse("ARC-Z2", Some(&path), message))
    }

    /// The end record, which everything before it and nothing behind it must agree with (Z1).
    fn zip_end(
        &mut self,
        raw: &mut Raw<'_>,
        mut signature: u32,
        position: u64,
        directory: &EndRecord,
    ) -> Result<(), ArchiveError> {
        let mut has_zip64 = false;
        if signature == END64 {
            header::end64(raw, directory, &mut self.budget)?;
            if raw.u32(&mut self.budget)? != LOCATOR64 {
                return Err(malformed("a zip64 end record has no locator"));
            }
            header::locator64(raw, position, &mut self.budget)?;
            has_zip64 = true;
            signature = raw.u32(&mut self.budget)?;
        }
        if signature != END {
            return Err(malformed("the zip has bytes that belong to none of its entries"));
        }
        let comment = header::end(raw, directory, has_zip64, &mut self.budget)?;
        if comment.windows(4).any(|w| w == b"PK\x05\x06") {
            return Err(refuse("ARC-Z1", "the comment of the zip hides another end record"));
        }
        if !raw.is_at_end(&mut self.budget)? {
            return Err(refuse("ARC-Z1", "the zip has bytes after its end record"));
        }
        Ok(())
    }
}

/// Keyed 128-bit hashes of names, so that nobody can craft two that compare equal.
struct NameHash([std::hash::RandomState; 2]);

impl NameHash {
    fn new() -> Self {
        Self([std::hash::RandomState::new(), std::hash::RandomState::new()])
    }
    fn of(&self, name: &[u8]) -> u128 {
        use std::hash::BuildHasher;
        u128::from(self.0[0].hash_one(name)) << 64 | u128::from(self.0[1].hash_one(name))
    }
}

fn malformed(message: &str) -> ArchiveError {
    ArchiveError::new(ErrorKind::Malformed, "ARC-Z1", None, message)
}

fn refuse(rule: &'static str, message: &str) -> ArchiveError {
    ArchiveError::refuse(rule, None, message)
}
