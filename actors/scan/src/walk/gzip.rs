//! Gzip framing (RFC 1952): exactly one member, verified to its last byte, and nothing after it.
//!
//! `flate2::GzDecoder` stops after the first member while common clients read them all, so the framing is
//! our own and only raw DEFLATE is left to the library.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::{ArchiveError, ArchiveRules, Budget, ByteSource, ErrorKind, RootRule, polyglot::ZipTail};

const RULE: &str = "ARC-T1";
const IN_BUFFER: usize = 32 << 10;
/// Longest accepted header: extra field, file name and comment together, in bytes.
const MAX_HEADER: usize = 64 << 10;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// A verified gzip stream; a read of 0 bytes means checksum, size and end of input were all checked.
pub(super) struct Gunzip<R> {
    input: Input<R>,
    inflate: Decompress,
    crc: crc32fast::Hasher,
    size: u32,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Header,
    Body,
    Done,
}

impl<R: Read> Gunzip<R> {
    /// `is_outermost` decides whose input counts as "compressed size" in the ratio rule.
    pub(super) fn new(input: R, is_outermost: bool) -> Self {
        Self {
            input: Input {
                inner: input,
                buffer: vec![0; IN_BUFFER],
                start: 0,
                end: 0,
                tail: is_outermost.then(ZipTail::default),
                is_outermost,
            },
            inflate: Decompress::new(false),
            crc: crc32fast::Hasher::new(),
            size: 0,
            state: State::Header,
        }
    }

    /// What the compressed bytes look like to a zip reader, once the end was reached.
    pub(super) fn zip_tail(&self) -> Option<&ZipTail> {
        self.input.tail.as_ref()
    }

    fn header(&mut self, budget: &mut Budget) -> Result<(), ArchiveError> {
        let input = &mut self.input;
        let mut fixed = [0; 10];
        for at in 0..fixed.len() {
            match input.byte(budget)? {
                Some(byte) => fixed[at] = byte,
                None if fixed.starts_with(&MAGIC) => return Err(truncated()),
                None => break,
            }
        }
        check_fixed(&fixed)?;
        let flags = fixed[3];
        let mut crc = crc32fast::Hasher::new();
        crc.update(&fixed);
        let mut left = MAX_HEADER;
        if flags & FEXTRA != 0 {
            let length = [input.need(&mut crc, &mut left, budget)?, input.need(&mut crc, &mut left, budget)?];
            for _ in 0..u16::from_le_bytes(length) {
                input.need(&mut crc, &mut left, budget)?;
            }
        }
        for field in [FNAME, FCOMMENT] {
            if flags & field != 0 {
                while input.need(&mut crc, &mut left, budget)? != 0 {}
            }
        }
        if flags & FHCRC != 0 {
            let expected = crc.finalize() as u16;
            let mut unused = crc32fast::Hasher::new();
            let stored = [input.need(&mut unused, &mut left, budget)?, input.need(&mut unused, &mut left, budget)?];
            if u16::from_le_bytes(stored) != expected {
                return Err(malformed("the gzip header checksum is wrong"));
            }
        }
        self.state = State::Body;
        Ok(())
    }

    fn trailer(&mut self, budget: &mut Budget) -> Result<(), ArchiveError> {
        let mut trailer = [0; 8];
        for byte in &mut trailer {
            *byte = self.input.byte(budget)?.ok_or_else(truncated)?;
        }
        let [c0, c1, c2, c3, s0, s1, s2, s3] = trailer;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.crc.clone().finalize() {
            return Err(malformed("the gzip checksum is wrong"));
        }
        if u32::from_le_bytes([s0, s1, s2, s3]) != self.size {
            return Err(malformed("the gzip length is wrong"));
        }
        if let Some(first) = self.input.byte(budget)? {
            let second = self.input.byte(budget)?;
            let message = match (first, second) {
                (0x1f, Some(0x8b)) => "the archive has more than one gzip member",
                _ => "the archive has bytes after the end of its gzip stream",
            };
            return Err(ArchiveError::refuse(RULE, None, message));
        }
        self.state = State::Done;
        Ok(())
    }
}

