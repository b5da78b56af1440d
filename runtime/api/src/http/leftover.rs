//! Request bodies that a handler did not read to the end.
//!
//! A refusal is often ready while its client still sends. Closing the connection with unread bytes in
//! it makes the kernel reset it, and the client then loses the answer it was about to read (RFC 9112
//! §9.6). So the edge reads a little further before it answers, and announces a connection that it will
//! close: a client that is not told would send its next request there and lose it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot::{self, error::TryRecvError};

/// Most bytes read past a refusal; a client that sends more finds its connection closed.
const MOST_BYTES: usize = 4 << 20;
/// Longest a refusal waits for its client to finish.
const PATIENCE: Duration = Duration::from_secs(2);

/// A body that comes back when it is dropped before its end.
pub(super) struct Lent {
    body: Option<Incoming>,
    back: Option<oneshot::Sender<Option<Incoming>>>,
    is_being_sent: bool,
}

/// What a handler left of a body.
pub(super) struct Leftover(oneshot::Receiver<Option<Incoming>>);

impl Lent {
    /// `asks_first`: with `Expect: 100-continue` (RFC 9110 §10.1.1) nothing is sent before somebody reads.
    pub fn new(body: Incoming, asks_first: bool) -> (Self, Leftover) {
        let (back, left) = oneshot::channel();
        (Self { body: Some(body), back: Some(back), is_being_sent: !asks_first }, Leftover(left))
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_being_sent = true;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }
    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }
    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            // Nobody waits for it any more when the request was given up.
            let _ = back.send(self.is_being_sent.then_some(body));
        }
    }
}

impl Leftover {
    /// Reads and forgets what was left, within bounds. Whether the body is over now, so that the
    /// connection can go on.
    pub async fn drain(mut self) -> bool {
        let mut body = match self.0.try_recv() {
            Ok(Some(body)) => body,
            Ok(None) => return false,
            Err(TryRecvError::Closed) => return true,
            // Some task still reads.
            Err(TryRecvError::Empty) => return false,
        };
        let reading = async {
            let mut read = 0;
            while let Some(frame) = body.frame().await {
                read += frame.as_ref().ok().and_then(Frame::data_ref).map_or(MOST_BYTES, Bytes::len);
                if read >= MOST_BYTES {
                    return false;
                }
            }
            true
        };
        // A slow client loses its connection, with the answer in it or without.
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or(false)
    }
}
