//! The receiving end of an upload: cuts a body of arbitrary chunks into blocks, within the limit.

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream::Fuse};

use crate::{
    AppendPlan, BlobError, ByteStream, StagePlan, UploadState,
    memory::{Block, BufferGauge},
};

/// A body being read. Holds at most one block and one chunk of the sender's.
pub(crate) struct Intake {
    /// Fused: the end of a body is looked for once more after it was found, and many streams panic then.
    body: Fuse<ByteStream>,
    /// Received and counted, but not yet handed out.
    held: Bytes,
    received_bytes: u64,
    limit_bytes: u64,
    limit_name: &'static str,
    gauge: BufferGauge,
}

impl Intake {
    pub(crate) fn new(body: ByteStream, plan: &StagePlan, gauge: &BufferGauge) -> Self {
        Self {
            body: body.fuse(),
            held: Bytes::new(),
            received_bytes: 0,
            limit_bytes: plan.limit_bytes,
            limit_name: plan.limit_name,
            gauge: gauge.clone(),
        }
    }

    /// The body of an append: the limit is for the upload as a whole.
    pub(crate) fn continuing(body: ByteStream, upload: &UploadState, plan: AppendPlan, gauge: &BufferGauge) -> Self {
        Self {
            body: body.fuse(),
            held: Bytes::new(),
            received_bytes: upload.size_bytes(),
            limit_bytes: plan.limit_bytes,
            limit_name: plan.limit_name,
            gauge: gauge.clone(),
        }
    }

    /// The next block: exactly `block_bytes` long unless the body ends in it, empty after the end.
    pub(crate) async fn next_block(&mut self, block_bytes: usize) -> Result<Block, BlobError> {
        match self.fill(block_bytes).await {
            (block, None) => Ok(block),
            (_, Some(error)) => Err(error),
        }
    }

    /// Like [`Self::next_block`], with what had come before the body failed.
    pub(crate) async fn fill(&mut self, block_bytes: usize) -> (Block, Option<BlobError>) {
        let mut trouble = None;
        let mut first = Bytes::new();
        let mut block = BytesMut::new();
        let mut charge = self.gauge.begin();
        loop {
            let mut chunk = match self.next_chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    trouble = Some(error);
                    break;
                }
            };
            let filled = first.len() + block.len();
            if chunk.len() > block_bytes - filled {
                self.held = chunk.split_off(block_bytes - filled);
            }
            charge.grow(chunk.len());
            if filled == 0 {
                // A body in one chunk, and a chunk that fills a block, is not copied.
                first = chunk;
            } else {
                if block.is_empty() {
                    block.reserve(block_bytes.min(READ_AHEAD_BYTES));
                    block.extend_from_slice(&std::mem::take(&mut first));
                }
                block.extend_from_slice(&chunk);
            }
            if first.len() + block.len() == block_bytes {
                break;
            }
        }
        let bytes = if block.is_empty() { first } else { block.freeze() };
        (Block::new(bytes, charge), trouble)
    }

    /// Whether the whole body has been handed out; waits for the sender to tell.
    pub(crate) async fn at_end(&mut self) -> Result<bool, BlobError> {
        match self.next_chunk().await? {
            Some(chunk) => {
                self.held = chunk;
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// The next non-empty chunk.
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, BlobError> {
        if !self.held.is_empty() {
            return Ok(Some(std::mem::take(&mut self.held)));
        }
        while let Some(chunk) = self.body.next().await {
            let chunk = chunk.map_err(BlobError::BodyAborted)?;
            self.received_bytes = self.received_bytes.saturating_add(chunk.len() as u64);
            if self.received_bytes > self.limit_bytes {
                return Err(BlobError::TooLarge { limit_name: self.limit_name, limit_bytes: self.limit_bytes });
            }
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }
}

/// First allocation of a block; larger blocks grow from here, so that a small body stays small.
const READ_AHEAD_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use futures::stream;
    use proptest::prelude::*;

    use super::*;

    fn intake(chunks: Vec<Vec<u8>>, limit_bytes: u64) -> Intake {
        let body = stream::iter(chunks.into_iter().map(|c| Ok(Bytes::from(c)))).boxed();
        Intake::new(body, &StagePlan::new(limit_bytes, "test"), &BufferGauge::default())
    }

    proptest! {
        #[test]
        fn blocks_are_full_and_in_order(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..30), block_bytes in 1usize..50) {
            let whole = chunks.concat();
            let mut intake = intake(chunks, u64::MAX);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let blocks: Vec<Vec<u8>> = runtime.block_on(async {
                let mut blocks = Vec::new();
                while !intake.at_end().await.unwrap() {
                    blocks.push(intake.next_block(block_bytes).await.unwrap().to_vec());
                }
                blocks
            });
            prop_assert!(blocks.iter().rev().skip(1).all(|b| b.len() == block_bytes));
            prop_assert_eq!(blocks.concat(), whole);
        }
    }

    #[tokio::test]
    async fn the_limit_is_inclusive() {
        assert_eq!(intake(vec![vec![0; 5], vec![0; 5]], 10).next_block(100).await.unwrap().len(), 10);
        let refused = intake(vec![vec![0; 5], vec![0; 6]], 10).next_block(100).await.unwrap_err();
        assert!(matches!(refused, BlobError::TooLarge { limit_name: "test", limit_bytes: 10 }));
    }
}
