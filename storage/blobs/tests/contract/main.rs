//! The contract of [`publaryn_blobs::BlobStore`]: every case runs on disk, and on S3 when
//! `PUBLARYN_TEST_S3=endpoint,access,secret` names a server (`benches/services/s3.sh` starts one).

mod fixture;
mod keeping;
mod memory;
mod reading;
mod resuming;
mod staging;

/// Makes one test per store from each named case.
macro_rules! contract {
    ($($module:ident :: $case:ident),* $(,)?) => {
        mod disk {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$module::$case(super::fixture::Fixture::disk().await).await;
            })*
        }
        mod s3 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(fixture) = super::fixture::Fixture::s3().await {
                    super::$module::$case(fixture).await;
                }
            })*
        }
    };
}

contract! {
    staging::small_body_round_trips_with_all_digests,
    staging::bodies_of_every_awkward_size_round_trip,
    staging::weak_digests_only_when_asked_for,
    staging::limit_stops_the_body_at_once_and_leaves_nothing,
    staging::body_of_exactly_the_limit_is_accepted,
    staging::digest_mismatch_leaves_nothing,
    staging::aborted_body_leaves_nothing,
    staging::dropped_upload_leaves_nothing,
    staging::same_content_concurrently,
    staging::promotion_is_idempotent,
    staging::discard_removes_only_what_was_not_promoted,
    staging::dropping_is_discarding,
    staging::chunking_does_not_matter,
    reading::ranges,
    reading::missing_blob_is_told_apart,
    reading::concurrent_readers_see_the_same_bytes,
    reading::verified_stream_tells_wrong_content,
    reading::presigned_url,
    keeping::crash_between_stage_and_promote_is_found_and_removed,
    keeping::crash_during_an_upload_is_found_and_removed,
    keeping::listing_is_complete_sorted_and_dated,
    keeping::late_delete_spares_content_uploaded_again,
    keeping::probe_leaves_nothing,
    resuming::pieces_of_every_awkward_size_become_one_blob,
    resuming::many_tiny_pieces_become_one_blob,
    resuming::a_broken_body_keeps_what_came,
    resuming::the_limit_is_for_the_whole_upload,
    resuming::a_restart_goes_on_where_the_state_says,
    resuming::the_end_may_wait_in_memory_for_the_completion,
    resuming::long_appends_are_saved_on_the_way,
    resuming::abandoned_uploads_are_found_and_removed,
    resuming::lost_content_is_told_apart,
    resuming::a_completed_upload_may_be_ended_again,
    resuming::a_second_writer_is_noticed_on_disk,
    memory::two_hundred_megabytes_in_constant_memory,
}
