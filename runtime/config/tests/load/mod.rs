//! Loading a configuration from the environment and file a test writes down.
#![allow(dead_code, reason = "each test binary uses its share")]

use publaryn_config::{Config, ConfigFaults, Sources};

/// `("SERVER__LISTEN", "…")` stands for `PUBLARYN__SERVER__LISTEN`.
pub fn sources(env: &[(&str, &str)]) -> Sources {
    let prefixed = |(name, value): &(&str, &str)| {
        let name = if *name == "RUST_LOG" { (*name).to_owned() } else { format!("PUBLARYN__{name}") };
        (name, (*value).to_owned())
    };
    Sources { env: env.iter().map(prefixed).collect(), ..Sources::default() }
}

pub fn load(env: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
    Config::load(&sources(env))
}

pub fn faults(env: &[(&str, &str)]) -> ConfigFaults {
    load(env).expect_err("the configuration is faulty")
}

pub fn lines(faults: &ConfigFaults) -> Vec<String> {
    faults.to_string().lines().map(str::to_owned).collect()
}

pub fn fault_lines(env: &[(&str, &str)]) -> Vec<String> {
    lines(&faults(env))
}

/// Loads a file named `publaryn.toml` in a directory of its own.
pub fn with_file(text: &str, env: &[(&str, &str)]) -> (tempfile::TempDir, Result<Config, ConfigFaults>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("publaryn.toml");
    std::fs::write(&file, text).unwrap();
    let result = Config::load(&Sources { file: Some(file), ..sources(env) });
    (dir, result)
}
