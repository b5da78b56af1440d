//! What a scraper reads (configuration.md §9).

use std::net::TcpListener;

use crate::{
    Backend, Server, bounded,
    npm_upload::{document, put, tarball},
};

/// The value of a series on the page, given by its name and all its labels in the page's order.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_has_an_address_of_its_own() {
    bounded(async {
        let own = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = Server::start_with(Backend::Embedded, &[("metrics.listen", &own.to_string())]).await;
        let user = server.new_user("ada").await;
        let (status, text) =
            put(&server, &user.token, "counted", &document("counted", "1.0.0", &tarball("counted", "1.0.0", b"x"))).await;
        assert_eq!(status, 201, "{text}");
        for path in ["/npm/counted", "/npm/missing", "/cargo/api/v1/crates", "/v1/tokens/current"] {
            server.get(path, None).await;
        }
        assert_eq!(server.get("/metrics", None).await.0, 404, "only on its own address");

        let page = server.http.get(format!("http://{own}/metrics")).send().await.unwrap().text().await.unwrap();
        for (series, at_least) in [
            (r#"publaryn_http_requests_total{surface="npm",method="PUT",route="/{package}",status="201"}"#, 1.0),
            (r#"publaryn_http_requests_total{surface="npm",method="GET",route="/{package}",status="404"}"#, 1.0),
            (r#"publaryn_http_requests_total{surface="cargo",method="GET",route="/api/v1/crates",status="200"}"#, 1.0),
            (r#"publaryn_http_requests_total{surface="control",method="GET",route="/v1/tokens/current",status="401"}"#, 1.0),
            (r#"publaryn_publishes_total{ecosystem="npm",outcome="live"}"#, 1.0),
            (r#"publaryn_publish_stage_seconds_count{stage="store"}"#, 1.0),
            (r#"publaryn_publish_stage_seconds_count{stage="scan"}"#, 1.0),
            (r#"publaryn_publish_stage_seconds_count{stage="finalize"}"#, 1.0),
            (r#"publaryn_jobs_finished_total{kind="scan_artifact",outcome="completed"}"#, 1.0),
            (r#"publaryn_findings_unresolved{severity="critical"}"#, 0.0),
            ("publaryn_db_acquire_seconds_count", 1.0),
        ] {
            assert!(value(&page, series).is_some_and(|value| value >= at_least), "{series}\n{page}");
        }
        assert!(!page.contains("counted"), "no names of packages");
    })
    .await;
}