impl<R: Read> ByteSource for Gunzip<R> {
    fn read(&mut self, out: &mut [u8], budget: &mut Budget) -> Result<usize, ArchiveError> {
        if self.state == State::Header {
            self.header(budget)?;
        }
        if self.state == State::Done || out.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.input.fill(budget)?;
            let is_end = input.is_empty();
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(input, out, FlushDecompress::None)
                .map_err(|_| malformed("the gzip stream is corrupt"))?;
            let consumed = (self.inflate.total_in() - before_in) as usize;
            let produced = (self.inflate.total_out() - before_out) as usize;
            self.input.start += consumed;
            self.crc.update(&out[..produced]);
            // ISIZE is the size modulo 2^32 (RFC 1952 §2.3.1).
            self.size = self.size.wrapping_add(produced as u32);
            budget.produced(produced)?;
            if status == Status::StreamEnd {
                self.trailer(budget)?;
                return Ok(produced);
            }
            if produced > 0 {
                return Ok(produced);
            }
            if consumed == 0 && is_end {
                return Err(truncated());
            }
            if consumed == 0 {
                return Err(malformed("the gzip stream is corrupt"));
            }
        }
    }
}

/// Unpacks a whole gzip file into memory, with the framing verified as in archives.
///
/// # Errors
/// T1 when it is not exactly one sound member, B1 when more than `max_bytes` come out.
pub fn gunzip(input: &mut dyn Read, max_bytes: u64) -> Result<Vec<u8>, ArchiveError> {
    let mut budget = Budget::new(&ArchiveRules { max_unpacked_bytes: max_bytes, ..ArchiveRules::new(RootRule::Any) });
    let mut source = Gunzip::new(input, true);
    let (mut bytes, mut block) = (Vec::new(), [0; 8 << 10]);
    loop {
        match source.read(&mut block, &mut budget)? {
            0 => return Ok(bytes),
            read => bytes.extend_from_slice(&block[..read]),
        }
    }
}

struct Input<R> {
    inner: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    tail: Option<ZipTail>,
    is_outermost: bool,
}

impl<R: Read> Input<R> {
    fn fill(&mut self, budget: &mut Budget) -> Result<&[u8], ArchiveError> {
        if self.start == self.end {
            let read = loop {
                match self.inner.read(&mut self.buffer) {
                    Ok(read) => break read,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e.into()),
                }
            };
            (self.start, self.end) = (0, read);
            if let Some(tail) = &mut self.tail {
                tail.push(&self.buffer[..read]);
            }
            if self.is_outermost {
                budget.consumed(read);
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn byte(&mut self, budget: &mut Budget) -> Result<Option<u8>, ArchiveError> {
        let first = self.fill(budget)?.first().copied();
        self.start += usize::from(first.is_some());
        Ok(first)
    }

    fn need(&mut self, crc: &mut crc32fast::Hasher, left: &mut usize, budget: &mut Budget) -> Result<u8, ArchiveError> {
        *left = left.checked_sub(1).ok_or_else(|| malformed("the gzip header is too long"))?;
        let byte = self.byte(budget)?.ok_or_else(truncated)?;
        crc.update(&[byte]);
        Ok(byte)
    }
}

fn check_fixed(fixed: &[u8; 10]) -> Result<(), ArchiveError> {
    match fixed {
        [0x1f, 0x8b, 8, flags, ..] if flags & RESERVED == 0 => Ok(()),
        [0x1f, 0x8b, ..] => Err(malformed("the gzip header uses an unknown method or flag")),
        [b'P', b'K', ..] => Err(ArchiveError::refuse("ARC-P", None, "the file is a zip archive, not gzip")),
        _ => Err(malformed("not a gzip file")),
    }
}

fn malformed(message: &str) -> ArchiveError {
    ArchiveError::new(ErrorKind::Malformed, RULE, None, message)
}

fn truncated() -> ArchiveError {
    malformed("the archive ends before its gzip stream does")
}
