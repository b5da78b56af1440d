//! Reading objects, whole or in part, resuming where a connection broke.

use std::{ops::Range, sync::Arc, time::Duration};

use aws_sdk_s3::primitives::ByteStream as SdkBody;
use bytes::Bytes;
use futures::{StreamExt, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use publaryn_core::BoxError;

use super::{Inner, failure::Failure};
use crate::{BlobBody, BlobError, BlobKey, ByteStream};

/// How often in a row a download may break without a byte of progress.
const MAX_RESUMES: u32 = 3;

/// Pause before resuming, times the number of failures in a row.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn open(store: &Arc<Inner>, key: &BlobKey, range: Option<Range<u64>>) -> Result<BlobBody, BlobError> {
    if let Some(empty) = range.as_ref().filter(|r| r.is_empty()) {
        // `bytes=5-4` is not a range for S3, which would send everything.
        let size_bytes = super::upload::size_of(store, &store.object(key)).await?;
        tracing::debug!(start = empty.start, "empty range asked for");
        return Err(size_bytes
            .map_or_else(|| BlobError::missing(key), |size_bytes| BlobError::RangeNotSatisfiable { size_bytes }));
    }
    let part = get(store, key, range.as_ref()).await?;
    let download = Download {
        store: store.clone(),
        key: key.clone(),
        rest: part.range.clone(),
        body: Some(part.body),
        failures: 0,
    };
    Ok(BlobBody::stream(part.size_bytes, part.range, download.into_stream()))
}

/// The content of a small object; `None` when it is not there.
pub(super) async fn small_object(store: &Inner, object: &str) -> Result<Option<Bytes>, BlobError> {
    let got = match store.client.get_object().bucket(&store.bucket).key(object).send().await {
        Ok(got) => got,
        Err(e) => match Failure::of("get_object", e) {
            failure if failure.is_missing() => return Ok(None),
            failure => return Err(failure.into_error()),
        },
    };
    Ok(Some(got.body.collect().await.map_err(BlobError::unavailable)?.into_bytes()))
}

/// `attachment` with the file name in both forms of RFC 6266 §4.
pub(super) fn attachment(filename: &str) -> String {
    let plain: String =
        (filename.chars()).map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') { c } else { '_' }).collect();
    if plain == filename {
        return format!("attachment; filename=\"{plain}\"");
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(filename, ATTR_CHAR))
}

/// Everything but `attr-char` of RFC 8187 §3.2.1.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An answered `GetObject`.
struct Part {
    size_bytes: u64,
    range: Range<u64>,
    body: SdkBody,
}

async fn get(store: &Inner, key: &BlobKey, range: Option<&Range<u64>>) -> Result<Part, BlobError> {
    let header = range.map(|r| match i64::try_from(r.end) {
        Ok(end) => format!("bytes={}-{}", r.start, end - 1),
        // Stores that count in signed 64 bits would ignore the header.
        Err(_) => format!("bytes={}-", r.start),
    });
    let request = store.client.get_object().bucket(&store.bucket).key(store.object(key)).set_range(header);
    let got = match request.send().await {
        Ok(got) => got,
        Err(e) => {
            let failure = Failure::of("get_object", e);
            if failure.is_missing() {
                return Err(BlobError::missing(key));
            }
            if failure.is_bad_range() {
                let size_bytes = super::upload::size_of(store, &store.object(key)).await?;
                return Err(size_bytes.map_or_else(
                    || BlobError::missing(key),
                    |size_bytes| BlobError::RangeNotSatisfiable { size_bytes },
                ));
            }
            return Err(failure.into_error());
        }
    };
    let length = got.content_length.and_then(|n| u64::try_from(n).ok());
    let length = length.ok_or_else(|| BlobError::unavailable("s3 sent no content length"))?;
    let (size_bytes, range) = match range {
        None => (length, 0..length),
        // All of it was asked for, and a store may then answer as if no range had been named.
        Some(range) if got.content_range.is_none() && range.start == 0 && length <= range.end => (length, 0..length),
        Some(range) => {
            let size_bytes = (got.content_range.as_deref())
                .and_then(|text| content_range_total(text, range.start))
                .ok_or_else(|| BlobError::unavailable("s3 ignored the range"))?;
            (size_bytes, range.start..range.start + length)
        }
    };
    Ok(Part { size_bytes, range, body: got.body })
}

/// The total of `bytes <start>-<end>/<total>` (RFC 9110 §14.4) when it starts where it should.
fn content_range_total(text: &str, start: u64) -> Option<u64> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let first: u64 = range.split_once('-')?.0.trim().parse().ok()?;
    (first == start).then(|| total.trim().parse().ok())?
}

/// A download in progress.
struct Download {
    store: Arc<Inner>,
    key: BlobKey,
    rest: Range<u64>,
    /// `None` after a failure, until the rest is asked for again.
    body: Option<SdkBody>,
    failures: u32,
}

impl Download {
    fn into_stream(self) -> ByteStream {
        stream::try_unfold(self, |mut download| async move {
            let chunk = download.next().await.map_err(BoxError::from)?;
            Ok(chunk.map(|chunk| (chunk, download)))
        })
        .boxed()
    }

    /// The next chunk; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        while !self.rest.is_empty() {
            let chunk = match &mut self.body {
                Some(body) => body.next().await,
                None => {
                    self.body = Some(get(&self.store, &self.key, Some(&self.rest)).await?.body);
                    continue;
                }
            };
            let error: BoxError = match chunk {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) if chunk.len() as u64 > self.rest.end - self.rest.start => {
                    return Err(BlobError::unavailable("s3 sent more than it announced"));
                }
                Some(Ok(chunk)) => {
                    self.rest.start += chunk.len() as u64;
                    self.failures = 0;
                    return Ok(Some(chunk));
                }
                Some(Err(error)) => error.into(),
                None => "s3 sent less than it announced".into(),
            };
            self.body = None;
            self.failures += 1;
            if self.failures > MAX_RESUMES {
                return Err(BlobError::Unavailable(error));
            }
            tracing::debug!(error = %error, "s3 download broke, resuming");
            tokio::time::sleep(RESUME_PAUSE * self.failures).await;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_must_start_where_asked() {
        assert_eq!(content_range_total("bytes 5-9/20", 5), Some(20));
        for bad in ["bytes 4-9/20", "bytes */20", "5-9/20", "bytes 5-9/*", ""] {
            assert_eq!(content_range_total(bad, 5), None, "{bad}");
        }
    }

    #[test]
    fn file_names_cannot_break_out_of_the_header() {
        assert_eq!(attachment("left-pad-1.0.0.tgz"), "attachment; filename=\"left-pad-1.0.0.tgz\"");
        assert_eq!(attachment("a\"\r\nb"), "attachment; filename=\"a___b\"; filename*=UTF-8''a%22%0D%0Ab");
        assert_eq!(attachment("ä.gem"), "attachment; filename=\"_.gem\"; filename*=UTF-8''%C3%A4.gem");
    }
}
