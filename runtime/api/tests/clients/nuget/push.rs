//! What is refused, in which words, and that nothing of it stays.

use publaryn_scan::corpus::{RawZipEntry, ZipBuilder, zip};

use super::{
    Pack,
    pack::{get, push, send},
};
use crate::{Server, maven::deaf, on_backends};

/// A package whose only file says that it was last changed in that year.
fn dated(year: u16, nuspec: &[u8]) -> Vec<u8> {
    let date = ((year - 1980) << 9 | 12 << 5 | 24).to_le_bytes();
    let entry = RawZipEntry { name: b"Acme.Lib.nuspec", data: nuspec, ..RawZipEntry::default() };
    let (local, central) = (
        |record: &mut Vec<u8>| record[12..14].copy_from_slice(&date),
        |record: &mut Vec<u8>| {
            record[14..16].copy_from_slice(&date);
        },
    );
    ZipBuilder::new().edited(&entry, local, central).finish()
}

const PUSH: &str = "/nuget/v2/package";

on_backends!(packages_are_refused_with_a_reason, async |server: Server| {
    let user = server.new_user("ada").await;
    let key = Some(user.token.as_str());
    let nuspec = Pack::new("Acme.Lib", "1.0.0").nuspec();
    let inside = |inner: &str| Pack::new("Acme.Lib", "1.0.0").with(inner).zip();
    let two = Pack::new("Acme.Lib", "1.0.0").file("Other.nuspec", nuspec.as_bytes()).zip();
    let mut torn = Pack::new("Acme.Lib", "1.0.0").zip();
    torn.truncate(torn.len() - 10);
    let bomb = Pack::new("Acme.Lib", "1.0.0").file("zeros", vec![0; 80 << 20]).zip();
    let doctype =
        ZipBuilder::new().file("A.nuspec", b"<!DOCTYPE a [<!ENTITY b \"c\">]><package>&b;</package>").finish();
    for (bytes, status, reason) in [
        (b"nonsense".to_vec(), 400, "Package is not a valid nupkg: not a zip file"),
        (torn, 400, "Package is not a valid nupkg: "),
        (zip("a.txt", b"x", 0), 400, "Package is not a valid nupkg: there is no nuspec in the root"),
        (two, 400, "Package is not a valid nupkg: there are two nuspecs in the root"),
        (zip("../a.nuspec", nuspec.as_bytes(), 0), 400, "Package is not a valid nupkg: "),
        (zip("a.nuspec", b"<package>", 0), 400, "Package is not a valid nupkg: the nuspec cannot be read"),
        (doctype, 400, "document type"),
        (bomb, 400, "Package is not a valid nupkg: "),
        (inside("<id>again</id>"), 400, "the nuspec has id twice"),
        (Pack::new("Acme..Lib", "1.0").zip(), 400, "`Acme..Lib` is no package id"),
        (Pack::new("Acme.Lib", "1.0.x").zip(), 400, "`1.0.x` is no version"),
        (inside("<icon>icon.png</icon>"), 400, "the icon is not in the package"),
        (Pack::new("Acme.Lib", "1.0").needs("Other", "1.*").zip(), 400, "range of the dependency Other"),
        (Pack::new("Acme.Lib", "1.0").symbols().zip(), 400, "This is a symbol package"),
        (dated(2107, nuspec.as_bytes()), 400, "Package is not a valid nupkg: an entry is dated in the future"),
    ] {
        push(&server, PUSH, key, &bytes).await.is(status, reason);
    }
    push(&server, PUSH, None, &inside("")).await.is(401, "API key is missing, unknown or expired");
    push(&server, PUSH, Some("bad"), &inside("")).await.is(401, "API key is missing, unknown or expired");
    let reader = server.token(&user.name, &user.password, &["packages:read"]).await;
    push(&server, PUSH, Some(&reader), &inside("")).await.is(403, "The API key lacks the scope packages:publish");
    assert_eq!(get(&server, "/v3/flatcontainer/acme.lib/index.json", key).await.status, 404, "nothing is there");

    // A key that does not hold beside a password that does.
    let request = server.http.put(format!("{}{PUSH}", server.base_url())).body(inside(""));
    let request = request.header("content-type", "application/octet-stream").header("x-nuget-apikey", "any");
    assert_eq!(send(request.basic_auth("x", key)).await.status, 201);
    push(&server, PUSH, key, &inside("")).await.is(409, "Acme.Lib 1.0.0 already exists");
    // The same version in other words, the same id in other letters.
    push(&server, PUSH, key, &Pack::new("ACME.lib", "1.0.0.0").zip()).await.is(409, "ACME.lib 1.0.0 already exists");
    Pack::new("ACME.lib", "1.0.1+a").live(&server, &user).await;
    push(&server, PUSH, key, &Pack::new("Acme.Lib", "1.0.1+b").zip()).await.is(409, "already exists");
    let index = get(&server, "/v3/registration/acme.lib/index.json", None).await.json();
    assert_eq!(index["items"][0]["items"][0]["catalogEntry"]["id"], "Acme.Lib", "the first spelling stays");
    let stranger = server.new_user("mallory").await;
    let theirs = Pack::new("Acme.Lib", "9.0.0").push(&server, Some(&stranger.token)).await;
    theirs.is(403, "You may not publish Acme.Lib");
    // What is not there may not be called like what is.
    server
        .http
        .put(format!("{}/nuget/v3/index.json", server.base_url()))
        .send()
        .await
        .map(|r| assert_eq!(r.status(), 405))
        .unwrap();
});

