//! What the walks of all formats share: rules for names and places, the visitor, archives inside archives.

use std::io::{self, Read};

use publaryn_core::finding::{Category, Severity};

use super::{
    ArchiveEntry, ArchiveError, ArchiveRules, ArchiveSummary, Budget, ByteSource, DuplicateRule, EntryKind, ErrorKind,
    RootRule,
    gzip::Gunzip,
    path::{self, Clash, PathFault, SafePath, SeenPaths},
    polyglot::{Container, MAGIC_BYTES},
    zip::Raw,
};
use crate::findings::Findings;

pub(super) type Visit<'v> = dyn FnMut(ArchiveEntry<'_>) -> Result<(), ArchiveError> + 'v;

/// Nested archives are held in memory to be listed; larger ones are noted as opaque.
const MAX_NESTED_BYTES: u64 = 8 << 20;

/// State shared by an archive and those nested in it.
pub(super) struct Walk<'r> {
    pub(super) rules: &'r ArchiveRules,
    pub(super) budget: Budget,
    notes: Findings,
    summary: ArchiveSummary,
    visitor_refused: bool,
}

/// Which archive is being walked: the outermost has depth 0.
pub(super) struct Level<'a> {
    depth: u8,
    within: Option<&'a str>,
}

impl Level<'_> {
    pub(super) const OUTERMOST: Level<'static> = Level { depth: 0, within: None };

    pub(super) fn is_outermost(&self) -> bool {
        self.depth == 0
    }
}

/// An entry whose header was read.
pub(super) struct Found<'a> {
    pub(super) path: &'a str,
    pub(super) kind: EntryKind,
    /// Unknown while a zip tells it only behind the data.
    pub(super) size: Option<u64>,
    /// Permission bits, where the header tells them.
    pub(super) mode: Option<u32>,
    /// Of the header, in a zip.
    pub(super) offset: Option<u64>,
}

impl Found<'_> {
    fn shown<'a>(&'a self, at: &Level<'a>, data: &'a mut dyn Read) -> ArchiveEntry<'a> {
        let mode = self.mode.map(|mode| mode & 0o7777);
        let Self { path, kind, size, offset, .. } = *self;
        ArchiveEntry { path, kind, size, mode, offset, within: at.within, data }
    }
}

impl<'r> Walk<'r> {
    pub(super) fn new(rules: &'r ArchiveRules) -> Self {
        Self {
            rules,
            budget: Budget::new(rules),
            notes: Findings::new(),
            summary: ArchiveSummary::default(),
            visitor_refused: false,
        }
    }

    pub(super) fn finish(self) -> ArchiveSummary {
        ArchiveSummary {
            compressed_bytes: self.budget.compressed_bytes(),
            notes: self.notes.into_vec(),
            ..self.summary
        }
    }

