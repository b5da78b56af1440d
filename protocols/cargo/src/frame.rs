//! The body of a publish request: `u32 LE length | JSON | u32 LE length | .crate`, and nothing after.
//!
//! The first frame is read into memory, the second is handed on as a stream that ends exactly where
//! the frame does and fails when the body has less or more.
//! Source: <https://doc.rust-lang.org/cargo/reference/registry-web-api.html#publish>

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream::BoxStream};
use publaryn_core::{BoxError, RegistryError};

/// Largest metadata document, in bytes.
pub const MAX_JSON_BYTES: u64 = 1 << 20;

type Chunks = BoxStream<'static, Result<Bytes, BoxError>>;

/// What is wrong with the framing of a publish body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("invalid metadata length")]
    Metadata,
    #[error("invalid tarball length for remaining payload: {remaining}")]
    Tarball { remaining: u64 },
    #[error("unexpected data after the crate")]
    Trailing,
    #[error("max upload size is: {limit_bytes}")]
    TooLarge { limit_bytes: u64 },
    #[error("the request body broke off: {0}")]
    Broken(String),
}

impl From<FrameError> for RegistryError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLarge { limit_bytes } => Self::TooLarge { what: "the crate", limit_bytes },
            other => Self::malformed(other.to_string()),
        }
    }
}

/// A publish body of which the metadata frame has been read.
pub struct PublishBody {
    json: Bytes,
    archive_bytes: u64,
    rest: Chunks,
    buffered: Bytes,
}

impl PublishBody {
    /// Reads the first frame and the length of the second.
    ///
    /// `length_bytes`: the declared length of the body, if any; lets a wrong frame be refused before
    /// the archive is sent.
    ///
    /// # Errors
    /// [`FrameError`]; `TooLarge` when the JSON is above 1 MiB or the archive above `limit_bytes`.
    pub async fn read(
        body: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
        length_bytes: Option<u64>,
        limit_bytes: u64,
    ) -> Result<Self, (FrameError, Remainder)> {
        let mut reader = Reader { rest: body.boxed(), buffered: BytesMut::new(), taken: 0 };
        match reader.read_head(length_bytes, limit_bytes).await {
            Ok((json, archive_bytes)) => {
                Ok(Self { json, archive_bytes, rest: reader.rest, buffered: reader.buffered.freeze() })
            }
            Err(error) => Err((error, Remainder { rest: reader.rest })),
        }
    }

    pub fn json(&self) -> &Bytes {
        &self.json
    }

    pub fn archive_bytes(&self) -> u64 {
        self.archive_bytes
    }

    /// The archive, and the place where a framing fault will be found if the stream fails.
    pub fn into_archive(self) -> (ArchiveStream, Arc<OnceLock<FrameError>>) {
        let fault = Arc::new(OnceLock::new());
        let stream = ArchiveStream {
            rest: self.rest,
            buffered: self.buffered,
            left: self.archive_bytes,
            fault: fault.clone(),
            is_done: false,
        };
        (stream, fault)
    }

    /// What the client has not been asked for yet.
    pub fn into_remainder(self) -> Remainder {
        Remainder { rest: self.rest }
    }
}

/// The unread part of a body.
pub struct Remainder {
    rest: Chunks,
}

impl Remainder {
    pub fn new(body: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self { rest: body.boxed() }
    }

    /// Reads and forgets up to `max_bytes`. A client that is still sending would otherwise see a reset
    /// connection instead of the refusal.
    pub async fn drain(mut self, max_bytes: u64) {
        let mut seen = 0;
        while let Some(Ok(chunk)) = self.rest.next().await {
            seen += chunk.len() as u64;
            if seen > max_bytes {
                break;
            }
        }
    }
}

struct Reader {
    rest: Chunks,
    buffered: BytesMut,
    /// Bytes handed out so far.
    taken: u64,
}

impl Reader {
    async fn read_head(&mut self, length: Option<u64>, limit: u64) -> Result<(Bytes, u64), FrameError> {
        let remaining = |taken: u64| length.map(|total| total.saturating_sub(taken));
        let json_bytes = self.length(FrameError::Metadata).await?;
        if remaining(self.taken).is_some_and(|left| json_bytes > left) {
            return Err(FrameError::Metadata);
        }
        if json_bytes > MAX_JSON_BYTES {
            return Err(FrameError::TooLarge { limit_bytes: MAX_JSON_BYTES });
        }
        let json = self.take(json_bytes as usize, FrameError::Metadata).await?;
        let left = remaining(self.taken).unwrap_or(0);
        let archive_bytes = self.length(FrameError::Tarball { remaining: left }).await?;
        match remaining(self.taken) {
            Some(remaining) if archive_bytes > remaining => return Err(FrameError::Tarball { remaining }),
            _ if archive_bytes > limit => return Err(FrameError::TooLarge { limit_bytes: limit }),
            Some(remaining) if archive_bytes < remaining => return Err(FrameError::Trailing),
            _ => {}
        }
        Ok((json, archive_bytes))
    }

