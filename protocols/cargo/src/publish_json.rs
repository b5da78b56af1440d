//! The JSON of a publish request, checked in the order and with the words of cargo.md §6.
//!
//! [`NewCrate::parse`] reads it and settles the name, so that the caller's rights can be looked at;
//! [`NewCrate::check`] judges the rest and turns it into the form of the index line.

use std::collections::HashMap;

use publaryn_core::{PackageName, RegistryError, Version, publish::PackageFacts, version::MAX_VERSION_CHARS};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::{
    archive::CrateArchive,
    category::{is_known_badge, is_known_category},
    manifest::{Manifest, ManifestDependency},
    name,
    own_index::OwnIndexes,
    release::{About, CrateRelease, Dependency, DependencyKind, Features, PUBLIC_INDEX, Sent, line_schema},
};

/// Most features of a crate, and most values of one feature.
const MAX_FEATURES: usize = 300;
/// Most dependencies of a crate; the public registry has the same bound.
const MAX_DEPENDENCIES: usize = 500;
const MAX_KEYWORDS: usize = 5;
const MAX_KEYWORD_CHARS: usize = 20;
const MAX_CATEGORIES: usize = 5;
/// Longest readme kept.
const MAX_README_BYTES: usize = 512 << 10;

/// A publish request whose name is acceptable.
#[derive(Debug)]
pub struct NewCrate {
    pub name: PackageName,
    json: Request,
}

/// A publish request that passed every check that needs no archive.
#[derive(Debug)]
pub struct CheckedCrate {
    pub name: PackageName,
    pub version: Version,
    pub release: CrateRelease,
    pub readme: Option<String>,
    pub warnings: Warnings,
}

/// What cargo prints to the publisher after a success.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Warnings {
    pub invalid_categories: Vec<String>,
    pub invalid_badges: Vec<String>,
    pub other: Vec<String>,
}

/// Keys of the request (cargo 1.95); unknown ones are ignored, optional scalars come as `null`.
/// Source: <https://doc.rust-lang.org/cargo/reference/registry-web-api.html#publish>
#[derive(Debug, Deserialize)]
struct Request {
    name: String,
    vers: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    deps: Vec<RequestDependency>,
    #[serde(default, deserialize_with = "features")]
    features: Features,
    #[serde(default, deserialize_with = "null_is_empty")]
    authors: Vec<String>,
    description: Option<String>,
    documentation: Option<String>,
    homepage: Option<String>,
    readme: Option<String>,
    readme_file: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    keywords: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    categories: Vec<String>,
    license: Option<String>,
    license_file: Option<String>,
    repository: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    badges: HashMap<String, Value>,
    links: Option<String>,
    rust_version: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RequestDependency {
    name: String,
    version_req: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    features: Vec<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default = "yes")]
    default_features: bool,
    target: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    registry: Option<String>,
    explicit_name_in_toml: Option<String>,
    artifact: Option<Vec<String>>,
    bindep_target: Option<String>,
    lib: Option<bool>,
}

impl RequestDependency {
    /// `None` for what cargo leaves out: development dependencies that only the publisher has.
    fn of_manifest(dep: &ManifestDependency, own: &OwnIndexes) -> Result<Option<Self>, RegistryError> {
        let Some(version_req) = dep.req.clone() else {
            let reason = format!(
                "the dependency `{}` has no version, and its path or repository is nobody else's",
                shown(&dep.name)
            );
            return if dep.kind == DependencyKind::Dev { Ok(None) } else { Err(refused(reason)) };
        };
        if dep.has_named_registry && dep.registry_index.is_none() {
            return Err(refused(format!("the registry of the dependency `{}` has no address", shown(&dep.name))));
        }
        let registry = match &dep.registry_index {
            Some(index) if own.contains(index) => None,
            Some(index) => Some(index.clone()),
            None => Some(PUBLIC_INDEX.to_owned()),
        };
        Ok(Some(Self {
            name: dep.package.clone().unwrap_or_else(|| dep.name.clone()),
            version_req,
            features: dep.features.iter().cloned().collect(),
            optional: dep.optional,
            default_features: dep.default_features,
            target: dep.target.clone(),
            kind: Some(dep.kind.as_str().to_owned()),
            registry,
            explicit_name_in_toml: dep.package.as_ref().map(|_| dep.name.clone()),
            artifact: None,
            bindep_target: None,
            lib: None,
        }))
    }
}

