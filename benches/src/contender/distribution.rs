//! The distribution registry (Debian's `docker-registry`) on its file system driver, open to everyone.

use std::path::Path;

use tokio::process::Command;

use super::{Registry, START_WITHIN, folder};
use crate::{
    Error,
    process::{Process, free_port},
};

/// A running distribution registry.
pub(crate) struct Distribution {
    process: Process,
    pub registry: Registry,
}

impl Distribution {
    pub(crate) async fn start(dir: &Path) -> Result<Self, Error> {
        let (dir, port) = (folder(dir)?, free_port()?);
        let config = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n",
            dir.join("data").display()
        );
        let file = dir.join("config.yml");
        std::fs::write(&file, config)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file);
        let mut process = Process::start(command, dir.join("log"))?;
        let base = format!("http://127.0.0.1:{port}");
        process.wait_for(&format!("{base}/v2/"), START_WITHIN).await?;
        Ok(Self { process, registry: Registry::open_to_all(base) })
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.process.stop().await
    }
}
