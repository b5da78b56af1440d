//! Verifying stored bytes, summing downloads, forgetting what ended.

mod support;

use std::{collections::HashMap, sync::Arc, time::Duration};

use publaryn_core::{
    BlobDamage, PackageId, ReleaseId, ScopeSet, SessionId, Timestamp, TokenId, TokenKind,
    audit::{AuditAction, AuditEntry},
    job::JobKind,
};
use publaryn_gc::{CleanupExpiredTokens, FlushDownloads, VerifyBlobs};
use publaryn_metadata::{sessions::SessionRow, tokens::TokenRow};
use support::*;

fn verifier(world: &World) -> VerifyBlobs {
    VerifyBlobs { db: world.db.clone(), blobs: world.store.clone(), read_for: HOUR }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_shown_and_mended_by_a_publish() {
    for world in each().await {
        let (_, whole) = world.publish(b"whole").await.unwrap();
        let (_, lost) = world.publish(b"lost").await.unwrap();
        let (_, rotten) = world.publish(b"rotten").await.unwrap();
        run_job(&world.db, Arc::new(verifier(&world))).await;
        assert_eq!(world.db.damaged_blobs(10).await.unwrap().1, 0);

        let target = async |id| world.db.scan_target(id).await.unwrap().unwrap();
        world.store.delete(&target(lost).await.location.parse().unwrap()).await.unwrap();
        if let Some(disk) = &world.disk {
            let path = disk.path(&target(rotten).await.location.parse().unwrap()).unwrap();
            std::fs::write(path, b"rotte!").unwrap();
        }
        run_job(&world.db, Arc::new(verifier(&world))).await;
        let (damaged, total) = world.db.damaged_blobs(10).await.unwrap();
        let mut found: Vec<_> = damaged.iter().map(|blob| (blob.digest, blob.damage)).collect();
        let mut expected = vec![(target(lost).await.sha256, BlobDamage::Missing)];
        if world.disk.is_some() {
            expected.push((target(rotten).await.sha256, BlobDamage::Corrupt));
        }
        found.sort();
        expected.sort();
        assert_eq!((found, total), (expected.clone(), expected.len() as i64));
        assert!(damaged.iter().all(|blob| blob.used_by.as_deref().unwrap().starts_with("npm left-pad ")));
        let since = damaged[0].since;
        run_job(&world.db, Arc::new(verifier(&world))).await;
        assert_eq!(
            world.db.damaged_blobs(10).await.unwrap().0[0].since,
            since,
            "seen again, known since the first time"
        );

        // The same content, published again, takes the place of what was lost, for every release that has it.
        world.publish(b"lost").await.unwrap();
        world.publish(b"rotten").await.unwrap();
        assert_eq!(world.db.damaged_blobs(10).await.unwrap().1, 0);
        run_job(&world.db, Arc::new(verifier(&world))).await;
        assert_eq!(world.db.damaged_blobs(10).await.unwrap().1, 0);
        for (artifact, content) in [(whole, "whole"), (lost, "lost"), (rotten, "rotten")] {
            assert_eq!(world.read(artifact).await.unwrap().unwrap(), content);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_out_of_time_goes_on_where_it_stopped() {
    for world in each().await {
        for n in 0..3 {
            world.publish(format!("content {n}").as_bytes()).await.unwrap();
        }
        let blobs = world.db.blobs_to_verify("", 3).await.unwrap();
        let [first, second, lost] = &blobs[..] else { panic!("three contents are three blobs") };
        world.store.delete(&lost.location.parse().unwrap()).await.unwrap();
        // As a run leaves it whose time is over after the second blob.
        let mut tx = world.db.begin().await.unwrap();
        tx.put_instance_setting("verify_blobs.after", &second.digest.to_string(), Timestamp::now()).await.unwrap();
        tx.commit().await.unwrap();
        let no_time = VerifyBlobs { read_for: Duration::ZERO, ..verifier(&world) };
        run_job(&world.db, Arc::new(no_time)).await;
        assert_eq!(world.db.damaged_blobs(10).await.unwrap().1, 0);
        world.store.delete(&first.location.parse().unwrap()).await.unwrap();
        run_job(&world.db, Arc::new(verifier(&world))).await;
        let (damaged, _) = world.db.damaged_blobs(10).await.unwrap();
        assert_eq!(damaged.iter().map(|blob| blob.digest).collect::<Vec<_>>(), [lost.digest], "from there to the end");
        assert_eq!(world.db.instance_setting("verify_blobs.after").await.unwrap().as_deref(), Some(""));
        run_job(&world.db, Arc::new(verifier(&world))).await;
        assert_eq!(world.db.damaged_blobs(10).await.unwrap().1, 2, "and from the beginning");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_are_summed_exactly_however_often_the_job_runs() {
    for world in each().await {
        let (release, _) = world.publish(b"counted").await.unwrap();
        let unknown = (PackageId::new(), ReleaseId::new());
        let noting: Vec<_> = (0..4)
            .map(|_| {
                let (db, package) = (world.db.clone(), world.package.id);
                tokio::spawn(async move {
                    for n in 1..=25 {
                        let mut tx = db.begin().await.unwrap();
                        tx.add_downloads(&[(package, release, n), (unknown.0, unknown.1, 1)]).await.unwrap();
                        tx.commit().await.unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            run_job(&world.db, Arc::new(FlushDownloads { db: world.db.clone() })).await;
        }
        for noting in noting {
            noting.await.unwrap();
        }
        run_job(&world.db, Arc::new(FlushDownloads { db: world.db.clone() })).await;
        let row = world.db.package_row(world.package.id).await.unwrap().unwrap();
        assert_eq!(row.download_count, 4 * (1..=25).sum::<i64>());
        let of_releases = world.db.release_downloads(&[world.package.id, unknown.0]).await.unwrap();
        assert_eq!(of_releases, HashMap::from([(release, 4 * (1..=25).sum::<i64>())]));
        assert_eq!(world.db.count_rows("download_deltas").await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_tokens_sessions_and_logins_are_forgotten_in_time() {
    let (now, day) = (Timestamp::now(), Duration::from_secs(86_400));
    for world in each().await {
        let token = |name: &str, change: fn(&mut TokenRow, Timestamp, Duration)| {
            let mut row = TokenRow {
                id: TokenId::new(),
                kind: TokenKind::Personal,
                name: name.to_owned(),
                last_four: "abcd".into(),
                scopes: ScopeSet::default(),
                user_id: Some(world.package.user),
                org_id: None,
                role: None,
                repository_id: None,
                package_id: None,
                expires_at: None,
                last_used_at: None,
                used_up_at: None,
                revoked_at: None,
                created_at: now,
            };
            change(&mut row, now, day);
            row
        };
        let tokens = [
            token("for ever", |_, _, _| {}),
            token("good", |row, now, day| row.expires_at = Some(now + day)),
            token("just expired", |row, now, day| row.expires_at = Some(now - day * 29)),
            token("long expired", |row, now, day| row.expires_at = Some(now - day * 31)),
        ];
        let mut tx = world.db.begin().await.unwrap();
        for (n, row) in tokens.iter().enumerate() {
            tx.insert_token(row, &[n as u8; 32]).await.unwrap();
        }
        for (n, ended_days_ago) in [(10_u8, None), (11, Some(29)), (12, Some(31))] {
            let expires_at = ended_days_ago.map_or(now + day, |days: u32| now - day * days);
            let session = SessionRow {
                id: SessionId::new(),
                user_id: world.package.user,
                has_mfa: false,
                ip_address: None,
                user_agent: None,
                created_at: now,
                last_seen_at: now,
                expires_at,
                absolute_expires_at: now + day,
                revoked_at: None,
            };
            tx.insert_session(&session, &[n; 32]).await.unwrap();
        }
        tx.insert_web_login(&[1; 32], now, now - day).await.unwrap();
        tx.insert_web_login(&[2; 32], now, now + day).await.unwrap();
        tx.commit().await.unwrap();
        run_job(&world.db, Arc::new(CleanupExpiredTokens { db: world.db.clone(), keep: day * 30, keep_audit: None }))
            .await;
        for (row, is_kept) in tokens.iter().zip([true, true, true, false]) {
            assert_eq!(world.db.token(row.id).await.unwrap().is_some(), is_kept, "{}", row.name);
        }
        assert_eq!(world.db.count_rows("sessions").await.unwrap(), 2);
        assert_eq!(world.db.count_rows("web_logins").await.unwrap(), 1);
        assert_eq!(waiting(&world.db, JobKind::CleanupExpiredTokens).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_entries_go_when_they_are_not_kept_for_ever() {
    let (now, day) = (Timestamp::now(), Duration::from_secs(24 * 3600));
    let entry = AuditEntry::system(AuditAction::OrgCreate);
    for world in each().await {
        let written = world.db.count_rows("audit_log").await.unwrap();
        for age in [29, 31, 400] {
            world.db.begin().await.unwrap().commit_audited(&entry, now - day * age).await.unwrap();
        }
        let cleanup = |keep_audit| {
            run_job(&world.db, Arc::new(CleanupExpiredTokens { db: world.db.clone(), keep: day * 30, keep_audit }))
        };
        cleanup(None).await;
        assert_eq!(world.db.count_rows("audit_log").await.unwrap(), written + 3);
        cleanup(Some(day * 30)).await;
        assert_eq!(world.db.count_rows("audit_log WHERE action = 'org_create'").await.unwrap(), 1);
        assert_eq!(world.db.count_rows("audit_log WHERE action = 'audit_expire'").await.unwrap(), 1);
        cleanup(Some(day * 30)).await;
        assert_eq!(world.db.count_rows("audit_log").await.unwrap(), written + 2, "nothing more, and nothing to tell");
    }
}
