//! Uploads that are refused: each with its status and reason, and nothing stored.

use publaryn_scan::corpus::{RawZipEntry, TarBuilder, ZipBuilder, targz, zip_cases};

use super::{Dist, Upload, noise};
use crate::{Backend, Server, on_backends};

fn zip(files: &[(String, Vec<u8>)]) -> ZipBuilder {
    files.iter().fold(ZipBuilder::new(), |zip, (path, data)| zip.file(path, data))
}

/// Temporary files of uploads that were never finished.
fn temporary_files(server: &Server) -> usize {
    fn count(dir: &std::path::Path) -> usize {
        let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
        entries
            .filter_map(Result::ok)
            .map(|entry| {
                let path = entry.path();
                let is_temp = path.components().any(|c| c.as_os_str().to_string_lossy().contains("tmp"));
                if path.is_dir() { count(&path) } else { usize::from(is_temp) }
            })
            .sum()
    }
    count(&server.data_dir().join("blobs"))
}

/// How much there is of all that an upload writes.
async fn rows(server: &Server) -> Vec<(&'static str, i64)> {
    let db = server.database().await;
    let mut rows = Vec::new();
    for table in ["packages", "releases", "artifacts", "blobs", "artifact_companions", "repositories"] {
        rows.push((table, db.count_rows(table).await.expect("a number")));
    }
    rows
}

/// Two short lines that stand for 7200 tags.
fn endless_tags() -> String {
    let parts = ["a"; 60].join(".");
    format!("py2.py3-{parts}-{parts}")
}

