//! Which questions a task asks of the database, so that tests can hold one path against another.
//!
//! A question is known by its place in the source. Without the feature `testing` nothing is noted.

#[cfg(feature = "testing")]
tokio::task_local! {
    static ASKED: std::cell::RefCell<Vec<&'static str>>;
}

/// Runs `work`, and tells the questions that this task asked meanwhile; those of other tasks are not among them.
#[cfg(feature = "testing")]
pub async fn listening<T>(work: impl Future<Output = T>) -> (T, Vec<&'static str>) {
    let noted = async {
        let done = work.await;
        (done, ASKED.with(std::cell::RefCell::take))
    };
    ASKED.scope(std::cell::RefCell::default(), noted).await
}

#[inline]
pub(crate) fn note(_place: &'static str) {
    #[cfg(feature = "testing")]
    // Nobody listens to most tasks.
    let _ = ASKED.try_with(|asked| asked.borrow_mut().push(_place));
}
