//! Publishing under load: clients that each send their next version when the last one was answered.

use std::time::Instant;

use reqwest::{Client, header};

use crate::{
    Error,
    contender::Registry,
    corpus::{Upload, npm_upload},
    http,
    statistics::percentile,
};

/// What one turn of publishing gave.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub per_second: f64,
    /// Each request's time from first byte sent to last byte received, in milliseconds.
    pub latencies_ms: Vec<f64>,
}

impl Published {
    pub(crate) fn p99_ms(&self) -> f64 {
        percentile(&self.latencies_ms, 0.99)
    }
}

/// Uploads prepared ahead, so that making them costs the measured time nothing: one list per client.
pub(crate) struct Work(Vec<Vec<Upload>>);

impl Work {
    /// `clients` packages called `prefix-N`, each with `versions` further versions `1.FROM.0` onwards.
    pub(crate) fn own_packages(prefix: &str, clients: u32, versions: std::ops::Range<u32>) -> Result<Self, Error> {
        let package = |client| {
            let name = format!("{prefix}-{client}");
            versions.clone().map(|n| npm_upload(&name, &format!("1.{n}.0"))).collect::<Result<Vec<_>, Error>>()
        };
        (0..clients).map(package).collect::<Result<_, _>>().map(Self)
    }

    /// One package's versions, dealt out to `clients`.
    pub(crate) fn one_package(name: &str, clients: u32, versions: std::ops::Range<u32>) -> Result<Self, Error> {
        let mut hands = vec![Vec::new(); clients as usize];
        for (n, hand) in versions.zip((0..hands.len()).cycle()) {
            hands[hand].push(npm_upload(name, &format!("1.{n}.0"))?);
        }
        Ok(Self(hands))
    }

    /// Sends everything; every client waits for one answer before its next request.
    ///
    /// # Errors
    /// When any version is refused: a rate of refusals means nothing.
    pub(crate) async fn publish(self, registry: &Registry) -> Result<Published, Error> {
        let client = http::client()?;
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for uploads in self.0 {
            let (client, registry) = (client.clone(), registry.clone());
            tasks.spawn(async move {
                let mut latencies = Vec::with_capacity(uploads.len());
                for upload in uploads {
                    let sent = Instant::now();
                    put(&client, &registry, upload).await?;
                    latencies.push(sent.elapsed().as_secs_f64() * 1000.0);
                }
                Ok::<_, Error>(latencies)
            });
        }
        let mut latencies_ms = Vec::new();
        while let Some(done) = tasks.join_next().await {
            latencies_ms.extend(done??);
        }
        let per_second = latencies_ms.len() as f64 / began.elapsed().as_secs_f64();
        Ok(Published { per_second, latencies_ms })
    }
}

/// Publishes one version.
///
/// # Errors
/// When the answer is not 2xx.
pub(crate) async fn put(client: &Client, registry: &Registry, upload: Upload) -> Result<(), Error> {
    let request = registry.request(client, upload.method, &upload.path);
    let answer = accepted(request.header(header::CONTENT_TYPE, upload.content_type).body(upload.body)).await?;
    // To its end, so that the connection is free for the next one.
    answer.bytes().await?;
    Ok(())
}

/// Sends a request whose answer must be 2xx; the answer, its body unread.
pub(crate) async fn accepted(request: reqwest::RequestBuilder) -> Result<reqwest::Response, Error> {
    let response = request.send().await?;
    let (status, url) = (response.status(), response.url().clone());
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await?;
    Err(format!("{url}: {status}: {}", text.chars().take(500).collect::<String>()).into())
}
