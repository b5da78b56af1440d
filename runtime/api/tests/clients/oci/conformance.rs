//! Both conformance suites of the distribution specification, with everything in them.

use crate::{
    Server, User,
    oci::{Desk, desk::tools},
    on_backends,
    process::{self, Said},
};

const LONGEST: std::time::Duration = std::time::Duration::from_secs(240);

/// Runs a suite with these variables.
async fn run(desk: &Desk, program: &str, variables: &[(&str, &str)]) -> Said {
    let mut command = desk.command(tools().join(program));
    command.envs(variables.iter().copied());
    let shown = format!("{program} {variables:?}");
    process::run(command, &shown, "", LONGEST).await.said(&shown)
}

/// The runner of the specification's main branch.
async fn current(desk: &Desk, version: &str, user: &User, password: &str, more: &[(&str, &str)]) -> Said {
    let (one, two) = (format!("{}/{version}/one", user.name), format!("{}/{version}/two", user.name));
    let mut variables = vec![
        ("OCI_REGISTRY", desk.host()),
        ("OCI_TLS", "disabled"),
        ("OCI_VERSION", version),
        ("OCI_USERNAME", &user.name),
        ("OCI_PASSWORD", password),
        ("OCI_REPO1", &one),
        ("OCI_REPO2", &two),
    ];
    variables.extend(more);
    run(desk, "conformance", &variables).await
}

/// A line `  Skip....:   0` of the report.
fn count(said: &Said, what: &str) -> u32 {
    let line =
        said.out.lines().chain(said.err.lines()).find(|line| line.trim_start().starts_with(&format!("{what}..")));
    let line = line.unwrap_or_else(|| panic!("no `{what}` in the report:\n{}\n{}", said.out, said.err));
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// Everything passed, and only what this version of the suite turns off by itself was left out.
fn is_clean(said: Said, disabled: u32) {
    let said = said.succeeds();
    for what in ["FAIL", "Error", "Skip"] {
        assert_eq!(count(&said, what), 0, "{}", said.out);
    }
    assert_eq!(count(&said, "Disabled"), disabled, "{}", said.out);
    assert!(count(&said, "Pass") > 800, "{}", said.out);
}

on_backends!(the_current_runner_passes_with_nothing_skipped, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "suite");
    // Version 1.1 leaves out cancelling an upload, once per digest algorithm.
    is_clean(current(&desk, "1.1", &user, &user.token, &[]).await, 2);
    is_clean(current(&desk, "dev", &user, &user.token, &[]).await, 0);
    is_clean(current(&desk, "dev", &user, &user.password, &[]).await, 0);
    // Manifests of what is not there are refused, unless the repository allows them.
    allow_missing_references(&server, &user).await;
    is_clean(current(&desk, "dev", &user, &user.token, &[("OCI_DATA_SPARSE", "true")]).await, 0);
});

on_backends!(the_ginkgo_suite_passes, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "suite");
    let url = server.base_url();
    for (n, (password, manifests_first)) in
        [(&user.token, "1"), (&user.token, "0"), (&user.password, "1")].into_iter().enumerate()
    {
        let (one, two) = (format!("ada/ginkgo{n}/one"), format!("ada/ginkgo{n}/two"));
        let variables = [
            ("OCI_ROOT_URL", url.as_str()),
            ("OCI_NAMESPACE", &one),
            ("OCI_CROSSMOUNT_NAMESPACE", &two),
            ("OCI_USERNAME", &user.name),
            ("OCI_PASSWORD", password),
            ("OCI_TEST_PULL", "1"),
            ("OCI_TEST_PUSH", "1"),
            ("OCI_TEST_CONTENT_DISCOVERY", "1"),
            ("OCI_TEST_CONTENT_MANAGEMENT", "1"),
            ("OCI_AUTOMATIC_CROSSMOUNT", "1"),
            ("OCI_DELETE_MANIFEST_BEFORE_BLOBS", manifests_first),
            ("OCI_REPORT_DIR", "none"),
        ];
        let said = run(&desk, "ginkgo", &variables).await.succeeds();
        // Left out: the branches for registries that mount differently, and names given by the environment.
        for expected in ["Ran 75 of 79 Specs", "75 Passed", "0 Failed", "4 Skipped"] {
            assert!(said.out.contains(expected), "no `{expected}`:\n{}", said.out);
        }
    }
});

/// Sets it on every repository of an account; only its owner may.
async fn allow_missing_references(server: &Server, user: &crate::User) {
    let (_, list) = server.get(&format!("/v1/users/{}/packages?per_page=100", user.name), Some(&user.token)).await;
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let names: Vec<&str> =
        list["packages"].as_array().expect("a list").iter().filter_map(|p| p["name"].as_str()).collect();
    assert!(!names.is_empty());
    for name in names {
        let url = format!("{}/v1/packages/oci/{}", server.base_url(), name.replace('/', "%2F"));
        let body = serde_json::json!({ "allow_missing_references": true });
        let request = |token: &str| server.http.patch(&url).bearer_auth(token).json(&body).send();
        assert_eq!(request("pub_nonsense").await.expect("an answer").status().as_u16(), 401);
        assert_eq!(request(&user.token).await.expect("an answer").status().as_u16(), 200, "{name}");
    }
}