on_backends!(every_bad_input_has_its_status_and_reason, async |server: Server| {
    let user = server.new_user("ada").await;
    // Something lies there all along: the S3 server of these tests removes a folder that is empty for a moment, also
    // under the hands of whoever puts something into it.
    Dist::new("kept", "1.0").upload_wheel().live(&server, &user).await;
    let (before, files_before) = (rows(&server).await, temporary_files(&server));
    let dist = Dist::new("bad", "1.0");
    let good = dist.upload_wheel();
    let files = dist.wheel_files();
    let sdist = dist.upload_sdist();
    let with_entry = |name: &str, external: u32| {
        let entry = RawZipEntry { name: name.as_bytes(), data: b"x", external, ..RawZipEntry::default() };
        zip(&files).entry(&entry).finish()
    };
    let without = |what: &str| {
        let files: Vec<_> = files.iter().filter(|(path, _)| !path.ends_with(what)).cloned().collect();
        zip(&files).finish()
    };
    let mut trailing = dist.wheel();
    trailing.extend(b"trailing");
    let polyglot = zip_cases(&[("a.py", b"a")])
        .into_iter()
        .find(|case| case.name == "zip and tar at once")
        .expect("in the corpus");
    let root = |path: &str| format!("bad-1.0/{path}");
    let tar = |build: &dyn Fn(TarBuilder) -> TarBuilder| {
        build(TarBuilder::new().file(&root("PKG-INFO"), dist.metadata().as_bytes())).targz()
    };
    let regular = 0o100644 << 16;
    let cases: Vec<(&str, u16, &str, Upload)> = vec![
        ("an unknown action", 400, ":action", good.clone().set(":action", "x")),
        ("an old action", 410, "no longer required or supported", good.clone().set(":action", "submit")),
        ("an unknown protocol", 400, "Unknown protocol version.", good.clone().set("protocol_version", "2")),
        ("a climbing name", 400, "'../x' is an invalid value for Name. Error:", good.clone().set("name", "../x")),
        ("no version", 400, "'x' is an invalid value for Version", good.clone().set("version", "x")),
        ("an egg", 400, "is an invalid value for Filetype", good.clone().set("filetype", "bdist_egg")),
        (
            "an exe",
            400,
            "Invalid file extension: Use .tar.gz, .whl or .zip extension.",
            good.clone().named("bad-1.0.exe"),
        ),
        (
            "another project's file",
            400,
            "Start filename for 'bad' with 'bad'.",
            good.clone().named("other-1.0-py3-none-any.whl"),
        ),
        (
            "another version's file",
            400,
            "Version in filename should be '1.0'.",
            good.clone().named("bad-1.1-py3-none-any.whl"),
        ),
        ("a path as file name", 400, "Invalid filename", good.clone().named("../bad-1.0-py3-none-any.whl")),
        (
            "a long file name",
            400,
            "Invalid filename",
            good.clone().named(&format!("bad-1.0-py3-none-{}.whl", "a".repeat(300))),
        ),
        ("a reserved name", 400, "The name 'admin' isn't allowed.", Dist::new("admin", "1.0").upload_wheel()),
        (
            "a wrong digest",
            400,
            "The digest supplied does not match",
            good.clone().set("sha256_digest", &"0".repeat(64)),
        ),
        ("a wrong md5", 400, "The digest supplied does not match", good.clone().set("md5_digest", &"0".repeat(32))),
        (
            "a wrong blake2",
            400,
            "The digest supplied does not match",
            good.clone().set("blake2_256_digest", &"0".repeat(64)),
        ),
        ("a wrong type", 400, "The file is a sdist, not a bdist_wheel.", sdist.clone().set("filetype", "bdist_wheel")),
        ("no archive", 400, "Invalid distribution file.", good.clone().content(b"hello".to_vec())),
        ("a truncated wheel", 400, "Invalid distribution file.", good.clone().content(dist.wheel()[..200].to_vec())),
        ("bytes after the zip", 400, "Invalid distribution file.", good.clone().content(trailing)),
        ("a zip that is a tar, too", 400, "a zip and a tar archive at once", good.clone().content(polyglot.bytes)),
        (
            "a wheel that is a bomb",
            400,
            "more than 50 times its size",
            good.clone().content(dist.clone().payload(vec![0; 80 << 20]).wheel()),
        ),
        ("a climbing path", 400, "a path contains `.` or `..`", good.clone().content(with_entry("../evil", regular))),
        ("an absolute path", 400, "a path is absolute", good.clone().content(with_entry("/etc/evil", regular))),
        ("a symlink", 400, "an entry is a link or a device", good.clone().content(with_entry("bad/l", 0o120777 << 16))),
        ("an unlisted file", 400, "missing from RECORD", good.clone().content(with_entry("bad/x.py", regular))),
        ("no RECORD", 400, "no RECORD", good.clone().content(without("RECORD"))),
        ("no METADATA", 400, "no METADATA", good.clone().content(without("METADATA"))),
        ("no WHEEL", 400, "no WHEEL", good.clone().content(without("/WHEEL"))),
        ("a sdist called wheel", 400, "gzip archive, not zip", good.clone().content(dist.sdist())),
        (
            "another name inside",
            400,
            "the name in the metadata is 'worse'",
            good.clone().content(Dist::new("worse", "1.0").wheel()),
        ),
        (
            "another version inside",
            400,
            "the version in the metadata is '1.1'",
            good.clone().content(Dist::new("bad", "1.1").wheel()),
        ),
        (
            "other tags inside",
            400,
            "the tags of the file name",
            good.clone().content(dist.clone().tagged("py2-none-any").wheel()),
        ),
        (
            "tags without end",
            400,
            "its Tags stand for more than 4096",
            good.clone().content(dist.clone().tagged(&endless_tags()).wheel()),
        ),
        ("a sdist without PKG-INFO", 400, "no PKG-INFO", sdist.clone().content(targz(&[(&root("setup.py"), b"")]))),
        (
            "a sdist with two roots",
            400,
            "all files must lie in",
            sdist.clone().content(tar(&|t| t.file("other/x", b""))),
        ),
        (
            "a sdist with a link",
            400,
            "entry type Symlink",
            sdist.clone().content(tar(&|t| t.special(b'2', &root("l"), "/etc/passwd"))),
        ),
        (
            "a sdist with a hard link",
            400,
            "entry type Link",
            sdist.clone().content(tar(&|t| t.special(b'1', &root("l"), &root("PKG-INFO")))),
        ),
        (
            "a sdist that states two sizes",
            400,
            "the pax size differs from the header size",
            sdist.clone().content(tar(&|t| t.pax(b'x', &[("size", b"4")]).file(&root("x"), b"12345"))),
        ),
        (
            "a sparse sdist",
            400,
            "the tar entry is sparse",
            sdist.clone().content(tar(&|t| t.pax(b'x', &[("GNU.sparse.major", b"1")]).file(&root("x"), b"12345"))),
        ),
        (
            "a bomb",
            400,
            "more than 50 times its size",
            sdist.clone().content(tar(&|t| t.file(&root("zeros"), &vec![0; 80 << 20]))),
        ),
        (
            "bad attestations",
            400,
            "Invalid attestations supplied during upload:",
            good.clone().set("attestations", "{}"),
        ),
        (
            "fields as long as a book",
            400,
            "METADATA cannot be read: its fields take more than",
            good.clone().content(dist.clone().with("Keywords", &"x".repeat(300 << 10)).wheel()),
        ),
        ("a long field", 413, "a field of the form", good.clone().set("summary", &"x".repeat(70 << 10))),
    ];
    for (what, wanted, reason, upload) in cases {
        let (status, text) = upload.send(&server, Some(&user.token)).await;
        assert_eq!(status, wanted, "{what}: {text}");
        assert!(text.starts_with(&format!("{wanted} ")) && text.contains(reason), "{what}: {text}");
        // The file may come first, too.
        let (status, text) = Upload { file_at: 0, ..upload }.send(&server, Some(&user.token)).await;
        assert_eq!(status, wanted, "{what}, file first: {text}");
    }
    assert_eq!(server.get("/pypi/simple/bad/", Some(&user.token)).await.0, 404, "something was stored");
    assert_eq!(rows(&server).await, before);
    assert_eq!(temporary_files(&server), files_before);
    // Where bytes are staged under their last name, nothing was left for the collector either.
    let collected = server.run(&["gc", "--grace", "0s", "--json"]).await;
    assert_eq!(collected["deleted_objects"], 0, "{collected}");
    // All of it is free still.
    Upload { file_at: 0, ..good }.live(&server, &user).await;
    sdist.live(&server, &user).await;
});

