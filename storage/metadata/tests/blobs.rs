//! Who refers to a blob, and who holds it.

use publaryn_core::{ContentDigest, Digest, Timestamp};
use publaryn_metadata::{blobs::REFERENCES, testing};
use uuid::Uuid;

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

/// What is uploaded while the first manifest makes the package is held by either, never by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_survive_that_their_package_comes_to_be() {
    const BLOBS: u8 = 120;
    for test in testing::each().await {
        let (uploader, package, name) = (Uuid::now_v7(), Uuid::now_v7(), "acme/app");
        let (db, linking) = (test.db.clone(), test.db.clone());
        let uploads = tokio::spawn(async move {
            for n in 0..BLOBS {
                let (sha256, now) = (Digest::from_bytes([n; 32]), Timestamp::now());
                let mut tx = linking.begin().await.unwrap();
                tx.upsert_blob(sha256, &format!("blob-{n}"), 1, now).await.unwrap();
                tx.link_blob(uploader, name, ContentDigest::Sha256(sha256), sha256, now).await.unwrap();
                tx.commit().await.unwrap();
            }
        });
        loop {
            let is_last = uploads.is_finished();
            let mut tx = db.begin().await.unwrap();
            tx.adopt_links(uploader, name, package, Timestamp::now()).await.unwrap();
            tx.commit().await.unwrap();
            if is_last {
                break;
            }
        }
        uploads.await.unwrap();
        assert_eq!(db.count_rows("oci_blobs").await.unwrap(), i64::from(BLOBS));
    }
}
