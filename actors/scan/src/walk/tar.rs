//! The tar walk itself: headers and their extensions, entries and their data, the end, and archives inside.

use std::io::{self, Read};

use publaryn_core::finding::{Category, Severity};

use super::{
    ArchiveError, Budget, ByteSource, DuplicateRule, EntryKind, ErrorKind, LinkRule, RootRule, TarEntry, TarRules,
    TarSummary,
    gzip::Gunzip,
    header::{BLOCK, Header, padding_of, type_name},
    path::{self, Clash, PathFault, SafePath, SeenPaths},
    pax::Pax,
    polyglot::{Container, MAGIC_BYTES, ZipLikeness},
};
use crate::findings::Findings;

type Visit<'v> = dyn FnMut(TarEntry<'_>) -> Result<(), ArchiveError> + 'v;

/// Extended headers larger than this are refused: the longest legitimate ones carry file attributes.
const MAX_PAX_BYTES: u64 = 256 << 10;
/// A GNU long name holds one path (≤ 1024) and its NUL.
const MAX_LONG_NAME_BYTES: u64 = 4096;
/// Sizes a 12-digit octal field cannot hold are the only ones PAX may override.
const OCTAL_SIZE_LIMIT: u64 = 8 << 30;
/// Global headers change nothing we read; a handful is normal (`git archive`), a stream of them is not.
const MAX_GLOBAL_HEADERS: u32 = 16;
/// Nested archives are held in memory to be listed; larger ones are noted as opaque.
const MAX_NESTED_BYTES: u64 = 8 << 20;

/// Walks a gzip-compressed tar, calling `visit` for every file and directory that passed the rules so far.
///
/// The verdict is only final when the call returns: a fault may lie behind the last entry.
///
/// # Errors
/// The first rule broken, by the archive or by the visitor.
pub fn walk_targz<R: Read>(input: R, rules: &TarRules, visit: &mut Visit<'_>) -> Result<TarSummary, ArchiveError> {
    let mut walk = Walk {
        rules,
        budget: Budget::new(rules),
        notes: Findings::new(),
        summary: TarSummary::default(),
        visitor_refused: false,
    };
    let mut source = Gunzip::new(input, true);
    walk.archive(&mut source, &Level { depth: 0, within: None }, visit)?;
    match source.zip_tail().and_then(|tail| tail.likeness()) {
        Some(ZipLikeness::Exact) => {
            return Err(ArchiveError::refuse("ARC-P", None, "the file is a gzip and a zip archive at once"));
        }
        Some(ZipLikeness::Lenient) => walk.note("ARC-P", Severity::Medium, "lenient zip readers open this file", ""),
        None => {}
    }
    Ok(TarSummary { compressed_bytes: walk.budget.compressed_bytes(), notes: walk.notes.into_vec(), ..walk.summary })
}

/// State shared by an archive and those nested in it.
struct Walk<'r> {
    rules: &'r TarRules,
    budget: Budget,
    notes: Findings,
    summary: TarSummary,
    visitor_refused: bool,
}

/// Which archive is being walked: the outermost has depth 0.
struct Level<'a> {
    depth: u8,
    within: Option<&'a str>,
}

/// Records read so far for the entry that follows.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    has_long_link: bool,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && !self.has_long_link
    }
}