    /// Checks a stored path by itself.
    pub(super) fn safe_path<'p>(&self, path: &'p str) -> Result<SafePath<'p>, ArchiveError> {
        path::check(path, self.rules.max_depth).map_err(|fault| match fault {
            PathFault::Unsafe(message) => unsafe_name(&shown(path.as_bytes()), message),
            PathFault::TooDeep => {
                let shown = shown(path.as_bytes());
                let message = format!("a path has more than {} components: {shown}", self.rules.max_depth);
                ArchiveError { path: Some(shown), ..ArchiveError::limit(message) }
            }
        })
    }

    /// Checks an entry against the rules and the entries before it, and counts it.
    pub(super) fn place(
        &mut self,
        found: &Found<'_>,
        safe: &SafePath<'_>,
        seen: &mut SeenPaths,
        at: &Level<'_>,
    ) -> Result<(), ArchiveError> {
        let (path, kind) = (found.path, found.kind);
        if at.depth == 0 {
            self.check_root(path, safe, kind)?;
        }
        if found.size.is_some_and(|size| size > self.rules.max_entry_bytes) {
            return Err(entry_too_large(path, self.rules.max_entry_bytes));
        }
        self.check_clash(seen.insert(safe.plain, kind != EntryKind::Directory), path)?;
        if path::is_windows_trap(safe.plain) {
            self.note("ARC-Z3", Severity::Low, "the name does not work on Windows", path);
        }
        if kind == EntryKind::File {
            self.note_mode(found.mode.unwrap_or(0), path);
        }
        if at.depth == 0 {
            self.summary.entries += 1;
            if kind == EntryKind::File {
                self.summary.files += 1;
            }
        }
        Ok(())
    }

    pub(super) fn note_mode(&mut self, mode: u32, path: &str) {
        if mode & 0o6000 != 0 {
            self.note("ARC-L", Severity::Medium, "the file has setuid or setgid permission bits", path);
        }
    }

    fn check_root(&mut self, path: &str, safe: &SafePath<'_>, kind: EntryKind) -> Result<(), ArchiveError> {
        let expected = match &self.rules.root {
            RootRule::Any => None,
            RootRule::Single => self.summary.root.as_deref(),
            RootRule::Exact(root) => Some(root.strip_suffix('/').unwrap_or(root)),
        };
        if self.rules.root != RootRule::Any {
            if expected.is_some_and(|expected| expected != safe.root) {
                let message = format!("all files must lie in `{}/`, found: {path}", expected.unwrap_or_default());
                return Err(ArchiveError::refuse("ARC-T3", Some(path), message));
            }
            if safe.below_root.is_none() && kind != EntryKind::Directory {
                return Err(at_path("ARC-T3", path, "a file lies outside the top directory"));
            }
        }
        self.summary.root.get_or_insert_with(|| safe.root.to_owned());
        Ok(())
    }

    fn check_clash(&mut self, clash: Clash, path: &str) -> Result<(), ArchiveError> {
        match (clash, self.rules.duplicates) {
            (Clash::None, _) => Ok(()),
            (Clash::Duplicate, DuplicateRule::Note) => {
                self.note("ARC-Z3", Severity::Low, "two files have the same path", path);
                Ok(())
            }
            (Clash::Duplicate, _) => Err(at_path("ARC-Z3", path, "the archive has two files of the same path")),
            (Clash::FileAndDirectory, _) => Err(at_path("ARC-Z3", path, "a path is both a file and a directory")),
            (Clash::CaseFold, DuplicateRule::CaseInsensitive) => {
                Err(at_path("ARC-Z3", path, "two paths differ only in case"))
            }
            (Clash::CaseFold, DuplicateRule::CaseSensitive | DuplicateRule::Note) => {
                self.note("ARC-Z3", Severity::Medium, "two paths differ only in case", path);
                Ok(())
            }
        }
    }

    /// Shows the entry's data to the visitor, skips the rest of it and `padding` bytes, and lists it if it is an
    /// archive itself.
    pub(super) fn show(
        &mut self,
        source: &mut dyn ByteSource,
        found: &Found<'_>,
        padding: u64,
        at: &Level<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ArchiveError> {
        let max_bytes = self.rules.max_entry_bytes;
        let mut data = Data {
            source,
            budget: &mut self.budget,
            left: found.size,
            given: 0,
            max_bytes,
            failure: None,
            path: found.path,
        };
        let mut head = [0; MAGIC_BYTES];
        let mut filled = 0;
        loop {
            match data.read(&mut head[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        let head = &head[..filled];
        let container = Container::detect(head).filter(|_| self.rules.nested_depth > 0);
        let is_listed = at.depth < self.rules.nested_depth
            && found.size.is_some_and(|size| size <= MAX_NESTED_BYTES)
            && container.is_some_and(|format| !matches!(format, Container::Opaque(_)));
        let is_shown = at.depth == 0 || self.rules.visits_nested;
        let mut nested = Vec::new();
        let mut visited = Ok(());
        if is_listed {
            nested.extend_from_slice(head);
            data.read_to_end(&mut nested)?;
            if is_shown {
                visited = visit(found.shown(at, &mut nested.as_slice()));
            }
        } else if is_shown {
            visited = visit(found.shown(at, &mut head.chain(&mut data)));
        }
        // What broke the archive comes before what the visitor made of it.
        if let Some(failure) = data.failure.take() {
            return Err(failure);
        }
        self.visitor_refused |= visited.is_err();
        visited?;
        io::copy(&mut data, &mut io::sink())?;
        let size = data.given;
        if padding > 0 {
            data.left = Some(padding);
            io::copy(&mut data, &mut io::sink())?;
        }
        if at.depth == 0 && found.kind == EntryKind::File {
            self.summary.unpacked_bytes += size;
        }
        let opaque = match container {
            None => return Ok(()),
            Some(format) if is_listed => return self.nested(format, &nested, found.path, at, visit),
            Some(Container::Opaque(name)) => format!("opaque: the content of this {name} archive was not listed"),
            Some(_) => "opaque: a nested archive is too deep or too large to be listed".to_owned(),
        };
        self.note("ARC-N", Severity::Low, &opaque, found.path);
        Ok(())
    }

    /// Lists a nested archive. What it breaks is noted; only limits and the visitor refuse the whole.
    fn nested(
        &mut self,
        format: Container,
        bytes: &[u8],
        path: &str,
        at: &Level<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ArchiveError> {
        let within = match at.within {
            Some(outer) => format!("{outer}!{path}"),
            None => path.to_owned(),
        };
        let inner = Level { depth: at.depth + 1, within: Some(&within) };
        let result = match format {
            Container::Tar => self.tar(&mut { bytes }, &inner, visit),
            Container::Zip => self.zip(&mut Raw::new(&mut { bytes }, false), &inner, visit),
            _ => match gzip_head(bytes, &mut self.budget) {
                // A single compressed file is no archive: nothing to list.
                Ok(head) if Container::detect(&head) != Some(Container::Tar) => Ok(()),
                Ok(_) => self.tar(&mut Gunzip::new(bytes, false), &inner, visit),
                Err(error) => Err(error),
            },
        };
        match result {
            Err(error) if error.kind != ErrorKind::Limit && !self.visitor_refused => {
                let title = format!("opaque: the nested archive is not safe to read: {}", error.message);
                self.note("ARC-N", Severity::Low, &title, &within);
                Ok(())
            }
            other => other,
        }
    }

    /// Notes something about the archive as a whole.
    pub(super) fn note_at(&mut self, at: &Level<'_>, rule: &str, severity: Severity, title: &str) {
        self.note(rule, severity, title, at.within.unwrap_or_default());
    }

    pub(super) fn note(&mut self, rule: &str, severity: Severity, title: &str, path: &str) {
        self.notes.add(rule, Category::ArchiveUnsafe, severity, title, path);
    }
}

/// The data of one entry as a reader; remembers a failure in case its reader swallows it.
struct Data<'a> {
    source: &'a mut dyn ByteSource,
    budget: &'a mut Budget,
    /// Bytes still to come; `None` reads to the end of the source.
    left: Option<u64>,
    given: u64,
    max_bytes: u64,
    failure: Option<ArchiveError>,
    path: &'a str,
}

impl Data<'_> {
    fn next(&mut self, out: &mut [u8]) -> Result<usize, ArchiveError> {
        let read = self.source.read(out, self.budget)?;
        match &mut self.left {
            Some(_) if read == 0 => return Err(truncated(self.path)),
            Some(left) => *left -= read as u64,
            None if self.given + read as u64 > self.max_bytes => {
                return Err(entry_too_large(self.path, self.max_bytes));
            }
            None => {}
        }
        self.given += read as u64;
        Ok(read)
    }
}

impl Read for Data<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone().into());
        }
        let want = out.len().min(self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX)));
        if want == 0 {
            return Ok(0);
        }
        self.next(&mut out[..want]).map_err(|failure| {
            self.failure = Some(failure.clone());
            failure.into()
        })
    }
}

