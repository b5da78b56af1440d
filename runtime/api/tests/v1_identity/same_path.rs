//! What is hidden and what is missing take the same time because they take the same path (access.md §11): the
//! questions that each request asks of the database are compared, not the clock.

use axum::{Router, body::Body};
use http::{Method, Request, header};
use publaryn_api::v1;
use publaryn_core::Ecosystem;
use publaryn_metadata::asked::listening;
use publaryn_protocol::Adapter;
use serde_json::json;
use tower::ServiceExt;

use crate::app::{self, App};

/// Ends of names in every ecosystem, hidden and not there: a person's, and an organization's. Names are remembered, so
/// each hidden one has a missing one of its own. They are as long as each other, and alike as far as paths depend on
/// their first letters.
const PAIRS: [(&str, &str); 2] = [("tool-zebra", "tool-heron"), ("tool-otter", "tool-finch")];

/// A name of that ecosystem, and paths below its adapter's mount that lead to it.
fn native(ecosystem: Ecosystem, end: &str) -> (String, Vec<String>) {
    let (name, paths): (String, &[&str]) = match ecosystem {
        Ecosystem::Npm => (end.to_owned(), &["/N", "/N/1.0.0", "/N/-/N-1.0.0.tgz", "/-/package/N/dist-tags"]),
        Ecosystem::Cargo => {
            (end.to_owned(), &["/index/to/ol/N", "/api/v1/crates/N", "/api/v1/crates/N/1.0.0/download"])
        }
        Ecosystem::Pypi => (end.to_owned(), &["/simple/N/", "/N/json"]),
        Ecosystem::Maven => {
            (format!("com.acme:{end}"), &["/com/acme/N/maven-metadata.xml", "/com/acme/N/1.0/N-1.0.pom"])
        }
        Ecosystem::Nuget => (
            end.to_owned(),
            &[
                "/v3/flatcontainer/N/index.json",
                "/v3/registration/N/index.json",
                "/v3/flatcontainer/N/1.0.0/N.1.0.0.nupkg",
            ],
        ),
        Ecosystem::Rubygems => (end.to_owned(), &["/info/N", "/gems/N-1.0.0.gem", "/api/v1/gems/N.json"]),
        Ecosystem::Composer => (format!("acme/{end}"), &["/p2/acme/N.json", "/p2/acme/N~dev.json"]),
        Ecosystem::Oci => (format!("acme/{end}"), &["/acme/N/tags/list", "/acme/N/manifests/latest"]),
    };
    (name, paths.iter().map(|path| path.replace('N', end)).collect())
}

fn adapters() -> Vec<Box<dyn Adapter>> {
    vec![
        Box::new(publaryn_npm::Npm),
        Box::new(publaryn_cargo::Cargo),
        Box::new(publaryn_pypi::Pypi),
        Box::new(publaryn_maven::Maven),
        Box::new(publaryn_nuget::Nuget),
        Box::new(publaryn_rubygems::Rubygems::default()),
        Box::new(publaryn_composer::Composer::default()),
        Box::new(publaryn_oci::Oci),
    ]
}

/// Status and questions of a request; asked twice, for what is remembered of the first time.
async fn path_of(router: &Router, path: &str, token: Option<&str>) -> [(u16, Vec<&'static str>); 2] {
    let ask = async || {
        let mut request = Request::builder().uri(path).method(Method::GET);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let call = router.clone().oneshot(request.body(Body::empty()).unwrap());
        let (answer, asked) = listening(call).await;
        (answer.unwrap().status().as_u16(), asked)
    };
    [ask().await, ask().await]
}

/// Two private repositories, a person's and an organization's, with a package of every ecosystem in each.
async fn hide(app: &App, ada: &str) {
    let own = json!({"name": "own", "slug": "own-vault", "kind": "private"});
    app.post("/v1/repositories", own).bearer(ada).expect(201).await;
    let org = app.post("/v1/orgs", json!({"name": "acme", "slug": "acme"})).bearer(ada).expect(201).await.body;
    let theirs = json!({"name": "org", "slug": "org-vault", "kind": "private", "owner_org_id": org["id"]});
    app.post("/v1/repositories", theirs).bearer(ada).expect(201).await;
    for ecosystem in Ecosystem::ALL {
        for (repository, end) in [("own-vault", PAIRS[0].0), ("org-vault", PAIRS[1].0)] {
            let (name, _) = native(*ecosystem, end);
            let body = json!({"ecosystem": ecosystem.as_str(), "name": name, "repository_slug": repository});
            app.post("/v1/packages", body).bearer(ada).expect(201).await;
        }
    }
}

#[tokio::test]
async fn hidden_and_missing_ask_the_same_of_the_database() {
    for app in app::each().await {
        let (ada, eve) = (app.someone("ada").await, app.someone("eve").await);
        hide(&app, &ada).await;
        let control = v1::router(app.state.clone());
        let mut compared = 0;
        for caller in [None, Some(&*eve)] {
            for adapter in adapters() {
                let ecosystem = adapter.ecosystem();
                let router = adapter.mounts().swap_remove(0).router.with_state(app.state.registry.clone());
                // What is remembered of an ecosystem, not of a name, is found out with the first miss.
                for path in native(ecosystem, "tool-raven").1 {
                    path_of(&router, &path, caller).await;
                }
                for (hidden, missing) in PAIRS {
                    for (hidden, missing) in native(ecosystem, hidden).1.iter().zip(native(ecosystem, missing).1) {
                        let of_hidden = path_of(&router, hidden, caller).await;
                        assert_eq!(of_hidden, path_of(&router, &missing, caller).await, "{ecosystem} {hidden}");
                        compared += 1;
                    }
                }
            }
            let templates = v1::described().into_iter().filter(|route| route.method == Method::GET);
            for template in templates.map(|route| route.path) {
                let fill = |slug: &str, name: &str| {
                    let path = template.replace("{ecosystem}", "npm").replace("{name}", name).replace("{slug}", slug);
                    let path = path.replace("{version}", "1.0.0").replace("{filename}", "a.tgz");
                    (!path.contains('{')).then_some(path)
                };
                let is_about = |prefix| template.starts_with(prefix);
                let pairs = match () {
                    () if is_about("/v1/packages/{ecosystem}/{name}") => {
                        PAIRS.map(|(hidden, missing)| (fill("", hidden), fill("", missing)))
                    }
                    () if is_about("/v1/repositories/{slug}") => {
                        ["own-vault", "org-vault"].map(|hidden| (fill(hidden, ""), fill("not-there", "")))
                    }
                    () => continue,
                };
                for (hidden, missing) in pairs.into_iter().filter_map(|(hidden, missing)| hidden.zip(missing)) {
                    let of_hidden = path_of(&control, &hidden, caller).await;
                    assert_eq!(of_hidden, path_of(&control, &missing, caller).await, "{hidden}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 80, "{compared}");
        // The comparison would see it: whoever may see these packages is asked more about.
        let asked = async |end: &str| path_of(&control, &format!("/v1/packages/npm/{end}"), Some(&ada)).await;
        let (hers, missing) = PAIRS[0];
        assert_ne!(asked(hers).await, asked(missing).await);
        let npm = publaryn_npm::Npm.mounts().swap_remove(0).router.with_state(app.state.registry.clone());
        let of_hers = path_of(&npm, &format!("/{hers}"), Some(&ada)).await;
        assert_ne!(of_hers, path_of(&npm, &format!("/{missing}"), Some(&ada)).await);
    }
}
