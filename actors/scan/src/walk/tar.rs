//! The tar walk: headers and their extensions, entries, the end.

use std::io::Read;

use publaryn_core::finding::Severity;

use super::{
    ArchiveError, ArchiveRules, ArchiveSummary, Budget, ByteSource, EntryKind, ErrorKind, LinkRule,
    gzip::Gunzip,
    header::{BLOCK, Header, padding_of, type_name},
    listing::{Found, Level, Visit, Walk, at_path, fill, shown, unsafe_name},
    path::SeenPaths,
    pax::Pax,
    polyglot::{ZipLikeness, ZipTail},
};

/// Extended headers larger than this are refused: the longest legitimate ones carry file attributes.
const MAX_PAX_BYTES: u64 = 256 << 10;
/// A GNU long name holds one path (≤ 1024) and its NUL.
const MAX_LONG_NAME_BYTES: u64 = 4096;
/// Sizes a 12-digit octal field cannot hold are the only ones PAX may override.
const OCTAL_SIZE_LIMIT: u64 = 8 << 30;
/// Global headers change nothing we read; a handful is normal (`git archive`), a stream of them is not.
const MAX_GLOBAL_HEADERS: u32 = 16;

/// Walks a gzip-compressed tar, calling `visit` for every file and directory that passed the rules so far.
///
/// The verdict is only final when the call returns: a fault may lie behind the last entry.
///
/// # Errors
/// The first rule broken, by the archive or by the visitor.
pub fn walk_targz<R: Read>(
    input: R,
    rules: &ArchiveRules,
    visit: &mut Visit<'_>,
) -> Result<ArchiveSummary, ArchiveError> {
    let mut walk = Walk::new(rules);
    let mut source = Gunzip::new(input, true);
    walk.tar(&mut source, &Level::OUTERMOST, visit)?;
    match source.zip_tail().and_then(|tail| tail.likeness()) {
        Some(ZipLikeness::Exact) => {
            return Err(ArchiveError::refuse("ARC-P", None, "the file is a gzip and a zip archive at once"));
        }
        Some(ZipLikeness::Lenient) => walk.note("ARC-P", Severity::Medium, "lenient zip readers open this file", ""),
        None => {}
    }
    Ok(walk.finish())
}

/// Walks a plain tar, as [`walk_targz`] does a compressed one.
///
/// # Errors
/// The first rule broken, by the archive or by the visitor.
pub fn walk_tar<R: Read>(
    input: R,
    rules: &ArchiveRules,
    visit: &mut Visit<'_>,
) -> Result<ArchiveSummary, ArchiveError> {
    let mut walk = Walk::new(rules);
    let mut source = Plain { input, tail: ZipTail::default() };
    walk.tar(&mut source, &Level::OUTERMOST, visit)?;
    match source.tail.likeness() {
        Some(ZipLikeness::Exact) => {
            return Err(ArchiveError::refuse("ARC-P", None, "the file is a tar and a zip archive at once"));
        }
        Some(ZipLikeness::Lenient) => walk.note("ARC-P", Severity::Medium, "lenient zip readers open this file", ""),
        None => {}
    }
    Ok(walk.finish())
}

/// Bytes as they come, counted against the budget.
struct Plain<R> {
    input: R,
    tail: ZipTail,
}

impl<R: Read> ByteSource for Plain<R> {
    fn read(&mut self, out: &mut [u8], budget: &mut Budget) -> Result<usize, ArchiveError> {
        let read = self.input.read(out)?;
        self.tail.push(&out[..read]);
        budget.consumed(read);
        budget.produced(read)?;
        Ok(read)
    }
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

    fn has_pax_link(&self) -> bool {
        self.pax.as_ref().is_some_and(|pax| pax.has_link)
    }
}

impl Walk<'_> {
    pub(super) fn tar(
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
                    self.note_at(at, "ARC-T2", Severity::Low, "the end marker of the tar archive is missing");
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
        let is_dotted = self.rules.takes_dot_slash && at.is_outermost();
        if is_dotted && kind == EntryKind::Directory && matches!(path, "." | "./") && size == 0 {
            return Ok(());
        }
        let path = path.strip_prefix("./").filter(|_| is_dotted).unwrap_or(path);
        if extensions.has_long_link || (kind == EntryKind::Link && extensions.has_pax_link()) {
            let message = "a link name stands elsewhere than in the header of a link";
            return Err(at_path("ARC-T2", path, message));
        }
        let safe = self.safe_path(path)?;
        match kind {
            EntryKind::Link if !self.rules.links.allows(safe.plain, &header.link) => {
                return Err(at_path("ARC-L", path, "a link leads out of the archive, or is not written plainly"));
            }
            EntryKind::Link if size != 0 => return Err(at_path("ARC-T2", path, "a link has a size")),
            EntryKind::Link if path.ends_with('/') => {
                return Err(at_path("ARC-T2", path, "the path of a link ends in a slash"));
            }
            EntryKind::Directory if size != 0 => return Err(at_path("ARC-T2", path, "a directory has a size")),
            EntryKind::File if path.ends_with('/') => {
                return Err(at_path("ARC-T2", path, "the path of a regular file ends in a slash"));
            }
            _ => {}
        }
        let found = Found { path, kind, size: Some(size), mode: Some(header.mode), offset: None };
        self.place(&found, &safe, seen, at)?;
        self.show(source, &found, padding_of(size), at, visit)
    }

    fn kind(&self, header: &Header, path: &str) -> Result<EntryKind, ArchiveError> {
        let rule = match header.kind {
            0 | b'0' => return Ok(EntryKind::File),
            b'5' => return Ok(EntryKind::Directory),
            b'2' if self.rules.links != LinkRule::Refuse => return Ok(EntryKind::Link),
            b'1' | b'2' => "ARC-L",
            _ => "ARC-T2",
        };
        let path = shown(path.as_bytes());
        let message = format!("unexpected tar entry type {} found: {path}", type_name(header.kind));
        Err(ArchiveError::refuse(rule, Some(&path), message))
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
            self.note_at(at, "ARC-T2", Severity::Low, "the end marker of the tar archive is incomplete");
        }
        Ok(())
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

fn malformed(path: Option<&str>, message: impl Into<String>) -> ArchiveError {
    ArchiveError::new(ErrorKind::Malformed, "ARC-T2", path, message)
}

fn refuse(message: &str) -> ArchiveError {
    ArchiveError::refuse("ARC-T2", None, message)
}
