//! The simple API over plain HTTP: representations, validators, redirects, methods.

use serde_json::{Value, json};

use super::Dist;
use crate::{Server, on_backends};

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client without TLS");
    let mut request = client.get(format!("{}{path}", server.base_url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("the server answers")
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "application/vnd.pypi.simple.v1+html";

on_backends!(each_accept_header_gets_its_representation, async |server: Server| {
    let user = server.new_user("ada").await;
    Dist::new("demo", "1.0").with("Requires-Python", ">=3.8,<4").upload_wheel().live(&server, &user).await;
    for path in ["/pypi/simple/", "/pypi/simple/demo/"] {
        for (accept, wanted) in [
            ("*/*", "text/html"),
            ("text/html", "text/html"),
            (JSON, JSON),
            (HTML, HTML),
            ("application/vnd.pypi.simple.latest+json", JSON),
            (
                "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01, text/html;",
                JSON,
            ),
            ("application/vnd.pypi.simple.v1+json, */*;q=0.1", JSON),
        ] {
            let response = get(&server, path, &[("accept", accept)]).await;
            assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, wanted), "{accept}");
            assert!(header(&response, "vary").contains("Accept"));
            assert!(header(&response, "cache-control").contains("max-age=0, must-revalidate"));
            let etag = header(&response, "etag").to_owned();
            let again = get(&server, path, &[("accept", accept), ("if-none-match", &etag)]).await;
            assert_eq!(again.status().as_u16(), 304, "{accept}");
        }
        let etags: std::collections::HashSet<String> = {
            let mut all = std::collections::HashSet::new();
            for accept in ["text/html", JSON, HTML] {
                all.insert(header(&get(&server, path, &[("accept", accept)]).await, "etag").to_owned());
            }
            all
        };
        assert_eq!(etags.len(), 3, "representations share a validator");
        assert_eq!(get(&server, path, &[("accept", "application/json")]).await.status().as_u16(), 406);
        let asked = get(&server, &format!("{path}?format={JSON}"), &[("accept", "text/html")]).await;
        assert_eq!(header(&asked, "content-type"), JSON);
        let zipped = get(&server, path, &[("accept-encoding", "gzip"), ("accept", JSON)]).await;
        assert_eq!(zipped.status().as_u16(), 200);
    }
    let page = get(&server, "/pypi/simple/demo/", &[]).await.text().await.unwrap();
    assert!(page.contains("data-requires-python=\"&gt;=3.8,&lt;4\""), "{page}");
});

