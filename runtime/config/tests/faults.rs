//! What is refused, and the exact line the operator reads.

mod load;

use load::{fault_lines, faults, lines, load, with_file};

/// Settings (environment) and the line each must give.
const REFUSED: &[(&[(&str, &str)], &str)] = &[
    (
        &[("STORAGE__BACKEND", "s3")],
        "config error: storage.s3.bucket: required when storage.backend = \"s3\" (set PUBLARYN__STORAGE__S3__BUCKET)",
    ),
    (
        &[("DEBUG__CRASH_AT", "release_committed")],
        "config error: debug.crash_at: refused unless debug.fault_injection is on (set PUBLARYN__DEBUG__CRASH_AT)",
    ),
    (
        &[("DEBUG__FAULT_INJECTION", "true"), ("DEBUG__CRASH_AT", "nowhere")],
        "config error: debug.crash_at: expected a place of a publish such as release_committed or upload_received:3, got \"nowhere\" (set PUBLARYN__DEBUG__CRASH_AT)",
    ),
    (
        &[("STORAGE__BACKEND", "s4")],
        "config error: storage.backend: expected one of fs s3, got \"s4\" (set PUBLARYN__STORAGE__BACKEND)",
    ),
    (
        &[("STORAGE__BACKEND", "s3"), ("STORAGE__S3__BUCKET", "b"), ("STORAGE__S3__ACCESS_KEY", "k")],
        "config error: storage.s3.secret_key: the access key and the secret key are only valid together (set PUBLARYN__STORAGE__S3__SECRET_KEY)",
    ),
    (
        &[("STORAGE__BACKEND", "s3"), ("STORAGE__S3__BUCKET", "b"), ("STORAGE__S3__ENDPOINT", "http://minio:9000")],
        "config error: storage.s3.access_key: required when storage.s3.endpoint is not AWS (set PUBLARYN__STORAGE__S3__ACCESS_KEY)",
    ),
    (
        &[("STORAGE__S3__BUCKET", "a/../b")],
        "config error: storage.s3.bucket: may only contain letters, digits, `-`, `_` and `.` (set PUBLARYN__STORAGE__S3__BUCKET)",
    ),
    (
        &[("SERVER__LISTEN", "nowhere")],
        "config error: server.listen: expected an address and port such as 127.0.0.1:3000 or [::]:3000, got \"nowhere\" (set PUBLARYN__SERVER__LISTEN)",
    ),
    (
        &[("SERVER__BASE_URL", "localhost:3000")],
        "config error: server.base_url: has no scheme, write https://… or http://… (set PUBLARYN__SERVER__BASE_URL)",
    ),
    (
        &[("SERVER__BASE_URL", "https://a.example/reg?x=1")],
        "config error: server.base_url: must not carry a query or fragment (set PUBLARYN__SERVER__BASE_URL)",
    ),
    (
        &[("SERVER__BASE_URL", "ftp://a.example")],
        "config error: server.base_url: the scheme must be http or https, not ftp (set PUBLARYN__SERVER__BASE_URL)",
    ),
    (
        &[("SERVER__BASE_URL", "https://u:p@a.example")],
        "config error: server.base_url: must not carry credentials (set PUBLARYN__SERVER__BASE_URL)",
    ),
    (
        &[("SERVER__TRUSTED_PROXIES", "10.0.0.0/8, 10.0.0.0/33")],
        "config error: server.trusted_proxies: expected a network such as 10.0.0.0/8 or fd00::/8, got \"10.0.0.0/33\" (set PUBLARYN__SERVER__TRUSTED_PROXIES)",
    ),
    (
        &[("SERVER__CORS_ALLOWED_ORIGINS", "*")],
        "config error: server.cors_allowed_origins: a wildcard origin is not allowed, list every origin (set PUBLARYN__SERVER__CORS_ALLOWED_ORIGINS)",
    ),
    (
        &[("SERVER__CORS_ALLOWED_ORIGINS", "https://a.example/app")],
        "config error: server.cors_allowed_origins: the origin \"https://a.example/app\" must not have a path, query or credentials (set PUBLARYN__SERVER__CORS_ALLOWED_ORIGINS)",
    ),
    (
        &[("SERVER__REPLICAS", "0")],
        "config error: server.replicas: must be at least 1 (set PUBLARYN__SERVER__REPLICAS)",
    ),
    (
        &[("SERVER__PORTAL", "yes")],
        "config error: server.portal: expected true or false, got \"yes\" (set PUBLARYN__SERVER__PORTAL)",
    ),
    (
        &[("SERVER__REQUEST_TIMEOUT_SECONDS", "30s")],
        "config error: server.request_timeout_seconds: expected a whole number of seconds, got \"30s\" (set PUBLARYN__SERVER__REQUEST_TIMEOUT_SECONDS)",
    ),
    (
        &[("DATABASE__URL", "mysql://u:hunter2@db/x")],
        "config error: database.url: expected sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE (set PUBLARYN__DATABASE__URL)",
    ),
    (
        &[("REDIS__URL", "http://cache")],
        "config error: redis.url: expected a URL such as redis://cache:6379 (set PUBLARYN__REDIS__URL)",
    ),
    (
        &[("SEARCH__BACKEND", "meilisearch")],
        "config error: search.url: required when search.backend = \"meilisearch\" (set PUBLARYN__SEARCH__URL)",
    ),
    (
        &[("AUTH__JWT_SECRET", "short")],
        "config error: auth.jwt_secret: is 5 bytes long, at least 32 are needed (set PUBLARYN__AUTH__JWT_SECRET)",
    ),
    (&[("AUTH__JWT_SECRET", "")], "config error: auth.jwt_secret: must not be empty (set PUBLARYN__AUTH__JWT_SECRET)"),
    (
        &[("AUTH__JWT_SECRET", "Change-Me in production, please please")],
        "config error: auth.jwt_secret: is a well-known or guessable value, use for example `openssl rand -hex 32` (set PUBLARYN__AUTH__JWT_SECRET)",
    ),
    (
        &[("AUTH__JWT_SECRET_PREVIOUS", "0123456789abcdef0123456789abcdef")],
        "config error: auth.jwt_secret_previous: is a well-known or guessable value, use for example `openssl rand -hex 32` (set PUBLARYN__AUTH__JWT_SECRET_PREVIOUS)",
    ),
    (
        &[("AUTH__SESSION_MAX_TTL_SECONDS", "3600")],
        "config error: auth.session_max_ttl_seconds: must not be shorter than auth.session_ttl_seconds (set PUBLARYN__AUTH__SESSION_MAX_TTL_SECONDS)",
    ),
    (
        &[("AUTH__PASSWORD_MIN_LENGTH", "7")],
        "config error: auth.password_min_length: must be at least 8 (set PUBLARYN__AUTH__PASSWORD_MIN_LENGTH)",
    ),
    (
        &[("AUTH__ARGON2_MEMORY_KIB", "16"), ("AUTH__ARGON2_PARALLELISM", "4")],
        "config error: auth.argon2_memory_kib: must be at least 8 times auth.argon2_parallelism (set PUBLARYN__AUTH__ARGON2_MEMORY_KIB)",
    ),
    (
        &[("OIDC__TOKEN_TTL_SECONDS", "3601")],
        "config error: oidc.token_ttl_seconds: must be at most 3600 (set PUBLARYN__OIDC__TOKEN_TTL_SECONDS)",
    ),
    (
        &[("OIDC__ISSUERS", "http://ci.example")],
        "config error: oidc.issuers: \"http://ci.example\" must use https (set PUBLARYN__OIDC__ISSUERS)",
    ),
    (
        &[("BOOTSTRAP__ADMIN_USERNAME", "root"), ("BOOTSTRAP__ADMIN_PASSWORD", "a long enough one")],
        "config error: bootstrap.admin_email: required when another bootstrap.admin_* setting is set (set PUBLARYN__BOOTSTRAP__ADMIN_EMAIL)",
    ),
    (
        &[
            ("BOOTSTRAP__ADMIN_USERNAME", "root"),
            ("BOOTSTRAP__ADMIN_EMAIL", "r@x.example"),
            ("BOOTSTRAP__ADMIN_PASSWORD", "short"),
        ],
        "config error: bootstrap.admin_password: must have at least 12 characters (auth.password_min_length) (set PUBLARYN__BOOTSTRAP__ADMIN_PASSWORD)",
    ),
    (
        &[("NAMESPACES__REQUIRE_CLAIM", "npm,conan")],
        "config error: namespaces.require_claim: expected one of npm, pypi, cargo, nuget, maven, rubygems, composer, oci, got \"conan\" (set PUBLARYN__NAMESPACES__REQUIRE_CLAIM)",
    ),
    (
        &[("SCAN__CLAMAV", "clamd")],
        "config error: scan.clamav: expected host:port such as clamd:3310, got \"clamd\" (set PUBLARYN__SCAN__CLAMAV)",
    ),
    (
        &[("SCAN__ADVISORIES", "1")],
        "config error: scan.osv_path: required when scan.advisories = true (set PUBLARYN__SCAN__OSV_PATH)",
    ),
    (
        &[("LIMITS__ARTIFACT__CRATE", "ten")],
        "config error: limits.artifact.crate: expected a size such as 1048576 or \"256MiB\", got \"ten\" (set PUBLARYN__LIMITS__ARTIFACT__CRATE)",
    ),
    (
        &[("LIMITS__JSON_BODY_BYTES", "0")],
        "config error: limits.json_body_bytes: must be larger than 0 (set PUBLARYN__LIMITS__JSON_BODY_BYTES)",
    ),
    (
        &[("RATE_LIMIT__AUTH_PER_MINUTE", "0")],
        "config error: rate_limit.auth_per_minute: must be at least 1: 0 would refuse every request (rate_limit.enabled = false turns limits off) (set PUBLARYN__RATE_LIMIT__AUTH_PER_MINUTE)",
    ),
    (
        &[("JOBS__KINDS__SCAN_ARTIFACT__CONCURRENCY", "0")],
        "config error: jobs.kinds.scan_artifact.concurrency: must be at least 1 (set PUBLARYN__JOBS__KINDS__SCAN_ARTIFACT__CONCURRENCY)",
    ),
    (
        &[("LOG__LEVEL", "inof")],
        "config error: log.level: expected a level (off, error, warn, info, debug, trace) or a filter such as info,publaryn_jobs=debug, got \"inof\" (set PUBLARYN__LOG__LEVEL)",
    ),
    (
        &[("METRICS__LISTEN", "127.0.0.1:3000")],
        "config error: metrics.listen: must differ from server.listen (set PUBLARYN__METRICS__LISTEN)",
    ),
    (
        &[("DEBUG__FAULT_INJECTION", "true"), ("SERVER__BASE_URL", "https://packages.example.com")],
        "config error: debug.fault_injection: refused when server.base_url is not a loopback address (set PUBLARYN__DEBUG__FAULT_INJECTION)",
    ),
    (
        &[("STORAGE__S3__BUKET", "b")],
        "config error: storage.s3.buket: unknown setting from PUBLARYN__STORAGE__S3__BUKET, did you mean storage.s3.bucket? (set PUBLARYN__STORAGE__S3__BUCKET)",
    ),
    (
        &[("JOBS__KINDS__SCAN_ARTEFACT__TIMEOUT_SECONDS", "5")],
        "config error: jobs.kinds.scan_artefact.timeout_seconds: unknown setting from PUBLARYN__JOBS__KINDS__SCAN_ARTEFACT__TIMEOUT_SECONDS, did you mean jobs.kinds.scan_artifact.timeout_seconds? (set PUBLARYN__JOBS__KINDS__SCAN_ARTIFACT__TIMEOUT_SECONDS)",
    ),
    (&[("XYZZY", "1")], "config error: xyzzy: unknown setting from PUBLARYN__XYZZY"),
];

