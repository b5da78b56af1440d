//! Byte-level builders for archives, honest and crafted (scanning.md §7). For tests only, behind feature `corpus`.
//!
//! [`cases`] gives every tar.gz row of scanning.md §3a and [`zip_cases`] every zip row, with their near-miss valid twins, around the files of a
//! valid package, so that an adapter can check that it refuses the former and accepts the latter.

mod cases;
mod zip;
mod zip_cases;

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

pub use cases::{Case, Verdict, cases};
pub use zip::{RawZipEntry, ZipBuilder, zip};
pub use zip_cases::zip_cases;

/// A tar archive under construction, one 512-byte block at a time; nothing is checked.
#[derive(Debug, Clone, Default)]
pub struct TarBuilder {
    bytes: Vec<u8>,
}

/// The fields of a header that tests vary. `Default` is an empty regular ustar file called `f`.
#[derive(Debug, Clone)]
pub struct RawHeader<'a> {
    pub name: &'a [u8],
    pub prefix: &'a [u8],
    pub link: &'a [u8],
    pub kind: u8,
    pub mode: u32,
    pub size: u64,
    /// Magic and version: `ustar\x0000`, `ustar  \0` or zeros.
    pub magic: [u8; 8],
}

pub const USTAR: [u8; 8] = *b"ustar\x0000";
pub const GNU: [u8; 8] = *b"ustar  \0";
pub const V7: [u8; 8] = [0; 8];

impl Default for RawHeader<'_> {
    fn default() -> Self {
        Self { name: b"f", prefix: b"", link: b"", kind: b'0', mode: 0o644, size: 0, magic: USTAR }
    }
}

impl RawHeader<'_> {
    /// The encoded block with a correct checksum.
    pub fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        put(&mut block, 0..100, self.name);
        put(&mut block, 100..108, format!("{:07o}", self.mode).as_bytes());
        put(&mut block, 108..116, b"0000000");
        put(&mut block, 116..124, b"0000000");
        put(&mut block, 124..136, format!("{:011o}", self.size).as_bytes());
        put(&mut block, 136..148, b"00000000000");
        block[156] = self.kind;
        put(&mut block, 157..257, self.link);
        block[257..265].copy_from_slice(&self.magic);
        put(&mut block, 345..500, self.prefix);
        seal(&mut block);
        block
    }
}

/// Writes the checksum that belongs to a block.
pub fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn put(block: &mut [u8; 512], field: std::ops::Range<usize>, text: &[u8]) {
    block[field][..text.len()].copy_from_slice(text);
}

impl TarBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular file with mode 0644.
    pub fn file(self, path: &str, data: &[u8]) -> Self {
        let header = RawHeader { name: path.as_bytes(), size: data.len() as u64, ..RawHeader::default() };
        self.header(&header).data(data)
    }

    pub fn directory(self, path: &str) -> Self {
        self.header(&RawHeader { name: path.as_bytes(), kind: b'5', mode: 0o755, ..RawHeader::default() })
    }

    /// An entry of any type, without data.
    pub fn special(self, kind: u8, path: &str, link: &str) -> Self {
        self.header(&RawHeader { name: path.as_bytes(), link: link.as_bytes(), kind, ..RawHeader::default() })
    }

    /// A PAX header (`x` or `g`) with these records.
    pub fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
        self.extension(kind, &body)
    }

    /// An extension header (`x`, `g`, `L`, `K`) with this body.
    pub fn extension(self, kind: u8, body: &[u8]) -> Self {
        let magic = if matches!(kind, b'L' | b'K') { GNU } else { USTAR };
        let header =
            RawHeader { name: b"././@extension", kind, magic, size: body.len() as u64, ..RawHeader::default() };
        self.header(&header).data(body)
    }

    pub fn header(self, header: &RawHeader<'_>) -> Self {
        self.raw(&header.block())
    }

    /// A header block edited by hand; the checksum is made right afterwards.
    pub fn edited(self, header: &RawHeader<'_>, edit: impl FnOnce(&mut [u8; 512])) -> Self {
        let mut block = header.block();
        edit(&mut block);
        seal(&mut block);
        self.raw(&block)
    }

    /// Data and its padding.
    pub fn data(self, data: &[u8]) -> Self {
        let padding = vec![0; data.len().wrapping_neg() % 512];
        self.raw(data).raw(&padding)
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The bytes so far, without an end marker.
    pub fn unfinished(self) -> Vec<u8> {
        self.bytes
    }

    /// The archive with its end marker of two zero blocks.
    pub fn finish(self) -> Vec<u8> {
        self.raw(&[0; 1024]).bytes
    }

    /// The finished archive, gzip-compressed.
    pub fn targz(self) -> Vec<u8> {
        gzip(&self.finish())
    }
}

/// One PAX record, `<length> <key>=<value>\n`, where the length counts itself.
pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
}

/// A gzip-compressed tar of these files.
pub fn targz(files: &[(&str, &[u8])]) -> Vec<u8> {
    tar(files).targz()
}

/// A tar of these files, open for more.
pub fn tar(files: &[(&str, &[u8])]) -> TarBuilder {
    files.iter().fold(TarBuilder::new(), |tar, (path, data)| tar.file(path, data))
}
