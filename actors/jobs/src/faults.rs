//! Injected faults of handlers (jobs.md §9), for tests of the whole.

use std::time::Duration;

use publaryn_core::job::JobKind;
use serde::{Deserialize, Serialize};

use crate::{JobError, engine::Engine};

/// What goes wrong with the next runs of a kind; counts go down as they are used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HandlerFault {
    pub fail_times: u32,
    pub panic_times: u32,
    pub delay_ms: u64,
    /// Failures are permanent.
    pub permanent: bool,
}

impl Engine {
    /// Applies what was injected for `kind`.
    pub(crate) async fn suffer(&self, kind: JobKind) -> Result<(), JobError> {
        let Some(fault) = self.faults.get(&kind).map(|fault| fault.clone()) else { return Ok(()) };
        if fault.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        }
        let (mut panics, mut fails) = (false, false);
        self.faults.alter(&kind, |_, mut fault| {
            panics = fault.panic_times > 0;
            fails = !panics && fault.fail_times > 0;
            fault.panic_times -= u32::from(panics);
            fault.fail_times -= u32::from(fails);
            fault
        });
        assert!(!panics, "injected panic");
        match (fails, fault.permanent) {
            (false, _) => Ok(()),
            (true, false) => Err(JobError::retry("injected failure")),
            (true, true) => Err(JobError::permanent("injected failure")),
        }
    }
}
