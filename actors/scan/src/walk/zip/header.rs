//! The records of a zip (APPNOTE §4.3), read strictly: fields two readers could take differently are refused.

use publaryn_core::Timestamp;

use super::{ArchiveError, Budget, ErrorKind, Raw, Sizes, at_path, refuse, shown, unsafe_name};

pub(super) const LOCAL: u32 = u32::from_le_bytes(*b"PK\x03\x04");
pub(super) const CENTRAL: u32 = u32::from_le_bytes(*b"PK\x01\x02");
pub(super) const DESCRIPTOR: u32 = u32::from_le_bytes(*b"PK\x07\x08");
pub(super) const END: u32 = u32::from_le_bytes(*b"PK\x05\x06");
pub(super) const END64: u32 = u32::from_le_bytes(*b"PK\x06\x06");
pub(super) const LOCATOR64: u32 = u32::from_le_bytes(*b"PK\x06\x07");

const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const HAS_DESCRIPTOR: u16 = 1 << 3;
const UTF8: u16 = 1 << 11;
/// Compression level hints.
const HINTS: u16 = 0b110;

/// "See the zip64 field" (APPNOTE §4.5.3).
const IN_ZIP64: u32 = u32::MAX;

/// Longest name read: one byte more than the longest accepted path, so that the path rule words the refusal.
const MAX_NAME: usize = 1025;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// When an entry says that it was changed, in its writer's own time zone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Modified(u32);

impl Modified {
    /// The time comes before the date (APPNOTE §4.4.6).
    fn at(fixed: &[u8], at: usize) -> Self {
        Self(u32_at(fixed, at))
    }

    /// # Errors
    /// When it is later than the rules allow.
    pub(super) fn check(self, latest: Option<Timestamp>, path: &str) -> Result<(), ArchiveError> {
        match latest {
            Some(latest) if self.0 > latest.to_dos() => {
                Err(at_path("ARC-DATE", path, "an entry is dated in the future"))
            }
            _ => Ok(()),
        }
    }
}

/// The header before the data of an entry.
pub(super) struct Local {
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) modified: Modified,
    crc: u32,
    packed: u32,
    unpacked: u32,
    pub(super) name: Vec<u8>,
    /// Unpacked and packed size.
    zip64: Option<(u64, u64)>,
}

impl Local {
    /// Reads what follows the signature.
    pub(super) fn read(raw: &mut Raw<'_>, budget: &mut Budget) -> Result<Self, ArchiveError> {
        let fixed: [u8; 26] = raw.array(budget)?;
        let name = name(raw, u16_at(&fixed, 22), budget)?;
        let extra = Extra::read(raw, u16_at(&fixed, 24), &name, budget)?;
        let (packed, unpacked) = (u32_at(&fixed, 14), u32_at(&fixed, 18));
        let zip64 = match &extra.zip64 {
            // Both sizes must be there, whichever of the two needs it (APPNOTE §4.5.3).
            Some(field) if field.len() == 16 => Some((u64_at(field, 0), u64_at(field, 8))),
            Some(_) => return Err(at_path("ARC-Z4", &shown(&name), "a zip64 field has the wrong size")),
            None if packed == IN_ZIP64 || unpacked == IN_ZIP64 => {
                return Err(at_path("ARC-Z4", &shown(&name), "a zip64 field is missing"));
            }
            None => None,
        };
        if let Some((large_unpacked, large_packed)) = zip64 {
            let agrees = |small: u32, large: u64| small == IN_ZIP64 || u64::from(small) == large;
            if !agrees(unpacked, large_unpacked) || !agrees(packed, large_packed) {
                return Err(at_path("ARC-Z4", &shown(&name), "a zip64 field contradicts the header"));
            }
        }
        let flags = u16_at(&fixed, 2);
        check_flags(flags, &name)?;
        let (method, modified) = (u16_at(&fixed, 4), Modified::at(&fixed, 6));
        Ok(Self { flags, method, modified, crc: u32_at(&fixed, 10), packed, unpacked, name, zip64 })
    }

    pub(super) fn path(&self) -> Result<&str, ArchiveError> {
        let path = str::from_utf8(&self.name).map_err(|_| unsafe_name(&shown(&self.name), "a path is not utf-8"))?;
        // Without the flag some readers take the name for code page 437.
        if self.flags & UTF8 == 0 && !path.is_ascii() {
            return Err(unsafe_name(&shown(&self.name), "a path is not marked as utf-8"));
        }
        Ok(path)
    }

    pub(super) fn method(&self) -> Result<Method, ArchiveError> {
        match self.method {
            0 => Ok(Method::Stored),
            8 => Ok(Method::Deflated),
            other => {
                let message = format!("an entry uses compression method {other}: {}", shown(&self.name));
                Err(ArchiveError::refuse("ARC-Z5", Some(&shown(&self.name)), message))
            }
        }
    }

