//! The services that `benches/services/with-services.sh` starts around a run.

use tokio::process::Command;

use crate::{Error, process};

/// PostgreSQL, Redis and S3.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    /// URL of an administrative database.
    postgres: String,
    redis: String,
    s3: String,
}

impl Services {
    /// `None` when the run is not wrapped in `with-services.sh`.
    pub(crate) fn from_environment() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        Some(Self {
            postgres: variable("PUBLARYN_TEST_POSTGRES")?,
            redis: variable("PUBLARYN_TEST_REDIS")?,
            s3: variable("PUBLARYN_TEST_S3")?,
        })
    }

    /// The URL of a new, empty database.
    pub(crate) async fn database(&self) -> Result<String, Error> {
        let name = format!("publaryn_bench_{:08x}", rand::random::<u32>());
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", &self.postgres, "--command", &format!("CREATE DATABASE {name}")]);
        process::output(&mut psql).await?;
        let (server, _) = self.postgres.rsplit_once('/').ok_or("PUBLARYN_TEST_POSTGRES names no database")?;
        Ok(format!("{server}/{name}"))
    }

    /// The settings of a server that stands on these services alone, with a new database and an unused bucket prefix.
    pub(crate) async fn settings(&self) -> Result<Vec<(&'static str, String)>, Error> {
        let mut s3 = self.s3.splitn(3, ',').map(str::to_owned);
        let mut part = || s3.next().ok_or("PUBLARYN_TEST_S3 is not ENDPOINT,ACCESS,SECRET");
        Ok(vec![
            ("database.url", self.database().await?),
            ("redis.url", self.redis.clone()),
            ("storage.backend", "s3".to_owned()),
            ("storage.s3.endpoint", part()?),
            ("storage.s3.access_key", part()?),
            ("storage.s3.secret_key", part()?),
            ("storage.s3.bucket", "publaryn-test".to_owned()),
            ("storage.s3.prefix", format!("bench-{:08x}", rand::random::<u32>())),
        ])
    }
}
