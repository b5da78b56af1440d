//! `publaryn doctor`: is this installation healthy, one line per check.

mod checks;
mod upkeep;

use publaryn_config::{Config, Effective};
use serde::Serialize;

use crate::{
    cli::{CommonArgs, DoctorArgs},
    configuration,
    exit::{Exit, Failure},
};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Works, but should be looked at.
    Warn,
    Fail,
}

/// The result of one check.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub status: Status,
    pub name: &'static str,
    pub text: String,
}

impl Check {
    pub fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { status: Status::Ok, name, text: text.into() }
    }
    pub fn warn(name: &'static str, text: impl Into<String>) -> Self {
        Self { status: Status::Warn, name, text: text.into() }
    }
    pub fn fail(name: &'static str, text: impl Into<String>) -> Self {
        Self { status: Status::Fail, name, text: text.into() }
    }
}

pub fn run(common: &CommonArgs, args: &DoctorArgs) -> Result<Exit, Failure> {
    let config = configuration::load(common, Vec::new())?;
    if args.print_config {
        print_config(config.effective(), args.json);
        return Ok(Exit::Success);
    }
    let checks = configuration::block_on(async { Ok(checks::all(&config).await) })?;
    print(&config, &checks, args.json);
    let has_failed = checks.iter().any(|check| check.status == Status::Fail);
    Ok(if has_failed { Exit::Failed } else { Exit::Success })
}

fn print(config: &Config, checks: &[Check], as_json: bool) {
    if as_json {
        let mode = if config.is_embedded() { "embedded" } else { "external" };
        println!("{}", serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "mode": mode, "checks": checks }));
        return;
    }
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for Check { status, name, text } in checks {
        let status = match status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
        };
        println!("{status:<4}  {name:<width$}  {}", text.replace('\n', " "));
    }
}

fn print_config(effective: &[Effective], as_json: bool) {
    if as_json {
        let lines: Vec<_> = effective
            .iter()
            .map(|line| {
                let origin = line.origin.to_string();
                serde_json::json!({ "key": line.key, "value": line.value, "origin": origin })
            })
            .collect();
        println!("{}", serde_json::Value::from(lines));
        return;
    }
    let width = effective.iter().map(|line| line.key.len()).max().unwrap_or(0);
    for line in effective {
        println!("{:<width$}  {}  ({})", line.key, line.value.as_deref().unwrap_or("–"), line.origin);
    }
}