on_backends!(forms_that_are_none_are_refused, async |server: Server| {
    let user = server.new_user("ada").await;
    let post = |content_type: &'static str, body: Vec<u8>| {
        let request = server.http.post(format!("{}/pypi/legacy/", server.base_url()));
        request.basic_auth("__token__", Some(&user.token)).header("content-type", content_type).body(body).send()
    };
    for (content_type, body) in [
        ("application/json", b"{}".to_vec()),
        ("multipart/form-data", b"x".to_vec()),
        ("multipart/form-data; boundary=x", b"".to_vec()),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nunfinished".to_vec(),
        ),
        ("multipart/form-data; boundary=x", vec![b'y'; 1 << 20]),
        ("multipart/form-data; boundary=x", b"--x--\r\n".to_vec()),
    ] {
        let response = post(content_type, body).await.unwrap();
        assert_eq!(response.status().as_u16(), 400, "{content_type}");
    }
});

on_backends!(errors_are_json_for_clients_that_ask, async |server: Server| {
    let user = server.new_user("ada").await;
    let upload =
        Upload { accept: "application/json;q=0.9, text/plain;q=0.8", ..Dist::new("demo", "1.0").upload_wheel() };
    let (status, text) = upload.clone().set("name", "../x").send(&server, Some(&user.token)).await;
    let body: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status, 400);
    assert!(body["code"].as_str().unwrap().starts_with("400 '../x' is an invalid value for Name."), "{body}");
    assert_eq!(body["title"], "Bad Request");
});

on_backends!(what_a_release_and_an_index_may_hold_once, async |server: Server| {
    let user = server.new_user("ada").await;
    Dist::new("demo", "1.0").upload_sdist().live(&server, &user).await;
    let zipped = Dist::new("demo", "1.0");
    let content = ZipBuilder::new().file("demo-1.0/PKG-INFO", zipped.metadata().as_bytes()).finish();
    let second = Upload::new(&zipped, "demo-1.0.zip", "sdist", content);
    let (status, text) = second.send(&server, Some(&user.token)).await;
    assert_eq!((status, text.as_str()), (400, "400 Only one sdist may be uploaded per release."));
    // 1.0.0 is the same release; another spelling of the project the same project.
    let spelled = Dist::new("Demo", "1.0.0").upload_sdist();
    let (status, text) = spelled.send(&server, Some(&user.token)).await;
    assert_eq!(status, 400, "{text}");
    let (_, page) = server.get("/pypi/simple/demo/", None).await;
    assert_eq!(page.matches("<a href").count(), 1, "{page}");

    let other = server.new_user("mallory").await;
    for alike in ["dem0", "d-e-m-o"] {
        let (status, text) = Dist::new(alike, "1.0").upload_wheel().send(&server, Some(&other.token)).await;
        let wanted = format!("400 The name '{alike}' is too similar to an existing project.");
        assert_eq!((status, text), (400, wanted));
        Dist::new(alike, "1.0").upload_wheel().live(&server, &user).await;
    }
});

on_backends!(repositories_are_named_in_the_address, async |server: Server| {
    let user = server.new_user("ada").await;
    Dist::new("first", "1.0").upload_wheel().live(&server, &user).await;
    let upload = Dist::new("second", "1.0").upload_wheel();
    let to = |slug: &str| Upload { path: format!("/pypi/legacy/{slug}/"), ..upload.clone() };
    let (status, text) = to("nowhere").send(&server, Some(&user.token)).await;
    assert_eq!(status, 404, "{text}");
    let other = server.new_user("mallory").await;
    let (status, text) = to("ada").send(&server, Some(&other.token)).await;
    assert_eq!(status, 403, "{text}");
    to("ada").live(&server, &user).await;
    assert_eq!(server.get("/pypi/simple/second/", None).await.0, 200);
});

#[tokio::test(flavor = "multi_thread")]
async fn files_above_the_limit_are_refused() {
    let server = Server::start_with(Backend::Embedded, &[("limits.artifact.wheel", "1MiB")]).await;
    let user = server.new_user("ada").await;
    let noise = noise(3_000_000);
    let upload = Dist::new("big", "1.0").payload(noise).upload_wheel();
    let (status, text) = upload.send(&server, Some(&user.token)).await;
    assert_eq!((status, text.as_str()), (413, "413 File too large. Limit for project 'big' is 1 MB."));
    assert_eq!(server.get("/pypi/simple/big/", Some(&user.token)).await.0, 404);
    assert_eq!(temporary_files(&server), 0);
}

on_backends!(nobody_uploads_without_a_credential, async |server: Server| {
    let upload = Dist::new("demo", "1.0").upload_wheel();
    for token in [None, Some("pub_nonsense")] {
        let (status, text) = upload.send(&server, token).await;
        assert_eq!((status, text.as_str()), (401, "401 Invalid or non-existent authentication information."));
    }
    assert_eq!(server.database().await.count_rows("packages").await.unwrap(), 0);
});