fn yes() -> bool {
    true
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A feature map; a feature defined twice would mean different things to different readers.
fn features<'de, D: Deserializer<'de>>(from: D) -> Result<Features, D::Error> {
    struct Entries;
    impl<'de> de::Visitor<'de> for Entries {
        type Value = Features;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a map of features")
        }
        fn visit_unit<E>(self) -> Result<Features, E> {
            Ok(Features::new())
        }
        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Features, A::Error> {
            let mut features = Features::new();
            while let Some((name, values)) = map.next_entry::<String, Vec<String>>()? {
                if features.contains_key(&name) {
                    return Err(de::Error::custom(format_args!("duplicate feature `{name}`")));
                }
                features.insert(name, values);
            }
            Ok(features)
        }
    }
    from.deserialize_any(Entries)
}

fn refused(message: impl Into<String>) -> RegistryError {
    RegistryError::malformed(message)
}

impl NewCrate {
    /// # Errors
    /// `Malformed` with the place in the JSON and the reason, or `invalid crate name …`.
    pub fn parse(json: &[u8]) -> Result<Self, RegistryError> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let request: Request = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let (path, reason) = (error.path().to_string(), error.inner().to_string());
            if path == "." {
                refused(format!("invalid upload request: {reason}"))
            } else {
                refused(format!("invalid upload request: {path}: {reason}"))
            }
        })?;
        reader.end().map_err(|error| refused(format!("invalid upload request: {error}")))?;
        Ok(Self { name: name::parse_name(&request.name)?, json: request })
    }

    /// What cargo would have sent of a crate with this manifest.
    ///
    /// # Errors
    /// `Malformed` for a dependency that only the publisher's machine has, and for a bad name.
    pub fn of_manifest(manifest: &Manifest, own: &OwnIndexes) -> Result<Self, RegistryError> {
        let about = manifest.about.clone();
        let deps = manifest.deps.iter().filter_map(|dep| RequestDependency::of_manifest(dep, own).transpose());
        let request = Request {
            name: manifest.name.clone(),
            vers: manifest.version.clone(),
            deps: deps.collect::<Result<_, _>>()?,
            features: manifest
                .features
                .iter()
                .map(|(name, values)| (name.clone(), values.iter().cloned().collect()))
                .collect(),
            authors: about.authors,
            description: about.description,
            documentation: about.documentation,
            homepage: about.homepage,
            readme: None,
            readme_file: about.readme_file,
            keywords: about.keywords,
            categories: about.categories,
            license: about.license,
            license_file: about.license_file,
            repository: about.repository,
            badges: HashMap::new(),
            links: manifest.links.clone(),
            rust_version: manifest.rust_version.clone(),
        };
        Ok(Self { name: name::parse_name(&request.name)?, json: request })
    }

    /// The version as sent, not yet checked.
    pub fn version_text(&self) -> &str {
        &self.json.vers
    }

    /// Judges version, dependencies, features and descriptive fields, in that order.
    ///
    /// # Errors
    /// `Malformed` naming the offending field.
    pub fn check(self, own: &OwnIndexes, own_bases: Vec<String>) -> Result<CheckedCrate, RegistryError> {
        let Self { name, json } = self;
        let version = parse_version(&json.vers)?;
        if json.deps.len() > MAX_DEPENDENCIES {
            return Err(refused(format!("the crate has more than {MAX_DEPENDENCIES} dependencies")));
        }
        let deps = json.deps.into_iter().map(|dep| dependency(dep, own)).collect::<Result<Vec<_>, _>>()?;
        check_features(&json.features)?;
        check_keywords(&json.keywords)?;
        let mut warnings = Warnings::default();
        if json.categories.len() > MAX_CATEGORIES {
            return Err(refused(format!("expected at most {MAX_CATEGORIES} categories per crate")));
        }
        warnings.invalid_categories.extend(json.categories.iter().filter(|c| !is_known_category(c)).cloned());
        warnings.invalid_badges.extend(json.badges.keys().filter(|b| !is_known_badge(b)).cloned());
        warnings.invalid_badges.sort();
        for (field, url) in
            [("homepage", &json.homepage), ("documentation", &json.documentation), ("repository", &json.repository)]
        {
            if let Some(url) = url {
                check_url(field, url)?;
            }
        }
        check_license(json.license.as_deref(), &mut warnings);
        let rust_version = non_empty(json.rust_version);
        if let Some(text) = &rust_version
            && !is_rust_version(text)
        {
            return Err(refused(format!("failed to parse `rust_version`: `{}` is not a version of Rust", shown(text))));
        }
        let links = non_empty(json.links);
        let about = About {
            description: non_empty(json.description),
            documentation: non_empty(json.documentation),
            homepage: non_empty(json.homepage),
            repository: non_empty(json.repository),
            license: non_empty(json.license),
            license_file: non_empty(json.license_file),
            readme_file: non_empty(json.readme_file),
            authors: json.authors,
            keywords: json.keywords,
            categories: json.categories,
            ..About::default()
        };
        let release = CrateRelease {
            name: name.display().to_owned(),
            vers: version.as_str().to_owned(),
            deps,
            v: line_schema(&json.features),
            features: json.features,
            links: links.clone(),
            rust_version: rust_version.clone(),
            description: about,
            sent: Sent { links, rust_version },
            own_bases,
        };
        Ok(CheckedCrate { name, version, release, readme: json.readme.and_then(bounded_readme), warnings })
    }
}

