//! The bytes of a zip as stored, read front to back, with their position.

use std::io::Read;

use super::{ArchiveError, Budget, malformed};

const IN_BUFFER: usize = 32 << 10;

/// A counting buffer over the input. The outermost one's bytes count as "compressed size" in the ratio rule.
pub(in super::super) struct Raw<'r> {
    inner: &'r mut dyn Read,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Of the first byte not handed out, from the start of the archive.
    position: u64,
    is_outermost: bool,
}

impl<'r> Raw<'r> {
    pub(in super::super) fn new(inner: &'r mut dyn Read, is_outermost: bool) -> Self {
        Self { inner, buffer: vec![0; IN_BUFFER], start: 0, end: 0, position: 0, is_outermost }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// What is buffered; empty only at the end of the input.
    pub(super) fn fill(&mut self, budget: &mut Budget) -> Result<&[u8], ArchiveError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.more(budget)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Hands out that many of the buffered bytes.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.position += bytes as u64;
    }

    /// The next `bytes` (at most the buffer) without handing them out; fewer at the end of the input.
    pub(super) fn peek(&mut self, bytes: usize, budget: &mut Budget) -> Result<&[u8], ArchiveError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end < bytes && self.more(budget)? > 0 {}
        Ok(&self.buffer[..self.end.min(bytes)])
    }

    fn more(&mut self, budget: &mut Budget) -> Result<usize, ArchiveError> {
        let read = loop {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Ok(read) => break read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        };
        self.end += read;
        if self.is_outermost {
            budget.consumed(read);
        }
        Ok(read)
    }

    pub(super) fn is_at_end(&mut self, budget: &mut Budget) -> Result<bool, ArchiveError> {
        Ok(self.fill(budget)?.is_empty())
    }

    pub(super) fn exact(&mut self, mut out: &mut [u8], budget: &mut Budget) -> Result<(), ArchiveError> {
        while !out.is_empty() {
            let buffered = self.fill(budget)?;
            if buffered.is_empty() {
                return Err(malformed("the zip is truncated"));
            }
            let n = buffered.len().min(out.len());
            out[..n].copy_from_slice(&buffered[..n]);
            self.consume(n);
            out = &mut out[n..];
        }
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self, budget: &mut Budget) -> Result<[u8; N], ArchiveError> {
        let mut out = [0; N];
        self.exact(&mut out, budget)?;
        Ok(out)
    }

    pub(super) fn bytes(&mut self, length: usize, budget: &mut Budget) -> Result<Vec<u8>, ArchiveError> {
        let mut out = vec![0; length];
        self.exact(&mut out, budget)?;
        Ok(out)
    }

    pub(super) fn u32(&mut self, budget: &mut Budget) -> Result<u32, ArchiveError> {
        Ok(u32::from_le_bytes(self.array(budget)?))
    }
}