    pub(super) fn is_deflated(&self) -> bool {
        self.method == 8
    }
    pub(super) fn has_descriptor(&self) -> bool {
        self.flags & HAS_DESCRIPTOR != 0
    }
    pub(super) fn is_zip64(&self) -> bool {
        self.zip64.is_some()
    }

    fn sizes(&self) -> Sizes {
        let (unpacked, packed) = self.zip64.unwrap_or((u64::from(self.unpacked), u64::from(self.packed)));
        Sizes { crc: self.crc, packed, unpacked }
    }

    /// What the header says of the data, unless a descriptor will.
    pub(super) fn declared(&self) -> Option<Sizes> {
        (!self.has_descriptor()).then(|| self.sizes())
    }

    /// Whether a header with a descriptor left its own fields empty, or filled them in rightly.
    pub(super) fn may_precede(&self, found: Sizes) -> bool {
        let own = self.sizes();
        let agrees = |own: u64, found: u64| own == 0 || own == found;
        agrees(own.crc.into(), found.crc.into())
            && agrees(own.packed, found.packed)
            && agrees(own.unpacked, found.unpacked)
    }
}

/// An entry of the directory.
pub(super) struct Central {
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) modified: Modified,
    pub(super) sizes: Sizes,
    pub(super) offset: u64,
    pub(super) name: Vec<u8>,
    external: u32,
}

/// File type bits of a Unix mode.
const TYPE: u32 = 0o170000;
const REGULAR: u32 = 0o100000;
const DIRECTORY: u32 = 0o040000;
const LINK: u32 = 0o120000;

impl Central {
    /// Reads what follows the signature.
    pub(super) fn read(raw: &mut Raw<'_>, budget: &mut Budget) -> Result<Self, ArchiveError> {
        let fixed: [u8; 42] = raw.array(budget)?;
        let name = name(raw, u16_at(&fixed, 24), budget)?;
        let extra = Extra::read(raw, u16_at(&fixed, 26), &name, budget)?;
        raw.bytes(u16_at(&fixed, 28).into(), budget)?;
        if u16_at(&fixed, 30) != 0 {
            return Err(refuse("ARC-Z1", "the zip is one of several volumes"));
        }
        let (packed, unpacked, offset) = (u32_at(&fixed, 16), u32_at(&fixed, 20), u32_at(&fixed, 38));
        let mut zip64 = Zip64(extra.zip64.as_deref());
        let unpacked = zip64.value(unpacked, &name)?;
        let packed = zip64.value(packed, &name)?;
        let offset = zip64.value(offset, &name)?;
        zip64.end(&name)?;
        Ok(Self {
            flags: u16_at(&fixed, 4),
            method: u16_at(&fixed, 6),
            modified: Modified::at(&fixed, 8),
            sizes: Sizes { crc: u32_at(&fixed, 12), packed, unpacked },
            offset,
            name,
            external: u32_at(&fixed, 34),
        })
    }

    /// The Unix mode, zero where the writer gave none.
    pub(super) fn mode(&self) -> u32 {
        self.external >> 16
    }

    /// Readers differ in whose attributes they believe, so what is a link to one of them counts as one, whatever
    /// system wrote it (Z6).
    pub(super) fn check_type(&self, is_directory: bool, may_be_link: bool, path: &str) -> Result<(), ArchiveError> {
        match self.mode() & TYPE {
            0 => Ok(()),
            LINK if may_be_link && !is_directory => Ok(()),
            REGULAR if !is_directory => Ok(()),
            DIRECTORY if is_directory => Ok(()),
            REGULAR | DIRECTORY => Err(at_path("ARC-Z6", path, "the name and the type of an entry disagree")),
            _ => Err(at_path("ARC-Z6", path, "an entry is a link or a device")),
        }
    }
}

/// The values of a zip64 field of the directory: only those whose own field is full, in this order.
struct Zip64<'a>(Option<&'a [u8]>);

impl Zip64<'_> {
    fn value(&mut self, own: u32, name: &[u8]) -> Result<u64, ArchiveError> {
        if own != IN_ZIP64 {
            return Ok(own.into());
        }
        let field = self.0.and_then(|field| field.split_first_chunk::<8>());
        let (value, rest) = field.ok_or_else(|| at_path("ARC-Z4", &shown(name), "a zip64 field is missing"))?;
        self.0 = Some(rest);
        Ok(u64::from_le_bytes(*value))
    }

    fn end(&self, name: &[u8]) -> Result<(), ArchiveError> {
        match self.0 {
            None | Some([]) => Ok(()),
            Some(_) => Err(at_path("ARC-Z4", &shown(name), "a zip64 field has the wrong size")),
        }
    }
}

/// The fields of an extra block that change what an entry means.
struct Extra {
    zip64: Option<Vec<u8>>,
}

const ZIP64_FIELD: u16 = 0x0001;
const UNICODE_PATH_FIELD: u16 = 0x7075;

