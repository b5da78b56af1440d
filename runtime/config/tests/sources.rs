//! Where values come from, and which one wins.

mod load;

use std::{collections::BTreeSet, time::Duration};

use load::{lines, load, sources, with_file};
use publaryn_config::*;
use publaryn_core::{ArtifactKind, Ecosystem};

#[test]
fn flags_beat_environment_beat_file_beat_defaults() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\nreplicas = 1\nmax_connections = 7\nrequest_timeout_seconds = 9\n";
    let (dir, result) = with_file(text, &[("SERVER__LISTEN", "127.0.0.1:2"), ("SERVER__MAX_CONNECTIONS", "8")]);
    let config = result.unwrap();
    assert_eq!(config.server.max_connections.get(), 8);
    assert_eq!(config.server.request_timeout_seconds.duration(), Duration::from_secs(9));
    assert_eq!(config.server.idle_timeout_seconds.get(), 60);

    let file = dir.path().join("publaryn.toml");
    let mut all = sources(&[("SERVER__LISTEN", "127.0.0.1:2"), ("SERVER__MAX_CONNECTIONS", "8")]);
    all.file = Some(file.clone());
    all.flags = vec![FlagValue { flag: "--listen", key: "server.listen", value: "127.0.0.1:3".to_owned() }];
    let config = Config::load(&all).unwrap();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.server.base_url.as_str(), "http://127.0.0.1:3");
    for (key, origin) in [
        ("server.listen", Origin::Flag("--listen")),
        ("server.max_connections", Origin::Env("PUBLARYN__SERVER__MAX_CONNECTIONS".to_owned())),
        ("server.request_timeout_seconds", Origin::File(file)),
        ("server.idle_timeout_seconds", Origin::Default),
        ("server.base_url", Origin::Derived),
    ] {
        assert_eq!(config.origin_of(key), &origin, "{key}");
    }
}

#[test]
fn a_flag_saves_a_faulty_value_below_it() {
    let mut all = sources(&[("SERVER__LISTEN", "nowhere")]);
    all.flags = vec![FlagValue { flag: "--listen", key: "server.listen", value: "127.0.0.1:3".to_owned() }];
    Config::load(&all).unwrap();
}

#[test]
fn environment_nests_and_lists_are_comma_separated() {
    let config = load(&[
        ("DATA_DIR", "/srv/x"),
        ("STORAGE__S3__BUCKET", "b"),
        ("LIMITS__ARTIFACT__OCI_LAYER", "1GiB"),
        ("JOBS__KINDS__SCAN_ARTIFACT__CONCURRENCY", "3"),
        ("NAMESPACES__REQUIRE_CLAIM", "npm, maven"),
        ("SERVER__TRUSTED_PROXIES", "10.1.2.3/8,::1"),
        ("SERVER__PORTAL", "0"),
        ("PACKAGES__DELETE_WINDOW_HOURS", "-1"),
        ("REDIS__URL", ""),
    ])
    .unwrap();
    assert_eq!(config.storage.s3.bucket.as_deref(), Some("b"));
    assert_eq!(config.limits.artifact.of(ArtifactKind::OciLayer).bytes(), 1 << 30);
    assert_eq!(config.limits.artifact.of(ArtifactKind::Crate).bytes(), 256 << 20);
    assert_eq!(config.jobs.kinds.of("scan_artifact").unwrap().concurrency.unwrap().get(), 3);
    assert!(config.jobs.kinds.of("verify_blobs").unwrap().concurrency.is_none());
    assert_eq!(config.namespaces.require_claim, [Ecosystem::Npm, Ecosystem::Maven]);
    assert_eq!(
        config.server.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/8", "::1/128"]
    );
    assert!(!config.server.portal);
    assert_eq!(config.packages.delete_window_hours, DeleteWindow::Always);
    assert!(config.redis.url.is_none(), "an empty variable leaves an optional setting unset");
    assert_eq!(config.database.url, DatabaseUrl::Sqlite("/srv/x/publaryn.db".into()));
    assert_eq!(config.storage.fs.path, std::path::Path::new("/srv/x/blobs"));
}

