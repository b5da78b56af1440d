//! twine: uploading, repeating, being refused. It prints its own name of the status and our reason phrase.

use std::path::Path;

use super::{Client, Desk, Dist, Ran};
use crate::{Server, on_backends};

async fn upload(desk: &Desk, dir: &Path, token: &str) -> Ran {
    let files: Vec<String> = std::fs::read_dir(dir.join("dist"))
        .expect("a dist folder")
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .collect();
    let url = desk.legacy();
    let mut args = vec!["upload", "--repository-url", &url, "-u", "__token__", "-p", token];
    args.extend(files.iter().map(String::as_str));
    desk.run(Client::Twine, dir, &args).await
}

on_backends!(twine_uploads_both_files_and_may_repeat_itself, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    let dist = Dist::new("Demo.Pkg", "1.0");
    let dir = desk.dist(&dist);
    upload(&desk, &dir, &user.token).await.ok();
    let (_, page) = server.get("/pypi/simple/demo-pkg/", None).await;
    assert_eq!(page.matches("<a href").count(), 2, "{page}");

    upload(&desk, &dir, &user.token).await.ok();
    assert_eq!(server.get("/pypi/simple/demo-pkg/", None).await.1, page, "a repetition changed something");

    let changed = dist.clone().payload("CHANGED = 1\n");
    desk.write(&dir, &format!("dist/{}", dist.wheel_name()), changed.wheel());
    upload(&desk, &dir, &user.token).await.fails().says("File already exists ('demo_pkg-1.0-py3-none-any.whl'");
    assert_eq!(server.get("/pypi/simple/demo-pkg/", None).await.1, page);
});

on_backends!(twine_is_told_why_it_is_refused, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    let dir = desk.dist(&Dist::new("demo", "1.0"));
    let broken = format!("{}x", &user.token[..user.token.len() - 1]);
    upload(&desk, &dir, &broken).await.fails().says("Invalid or non-existent authentication information.");
    assert_eq!(server.get("/pypi/simple/demo/", None).await.0, 404);
    upload(&desk, &dir, &user.token).await.ok();

    let other = server.new_user("mallory").await;
    let dir = desk.dist(&Dist::new("demo", "2.0"));
    upload(&desk, &dir, &other.token)
        .await
        .fails()
        .says("The user 'mallory' isn't allowed to upload to project 'demo'.");
    upload(&desk, &dir, &user.password).await.fails().says("Passwords are not accepted here; use an API token");
    let reader = server.token("ada", &user.password, &["packages:read"]).await;
    upload(&desk, &dir, &reader).await.fails().says("this credential lacks the scope `packages:publish`");
    let (_, page) = server.get("/pypi/simple/demo/", None).await;
    assert!(!page.contains("2.0"), "{page}");
});

on_backends!(twine_is_told_what_is_wrong_with_its_files, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    let blocked = Dist::new("blocked", "1.0").tampered();
    let dir = desk.folder("blocked");
    desk.write(&dir, &format!("dist/{}", blocked.wheel_name()), blocked.wheel());
    upload(&desk, &dir, &user.token).await.fails().says("The file was blocked by a scan: the hash in RECORD");
    upload(&desk, &dir, &user.token)
        .await
        .fails()
        .says("This filename was previously used by a file that has been blocked");
    assert_eq!(server.get("/pypi/simple/blocked/", Some(&user.token)).await.0, 404);

    for (name, content, says) in [
        ("renamed", Dist::new("Oth.er", "1.0").wheel(), "Start filename for 'Oth.er' with 'oth_er'."),
        ("cut-short", Dist::new("cut-short", "1.0").tagged("py2-none-any").wheel(), "the tags of the file name"),
    ] {
        let dist = Dist::new(name, "1.0");
        let dir = desk.folder(name);
        desk.write(&dir, &format!("dist/{}", dist.wheel_name()), content);
        upload(&desk, &dir, &user.token).await.fails().says(says);
        assert_eq!(server.get(&format!("/pypi/simple/{name}/"), Some(&user.token)).await.0, 404);
    }

    // The sibling of a blocked file is installed from all the same.
    let sound = Dist::new("sound", "1.0");
    let dir = desk.dist(&sound);
    let bad = sound.clone().tagged("py2-none-any").tampered();
    desk.write(&dir, &format!("dist/{}", bad.wheel_name()), bad.wheel());
    upload(&desk, &dir, &user.token).await.fails().says("The file was blocked by a scan");
    std::fs::remove_file(dir.join("dist").join(bad.wheel_name())).expect("it was just written");
    upload(&desk, &dir, &user.token).await.ok();
    let (_, page) = server.get("/pypi/simple/sound/", None).await;
    assert!(page.matches("<a href").count() == 2 && !page.contains("py2"), "{page}");
});
