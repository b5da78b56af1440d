//! What can be measured.

mod downloads;
mod images;
mod indexes;
mod jobs;
pub(crate) mod lists;
mod publish;
mod reads;
mod start;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Error, Plan,
    contender::{Backend, Publaryn, Services},
    report::Row,
    wrk::{Load, Outcome},
};

/// A group of measurements with one set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Suite {
    /// Packuments and index files
    Reads,
    /// Artifacts of 50 KB and 100 MB
    Downloads,
    /// New versions from several clients at once
    Publish,
    /// Time to the first answer, and memory at rest
    Start,
    /// The job queue
    Jobs,
    /// Index documents and files of the other ecosystems
    Indexes,
    /// OCI images
    Images,
    /// Lists and search of `/v1` in a large registry
    Lists,
}

impl Suite {
    pub(crate) const ALL: [Self; 8] = [
        Self::Reads,
        Self::Downloads,
        Self::Publish,
        Self::Start,
        Self::Jobs,
        Self::Indexes,
        Self::Images,
        Self::Lists,
    ];

    pub(crate) async fn measure(self, plan: &Plan) -> Result<Vec<Row>, Error> {
        match self {
            Self::Reads => reads::measure(plan).await,
            Self::Downloads => downloads::measure(plan).await,
            Self::Publish => publish::measure(plan).await,
            Self::Start => start::measure(plan).await,
            Self::Jobs => jobs::measure(plan).await,
            Self::Indexes => indexes::measure(plan).await,
            Self::Images => images::measure(plan).await,
            Self::Lists => lists::measure(plan).await,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reads => "Metadata reads",
            Self::Downloads => "Downloads",
            Self::Publish => "Publishing",
            Self::Start => "Start and rest",
            Self::Jobs => "Jobs",
            Self::Indexes => "Other ecosystems' indexes and files",
            Self::Images => "Images",
            Self::Lists => "Lists and search",
        })
    }
}

/// The back ends of this run: always the embedded one, and the services around the run if there are any.
fn backends() -> Vec<Backend> {
    [Backend::Embedded].into_iter().chain(Services::from_environment().map(Backend::External)).collect()
}

/// One server per back end, each with its own directory below the suite's.
async fn servers(plan: &Plan, suite: &str) -> Result<Vec<(Backend, Publaryn)>, Error> {
    let mut servers = Vec::new();
    for (n, backend) in backends().into_iter().enumerate() {
        let dir = plan.scratch.join(format!("{suite}-{n}"));
        let server = Publaryn::start(&plan.publaryn, &backend, &dir).await?;
        servers.push((backend, server));
    }
    Ok(servers)
}

/// One request that a contender answers over and over.
#[derive(Debug, Clone)]
struct Request {
    url: String,
    headers: Vec<(&'static str, &'static str)>,
}

/// Between two turns: what the last contender still had in its queue is done by then.
const SETTLE: Duration = Duration::from_millis(300);

/// Lets the contenders take turns; their outcomes, in the order of `requests`, round by round.
async fn take_turns(load: Load, rounds: u32, requests: &[Request]) -> Result<Vec<Vec<Outcome>>, Error> {
    let warm_up = Load { turn: Duration::from_secs(1), ..load };
    for request in requests {
        warm_up.run(&request.url, &request.headers).await?;
    }
    let mut outcomes = vec![Vec::new(); requests.len()];
    for _ in 0..rounds {
        for (request, outcomes) in requests.iter().zip(&mut outcomes) {
            tokio::time::sleep(SETTLE).await;
            outcomes.push(load.run(&request.url, &request.headers).await?);
        }
    }
    Ok(outcomes)
}
