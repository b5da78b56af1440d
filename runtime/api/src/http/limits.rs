//! Rate limits as HTTP has them: who pays for a request, and what its client is told (control-plane.md §1.6).
//!
//! Native requests are asked about before their adapter sees them, so that nothing of a body is read in vain; those
//! of `/v1` after their credential was checked, in the order of §1.2.

use std::{net::IpAddr, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use moka::sync::Cache;
use publaryn_actors::ChildSpec;
use publaryn_auth::Presented;
use publaryn_core::RegistryError;
use publaryn_protocol::Login;
use publaryn_ratelimit::{Limiter, Payer, Tier, Verdict};
use publaryn_registry::Identity;
use sha2::{Digest, Sha256};

/// Credentials remembered, and for how long: whose limit one counts against, never what it may do.
const KNOWN: u64 = 50_000;
const KNOWN_FOR: std::time::Duration = std::time::Duration::from_secs(60);

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The limits of this server; cheap to clone.
#[derive(Clone)]
pub struct RateLimits(Arc<Inner>);

struct Inner {
    limiter: Limiter,
    identity: Identity,
    /// By the digest of the header; `None` for credentials that do not hold.
    known: Cache<[u8; 32], Option<Payer>>,
}

/// A request to an adapter, as far as limits depend on it.
pub(super) struct NativeRequest {
    pub is_write: bool,
    pub login: Login,
    pub credential: Option<HeaderValue>,
    pub client: IpAddr,
}

impl RateLimits {
    pub fn new(limiter: Limiter, identity: Identity) -> Self {
        let known = Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR).build();
        Self(Arc::new(Inner { limiter, identity, known }))
    }

    /// The child for `root/auth`.
    pub fn upkeep(&self) -> ChildSpec {
        self.0.limiter.upkeep()
    }

    /// Counts a request of the control plane.
    pub async fn take(&self, tier: Tier, payer: Payer) -> Verdict {
        self.0.limiter.take(tier, payer, Instant::now()).await
    }

    /// Counts a request to an adapter.
    pub(super) async fn admit(&self, request: &NativeRequest, now: Instant) -> Verdict {
        let (limiter, address) = (&self.0.limiter, Payer::address(request.client));
        if request.login == Login::Counts {
            return limiter.take(Tier::Auth, address, now).await;
        }
        let tier = if request.is_write { Tier::ProtocolWrite } else { Tier::ProtocolRead };
        let payer = match &request.credential {
            Some(credential) => self.payer(credential).await.unwrap_or(address),
            None => address,
        };
        let verdict = limiter.take(tier, payer, now).await;
        if request.login == Login::CountsIfRefused && verdict.retry_after.is_none() {
            let login = limiter.check(Tier::Auth, address, now).await;
            if login.retry_after.is_some() {
                return login;
            }
        }
        verdict
    }

    /// Counts a login that turned out to be wrong.
    pub(super) async fn answered(&self, request: &NativeRequest, status: StatusCode) {
        if request.login == Login::CountsIfRefused && status == StatusCode::UNAUTHORIZED {
            self.0.limiter.charge(Tier::Auth, Payer::address(request.client), Instant::now()).await;
        }
    }

    /// Who stands behind a credential, if it holds; its handler finds out again what it may do.
    async fn payer(&self, credential: &HeaderValue) -> Option<Payer> {
        let digest = Sha256::digest(credential.as_bytes()).into();
        if let Some(known) = self.0.known.get(&digest) {
            return known;
        }
        let presented = Presented::from_header(Some(credential.as_bytes()));
        let payer = match self.0.identity.holder(&presented).await {
            Ok(who) => Payer::of_credential(&who),
            Err(RegistryError::BadCredential(_)) => None,
            Err(_) => return None,
        };
        self.0.known.insert(digest, payer);
        payer
    }
}

/// Tells a client where it stands.
pub(crate) fn tell(verdict: &Verdict, headers: &mut HeaderMap) {
    headers.insert(LIMIT, HeaderValue::from(verdict.limit));
    headers.insert(REMAINING, HeaderValue::from(verdict.remaining));
    headers.insert(RESET, HeaderValue::from(verdict.reset_seconds));
}

/// The refusal of a request that was one too many.
pub(crate) fn refusal(verdict: &Verdict) -> Option<RegistryError> {
    verdict.retry_after.map(|retry_after| RegistryError::RateLimited { retry_after })
}