#[test]
fn every_fault_gives_its_own_line() {
    for (env, line) in REFUSED {
        assert_eq!(fault_lines(env), [*line], "for {env:?}");
    }
}

#[test]
fn all_faults_are_listed_at_once_and_follow_up_faults_are_not() {
    let lines = fault_lines(&[
        ("SERVER__LISTEN", "nowhere"),
        ("STORAGE__BACKEND", "s3"),
        ("RATE_LIMIT__READ_PER_MINUTE", "0"),
        ("AUTH__SESSION_TTL_SECONDS", "soon"),
        ("SERVER__REPLICAS", "many"),
        ("SERVER__ROLL", "api"),
    ]);
    let keys: Vec<_> = lines.iter().map(|line| line.split(": ").nth(1).unwrap()).collect();
    let expected = [
        "server.roll",
        "server.listen",
        "server.replicas",
        "auth.session_ttl_seconds",
        "rate_limit.read_per_minute",
        "storage.s3.bucket",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn several_replicas_need_shared_services_and_each_missing_one_is_named() {
    let alone = faults(&[("SERVER__REPLICAS", "2")]);
    let keys: Vec<_> = alone.iter().map(|fault| fault.key()).collect();
    assert_eq!(keys, ["database.url", "redis.url", "storage.backend", "search.url", "auth.jwt_secret"]);

    let shared = [
        ("SERVER__REPLICAS", "2"),
        ("DATABASE__URL", "postgres://u:p@db/publaryn"),
        ("REDIS__URL", "redis://cache"),
        ("STORAGE__BACKEND", "s3"),
        ("STORAGE__S3__BUCKET", "publaryn"),
        ("SEARCH__URL", "http://meili:7700"),
        ("AUTH__JWT_SECRET", "5d41402abc4b2a76b9719d911017c592f00d"),
    ];
    load(&shared).unwrap();
}

#[test]
fn unknown_keys_in_the_file_name_the_nearest_one() {
    let text = "[server]\nlissten = \"127.0.0.1:1\"\n[storge]\nbackend = \"s3\"\n[auth]\njwt_secrets_file = \"x\"\n[server.portal]\nx = 1\n";
    let (dir, result) = with_file(text, &[]);
    let file = dir.path().join("publaryn.toml").display().to_string();
    let expected = [
        format!(
            "config error: server.lissten: unknown setting in {file}, did you mean server.listen? (set PUBLARYN__SERVER__LISTEN)"
        ),
        format!("config error: storge: unknown section in {file}, did you mean storage?"),
        format!(
            "config error: auth.jwt_secrets_file: unknown setting in {file}, did you mean auth.jwt_secret_file? (set PUBLARYN__AUTH__JWT_SECRET_FILE)"
        ),
        format!(
            "config error: server.portal: expected true or false, got a table in {file} (set PUBLARYN__SERVER__PORTAL)"
        ),
    ];
    let mut lines = lines(&result.unwrap_err());
    let mut expected = expected.to_vec();
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
}

#[test]
fn a_value_where_a_section_belongs() {
    let (_dir, result) = with_file("storage = \"s3\"\n", &[]);
    assert_eq!(lines(&result.unwrap_err()), ["config error: storage: is a section, write its settings below it"]);
}

#[test]
fn broken_toml_names_line_and_column() {
    let (dir, result) = with_file("[server]\nlisten = \n", &[]);
    let lines = lines(&result.unwrap_err());
    let start = format!("config error: {}: line 2, column ", dir.path().join("publaryn.toml").display());
    assert!(lines.len() == 1 && lines[0].starts_with(&start), "{lines:?}");
}

#[test]
fn a_named_file_must_exist() {
    let sources = publaryn_config::Sources { file: Some("/nonexistent/publaryn.toml".into()), ..Default::default() };
    let text = publaryn_config::Config::load(&sources).unwrap_err().to_string();
    assert!(text.starts_with("config error: /nonexistent/publaryn.toml: cannot be read: "), "{text}");
}

#[test]
fn a_value_cannot_forge_a_second_line() {
    for text in ["x\nconfig error: fake", "x\r\n\u{1b}[2J"] {
        assert_eq!(faults(&[("SERVER__LISTEN", text)]).to_string().lines().count(), 1);
        assert_eq!(faults(&[("SERVER__BASE_URL", text)]).to_string().lines().count(), 1);
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let env = [
        ("AUTH__JWT_SECRET", "hunter2"),
        ("AUTH__JWT_SECRET_PREVIOUS", "hunter2-hunter2-hunter2-hunter2-hunter2"),
        ("BOOTSTRAP__ADMIN_PASSWORD", "hunter2"),
        ("DATABASE__URL", "postgres//u:hunter2@db"),
        ("REDIS__URL", "redis//:hunter2@cache"),
        ("SEARCH__URL", "meili://key:hunter2@host"),
        ("STORAGE__S3__ENDPOINT", "s3 ://key:hunter2@host"),
    ];
    let text = faults(&env).to_string();
    assert!(!text.contains("hunter2"), "{text}");

    let good = [
        ("AUTH__JWT_SECRET", "hunter2/5d41402abc4b2a76b9719d911017c592f00d"),
        ("METRICS__TOKEN", "hunter2"),
        ("DATABASE__URL", "postgres://u:hunter2@db/x"),
        ("REDIS__URL", "redis://:hunter2@cache"),
        ("STORAGE__S3__ENDPOINT", "http://key:hunter2@host"),
    ];
    let config = load(&good).unwrap();
    let printed = format!("{config:?} {:?}", config.effective());
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("***"));
}

#[test]
fn crashes_are_armed_only_where_faults_may_be_injected() {
    let (place, on) = (("DEBUG__CRASH_AT", "release_committed"), ("DEBUG__FAULT_INJECTION", "true"));
    assert!(load(&[place, on]).is_ok());
    let open = fault_lines(&[place, on, ("SERVER__BASE_URL", "https://packages.example.com")]);
    assert!(open[0].starts_with("config error: debug.fault_injection: refused when server.base_url"), "{open:?}");
}