on_backends!(a_refusal_is_heard_by_who_has_sent_everything_first, async |server: Server| {
    let user = server.new_user("ada").await;
    let reader = server.token(&user.name, &user.password, &["packages:read"]).await;
    let large = vec![b'x'; 20 << 20];
    // Clients with a password for the source send it only once this was answered.
    let asked = deaf(&server, PUSH, "", &large).await;
    assert!(asked.starts_with("HTTP/1.1 401 API key is missing"), "{asked}");
    assert!(asked.to_lowercase().contains("www-authenticate: basic realm=\"publaryn\""), "{asked}");
    let refused = deaf(&server, PUSH, &format!("x-nuget-apikey: {reader}\r\n"), &large).await;
    assert!(refused.starts_with("HTTP/1.1 403 The API key lacks the scope"), "{refused}");
});

on_backends!(packages_that_are_too_large_are_refused_whether_they_say_so_or_not, async |mut server: Server| {
    server.restart_with(&[("limits.artifact.nupkg", "1MiB")]).await;
    let user = server.new_user("ada").await;
    let large = Pack::new("Acme.Lib", "1.0.0").file("a", crate::bulk()).file("b", crate::bulk()).zip();
    push(&server, PUSH, Some(&user.token), &large).await.is(413, "Package exceeds 1 MB");
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> = large.chunks(50_000).map(|chunk| Ok(chunk.to_vec())).collect();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let request = server.http.put(format!("{}{PUSH}", server.base_url())).body(body);
    send(request.header("x-nuget-apikey", &user.token)).await.is(413, "Package exceeds 1 MB");
    assert_eq!(get(&server, "/v3/flatcontainer/acme.lib/index.json", None).await.status, 404);
});

on_backends!(forms_are_read_however_clients_write_them, async |server: Server| {
    let user = server.new_user("ada").await;
    let put = async |path: &str, head: &str, zip: Vec<u8>, end: &str| {
        let body = [head.as_bytes(), &zip, end.as_bytes()].concat();
        let request = server.http.put(format!("{}{path}", server.base_url())).body(body);
        let request = request.header("content-type", "multipart/form-data; boundary=XX");
        send(request.header("x-nuget-apikey", &user.token)).await
    };
    let head = "--XX\r\nContent-Type: application/octet-stream\r\n\r\n";
    let zip = |version: &str| Pack::new("Acme.Lib", version).zip();
    assert_eq!(put("/nuget/v2/", head, zip("1.0"), "\n--XX--\n").await.status, 201);
    assert_eq!(put("/nuget/v2", head, zip("1.1"), "\r\n--XX--").await.status, 201);
    assert_eq!(put("/nuget/~auth/v2/package/", &format!("\r\n{head}"), zip("1.2"), "\r\n--XX--\r\n").await.status, 201);
    put(PUSH, head, zip("1.3"), "").await.is(400, "the form broke off");
    put(PUSH, "", Vec::new(), "").await.is(400, "the form has no file");
    let versions = get(&server, "/v3/flatcontainer/acme.lib/index.json", None).await.json();
    assert_eq!(versions["versions"], serde_json::json!(["1.0.0", "1.1.0", "1.2.0"]));
});