impl Extra {
    fn read(raw: &mut Raw<'_>, length: u16, name: &[u8], budget: &mut Budget) -> Result<Self, ArchiveError> {
        let block = raw.bytes(length.into(), budget)?;
        let fault = |message| at_path("ARC-Z4", &shown(name), message);
        let (mut zip64, mut unicode_path) = (None, None);
        let mut rest = block.as_slice();
        while !rest.is_empty() {
            // Padding as zipalign writes it.
            if rest.len() < 4 && rest.iter().all(|b| *b == 0) {
                break;
            }
            let (head, after) = rest.split_at_checked(4).ok_or_else(|| fault("an extra field is malformed"))?;
            let (field, after) =
                after.split_at_checked(u16_at(head, 2).into()).ok_or_else(|| fault("an extra field is malformed"))?;
            let known = match u16_at(head, 0) {
                ZIP64_FIELD => zip64.replace(field.to_vec()),
                UNICODE_PATH_FIELD => unicode_path.replace(field.to_vec()),
                _ => None,
            };
            if known.is_some() {
                return Err(fault("an extra field occurs twice"));
            }
            rest = after;
        }
        if let Some(field) = unicode_path {
            let says_the_same =
                field.len() >= 5 && field[0] == 1 && u32_at(&field, 1) == crc32fast::hash(name) && field[5..] == *name;
            if !says_the_same {
                return Err(fault("an entry has two names"));
            }
        }
        Ok(Self { zip64 })
    }
}

fn name(raw: &mut Raw<'_>, length: u16, budget: &mut Budget) -> Result<Vec<u8>, ArchiveError> {
    let length = usize::from(length);
    let name = raw.bytes(length.min(MAX_NAME), budget)?;
    if length > MAX_NAME {
        return Err(unsafe_name(&shown(&name), "a path is longer than 1024 bytes"));
    }
    Ok(name)
}

fn check_flags(flags: u16, name: &[u8]) -> Result<(), ArchiveError> {
    match () {
        () if flags & ENCRYPTED != 0 => Err(at_path("ARC-Z5", &shown(name), "an entry is encrypted")),
        () if flags & !(HINTS | HAS_DESCRIPTOR | UTF8) != 0 => {
            Err(at_path("ARC-Z5", &shown(name), "an entry uses an unknown flag"))
        }
        () => Ok(()),
    }
}

/// The directory as it was read, for the end record to agree with.
#[derive(Debug, Default)]
pub(super) struct EndRecord {
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) entries: u64,
}

/// Reads an end record and returns its comment.
pub(super) fn end(
    raw: &mut Raw<'_>,
    directory: &EndRecord,
    has_zip64: bool,
    budget: &mut Budget,
) -> Result<Vec<u8>, ArchiveError> {
    let fixed: [u8; 18] = raw.array(budget)?;
    let comment = raw.bytes(u16_at(&fixed, 16).into(), budget)?;
    if fixed[..4] != [0; 4] {
        return Err(refuse("ARC-Z1", "the zip is one of several volumes"));
    }
    // A full field points to the zip64 record, which was compared before.
    let small = |own: u16, found: u64| u64::from(own) == found || has_zip64 && own == u16::MAX;
    let large = |own: u32, found: u64| u64::from(own) == found || has_zip64 && own == u32::MAX;
    let agrees = small(u16_at(&fixed, 4), directory.entries)
        && small(u16_at(&fixed, 6), directory.entries)
        && large(u32_at(&fixed, 8), directory.size)
        && large(u32_at(&fixed, 12), directory.start);
    if agrees { Ok(comment) } else { Err(wrong_end()) }
}

/// Reads a zip64 end record.
pub(super) fn end64(raw: &mut Raw<'_>, directory: &EndRecord, budget: &mut Budget) -> Result<(), ArchiveError> {
    let fixed: [u8; 52] = raw.array(budget)?;
    if u64_at(&fixed, 0) != 44 {
        return Err(refuse("ARC-Z1", "a zip64 end record has an unknown size"));
    }
    if fixed[12..20] != [0; 8] {
        return Err(refuse("ARC-Z1", "the zip is one of several volumes"));
    }
    let told = [u64_at(&fixed, 20), u64_at(&fixed, 28), u64_at(&fixed, 36), u64_at(&fixed, 44)];
    let found = [directory.entries, directory.entries, directory.size, directory.start];
    if told == found { Ok(()) } else { Err(wrong_end()) }
}

/// Reads a zip64 locator, which must point to the record at `position`.
pub(super) fn locator64(raw: &mut Raw<'_>, position: u64, budget: &mut Budget) -> Result<(), ArchiveError> {
    let fixed: [u8; 16] = raw.array(budget)?;
    let is_right = u32_at(&fixed, 0) == 0 && u64_at(&fixed, 4) == position && u32_at(&fixed, 12) <= 1;
    if is_right { Ok(()) } else { Err(wrong_end()) }
}

fn wrong_end() -> ArchiveError {
    ArchiveError::new(ErrorKind::Unsafe, "ARC-Z1", None, "the end record of the zip does not describe its directory")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
