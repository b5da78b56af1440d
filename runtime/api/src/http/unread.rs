//! Whether a request's body was read to its end.
//!
//! What is left of a refused upload makes the server close the connection. A client that is not told
//! would send its next request there and lose it, and a publish is nothing to send twice unasked.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};

/// A body that notes when its end was reached.
pub(super) struct Watched<B> {
    body: B,
    seen: EndSeen,
}

/// Shared with whoever answers the request.
#[derive(Clone, Default)]
pub(super) struct EndSeen(Arc<AtomicBool>);

impl EndSeen {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<B: Body> Watched<B> {
    pub(super) fn new(body: B, seen: EndSeen) -> Self {
        seen.0.store(body.is_end_stream(), Ordering::Release);
        Self { body, seen }
    }
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // A body of known length is over with its last byte; nobody asks again.
        if frame.is_none() || self.body.is_end_stream() {
            self.seen.0.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn the_end_is_seen_with_the_last_byte_and_not_before() {
        let seen = EndSeen::default();
        let mut body = Watched::new(Full::new(bytes::Bytes::from_static(b"abc")), seen.clone());
        assert!(!seen.is_set());
        body.frame().await.unwrap().unwrap();
        assert!(seen.is_set());
        let empty = EndSeen::default();
        Watched::new(Full::new(bytes::Bytes::new()), empty.clone());
        assert!(empty.is_set());
    }
}