#[test]
fn secrets_may_come_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("jwt");
    let name = secret.to_str().unwrap();
    std::fs::write(&secret, "5d41402abc4b2a76b9719d911017c592\n\n").unwrap();
    let config = load(&[("AUTH__JWT_SECRET_FILE", name)]).unwrap();
    // One trailing newline is removed, no more.
    assert_eq!(config.auth.jwt_secret.as_ref().unwrap().expose(), "5d41402abc4b2a76b9719d911017c592\n");
    assert_eq!(config.origin_of("auth.jwt_secret"), &Origin::SecretFile(secret.clone()));

    let both = load(&[("AUTH__JWT_SECRET_FILE", name), ("AUTH__JWT_SECRET", "x")]).unwrap_err();
    assert_eq!(
        lines(&both)[0],
        "config error: auth.jwt_secret: auth.jwt_secret and auth.jwt_secret_file are both set, keep one (set PUBLARYN__AUTH__JWT_SECRET)"
    );

    // Also when one of them is in the file.
    let (_dir, result) = with_file(&format!("[auth]\njwt_secret_file = {name:?}\n"), &[("AUTH__JWT_SECRET", "x")]);
    assert!(lines(&result.unwrap_err())[0].contains("both set"));

    let missing = load(&[("METRICS__TOKEN_FILE", "/nonexistent/token")]).unwrap_err();
    let text = missing.to_string();
    assert!(text.starts_with("config error: metrics.token_file: cannot read /nonexistent/token: "), "{text}");
    assert!(text.ends_with("(set PUBLARYN__METRICS__TOKEN_FILE)"), "{text}");

    let not_secret = load(&[("SERVER__LISTEN_FILE", name)]).unwrap_err();
    assert!(not_secret.to_string().contains("unknown setting"));
}

#[test]
fn the_documented_production_example_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (access, secret) = (file("a", "key\n"), file("s", "secret\n"));
    let (meili, jwt) = (file("m", "meili\n"), file("j", "5d41402abc4b2a76b9719d911017c592\n"));
    let text = format!(
        r#"
data_dir = "/var/lib/publaryn"
[server]
listen = "0.0.0.0:3000"
base_url = "https://packages.example.com"
trusted_proxies = ["10.0.0.0/8"]
replicas = 3
[database]
url = "postgres://publaryn:pw@db/publaryn"
[redis]
url = "redis://cache:6379"
[storage]
backend = "s3"
[storage.s3]
endpoint = "https://minio.internal"
bucket = "publaryn"
access_key_file = "{access}"
secret_key_file = "{secret}"
[search]
url = "http://meili:7700"
api_key_file = "{meili}"
[auth]
jwt_secret_file = "{jwt}"
registration = "closed"
"#
    );
    let (_file, result) = with_file(&text, &[]);
    let config = result.unwrap();
    assert_eq!(config.search.backend, SearchBackend::Meilisearch);
    assert!(config.storage.s3.path_style && !config.is_embedded());
    assert_eq!(config.jobs.poll_interval_ms.get(), 1000);
    assert_eq!(config.auth.issuer, "https://packages.example.com");
    assert_eq!(config.oidc.audience, "packages.example.com");
    assert_eq!(config.auth.registration, Registration::Closed);
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
}

#[test]
fn issuers_may_be_tables() {
    let text = "[oidc]\nissuers = [\"https://gitlab.com\", { issuer = \"https://ci.example/x\", jwks_url = \"https://ci.example/keys\" }]\n";
    let issuers = with_file(text, &[]).1.unwrap().oidc.issuers.clone();
    assert_eq!(issuers[0], OidcIssuer { issuer: "https://gitlab.com".to_owned(), jwks_url: None });
    assert_eq!(issuers[1].issuer, "https://ci.example/x");
    assert_eq!(issuers[1].jwks_url.as_ref().unwrap().expose(), "https://ci.example/keys");

    let text = "[oidc]\nissuers = [{ issuer = \"https://ci.example\", keys = \"x\" }]\n";
    assert!(with_file(text, &[]).1.unwrap_err().to_string().contains("unknown member `keys`"));
}

#[test]
fn wildcard_addresses_give_localhost_and_a_warning() {
    for listen in ["0.0.0.0:80", "[::]:80"] {
        let config = load(&[("SERVER__LISTEN", listen)]).unwrap();
        assert_eq!(config.server.base_url.as_str(), "http://localhost", "{listen}");
        assert!(config.warnings()[0].contains("server.base_url is not set"), "{:?}", config.warnings());
    }
    assert!(load(&[]).unwrap().warnings().is_empty());
}

#[test]
fn rust_log_is_read_below_its_own_setting() {
    assert_eq!(load(&[("RUST_LOG", "warn,publaryn_api")]).unwrap().log.level.as_str(), "warn,publaryn_api=trace");
    let config = load(&[("RUST_LOG", "warn"), ("LOG__LEVEL", "debug")]).unwrap();
    assert_eq!(config.log.level.as_str(), "debug");
    let (_dir, result) = with_file("[log]\nlevel = \"error\"\n", &[("RUST_LOG", "warn")]);
    assert_eq!(result.unwrap().log.level.as_str(), "warn");
}

#[test]
fn machine_facts_decide_some_defaults() {
    let mut all = sources(&[]);
    all.machine = Machine { cpus: 2, stderr_is_terminal: true };
    let config = Config::load(&all).unwrap();
    assert_eq!((config.jobs.concurrency.get(), config.log.format), (4, LogFormat::Pretty));
    all.machine = Machine { cpus: 32, stderr_is_terminal: false };
    let config = Config::load(&all).unwrap();
    assert_eq!((config.jobs.concurrency.get(), config.log.format), (32, LogFormat::Json));
    assert_eq!(config.jobs.poll_interval_ms.get(), 200);
}

