//! Panics of actors as values: caught, located and described once.

use std::{any::Any, cell::RefCell, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;

tokio::task_local! {
    static INSIDE: Box<str>;
}

thread_local! {
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `future` as the actor `name`; a panic becomes `Err` with its message (and place, see below).
pub(crate) async fn caught<F: Future>(name: &str, future: F) -> Result<F::Output, String> {
    // A panic unwinds through `poll` on this thread, so the hook's note is read on the same thread.
    INSIDE.scope(name.into(), AssertUnwindSafe(future).catch_unwind()).await.map_err(|payload| describe(&*payload))
}

/// Keeps panics of actors out of standard error: their supervisor logs each once, with its place.
///
/// Other panics go to the hook that was installed before. Call once, early in `main`.
pub fn install_panic_hook() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if INSIDE.try_with(|_| ()).is_ok() {
            let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
            LOCATION.with(|cell| *cell.borrow_mut() = place);
        } else {
            previous(info);
        }
    }));
}

fn describe(payload: &(dyn Any + Send)) -> String {
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned());
    match LOCATION.with(|cell| cell.borrow_mut().take()) {
        Some(place) => format!("panic: {message} ({place})"),
        None => format!("panic: {message}"),
    }
}