impl CheckedCrate {
    /// Compiling goes by the manifest, so where both speak, its word is the one to keep.
    pub fn adopt(&mut self, archive: CrateArchive) {
        let release = &mut self.release;
        release.links = archive.manifest.links.or(release.links.take());
        release.rust_version = archive.manifest.rust_version.or(release.rust_version.take());
        release.description.edition = archive.manifest.about.edition;
        release.description.bin_names = archive.bin_names;
        release.description.has_lib = archive.has_lib;
        release.description.vcs_commit = archive.vcs_commit;
    }

    /// The facts of the package that this release brings.
    pub fn facts(&self) -> PackageFacts {
        let about = &self.release.description;
        PackageFacts {
            description: about.description.clone(),
            homepage: about.homepage.clone(),
            repository_url: about.repository.clone(),
            license: about.license.clone(),
            keywords: about.keywords.clone(),
            readme: self.readme.clone(),
        }
    }
}

/// Parses a version of a crate: SemVer 2, at most 128 characters.
///
/// # Errors
/// `Malformed` naming it.
pub fn parse_version(text: &str) -> Result<Version, RegistryError> {
    Version::semver(text).ok_or_else(|| {
        let reason = if text.len() > MAX_VERSION_CHARS { "too long" } else { "not a semantic version" };
        refused(format!("invalid version `{}`: {reason}", shown(text)))
    })
}

/// The request names the real crate and, for renames, the alias; the line the other way round.
fn dependency(sent: RequestDependency, own: &OwnIndexes) -> Result<Dependency, RegistryError> {
    let shown_name = shown(&sent.name);
    let fail = |reason: &str| Err(refused(format!("invalid dependency `{shown_name}`: {reason}")));
    if let Some(fault) = name::syntax_fault(&sent.name, false) {
        return fail(&fault);
    }
    if let Some(fault) = sent.explicit_name_in_toml.as_deref().and_then(|alias| name::syntax_fault(alias, true)) {
        return fail(&format!("its name in the manifest is not valid: {fault}"));
    }
    if let Err(error) = semver::VersionReq::parse(&sent.version_req) {
        return fail(&format!("the requirement `{}` is not valid: {error}", shown(&sent.version_req)));
    }
    let kind = match sent.kind.as_deref() {
        None => DependencyKind::Normal,
        Some(word) => match DependencyKind::parse(word) {
            Some(kind) => kind,
            None => return fail(&format!("unknown kind `{}`", shown(word))),
        },
    };
    let registry = match non_empty(sent.registry) {
        Some(url) if own.contains(&url) => None,
        Some(url) => match own.check_foreign(&url) {
            Ok(()) => Some(url),
            Err(reason) => return fail(&format!("its registry cannot be used: {reason}")),
        },
        None => None,
    };
    if let Some(bad) = sent.features.iter().find(|f| !is_feature_reference(f)) {
        return fail(&format!("the feature `{}` is not valid", shown(bad)));
    }
    let (name, package) = match sent.explicit_name_in_toml {
        Some(alias) => (alias, Some(sent.name)),
        None => (sent.name, None),
    };
    Ok(Dependency {
        name,
        req: sent.version_req,
        features: sent.features,
        optional: sent.optional,
        default_features: sent.default_features,
        target: non_empty(sent.target),
        kind,
        registry,
        package,
        artifact: sent.artifact,
        bindep_target: sent.bindep_target,
        lib: sent.lib,
    })
}

