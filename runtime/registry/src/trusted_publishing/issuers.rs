//! The keys of the configured issuers: fetched when they are needed, kept, and renewed at a bounded rate.
//!
//! Nothing is ever fetched for an issuer that is not configured, however its tokens look. Source:
//! <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig>.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use publaryn_auth::IssuerKeys;
use publaryn_core::BoxError;
use reqwest::{Client, redirect::Policy};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::{OidcIssuer, addresses::Addresses};

/// Discovery document and keys together must arrive within this time.
const FETCH_WITHIN: Duration = Duration::from_secs(5);
/// Largest document that is read; those of the large forges have less than 10 KiB.
const MAX_DOCUMENT_BYTES: usize = 1 << 20;
/// Keys of that age are asked for again, whether they are still good or not.
const KEYS_LIVE: Duration = Duration::from_secs(24 * 3600);
/// Anybody can send tokens with unknown keys: an issuer is asked this often at most.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// The same while there are no keys at all.
const ASK_EVERY_WITHOUT_KEYS: Duration = Duration::from_secs(5);

pub(super) struct Issuers {
    /// Made once: it reads the system's certificates. `None` when that failed.
    http: Option<Client>,
    addresses: Addresses,
    all: Vec<Issuer>,
}

pub(super) struct Issuer {
    name: String,
    jwks_url: Option<Url>,
    kept: ArcSwapOption<Kept>,
    /// When it was asked last. Whoever holds the lock asks, the others wait for the outcome.
    asked: Mutex<Option<Instant>>,
}

struct Kept {
    keys: Arc<IssuerKeys>,
    since: Instant,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Issuers {
    pub fn new(configured: &[OidcIssuer]) -> Self {
        let all: Vec<Issuer> = configured
            .iter()
            .map(|one| Issuer {
                name: one.issuer.clone(),
                jwks_url: one.jwks_url.as_deref().and_then(|url| Url::parse(url).ok()),
                kept: ArcSwapOption::empty(),
                asked: Mutex::new(None),
            })
            .collect();
        let named: Vec<Url> = all
            .iter()
            .filter_map(|one| Url::parse(&one.name).ok())
            .chain(all.iter().filter_map(|one| one.jwks_url.clone()))
            .collect();
        let addresses = Addresses::named_by_operator(&named);
        let http = Client::builder()
            .redirect(Policy::none())
            .timeout(FETCH_WITHIN)
            .dns_resolver(Arc::new(addresses.clone()))
            .user_agent(concat!("publaryn/", env!("CARGO_PKG_VERSION")))
            .build()
            .inspect_err(|error| tracing::error!(%error, "no trusted publishing: there is no client for issuers"));
        Self { http: http.ok(), addresses, all }
    }

    /// The issuer of exactly that name.
    pub fn find(&self, name: &str) -> Option<&Issuer> {
        self.all.iter().find(|one| one.name == name)
    }

    /// The keys of an issuer, asked for anew when none of them has this id. `None` when there are none.
    pub async fn keys(&self, issuer: &Issuer, key_id: &str) -> Option<Arc<IssuerKeys>> {
        if let Some(keys) = issuer.fresh(key_id) {
            return Some(keys);
        }
        let mut asked = issuer.asked.lock().await;
        if let Some(keys) = issuer.fresh(key_id) {
            return Some(keys);
        }
        let had_keys = issuer.kept.load().is_some();
        let rest = if had_keys { ASK_EVERY } else { ASK_EVERY_WITHOUT_KEYS };
        if asked.is_none_or(|at| at.elapsed() >= rest) {
            *asked = Some(Instant::now());
            match tokio::time::timeout(FETCH_WITHIN, self.fetch(issuer)).await {
                Ok(Ok(keys)) => {
                    issuer.kept.store(Some(Arc::new(Kept { keys: Arc::new(keys), since: Instant::now() })));
                    // The first keys may be followed by newer ones at once.
                    if !had_keys {
                        *asked = None;
                    }
                }
                // Old keys go on being good: an issuer that is away for a while stops nobody.
                Ok(Err(error)) => tracing::warn!(issuer = issuer.name, error, "the keys of an issuer were not read"),
                Err(_) => tracing::warn!(issuer = issuer.name, "an issuer did not answer in time"),
            }
        }
        issuer.kept.load().as_ref().map(|kept| kept.keys.clone())
    }

    async fn fetch(&self, issuer: &Issuer) -> Result<IssuerKeys, BoxError> {
        let at = match &issuer.jwks_url {
            Some(url) => url.clone(),
            None => self.discover(issuer).await?,
        };
        let keys = IssuerKeys::parse(&self.read(&at).await?).ok_or("the answer is no key set")?;
        if keys.is_empty() { Err("the key set has no usable key".into()) } else { Ok(keys) }
    }

    async fn discover(&self, issuer: &Issuer) -> Result<Url, BoxError> {
        let base = issuer.name.trim_end_matches('/');
        let at = Url::parse(&format!("{base}/.well-known/openid-configuration"))?;
        let found: Discovery = serde_json::from_slice(&self.read(&at).await?)?;
        if found.issuer != issuer.name {
            return Err("the discovery document is of another issuer".into());
        }
        let keys = Url::parse(&found.jwks_uri)?;
        // Plain HTTP only where the operator configured it, which is possible on loopback alone.
        let is_safe =
            keys.scheme() == "https" || (keys.scheme() == "http" && keys.host() == at.host() && at.scheme() == "http");
        if is_safe && self.addresses.allow(&keys) {
            Ok(keys)
        } else {
            Err("the address of the keys is not allowed".into())
        }
    }

    async fn read(&self, at: &Url) -> Result<Vec<u8>, BoxError> {
        let http = self.http.as_ref().ok_or("there is no client for issuers")?;
        let mut answer = http.get(at.clone()).header("accept", "application/json").send().await?;
        if !answer.status().is_success() {
            return Err(format!("status {}", answer.status()).into());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err("the document is too large".into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl Issuer {
    fn fresh(&self, key_id: &str) -> Option<Arc<IssuerKeys>> {
        let kept = self.kept.load();
        let kept = kept.as_ref()?;
        (kept.since.elapsed() < KEYS_LIVE && kept.keys.has(key_id)).then(|| kept.keys.clone())
    }
}
