//! `composer.json`: what is served of it, and what it must be for that.
//!
//! Source: `res/composer-schema.json` and `ArrayLoader` of composer/composer; composer.md §3, §7.

use publaryn_core::publish::PackageFacts;
use publaryn_protocol::strict_json;
use serde_json::{Map, Value, json};

use crate::{constraint::is_constraint, name::is_name};

/// Members that clients read of a hosted package. The others say something about the publisher's checkout, or are
/// answered by the registry.
const SERVED: &[&str] = &[
    "type",
    "description",
    "keywords",
    "homepage",
    "license",
    "authors",
    "require",
    "require-dev",
    "conflict",
    "provide",
    "replace",
    "suggest",
    "autoload",
    "include-path",
    "target-dir",
    "bin",
    "extra",
    "support",
    "funding",
    "php-ext",
];

/// Maps of package names to constraints.
const LINKS: [&str; 5] = ["require", "require-dev", "conflict", "provide", "replace"];

/// A manifest that may be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    pub name: String,
    pub version: Option<String>,
    /// [`SERVED`] members in that order, in their one form; empty ones are left out.
    pub served: Map<String, Value>,
}

impl Manifest {
    /// # Errors
    /// A sentence about the first member at fault, starting with `composer.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(b"\xef\xbb\xbf") {
            return Err("composer.json starts with a byte order mark".to_owned());
        }
        let mut all =
            strict_json::parse_object(bytes).map_err(|fault| format!("composer.json cannot be read: {fault}"))?;
        let Some(name) = all.get("name").and_then(Value::as_str).map(str::to_owned) else {
            return Err("composer.json: name must be a string".to_owned());
        };
        let version = match all.get("version") {
            None | Some(Value::Null) => None,
            Some(Value::String(version)) => Some(version.clone()),
            Some(_) => return Err("composer.json: version must be a string".to_owned()),
        };
        let mut served = Map::new();
        for key in SERVED {
            let Some(value) = all.remove(*key).filter(|value| !value.is_null()) else { continue };
            let value = checked(&name, key, value).map_err(|fault| format!("composer.json: {fault}"))?;
            if !is_empty(&value) {
                served.insert((*key).to_owned(), value);
            }
        }
        Ok(Self { name, version, served })
    }

    /// What it says of the package.
    pub fn facts(&self, readme: Option<String>) -> PackageFacts {
        let text = |value: Option<&Value>| {
            value.and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned)
        };
        let licenses: Vec<&str> = strings(self.served.get("license")).collect();
        PackageFacts {
            description: text(self.served.get("description")),
            homepage: text(self.served.get("homepage")),
            repository_url: text(self.served.get("support").and_then(|support| support.get("source"))),
            // Several mean that the user may choose.
            license: (!licenses.is_empty()).then(|| licenses.join(" OR ")),
            keywords: strings(self.served.get("keywords")).map(str::to_owned).collect(),
            readme,
        }
    }

    /// Packages that one of the manifest's sorts of links names.
    pub fn links(&self, sort: &str) -> Vec<&str> {
        let linked = self.served.get(sort).and_then(Value::as_object).into_iter().flatten();
        linked.map(|(name, _)| name.as_str()).filter(|name| is_name(name)).collect()
    }

    /// Files of the package that clients link into `vendor/bin`.
    pub fn bins(&self) -> impl Iterator<Item = &str> {
        strings(self.served.get("bin"))
    }
}

fn strings(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// One member in its one form.
fn checked(package: &str, key: &str, value: Value) -> Result<Value, String> {
    match key {
        "description" | "homepage" | "target-dir" => match value {
            Value::String(_) => Ok(value),
            _ => Err(format!("{key} must be a string")),
        },
        "type" => match value.as_str() {
            Some(kind) if is_type(kind) => Ok(value),
            _ => Err("type must be a string of lower-case letters, digits and `-`".to_owned()),
        },
        "license" => match value {
            Value::String(one) => Ok(json!([one])),
            list => list_of_strings(key, list).map_err(|_| "license must be a string or a list of strings".to_owned()),
        },
        "keywords" => list_of_strings(key, value),
        "include-path" => paths(key, value),
        "bin" => match value {
            Value::String(one) => paths(key, json!([one])),
            list => paths(key, list).map_err(|fault| fault.replace("a list", "a string or a list")),
        },
        "authors" | "funding" => match value {
            Value::Array(list) if list.iter().all(Value::is_object) => Ok(Value::Array(list)),
            _ => Err(format!("{key} must be a list of objects")),
        },
        "suggest" => {
            let map = map(key, value)?;
            match map.iter().find(|(_, reason)| !reason.is_string()) {
                Some((name, _)) => Err(format!("suggest.{} must be a string", shown(name))),
                None => Ok(Value::Object(map)),
            }
        }
        "autoload" => autoload(map(key, value)?),
        _ if LINKS.contains(&key) => links(package, key, map(key, value)?),
        _ => map(key, value).map(Value::Object),
    }
}

/// PHP writes an empty map as an empty list.
fn map(key: &str, value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(map) => Ok(map),
        Value::Array(list) if list.is_empty() => Ok(Map::new()),
        _ => Err(format!("{key} must be an object")),
    }
}

fn list_of_strings(key: &str, value: Value) -> Result<Value, String> {
    match value {
        Value::Array(list) if list.iter().all(Value::is_string) => Ok(Value::Array(list)),
        _ => Err(format!("{key} must be a list of strings")),
    }
}

fn paths(key: &str, value: Value) -> Result<Value, String> {
    let list = list_of_strings(key, value)?;
    let outside = strings(Some(&list)).find(|path| !stays_inside(path)).map(shown);
    outside.map_or(Ok(list), |path| Err(format!("{key} names a path outside of the package: {path}")))
}

