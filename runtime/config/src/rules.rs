//! What must hold between settings, once each of them is well-formed.

use crate::{
    DatabaseUrl, HttpUrl, Secret,
    loader::{Loader, Origin},
    settings::{Settings, StorageS3},
    words::{Role, SearchBackend, StorageBackend},
};

/// Notes every broken rule in the loader and returns what is only worth a warning.
pub(crate) fn check(settings: &Settings, loader: &mut Loader) -> Vec<String> {
    let mut rules = Rules { loader };
    storage(settings, &mut rules);
    search(settings, &mut rules);
    replicas(settings, &mut rules);
    secrets(settings, &mut rules);
    sessions(settings, &mut rules);
    bootstrap(settings, &mut rules);
    services(settings, &mut rules);
    warnings(settings, rules.loader)
}

struct Rules<'a> {
    loader: &'a mut Loader,
}

impl Rules<'_> {
    /// Notes a fault of `key`, unless it or a setting the rule looks at is already known to be faulty.
    fn refuse(&mut self, key: &str, looked_at: &[&str], message: impl Into<String>) {
        if !self.loader.is_broken(key) && !looked_at.iter().any(|other| self.loader.is_broken(other)) {
            self.loader.fault(key, message);
        }
    }
}

fn storage(settings: &Settings, rules: &mut Rules) {
    if settings.storage.backend != StorageBackend::S3 {
        return;
    }
    let StorageS3 { endpoint, bucket, access_key, secret_key, .. } = &settings.storage.s3;
    const BACKEND: &[&str] = &["storage.backend"];
    if bucket.is_none() {
        rules.refuse("storage.s3.bucket", BACKEND, "required when storage.backend = \"s3\"");
    }
    // Only AWS hands out instance credentials; any other store needs keys.
    let is_aws =
        endpoint.as_ref().is_none_or(|url| url.url().host_str().is_some_and(|h| h.ends_with(".amazonaws.com")));
    let needs = [BACKEND[0], "storage.s3.endpoint", "storage.s3.access_key", "storage.s3.secret_key"];
    for (key, own, other) in
        [("storage.s3.access_key", access_key, secret_key), ("storage.s3.secret_key", secret_key, access_key)]
    {
        if own.is_some() {
            continue;
        }
        if other.is_some() {
            rules.refuse(key, &needs[..2], "the access key and the secret key are only valid together");
        } else if !is_aws {
            rules.refuse(key, &needs, "required when storage.s3.endpoint is not AWS");
        }
    }
}

fn search(settings: &Settings, rules: &mut Rules) {
    if settings.search.backend == SearchBackend::Meilisearch && settings.search.url.is_none() {
        rules.refuse("search.url", &["search.backend"], "required when search.backend = \"meilisearch\"");
    }
    if settings.scan.advisories && settings.scan.osv_path.is_none() {
        rules.refuse("scan.osv_path", &["scan.advisories"], "required when scan.advisories = true");
    }
}

/// Several processes share nothing but services: whatever lives in one process or on one disk is wrong.
fn replicas(settings: &Settings, rules: &mut Rules) {
    if settings.server.replicas.get() < 2 {
        return;
    }
    const WHEN: &str = "when server.replicas > 1";
    const REPLICAS: &[&str] = &["server.replicas"];
    if settings.database.url.is_sqlite() {
        rules.refuse("database.url", REPLICAS, format!("must be a postgres:// URL {WHEN}"));
    }
    if settings.redis.url.is_none() {
        rules.refuse("redis.url", REPLICAS, format!("required {WHEN}"));
    }
    if settings.storage.backend == StorageBackend::Fs {
        rules.refuse("storage.backend", REPLICAS, format!("must be \"s3\" {WHEN}"));
    }
    if settings.search.backend == SearchBackend::Embedded {
        let looked_at = &["server.replicas", "search.backend"];
        rules.refuse("search.url", looked_at, format!("required {WHEN}, the embedded index belongs to one process"));
    }
    if settings.auth.jwt_secret.is_none() {
        rules.refuse("auth.jwt_secret", REPLICAS, format!("required {WHEN}, and equal on all of them"));
    }
}

/// Shortest signing secret in bytes: the output size of HMAC-SHA-256 (RFC 7518 §3.2).
const SHORTEST_JWT_SECRET: usize = 32;

fn secrets(settings: &Settings, rules: &mut Rules) {
    let auth = &settings.auth;
    for (key, secret) in
        [("auth.jwt_secret", &auth.jwt_secret), ("auth.jwt_secret_previous", &auth.jwt_secret_previous)]
    {
        let Some(secret) = secret else { continue };
        if secret.len() < SHORTEST_JWT_SECRET {
            let message = format!("is {} bytes long, at least {SHORTEST_JWT_SECRET} are needed", secret.len());
            rules.refuse(key, &[], message);
        } else if is_guessable(secret) {
            rules.refuse(key, &[], "is a well-known or guessable value, use for example `openssl rand -hex 32`");
        }
    }
}

/// Parts of the values that examples, templates and tutorials carry, in lower case letters and digits only.
const EXAMPLE_WORDS: &[&str] = &[
    "changeme",
    "changethis",
    "replaceme",
    "replacethis",
    "yoursecret",
    "yourjwtsecret",
    "your256bitsecret",
    "examplesecret",
    "supersecret",
    "verysecret",
    "insecure",
    "donotuse",
    "correcthorsebatterystaple",
];

/// How placeholders begin; the signing code refuses these as well.
const PLACEHOLDER_STARTS: &[&str] = &["secret", "example", "password", "your-", "your_"];

