//! Files that join a release: each with a quarantine of its own.

use super::{Client, Desk, Dist};
use crate::{Server, on_backends};

fn files(page: &str) -> usize {
    page.matches("<a href").count()
}

on_backends!(a_blocked_file_hides_alone, async |server: Server| {
    let user = server.new_user("ada").await;
    let dist = Dist::new("demo", "1.0");
    dist.upload_wheel().live(&server, &user).await;
    let bad = dist.clone().tagged("py2-none-any").tampered();
    let (status, text) = bad.upload_wheel().send(&server, Some(&user.token)).await;
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("RECORD"), "{text}");
    for token in [None, Some(user.token.as_str())] {
        let (_, page) = server.get("/pypi/simple/demo/", token).await;
        assert_eq!(files(&page), 1, "{page}");
    }
    let id = server.artifact_id(&bad.wheel_name()).await;
    for path in
        [format!("/pypi/files/{id}/{}", bad.wheel_name()), format!("/pypi/files/{id}/{}.metadata", bad.wheel_name())]
    {
        assert_eq!(server.get(&path, Some(&user.token)).await.0, 404, "{path}");
    }
    // Its name is spent, for the same bytes and for better ones.
    for upload in [bad.upload_wheel(), dist.clone().tagged("py2-none-any").upload_wheel()] {
        let (status, text) = upload.send(&server, Some(&user.token)).await;
        assert_eq!(status, 400);
        assert!(text.contains("This filename was previously used"), "{text}");
    }
    dist.upload_sdist().live(&server, &user).await;
    let (_, page) = server.get("/pypi/simple/demo/", None).await;
    assert_eq!(files(&page), 2, "{page}");
    let desk = Desk::new(&server, "pip");
    let venv = desk.venv("demo").await;
    desk.install(Client::Pip26, &venv, &desk.index(), &["demo"]).await.ok();
});

on_backends!(a_release_whose_files_were_all_blocked_gets_another_chance, async |server: Server| {
    let user = server.new_user("ada").await;
    let dist = Dist::new("demo", "1.0");
    let (status, _) = dist.clone().tampered().upload_wheel().send(&server, Some(&user.token)).await;
    assert_eq!(status, 403);
    assert_eq!(server.get("/pypi/simple/demo/", Some(&user.token)).await.0, 404);
    dist.upload_sdist().live(&server, &user).await;
    let (_, page) = server.get("/pypi/simple/demo/", None).await;
    assert_eq!(files(&page), 1, "{page}");
    let (_, json) = server.get("/pypi/demo/json", None).await;
    assert!(json.contains("\"summary\":\"a test\""), "{json}");
});

on_backends!(a_later_file_is_invisible_until_its_scan_has_passed, async |server: Server| {
    let mut server = server;
    server.restart_with(&[("publish.wait_seconds", "0")]).await;
    let user = server.new_user("ada").await;
    let dist = Dist::new("demo", "1.0");
    let (status, text) = dist.upload_wheel().send(&server, Some(&user.token)).await;
    assert_eq!(status, 200, "{text}");
    server.until(|page| files(page) == 1, "/pypi/simple/demo/").await;
    let scanners = server.pause_scanners();
    let later = dist.clone().tagged("py2-none-any").upload_wheel();
    let (status, text) = later.send(&server, Some(&user.token)).await;
    assert_eq!(status, 200);
    assert!(text.starts_with("held for review: "), "{text}");
    let (_, page) = server.get("/pypi/simple/demo/", Some(&user.token)).await;
    assert_eq!(files(&page), 1, "it was shown before its scan: {page}");
    let id = server.artifact_id(&later.filename).await;
    let path = format!("/pypi/files/{id}/{}", later.filename);
    for hidden in [path.clone(), format!("{path}.metadata")] {
        assert_eq!(server.get(&hidden, Some(&user.token)).await.0, 404, "{hidden}");
    }
    let desk = Desk::new(&server, "pip");
    let venv = desk.venv("meanwhile").await;
    desk.install(Client::Pip26, &venv, &desk.index(), &["demo"]).await.ok();
    drop(scanners);
    server.until(|page| files(page) == 2, "/pypi/simple/demo/").await;
    assert_eq!(server.get(&path, None).await.0, 200);
});

on_backends!(deleted_names_stay_taken, async |server: Server| {
    let user = server.new_user("ada").await;
    for version in ["1.0", "2.0"] {
        Dist::new("demo", version).upload_wheel().live(&server, &user).await;
    }
    let db = server.database().await;
    db.execute_raw("UPDATE releases SET status = 'deleted' WHERE version = '2.0'").await.unwrap();
    db.execute_raw("UPDATE packages SET revision = revision + 1").await.unwrap();
    server.until(|page| files(page) == 1, "/pypi/simple/demo/").await;
    for upload in [Dist::new("demo", "2.0").upload_wheel(), Dist::new("demo", "2.0").upload_sdist()] {
        let (status, text) = upload.send(&server, Some(&user.token)).await;
        assert_eq!(status, 400);
        assert!(text.contains("This filename was previously used by a file that has since been deleted"), "{text}");
    }
});

on_backends!(a_publish_token_is_good_for_the_files_of_one_release, async |server: Server| {
    let user = server.new_user("ada").await;
    let once = server.publish_token(&user).await;
    let dist = Dist::new("demo", "1.0");
    for upload in [dist.upload_wheel(), dist.upload_sdist()] {
        assert_eq!(upload.send(&server, Some(&once)).await, (200, String::new()));
    }
    let (status, text) = Dist::new("demo", "1.1").upload_wheel().send(&server, Some(&once)).await;
    assert_eq!(status, 401, "{text}");
    let (_, page) = server.get("/pypi/simple/demo/", None).await;
    assert_eq!(files(&page), 2, "{page}");
});

on_backends!(concurrent_uploads_of_one_release_all_arrive, async |server: Server| {
    let user = server.new_user("ada").await;
    let uploads: Vec<_> = (0..8)
        .map(|n| Dist::new("demo", "1.0").tagged(&format!("cp3{n}-none-any")).upload_wheel())
        .chain([Dist::new("demo", "1.0").upload_sdist()])
        .collect();
    let sent = futures::future::join_all(uploads.iter().map(|upload| upload.send(&server, Some(&user.token)))).await;
    assert!(sent.iter().all(|answer| *answer == (200, String::new())), "{sent:?}");
    let (_, page) = server.get("/pypi/simple/demo/", None).await;
    assert_eq!(files(&page), 9, "{page}");
});