on_backends!(the_json_page_says_what_clients_need, async |server: Server| {
    let user = server.new_user("ada").await;
    let dist = Dist::new("Demo.Pkg", "1.0").with("Requires-Python", ">=3.8");
    for upload in [
        dist.upload_sdist(),
        dist.upload_wheel(),
        Dist::new("Demo.Pkg", "1.0.1").upload_wheel(),
        Dist::new("Demo.Pkg", "0.9rc1").upload_wheel(),
        Dist::new("Demo.Pkg", "1.0+cpu").upload_wheel(),
    ] {
        upload.live(&server, &user).await;
    }
    let text = get(&server, "/pypi/simple/demo-pkg/", &[("accept", JSON)]).await.text().await.unwrap();
    assert!(!text.contains("null"), "{text}");
    let page: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(page["meta"], json!({ "api-version": "1.4" }));
    assert_eq!(page["name"], "demo-pkg");
    assert_eq!(page["versions"], json!(["0.9rc1", "1.0", "1.0+cpu", "1.0.1"]));
    let files = page["files"].as_array().unwrap();
    let names: Vec<&str> = files.iter().map(|f| f["filename"].as_str().unwrap()).collect();
    let wanted = [
        "demo_pkg-0.9rc1-py3-none-any.whl",
        "demo_pkg-1.0-py3-none-any.whl",
        "demo_pkg-1.0.tar.gz",
        "demo_pkg-1.0+cpu-py3-none-any.whl",
        "demo_pkg-1.0.1-py3-none-any.whl",
    ];
    assert_eq!(names, wanted);
    let (wheel, sdist) = (&files[1], &files[2]);
    assert_eq!((&wheel["requires-python"], &wheel["yanked"]), (&json!(">=3.8"), &json!(false)));
    assert_eq!(sdist["core-metadata"], json!(false));
    assert_eq!(wheel["core-metadata"], wheel["dist-info-metadata"]);
    assert!(wheel["upload-time"].as_str().unwrap().ends_with('Z'));
    for file in files {
        let url = file["url"].as_str().unwrap();
        let path = url.strip_prefix(&server.base_url()).expect("an absolute address of this server");
        let response = get(&server, path, &[]).await;
        assert_eq!(response.status().as_u16(), 200, "{url}");
        assert_eq!(header(&response, "content-type"), "application/octet-stream");
        assert!(header(&response, "cache-control").contains("immutable"));
        let bytes = response.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file["size"].as_u64().unwrap());
        let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        assert_eq!(file["hashes"]["sha256"], sha256);
        if let Some(wanted) = file["core-metadata"]["sha256"].as_str() {
            let metadata = get(&server, &format!("{path}.metadata"), &[]).await;
            assert_eq!(metadata.status().as_u16(), 200);
            let bytes = metadata.bytes().await.unwrap();
            assert_eq!(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes)), wanted);
            assert!(bytes.starts_with(b"Metadata-Version: 2.1\nName: Demo.Pkg\n"));
        } else {
            assert_eq!(get(&server, &format!("{path}.metadata"), &[]).await.status().as_u16(), 404);
        }
        // The id alone is not enough.
        let (folder, _) = path.rsplit_once('/').unwrap();
        assert_eq!(get(&server, &format!("{folder}/other.whl"), &[]).await.status().as_u16(), 404);
    }
    let list = get(&server, "/pypi/simple/", &[("accept", JSON)]).await.json::<Value>().await.unwrap();
    assert_eq!(list["projects"], json!([{ "name": "Demo.Pkg" }]));
});

on_backends!(other_spellings_are_redirected_once, async |server: Server| {
    let user = server.new_user("ada").await;
    Dist::new("Demo.Pkg", "1.0").upload_wheel().live(&server, &user).await;
    let base = server.base_url();
    for (path, to) in [
        ("/pypi/simple", "/pypi/simple/"),
        ("/pypi/simple/demo-pkg", "/pypi/simple/demo-pkg/"),
        ("/pypi/simple/Demo.Pkg/", "/pypi/simple/demo-pkg/"),
        ("/pypi/simple/Demo_Pkg", "/pypi/simple/demo-pkg/"),
        ("/pypi/simple/No.Such", "/pypi/simple/no-such/"),
        ("/pypi/simple/Demo.Pkg?format=text/html", "/pypi/simple/demo-pkg/?format=text/html"),
    ] {
        let response = get(&server, path, &[]).await;
        assert_eq!(response.status().as_u16(), 301, "{path}");
        assert_eq!(header(&response, "location"), format!("{base}{to}"), "{path}");
    }
    // Hatch looks here before every upload.
    for alias in ["/pypi/legacy/+simple/demo-pkg/", "/pypi/legacy/%2Bsimple/demo-pkg/"] {
        assert_eq!(get(&server, alias, &[]).await.status().as_u16(), 200, "{alias}");
    }
    assert_eq!(get(&server, "/pypi/legacy/+simple/none/", &[]).await.status().as_u16(), 404);
    for (method, path, allow) in [
        (reqwest::Method::GET, "/pypi/legacy/", "POST"),
        (reqwest::Method::PUT, "/pypi/legacy/", "POST"),
        (reqwest::Method::POST, "/pypi/simple/", "GET, HEAD"),
        (reqwest::Method::POST, "/pypi/simple/demo-pkg/", "GET, HEAD"),
    ] {
        let response = server.http.request(method, format!("{base}{path}")).send().await.unwrap();
        assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, allow), "{path}");
    }
    for missing in
        ["/pypi", "/pypi/", "/pypi/x", "/pypi/pypi", "/pypi/simple/a b/", "/pypi/simple/-/", "/pypi/files/x/y.whl"]
    {
        assert_eq!(get(&server, missing, &[]).await.status().as_u16(), 404, "{missing}");
    }
});