fn links(package: &str, key: &str, map: Map<String, Value>) -> Result<Value, String> {
    for (name, constraint) in &map {
        let name_shown = shown(name);
        let Some(constraint) = constraint.as_str() else { return Err(format!("{key}.{name_shown} must be a string")) };
        if !is_name(&name.to_ascii_lowercase()) && !is_platform(name) {
            return Err(format!("{key}: `{name_shown}` is no package name"));
        }
        if !is_constraint(constraint) {
            return Err(format!("{key}.{name_shown}: `{}` is no version constraint", shown(constraint)));
        }
        if key.starts_with("require") && name.eq_ignore_ascii_case(package) {
            return Err(format!("{key}: the package requires itself"));
        }
    }
    Ok(Value::Object(map))
}

/// `php`, `ext-json`, `lib-curl`, `composer-plugin-api`: names without a vendor are the platform's.
fn is_platform(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn autoload(map: Map<String, Value>) -> Result<Value, String> {
    for (kind, rules) in &map {
        match kind.as_str() {
            "psr-4" | "psr-0" => {
                let rules = match rules {
                    Value::Object(rules) => rules.values().collect(),
                    Value::Array(none) if none.is_empty() => Vec::new(),
                    _ => return Err(format!("autoload.{kind} must be an object")),
                };
                for places in rules {
                    autoload_paths(kind, places)?;
                }
            }
            "classmap" | "files" => autoload_paths(kind, rules)?,
            // Patterns, not paths; unknown kinds are ignored by clients.
            _ => {}
        }
    }
    Ok(Value::Object(map))
}

/// A path, or a list or map of paths.
fn autoload_paths(kind: &str, places: &Value) -> Result<(), String> {
    let all: Vec<&Value> = match places {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) if kind != "psr-4" && kind != "psr-0" => map.values().collect(),
        one => vec![one],
    };
    for place in all {
        match place.as_str() {
            Some(path) if path.is_empty() || stays_inside(path) => {}
            Some(path) => return Err(format!("autoload.{kind} names a path outside of the package: {}", shown(path))),
            None => return Err(format!("autoload.{kind} must hold paths")),
        }
    }
    Ok(())
}

fn stays_inside(path: &str) -> bool {
    let has_drive = matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    !path.is_empty()
        && !path.starts_with(['/', '\\'])
        && !has_drive
        && !path.chars().any(char::is_control)
        && path.split(['/', '\\']).all(|part| part != "..")
}

fn is_type(kind: &str) -> bool {
    !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: Value) -> Result<Manifest, String> {
        Manifest::parse(value.to_string().as_bytes())
    }

    #[test]
    fn what_is_served_has_one_form() {
        let manifest = parse(json!({
            "name": "acme/lib", "version": "1.0", "license": "MIT", "bin": "bin/x", "require": {"php": ">=8.1", "acme/base": "^1"},
            "require-dev": [], "scripts": {"post-install-cmd": "evil"}, "repositories": [], "config": {}, "keywords": ["a"],
            "autoload": {"psr-4": {"Acme\\": "src/", "Other\\": ["a", "b"]}, "exclude-from-classmap": ["/Tests/"]},
            "time": "x", "dist": {}, "type": "library", "support": {"source": "https://h/x"}
        }))
        .unwrap();
        let keys: Vec<&str> = manifest.served.keys().map(String::as_str).collect();
        assert_eq!(keys, ["type", "keywords", "license", "require", "autoload", "bin", "support"]);
        assert_eq!(manifest.served["license"], json!(["MIT"]));
        assert_eq!(manifest.served["bin"], json!(["bin/x"]));
        assert_eq!(manifest.links("require"), ["acme/base"]);
        let facts = manifest.facts(None);
        assert_eq!((facts.license.as_deref(), facts.repository_url.as_deref()), (Some("MIT"), Some("https://h/x")));
    }

    #[test]
    fn faults_name_the_member() {
        for (member, value, wanted) in [
            ("require", json!({"php": 8}), "require.php must be a string"),
            ("require", json!({"php": "latest"}), "require.php: `latest` is no version constraint"),
            ("require", json!({"acme/lib": "*"}), "requires itself"),
            ("require", json!({"a b": "*"}), "is no package name"),
            ("require", json!(["x"]), "require must be an object"),
            ("license", json!(7), "license must be"),
            ("type", json!("Library!"), "type must be"),
            ("autoload", json!({"psr-4": {"A\\": "../x"}}), "outside of the package"),
            ("autoload", json!({"files": ["/etc/passwd"]}), "outside of the package"),
            ("bin", json!(["a/../../b"]), "outside of the package"),
            ("bin", json!(7), "bin must be a string or a list of strings"),
            ("keywords", json!("a"), "keywords must be a list"),
            ("suggest", json!({"a/b": 1}), "suggest.a/b must be a string"),
            ("version", json!(1.0), "version must be a string"),
            ("name", json!(null), "name must be a string"),
        ] {
            let mut manifest = json!({"name": "acme/lib"});
            manifest[member] = value;
            let fault = parse(manifest).unwrap_err();
            assert!(fault.starts_with("composer.json: ") && fault.contains(wanted), "{fault}");
        }
        for bytes in [&b"\xef\xbb\xbf{}"[..], b"[]", b"{", b"{\"name\":\"a/b\",\"name\":\"c/d\"}", b"\xff"] {
            assert!(Manifest::parse(bytes).unwrap_err().starts_with("composer.json"));
        }
    }
}
