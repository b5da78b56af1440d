//! The actor runtime of Publaryn: a supervision tree of named actors on top of ractor.
//!
//! ractor delivers supervision events; the strategies, restart limits, back-off, degradation and
//! introspection are ours (jobs.md §7). Nobody holds a reference to something restartable: callers
//! hold a [`Handle`] (one actor with a bounded mailbox) or a [`KeyedPool`] (a pool that orders the work
//! of one key), and both outlive any number of restarts.

mod context;
mod keyed_pool;
mod mailbox;
mod node;
mod panics;
mod slots;
mod snapshot;
mod spec;
mod supervisor;
mod tree;

pub use context::Context;
pub use keyed_pool::{CallError, KeyedPool, PoolKey, PoolOptions};
pub use mailbox::{AskError, CastError, Handle, Receive, Reply};
pub use node::NodeKind;
pub use panics::install_panic_hook;
pub use slots::{Crash, Slots};
pub use snapshot::{ActorSnapshot, FailureRecord, LastFailure, TreeSnapshot};
pub use spec::{ChildSpec, Limits, Restart, Strategy, SupervisorSpec};
pub use tree::{ActorEvent, ActorEventKind, NoSuchActor, Tree, TreeOptions};