/// The first bytes of a gzip stream, unpacked.
fn gzip_head(bytes: &[u8], budget: &mut Budget) -> Result<Vec<u8>, ArchiveError> {
    let mut head = vec![0; MAGIC_BYTES];
    let read = fill(&mut Gunzip::new(bytes, false), &mut head, budget)?;
    head.truncate(read);
    Ok(head)
}

/// Reads until the buffer is full or the source ends; returns how much.
pub(super) fn fill(source: &mut dyn ByteSource, buffer: &mut [u8], budget: &mut Budget) -> Result<usize, ArchiveError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..], budget)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn truncated(path: &str) -> ArchiveError {
    ArchiveError::new(ErrorKind::Malformed, "ARC-T2", Some(path), "the archive is truncated")
}

fn entry_too_large(path: &str, max_bytes: u64) -> ArchiveError {
    let message = format!("a file is larger than {max_bytes} bytes: {path}");
    ArchiveError { path: Some(path.to_owned()), ..ArchiveError::limit(message) }
}

pub(super) fn at_path(rule: &'static str, path: &str, message: &str) -> ArchiveError {
    ArchiveError::refuse(rule, Some(path), format!("{message}: {path}"))
}

pub(super) fn unsafe_name(shown: &str, message: &str) -> ArchiveError {
    at_path("ARC-Z3", shown, message)
}

/// An unchecked path made fit to print.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).flat_map(char::escape_debug).collect()
}
