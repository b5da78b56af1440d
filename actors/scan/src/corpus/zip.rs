//! Zips, record by record (APPNOTE §4.3); nothing is checked.

use std::io::Write;

use flate2::{Compression, write::DeflateEncoder};

/// A zip under construction.
#[derive(Debug, Clone, Default)]
pub struct ZipBuilder {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
    /// Foreign bytes that will stand before the zip.
    prefix_bytes: usize,
}

/// An entry as tests vary it. `Default` is an empty stored file called `f`.
#[derive(Debug, Clone)]
pub struct RawZipEntry<'a> {
    pub name: &'a [u8],
    pub data: &'a [u8],
    pub is_deflated: bool,
    /// Sizes and checksum follow the data.
    pub has_descriptor: bool,
    /// Both sizes stand in a zip64 field of the local header, as CPython's `force_zip64` writes it.
    pub is_zip64: bool,
    /// General purpose bits besides bit 3.
    pub flags: u16,
    pub local_extra: &'a [u8],
    pub central_extra: &'a [u8],
    /// External attributes; a Unix mode is in the upper half.
    pub external: u32,
}

impl Default for RawZipEntry<'_> {
    fn default() -> Self {
        Self {
            name: b"f",
            data: b"",
            is_deflated: false,
            has_descriptor: false,
            is_zip64: false,
            flags: 0,
            local_extra: b"",
            central_extra: b"",
            external: 0o100644 << 16,
        }
    }
}

impl ZipBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// A zip whose offsets are right once `prefix_bytes` of something else stand before it.
    pub fn behind(prefix_bytes: usize) -> Self {
        Self { prefix_bytes, ..Self::default() }
    }

    /// A deflated file with mode 0644.
    pub fn file(self, path: &str, data: &[u8]) -> Self {
        self.entry(&RawZipEntry { name: path.as_bytes(), data, is_deflated: true, ..RawZipEntry::default() })
    }

    pub fn stored(self, path: &str, data: &[u8]) -> Self {
        self.entry(&RawZipEntry { name: path.as_bytes(), data, ..RawZipEntry::default() })
    }

    pub fn directory(self, path: &str) -> Self {
        let external = 0o040755 << 16 | 0x10;
        self.entry(&RawZipEntry { name: path.as_bytes(), external, ..RawZipEntry::default() })
    }

    pub fn entry(self, entry: &RawZipEntry<'_>) -> Self {
        self.edited(entry, |_| {}, |_| {})
    }

    /// An entry whose local and central record are edited by hand, signatures included.
    pub fn edited(
        mut self,
        entry: &RawZipEntry<'_>,
        local: impl FnOnce(&mut Vec<u8>),
        central: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        let packed = if entry.is_deflated { deflate(entry.data) } else { entry.data.to_vec() };
        let crc = crc32fast::hash(entry.data).to_le_bytes();
        let sizes = [packed.len() as u32, entry.data.len() as u32];
        let flags = entry.flags | if entry.has_descriptor { 8 } else { 0 };
        let method = if entry.is_deflated { 8_u16 } else { 0 };
        let time = [0, 0, 0x21, 0x50];
        let head = |sizes: [u32; 2], crc: [u8; 4]| {
            [
                &[20, 0][..],
                &flags.to_le_bytes(),
                &method.to_le_bytes(),
                &time,
                &crc,
                &sizes[0].to_le_bytes(),
                &sizes[1].to_le_bytes(),
                &(entry.name.len() as u16).to_le_bytes(),
            ]
            .concat()
        };
        let zip64 = if entry.is_zip64 {
            let large = if entry.has_descriptor { [0, 0] } else { [sizes[1], sizes[0]] };
            let values = large.map(|size| u64::from(size).to_le_bytes());
            [&[1, 0, 16, 0][..], &values[0], &values[1]].concat()
        } else {
            Vec::new()
        };
        let local_extra = [&zip64[..], entry.local_extra].concat();
        let (local_sizes, local_crc) = match (entry.is_zip64, entry.has_descriptor) {
            (true, true) => ([u32::MAX; 2], [0; 4]),
            (true, false) => ([u32::MAX; 2], crc),
            (false, true) => ([0; 2], [0; 4]),
            (false, false) => (sizes, crc),
        };
        let offset = (self.prefix_bytes + self.bytes.len()) as u32;
        let mut record = [
            b"PK\x03\x04",
            &head(local_sizes, local_crc)[..],
            &(local_extra.len() as u16).to_le_bytes(),
            entry.name,
            &local_extra,
        ]
        .concat();
        local(&mut record);
        self.bytes.extend(record);
        self.bytes.extend(packed);
        if entry.has_descriptor {
            self.bytes.extend([b"PK\x07\x08", &crc[..]].concat());
            for size in sizes {
                if entry.is_zip64 {
                    self.bytes.extend(u64::from(size).to_le_bytes());
                } else {
                    self.bytes.extend(size.to_le_bytes());
                }
            }
        }
        let mut record = [
            b"PK\x01\x02\x14\x03",
            &head(sizes, crc)[..],
            &(entry.central_extra.len() as u16).to_le_bytes(),
            &[0; 6],
            &entry.external.to_le_bytes(),
            &offset.to_le_bytes(),
            entry.name,
            entry.central_extra,
        ]
        .concat();
        central(&mut record);
        self.directory.extend(record);
        self.entries += 1;
        self
    }

    /// Bytes between the entries.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Entries so far are not listed in the directory.
    pub fn unlisted(mut self) -> Self {
        self.directory.clear();
        self.entries = 0;
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.finish_edited(|_| {})
    }

    /// The zip, its end record edited by hand (`PK\5\6` first).
    pub fn finish_edited(self, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let start = (self.prefix_bytes + self.bytes.len()) as u32;
        let mut end = [
            &b"PK\x05\x06\0\0\0\0"[..],
            &self.entries.to_le_bytes(),
            &self.entries.to_le_bytes(),
            &(self.directory.len() as u32).to_le_bytes(),
            &start.to_le_bytes(),
            &[0, 0],
        ]
        .concat();
        edit(&mut end);
        [self.bytes, self.directory, end].concat()
    }

    /// The zip with a zip64 end record and full fields in the ordinary one.
    pub fn finish_zip64(self) -> Vec<u8> {
        let start = (self.prefix_bytes + self.bytes.len()) as u64;
        let (entries, size) = (u64::from(self.entries).to_le_bytes(), self.directory.len() as u64);
        let record = [
            &b"PK\x06\x06"[..],
            &44_u64.to_le_bytes(),
            &[45, 0, 45, 0],
            &[0; 8],
            &entries,
            &entries,
            &size.to_le_bytes(),
            &start.to_le_bytes(),
        ]
        .concat();
        let locator = [&b"PK\x06\x07\0\0\0\0"[..], &(start + size).to_le_bytes(), &1_u32.to_le_bytes()].concat();
        self.finish_edited(|end| {
            end[8..20].fill(0xff);
            *end = [&record[..], &locator, end].concat();
        })
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
}

/// The smallest zip: one stored file, with correct offsets behind `prefix_bytes` of foreign data.
pub fn zip(name: &str, data: &[u8], prefix_bytes: usize) -> Vec<u8> {
    ZipBuilder::behind(prefix_bytes).stored(name, data).finish()
}
