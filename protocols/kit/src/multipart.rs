//! Forms with files (`multipart/form-data`, RFC 7578), part by part in constant memory.
//!
//! The parser is `multer`. It buffers whatever its input has ready, and a preamble or header without end for as
//! long as it comes; [`Feed`] therefore hands it one chunk at a time and gives up when chunks bring no part forward.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt};
use http::{HeaderMap, header};
use publaryn_core::{BoxError, RegistryError};
use publaryn_registry::ByteStream;

use crate::byte_stream;

/// What a form may hold.
#[derive(Debug, Clone, Copy)]
pub struct FormLimits {
    pub parts: usize,
    /// All text parts together, in bytes.
    pub text_bytes: usize,
}

/// Bytes the parser may take without bringing a part forward: a header, a boundary and a chunk of the network's.
const MAX_UNREAD_BYTES: usize = 256 << 10;

/// A form on its way in. Parts are read in the order they come; each must be finished before the next.
pub struct Form {
    parser: multer::Multipart<'static>,
    input: Arc<Input>,
    parts_left: usize,
    text_left: usize,
}

/// One part of a form.
pub struct Part<'f> {
    name: String,
    filename: Option<String>,
    field: multer::Field<'static>,
    form: &'f mut Form,
}

/// The body, shared by the parser and by whoever drains what the parser leaves.
struct Input {
    body: Mutex<ByteStream>,
    unread_bytes: AtomicUsize,
}

impl Form {
    /// # Errors
    /// `Malformed` when the request is no form.
    pub fn new(headers: &HeaderMap, body: Body, limits: FormLimits) -> Result<Self, (RegistryError, Body)> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let Ok(boundary) = multer::parse_boundary(content_type) else {
            return Err((RegistryError::malformed("the request is not multipart/form-data"), body));
        };
        let input = Arc::new(Input { body: Mutex::new(byte_stream(body)), unread_bytes: AtomicUsize::new(0) });
        let feed = Feed { input: input.clone(), has_fed: false };
        let parser = multer::Multipart::new(feed, boundary);
        Ok(Self { parser, input, parts_left: limits.parts, text_left: limits.text_bytes })
    }

    /// The next part; `None` after the last one.
    ///
    /// # Errors
    /// `Malformed` when the form is broken or breaks off, `TooLarge` when it has too many parts.
    pub async fn next(&mut self) -> Result<Option<Part<'_>>, RegistryError> {
        let Some(field) = self.parser.next_field().await.map_err(broken)? else { return Ok(None) };
        self.input.unread_bytes.store(0, Ordering::Relaxed);
        let Some(left) = self.parts_left.checked_sub(1) else {
            return Err(RegistryError::malformed("the form has too many parts"));
        };
        self.parts_left = left;
        let name = field.name().unwrap_or_default().to_owned();
        let filename = field.file_name().map(str::to_owned);
        Ok(Some(Part { name, filename, field, form: self }))
    }

    /// Reads and forgets what is left of the request, so that a client that only listens once it has sent
    /// everything gets to see a refusal. Gives up after `max_bytes`.
    pub async fn drain(self, max_bytes: u64) {
        let Self { parser, input, .. } = self;
        drop(parser);
        let mut left = max_bytes;
        while let Some(Ok(chunk)) = input.next().await {
            match left.checked_sub(chunk.len() as u64) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}

impl Part<'_> {
    /// The name of the form's field; empty when the part has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file name that the client gave, unchecked.
    pub fn filename(&self) -> Option<&str> {
        self.filename.as_deref()
    }

    /// The part as text.
    ///
    /// # Errors
    /// `TooLarge` beyond `max_bytes` or the form's limit for all text, `Malformed` when it is not UTF-8.
    pub async fn text(mut self, max_bytes: usize) -> Result<String, RegistryError> {
        let limit = max_bytes.min(self.form.text_left);
        let mut text = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if text.len() + chunk.len() > limit {
                return Err(RegistryError::TooLarge { what: "a field of the form", limit_bytes: limit as u64 });
            }
            text.extend_from_slice(&chunk);
        }
        self.form.text_left -= text.len();
        String::from_utf8(text.into())
            .map_err(|_| RegistryError::malformed(format!("the field `{}` is not utf-8", shown(&self.name))))
    }

    /// Reads and forgets the part.
    ///
    /// # Errors
    /// `TooLarge` beyond `max_bytes`.
    pub async fn skip(mut self, max_bytes: u64) -> Result<(), RegistryError> {
        let mut seen = 0;
        while let Some(chunk) = self.chunk().await? {
            seen += chunk.len() as u64;
            if seen > max_bytes {
                return Err(RegistryError::TooLarge { what: "a part of the form", limit_bytes: max_bytes });
            }
        }
        Ok(())
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let chunk = self.field.chunk().await.map_err(broken)?;
        self.form.input.unread_bytes.store(0, Ordering::Relaxed);
        Ok(chunk)
    }

    /// The part as the blob store wants it. Nothing else of the form can be read until it is dropped.
    pub fn into_stream(self) -> ByteStream {
        let input = self.form.input.clone();
        let chunks = self.field.inspect_ok(move |_| input.unread_bytes.store(0, Ordering::Relaxed));
        TryStreamExt::map_err(chunks, BoxError::from).boxed()
    }
}

impl Input {
    fn lock(&self) -> MutexGuard<'_, ByteStream> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk; the lock is not held while it is waited for.
    async fn next(&self) -> Option<Result<Bytes, BoxError>> {
        std::future::poll_fn(|cx| self.lock().poll_next_unpin(cx)).await
    }
}

