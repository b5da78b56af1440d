//! `/v1/admin/queues*`, `schedules*`, `workers` and `actors`: the machinery as operators see and steer it
//! (jobs.md §5, §7).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{RegistryError, Scope, audit::AuditAction, job::JobKind};
use publaryn_metadata::jobs::{NodeRow, ScheduleRow};
use serde_json::{Value, json};

use super::{
    ApiState,
    extract::{Body, Caller, Origin, Path},
    page::Query,
    problem::Problem,
    route::{Routes, Spec, platform},
};

/// Levels of the tree that are shown unless asked otherwise, and the most of them.
const DEPTH: i64 = 3;
const MAX_DEPTH: i64 = 16;

fn steering(summary: &'static str, action: AuditAction) -> Spec {
    platform(Scope::AdminWrite, summary).optional_body("").answer(200, "kind JobKind, paused b").audit(action)
}

pub fn routes() -> Routes {
    Routes::new("operation")
        .get(
            "/admin/queues",
            queues,
            platform(Scope::AuditRead, "Every kind of job over all nodes; `concurrency` is that of the answering node")
                .answer(200, "queues [Queue]"),
        )
        .post(
            "/admin/queues/{kind}/pause",
            pause,
            steering("Stops the claiming of a kind on every node; running jobs finish", AuditAction::AdminQueuePause),
        )
        .post(
            "/admin/queues/{kind}/resume",
            resume,
            steering("Goes on with a kind that was paused", AuditAction::AdminQueueResume),
        )
        .get(
            "/admin/schedules",
            schedules,
            platform(Scope::AuditRead, "Recurring work, and the node that sees to it").answer(
                200,
                "leader {node_id s, since t}?, schedules [{name s, cron s, kind s, last_run_at t?, last_job_id u?, \
                 next_run_at t, enabled b}]",
            ),
        )
        .post(
            "/admin/schedules/{name}/run",
            run_schedule,
            platform(Scope::AdminWrite, "Enqueues the job of a schedule now")
                .optional_body("")
                .answer(202, "job_id u, inserted b")
                .audit(AuditAction::AdminScheduleRun),
        )
        .get(
            "/admin/workers",
            workers,
            platform(Scope::AuditRead, "Nodes, dead ones of the last days included").answer(200, "nodes [Node]"),
        )
        .get(
            "/admin/actors",
            actors,
            platform(Scope::AuditRead, "The supervision tree of the answering node")
                .notes("`name` shows a subtree only. Another node than the answering one is not found.")
                .query("name s?, depth i?=3, node s?")
                .answer(
                    200,
                    "node_id s, incarnation i, generated_at t, actors_total i, restarts_total i, degraded [s], \
                     tree Actor, recent_failures [{name s, at t, reason s, action s, delay_ms i}]",
                )
                .problem(404, "not_found")
                .problem(422, "validation_failed"),
        )
}

async fn queues(State(state): State<ApiState>, caller: Caller) -> Result<Response, Problem> {
    Ok(Json(json!({"queues": state.registry.queues(&caller.0).await?})).into_response())
}

async fn pause(
    State(state): State<ApiState>,
    caller: Caller,
    origin: Origin,
    Path(kind): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    steer(&state, &caller, &origin, &kind, body, true).await
}

async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    origin: Origin,
    Path(kind): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    steer(&state, &caller, &origin, &kind, body, false).await
}

async fn steer(
    state: &ApiState,
    caller: &Caller,
    origin: &Origin,
    kind: &str,
    body: Body,
    pause: bool,
) -> Result<Response, Problem> {
    body.optional_fields().await?.finish()?;
    let kind: JobKind = kind.parse().map_err(|_| Problem::not_found())?;
    state.registry.pause_queue(&caller.0, kind, pause, &origin.0).await?;
    Ok(Json(json!({"kind": kind, "paused": pause})).into_response())
}

async fn schedules(State(state): State<ApiState>, caller: Caller) -> Result<Response, Problem> {
    let (leader, rows) = state.registry.schedules(&caller.0).await?;
    let answer = json!({
        "leader": leader.map(|leader| json!({"node_id": leader.node_id, "since": leader.since})),
        "schedules": rows.iter().map(schedule).collect::<Vec<_>>(),
    });
    Ok(Json(answer).into_response())
}

fn schedule(row: &ScheduleRow) -> Value {
    json!({
        "name": row.name,
        "cron": row.cron,
        "kind": row.kind,
        "last_run_at": row.last_run_at,
        "last_job_id": row.last_job_id,
        "next_run_at": row.next_run_at,
        "enabled": row.is_enabled,
    })
}

async fn run_schedule(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    body.optional_fields().await?.finish()?;
    let enqueued = state.registry.run_schedule(&caller.0, &name, &origin).await?;
    let answer = json!({"job_id": enqueued.id, "inserted": enqueued.inserted});
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

async fn workers(State(state): State<ApiState>, caller: Caller) -> Result<Response, Problem> {
    let nodes = state.registry.nodes(&caller.0).await?;
    Ok(Json(json!({"nodes": nodes.iter().map(node).collect::<Vec<_>>()})).into_response())
}

/// **Node**.
pub fn node(row: &NodeRow) -> Value {
    json!({
        "node_id": row.node_id,
        "incarnation": row.incarnation,
        "version": row.version,
        "role": row.role,
        "leader": row.is_leader,
        "started_at": row.started_at,
        "heartbeat_at": row.heartbeat_at,
        "alive": row.is_alive,
        "draining": row.is_draining,
        "running_jobs": row.running_jobs,
        "kinds": serde_json::from_str::<Value>(&row.kinds).unwrap_or_else(|_| json!([])),
        "rss_bytes": row.rss_bytes,
        "cpu_count": row.cpu_count,
    })
}

async fn actors(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    state.registry.decide_platform(&caller.0, publaryn_core::Operation::PlatformRead)?;
    let depth = query.number("depth")?.unwrap_or(DEPTH).clamp(0, MAX_DEPTH).unsigned_abs();
    let tree = state.tree.get().ok_or_else(|| RegistryError::unavailable("actors", "the tree starts"))?;
    let (node_id, incarnation) = state.registry.own_node()?;
    if query.text("node").is_some_and(|wanted| wanted != node_id) {
        return Err(Problem::not_found());
    }
    let depth = usize::try_from(depth).unwrap_or_default();
    let snapshot = tree.snapshot(query.text("name"), depth).map_err(|_| Problem::not_found())?;
    let mut answer = serde_json::to_value(snapshot).map_err(RegistryError::internal)?;
    answer["node_id"] = json!(node_id);
    answer["incarnation"] = json!(incarnation);
    Ok(Json(answer).into_response())
}
