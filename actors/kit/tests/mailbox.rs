//! Bounded mailboxes: refusing, answering, surviving.

mod support;

use std::time::Duration;

use async_trait::async_trait;
use publaryn_actors::{
    AskError, CastError, Context, Handle, Receive, Reply, Strategy, SupervisorSpec, Tree, TreeOptions,
    install_panic_hook,
};
use publaryn_core::BoxError;
use serde_json::{Value, json};
use support::{find, until};
use tokio::sync::oneshot;

enum Message {
    Add(u64, Reply<u64>),
    Crash { _unanswered: Reply<u64> },
    Wait(oneshot::Receiver<()>),
    Ignore(Reply<u64>, oneshot::Sender<Reply<u64>>),
}

#[derive(Default)]
struct Counter {
    total: u64,
    ticks: u64,
}

#[async_trait]
impl Receive for Counter {
    type Message = Message;

    async fn receive(&mut self, message: Message, _: &Context) -> Result<(), BoxError> {
        match message {
            Message::Add(n, reply) => {
                self.total += n;
                reply.send(self.total);
            }
            Message::Crash { .. } => panic!("told to"),
            Message::Wait(until) => drop(until.await),
            Message::Ignore(reply, keep) => drop(keep.send(reply)),
        }
        Ok(())
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(Duration::from_millis(5))
    }

    async fn tick(&mut self, _: &Context) -> Result<(), BoxError> {
        self.ticks += 1;
        Ok(())
    }

    fn observe(&self) -> Value {
        json!({"total": self.total, "ticks": self.ticks})
    }
}

async fn counter(capacity: usize) -> (Tree, Handle<Message>) {
    install_panic_hook();
    let (child, handle) = Handle::new("counter", capacity, Counter::default);
    let root = SupervisorSpec::root(&[]).child(SupervisorSpec::new("auth", Strategy::OneForOne).child(child));
    (Tree::start(root, TreeOptions::default()).await, handle)
}

const SECOND: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn answers_ticks_and_reports() {
    let (tree, handle) = counter(8).await;
    assert_eq!(handle.ask(SECOND, |r| Message::Add(2, r)).await, Ok(2));
    assert_eq!(handle.ask(SECOND, |r| Message::Add(3, r)).await, Ok(5));
    until("ticks", || find(&tree, "root/auth/counter").state["ticks"].as_u64() > Some(1)).await;
    let seen = find(&tree, "root/auth/counter");
    assert_eq!(seen.state["total"], 5);
    until("both are counted", || find(&tree, "root/auth/counter").messages_processed_total == 2).await;
    assert_eq!(seen.mailbox_capacity, 8);
    assert!(seen.last_message_at.is_some() && seen.mailbox_high_water >= 1);
    tree.stop(SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_mailbox_refuses_and_is_processed_later() {
    let (tree, handle) = counter(2).await;
    let (release, wait) = oneshot::channel();
    handle.cast(Message::Wait(wait)).unwrap();
    until("in hand", || handle.depth() == 0).await;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.ask(SECOND, |r| Message::Add(1, r)).await })
        })
        .collect();
    until("full", || handle.depth() == 2).await;
    assert_eq!(handle.ask(SECOND, |r| Message::Add(9, r)).await, Err(AskError::Refused));
    until("shown as stale", || find(&tree, "root/auth/counter").stale).await;
    release.send(()).unwrap();
    for task in waiting {
        assert!(task.await.unwrap().is_ok());
    }
    assert_eq!(handle.ask(SECOND, |r| Message::Add(0, r)).await, Ok(2));
    tree.stop(SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_survives_the_panic_of_its_actor() {
    let (tree, handle) = counter(16).await;
    let (release, wait) = oneshot::channel();
    handle.cast(Message::Wait(wait)).unwrap();
    until("in hand", || handle.depth() == 0).await;
    let crash = tokio::spawn({
        let handle = handle.clone();
        async move { handle.ask(SECOND, |reply| Message::Crash { _unanswered: reply }).await }
    });
    until("crash is queued", || handle.depth() == 1).await;
    let behind: Vec<_> = (0..5)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.ask(SECOND, |r| Message::Add(1, r)).await })
        })
        .collect();
    until("five behind it", || handle.depth() == 6).await;
    release.send(()).unwrap();
    assert_eq!(crash.await.unwrap(), Err(AskError::Crashed));
    let mut answers = Vec::new();
    for task in behind {
        answers.push(task.await.unwrap().unwrap());
    }
    answers.sort_unstable();
    assert_eq!(answers, [1, 2, 3, 4, 5], "state is fresh, queue is whole");
    assert_eq!(find(&tree, "root/auth/counter").restarts_total, 1);
    tree.stop(SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ask_never_hangs() {
    let (tree, handle) = counter(4).await;
    let (keep, kept) = oneshot::channel();
    let ask = handle.ask(Duration::from_millis(20), |reply| Message::Ignore(reply, keep));
    assert_eq!(ask.await, Err(AskError::Timeout), "an actor that forgets to answer");
    drop(kept);

    let (_release, wait) = oneshot::channel();
    handle.cast(Message::Wait(wait)).unwrap();
    until("in hand", || handle.depth() == 0).await;
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.ask(SECOND, |r| Message::Add(1, r)).await }
    });
    until("queued", || handle.depth() == 1).await;
    tree.stop(Duration::from_millis(50)).await;
    assert_eq!(waiting.await.unwrap(), Err(AskError::Stopped), "a tree that stops");
    assert_eq!(handle.ask(SECOND, |r| Message::Add(1, r)).await, Err(AskError::Stopped));
    let (_, wait) = oneshot::channel();
    assert_eq!(handle.cast(Message::Wait(wait)), Err(CastError::Stopped));
}

#[tokio::test(flavor = "multi_thread")]
async fn orderly_stop_finishes_what_was_accepted() {
    let (tree, handle) = counter(16).await;
    let (release, wait) = oneshot::channel();
    handle.cast(Message::Wait(wait)).unwrap();
    until("in hand", || handle.depth() == 0).await;
    let last = tokio::spawn({
        let handle = handle.clone();
        async move { handle.ask(SECOND, |r| Message::Add(7, r)).await }
    });
    until("queued", || handle.depth() == 1).await;
    let stopping = tokio::spawn({
        let tree = tree.clone();
        async move { tree.stop(SECOND).await }
    });
    until("stopping", || !tree.is_up()).await;
    release.send(()).unwrap();
    stopping.await.unwrap();
    assert_eq!(last.await.unwrap(), Ok(7));
}
