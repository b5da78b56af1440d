//! Storing the ends of runs, many per commit.
//!
//! Owns nothing but what is in its mailbox. Bounded: a full mailbox makes workers wait, so the
//! claim loop slows down. Lost with a crash: results not yet stored; their jobs run again (J2, J4).

use std::time::Duration;

use publaryn_actors::Context;
use publaryn_core::BoxError;
use publaryn_metadata::{Db, jobs::Transition};
use tokio::sync::{Mutex, mpsc};

/// Results per commit; while one commit syncs, the next batch gathers.
const BATCH: usize = 100;
/// Pause before a batch that could not be stored is tried again.
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) struct Acks {
    pub(crate) sender: mpsc::Sender<Transition>,
    receiver: Mutex<mpsc::Receiver<Transition>>,
}

impl Acks {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(4 * BATCH);
        Self { sender, receiver: Mutex::new(receiver) }
    }

    /// The service: runs until told to stop, then stores what is left.
    pub(crate) async fn serve(&self, db: &Db, context: &Context) -> Result<(), BoxError> {
        let mut receiver = self.receiver.lock().await;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                n = receiver.recv_many(&mut batch, BATCH) => if n == 0 { return Ok(()) },
                () = context.stopping() => {
                    while let Ok(one) = receiver.try_recv() {
                        batch.push(one);
                    }
                    return store(db, &mut batch).await.map_err(Into::into);
                }
            }
            let started = std::time::Instant::now();
            while let Err(error) = store(db, &mut batch).await {
                tracing::warn!(%error, results = batch.len(), "job results cannot be stored yet");
                if context.is_stopping() {
                    // Their leases run out and the jobs run again.
                    return Err(error.into());
                }
                tokio::time::sleep(PAUSE).await;
            }
            metrics::histogram!("publaryn_job_ack_seconds").record(started.elapsed());
            context.worked(started);
        }
    }
}

async fn store(db: &Db, batch: &mut Vec<Transition>) -> publaryn_metadata::DbResult<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    let finished = tx.finish_batch(batch).await?;
    tx.commit().await?;
    let lost = batch.len() - finished.len();
    if lost > 0 {
        tracing::warn!(lost, "results of jobs whose lease was lost are dropped");
    }
    for job in &finished {
        metrics::counter!("publaryn_jobs_finished_total", "kind" => job.kind.clone(), "outcome" => job.state.as_str())
            .increment(1);
    }
    batch.clear();
    Ok(())
}
