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

on_backends!(a_form_says_what_is_inside_in_any_spelling, async |server: Server| {
    let user = server.new_user("ada").await;
    let needs = |name: &str| {
        Dist::new(name, "1.0")
            .with("Requires-Dist", "six<2,>=1")
            .with("Requires-Dist", "Foo_Bar[b,a] (>=1); extra == \"Fancy_Colors\"")
            .with("Provides-Extra", "Fancy_Colors")
    };
    let form = |name: &str, dependencies: [&str; 2]| {
        let mut upload = needs(name).upload_wheel().set("provides_extra", "fancy-colors");
        upload.fields.extend(dependencies.map(|one| ("requires_dist".to_owned(), one.to_owned())));
        upload
    };
    form("demo", ["foo-bar[a,b] >=1 ; extra == 'fancy-colors'", "six >=1, <2"]).live(&server, &user).await;
    // Other clients resolve from what the form says.
    let upload = form("other", ["foo-bar[a,b] >=1 ; extra == 'fancy-colors'", "six >=1"]);
    let (status, text) = upload.send(&server, Some(&user.token)).await;
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("Requires-Dist differs between the upload form and METADATA"), "{text}");
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
    // With other bytes, too: the file is not there, and clients that skip what exists must not believe it is.
    let changed = Dist::new("demo", "2.0").payload("CHANGED = True\n").upload_wheel();
    for upload in [Dist::new("demo", "2.0").upload_wheel(), Dist::new("demo", "2.0").upload_sdist(), changed] {
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

/// The findings of a project that somebody is told of.
async fn findings(server: &Server, token: Option<&str>) -> Vec<serde_json::Value> {
    let (status, body) = server.get("/v1/packages/pypi/demo/security-findings", token).await;
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    body["findings"].as_array().expect("a list").clone()
}

async fn resolve_all(server: &Server, token: &str) {
    for finding in findings(server, Some(token)).await {
        let id = finding["id"].as_str().expect("an id");
        let url = format!("{}/v1/packages/pypi/demo/security-findings/{id}", server.base_url());
        let body = serde_json::json!({ "is_resolved": true, "note": "looked at it" });
        let answer = server.http.patch(url).bearer_auth(token).json(&body).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
    }
}

async fn publish_again(server: &Server, token: &str) -> serde_json::Value {
    let path = "/v1/packages/pypi/demo/releases/1.0/publish?wait=20";
    server.post(path, Some(token), &serde_json::json!({})).await
}

on_backends!(a_held_file_comes_back_through_triage, async |server: Server| {
    let user = server.new_user("ada").await;
    let dist = Dist::new("demo", "1.0");
    dist.upload_wheel().live(&server, &user).await;
    let bad = dist.clone().tagged("py2-none-any").tampered();
    assert_eq!(bad.upload_wheel().send(&server, Some(&user.token)).await.0, 403);

    // Its uploader sees it; readers of the release learn nothing of it.
    let list = "/v1/packages/pypi/demo/releases/1.0/artifacts";
    let file = format!("{list}/{}", bad.wheel_name());
    let (_, own) = server.get(list, Some(&user.token)).await;
    let (_, public) = server.get(list, None).await;
    assert!(own.contains(&bad.wheel_name()) && !public.contains(&bad.wheel_name()), "{public}");
    assert_eq!(server.get(&file, None).await.0, 404);
    assert!(!findings(&server, Some(&user.token)).await.is_empty());
    assert!(findings(&server, None).await.is_empty());

    // Asking again without having judged changes nothing, and nothing is scanned twice.
    assert_eq!(publish_again(&server, &user.token).await["scan_jobs_enqueued"], 0);
    assert_eq!(files(&server.get("/pypi/simple/demo/", None).await.1), 1);
    resolve_all(&server, &user.token).await;
    assert_eq!(files(&server.get("/pypi/simple/demo/", None).await.1), 1);
    let answer = publish_again(&server, &user.token).await;
    assert_eq!((&answer["status"], &answer["scan_jobs_enqueued"]), (&"published".into(), &0.into()), "{answer}");
    let (_, page) = server.get("/pypi/simple/demo/", None).await;
    assert_eq!(files(&page), 2, "{page}");
    assert_eq!(server.get(&file, None).await.0, 200);
});

on_backends!(a_release_of_held_files_comes_back_through_triage, async |server: Server| {
    let user = server.new_user("ada").await;
    let bad = Dist::new("demo", "1.0").tampered();
    for tag in ["py3-none-any", "py2-none-any"] {
        let upload = bad.clone().tagged(tag).upload_wheel();
        assert_eq!(upload.send(&server, Some(&user.token)).await.0, 403);
    }
    assert_eq!(publish_again(&server, &user.token).await["status"], "quarantine");
    assert_eq!(server.get("/pypi/simple/demo/", Some(&user.token)).await.0, 404);
    resolve_all(&server, &user.token).await;
    let answer = publish_again(&server, &user.token).await;
    assert_eq!(answer["status"], "published", "{answer}");
    let (_, page) = server.get("/pypi/simple/demo/", None).await;
    assert_eq!(files(&page), 2, "{page}");
    // What it says of itself waited for it.
    let (_, json) = server.get("/pypi/demo/json", None).await;
    assert!(json.contains("\"summary\":\"a test\""), "{json}");
});
