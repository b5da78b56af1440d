//! One 512-byte tar header (POSIX.1-2017 pax, "ustar Interchange Format"), read strictly.
//!
//! Every field that two of node-tar, `tar` (Rust), CPython, GNU tar and libarchive read differently is refused.

use std::borrow::Cow;

/// Size of a header and unit of padding, in bytes.
pub(super) const BLOCK: usize = 512;

/// A header whose checksum and numbers are sound; its path may be replaced by PAX or GNU records.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// `prefix/name`, not yet checked as a path.
    pub(super) path: Vec<u8>,
    /// What a link leads to, as stored here.
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) kind: u8,
}

impl Header {
    /// Reads a block that is not all zero.
    ///
    /// # Errors
    /// A sentence saying what is wrong; the rule is always T2.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, Cow<'static, str>> {
        if octal(&block[148..156]).ok_or("a tar header has a bad checksum")? != checksum(block) {
            return Err("a tar header has a bad checksum".into());
        }
        let format = Format::of(block)?;
        let kind = block[156];
        if format == Format::V7 && !matches!(kind, 0 | b'0'..=b'2' | b'5') {
            return Err("a tar header without `ustar` magic uses an extended entry type".into());
        }
        if block[124] & 0x80 != 0 {
            return Err("a tar header has a negative or base-256 size".into());
        }
        let size = octal(&block[124..136]).ok_or("a tar header has a malformed size")?;
        let mode = match &block[100..108] {
            [0, 0, 0, 0, 0, 0, 0, 0] => 0,
            field => octal(field).ok_or("a tar header has a malformed mode")? as u32,
        };
        // CPython takes a number it cannot read for the end of the archive.
        if [108..116, 116..124, 136..148, 329..337, 337..345].into_iter().any(|field| !is_readable(&block[field])) {
            return Err("a tar header has a malformed owner, time or device number".into());
        }
        let name = text(&block[0..100])?;
        let link = text(&block[157..257])?.to_vec();
        let path = match format {
            Format::Ustar => match text(&block[345..500])? {
                [] => name.to_vec(),
                prefix => [prefix, b"/", name].concat(),
            },
            // CPython applies the prefix whatever the magic says; GNU keeps times and sparse maps there.
            Format::V7 | Format::Gnu if block[345] != 0 => {
                return Err("a tar header uses the prefix field outside the ustar format".into());
            }
            Format::V7 | Format::Gnu => name.to_vec(),
        };
        Ok(Self { path, link, mode, size, kind })
    }
}

/// Whether a reader that asks for no magic would take the block for a tar header.
pub(super) fn has_valid_checksum(block: &[u8; BLOCK]) -> bool {
    octal(&block[148..156]) == Some(checksum(block))
}

/// Bytes of padding behind data of this size.
pub(super) fn padding_of(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// The name of an entry type as the `tar` crate (and so cargo and crates.io) words it.
pub(super) fn type_name(kind: u8) -> Cow<'static, str> {
    match kind {
        b'1' => "Link".into(),
        b'2' => "Symlink".into(),
        b'3' => "Char".into(),
        b'4' => "Block".into(),
        b'6' => "Fifo".into(),
        b'7' => "Continuous".into(),
        b'S' => "GNUSparse".into(),
        other => format!("`{}`", other.escape_ascii()).into(),
    }
}

#[derive(PartialEq)]
enum Format {
    V7,
    Ustar,
    Gnu,
}

impl Format {
    fn of(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        match &block[257..265] {
            b"ustar\x0000" => Ok(Self::Ustar),
            b"ustar  \0" => Ok(Self::Gnu),
            [0, 0, 0, 0, 0, 0, 0, 0] => Ok(Self::V7),
            _ => Err("a tar header has an unknown format magic"),
        }
    }
}

/// Sum of all bytes as unsigned numbers, the checksum field counted as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u64::from(*b)).sum::<u64>();
    sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..])
}

/// Spaces, at least one octal digit, then only NUL and spaces: what every reader takes for the same number.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|b| *b != b' ')?;
    let digits = field[start..].iter().take_while(|b| matches!(b, b'0'..=b'7')).count();
    let (digits, rest) = field[start..].split_at(digits);
    if digits.is_empty() || rest.iter().any(|b| !matches!(b, 0 | b' ')) {
        return None;
    }
    // At most 12 digits of 3 bits: no overflow.
    Some(digits.iter().fold(0, |value, digit| value * 8 + u64::from(digit - b'0')))
}

/// Whether everyone can read a number whose value does not matter: octal, empty, or base-256 as GNU writes it.
fn is_readable(field: &[u8]) -> bool {
    matches!(field[0], 0x80 | 0xff) || field.iter().all(|b| *b == 0) || octal(field).is_some()
}

/// A NUL-padded field. Bytes after the first NUL are refused: node-tar keeps those behind a line feed.
fn text(field: &[u8]) -> Result<&[u8], &'static str> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    let (text, rest) = field.split_at(end);
    if rest.iter().any(|b| *b != 0) { Err("a tar header hides bytes behind the end of a name") } else { Ok(text) }
}
