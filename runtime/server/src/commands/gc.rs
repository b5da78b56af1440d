//! `publaryn gc`: deletes blobs that nothing refers to, beside a running server.

use std::sync::Arc;

use publaryn_api::backends;
use publaryn_blobs::BlobStore;
use publaryn_config::Config;
use publaryn_core::Timestamp;
use publaryn_gc::{Collector, Extent, GcError, GcOptions, GcReport, OciLetGo, Unwatched};
use publaryn_metadata::Db;

use crate::{
    cli::{CommonArgs, GcArgs},
    configuration, database,
    exit::{Exit, Failure},
};

pub fn run(common: &CommonArgs, args: &GcArgs) -> Result<Exit, Failure> {
    let config = configuration::load(common, Vec::new())?;
    configuration::block_on(gc(&config, args))
}

async fn gc(config: &Config, args: &GcArgs) -> Result<Exit, Failure> {
    let db = database::connect_current(config).await?;
    let blobs = backends::stored_blobs(config).await?;
    let options = options(config, args);
    let result = collect(&db, blobs, &options).await;
    db.close().await;
    let report = result.map_err(explain)?;
    print(&report, &options, args.json);
    Ok(Exit::Success)
}

/// What repositories let go of first, then everything nobody refers to.
async fn collect(db: &Db, blobs: Arc<dyn BlobStore>, options: &GcOptions) -> Result<GcReport, GcError> {
    if !options.is_dry_run {
        let letting_go = OciLetGo { db: db.clone(), blobs: blobs.clone(), upload_ttl: options.upload_ttl };
        letting_go.run(Timestamp::now() - options.grace, &|| false).await?;
    }
    Collector { db: db.clone(), blobs }.run(options, &Unwatched).await
}

fn options(config: &Config, args: &GcArgs) -> GcOptions {
    let upload_ttl = config.gc.upload_ttl_hours.duration();
    GcOptions {
        grace: args.grace.unwrap_or(config.gc.grace_hours.duration()),
        // What is said on the command line holds for uploads, too.
        upload_ttl: args.grace.map_or(upload_ttl, |grace| grace.max(upload_ttl)),
        extent: Extent::Everything,
        is_dry_run: args.dry_run,
    }
}

fn explain(error: GcError) -> Failure {
    let rest = "what was deleted until now stays deleted, the next run goes on";
    match error {
        GcError::Database(error) if error.is_unavailable() => {
            Failure::new(Exit::Unreachable, format!("database.url: the database does not answer; {rest}"))
                .because(error)
        }
        GcError::Store(error) if error.is_transient() => {
            Failure::new(Exit::Unreachable, format!("storage: the blob store does not answer; {rest}")).because(error)
        }
        other => Failure::failed(format!("the collection stopped; {rest}"), other),
    }
}

fn print(report: &GcReport, options: &GcOptions, as_json: bool) {
    let total = report.total();
    if as_json {
        let json = serde_json::json!({
            "dry_run": options.is_dry_run,
            "grace_seconds": options.grace.as_secs(),
            "deleted_objects": total.objects,
            "freed_bytes": total.bytes,
            "unreferenced": report.unreferenced,
            "strays": report.strays,
            "unfinished_uploads": report.unfinished_uploads,
        });
        println!("{json}");
        return;
    }
    let verb = if options.is_dry_run { "would delete" } else { "deleted" };
    println!("{verb} {} objects, {} bytes", total.objects, total.bytes);
    for (what, tally) in [
        ("referred to by nothing any more", report.unreferenced),
        ("never referred to", report.strays),
        ("unfinished uploads", report.unfinished_uploads),
    ] {
        println!("  {:>9} objects {:>15} bytes  {what}", tally.objects, tally.bytes);
    }
}