/// The body as the parser sees it: one chunk per poll, and an end to patience.
struct Feed {
    input: Arc<Input>,
    has_fed: bool,
}

impl Stream for Feed {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.has_fed) {
            // The parser asks until we have nothing, and must look at what it got first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = self.input.lock().poll_next_unpin(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &next {
            let unread = self.input.unread_bytes.fetch_add(chunk.len(), Ordering::Relaxed);
            // A single larger chunk is fine: what it holds is looked at next.
            if unread > MAX_UNREAD_BYTES {
                return Poll::Ready(Some(Err("a header of the form has no end".into())));
            }
            self.has_fed = true;
        }
        next
    }
}

fn broken(error: multer::Error) -> RegistryError {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    RegistryError::malformed(format!("the form is malformed or broke off: {cause}"))
}

fn shown(name: &str) -> String {
    name.chars().take(60).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    const LIMITS: FormLimits = FormLimits { parts: 3, text_bytes: 100 };

    fn form(chunks: Vec<Vec<u8>>) -> Form {
        let headers = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            "multipart/form-data; boundary=XX".parse().expect("a header"),
        )]);
        let body = Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>)));
        Form::new(&headers, body, LIMITS).map_err(|(error, _)| error).expect("a form")
    }

    fn part(name: &str, value: &[u8]) -> Vec<u8> {
        let head = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        [head.as_bytes(), value, b"\r\n"].concat()
    }

    fn whole(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|(name, value)| part(name, value)).collect();
        bytes.extend_from_slice(b"--XX--\r\n");
        bytes
    }

    async fn texts(mut form: Form, max_bytes: usize) -> Result<Vec<(String, String)>, RegistryError> {
        let mut seen = Vec::new();
        while let Some(part) = form.next().await? {
            let name = part.name().to_owned();
            seen.push((name, part.text(max_bytes).await?));
        }
        Ok(seen)
    }

    #[tokio::test]
    async fn parts_come_in_order_however_the_network_cuts_them() {
        let bytes = whole(&[("a", b"1"), ("b", b"\r\n--X\r\n"), ("a", b"")]);
        for size in [1, 2, 3, 7, 20, 1000] {
            let seen = texts(form(bytes.chunks(size).map(<[u8]>::to_vec).collect()), 50).await.unwrap();
            let wanted = [("a", "1"), ("b", "\r\n--X\r\n"), ("a", "")];
            assert_eq!(seen, wanted.map(|(n, v)| (n.to_owned(), v.to_owned())), "chunks of {size}");
        }
    }

    #[tokio::test]
    async fn limits_hold_for_a_part_for_all_text_and_for_the_number_of_parts() {
        let long = [b'x'; 60];
        let refuse = |parts: &[(&str, &[u8])]| texts(form(vec![whole(parts)]), 70);
        assert!(texts(form(vec![whole(&[("a", &long)])]), 59).await.is_err());
        assert!(refuse(&[("a", &long)]).await.is_ok());
        assert!(matches!(refuse(&[("a", &long), ("b", &long)]).await, Err(RegistryError::TooLarge { .. })));
        assert!(refuse(&[("a", b""), ("b", b""), ("c", b"")]).await.is_ok());
        assert!(refuse(&[("a", b""), ("b", b""), ("c", b""), ("d", b"")]).await.is_err());
        assert!(refuse(&[("a", b"\xff")]).await.is_err());
    }

    #[tokio::test]
    async fn a_form_that_breaks_off_is_malformed() {
        let bytes = whole(&[("a", b"hello")]);
        for cut in [3, 20, 60, bytes.len() - 9] {
            let error = texts(form(vec![bytes[..cut].to_vec()]), 50).await.unwrap_err();
            assert!(matches!(error, RegistryError::Malformed(_)), "{cut}: {error:?}");
        }
    }

    #[tokio::test]
    async fn neither_a_preamble_nor_a_header_goes_on_for_ever() {
        let endless = |start: &'static [u8]| {
            let headers = HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                "multipart/form-data; boundary=XX".parse().expect("a header"),
            )]);
            let chunks = stream::once(async move { Bytes::from_static(start) });
            let rest = stream::repeat(Bytes::from_static(&[b'x'; 8192])).take(10_000);
            let body = Body::from_stream(chunks.chain(rest).map(Ok::<_, std::io::Error>));
            Form::new(&headers, body, LIMITS).map_err(|(error, _)| error).expect("a form")
        };
        for start in [&b""[..], b"--XX\r\nContent-Disposition: "] {
            let mut form = endless(start);
            assert!(form.next().await.is_err());
            form.drain(1 << 20).await;
        }
    }

    #[tokio::test]
    async fn what_a_refused_stream_leaves_is_drained() {
        let data = vec![7; 300_000];
        let bytes = whole(&[("a", b"1"), ("content", &data), ("z", b"2")]);
        let mut form = form(bytes.chunks(1000).map(<[u8]>::to_vec).collect());
        form.next().await.unwrap().unwrap().text(10).await.unwrap();
        let mut stream = form.next().await.unwrap().unwrap().into_stream();
        let mut seen = 0;
        while seen < 100_000 {
            seen += stream.next().await.unwrap().unwrap().len();
        }
        drop(stream);
        let input = form.input.clone();
        form.drain(u64::MAX).await;
        assert!(input.next().await.is_none());
    }
}
