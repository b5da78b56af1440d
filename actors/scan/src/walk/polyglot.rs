//! Spots files that are two formats at once (scanning.md §3a P), and names formats by their magic bytes.

/// A zip end record is 22 bytes plus a comment of at most 65535 (APPNOTE 4.3.16).
const EOCD_BYTES: usize = 22;
const WINDOW: usize = EOCD_BYTES + u16::MAX as usize;

/// What a zip reader would make of a stream: it looks for its end record from the back.
#[derive(Default)]
pub(super) struct ZipTail {
    last: Vec<u8>,
    total_bytes: u64,
}

/// How much of a zip the tail looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZipLikeness {
    /// Every zip reader finds an end record that closes the file.
    Exact,
    /// Only lenient readers do (CPython, Info-ZIP): bytes follow the record and its comment.
    Lenient,
}

impl ZipTail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total_bytes += bytes.len() as u64;
        self.last.extend_from_slice(bytes);
        // Amortised: trimmed once per window, not once per call.
        if self.last.len() > 2 * WINDOW {
            self.last.drain(..self.last.len() - WINDOW);
        }
    }

    pub(super) fn likeness(&self) -> Option<ZipLikeness> {
        let tail = &self.last[self.last.len().saturating_sub(WINDOW)..];
        let mut found = None;
        for at in 0..tail.len().saturating_sub(EOCD_BYTES - 1) {
            if tail[at..].starts_with(b"PK\x05\x06") {
                match self.end_record(&tail[at..]) {
                    Some(ZipLikeness::Exact) => return Some(ZipLikeness::Exact),
                    other => found = found.or(other),
                }
            }
        }
        found
    }

    /// Judges bytes that start with an end record signature and run to the end of the file.
    fn end_record(&self, rest: &[u8]) -> Option<ZipLikeness> {
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([rest[at], rest[at + 1]]));
        let u32_at = |at: usize| u16_at(at) | (u16_at(at + 2) << 16);
        let position = self.total_bytes - rest.len() as u64;
        let (entries, directory_bytes, directory_start) = (u16_at(10), u32_at(12), u32_at(16));
        let is_plausible = u32_at(4) == 0
            && entries == u16_at(8)
            && entries > 0
            && directory_bytes >= 46 * entries
            && directory_bytes + directory_start <= position;
        let is_zip64 = directory_start == u64::from(u32::MAX) && u32_at(4) == 0;
        if !is_plausible && !is_zip64 {
            return None;
        }
        let after = (rest.len() - EOCD_BYTES) as u64;
        Some(if u16_at(20) == after { ZipLikeness::Exact } else { ZipLikeness::Lenient })
    }
}

/// A container format found by its magic bytes at the start of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Gzip,
    Tar,
    Zip,
    /// Recognised, but this walker cannot list it.
    Opaque(&'static str),
}

/// Bytes of a file needed to tell its format: a tar's magic ends at 263.
pub(super) const MAGIC_BYTES: usize = 512;

impl Container {
    pub(super) fn detect(head: &[u8]) -> Option<Self> {
        const OPAQUE: &[(&[u8], &str)] = &[
            (b"7z\xbc\xaf\x27\x1c", "7z"),
            (b"Rar!\x1a\x07", "rar"),
            (b"\xfd7zXZ\0", "xz"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
        ];
        if head.starts_with(&[0x1f, 0x8b, 8]) {
            return Some(Self::Gzip);
        }
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            return Some(Self::Zip);
        }
        // `BZh`, a level digit, then the block magic: three letters alone are an ordinary text.
        if head.len() > 10 && head.starts_with(b"BZh") && head[4..10] == *b"1AY&SY" {
            return Some(Self::Opaque("bzip2"));
        }
        if head.len() >= 263 && head[257..262] == *b"ustar" {
            return Some(Self::Tar);
        }
        OPAQUE.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| Self::Opaque(name))
    }
}