/// Fewer different bytes than this is a pattern, not a secret: 32 random hex digits have about 14.
const FEWEST_DISTINCT_BYTES: usize = 8;

fn is_guessable(secret: &Secret) -> bool {
    let bytes = secret.expose().as_bytes();
    let distinct = bytes.iter().collect::<std::collections::BTreeSet<_>>().len();
    // A short text written several times over is as weak as the short text.
    let is_repeated = (1..=16).any(|period| bytes.iter().zip(&bytes[period..]).all(|(a, b)| a == b));
    let folded: String =
        secret.expose().chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let lower = secret.expose().to_ascii_lowercase();
    let is_placeholder = PLACEHOLDER_STARTS.iter().any(|start| lower.starts_with(start));
    distinct < FEWEST_DISTINCT_BYTES
        || is_repeated
        || is_placeholder
        || EXAMPLE_WORDS.iter().any(|word| folded.contains(word))
}

fn sessions(settings: &Settings, rules: &mut Rules) {
    let auth = &settings.auth;
    if auth.session_max_ttl_seconds.get() < auth.session_ttl_seconds.get() {
        let looked_at = &["auth.session_ttl_seconds"];
        rules.refuse("auth.session_max_ttl_seconds", looked_at, "must not be shorter than auth.session_ttl_seconds");
    }
    // RFC 9106 §3.1: memory is at least 8 KiB per lane.
    if auth.argon2_memory_kib.get() < 8 * auth.argon2_parallelism.get() {
        let looked_at = &["auth.argon2_parallelism"];
        rules.refuse("auth.argon2_memory_kib", looked_at, "must be at least 8 times auth.argon2_parallelism");
    }
    for (key, text) in [("auth.issuer", &auth.issuer), ("oidc.audience", &settings.oidc.audience)] {
        if text.is_empty() {
            rules.refuse(key, &["server.base_url", "server.listen"], "must not be empty");
        }
    }
}

fn bootstrap(settings: &Settings, rules: &mut Rules) {
    let given = &settings.bootstrap;
    const KEYS: [&str; 3] = ["bootstrap.admin_username", "bootstrap.admin_email", "bootstrap.admin_password"];
    let is_set = [given.admin_username.is_some(), given.admin_email.is_some(), given.admin_password.is_some()];
    if is_set.contains(&true) {
        for (key, _) in KEYS.iter().zip(is_set).filter(|(_, is_set)| !is_set) {
            rules.refuse(key, &KEYS, "required when another bootstrap.admin_* setting is set");
        }
    }
    if let Some(password) = &given.admin_password {
        let shortest = settings.auth.password_min_length.get();
        if (password.expose().chars().count() as u64) < shortest {
            let message = format!("must have at least {shortest} characters (auth.password_min_length)");
            rules.refuse(KEYS[2], &["auth.password_min_length"], message);
        }
    }
}

fn services(settings: &Settings, rules: &mut Rules) {
    if settings.debug.fault_injection && !settings.server.base_url.is_loopback() {
        let looked_at = &["server.base_url", "server.listen"];
        rules.refuse("debug.fault_injection", looked_at, "refused when server.base_url is not a loopback address");
    }
    if settings.debug.crash_at.is_some() && !settings.debug.fault_injection {
        rules.refuse("debug.crash_at", &["debug.fault_injection"], "refused unless debug.fault_injection is on");
    }
    if settings.metrics.listen.is_some_and(|listen| listen.port() != 0 && listen == settings.server.listen) {
        rules.refuse("metrics.listen", &["server.listen"], "must differ from server.listen");
    }
    if settings.policy.extra_reserved_names.iter().any(String::is_empty) {
        rules.refuse("policy.extra_reserved_names", &[], "must not contain an empty name");
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if settings
        .storage
        .s3
        .bucket
        .as_ref()
        .is_some_and(|name| name.is_empty() || !name.chars().all(|c| is_plain(c) || c == '.'))
    {
        rules.refuse("storage.s3.bucket", &[], "may only contain letters, digits, `-`, `_` and `.`");
    }
    // It becomes part of index names.
    let prefix = &settings.search.index_prefix;
    if !(1..=64).contains(&prefix.len()) || !prefix.chars().all(is_plain) {
        rules.refuse("search.index_prefix", &[], "must be 1 to 64 letters, digits, `-` or `_`");
    }
    if let Some(url) = settings.search.url.as_ref().map(HttpUrl::url)
        && (!url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some())
    {
        rules.refuse(
            "search.url",
            &[],
            "must not carry credentials, query or fragment; the key goes to search.api_key",
        );
    }
}

fn warnings(settings: &Settings, loader: &Loader) -> Vec<String> {
    let server = &settings.server;
    let mut warnings = Vec::new();
    if server.listen.ip().is_unspecified() && loader.origin_of("server.base_url") == Some(&Origin::Derived) {
        warnings.push(format!(
            "server.base_url is not set: links are made with {}, which other machines cannot reach",
            server.base_url
        ));
    }
    if !server.base_url.is_https() && !server.base_url.is_loopback() {
        warnings
            .push(format!("server.base_url {} is not https: passwords and tokens travel unencrypted", server.base_url));
    }
    if server.role != Role::All && matches!(settings.database.url, DatabaseUrl::Sqlite(_)) {
        warnings.push(format!(
            "server.role = \"{}\" with SQLite: no second process can take over the other role",
            server.role.as_str()
        ));
    }
    if server.trusted_proxies.iter().any(|net| net.prefix_len() == 0) {
        warnings.push("server.trusted_proxies trusts every address: any client can forge its own".to_owned());
    }
    warnings
}