impl Walk<'_> {
    fn archive(
        &mut self,
        source: &mut dyn ByteSource,
        at: &Level<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ArchiveError> {
        let mut seen = SeenPaths::new();
        let mut extensions = Extensions::default();
        let mut globals = 0;
        let mut ends_in_global = false;
        loop {
            let mut block = [0; BLOCK];
            match fill(source, &mut block, &mut self.budget)? {
                0 => {
                    self.note_at(at, Severity::Low, "the end marker of the tar archive is missing");
                    break;
                }
                BLOCK if block == [0; BLOCK] => {
                    self.end(source, at)?;
                    break;
                }
                BLOCK => {}
                _ => return Err(malformed(None, "the tar archive is truncated")),
            }
            let header = Header::parse(&block).map_err(|fault| malformed(None, fault))?;
            match header.kind {
                b'x' => {
                    let body = self.extension(source, &header, MAX_PAX_BYTES)?;
                    let pax = Pax::parse(&body, false).map_err(refuse)?;
                    if extensions.pax.replace(pax).is_some() {
                        return Err(refuse("two pax headers precede one entry"));
                    }
                }
                b'g' => {
                    globals += 1;
                    ends_in_global = true;
                    if globals > MAX_GLOBAL_HEADERS || !extensions.is_empty() {
                        return Err(refuse("a global pax header is out of place"));
                    }
                    Pax::parse(&self.extension(source, &header, MAX_PAX_BYTES)?, true).map_err(refuse)?;
                }
                b'L' => {
                    let name = long_name(self.extension(source, &header, MAX_LONG_NAME_BYTES)?)?;
                    if extensions.long_name.replace(name).is_some() {
                        return Err(refuse("two long names precede one entry"));
                    }
                }
                b'K' => {
                    self.extension(source, &header, MAX_LONG_NAME_BYTES)?;
                    if std::mem::replace(&mut extensions.has_long_link, true) {
                        return Err(refuse("two long link names precede one entry"));
                    }
                }
                _ => {
                    ends_in_global = false;
                    self.entry(source, header, std::mem::take(&mut extensions), &mut seen, at, visit)?;
                }
            }
        }
        if !extensions.is_empty() || ends_in_global {
            return Err(refuse("an extended header has no entry after it"));
        }
        Ok(())
    }

    /// Reads the body of an extension header into memory.
    fn extension(&mut self, source: &mut dyn ByteSource, header: &Header, max: u64) -> Result<Vec<u8>, ArchiveError> {
        if header.size > max {
            return Err(ArchiveError::limit(format!("an extended tar header is larger than {max} bytes")));
        }
        let mut body = vec![0; (header.size + padding_of(header.size)) as usize];
        if fill(source, &mut body, &mut self.budget)? != body.len() {
            return Err(malformed(None, "the tar archive is truncated"));
        }
        body.truncate(header.size as usize);
        Ok(body)
    }

    fn entry(
        &mut self,
        source: &mut dyn ByteSource,
        header: Header,
        extensions: Extensions,
        seen: &mut SeenPaths,
        at: &Level<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ArchiveError> {
        self.budget.entry()?;
        let (stored, size) = resolve(&header, &extensions)?;
        let path = str::from_utf8(&stored).map_err(|_| unsafe_name(&shown(&stored), "a path is not utf-8"))?;
        let kind = self.kind(&header, path)?;
        if extensions.has_long_link {
            return Err(at_path("ARC-T2", path, "a long link name precedes an entry that is no link"));
        }
        let safe = path::check(path, self.rules.max_depth).map_err(|fault| match fault {
            PathFault::Unsafe(message) => unsafe_name(&shown(&stored), message),
            PathFault::TooDeep => {
                let message = format!("a path has more than {} components: {}", self.rules.max_depth, shown(&stored));
                ArchiveError { path: Some(shown(&stored)), ..ArchiveError::limit(message) }
            }
        })?;
        match kind {
            EntryKind::Directory if size != 0 => return Err(at_path("ARC-T2", path, "a directory has a size")),
            EntryKind::File if path.ends_with('/') => {
                return Err(at_path("ARC-T2", path, "the path of a regular file ends in a slash"));
            }
            _ => {}
        }
        if at.depth == 0 {
            self.check_root(path, &safe, kind)?;
        }
        if size > self.rules.max_entry_bytes {
            let message = format!("a file is larger than {} bytes: {path}", self.rules.max_entry_bytes);
            return Err(ArchiveError { path: Some(path.to_owned()), ..ArchiveError::limit(message) });
        }
        self.check_clash(seen.insert(safe.plain, kind == EntryKind::File), path)?;
        if path::is_windows_trap(safe.plain) {
            self.note("ARC-Z3", Severity::Low, "the name does not work on Windows", path);
        }
        if kind == EntryKind::File && header.mode & 0o6000 != 0 {
            self.note("ARC-L", Severity::Medium, "the file has setuid or setgid permission bits", path);
        }
        if at.depth == 0 {
            self.summary.entries += 1;
            if kind == EntryKind::File {
                self.summary.files += 1;
                self.summary.unpacked_bytes += size;
            }
        }
        let entry = Entry { path, kind, size, mode: header.mode & 0o7777 };
        self.data(source, &entry, padding_of(size), at, visit)
    }

    fn kind(&self, header: &Header, path: &str) -> Result<EntryKind, ArchiveError> {
        let rule = match header.kind {
            0 | b'0' => return Ok(EntryKind::File),
            b'5' => return Ok(EntryKind::Directory),
            b'1' | b'2' => match self.rules.links {
                LinkRule::Refuse => "ARC-L",
            },
            _ => "ARC-T2",
        };
        let path = shown(path.as_bytes());
        let message = format!("unexpected tar entry type {} found: {path}", type_name(header.kind));
        Err(ArchiveError::refuse(rule, Some(&path), message))
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
            if safe.below_root.is_none() && kind == EntryKind::File {
                return Err(at_path("ARC-T3", path, "a file lies outside the top directory"));
            }
        }
        self.summary.root.get_or_insert_with(|| safe.root.to_owned());
        Ok(())
    }

    fn check_clash(&mut self, clash: Clash, path: &str) -> Result<(), ArchiveError> {
        match (clash, self.rules.duplicates) {
            (Clash::None, _) => Ok(()),
            (Clash::Duplicate, _) => Err(at_path("ARC-Z3", path, "the archive has two files of the same path")),
            (Clash::FileAndDirectory, _) => Err(at_path("ARC-Z3", path, "a path is both a file and a directory")),
            (Clash::CaseFold, DuplicateRule::CaseInsensitive) => {
                Err(at_path("ARC-Z3", path, "two paths differ only in case"))
            }
            (Clash::CaseFold, DuplicateRule::CaseSensitive) => {
                self.note("ARC-Z3", Severity::Medium, "two paths differ only in case", path);
                Ok(())
            }
        }
    }

    /// Shows the entry's data to the visitor, skips the rest of it, and lists it if it is an archive itself.
    fn data(
        &mut self,
        source: &mut dyn ByteSource,
        entry: &Entry<'_>,
        padding: u64,
        at: &Level<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ArchiveError> {
        let mut head = [0; MAGIC_BYTES];
        let head = &mut head[..entry.size.min(MAGIC_BYTES as u64) as usize];
        let mut data = Data { source, budget: &mut self.budget, left: entry.size, failure: None, path: entry.path };
        data.read_exact(head)?;
        let container = Container::detect(head).filter(|_| self.rules.nested_depth > 0);
        let is_listed = at.depth < self.rules.nested_depth
            && entry.size <= MAX_NESTED_BYTES
            && matches!(container, Some(Container::Gzip | Container::Tar));
        let is_shown = at.depth == 0 || self.rules.visits_nested;
        let mut nested = Vec::new();
        let mut visited = Ok(());
        if is_listed {
            nested.extend_from_slice(head);
            data.read_to_end(&mut nested)?;
            if is_shown {
                visited = visit(entry.shown(at, &mut nested.as_slice()));
            }
        } else if is_shown {
            visited = visit(entry.shown(at, &mut head.chain(&mut data)));
        }
        // What broke the archive comes before what the visitor made of it.
        if let Some(failure) = data.failure.take() {
            return Err(failure);
        }
        self.visitor_refused |= visited.is_err();
        visited?;
        data.left += padding;
        io::copy(&mut data, &mut io::sink())?;
        match container {
            Some(format) if is_listed => self.nested(format, &nested, entry, at, visit),
            Some(Container::Opaque(name)) => {
                self.note(
                    "ARC-N",
                    Severity::Low,
                    &format!("opaque: the content of this {name} archive was not listed"),
                    entry.path,
                );
                Ok(())
            }
            Some(_) => {
                self.note(
                    "ARC-N",
                    Severity::Low,
                    "opaque: a nested archive is too deep or too large to be listed",
                    entry.path,
                );
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Lists a nested archive. What it breaks is noted; only limits and the visitor refuse the whole.
    fn nested(
        &mut self,
        format: Container,
        bytes: &[u8],
        entry: &Entry<'_>,
        at: &Level<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ArchiveError> {
        let within = match at.within {
            Some(outer) => format!("{outer}!{}", entry.path),
            None => entry.path.to_owned(),
        };
        let inner = Level { depth: at.depth + 1, within: Some(&within) };
        let result = match format {
            Container::Tar => self.archive(&mut { bytes }, &inner, visit),
            _ => match gzip_head(bytes, &mut self.budget) {
                // A single compressed file is no archive: nothing to list.
                Ok(head) if Container::detect(&head) != Some(Container::Tar) => Ok(()),
                Ok(_) => self.archive(&mut Gunzip::new(bytes, false), &inner, visit),
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

    /// After the first zero block only zeros may follow: node-tar goes on reading behind a single one.
    fn end(&mut self, source: &mut dyn ByteSource, at: &Level<'_>) -> Result<(), ArchiveError> {
        let mut chunk = [0; 8 << 10];
        let mut zeros = 0;
        loop {
            let read = source.read(&mut chunk, &mut self.budget)?;
            if read == 0 {
                break;
            }
            if chunk[..read].iter().any(|b| *b != 0) {
                return Err(refuse("the archive has data after its end marker"));
            }
            zeros += read as u64;
        }
        if zeros < BLOCK as u64 {
            self.note_at(at, Severity::Low, "the end marker of the tar archive is incomplete");
        }
        Ok(())
    }

    fn note_at(&mut self, at: &Level<'_>, severity: Severity, title: &str) {
        self.note("ARC-T2", severity, title, at.within.unwrap_or_default());
    }

    fn note(&mut self, rule: &str, severity: Severity, title: &str, path: &str) {
        self.notes.add(rule, Category::ArchiveUnsafe, severity, title, path);
    }
}

struct Entry<'a> {
    path: &'a str,
    kind: EntryKind,
    size: u64,
    mode: u32,
}

impl Entry<'_> {
    fn shown<'a>(&'a self, at: &Level<'a>, data: &'a mut dyn Read) -> TarEntry<'a> {
        TarEntry { path: self.path, kind: self.kind, size: self.size, mode: self.mode, within: at.within, data }
    }
}

/// The data of one entry as a reader; remembers a failure in case its reader swallows it.
struct Data<'a> {
    source: &'a mut dyn ByteSource,
    budget: &'a mut Budget,
    left: u64,
    failure: Option<ArchiveError>,
    path: &'a str,
}

impl Read for Data<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone().into());
        }
        let want = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let read = match self.source.read(&mut out[..want], self.budget) {
            Ok(0) => Err(malformed(Some(self.path), "the tar archive is truncated")),
            other => other,
        };
        match read {
            Ok(read) => {
                self.left -= read as u64;
                Ok(read)
            }
            Err(failure) => {
                self.failure = Some(failure.clone());
                Err(failure.into())
            }
        }
    }
}

