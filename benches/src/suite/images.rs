//! OCI images: pulls beside nginx and the distribution registry, pushes beside the latter.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use reqwest::{Client, Method, header};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Request, servers, take_turns};
use crate::{
    Error, Plan,
    contender::{Account, Backend, Distribution, Nginx, Publaryn, Registry},
    corpus::{layer, noise},
    http, process,
    publisher::{Work, accepted},
    report::{Row, Target},
    statistics::Sample,
    wrk::Load,
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LARGE_BYTES: usize = 100 << 20;
const LAYER_BYTES: usize = 10 << 20;
const SMALL_BYTES: usize = 50_000;
/// A layer of 5 GiB is sent as so many blocks of so many bytes.
const HUGE_BLOCKS: usize = 5 << 10;
const HUGE_BLOCK: usize = 1 << 20;
/// Clients that push at once.
const CLIENTS: usize = 4;
/// Layers, or images, that each of them pushes per turn.
const PUSHES: usize = 6;

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Row>, Error> {
    let servers = servers(plan, "images").await?;
    let nginx = Nginx::start(&plan.scratch.join("images-nginx")).await?;
    let distribution = Distribution::start(&plan.scratch.join("images-distribution")).await?;
    let mut accounts = Vec::new();
    for (_, server) in &servers {
        accounts.push(server.account().await?);
    }
    let registries: Vec<_> = accounts.iter().map(Account::oci).chain([distribution.registry.clone()]).collect();
    let mut rows = pulls(plan, &servers, &registries, &nginx).await?;
    rows.extend(pushes(plan, &servers, &registries).await?);
    rows.extend(beside_others(plan, &servers, &accounts).await?);
    rows.extend(huge(plan, &servers, &accounts).await?);
    nginx.stop().await?;
    distribution.stop().await?;
    for (_, server) in servers {
        server.stop().await?;
    }
    Ok(rows)
}

async fn pulls(
    plan: &Plan,
    servers: &[(Backend, Publaryn)],
    registries: &[Registry],
    nginx: &Nginx,
) -> Result<Vec<Row>, Error> {
    let client = http::client()?;
    let layer = layer(LARGE_BYTES)?;
    for registry in registries {
        push_image(&client, registry, "bench/large", "1", std::slice::from_ref(&layer)).await?;
    }
    let plain = |url: String| Request { url, headers: Vec::new() };
    let path = format!("/v2/bench/large/blobs/{}", digest(&layer));
    let mut blobs: Vec<_> = registries.iter().map(|registry| plain(format!("{}{path}", registry.base))).collect();
    blobs.push(plain(nginx.put("layer.bin", &layer, None)?));
    let turns = take_turns(Load { threads: 2, connections: 8, turn: plan.turn }, plan.rounds, &blobs).await?;
    let megabytes: Vec<_> =
        turns.iter().map(|turn| Sample::of(turn.iter().map(|o| o.bytes_per_second / 1e6).collect())).collect();
    let mut rows = Vec::new();
    for ((backend, _), ours) in servers.iter().zip(&megabytes) {
        let row = Row::new("blob pull, 100 MB", backend.name(), "MB/s", ours.clone());
        let beside_nginx = row.clone().against("nginx", megabytes[servers.len() + 1].clone());
        rows.push(embedded(beside_nginx, backend, Target::RatioAtLeast(0.8)));
        rows.push(row.against("distribution", megabytes[servers.len()].clone()));
    }
    let accept = vec![("accept", MANIFEST)];
    let manifests: Vec<_> = registries
        .iter()
        .map(|registry| Request {
            url: format!("{}/v2/bench/large/manifests/1", registry.base),
            headers: accept.clone(),
        })
        .collect();
    let turns = take_turns(Load { threads: 2, connections: 64, turn: plan.turn }, plan.rounds, &manifests).await?;
    let rates: Vec<_> =
        turns.iter().map(|turn| Sample::of(turn.iter().map(|o| o.requests_per_second).collect())).collect();
    for ((backend, _), ours) in servers.iter().zip(&rates) {
        let row = Row::new("manifest by tag", backend.name(), "requests/s", ours.clone());
        let row = row.against("distribution", rates[servers.len()].clone());
        rows.push(embedded(row, backend, Target::RatioAtLeast(10.0)));
    }
    Ok(rows)
}

async fn pushes(plan: &Plan, servers: &[(Backend, Publaryn)], registries: &[Registry]) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for (what, unit, layer_bytes, has_manifest) in [
        ("blob push, 10 MB, 4 clients", "blobs/s", LAYER_BYTES, false),
        ("image push, one layer of 50 KB, 4 clients", "images/s", SMALL_BYTES, true),
    ] {
        let mut rates = vec![Vec::new(); registries.len()];
        for round in 0..=plan.rounds {
            for (registry, rates) in registries.iter().zip(&mut rates) {
                let rate = push_turn(registry, round, layer_bytes, has_manifest).await?;
                // The first one warms up.
                if round > 0 {
                    rates.push(rate);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        let rates: Vec<_> = rates.into_iter().map(Sample::of).collect();
        for ((backend, _), ours) in servers.iter().zip(&rates) {
            let row = Row::new(what, backend.name(), unit, ours.clone());
            let row = row.against("distribution", rates[servers.len()].clone());
            rows.push(embedded(row, backend, Target::RatioAtLeast(1.0)));
        }
    }
    Ok(rows)
}

/// Pushes per second of [`CLIENTS`] clients.
async fn push_turn(registry: &Registry, round: u32, layer_bytes: usize, has_manifest: bool) -> Result<f64, Error> {
    let client = http::client()?;
    let hand = || (0..PUSHES).map(|_| layer(layer_bytes)).collect::<Result<Vec<_>, _>>();
    let work: Vec<Vec<Bytes>> = (0..CLIENTS).map(|_| hand()).collect::<Result<_, _>>()?;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (n, layers) in work.into_iter().enumerate() {
        let (client, registry) = (client.clone(), registry.clone());
        tasks.spawn(async move {
            let name = format!("bench/client{n}");
            for (at, layer) in layers.into_iter().enumerate() {
                if has_manifest {
                    push_image(&client, &registry, &name, &format!("{round}-{at}"), &[layer]).await?;
                } else {
                    push_blob(&client, &registry, &name, layer).await?;
                }
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok((CLIENTS * PUSHES) as f64 / began.elapsed().as_secs_f64())
}

/// Whether somebody who installs npm packages notices that others push images.
async fn beside_others(plan: &Plan, servers: &[(Backend, Publaryn)], accounts: &[Account]) -> Result<Vec<Row>, Error> {
    let load = Load { threads: 1, connections: 4, turn: plan.turn };
    let mut rows = Vec::new();
    for ((backend, server), account) in servers.iter().zip(accounts) {
        Work::one_package("bench-beside", 1, 0..10)?.publish(&account.npm()).await?;
        let url = format!("{}/npm/bench-beside", server.base);
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for round in 0..plan.rounds {
            alone.push(load.run(&url, &[]).await?.p99_ms);
            let registry = account.oci();
            let pushing = tokio::spawn(async move {
                loop {
                    if let Err(error) = push_turn(&registry, 1_000 + round, LAYER_BYTES, true).await {
                        return error;
                    }
                }
            });
            tokio::time::sleep(Duration::from_millis(500)).await;
            beside.push(load.run(&url, &[]).await?.p99_ms);
            if pushing.is_finished() {
                return Err(pushing.await?);
            }
            pushing.abort();
        }
        let row = Row::new("packument, p99 while 4 clients push images", backend.name(), "ms", Sample::of(beside));
        rows.push(row.against("alone", Sample::of(alone)));
    }
    Ok(rows)
}

/// A layer of 5 GiB: how long its last byte waits for the answer, and what the server grows by.
async fn huge(plan: &Plan, servers: &[(Backend, Publaryn)], accounts: &[Account]) -> Result<Vec<Row>, Error> {
    // The other back end would need thrice as much space on this disk.
    let Some(((backend, server), account)) = servers.iter().zip(accounts).next() else { return Ok(Vec::new()) };
    let (client, registry, pid) = (http::client()?, account.oci(), server.pid()?);
    let (mut waits, mut grown) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds.min(2) {
        let block = Bytes::from(noise(HUGE_BLOCK));
        let mut hash = Sha256::new();
        (0..HUGE_BLOCKS).for_each(|_| hash.update(&block));
        let digest = hex_digest(hash);
        let begin = registry.request(&client, Method::POST, &format!("/v2/bench/huge{round}/blobs/uploads/"));
        let begun = accepted(begin.header(header::CONTENT_LENGTH, 0)).await?;
        let location = begun.headers().get(header::LOCATION).ok_or("no Location")?.to_str()?.to_owned();
        let path = location.strip_prefix(&registry.base).unwrap_or(&location);
        process::forget_peak(pid)?;
        let before = process::memory(pid)?.own_rss;
        let last = Arc::new(Mutex::new(Instant::now()));
        let noted = last.clone();
        let blocks = futures::stream::iter(0..HUGE_BLOCKS).map(move |_| {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            Ok::<_, std::io::Error>(block.clone())
        });
        let put = registry.request(&client, Method::PUT, &format!("{path}?digest={digest}"));
        accepted(put.body(reqwest::Body::wrap_stream(blocks))).await?.bytes().await?;
        waits.push(last.lock().unwrap_or_else(PoisonError::into_inner).elapsed().as_secs_f64());
        grown.push(process::peak_rss(pid)?.saturating_sub(before) as f64 / 1e6);
    }
    let wait = Row::new("layer of 5 GiB, last byte to answer", backend.name(), "s", Sample::of(waits));
    let memory = Row::new("layer of 5 GiB, growth of the server", backend.name(), "MB", Sample::of(grown));
    Ok(vec![wait.wanting(Target::AtMost(5.0)), memory.wanting(Target::AtMost(64.0))])
}

fn embedded(row: Row, backend: &Backend, target: Target) -> Row {
    if matches!(backend, Backend::Embedded) { row.wanting(target) } else { row }
}

fn digest(bytes: &[u8]) -> String {
    hex_digest(Sha256::new_with_prefix(bytes))
}

fn hex_digest(hash: Sha256) -> String {
    hash.finalize().iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Memory takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A layer in one POST and one PUT, as clients send it; its descriptor.
async fn push_blob(client: &Client, registry: &Registry, name: &str, bytes: Bytes) -> Result<serde_json::Value, Error> {
    let begin = registry.request(client, Method::POST, &format!("/v2/{name}/blobs/uploads/"));
    let begun = accepted(begin.header(header::CONTENT_LENGTH, 0)).await?;
    let location = begun.headers().get(header::LOCATION).ok_or("no Location")?.to_str()?.to_owned();
    begun.bytes().await?;
    let path = location.strip_prefix(&registry.base).unwrap_or(&location);
    let (digest, size) = (digest(&bytes), bytes.len());
    let mark = if path.contains('?') { '&' } else { '?' };
    let put = registry.request(client, Method::PUT, &format!("{path}{mark}digest={digest}"));
    accepted(put.header(header::CONTENT_TYPE, "application/octet-stream").body(bytes)).await?.bytes().await?;
    Ok(json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size }))
}

async fn push_image(
    client: &Client,
    registry: &Registry,
    name: &str,
    tag: &str,
    layers: &[Bytes],
) -> Result<(), Error> {
    let mut descriptors = Vec::new();
    for layer in layers {
        descriptors.push(push_blob(client, registry, name, layer.clone()).await?);
    }
    let ids: Vec<_> = descriptors.iter().map(|layer| layer["digest"].clone()).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let mut config = push_blob(client, registry, name, config.to_string().into()).await?;
    config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors });
    let put = registry.request(client, Method::PUT, &format!("/v2/{name}/manifests/{tag}"));
    accepted(put.header(header::CONTENT_TYPE, MANIFEST).body(manifest.to_string())).await?.bytes().await?;
    Ok(())
}
