//! What is wrong with a configuration: every fault at once, one line each.

use std::fmt;

/// One thing the operator has to correct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    key: String,
    message: String,
    set: Option<String>,
}

impl Fault {
    /// A fault of the known setting `key`; the line ends with the variable that would set it.
    pub(crate) fn of(key: &str, message: impl Into<String>) -> Self {
        Self { key: key.to_owned(), message: one_line(&message.into()), set: Some(env_name(key)) }
    }

    /// A fault of something that is not a setting: an unknown key, an unreadable file.
    pub(crate) fn about(what: &str, message: impl Into<String>, nearest: Option<&str>) -> Self {
        Self { key: one_line(what), message: one_line(&message.into()), set: nearest.map(env_name) }
    }

    /// The setting (dotted path), or the file the fault is about.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong, without the key.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config error: {}: {}", self.key, self.message)?;
        match &self.set {
            Some(variable) => write!(f, " (set {variable})"),
            None => Ok(()),
        }
    }
}

/// Every fault found: unknown keys, then values in the order of the table, then rules. Prints one line per fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigFaults(pub(crate) Vec<Fault>);

impl ConfigFaults {
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// The environment variable of a setting: `storage.s3.bucket` → `PUBLARYN__STORAGE__S3__BUCKET`.
pub fn env_name(key: &str) -> String {
    format!("{}{}", ENV_PREFIX, key.replace('.', "__").to_ascii_uppercase())
}

/// What every environment variable that is a setting starts with.
pub(crate) const ENV_PREFIX: &str = "PUBLARYN__";

/// Values are quoted in messages; a line break or control character in one must not forge a line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