fn check_features(features: &Features) -> Result<(), RegistryError> {
    if features.len() > MAX_FEATURES {
        return Err(refused(format!("the crate has more than {MAX_FEATURES} features")));
    }
    for (name, values) in features {
        if !is_feature_name(name) {
            return Err(refused(format!("invalid feature name `{}`", shown(name))));
        }
        if values.len() > MAX_FEATURES {
            return Err(refused(format!("the feature `{}` has more than {MAX_FEATURES} values", shown(name))));
        }
        if let Some(bad) = values.iter().find(|v| !is_feature_value(v)) {
            return Err(refused(format!("invalid value `{}` of the feature `{}`", shown(bad), shown(name))));
        }
    }
    Ok(())
}

/// `dep:name`, `name/feature`, `name?/feature` or the name of a feature.
fn is_feature_value(value: &str) -> bool {
    if let Some(dependency) = value.strip_prefix("dep:") {
        return name::syntax_fault(dependency, true).is_none();
    }
    is_feature_reference(value)
}

/// A feature of this crate or, behind a slash, of a dependency.
fn is_feature_reference(value: &str) -> bool {
    match value.split_once('/') {
        Some((dependency, feature)) => {
            name::syntax_fault(dependency.strip_suffix('?').unwrap_or(dependency), true).is_none()
                && is_feature_name(feature)
        }
        None => is_feature_name(value),
    }
}

/// Letters and digits of any script, `_`, and behind the first character also `-`, `+` and `.`.
/// Source: <https://doc.rust-lang.org/cargo/reference/features.html#the-features-section>
fn is_feature_name(name: &str) -> bool {
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c.is_alphanumeric() || c == '_');
    starts && name.len() <= 255 && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.'))
}

fn check_keywords(keywords: &[String]) -> Result<(), RegistryError> {
    if keywords.len() > MAX_KEYWORDS {
        return Err(refused(format!("expected at most {MAX_KEYWORDS} keywords per crate")));
    }
    for keyword in keywords {
        let is_plain = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
            && keyword.len() <= MAX_KEYWORD_CHARS
            && keyword.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'));
        if !is_plain {
            return Err(refused(format!("`{}` is an invalid keyword", shown(keyword))));
        }
    }
    Ok(())
}

fn check_url(field: &str, text: &str) -> Result<(), RegistryError> {
    let is_web = |url: url::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    if text.is_empty() || url::Url::parse(text).is_ok_and(is_web) {
        return Ok(());
    }
    Err(refused(format!("URL for field `{field}` must begin with http:// or https:// (url: {})", shown(text))))
}

fn check_license(license: Option<&str>, warnings: &mut Warnings) {
    if let Some(text) = license
        && spdx::Expression::parse_mode(text, spdx::ParseMode::LAX).is_err()
    {
        warnings.other.push(format!(
            "unknown or invalid license expression `{}`; see https://spdx.org/licenses for the known ones",
            shown(text)
        ));
    }
}

/// `1`, `1.70` or `1.70.0`: no operator, no pre-release.
pub fn is_rust_version(text: &str) -> bool {
    let mut parts = text.split('.');
    let all_numbers =
        parts.by_ref().take(3).all(|p| (1..=5).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    all_numbers && parts.next().is_none()
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.trim().is_empty())
}

fn bounded_readme(mut text: String) -> Option<String> {
    if text.len() > MAX_README_BYTES {
        let end = (0..=MAX_README_BYTES).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
    }
    non_empty(Some(text))
}

/// Client text short enough to repeat in a message.
fn shown(text: &str) -> String {
    text.chars().take(100).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
