//! The kinds of background jobs (jobs.md §2).

text_enum! {
    /// What a job does.
    pub enum JobKind {
        ScanArtifact = "scan_artifact",
        FinalizeRelease = "finalize_release",
        IndexPackage = "index_package",
        ReindexSearch = "reindex_search",
        CleanupOciBlobs = "cleanup_oci_blobs",
        CleanupBlobs = "cleanup_blobs",
        CleanupExpiredTokens = "cleanup_expired_tokens",
        PruneJobs = "prune_jobs",
        FlushDownloads = "flush_downloads",
        AnalyzeRelease = "analyze_release",
        ReconcileReleases = "reconcile_releases",
        VerifyBlobs = "verify_blobs",
        DeliverWebhook = "deliver_webhook",
    }
}
