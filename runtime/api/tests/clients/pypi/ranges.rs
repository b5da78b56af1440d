//! Partial reads, and clients that fall back to them where no metadata is offered.

use super::{Client, Desk, Dist, noise};
use crate::{Server, on_backends};

async fn wheel_url(server: &Server, name: &str) -> String {
    let (_, page) = server.get(&format!("/pypi/simple/{name}/"), None).await;
    let (_, rest) = page.split_once("href=\"").expect("a link");
    rest.split('#').next().expect("an address").to_owned()
}

on_backends!(parts_of_files_are_served, async |server: Server| {
    let user = server.new_user("ada").await;
    let dist = Dist::new("ranged", "1.0").payload(vec![b'x'; 4000]);
    dist.upload_wheel().live(&server, &user).await;
    let (bytes, url) = (dist.wheel(), wheel_url(&server, "ranged").await);
    let size = bytes.len();
    for (range, wanted, expected) in [
        ("bytes=0-9", 206, &bytes[..10]),
        ("bytes=-100", 206, &bytes[size - 100..]),
        ("bytes=10-", 206, &bytes[10..]),
        ("bytes=0-1,4-5", 200, &bytes[..]),
        ("bytes=9999999-", 416, &b""[..]),
    ] {
        let response = server.http.get(&url).header("range", range).send().await.unwrap();
        let total = response.headers().get("content-range").map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(response.status().as_u16(), wanted, "{range}");
        if wanted == 416 {
            assert_eq!(total, Some(format!("bytes */{size}")));
            continue;
        }
        assert_eq!(response.bytes().await.unwrap(), expected, "{range}");
        if wanted == 206 {
            assert!(total.unwrap().ends_with(&format!("/{size}")));
        }
    }
    let head = server.http.head(&url).send().await.unwrap();
    let text = |name: &str| head.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((text("content-length"), text("accept-ranges")), (size.to_string(), "bytes".to_owned()));
    assert!(head.headers().get("content-encoding").is_none());
    let etag = text("etag");
    let condition =
        |value: &str| server.http.get(&url).header("range", "bytes=0-9").header("if-range", value.to_owned()).send();
    assert_eq!(condition(&etag).await.unwrap().status().as_u16(), 206);
    assert_eq!(condition("\"other\"").await.unwrap().status().as_u16(), 200);
});

on_backends!(clients_without_metadata_read_parts_of_wheels, async |server: Server| {
    let user = server.new_user("ada").await;
    Dist::new("base-lib", "1.0").upload_wheel().live(&server, &user).await;
    let big = noise(400_000);
    Dist::new("lazy", "1.0").payload(big).with("Requires-Dist", "base-lib").upload_wheel().live(&server, &user).await;
    // An index that knew nothing of metadata files.
    let db = server.database().await;
    db.execute_raw("UPDATE artifacts SET metadata = replace(metadata, '\"core_metadata\":', '\"unknown\":')")
        .await
        .unwrap();
    db.execute_raw("DELETE FROM artifact_companions").await.unwrap();
    db.execute_raw("UPDATE packages SET revision = revision + 1").await.unwrap();
    server.until(|page| !page.contains("data-core-metadata"), "/pypi/simple/lazy/").await;

    let before = server.log().lines().count();
    let desk = Desk::new(&server, "uv");
    let dir = desk.folder("resolve");
    desk.write(&dir, "requirements.in", "lazy\n");
    let index = desk.index();
    desk.run(Client::Uv, &dir, &["pip", "compile", "--index-url", &index, "requirements.in"])
        .await
        .ok()
        .says("base-lib==1.0");
    let seen = server.requests(before);
    let lazily = |method: &str, status: u64| {
        seen.iter().any(|(m, path, s)| m == method && path.contains("/lazy-1.0") && *s == status)
    };
    assert!(lazily("HEAD", 200) && lazily("GET", 206) && !lazily("GET", 200), "{seen:?}");

    let before = server.log().lines().count();
    let desk = Desk::new(&server, "pip");
    let venv = desk.venv("lazy").await;
    desk.install(Client::Pip26, &venv, &desk.index(), &["--use-feature=fast-deps", "lazy"]).await.ok();
    assert_eq!(desk.version(&venv, "base-lib").await, "1.0");
    assert!(server.requests(before).iter().any(|(_, path, status)| path.contains("/lazy-1.0") && *status == 206));
});
