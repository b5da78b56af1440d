//! The `Cargo.toml` inside an archive: what compiling goes by, as opposed to the index line, which
//! resolution goes by.
//!
//! Read leniently (cargo wrote it, and new keys appear every year) but never guessed: a value of an
//! unexpected type counts as absent, except where the identity of the crate hangs on it.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::release::{About, DependencyKind};

/// A parsed manifest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    pub rust_version: Option<String>,
    pub links: Option<String>,
    /// What it says for people and tools.
    pub about: About,
    pub has_lib_section: bool,
    pub bin_names: Vec<String>,
    pub deps: Vec<ManifestDependency>,
    pub features: BTreeMap<String, BTreeSet<String>>,
}

/// One entry of a dependency table.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestDependency {
    /// The key in the table.
    pub name: String,
    /// The real crate name, when it is renamed.
    pub package: Option<String>,
    /// Absent when only a path or a git address is given.
    pub req: Option<String>,
    pub kind: DependencyKind,
    pub target: Option<String>,
    pub features: BTreeSet<String>,
    pub optional: bool,
    pub default_features: bool,
    /// URL of the index; cargo replaces registry names by it when it packs.
    pub registry_index: Option<String>,
    /// Names a registry of the author's own configuration, which nobody else can look up.
    pub has_named_registry: bool,
}

/// Why a manifest is not one.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("failed to parse `Cargo.toml` manifest file: not UTF-8")]
    Encoding,
    #[error("failed to parse `Cargo.toml` manifest file: {0}")]
    Syntax(String),
    #[error("failed to parse `Cargo.toml` manifest file: missing `package.{0}`")]
    Missing(&'static str),
}

impl Manifest {
    /// # Errors
    /// [`ManifestError`]: not TOML, or without name or version.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::Encoding)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let root: Table =
            toml::from_str(text).map_err(|e: toml::de::Error| ManifestError::Syntax(one_line(e.message())))?;
        let package =
            table(&root, "package").or_else(|| table(&root, "project")).ok_or(ManifestError::Missing("name"))?;
        let mut deps = Vec::new();
        collect(&root, None, &mut deps);
        for (target, section) in table(&root, "target").into_iter().flatten() {
            if let Some(section) = section.as_table() {
                collect(section, Some(target), &mut deps);
            }
        }
        Ok(Self {
            name: string(package, "name").ok_or(ManifestError::Missing("name"))?,
            version: string(package, "version").ok_or(ManifestError::Missing("version"))?,
            rust_version: string(package, "rust-version"),
            links: string(package, "links"),
            about: About {
                description: string(package, "description"),
                documentation: string(package, "documentation"),
                homepage: string(package, "homepage"),
                repository: string(package, "repository"),
                license: string(package, "license"),
                license_file: string(package, "license-file"),
                readme_file: string(package, "readme"),
                edition: string(package, "edition"),
                authors: strings(package.get("authors")),
                keywords: strings(package.get("keywords")),
                categories: strings(package.get("categories")),
                ..About::default()
            },
            has_lib_section: table(&root, "lib").is_some(),
            bin_names: bin_names(&root),
            deps,
            features: table(&root, "features")
                .into_iter()
                .flatten()
                .map(|(name, values)| (name.clone(), strings(Some(values)).into_iter().collect()))
                .collect(),
        })
    }
}

fn collect(section: &Table, target: Option<&str>, into: &mut Vec<ManifestDependency>) {
    let kinds = [
        (DependencyKind::Normal, ["dependencies", ""]),
        (DependencyKind::Build, ["build-dependencies", "build_dependencies"]),
        (DependencyKind::Dev, ["dev-dependencies", "dev_dependencies"]),
    ];
    for (kind, keys) in kinds {
        let entries = keys.iter().filter_map(|key| table(section, key)).flatten();
        into.extend(entries.map(|(name, value)| dependency(name, value, kind, target)));
    }
}

