//! Transitions of jobs as every node tells them: each passes on what its own engine does.

use std::time::Duration;

use futures::{StreamExt, stream, stream::BoxStream};
use publaryn_cluster::Gossip;
use publaryn_core::RegistryError;
use publaryn_jobs::JobEvent;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, timeout_at},
};

use crate::{Registry, gossip::Word};

/// Transitions are passed on together, this often at most. Operators on other nodes are to see them within 2 s.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// Transitions passed on at once, which makes 200 per second; the rest is counted.
const AT_ONCE: usize = 50;
/// Longest error passed on, in bytes; the whole one stands with the job.
const MAX_ERROR: usize = 1024;

/// What became known of jobs.
#[derive(Debug, Clone)]
pub enum JobNews {
    Event(Box<JobEvent>),
    /// So many transitions on another node were too many to be told one by one.
    Dropped(u64),
    /// So many transitions were lost to this listener.
    Lagged(u64),
    /// Nobody knows how many were.
    Missed,
}

/// What one node passes on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    jobs: Vec<JobEvent>,
    dropped: u64,
}

impl Registry {
    /// Transitions of jobs on all nodes, from now on.
    ///
    /// # Errors
    /// `Unavailable` while the engine starts.
    pub fn job_news(&self) -> Result<BoxStream<'static, JobNews>, RegistryError> {
        let own = stream::unfold(self.jobs_engine()?.events(), |mut events| async {
            match events.recv().await {
                Ok(event) => Some((JobNews::Event(Box::new(event)), events)),
                Err(RecvError::Lagged(missed)) => Some((JobNews::Lagged(missed), events)),
                Err(RecvError::Closed) => None,
            }
        });
        let others = self.cluster().overhear().flat_map(|gossip| stream::iter(understand(&gossip)));
        Ok(stream::select(own, others).boxed())
    }

    /// Passes on to other nodes what jobs do here, until it is dropped.
    pub async fn tell_job_news(&self) {
        let Ok(engine) = self.jobs_engine() else { return };
        let mut events = engine.events();
        while let Some(told) = collect(&mut events).await {
            self.say(&Word::Jobs(told));
        }
    }
}

/// Waits for a transition, and then a little for more.
async fn collect(events: &mut Receiver<JobEvent>) -> Option<Told> {
    let mut told = Told { jobs: Vec::new(), dropped: 0 };
    let mut add = |event: Result<JobEvent, RecvError>| {
        match event {
            Ok(event) if told.jobs.len() < AT_ONCE => told.jobs.push(shortened(event)),
            Ok(_) => told.dropped += 1,
            Err(RecvError::Lagged(missed)) => told.dropped += missed,
            Err(RecvError::Closed) => return false,
        }
        true
    };
    let mut goes_on = add(events.recv().await);
    let until = Instant::now() + TELL_EVERY;
    while goes_on {
        let Ok(event) = timeout_at(until, events.recv()).await else { break };
        goes_on = add(event);
    }
    goes_on.then_some(told)
}

fn shortened(mut event: JobEvent) -> JobEvent {
    if let Some(error) = &mut event.last_error {
        error.truncate(error.floor_char_boundary(MAX_ERROR));
    }
    event
}

fn understand(gossip: &Gossip) -> Vec<JobNews> {
    if *gossip == Gossip::Missed {
        return vec![JobNews::Missed];
    }
    let Some(Word::Jobs(told)) = Word::of(gossip) else { return Vec::new() };
    let dropped = (told.dropped > 0).then_some(JobNews::Dropped(told.dropped));
    told.jobs.into_iter().map(|event| JobNews::Event(Box::new(event))).chain(dropped).collect()
}
