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
    let list = async |token: Option<&str>| {
        let mut headers = vec![("accept", JSON)];
        let authorization = token.map(|token| format!("Bearer {token}"));
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        let list = get(&server, "/pypi/simple/", &headers).await.json::<Value>().await.unwrap();
        list["projects"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(None).await, ["Demo.Pkg"]);
    // It is kept for as long as it says the same, and for whom.
    Dist::new("another", "1.0").upload_wheel().live(&server, &user).await;
    assert_eq!(list(None).await, ["another", "Demo.Pkg"]);
    server.set_visibility("pypi", "another", "private").await;
    assert_eq!(list(None).await, ["Demo.Pkg"]);
    assert_eq!(list(Some(&user.token)).await, ["another", "Demo.Pkg"]);
    assert_eq!(list(None).await, ["Demo.Pkg"]);
});

on_backends!(a_lost_metadata_file_is_not_answered_with_its_wheel, async |server: Server| {
    let user = server.new_user("ada").await;
    let dist = Dist::new("demo", "1.0");
    dist.upload_wheel().live(&server, &user).await;
    let db = server.database().await;
    let lost = "UPDATE blobs SET location = 'blobs/lost' WHERE digest IN (SELECT sha256 FROM artifact_companions)";
    db.execute_raw(lost).await.unwrap();
    let path = format!("/pypi/files/{}/{}", server.artifact_id(&dist.wheel_name()).await, dist.wheel_name());
    assert_eq!(get(&server, &format!("{path}.metadata"), &[]).await.status().as_u16(), 503);
    assert_eq!(get(&server, &path, &[]).await.bytes().await.unwrap(), dist.wheel());
});

on_backends!(the_json_api_tells_of_each_release_and_what_is_known_against_it, async |server: Server| {
    let user = server.new_user("ada").await;
    for (version, summary) in [("1.0", "the first"), ("2.0", "the second")] {
        Dist::new("Demo.Pkg", version).summary(summary).upload_wheel().live(&server, &user).await;
    }
    // A correction of the old line, which is the latest upload and not the newest version.
    let late = Dist::new("Demo.Pkg", "1.0.1").summary("a late one").with("Keywords", "a,b");
    late.upload_wheel().live(&server, &user).await;
    let project = async |path: &str| {
        let response = get(&server, path, &[]).await;
        assert_eq!(
            (response.status().as_u16(), header(&response, "content-type")),
            (200, "application/json"),
            "{path}"
        );
        let etag = header(&response, "etag").to_owned();
        let again = get(&server, path, &[("if-none-match", &etag)]).await;
        assert_eq!(again.status().as_u16(), 304, "{path}");
        response.json::<Value>().await.unwrap()
    };
    for (path, version, summary, keywords) in [
        ("/pypi/demo-pkg/json", "2.0", "the second", ""),
        ("/pypi/demo-pkg/2.0/json", "2.0", "the second", ""),
        ("/pypi/Demo.Pkg/1.0.0/json", "1.0", "the first", ""),
        ("/pypi/demo-pkg/1.0.1/json", "1.0.1", "a late one", "a,b"),
    ] {
        let body = project(path).await;
        let info = &body["info"];
        assert_eq!((&info["version"], &info["summary"]), (&json!(version), &json!(summary)), "{path}");
        assert_eq!((&info["name"], &info["keywords"]), (&json!("Demo.Pkg"), &json!(keywords)), "{path}");
        assert!(info["description"].as_str().unwrap().contains("A test."), "{body}");
        assert_eq!(body["urls"][0]["filename"], format!("demo_pkg-{version}-py3-none-any.whl"));
        assert_eq!(body["vulnerabilities"], json!([]));
    }
    let releases = project("/pypi/demo-pkg/json").await["releases"].as_object().unwrap().len();
    assert_eq!(releases, 3);
    assert_eq!(get(&server, "/pypi/demo-pkg/3.0/json", &[]).await.status().as_u16(), 404);

    let ask = async |token: Option<&str>, query: Value| {
        let mut request = server.http.post(format!("{}/pypi/osv/v1/query", server.base_url())).body(query.to_string());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        response.json::<Value>().await.unwrap()
    };
    let question =
        |version: &str| json!({ "package": { "name": "Demo.Pkg", "ecosystem": "PyPI" }, "version": version });
    assert_eq!(ask(None, question("1.0")).await, json!({}));
    server.find("pypi", "demo-pkg", "1", "reads what it should not").await;
    let found = project("/pypi/demo-pkg/1.0/json").await["vulnerabilities"].clone();
    assert_eq!((&found[0]["id"], &found[0]["summary"]), (&json!("CVE-2026-0001"), &json!("reads what it should not")));
    assert_eq!((&found[0]["aliases"], &found[0]["withdrawn"]), (&json!([]), &Value::Null));
    assert_eq!(project("/pypi/demo-pkg/2.0/json").await["vulnerabilities"], json!([]));
    let answer = ask(None, question("1.0.0")).await;
    let affected = &answer["vulns"][0]["affected"][0];
    let package = json!({ "name": "demo-pkg", "ecosystem": "PyPI", "purl": "pkg:pypi/demo-pkg" });
    assert_eq!((&answer["vulns"][0]["id"], &affected["package"]), (&json!("CVE-2026-0001"), &package));
    assert_eq!((&affected["versions"], &affected["ranges"]), (&json!(["1.0"]), &json!([])));
    for clean in [
        question("2.0"),
        json!({ "package": { "name": "demo-pkg", "ecosystem": "npm" }, "version": "1.0" }),
        json!({ "package": { "name": "none", "ecosystem": "PyPI" }, "version": "1.0" }),
    ] {
        assert_eq!(ask(None, clean).await, json!({}));
    }
    let all = json!({ "package": { "name": "demo-pkg", "ecosystem": "PyPI" } });
    assert_eq!(ask(None, all).await["vulns"].as_array().unwrap().len(), 1);
    let nonsense = server.http.post(format!("{}/pypi/osv/v1/query", server.base_url())).body("{").send().await.unwrap();
    assert_eq!(nonsense.status().as_u16(), 400);
    // What one may not see, one is told nothing of.
    server.set_visibility("pypi", "demo-pkg", "private").await;
    assert_eq!(ask(None, question("1.0")).await, json!({}));
    assert!(ask(Some(&user.token), question("1.0")).await["vulns"].is_array());
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
        (reqwest::Method::GET, "/pypi/osv/v1/query", "POST"),
    ] {
        let response = server.http.request(method, format!("{base}{path}")).send().await.unwrap();
        assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, allow), "{path}");
    }
    for missing in
        ["/pypi", "/pypi/", "/pypi/x", "/pypi/pypi", "/pypi/simple/a b/", "/pypi/simple/-/", "/pypi/files/x/y.whl"]
    {
        assert_eq!(get(&server, missing, &[]).await.status().as_u16(), 404, "{missing}");
    }
    // `pip search`
    for xml_rpc in ["/pypi", "/pypi/"] {
        let response = server.http.post(format!("{base}{xml_rpc}")).body("<methodCall/>").send().await.unwrap();
        assert_eq!(response.status().as_u16(), 404, "{xml_rpc}");
    }
});
