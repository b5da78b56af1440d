//! Holds one artifact for scanning: in memory while small, in an unnamed temporary file beyond that.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
};

use publaryn_core::Digest;
use sha2::{Digest as _, Sha256};

use crate::scanner::{ScanArtifact, ScanInput};

/// Artifacts up to this size stay in memory (scanning.md §4: 64 MiB spill).
const MEMORY_BYTES: usize = 64 << 20;

/// Bytes on their way in; hashed as they come.
pub(crate) struct Spool {
    bytes: Vec<u8>,
    file: Option<File>,
    size_bytes: u64,
    hash: Sha256,
    memory_bytes: usize,
}

/// A complete artifact whose size and digest are those of its job.
pub(crate) struct Spooled {
    bytes: Vec<u8>,
    file: Option<File>,
    size_bytes: u64,
}

impl Spool {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), file: None, size_bytes: 0, hash: Sha256::new(), memory_bytes: MEMORY_BYTES }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.hash.update(chunk);
        self.size_bytes += chunk.len() as u64;
        if self.file.is_none() && self.bytes.len() + chunk.len() > self.memory_bytes {
            let mut file = tempfile::tempfile()?;
            file.write_all(&self.bytes)?;
            self.bytes = Vec::new();
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(chunk),
            None => {
                self.bytes.extend_from_slice(chunk);
                Ok(())
            }
        }
    }

    /// Closes the spool; `None` if these are not the bytes the job is about.
    pub(crate) fn finish(self, expected: &ScanArtifact) -> Option<Spooled> {
        let digest = Digest::from_bytes(self.hash.finalize().into());
        let is_expected = self.size_bytes == expected.size_bytes && digest == expected.sha256;
        is_expected.then_some(Spooled { bytes: self.bytes, file: self.file, size_bytes: self.size_bytes })
    }
}

impl ScanInput for Spooled {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match &self.file {
            Some(file) => Box::new(io::BufReader::with_capacity(64 << 10, FileReader { file, position: 0 })),
            None => Box::new(self.bytes.as_slice()),
        })
    }
}

/// Reads at its own position, so that several readers of one file do not disturb each other.
struct FileReader<'a> {
    file: &'a File,
    position: u64,
}

impl Read for FileReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use publaryn_core::{ArtifactId, ArtifactKind};

    use super::*;

    fn artifact(bytes: &[u8]) -> ScanArtifact {
        ScanArtifact {
            id: ArtifactId::new(),
            kind: ArtifactKind::Tarball,
            filename: "a".into(),
            sha256: Digest::from_bytes(Sha256::digest(bytes).into()),
            size_bytes: bytes.len() as u64,
        }
    }

    #[test]
    fn bytes_come_back_from_memory_and_from_disk_and_more_than_once() {
        let data: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
        for memory_bytes in [100_000, 5_000, 0] {
            let mut spool = Spool { memory_bytes, ..Spool::new() };
            data.chunks(777).for_each(|c| spool.push(c).unwrap());
            let spooled = spool.finish(&artifact(&data)).unwrap();
            assert_eq!(spooled.file.is_some(), memory_bytes < data.len());
            let (mut a, mut b) = (spooled.open().unwrap(), spooled.open().unwrap());
            let (mut first, mut second) = (vec![0; 10], Vec::new());
            a.read_exact(&mut first).unwrap();
            b.read_to_end(&mut second).unwrap();
            a.read_to_end(&mut first).unwrap();
            assert!(first == data && second == data);
        }
    }

    #[test]
    fn other_bytes_than_the_jobs_are_refused() {
        for sent in [&b"abcd"[..], b"abd", b""] {
            let mut spool = Spool::new();
            spool.push(sent).unwrap();
            assert!(spool.finish(&artifact(b"abc")).is_none());
        }
    }
}
