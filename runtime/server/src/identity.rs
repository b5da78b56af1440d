//! The identity service as the configuration wants it.

use std::sync::Arc;

use publaryn_auth::{AccountRules, HashCost, SigningSecret};
use publaryn_config::{Config, DataDir, Registration, Secret};
use publaryn_core::SystemClock;
use publaryn_metadata::Db;
use publaryn_registry::identity::{Identity, IdentityKeys, IdentitySettings};

use crate::exit::{Exit, Failure};

/// Opens it on a connected database.
///
/// # Errors
/// Exit 73 or 78 when there is no signing key to be had.
pub fn open(config: &Config, db: Db) -> Result<Identity, Failure> {
    let keys = keys(config)?;
    Identity::new(db, Arc::new(SystemClock), settings(config), &keys)
        .map_err(|error| Failure::new(Exit::Configuration, "config error: auth.argon2_memory_kib").because(error))
}

/// The rules for names and passwords.
pub fn rules(config: &Config) -> AccountRules {
    AccountRules {
        password_min_chars: config.auth.password_min_length.as_usize(),
        extra_reserved: config.policy.extra_reserved_names.clone(),
    }
}

fn settings(config: &Config) -> IdentitySettings {
    let auth = &config.auth;
    IdentitySettings {
        registration_is_open: auth.registration == Registration::Open,
        rules: rules(config),
        hash_cost: HashCost {
            memory_kib: auth.argon2_memory_kib.as_u32(),
            iterations: auth.argon2_iterations.as_u32(),
            parallelism: auth.argon2_parallelism.as_u32(),
        },
        access_ttl: auth.jwt_ttl_seconds.duration(),
        session_ttl: auth.session_ttl_seconds.duration(),
        session_max_ttl: auth.session_max_ttl_seconds.duration(),
        token_default_ttl: auth.token_default_ttl_days.unless_zero(),
        token_max_ttl: auth.token_max_ttl_days.unless_zero(),
        ..IdentitySettings::default()
    }
}

/// The configured signing secret, else the one of the data directory.
fn keys(config: &Config) -> Result<IdentityKeys, Failure> {
    let current = match &config.auth.jwt_secret {
        Some(secret) => secret.clone(),
        None => DataDir::create(&config.data_dir)?.signing_key()?,
    };
    let previous = config.auth.jwt_secret_previous.as_ref();
    Ok(IdentityKeys {
        issuer: config.auth.issuer.clone(),
        current: signing_secret("auth.jwt_secret", &current)?,
        previous: previous.map(|secret| signing_secret("auth.jwt_secret_previous", secret)).transpose()?,
    })
}

fn signing_secret(key: &str, secret: &Secret) -> Result<SigningSecret, Failure> {
    SigningSecret::from_bytes(secret.expose().as_bytes())
        .map_err(|weak| Failure::new(Exit::Configuration, format!("config error: {key}")).because(weak))
}