    async fn length(&mut self, short: FrameError) -> Result<u64, FrameError> {
        let mut four = self.take(4, short).await?;
        Ok(u64::from(four.get_u32_le()))
    }

    async fn take(&mut self, count: usize, short: FrameError) -> Result<Bytes, FrameError> {
        while self.buffered.len() < count {
            match self.rest.next().await {
                Some(Ok(chunk)) => self.buffered.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(FrameError::Broken(error.to_string())),
                None => return Err(short),
            }
        }
        self.taken += count as u64;
        Ok(self.buffered.split_to(count).freeze())
    }
}

/// Exactly the bytes of the second frame.
pub struct ArchiveStream {
    rest: Chunks,
    buffered: Bytes,
    left: u64,
    fault: Arc<OnceLock<FrameError>>,
    is_done: bool,
}

impl ArchiveStream {
    fn fail(&mut self, fault: FrameError) -> Poll<Option<Result<Bytes, BoxError>>> {
        self.is_done = true;
        Poll::Ready(Some(Err(self.fault.get_or_init(|| fault).clone().into())))
    }
}

impl Stream for ArchiveStream {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_done {
            return Poll::Ready(None);
        }
        loop {
            if !self.buffered.is_empty() {
                if self.left == 0 {
                    return self.fail(FrameError::Trailing);
                }
                let count = self.buffered.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= count as u64;
                return Poll::Ready(Some(Ok(self.buffered.split_to(count))));
            }
            match ready!(self.rest.poll_next_unpin(cx)) {
                Some(Ok(chunk)) => self.buffered = chunk,
                Some(Err(error)) => return self.fail(FrameError::Broken(error.to_string())),
                None if self.left > 0 => {
                    let remaining = self.left;
                    return self.fail(FrameError::Tarball { remaining });
                }
                None => {
                    self.is_done = true;
                    return Poll::Ready(None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(bytes: &[u8], chunk: usize) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + use<> {
        let chunks: Vec<_> = bytes.chunks(chunk.max(1)).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        futures::stream::iter(chunks)
    }

    fn framed(json: &[u8], archive: &[u8]) -> Vec<u8> {
        let mut bytes = (json.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(json);
        bytes.extend_from_slice(&(archive.len() as u32).to_le_bytes());
        bytes.extend_from_slice(archive);
        bytes
    }

    async fn read(bytes: &[u8], chunk: usize, declared: bool) -> Result<(Vec<u8>, Vec<u8>), FrameError> {
        let length = declared.then_some(bytes.len() as u64);
        let publish = PublishBody::read(body(bytes, chunk), length, 1000).await.map_err(|(error, _)| error)?;
        let json = publish.json().to_vec();
        let (mut stream, fault) = publish.into_archive();
        let mut archive = Vec::new();
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => archive.extend_from_slice(&chunk),
                Err(_) => return Err(fault.get().cloned().expect("a failed stream leaves its fault")),
            }
        }
        Ok((json, archive))
    }

    #[tokio::test]
    async fn faults_of_the_frame_are_told_apart() {
        let good = framed(b"{}", b"crate");
        for declared in [true, false] {
            let fails = async |bytes: Vec<u8>| read(&bytes, 3, declared).await.unwrap_err().to_string();
            assert_eq!(fails(vec![]).await, "invalid metadata length");
            assert_eq!(fails(vec![1, 0, 0]).await, "invalid metadata length");
            assert_eq!(fails(vec![9, 0, 0, 0, b'{']).await, "invalid metadata length");
            let torn = fails(good[..8].to_vec()).await;
            assert!(torn.starts_with("invalid tarball length for remaining payload"), "{torn}");
            let short = fails(good[..good.len() - 2].to_vec()).await;
            assert!(short.starts_with("invalid tarball length for remaining payload"), "{short}");
            let mut long = good.clone();
            long.push(0);
            assert_eq!(fails(long).await, "unexpected data after the crate");
            assert_eq!(fails(framed(b"{}", &[0; 1001])).await, "max upload size is: 1000");
            assert_eq!(fails(framed(&vec![b' '; 2 << 20], b"")).await, "max upload size is: 1048576");
        }
    }

    proptest! {
        #[test]
        fn whatever_was_framed_comes_out(
            json in proptest::collection::vec(any::<u8>(), 0..200),
            archive in proptest::collection::vec(any::<u8>(), 0..1000),
            chunk in 1usize..300,
            declared: bool,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let out = runtime.block_on(read(&framed(&json, &archive), chunk, declared));
            prop_assert_eq!(out, Ok((json, archive)));
        }

        #[test]
        fn arbitrary_bodies_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), chunk in 1usize..9) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(read(&bytes, chunk, false)).ok();
        }
    }
}
