//! A thread for whoever holds SQLite's one writer.
//!
//! Between two statements a writing transaction waits to be polled. Among requests, on a busy server, that
//! takes longer than the statements do, and all other writers wait as well. Here it is polled at once.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinHandle,
};

use crate::{Db, db::Backend};

/// The thread; it ends, with what still runs on it, when this is dropped.
pub(crate) struct Beside {
    handle: Handle,
    _ends_when_dropped: oneshot::Sender<()>,
}

impl Beside {
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (sender, dropped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("beside-writer".into()).spawn(move || {
            // An error is the news that the sender is gone.
            let _ = runtime.block_on(dropped);
        })?;
        Ok(Self { handle, _ends_when_dropped: sender })
    }
}

impl Db {
    /// Runs a writing transaction where it is polled without delay: on SQLite beside the writer's thread,
    /// on PostgreSQL, where writers do not exclude each other, right here. It must not do anything else
    /// that takes time. Dropping the future stops the work as it would anywhere.
    ///
    /// # Panics
    /// When `work` panics.
    pub async fn beside_writer<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        match self.backend() {
            Backend::Postgres(_) => work.await,
            Backend::Sqlite { beside, .. } => match Spawned(beside.handle.spawn(work)).await {
                Ok(done) => done,
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The database was dropped, and with it its thread: so was whoever waits.
                    Err(_) => std::future::pending().await,
                },
            },
        }
    }
}

/// A task that ends with whoever waits for it.
struct Spawned<T>(JoinHandle<T>);

impl<T> Future for Spawned<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Spawned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