#[test]
fn a_free_port_completes_the_derived_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::embedded(dir.path());
    assert_eq!(config.server.listen.port(), 0);
    config.bound_to("127.0.0.1:4567".parse().unwrap());
    assert_eq!(config.server.base_url.as_str(), "http://127.0.0.1:4567");
    assert_eq!(config.auth.issuer, "http://127.0.0.1:4567");
    assert_eq!(config.oidc.audience, "127.0.0.1:4567");

    let changes = [("server.base_url", "http://packages.localhost/reg"), ("auth.issuer", "me")];
    let mut config = Config::embedded_with(dir.path(), &changes).unwrap();
    config.bound_to("127.0.0.1:4567".parse().unwrap());
    assert_eq!(config.server.base_url.as_str(), "http://packages.localhost/reg");
    assert_eq!((config.auth.issuer.as_str(), config.oidc.audience.as_str()), ("me", "packages.localhost"));
}

#[test]
fn every_documented_default_is_a_valid_value_and_shown_once() {
    let config = load(&[]).unwrap();
    let shown: Vec<_> = config.effective().iter().map(|line| line.key).collect();
    let table: Vec<_> = keys().iter().map(|key| key.path.as_str()).collect();
    assert_eq!(shown, table);
    assert_eq!(table.iter().collect::<BTreeSet<_>>().len(), table.len());
    for key in keys() {
        assert!(!key.doc.is_empty() && !key.expects.is_empty(), "{}", key.path);
        // The default, written by an operator, must be accepted and mean the same.
        let DefaultValue::Text(text) = key.default else { continue };
        let name = env_name(&key.path);
        let mut all = sources(&[]);
        all.env.insert(name, text.to_owned());
        let line = Config::load(&all).unwrap_or_else(|faults| panic!("{}: {faults}", key.path));
        let value = |config: &Config| config.effective().iter().find(|l| l.key == key.path).unwrap().value.clone();
        assert_eq!(value(&line), value(&config), "{}", key.path);
    }
}

/// `contract/configuration.md` §4, as `key = effective value`.
#[test]
fn defaults_are_those_of_the_contract() {
    let config = load(&[]).unwrap();
    let expected = [
        ("data_dir", "./data"),
        ("server.listen", "127.0.0.1:3000"),
        ("server.base_url", "http://127.0.0.1:3000"),
        ("server.trusted_proxies", "[]"),
        ("server.role", "all"),
        ("server.request_timeout_seconds", "30"),
        ("server.idle_timeout_seconds", "60"),
        ("server.max_connections", "10000"),
        ("server.shutdown_grace_seconds", "25"),
        ("startup.wait_seconds", "30"),
        ("database.url", "sqlite://./data/publaryn.db"),
        ("database.max_connections", "20"),
        ("database.auto_migrate", "true"),
        ("storage.backend", "fs"),
        ("storage.fs.path", "./data/blobs"),
        ("storage.s3.path_style", "false"),
        ("storage.s3.presign_ttl_seconds", "300"),
        ("search.backend", "embedded"),
        ("search.index_prefix", "publaryn"),
        ("auth.issuer", "http://127.0.0.1:3000"),
        ("auth.session_max_ttl_seconds", "2592000"),
        ("auth.password_min_length", "12"),
        ("auth.token_default_ttl_days", "90"),
        ("auth.argon2_memory_kib", "19456"),
        ("oidc.issuers", "[https://token.actions.githubusercontent.com, https://gitlab.com]"),
        ("oidc.audience", "127.0.0.1:3000"),
        ("access.anonymous_miss", "auto"),
        ("packages.personal_repository_visibility", "private"),
        ("packages.delete_window_hours", "72"),
        ("publish.wait_seconds", "15"),
        ("scan.max_unpacked_bytes", "4GiB"),
        ("scan.max_entries", "200000"),
        ("scan.max_depth", "3"),
        ("scan.advisories", "false"),
        ("oci.identity_tokens", "false"),
        ("oci.token_ttl_seconds", "900"),
        ("cargo.auth_required", "false"),
        ("maven.open_seconds", "900"),
        ("maven.attachment_hours", "72"),
        ("limits.json_body_bytes", "1MiB"),
        ("limits.artifact.jar", "512MiB"),
        ("limits.artifact.oci_layer", "10GiB"),
        ("limits.artifact.signature", "1MiB"),
        ("limits.releases_per_package", "100000"),
        ("rate_limit.protocol_read_per_minute", "30000"),
        ("jobs.node_timeout_seconds", "15"),
        ("jobs.lease_seconds", "60"),
        ("retention.audit_days", "0"),
        ("gc.grace_hours", "24"),
        ("log.level", "info"),
        ("metrics.enabled", "true"),
        ("debug.fault_injection", "false"),
        ("portal.readme_images", "ask"),
    ];
    for (key, value) in expected {
        let line = config.effective().iter().find(|line| line.key == key).expect(key);
        assert_eq!(line.value.as_deref(), Some(value), "{key}");
    }
}
