//! The file in a form, as NuGet's clients send it.
//!
//! Not [`publaryn_protocol::Form`]: the client of Debian ends the file with a bare line feed before the boundary, and
//! a strict reader takes the rest of the form for the file (nuget.md §0). There is one file, and its part may have any
//! name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use publaryn_core::{BoxError, RegistryError};
use publaryn_protocol::drain;
use publaryn_registry::ByteStream;

/// Longest preamble and head of the part together, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// The body of the first part. What follows it is left in the request; [`Rest::drain`] reads it.
///
/// # Errors
/// `Malformed` when no part begins; inside the stream, when the part does not end.
pub async fn first_file(mut body: ByteStream, boundary: &str) -> Result<(ByteStream, Rest), RegistryError> {
    let marker = format!("--{boundary}");
    let mut buffer = BytesMut::new();
    let start = loop {
        if let Some(start) = data_start(&buffer, marker.as_bytes()) {
            break start;
        }
        if buffer.len() > MAX_HEAD_BYTES {
            return Err(RegistryError::malformed("no part of the form begins"));
        }
        match body.next().await {
            Some(Ok(chunk)) => buffer.extend_from_slice(&chunk),
            Some(Err(error)) => return Err(RegistryError::malformed(format!("the request body broke off: {error}"))),
            None => return Err(RegistryError::malformed("the form has no file")),
        }
    };
    let buffer = buffer.split_off(start);
    let rest = Rest::of(body);
    let reader = Reader { rest: rest.clone(), buffer, end: format!("\n{marker}").into_bytes(), is_done: false };
    let chunks = stream::unfold(reader, |mut reader| async move {
        let next = reader.next().await?;
        Some((next, reader))
    });
    Ok((chunks.boxed(), rest))
}

/// A body that is the file, with what is left of it when nobody wants to read on.
pub fn whole(body: ByteStream) -> (ByteStream, Rest) {
    let rest = Rest::of(body);
    let chunks = stream::unfold(rest.clone(), |rest| async move {
        let next = rest.next().await?;
        Some((next, rest))
    });
    (chunks.boxed(), rest)
}

/// Where the data of the first part begins: behind the boundary and the blank line after it.
fn data_start(buffer: &[u8], marker: &[u8]) -> Option<usize> {
    let head = find(buffer, marker)? + marker.len();
    let blank = b"\r\n\r\n";
    Some(head + find(&buffer[head..], blank)? + blank.len())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = haystack.get(from..)?.iter().position(|b| *b == needle[0]) {
        let at = from + at;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The request behind the file.
#[derive(Clone)]
pub struct Rest(Arc<Mutex<Left>>);

struct Left {
    body: Option<ByteStream>,
    broke_off: bool,
}

impl Rest {
    fn of(body: ByteStream) -> Self {
        Self(Arc::new(Mutex::new(Left { body: Some(body), broke_off: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk; the lock is not held while it is waited for.
    async fn next(&self) -> Option<Result<Bytes, BoxError>> {
        let mut body = self.lock().body.take()?;
        let next = body.next().await;
        self.lock().body = Some(body);
        next
    }

    /// Whether the form ended before its file did: the fault of the client's then, whatever failed for it.
    pub fn broke_off(&self) -> bool {
        self.lock().broke_off
    }

    /// Reads and forgets what is left, so that a client that only listens once it has sent everything sees the
    /// answer. Gives up after `max_bytes`.
    pub async fn drain(self, max_bytes: u64) {
        let body = self.lock().body.take();
        if let Some(body) = body {
            drain(body, max_bytes).await;
        }
    }
}

struct Reader {
    rest: Rest,
    buffer: BytesMut,
    /// The end of the data: a line feed and the boundary. A carriage return before it is not data either.
    end: Vec<u8>,
    is_done: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        while !self.is_done {
            if let Some(at) = find(&self.buffer, &self.end) {
                self.is_done = true;
                let length = if at > 0 && self.buffer[at - 1] == b'\r' { at - 1 } else { at };
                self.buffer.truncate(length);
                let last = self.buffer.split().freeze();
                return (!last.is_empty()).then_some(Ok(last));
            }
            // The end may begin in what is held back, with the carriage return before it.
            let sure = self.buffer.len().saturating_sub(self.end.len());
            if sure > 0 {
                return Some(Ok(self.buffer.split_to(sure).freeze()));
            }
            match self.rest.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    self.is_done = true;
                    return Some(Err(error));
                }
                None => {
                    self.is_done = true;
                    self.rest.lock().broke_off = true;
                    return Some(Err("the form broke off".into()));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(bytes: &[u8], size: usize) -> ByteStream {
        let chunks: Vec<Result<Bytes, BoxError>> =
            bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        stream::iter(chunks).boxed()
    }

    async fn read(bytes: &[u8], size: usize) -> Result<Vec<u8>, String> {
        let (mut file, rest) = first_file(body(bytes, size), "XX").await.map_err(|error| error.to_string())?;
        let mut data = Vec::new();
        while let Some(chunk) = file.next().await {
            data.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
        }
        drop(file);
        rest.drain(1 << 20).await;
        Ok(data)
    }

    fn form(data: &[u8], end: &str) -> Vec<u8> {
        let head = "--XX\r\nContent-Disposition: form-data; name=package; filename=package.nupkg\r\n\r\n";
        [head.as_bytes(), data, end.as_bytes()].concat()
    }

    #[tokio::test]
    async fn the_file_is_found_however_its_end_is_written() {
        for data in [&b"PK\x03\x04 data \r\n--X more\r\n"[..], b"", b"\r", b"\n--", b"x\r\n"] {
            for end in ["\r\n--XX--\r\n", "\r\n--XX\r\nContent-Disposition: x\r\n\r\ny\r\n--XX--"] {
                for size in [1, 2, 7, 1000] {
                    assert_eq!(read(&form(data, end), size).await.unwrap(), data, "{end:?} {size}");
                }
            }
        }
        // As NuGet 2.8 on Linux does.
        assert_eq!(read(&form(b"PK data", "\n--XX--\n"), 3).await.unwrap(), b"PK data");
        assert_eq!(read(&[b"preamble\r\n", &form(b"PK", "\r\n--XX--")[..]].concat(), 5).await.unwrap(), b"PK");
    }

    #[tokio::test]
    async fn forms_without_beginning_or_end_are_faults() {
        assert!(read(b"", 10).await.unwrap_err().contains("no file"));
        assert!(read(&form(b"data", ""), 10).await.unwrap_err().contains("broke off"));
        assert!(read(&vec![b'x'; 50_000], 1000).await.unwrap_err().contains("no part"));
    }

    proptest! {
        #[test]
        fn no_form_panics(bytes in "[X\\-\r\na]{0,60}", size in 1..9_usize) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read(bytes.as_bytes(), size));
        }
    }
}
