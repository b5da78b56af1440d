//! `Idempotency-Key` (control-plane.md §1.5): a POST that is sent again gets the answer of the first.
//!
//! The key is claimed in the database before the handler runs, so two requests with one key never both
//! run, on whichever replica they arrive. The handler then runs to its end even when its client goes
//! away, and its answer is kept for 24 hours. A process that dies in between leaves a claim without an
//! answer; after [`LEASE`] the next request with that key takes it over and runs.

use std::time::Duration;

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use publaryn_core::{Principal, RegistryError, Timestamp};
use publaryn_metadata::{
    Db,
    idempotency::{Claim, ClaimedKey, IdempotencyKey, KeptAnswer},
};
use sha2::{Digest, Sha256};

use super::{
    ApiState,
    context::RequestId,
    extract::{Body as Unread, Caller},
    problem::{self, Problem},
};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY_BYTES: usize = 128;

/// For how long a key means the same request.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// A claim without an answer older than this was left by a process that died: no request lives longer
/// (`?wait=` ends after 60 seconds).
const LEASE: Duration = Duration::from_secs(150);

/// Runs the request, or answers it as it was answered before.
pub(super) async fn run(state: &ApiState, caller: &Caller, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(given) = request.headers().get(KEY).cloned() else { return Ok(next.run(request).await) };
    let key = key_of(&given)?;
    let (parts, body) = request.into_parts();
    let bytes = Unread::new(parts.headers.clone(), body, state.settings.json_body_bytes).bytes().await?;
    let key = IdempotencyKey {
        key_hash: digest(&[
            actor(&caller.0).as_bytes(),
            parts.method.as_str().as_bytes(),
            parts.uri.path().as_bytes(),
            key.as_bytes(),
        ]),
        body_hash: digest(&[&bytes]),
    };
    let db = state.identity.db().clone();
    let now = Timestamp::now();
    let mut tx = db.begin().await.map_err(RegistryError::from)?;
    let claim = tx.claim_idempotency_key(&key, now, now - KEPT_FOR, now - LEASE).await.map_err(RegistryError::from)?;
    tx.commit().await.map_err(RegistryError::from)?;
    let claimed = match claim {
        Claim::Ours(claimed) => claimed,
        Claim::Answered(answer) => return Ok(replay(answer)),
        Claim::Running => {
            let text = "a request with this Idempotency-Key is still running";
            return Err(Problem::new(StatusCode::CONFLICT, "idempotency_in_progress", text));
        }
        Claim::OtherBody => {
            let text = "this Idempotency-Key was used with another body";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", text));
        }
    };
    let id = parts.extensions.get::<RequestId>().cloned();
    let request = Request::from_parts(parts, Body::from(bytes));
    // A client that goes away must not leave half an exchange behind.
    let running = tokio::spawn(async move {
        let response = next.run(request).await;
        let response = match &id {
            Some(id) => problem::stamp(response, id),
            None => response,
        };
        keep(&db, claimed, response).await
    });
    match running.await {
        Ok(outcome) => Ok(outcome?),
        // The claim stays until its lease ends: nobody knows how far the handler came.
        Err(_) => Err(RegistryError::internal("a handler panicked").into()),
    }
}

/// 1 to 128 visible ASCII characters.
fn key_of(given: &HeaderValue) -> Result<&str, Problem> {
    let is_key = |text: &&str| (1..=MAX_KEY_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let text = given.to_str().ok().filter(is_key);
    text.ok_or_else(|| Problem::bad_parameter("Idempotency-Key", "must be 1 to 128 visible ASCII characters"))
}

/// Stores the answer, or frees the key where the contract keeps none: server faults and throttling.
async fn keep(db: &Db, claimed: ClaimedKey, response: Response) -> Result<Response, RegistryError> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map_err(RegistryError::internal)?.to_bytes();
    let mut tx = db.begin().await?;
    if parts.status.is_server_error() || parts.status == StatusCode::TOO_MANY_REQUESTS {
        tx.free_idempotency_key(claimed).await?;
    } else {
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let answer = KeptAnswer {
            status: i64::from(parts.status.as_u16()),
            content_type: content_type.map(str::to_owned),
            body: bytes.to_vec(),
        };
        tx.keep_idempotent_answer(claimed, &answer).await?;
    }
    tx.commit().await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn replay(answer: KeptAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    let status = u16::try_from(answer.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    if let Some(value) = answer.content_type.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Whose keys these are: a person's whatever credential they use, else the token's own.
fn actor(who: &Principal) -> String {
    match (who.acting_user(), who.token()) {
        (Some(user), _) => format!("user {user}"),
        (None, Some(token)) => format!("token {token}"),
        (None, None) => "nobody".to_owned(),
    }
}

/// SHA-256 over the parts, each preceded by its length, so that no two splits collide.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
