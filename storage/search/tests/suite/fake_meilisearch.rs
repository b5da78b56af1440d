//! A small Meilisearch: the routes the client uses, with the answers, refusals and asynchronous
//! tasks of the real one (<https://www.meilisearch.com/docs/reference/api>).
//!
//! Strict where it matters for the client: unknown indexes, attributes that settings did not make
//! filterable or sortable, missing keys and documents without id are refused as the real server
//! does. Its ranking is a sketch, so relevance is not tested against it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use serde_json::{Map, Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

pub const KEY: &str = "test-key-0123456789";
const TIME: &str = "2026-01-01T00:00:00Z";

/// A running server; stops when dropped.
pub struct FakeMeilisearch {
    pub url: url::Url,
    state: Shared,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Server {
    indexes: BTreeMap<String, IndexState>,
    tasks: Vec<Value>,
    fail_tasks: bool,
    is_down: bool,
    queue: Option<mpsc::UnboundedSender<(usize, Work)>>,
}

#[derive(Default)]
struct IndexState {
    settings: Map<String, Value>,
    documents: BTreeMap<String, Value>,
}

type Shared = Arc<Mutex<Server>>;
type Work = Box<dyn FnOnce(&mut Server) -> Result<(), Value> + Send>;

impl FakeMeilisearch {
    pub async fn start() -> Self {
        let (queue, mut queued) = mpsc::unbounded_channel::<(usize, Work)>();
        let state = Shared::default();
        state.lock().unwrap().queue = Some(queue);
        let worker = tokio::spawn({
            let state = state.clone();
            async move {
                while let Some((id, work)) = queued.recv().await {
                    if let Some(task) = state.lock().unwrap().tasks.get_mut(id) {
                        task["status"] = json!("processing");
                        task["startedAt"] = json!(TIME);
                    }
                    tokio::task::yield_now().await;
                    let mut server = state.lock().unwrap();
                    let outcome = if server.fail_tasks {
                        Err(error("internal_error", "internal", "disk is full"))
                    } else {
                        work(&mut server)
                    };
                    let task = &mut server.tasks[id];
                    task["duration"] = json!("PT0.01S");
                    task["finishedAt"] = json!(TIME);
                    match outcome {
                        Ok(()) => task["status"] = json!("succeeded"),
                        Err(error) => {
                            task["status"] = json!("failed");
                            task["error"] = error;
                        }
                    }
                }
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let app = routes(state.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, state, tasks: vec![worker, server] }
    }

    pub fn fail_tasks(&self, fail: bool) {
        self.state.lock().unwrap().fail_tasks = fail;
    }
    pub fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }
    pub fn drop_index(&self, uid: &str) {
        self.state.lock().unwrap().indexes.remove(uid).expect("the index exists");
    }
    pub fn indexes(&self) -> Vec<String> {
        self.state.lock().unwrap().indexes.keys().cloned().collect()
    }
    pub fn settings(&self, uid: &str) -> Value {
        Value::Object(self.state.lock().unwrap().indexes[uid].settings.clone())
    }
}

impl Drop for FakeMeilisearch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn routes(state: Shared) -> Router {
    let protected = Router::new()
        .route("/indexes", post(create_index))
        .route("/indexes/{uid}", get(get_index))
        .route("/indexes/{uid}/settings", patch(update_settings))
        .route("/indexes/{uid}/documents", post(add_documents).delete(delete_all))
        .route("/indexes/{uid}/documents/{id}", get(get_document))
        .route("/indexes/{uid}/documents/fetch", post(fetch_documents))
        .route("/indexes/{uid}/documents/delete-batch", post(delete_batch))
        .route("/indexes/{uid}/documents/delete", post(delete_by_filter))
        .route("/indexes/{uid}/search", post(search))
        .route("/tasks/{id}", get(get_task))
        .layer(middleware::from_fn(authenticate));
    Router::new()
        .route("/health", get(|| async { Json(json!({"status": "available"})) }))
        .merge(protected)
        .layer(middleware::from_fn_with_state(state.clone(), be_down))
        .with_state(state)
}

/// What a proxy in front of a stopped server answers.
async fn be_down(State(state): State<Shared>, request: Request, next: Next) -> Response {
    if lock(&state).is_down {
        return (StatusCode::BAD_GATEWAY, "<html>bad gateway</html>").into_response();
    }
    next.run(request).await
}

async fn authenticate(request: Request, next: Next) -> Response {
    match request.headers().get("authorization").and_then(|v| v.to_str().ok()) {
        Some(value) if value == format!("Bearer {KEY}") => next.run(request).await,
        Some(_) => refuse(403, "invalid_api_key", "auth", "The provided API key is invalid."),
        None => refuse(401, "missing_authorization_header", "auth", "The Authorization header is missing."),
    }
}

fn error(code: &str, kind: &str, message: &str) -> Value {
    json!({"message": message, "code": code, "type": kind, "link": format!("https://docs.meilisearch.com/errors#{code}")})
}

fn refuse(status: u16, code: &str, kind: &str, message: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(error(code, kind, message))).into_response()
}

fn no_index(uid: &str) -> Value {
    error("index_not_found", "invalid_request", &format!("Index `{uid}` not found."))
}

fn lock(state: &Shared) -> MutexGuard<'_, Server> {
    state.lock().unwrap()
}

fn enqueue(
    state: &Shared,
    uid: &str,
    kind: &str,
    work: impl FnOnce(&mut Server) -> Result<(), Value> + Send + 'static,
) -> Response {
    let mut server = lock(state);
    let id = server.tasks.len();
    let task =
        json!({"uid": id, "indexUid": uid, "status": "enqueued", "type": kind, "details": null, "enqueuedAt": TIME});
    server.tasks.push(task);
    server.queue.as_ref().unwrap().send((id, Box::new(work))).unwrap_or_else(|_| panic!("worker gone"));
    let summary = json!({"taskUid": id, "indexUid": uid, "status": "enqueued", "type": kind, "enqueuedAt": TIME});
    (StatusCode::ACCEPTED, Json(summary)).into_response()
}

async fn create_index(State(state): State<Shared>, Json(body): Json<Value>) -> Response {
    let uid = body["uid"].as_str().unwrap().to_owned();
    assert_eq!(body["primaryKey"], "id");
    enqueue(&state, &uid.clone(), "indexCreation", move |server| {
        if server.indexes.contains_key(&uid) {
            return Err(error("index_already_exists", "invalid_request", &format!("Index `{uid}` already exists.")));
        }
        server.indexes.insert(uid, IndexState::default());
        Ok(())
    })
}

async fn get_index(State(state): State<Shared>, Path(uid): Path<String>) -> Response {
    if lock(&state).indexes.contains_key(&uid) {
        Json(json!({"uid": uid, "createdAt": TIME, "updatedAt": TIME, "primaryKey": "id"})).into_response()
    } else {
        (StatusCode::NOT_FOUND, Json(no_index(&uid))).into_response()
    }
}

async fn get_task(State(state): State<Shared>, Path(id): Path<usize>) -> Response {
    match lock(&state).tasks.get(id) {
        Some(task) => Json(task.clone()).into_response(),
        None => refuse(404, "task_not_found", "invalid_request", "Task not found."),
    }
}

async fn update_settings(
    State(state): State<Shared>,
    Path(uid): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> Response {
    enqueue(&state, &uid.clone(), "settingsUpdate", move |server| {
        server.indexes.entry(uid).or_default().settings.extend(body);
        Ok(())
    })
}

async fn add_documents(
    State(state): State<Shared>,
    Path(uid): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    Json(body): Json<Vec<Value>>,
) -> Response {
    assert_eq!(query.get("primaryKey").map(String::as_str), Some("id"));
    enqueue(&state, &uid.clone(), "documentAdditionOrUpdate", move |server| {
        let index = server.indexes.entry(uid).or_default();
        for document in body {
            let id = document["id"].as_str().filter(|id| {
                !id.is_empty()
                    && id.len() <= 511
                    && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            });
            let Some(id) = id.map(str::to_owned) else {
                return Err(error("invalid_document_id", "invalid_request", "Document identifier is invalid."));
            };
            index.documents.insert(id, document);
        }
        Ok(())
    })
}

fn in_existing(
    state: &Shared,
    uid: String,
    work: impl FnOnce(&mut IndexState) -> Result<(), Value> + Send + 'static,
) -> Response {
    enqueue(state, &uid.clone(), "documentDeletion", move |server| {
        let index = server.indexes.get_mut(&uid).ok_or_else(|| no_index(&uid))?;
        work(index)
    })
}

async fn delete_all(State(state): State<Shared>, Path(uid): Path<String>) -> Response {
    in_existing(&state, uid, |index| {
        index.documents.clear();
        Ok(())
    })
}

async fn delete_batch(State(state): State<Shared>, Path(uid): Path<String>, Json(ids): Json<Vec<String>>) -> Response {
    in_existing(&state, uid, move |index| {
        index.documents.retain(|id, _| !ids.contains(id));
        Ok(())
    })
}

async fn delete_by_filter(State(state): State<Shared>, Path(uid): Path<String>, Json(body): Json<Value>) -> Response {
    in_existing(&state, uid, move |index| {
        let filter = Filter::parse(body["filter"].as_str().unwrap(), index)?;
        index.documents.retain(|_, document| !filter.holds(document));
        Ok(())
    })
}

async fn get_document(State(state): State<Shared>, Path((uid, id)): Path<(String, String)>) -> Response {
    let server = lock(&state);
    let Some(index) = server.indexes.get(&uid) else {
        return (StatusCode::NOT_FOUND, Json(no_index(&uid))).into_response();
    };
    match index.documents.get(&id) {
        Some(document) => Json(document.clone()).into_response(),
        None => refuse(404, "document_not_found", "invalid_request", &format!("Document `{id}` not found.")),
    }
}

async fn fetch_documents(State(state): State<Shared>, Path(uid): Path<String>, Json(body): Json<Value>) -> Response {
    let server = lock(&state);
    let Some(index) = server.indexes.get(&uid) else {
        return (StatusCode::NOT_FOUND, Json(no_index(&uid))).into_response();
    };
    let filter = match Filter::parse(body["filter"].as_str().unwrap(), index) {
        Ok(filter) => filter,
        Err(error) => return (StatusCode::BAD_REQUEST, Json(error)).into_response(),
    };
    let all: Vec<Value> = index.documents.values().filter(|d| filter.holds(d)).cloned().collect();
    let limit = body["limit"].as_u64().unwrap_or(20) as usize;
    let results: Vec<&Value> = all.iter().take(limit).collect();
    Json(json!({"results": results, "offset": 0, "limit": limit, "total": all.len()})).into_response()
}

async fn search(State(state): State<Shared>, Path(uid): Path<String>, Json(body): Json<Value>) -> Response {
    let server = lock(&state);
    let Some(index) = server.indexes.get(&uid) else {
        return (StatusCode::NOT_FOUND, Json(no_index(&uid))).into_response();
    };
    match index.search(&body) {
        Ok(found) => Json(found).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, Json(error)).into_response(),
    }
}

impl IndexState {
    fn names(&self, setting: &str) -> Vec<&str> {
        self.settings.get(setting).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn search(&self, body: &Value) -> Result<Value, Value> {
        let filter = Filter::parse(body["filter"].as_str().unwrap_or_default(), self)?;
        assert_eq!(body["matchingStrategy"], "all");
        let text = body["q"].as_str().unwrap_or_default().to_owned();
        let words = words(&text);
        let mut found: Vec<(&Value, f64)> = self
            .documents
            .values()
            .filter(|document| filter.holds(document))
            .filter_map(|document| Some((document, self.rank(document, &words)?)))
            .collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        for rule in body["sort"].as_array().into_iter().flatten().filter_map(Value::as_str).rev() {
            let (field, direction) = rule.split_once(':').unwrap();
            if !self.names("sortableAttributes").contains(&field) {
                return Err(error("invalid_search_sort", "invalid_request", &format!("`{field}` is not sortable.")));
            }
            found.sort_by(|a, b| {
                let order = compare(&a.0[field], &b.0[field]);
                if direction == "desc" { order.reverse() } else { order }
            });
        }
        let most = self.settings["pagination"]["maxTotalHits"].as_u64().unwrap_or(1_000) as usize;
        found.truncate(most);
        let (offset, limit) = (number(&body["offset"], 0), number(&body["limit"], 20));
        let wanted: Vec<&str> =
            body["attributesToRetrieve"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let hits: Vec<Value> = found
            .iter()
            .skip(offset)
            .take(limit)
            .map(|(document, rank)| {
                let mut hit: Map<String, Value> =
                    wanted.iter().map(|f| ((*f).to_owned(), document[*f].clone())).collect();
                hit.insert("_rankingScore".into(), json!(rank));
                Value::Object(hit)
            })
            .collect();
        Ok(json!({"hits": hits, "query": text, "processingTimeMs": 1, "offset": offset, "limit": limit,
            "estimatedTotalHits": found.len()}))
    }

    /// All words in searchable attributes, the last one as a prefix; earlier attributes are better.
    fn rank(&self, document: &Value, words: &[String]) -> Option<f64> {
        let searchable = self.names("searchableAttributes");
        let mut rank = 1.0;
        for (i, word) in words.iter().enumerate() {
            let is_last = i + 1 == words.len();
            let best = searchable.iter().position(|field| {
                texts(&document[*field])
                    .any(|t| self::words(t).iter().any(|w| w == word || is_last && w.starts_with(word.as_str())))
            })?;
            rank = f64::min(rank, 1.0 / (best + 1) as f64);
        }
        Some(rank)
    }
}

fn number(value: &Value, default: usize) -> usize {
    value.as_u64().map_or(default, |n| n as usize)
}

fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().unwrap().total_cmp(&b.as_f64().unwrap()),
        _ => a.as_str().cmp(&b.as_str()),
    }
}

fn texts(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::Array(list) => Box::new(list.iter().filter_map(Value::as_str)),
        other => Box::new(other.as_str().into_iter()),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
}

/// `a = "x" AND b IN ["y", "z"] AND c < 5`: the part of the filter language the client writes.
struct Filter(Vec<(String, Condition)>);

enum Condition {
    AnyOf(Vec<String>),
    Below(i64),
}

impl Filter {
    fn parse(text: &str, index: &IndexState) -> Result<Self, Value> {
        let bad = |why: String| error("invalid_search_filter", "invalid_request", &why);
        let mut conditions = Vec::new();
        for clause in text.split(" AND ").filter(|c| !c.is_empty()) {
            let mut parts = clause.splitn(3, ' ');
            let (Some(field), Some(operator), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(bad(format!("`{clause}` is not a condition")));
            };
            if !index.names("filterableAttributes").contains(&field) {
                return Err(bad(format!("Attribute `{field}` is not filterable.")));
            }
            let condition = match operator {
                "=" => Condition::AnyOf(vec![unquote(value).ok_or_else(|| bad(format!("bad value {value}")))?]),
                "<" => Condition::Below(value.parse().map_err(|_| bad(format!("{value} is not a number")))?),
                "IN" => {
                    let list = value.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
                    let list = list.ok_or_else(|| bad(format!("{value} is not a list")))?;
                    let values: Option<Vec<String>> = list.split(", ").map(unquote).collect();
                    Condition::AnyOf(values.ok_or_else(|| bad(format!("bad list {value}")))?)
                }
                other => return Err(bad(format!("unknown operator {other}"))),
            };
            conditions.push((field.to_owned(), condition));
        }
        Ok(Self(conditions))
    }

    fn holds(&self, document: &Value) -> bool {
        self.0.iter().all(|(field, condition)| {
            let value = &document[field.as_str()];
            match condition {
                Condition::Below(limit) => value.as_i64().is_some_and(|v| v < *limit),
                Condition::AnyOf(wanted) => match value {
                    Value::Bool(b) => wanted.contains(&b.to_string()),
                    other => texts(other).any(|t| wanted.iter().any(|w| w.eq_ignore_ascii_case(t))),
                },
            }
        })
    }
}

fn unquote(value: &str) -> Option<String> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').filter(|v| !v.contains('"')).map(str::to_owned),
        None => value.chars().all(|c| c.is_ascii_alphanumeric()).then(|| value.to_owned()),
    }
}