fn dependency(name: &str, value: &Value, kind: DependencyKind, target: Option<&str>) -> ManifestDependency {
    let empty = Table::new();
    let detail = value.as_table().unwrap_or(&empty);
    let flag = |keys: [&str; 2]| keys.iter().find_map(|key| detail.get(*key)).and_then(Value::as_bool);
    ManifestDependency {
        name: name.to_owned(),
        package: string(detail, "package"),
        req: value.as_str().map(str::to_owned).or_else(|| string(detail, "version")),
        kind,
        target: target.map(str::to_owned),
        features: strings(detail.get("features")).into_iter().collect(),
        optional: flag(["optional", "optional"]).unwrap_or(false),
        default_features: flag(["default-features", "default_features"]).unwrap_or(true),
        registry_index: string(detail, "registry-index"),
        has_named_registry: detail.contains_key("registry"),
    }
}

fn bin_names(root: &Table) -> Vec<String> {
    let bins = root.get("bin").and_then(Value::as_array).into_iter().flatten();
    bins.filter_map(|bin| string(bin.as_table()?, "name")).take(200).collect()
}

fn table<'a>(of: &'a Table, key: &str) -> Option<&'a Table> {
    of.get(key).and_then(Value::as_table)
}

fn string(of: &Table, key: &str) -> Option<String> {
    of.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_dependency_table_is_read() {
        let manifest = Manifest::parse(
            br#"
            [package]
            name = "demo"
            version = "1.0.0+b1"
            rust-version = "1.70"
            links = "z"
            [dependencies]
            plain = "1"
            [dependencies.alias]
            version = "2.1"
            package = "real"
            optional = true
            default-features = false
            features = ["x", "y"]
            registry-index = "sparse+https://pkg.example/cargo/index/"
            [build-dependencies]
            cc = "1"
            [dev_dependencies]
            local = { path = "../local" }
            [target.'cfg(unix)'.dependencies]
            libc = "0.2"
            [features]
            default = ["alias"]
            alias = ["dep:alias"]
            [[bin]]
            name = "tool"
            "#,
        )
        .unwrap();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("demo", "1.0.0+b1"));
        assert_eq!((manifest.rust_version.as_deref(), manifest.links.as_deref()), (Some("1.70"), Some("z")));
        let shape: Vec<_> = manifest
            .deps
            .iter()
            .map(|d| (d.name.as_str(), d.kind.as_str(), d.req.as_deref(), d.target.as_deref()))
            .collect();
        assert_eq!(
            shape,
            [
                ("alias", "normal", Some("2.1"), None),
                ("plain", "normal", Some("1"), None),
                ("cc", "build", Some("1"), None),
                ("local", "dev", None, None),
                ("libc", "normal", Some("0.2"), Some("cfg(unix)")),
            ]
        );
        let alias = &manifest.deps[0];
        assert!(alias.optional && !alias.default_features && alias.features.len() == 2);
        assert_eq!(alias.package.as_deref(), Some("real"));
        assert_eq!(manifest.bin_names, ["tool"]);
        assert_eq!(manifest.features["default"], BTreeSet::from(["alias".to_owned()]));
    }

    #[test]
    fn identity_is_required() {
        for bad in [&b"\xff"[..], b"[package", b"", b"[package]\nname = 'x'", b"[package]\nname = 1\nversion = '1.0.0'"]
        {
            assert!(Manifest::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Manifest::parse(&bytes).ok();
        }

        /// Tables, arrays and scalars where other things are expected count as absent or are refused.
        #[test]
        fn no_shape_panics(
            section in prop::sample::select(vec!["package", "dependencies", "target.x.dependencies", "features", "lib", "[bin]"]),
            key in "[a-z-]{1,12}",
            value in prop::sample::select(vec!["1", "[]", "{}", "'x'", "true", "[[1], {a = 2}]", "{version = [1]}", "1979-05-27"]),
        ) {
            let text = format!("[{section}]\n{key} = {value}\nname = {value}\nversion = {value}\n");
            Manifest::parse(text.as_bytes()).ok();
            let named = format!("[package]\nname = 'x'\nversion = '1.0.0'\n[{section}.sub]\n{key} = {value}\n");
            if let Ok(manifest) = Manifest::parse(named.as_bytes()) {
                prop_assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("x", "1.0.0"));
            }
        }
    }
}
