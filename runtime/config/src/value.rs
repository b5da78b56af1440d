//! Turning what an operator wrote into a typed value, and showing it again.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf};

use ipnet::IpNet;

use crate::Secret;

/// A value as written: environment variables and flags only give text.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    Text(String),
    List(Vec<Raw>),
    Table(BTreeMap<String, Raw>),
}

impl From<toml::Value> for Raw {
    fn from(value: toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Self::Text(text),
            toml::Value::Array(items) => Self::List(items.into_iter().map(Raw::from).collect()),
            toml::Value::Table(table) => Self::Table(table.into_iter().map(|(k, v)| (k, v.into())).collect()),
            scalar => Self::Text(scalar.to_string()),
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{:?}", text.chars().take(120).collect::<String>()),
            Self::List(_) => f.write_str("a list"),
            Self::Table(_) => f.write_str("a table"),
        }
    }
}

/// Why a value was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It does not look like what [`Setting::EXPECTS`] says.
    Unlike,
    /// It does, but cannot be used.
    Because(String),
}

impl Refusal {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self::Because(reason.into())
    }
}

/// A type that a setting can have.
pub trait Setting: Sized {
    /// Completes "expected …".
    const EXPECTS: &'static str;
    /// The value must never be printed.
    const SECRET: bool = false;
    /// Also readable from the file named by `<key>_file`.
    const FROM_FILE: bool = Self::SECRET;

    fn parse_text(text: &str) -> Result<Self, Refusal>;

    fn parse(raw: &Raw) -> Result<Self, Refusal> {
        match raw {
            Raw::Text(text) => Self::parse_text(text),
            Raw::List(_) | Raw::Table(_) => Err(Refusal::Unlike),
        }
    }

    /// The value when nothing is set; only optional settings have one.
    fn unset() -> Option<Self> {
        None
    }

    /// What `doctor --print-config` prints; `None` when unset.
    fn show(&self) -> Option<String>;
}

impl<T: Setting> Setting for Option<T> {
    const EXPECTS: &'static str = T::EXPECTS;
    const SECRET: bool = T::SECRET;
    const FROM_FILE: bool = T::FROM_FILE;

    fn parse_text(text: &str) -> Result<Self, Refusal> {
        // Compose files and charts pass an empty variable for "not set". A secret that came out
        // empty is a mistake worth stopping for.
        if text.is_empty() && !T::SECRET { Ok(None) } else { T::parse_text(text).map(Some) }
    }
    fn parse(raw: &Raw) -> Result<Self, Refusal> {
        match raw {
            Raw::Text(text) => Self::parse_text(text),
            other => T::parse(other).map(Some),
        }
    }
    fn unset() -> Option<Self> {
        Some(None)
    }
    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const EXPECTS: &'static str = T::EXPECTS;

    fn parse_text(text: &str) -> Result<Self, Refusal> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| named(item, T::parse_text)).collect()
    }
    fn parse(raw: &Raw) -> Result<Self, Refusal> {
        match raw {
            Raw::Text(text) => Self::parse_text(text),
            Raw::List(items) => items
                .iter()
                .map(|item| match item {
                    Raw::Text(text) => named(text, T::parse_text),
                    other => T::parse(other),
                })
                .collect(),
            Raw::Table(_) => Err(Refusal::because("expected a list")),
        }
    }
    fn show(&self) -> Option<String> {
        Some(format!("[{}]", self.iter().filter_map(T::show).collect::<Vec<_>>().join(", ")))
    }
}

/// In a list the faulty item has to be named, not the whole list.
fn named<T: Setting>(item: &str, parse: fn(&str) -> Result<T, Refusal>) -> Result<T, Refusal> {
    parse(item).map_err(|refusal| match refusal {
        Refusal::Unlike => Refusal::Because(format!("expected {}, got {}", T::EXPECTS, Raw::Text(item.to_owned()))),
        because => because,
    })
}

impl Setting for bool {
    const EXPECTS: &'static str = "true or false";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(Refusal::Unlike),
        }
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for String {
    const EXPECTS: &'static str = "a text";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        if text.chars().any(char::is_control) {
            return Err(Refusal::because("must not contain control characters"));
        }
        Ok(text.to_owned())
    }
    fn show(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl Setting for PathBuf {
    const EXPECTS: &'static str = "a path";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() || text.contains('\0') { Err(Refusal::Unlike) } else { Ok(text.into()) }
    }
    fn show(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

impl Setting for SocketAddr {
    const EXPECTS: &'static str = "an address and port such as 127.0.0.1:3000 or [::]:3000";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        numeric.parse().map_err(|_| Refusal::Unlike)
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for IpNet {
    const EXPECTS: &'static str = "a network such as 10.0.0.0/8 or fd00::/8";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        let single = || text.parse::<std::net::IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().map(|net| net.trunc()).or_else(|_| single()).map_err(|_| Refusal::Unlike)
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for Secret {
    const EXPECTS: &'static str = "a secret text";
    const SECRET: bool = true;
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Refusal::because("must not be empty"));
        }
        Ok(Secret::new(text))
    }
    fn show(&self) -> Option<String> {
        Some("***".to_owned())
    }
}

impl Setting for publaryn_core::crash::CrashAt {
    const EXPECTS: &'static str = "a place of a publish such as release_committed or upload_received:3";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::Unlike)
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for publaryn_core::Ecosystem {
    const EXPECTS: &'static str = "one of npm, pypi, cargo, nuget, maven, rubygems, composer, oci";
    fn parse_text(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::Unlike)
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}
