//! nginx on a directory: what reading the same bytes costs when nothing has to be decided.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{START_WITHIN, folder};
use crate::{
    Error,
    process::{Process, free_port},
};

/// A running nginx.
pub(crate) struct Nginx {
    process: Process,
    root: PathBuf,
    base: String,
}

impl Nginx {
    /// Serves `dir/www` with as many workers as this machine has cores.
    pub(crate) async fn start(dir: &Path) -> Result<Self, Error> {
        let root = dir.join("www");
        folder(&root)?;
        std::fs::write(root.join("up"), "yes")?;
        let port = free_port()?;
        let workers = std::thread::available_parallelism()?;
        // A root that drops its rights could not read a private scratch directory.
        let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
        let config = format!(
            "{user}
            worker_processes {workers};
            daemon off;
            pid {dir}/nginx.pid;
            error_log {dir}/nginx.error.log warn;
            events {{ worker_connections 4096; }}
            http {{
              access_log {dir}/nginx.access.log combined;
              default_type application/octet-stream;
              types {{ application/json json; application/vnd.npm.install-v1+json short; text/plain index; }}
              sendfile on;
              tcp_nopush on;
              tcp_nodelay on;
              keepalive_timeout 60;
              keepalive_requests 1000000000;
              gzip_static on;
              gzip_vary on;
              client_body_temp_path {dir}/nginx.body;
              proxy_temp_path {dir}/nginx.proxy;
              fastcgi_temp_path {dir}/nginx.fastcgi;
              uwsgi_temp_path {dir}/nginx.uwsgi;
              scgi_temp_path {dir}/nginx.scgi;
              server {{ listen 127.0.0.1:{port} backlog=1024; root {root}; }}
            }}",
            dir = dir.display(),
            root = root.display(),
        );
        let config_file = dir.join("nginx.conf");
        std::fs::write(&config_file, config)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&config_file).arg("-e").arg(dir.join("nginx.error.log"));
        let mut process = Process::start(command, dir.join("nginx.log"))?;
        let base = format!("http://127.0.0.1:{port}");
        process.wait_for(&format!("{base}/up"), START_WITHIN).await?;
        Ok(Self { process, root, base })
    }

    /// Puts a file under its root, with its compressed form beside it where there is one; its URL.
    pub(crate) fn put(&self, path: &str, plain: &[u8], gzip: Option<&[u8]>) -> Result<String, Error> {
        std::fs::write(self.root.join(path), plain)?;
        if let Some(gzip) = gzip {
            std::fs::write(self.root.join(format!("{path}.gz")), gzip)?;
        }
        Ok(format!("{}/{path}", self.base))
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.process.stop().await
    }
}
