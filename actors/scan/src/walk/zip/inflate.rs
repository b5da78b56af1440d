//! The data of one zip entry: unpacked, measured, and compared with what the entry says of itself.

use flate2::{Decompress, FlushDecompress, Status};

use super::{
    ArchiveError, Budget, ByteSource, ErrorKind, Raw, at_path,
    header::{DESCRIPTOR, Local, Method},
};

/// What both descriptions of an entry say of its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sizes {
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
}

/// Unpacks one entry. A read of 0 bytes means that checksum and sizes were all checked.
pub(super) struct Packed<'a, 'r> {
    raw: &'a mut Raw<'r>,
    local: &'a Local,
    path: String,
    /// Absent for stored data.
    inflate: Option<Decompress>,
    declared: Option<Sizes>,
    crc: crc32fast::Hasher,
    packed: u64,
    unpacked: u64,
    is_done: bool,
}

impl<'a, 'r> Packed<'a, 'r> {
    pub(super) fn new(raw: &'a mut Raw<'r>, local: &'a Local, method: Method) -> Self {
        Self {
            raw,
            path: super::shown(&local.name),
            inflate: (method == Method::Deflated).then(|| Decompress::new(false)),
            declared: local.declared(),
            local,
            crc: crc32fast::Hasher::new(),
            packed: 0,
            unpacked: 0,
            is_done: false,
        }
    }

    /// Checks the end of the data, whose content was read before.
    pub(super) fn close(mut self, budget: &mut Budget) -> Result<Sizes, ArchiveError> {
        while self.read(&mut [0; 512], budget)? > 0 {}
        Ok(self.found())
    }

    fn found(&self) -> Sizes {
        Sizes { crc: self.crc.clone().finalize(), packed: self.packed, unpacked: self.unpacked }
    }

    fn stored(&mut self, out: &mut [u8], budget: &mut Budget) -> Result<usize, ArchiveError> {
        // Stored data never has a descriptor.
        let left = self.declared.map_or(0, |declared| declared.packed - self.packed);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(0);
        }
        let buffered = self.raw.fill(budget)?;
        if buffered.is_empty() {
            return Err(truncated(&self.path));
        }
        let n = buffered.len().min(out.len()).min(left);
        out[..n].copy_from_slice(&buffered[..n]);
        self.raw.consume(n);
        self.packed += n as u64;
        Ok(n)
    }

    /// The next unpacked bytes; 0 when the deflate stream has ended.
    fn inflated(&mut self, out: &mut [u8], budget: &mut Budget) -> Result<usize, ArchiveError> {
        let Some(inflate) = &mut self.inflate else { return Ok(0) };
        loop {
            let left = self.declared.map_or(u64::MAX, |declared| declared.packed - self.packed);
            let buffered = self.raw.fill(budget)?;
            let is_end = buffered.is_empty();
            let n = buffered.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(&buffered[..n], out, FlushDecompress::None)
                .map_err(|_| malformed("ARC-Z2", &self.path, "the data of an entry is corrupt"))?;
            let consumed = (inflate.total_in() - before_in) as usize;
            let produced = (inflate.total_out() - before_out) as usize;
            self.raw.consume(consumed);
            self.packed += consumed as u64;
            match status {
                Status::StreamEnd => {
                    self.inflate = None;
                    return Ok(produced);
                }
                _ if produced > 0 => return Ok(produced),
                _ if consumed > 0 => {}
                _ if is_end => return Err(truncated(&self.path)),
                _ => {
                    return Err(malformed(
                        "ARC-Z2",
                        &self.path,
                        "the data of an entry is longer than it says, or corrupt",
                    ));
                }
            }
        }
    }

    fn finish(&mut self, budget: &mut Budget) -> Result<(), ArchiveError> {
        let found = self.found();
        match self.declared {
            Some(declared) if declared.crc != found.crc => {
                return Err(malformed("ARC-Z2", &self.path, "the checksum of an entry is wrong"));
            }
            Some(declared) if declared != found => {
                return Err(at_path("ARC-Z2", &self.path, "the size of an entry is not the one it says"));
            }
            Some(_) => {}
            None => self.descriptor(found, budget)?,
        }
        self.is_done = true;
        Ok(())
    }

    /// The signature is optional in the format, but every writer puts it and streaming readers rely on it.
    fn descriptor(&mut self, found: Sizes, budget: &mut Budget) -> Result<(), ArchiveError> {
        if self.raw.u32(budget)? != DESCRIPTOR {
            return Err(malformed("ARC-Z5", &self.path, "a data descriptor is missing"));
        }
        let crc = self.raw.u32(budget)?;
        let mut size = || -> Result<u64, ArchiveError> {
            Ok(match self.local.is_zip64() {
                true => u64::from_le_bytes(self.raw.array(budget)?),
                false => u64::from(self.raw.u32(budget)?),
            })
        };
        let told = Sizes { crc, packed: size()?, unpacked: size()? };
        if told != found || !self.local.may_precede(found) {
            return Err(at_path("ARC-Z2", &self.path, "a data descriptor differs from the data before it"));
        }
        Ok(())
    }
}

impl ByteSource for Packed<'_, '_> {
    fn read(&mut self, out: &mut [u8], budget: &mut Budget) -> Result<usize, ArchiveError> {
        if self.is_done || out.is_empty() {
            return Ok(0);
        }
        let read = if self.local.is_deflated() { self.inflated(out, budget)? } else { self.stored(out, budget)? };
        self.crc.update(&out[..read]);
        self.unpacked += read as u64;
        budget.produced(read)?;
        if self.declared.is_some_and(|declared| self.unpacked > declared.unpacked) {
            return Err(at_path("ARC-Z2", &self.path, "the size of an entry is not the one it says"));
        }
        if read == 0 {
            self.finish(budget)?;
        }
        Ok(read)
    }
}

fn truncated(path: &str) -> ArchiveError {
    malformed("ARC-Z1", path, "the zip ends within an entry")
}

fn malformed(rule: &'static str, path: &str, message: &str) -> ArchiveError {
    ArchiveError::new(ErrorKind::Malformed, rule, Some(path), format!("{message}: {path}"))
}
