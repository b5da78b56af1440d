//! `publaryn migrate`: bring the schema up to date, or tell whether it is.

use publaryn_config::{Config, DataDir};
use publaryn_metadata::{Db, MigrationStatus};

use crate::{
    cli::{CommonArgs, MigrateArgs},
    configuration, database,
    exit::{Exit, Failure},
};

pub fn run(common: &CommonArgs, args: &MigrateArgs) -> Result<Exit, Failure> {
    let config = configuration::load(common, Vec::new())?;
    configuration::block_on(migrate(&config, args))
}

async fn migrate(config: &Config, args: &MigrateArgs) -> Result<Exit, Failure> {
    let only_looks = args.check || args.dry_run;
    if only_looks && config.is_embedded() && database::require_file(config).is_err() {
        println!("there is no database yet; the first start or migration creates it");
        return Ok(if args.check { Exit::PendingMigrations } else { Exit::Success });
    }
    if config.is_embedded() {
        DataDir::create(&config.data_dir)?;
    }
    let db = database::connect(config).await?;
    let result = on(&db, args, only_looks).await;
    db.close().await;
    result
}

async fn on(db: &Db, args: &MigrateArgs, only_looks: bool) -> Result<Exit, Failure> {
    let status = status_of(db).await?;
    if status.is_newer {
        let newest = status.applied.iter().max().copied().unwrap_or_default();
        let message = format!("the database has migration {newest}, which this version of publaryn does not know");
        return Err(Failure::new(Exit::Failed, message));
    }
    if status.pending.is_empty() {
        println!("the schema is current ({} migrations)", status.applied.len());
        return Ok(Exit::Success);
    }
    for (version, name) in &status.pending {
        println!("{} {version:04} {name}", if only_looks { "pending" } else { "applying" });
    }
    if only_looks {
        return Ok(if args.check { Exit::PendingMigrations } else { Exit::Success });
    }
    db.migrate().await.map_err(|error| Failure::failed("migration failed; nothing of it was kept", error))?;
    let left = status_of(db).await?.pending;
    if left.is_empty() {
        println!("the schema is current");
        Ok(Exit::Success)
    } else {
        Err(Failure::new(Exit::Internal, format!("{} migrations are still pending", left.len())))
    }
}

async fn status_of(db: &Db) -> Result<MigrationStatus, Failure> {
    db.migration_status().await.map_err(|error| Failure::failed("cannot read which migrations were applied", error))
}
