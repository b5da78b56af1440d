//! Publishing: every version is on disk, scanned and installable before its client is answered.

use std::time::Duration;

use super::servers;
use crate::{
    Error, Plan,
    contender::{Backend, Registry, Verdaccio},
    http,
    publisher::{Published, Work},
    report::{Row, Target},
    statistics::{Sample, percentile},
};

/// Clients at once, versions each of them publishes per turn, and how much faster than verdaccio we want to be.
const LOADS: [(u32, u32, f64); 2] = [(8, 40, 3.0), (64, 8, 5.0)];
/// Slowest answer, per hundred, with the first load, in milliseconds.
const P99_MS: f64 = 250.0;

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Row>, Error> {
    let mut contenders = Vec::new();
    let servers = servers(plan, "publish").await?;
    for (_, server) in &servers {
        contenders.push(server.account().await?.npm());
    }
    let verdaccio = Verdaccio::start(&plan.tools, &plan.scratch.join("publish-verdaccio")).await?;
    contenders.push(verdaccio.npm.clone());
    for contender in &contenders {
        // Scanner processes, statement caches, compiled JavaScript.
        turn(contender, "warm", 8, 5).await?;
    }
    let mut rows = Vec::new();
    for (clients, versions, factor) in LOADS {
        let mut turns: Vec<Vec<Published>> = vec![Vec::new(); contenders.len()];
        for round in 0..plan.rounds {
            for (contender, turns) in contenders.iter().zip(&mut turns) {
                turns.push(turn(contender, &format!("load{clients}-{round}"), clients, versions).await?);
            }
        }
        let rate = |turns: &[Published]| Sample::of(turns.iter().map(|t| t.per_second).collect());
        let p99 = |turns: &[Published]| Sample::of(turns.iter().map(Published::p99_ms).collect());
        let theirs = &turns[servers.len()];
        for ((backend, _), ours) in servers.iter().zip(&turns) {
            let what = format!("new version, {clients} clients");
            let row = Row::new(what.clone(), backend.name(), "publishes/s", rate(ours));
            let row = row.against("verdaccio", rate(theirs));
            let tail =
                Row::new(format!("{what}, p99"), backend.name(), "ms", p99(ours)).against("verdaccio", p99(theirs));
            if matches!(backend, Backend::Embedded) {
                rows.push(row.wanting(Target::RatioAtLeast(factor)));
                rows.push(if clients == LOADS[0].0 { tail.wanting(Target::AtMost(P99_MS)) } else { tail });
            } else {
                rows.extend([row, tail]);
            }
        }
    }
    for ((backend, _), contender) in servers.iter().zip(&contenders) {
        rows.push(growth(plan, backend, contender).await?);
    }
    verdaccio.stop().await?;
    for (_, server) in servers {
        server.stop().await?;
    }
    Ok(rows)
}

/// One turn, with a look afterwards at whether what was answered is really there.
async fn turn(registry: &Registry, prefix: &str, clients: u32, versions: u32) -> Result<Published, Error> {
    let work = Work::own_packages(prefix, clients, 0..versions)?;
    let published = work.publish(registry).await?;
    let packument = http::fetch(&format!("{}/{prefix}-0", registry.base), &[]).await?;
    let packument: serde_json::Value = serde_json::from_slice(&packument)?;
    let live = packument["versions"].as_object().map_or(0, serde_json::Map::len);
    if live != versions as usize {
        return Err(format!("{prefix}-0 has {live} versions after {versions} were answered").into());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(published)
}

/// Versions measured per round at either age.
const SAMPLES: u32 = 20;
const YOUNG: u32 = 10;
const OLD: u32 = 1_000;

/// What version 1 000 costs beside version 10, one client at a time.
async fn growth(plan: &Plan, backend: &Backend, registry: &Registry) -> Result<Row, Error> {
    Work::one_package("old", 4, 0..OLD - SAMPLES * plan.rounds / 2)?.publish(registry).await?;
    let mut reached = OLD - SAMPLES * plan.rounds / 2;
    let (mut young, mut old) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let name = format!("young-{round}");
        Work::one_package(&name, 1, 0..YOUNG)?.publish(registry).await?;
        young.push(median_ms(registry, &name, YOUNG).await?);
        old.push(median_ms(registry, "old", reached).await?);
        reached += SAMPLES;
    }
    let row = Row::new("publishing version 1 000 of a package", backend.name(), "ms", Sample::of(old));
    Ok(row.against("version 10", Sample::of(young)).wanting(Target::RatioAtMost(1.5)))
}

async fn median_ms(registry: &Registry, name: &str, from: u32) -> Result<f64, Error> {
    let published = Work::one_package(name, 1, from..from + SAMPLES)?.publish(registry).await?;
    Ok(percentile(&published.latencies_ms, 0.5))
}
