//! PLACEHOLDER until branch `scan` lands: scans in this process.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use publaryn_core::{BoxError, finding::Finding};

use crate::{Findings, ScanError, ScanJob, Scanner};

#[derive(Debug)]
pub struct ScanReport {
    pub findings: Vec<Finding>,
    pub ruleset: String,
}

#[derive(Debug, thiserror::Error)]
#[error("scan failed: {0}")]
pub struct ScanFailure(pub String);

pub struct ScannerPool(pub Arc<Vec<Box<dyn Scanner>>>);

impl ScannerPool {
    pub async fn scan(
        &self,
        job: ScanJob,
        bytes: impl Stream<Item = Result<Bytes, BoxError>> + Send,
    ) -> Result<ScanReport, ScanFailure> {
        let mut all = BytesMut::new();
        let mut bytes = std::pin::pin!(bytes);
        while let Some(chunk) = bytes.next().await {
            all.extend_from_slice(&chunk.map_err(|e| ScanFailure(e.to_string()))?);
        }
        let scanners = self.0.clone();
        let content = all.to_vec();
        tokio::task::spawn_blocking(move || {
            let mut out = Findings::new();
            for scanner in scanners.iter().filter(|s| s.applies(&job)) {
                match scanner.scan(&job, &content, &mut out) {
                    Ok(()) => {}
                    Err(ScanError::Archive(refused)) => out.push(refused.to_finding()),
                    Err(other) => return Err(ScanFailure(other.to_string())),
                }
            }
            Ok(ScanReport { findings: out.into_vec(), ruleset: "in-process".into() })
        })
        .await
        .map_err(|e| ScanFailure(e.to_string()))?
    }
}
