//! Package heads: the authoritative "what is this package right now" behind every read.
//!
//! A read that starts after a change was answered must see it. The embedded server is the only
//! writer of its SQLite file, so it keeps heads in memory and every commit expires them before its
//! caller is answered. With PostgreSQL other replicas write too, so every read asks the database,
//! but reads that arrive together share one query.

use std::sync::Arc;

use publaryn_core::{Ecosystem, RegistryError};
use publaryn_metadata::{Db, Engine, packages::PackageHead};
use smol_str::SmolStr;
use tokio::sync::{mpsc, oneshot};

use crate::kept::Kept;

type Key = (Ecosystem, SmolStr);
type Found = Option<Arc<PackageHead>>;

/// Where heads come from; see the module.
pub(crate) enum Heads {
    Memory(Arc<MemoryHeads>),
    Shared(SharedReads),
}

impl Heads {
    pub(crate) fn new(db: &Db) -> Self {
        match db.engine() {
            Engine::Sqlite => {
                let memory = Arc::new(MemoryHeads { db: db.clone(), kept: Kept::new(KEPT_HEADS) });
                let hook = memory.clone();
                db.on_commit(move |notice| {
                    notice.packages.iter().for_each(|p| hook.kept.expire(p.ecosystem, &p.normalized_name));
                });
                Self::Memory(memory)
            }
            Engine::Postgres => Self::Shared(SharedReads::start(db.clone())),
        }
    }

    pub(crate) async fn get(&self, ecosystem: Ecosystem, normalized: &str) -> Result<Found, RegistryError> {
        match self {
            Self::Memory(memory) => memory.get(ecosystem, normalized).await,
            Self::Shared(shared) => shared.get(ecosystem, normalized).await,
        }
    }

    /// Forgets everything: another process wrote, or many packages changed at once.
    pub(crate) fn expire_all(&self) {
        if let Self::Memory(memory) = self {
            memory.kept.expire_all();
        }
    }
}

/// How many packages' heads are kept; each takes a few hundred bytes. Misses count too, because
/// clients ask for absent names all the time.
const KEPT_HEADS: u64 = 100_000;

pub(crate) struct MemoryHeads {
    db: Db,
    kept: Kept<Found>,
}

impl MemoryHeads {
    async fn get(&self, ecosystem: Ecosystem, normalized: &str) -> Result<Found, RegistryError> {
        let ask = async { Ok(self.db.package_head(ecosystem, normalized).await?.map(Arc::new)) };
        self.kept.get(ecosystem, normalized, ask).await
    }
}

type Question = (Key, oneshot::Sender<Result<Found, RegistryError>>);

/// Reads that wait behind the query in flight; a full queue makes further ones wait their turn.
const QUEUE: usize = 4096;
/// Names per query.
const BATCH: usize = 256;

/// Joins concurrent reads into one query. A question is only answered by a query that was sent
/// after it was asked, so the answer is never older than the question.
pub(crate) struct SharedReads {
    questions: mpsc::Sender<Question>,
}

impl SharedReads {
    fn start(db: Db) -> Self {
        let (questions, mut asked) = mpsc::channel::<Question>(QUEUE);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH);
            while asked.recv_many(&mut batch, BATCH).await > 0 {
                answer(&db, std::mem::take(&mut batch)).await;
            }
        });
        Self { questions }
    }

    async fn get(&self, ecosystem: Ecosystem, normalized: &str) -> Result<Found, RegistryError> {
        let (reply, answer) = oneshot::channel();
        let gone = || RegistryError::unavailable("the database", "the reader has stopped");
        self.questions.send(((ecosystem, normalized.into()), reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn answer(db: &Db, mut batch: Vec<Question>) {
    batch.sort_by(|a, b| a.0.cmp(&b.0));
    for group in batch.chunk_by_mut(|a, b| a.0.0 == b.0.0).map(|group| group.len()).collect::<Vec<_>>() {
        let questions: Vec<Question> = batch.drain(..group).collect();
        let ecosystem = questions[0].0.0;
        let mut names: Vec<&str> = questions.iter().map(|q| q.0.1.as_str()).collect();
        names.dedup();
        match db.package_heads(ecosystem, &names).await {
            Ok(heads) => {
                let heads: Vec<Arc<PackageHead>> = heads.into_iter().map(Arc::new).collect();
                for (key, reply) in questions {
                    let head = heads.iter().find(|h| h.normalized_name == key.1).cloned();
                    // A caller that went away needs no answer.
                    let _ = reply.send(Ok(head));
                }
            }
            Err(error) => {
                let text = error.to_string();
                for (_, reply) in questions {
                    let _ = reply.send(Err(RegistryError::unavailable("the database", text.clone())));
                }
            }
        }
    }
}
