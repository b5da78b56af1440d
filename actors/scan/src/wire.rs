//! What parent and child say to each other: frames of a big-endian `u32` length and that many bytes.
//!
//! Parent: [`Setup`], then per job a [`ScanJob`](crate::ScanJob) frame, the artifact in data frames, and [`END`] (or
//! [`ABORT`]). Child: [`Hello`] once, then one [`Answer`] per job that was not aborted. Documents are JSON.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::run::{ScanReport, ScannerFault};

/// Instead of a length: the artifact is complete.
pub(crate) const END: u32 = 0;
/// Instead of a length: forget this job.
pub(crate) const ABORT: u32 = u32::MAX;
/// Largest document the parent sends: the job with the release's metadata, in bytes.
pub(crate) const MAX_JOB_BYTES: u32 = 16 << 20;
/// Largest data frame.
pub(crate) const MAX_CHUNK_BYTES: usize = 1 << 20;
/// Largest answer (scanning.md §4, "output JSON").
pub(crate) const MAX_ANSWER_BYTES: u32 = 2 << 20;

/// The limits a child puts on itself before it reads anything else.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_seconds: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) ruleset: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Report(ScanReport),
    Fault(ScannerFault),
    /// The bytes that came are not the artifact of the job.
    WrongBytes,
    /// The child could not hold the artifact.
    Spool(String),
}

/// Reads one length; `None` when the peer is gone.
pub(crate) fn read_length(input: &mut impl Read) -> io::Result<Option<u32>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Ok(()) => Ok(Some(u32::from_be_bytes(length))),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads one document; `None` when the peer is gone.
pub(crate) fn read_document<T: DeserializeOwned>(input: &mut impl Read, max: u32) -> io::Result<Option<T>> {
    let Some(length) = read_length(input)? else { return Ok(None) };
    if length > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut body = vec![0; length as usize];
    input.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Writes one document as a frame and flushes.
pub(crate) fn write_document<T: Serialize>(output: &mut impl Write, document: &T) -> io::Result<()> {
    output.write_all(&encode(document)?)?;
    output.flush()
}

/// One document as a frame.
pub(crate) fn encode<T: Serialize>(document: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, document)?;
    let length = u32::try_from(frame.len() - 4).map_err(|_| io::Error::other("a document is too long to send"))?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}
