//! The configuration of a server: one typed value, read once, with all faults listed at once.
//!
//! Settings come from flags, the environment (`PUBLARYN__SECTION__KEY`), a TOML file and defaults,
//! in this order. `settings.rs` is the table of all of them; adding a setting is adding a line there.
//! The contract is `contract/configuration.md`.

#[macro_use]
mod table;

mod address;
mod data_dir;
mod derive;
mod fault;
mod loader;
mod log_filter;
mod quantity;
mod rules;
mod secret;
mod settings;
mod value;
mod words;

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::Path,
};

pub use address::{BaseUrl, CorsOrigin, DatabaseUrl, HostPort, HttpUrl, OidcIssuer, PostgresUrl, RedisUrl};
pub use data_dir::{DataDir, DataDirError, DataDirLock, SIGNING_KEY_BYTES};
pub use fault::{ConfigFaults, Fault, env_name};
pub use loader::{DEFAULT_FILES, Effective, FlagValue, Machine, Origin, Sources, keys};
pub use log_filter::LogFilter;
pub use quantity::{ByteSize, Count, Days, DeleteWindow, Hours, Millis, Minutes, PerMinute, Seconds};
pub use secret::Secret;
pub use settings::*;
pub use table::{DefaultValue, Key};
pub use words::*;

use loader::Loader;
use table::Section;
use value::Setting;

/// A valid configuration: the [`Settings`], and where each of them came from.
#[derive(Debug, Clone)]
pub struct Config {
    settings: Settings,
    effective: Vec<Effective>,
    warnings: Vec<String>,
}

impl Config {
    /// Reads and checks everything. Besides the named files nothing is touched.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn load(sources: &Sources) -> Result<Self, ConfigFaults> {
        let mut loader = Loader::new(sources);
        let settings = Settings::load("", &mut loader);
        let warnings = rules::check(&settings, &mut loader);
        Ok(Self { settings, effective: loader.finish()?, warnings })
    }

    /// The defaults below `data_dir`, on a free port of the loopback address.
    ///
    /// # Panics
    /// When `data_dir` is not UTF-8.
    pub fn embedded(data_dir: &Path) -> Self {
        Self::embedded_with(data_dir, &[]).expect("the defaults are valid")
    }

    /// [`Config::embedded`] with some settings changed: `("rate_limit.enabled", "false")`.
    ///
    /// # Errors
    /// The faults of the changed settings.
    pub fn embedded_with(data_dir: &Path, changes: &[(&'static str, &str)]) -> Result<Self, ConfigFaults> {
        let data_dir = data_dir.to_str().expect("the data directory of a test is UTF-8");
        let flag = |key, value: &str| FlagValue { flag: "embedded", key, value: value.to_owned() };
        let own = [flag("data_dir", data_dir), flag("server.listen", "127.0.0.1:0")];
        let flags = own.into_iter().chain(changes.iter().map(|(key, value)| flag(key, value))).collect();
        Self::load(&Sources { flags, ..Sources::default() })
    }

    /// Takes over the address that was really bound: with port 0 the derived base URL, issuer and
    /// audience become known only then. What was set explicitly stays.
    pub fn bound_to(&mut self, address: SocketAddr) {
        self.settings.server.listen = address;
        if self.origin_of("server.base_url") != &Origin::Derived {
            return;
        }
        if let Ok(url) = BaseUrl::parse_text(&derive::base_url_of(address)) {
            if self.origin_of("auth.issuer") == &Origin::Derived {
                self.settings.auth.issuer = url.to_string();
            }
            if self.origin_of("oidc.audience") == &Origin::Derived {
                self.settings.oidc.audience = url.authority().to_owned();
            }
            self.settings.server.base_url = url;
        }
    }

    /// Every setting with its printable value and where it came from, in documentation order.
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// Where one setting came from.
    ///
    /// # Panics
    /// When there is no such setting.
    pub fn origin_of(&self, key: &str) -> &Origin {
        &self.effective.iter().find(|line| line.key == key).expect("a known setting").origin
    }

    /// What is allowed but probably not meant, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Embedded mode: the database is a file of this machine.
    pub fn is_embedded(&self) -> bool {
        self.settings.database.url.is_sqlite()
    }
}

impl Deref for Config {
    type Target = Settings;
    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl DerefMut for Config {
    fn deref_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }
}
