//! Which log lines are written.

use crate::value::{Raw, Refusal, Setting};

/// A level (`info`) or a filter (`info,publaryn_jobs=debug`), in the syntax of `tracing`'s `EnvFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

impl LogFilter {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `RUST_LOG` in our spelling: there a bare target means everything of it, which in a setting
    /// is far more often a misspelt level.
    pub(crate) fn from_rust_log(text: &str) -> String {
        let directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
        let spelled = directives.map(|directive| {
            let is_target = !directive.contains(['=', '[']) && !is_level(directive);
            if is_target { format!("{directive}=trace") } else { directive.to_owned() }
        });
        spelled.collect::<Vec<_>>().join(",")
    }
}

fn is_level(word: &str) -> bool {
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
}

impl Setting for LogFilter {
    const EXPECTS: &'static str =
        "a level (off, error, warn, info, debug, trace) or a filter such as info,publaryn_jobs=debug";

    fn parse_text(text: &str) -> Result<Self, Refusal> {
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(Refusal::Unlike);
        }
        // Span filters carry commas and equal signs of their own; the subscriber judges those.
        if !text.contains('[') {
            for directive in text.split(',').map(str::trim) {
                let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level.trim());
                if !is_level(level) {
                    let got = Raw::Text(directive.to_owned());
                    return Err(Refusal::Because(format!("expected {}, got {got}", Self::EXPECTS)));
                }
            }
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> Option<String> {
        Some(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters() {
        for good in ["info", "WARN", "info,publaryn_jobs=debug", "off, hyper=info", "info,[request{path=\"/\"}]=trace"]
        {
            assert!(LogFilter::parse_text(good).is_ok(), "{good} was refused");
        }
        for bad in ["", "inof", "publaryn_jobs", "info,,", "publaryn=loud", "info\nx"] {
            assert!(LogFilter::parse_text(bad).is_err(), "{bad} was accepted");
        }
        assert_eq!(LogFilter::from_rust_log("publaryn, hyper=warn,info,"), "publaryn=trace,hyper=warn,info");
    }
}
