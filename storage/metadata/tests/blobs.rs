//! Who refers to a blob.

use publaryn_metadata::{blobs::REFERENCES, testing};

/// A table with a foreign key to `blobs` that the collector does not look at would have its bytes deleted,
/// or stop the collector.
#[tokio::test]
async fn every_table_that_refers_to_blobs_is_known_to_the_collector() {
    let test = testing::sqlite().await;
    let tables = test.db.tables_referring_to("blobs").await.unwrap();
    assert!(tables.contains(&"artifacts".to_owned()), "the schema was read: {tables:?}");
    for table in tables {
        assert!(
            REFERENCES.contains(&format!("FROM {table} ")),
            "`{table}` is missing in storage/metadata/src/blobs.rs"
        );
    }
}