/// The path and size of an entry after its extensions, refusing every disagreement between them.
fn resolve(header: &Header, extensions: &Extensions) -> Result<(Vec<u8>, u64), ArchiveError> {
    let pax = extensions.pax.as_ref();
    let stored = match (pax.and_then(|p| p.path.as_ref()), &extensions.long_name) {
        (Some(path), Some(_)) => {
            return Err(at_path("ARC-T2", &shown(path.as_bytes()), "an entry has both a pax path and a gnu long name"));
        }
        (Some(path), None) => path.as_bytes().to_vec(),
        (None, Some(name)) => name.clone(),
        (None, None) => header.path.clone(),
    };
    match pax.and_then(|p| p.size) {
        None => Ok((stored, header.size)),
        Some(size) if size == header.size => Ok((stored, size)),
        // Beyond the range of the octal field; no rule set allows such an entry today, and B1 says so.
        Some(size) if size >= OCTAL_SIZE_LIMIT && header.size == 0 => Ok((stored, size)),
        Some(_) => Err(at_path("ARC-T2", &shown(&stored), "the pax size differs from the header size")),
    }
}

/// The text of a GNU long name: up to its NUL, behind which nothing may hide.
fn long_name(mut body: Vec<u8>) -> Result<Vec<u8>, ArchiveError> {
    let end = body.iter().position(|b| *b == 0).unwrap_or(body.len());
    if end == 0 || body[end..].iter().any(|b| *b != 0) {
        return Err(refuse("a gnu long name is malformed"));
    }
    body.truncate(end);
    Ok(body)
}

/// The first bytes of a gzip stream, unpacked.
fn gzip_head(bytes: &[u8], budget: &mut Budget) -> Result<Vec<u8>, ArchiveError> {
    let mut head = vec![0; MAGIC_BYTES];
    let read = fill(&mut Gunzip::new(bytes, false), &mut head, budget)?;
    head.truncate(read);
    Ok(head)
}

/// Reads until the buffer is full or the source ends; returns how much.
fn fill(source: &mut dyn ByteSource, buffer: &mut [u8], budget: &mut Budget) -> Result<usize, ArchiveError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..], budget)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn malformed(path: Option<&str>, message: impl Into<String>) -> ArchiveError {
    ArchiveError::new(ErrorKind::Malformed, "ARC-T2", path, message)
}

fn refuse(message: &str) -> ArchiveError {
    ArchiveError::refuse("ARC-T2", None, message)
}

fn at_path(rule: &'static str, path: &str, message: &str) -> ArchiveError {
    ArchiveError::refuse(rule, Some(path), format!("{message}: {path}"))
}

fn unsafe_name(shown: &str, message: &str) -> ArchiveError {
    at_path("ARC-Z3", shown, message)
}

/// An unchecked path made fit to print.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).flat_map(char::escape_debug).collect()
}
