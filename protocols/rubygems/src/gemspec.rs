//! The specification inside a gem: what everything that is served of it derives from.

use std::collections::{BTreeMap, BTreeSet};

use publaryn_core::publish::PackageFacts;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    marshal::Writer,
    name,
    platform::Platform,
    version::{self, RUBY},
    yaml::{self, Node},
};

/// Longest text fields, in bytes: summaries and descriptions are prose, the rest are lines.
const MAX_TEXT_BYTES: usize = 128 << 10;
const MAX_LINE_BYTES: usize = 4096;
const MAX_LICENSE_CHARS: usize = 64;
const MAX_METADATA_KEY_CHARS: usize = 128;
const MAX_METADATA_VALUE_CHARS: usize = 1024;
const MAX_DEPENDENCIES: usize = 1000;

/// Keys of `metadata` that RubyGems takes for links.
const LINK_KEYS: [&str; 8] = [
    "homepage_uri",
    "changelog_uri",
    "source_code_uri",
    "documentation_uri",
    "wiki_uri",
    "mailing_list_uri",
    "bug_tracker_uri",
    "funding_uri",
];

/// The document of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gemspec {
    pub name: String,
    /// As RubyGems writes it: without `-`.
    pub version: String,
    /// `ruby` where the gem runs anywhere.
    pub platform: String,
    /// Of the tool that built it.
    pub rubygems_version: String,
    /// `YYYY-MM-DD`.
    pub date: Option<String>,
    pub summary: String,
    pub description: Option<String>,
    pub homepage: Option<String>,
    pub authors: Vec<String>,
    pub email: Option<Email>,
    pub licenses: Vec<String>,
    pub metadata: BTreeMap<String, String>,
    pub required_ruby_version: Requirement,
    pub required_rubygems_version: Requirement,
    pub dependencies: Vec<Dependency>,
    /// Free text: what must be installed beside.
    pub requirements: Vec<String>,
    pub extensions: Vec<String>,
    /// Normalised names of what is needed at run time (`publaryn_core::publish::REQUIRES`).
    pub requires: Vec<String>,
    /// SHA-256 of the specification in the gem, unpacked, in lower-case hex; older documents have none.
    #[serde(default)]
    pub spec_sha256: Option<String>,
}

/// Addresses of the authors, one or a list as the specification has them: clients get the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Email {
    One(String),
    Many(Vec<String>),
}

/// All of these constraints: operator and version each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement(pub Vec<(String, String)>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub name: String,
    pub is_development: bool,
    pub requirement: Requirement,
}

/// A specification as it stands in a gem.
#[derive(Debug, Clone)]
pub struct PackedSpec {
    pub spec: Gemspec,
    /// Every file the specification names, in whichever of its lists.
    pub files: BTreeSet<String>,
}

impl Default for Requirement {
    fn default() -> Self {
        Self(vec![(">=".into(), "0".into())])
    }
}

impl Requirement {
    /// Whether any version will do.
    pub fn is_any(&self) -> bool {
        self.0.iter().all(|(operator, version)| operator == ">=" && version == "0")
    }

    /// `< 3&>= 2.0`, with this between the constraints; sorted as text.
    pub fn joined(&self, separator: &str) -> String {
        let mut parts: Vec<String> = self.0.iter().map(|(operator, version)| format!("{operator} {version}")).collect();
        parts.sort();
        parts.join(separator)
    }

    fn parse(node: Option<&Node>) -> Result<Self, String> {
        let Some(node) = node.filter(|node| !node.is_nothing()) else { return Ok(Self::default()) };
        let list = node.get("requirements").ok_or("a requirement has no `requirements`")?;
        let mut all = Vec::new();
        for item in list.items() {
            let [operator, version] = item.items() else { return Err("a requirement is no pair".into()) };
            let operator = operator.text().unwrap_or_default();
            if !matches!(operator, "=" | "!=" | ">" | "<" | ">=" | "<=" | "~>") {
                return Err(format!("`{}` is no operator of a requirement", shown(operator)));
            }
            all.push((operator.to_owned(), number(version)?));
        }
        if all.len() > 100 {
            return Err("a requirement has too many parts".into());
        }
        Ok(if all.is_empty() { Self::default() } else { Self(all) })
    }
}

/// A version number; `Gem::Version` objects hold it as `version`.
fn number(node: &Node) -> Result<String, String> {
    let text = match node {
        Node::Mapping(_) => node.get("version").and_then(Node::text),
        other => other.text(),
    };
    let text = text.unwrap_or_default();
    version::normalize(text).ok_or_else(|| format!("`{}` is no version", shown(text)))
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

impl PackedSpec {
    /// Reads `metadata.gz`, unpacked.
    ///
    /// # Errors
    /// What is wrong with it; lower case, no final dot.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let node = yaml::parse(bytes)?;
        if !matches!(node, Node::Mapping(_)) {
            return Err("the gemspec is no mapping".into());
        }
        let fields = Fields(&node);
        let name = fields.line("name")?.ok_or("the gemspec has no name")?;
        if let Some(fault) = name::fault(&name) {
            return Err(format!("`{}` is no gem name: {fault}", shown(&name)));
        }
        let version = number(node.get("version").ok_or("the gemspec has no version")?)?;
        let platform = fields.line("platform")?.filter(|text| !text.is_empty()).unwrap_or_else(|| RUBY.into());
        if !version::is_platform(&platform) || version::version_of(&version, &platform).is_none() {
            return Err(format!("`{}` is no platform", shown(&platform)));
        }
        let authors = fields.list("authors")?;
        if authors.iter().all(|author| author.trim().is_empty()) {
            return Err("the gemspec names no authors".into());
        }
        let summary = fields.text("summary")?.filter(|text| !text.trim().is_empty());
        let dependencies = dependencies(node.get("dependencies"))?;
        let runtime = dependencies.iter().filter(|dependency| !dependency.is_development);
        let requires: BTreeSet<String> = runtime.map(|dependency| name::canonical(&dependency.name)).collect();
        let extensions = fields.list("extensions")?;
        let spec = Gemspec {
            rubygems_version: fields.line("rubygems_version")?.unwrap_or_else(|| "0".into()),
            date: fields.line("date")?.as_deref().and_then(day),
            summary: summary.ok_or("the gemspec has no summary")?,
            description: fields.text("description")?,
            homepage: fields.line("homepage")?.filter(|text| !text.is_empty()),
            authors,
            email: email(&fields)?,
            licenses: licenses(&fields)?,
            metadata: metadata(node.get("metadata"))?,
            required_ruby_version: Requirement::parse(node.get("required_ruby_version"))?,
            required_rubygems_version: Requirement::parse(node.get("required_rubygems_version"))?,
            dependencies,
            requirements: fields.list("requirements")?,
            extensions,
            requires: requires.into_iter().collect(),
            spec_sha256: Some(hex::encode(Sha256::digest(bytes))),
            name,
            version,
            platform,
        };
        Ok(Self { files: files(&fields, &spec)?, spec })
    }
}

fn email(fields: &Fields<'_>) -> Result<Option<Email>, String> {
    let mut all = fields.list("email")?;
    Ok(match fields.0.get("email") {
        None | Some(Node::Scalar(None)) => None,
        Some(Node::Scalar(Some(_))) => all.pop().map(Email::One),
        Some(_) => Some(Email::Many(all)),
    })
}

/// The lists of files; executables lie in `bindir`.
fn files(fields: &Fields<'_>, spec: &Gemspec) -> Result<BTreeSet<String>, String> {
    let mut files: BTreeSet<String> = fields.list("files")?.into_iter().collect();
    files.extend(fields.list("test_files")?);
    files.extend(fields.list("extra_rdoc_files")?);
    files.extend(spec.extensions.iter().cloned());
    let bindir = fields.line("bindir")?.unwrap_or_else(|| "bin".into());
    files.extend(fields.list("executables")?.into_iter().map(|program| format!("{bindir}/{program}")));
    Ok(files.into_iter().map(|path| path.trim_start_matches("./").to_owned()).collect())
}

fn licenses(fields: &Fields<'_>) -> Result<Vec<String>, String> {
    let licenses = fields.list("licenses")?;
    match licenses.iter().find(|license| license.chars().count() > MAX_LICENSE_CHARS) {
        Some(long) => Err(format!("the licence `{}…` is longer than {MAX_LICENSE_CHARS} characters", shown(long))),
        None => Ok(licenses),
    }
}

fn metadata(node: Option<&Node>) -> Result<BTreeMap<String, String>, String> {
    let Some(Node::Mapping(pairs)) = node else { return Ok(BTreeMap::new()) };
    let mut metadata = BTreeMap::new();
    for (key, value) in pairs {
        let value = value.text().ok_or_else(|| format!("the metadata `{}` is no text", shown(key)))?;
        if key.is_empty() || key.chars().count() > MAX_METADATA_KEY_CHARS {
            return Err(format!("the metadata key `{}` is empty or too long", shown(key)));
        }
        if value.chars().count() > MAX_METADATA_VALUE_CHARS {
            return Err(format!("the metadata `{}` is too long", shown(key)));
        }
        if LINK_KEYS.contains(&key.as_str()) && !value.is_empty() && !is_link(value) {
            return Err(format!("the metadata `{key}` is no http link"));
        }
        metadata.insert(key.clone(), value.to_owned());
    }
    Ok(metadata)
}

fn is_link(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn dependencies(node: Option<&Node>) -> Result<Vec<Dependency>, String> {
    let mut all = Vec::new();
    for item in node.map(Node::items).unwrap_or_default() {
        let name = item.get("name").and_then(Node::text).unwrap_or_default();
        if name::fault(name).is_some() {
            return Err(format!("`{}` is no name of a dependency", shown(name)));
        }
        let is_development = match item.get("type").and_then(Node::text).unwrap_or(":runtime") {
            ":runtime" => false,
            ":development" => true,
            other => return Err(format!("`{}` is no type of dependency", shown(other))),
        };
        // Very old gems have `version_requirements` only.
        let requirement = item.get("requirement").or_else(|| item.get("version_requirements"));
        let requirement = Requirement::parse(requirement).map_err(|fault| format!("{fault} (of `{name}`)"))?;
        all.push(Dependency { name: name.to_owned(), is_development, requirement });
    }
    if all.len() > MAX_DEPENDENCIES {
        return Err(format!("the gemspec has more than {MAX_DEPENDENCIES} dependencies"));
    }
    Ok(all)
}

/// The day of a timestamp, if it is one that the index can hold.
fn day(text: &str) -> Option<String> {
    let day = text.get(..10)?;
    parts(day).map(|_| day.to_owned())
}

fn parts(day: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = day.split('-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    ((1900..9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)).then_some((year, month, day))
}

/// Fields of the specification by name.
struct Fields<'a>(&'a Node);

impl Fields<'_> {
    fn checked(&self, key: &str, max: usize) -> Result<Option<String>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Node::Scalar(text)) if text.as_ref().is_some_and(|text| text.len() > max) => {
                Err(format!("the field `{key}` is too long"))
            }
            Some(Node::Scalar(text)) => Ok(text.clone()),
            Some(_) => Err(format!("the field `{key}` is no text")),
        }
    }
    fn text(&self, key: &str) -> Result<Option<String>, String> {
        self.checked(key, MAX_TEXT_BYTES)
    }
    fn line(&self, key: &str) -> Result<Option<String>, String> {
        self.checked(key, MAX_LINE_BYTES)
    }
    /// One text counts as a list of it; nothing among the items is left out.
    fn list(&self, key: &str) -> Result<Vec<String>, String> {
        match self.0.get(key) {
            None | Some(Node::Scalar(None)) => Ok(Vec::new()),
            Some(Node::Scalar(Some(text))) => Ok(vec![text.clone()]),
            Some(Node::Sequence(items)) => {
                let mut texts = Vec::with_capacity(items.len());
                for item in items {
                    match item {
                        Node::Scalar(Some(text)) if text.len() <= MAX_LINE_BYTES => texts.push(text.clone()),
                        Node::Scalar(None) => {}
                        _ => return Err(format!("the field `{key}` holds something that is no text")),
                    }
                }
                Ok(texts)
            }
            Some(Node::Mapping(_)) => Err(format!("the field `{key}` is no list")),
        }
    }
}

impl Gemspec {
    /// `1.2.0` or `1.2.0-java`.
    pub fn full_version(&self) -> String {
        version::full(&self.version, &self.platform)
    }
    /// `acme-1.2.0`: the stem of the file's name.
    pub fn full_name(&self) -> String {
        format!("{}-{}", self.name, self.full_version())
    }

    /// Whether this document, as it is stored, was made of that specification.
    pub fn is_made_of(&self, packed: &Self) -> bool {
        if self.spec_sha256.is_some() {
            return self == packed;
        }
        // Before digests were kept, addresses were a list always.
        let listed = match &packed.email {
            None => Vec::new(),
            Some(Email::One(address)) => vec![address.clone()],
            Some(Email::Many(all)) => all.clone(),
        };
        *self == Self { email: Some(Email::Many(listed)), spec_sha256: None, ..packed.clone() }
    }

    pub fn facts(&self) -> PackageFacts {
        let link = |key: &str| self.metadata.get(key).filter(|text| !text.is_empty()).cloned();
        PackageFacts {
            description: Some(self.summary.clone()),
            homepage: link("homepage_uri").or_else(|| self.homepage.clone().filter(|text| is_link(text))),
            repository_url: link("source_code_uri"),
            license: (!self.licenses.is_empty()).then(|| self.licenses.join(" OR ")),
            keywords: Vec::new(),
            readme: self.description.clone(),
        }
    }

    /// `quick/Marshal.4.8/….gemspec.rz` before compression: an object whose dump is a stream of its own.
    pub fn to_marshal(&self) -> Vec<u8> {
        let mut inner = Writer::begin();
        let w = &mut inner;
        w.array(19);
        w.string(&self.rubygems_version);
        w.integer(4);
        w.string(&self.name);
        w.version(&self.version);
        let (year, month, day) = self.date.as_deref().and_then(parts).unwrap_or((1980, 1, 2));
        w.day(year, month, day);
        w.string(&self.summary);
        requirement(w, &self.required_ruby_version);
        requirement(w, &self.required_rubygems_version);
        w.string(&self.platform);
        w.array(self.dependencies.len());
        self.dependencies.iter().for_each(|wanted| dependency(w, wanted));
        w.string("");
        match &self.email {
            None => w.nil(),
            Some(Email::One(address)) => w.string(address),
            Some(Email::Many(all)) => w.strings(all),
        }
        w.strings(&self.authors);
        w.optional(self.description.as_deref());
        w.optional(self.homepage.as_deref());
        w.bool(true);
        platform(w, &self.platform);
        w.strings(&self.licenses);
        w.hash(self.metadata.len());
        for (key, value) in &self.metadata {
            w.string(key);
            w.string(value);
        }
        let mut outer = Writer::begin();
        outer.user_defined("Gem::Specification", &inner.finish());
        outer.finish()
    }
}

fn requirement(w: &mut Writer, wanted: &Requirement) {
    w.user_marshal("Gem::Requirement");
    w.array(1);
    w.array(wanted.0.len());
    for (operator, version) in &wanted.0 {
        w.array(2);
        w.string(operator);
        w.version(version);
    }
}

fn dependency(w: &mut Writer, wanted: &Dependency) {
    w.object("Gem::Dependency", 5);
    w.symbol("@name");
    w.string(&wanted.name);
    w.symbol("@requirement");
    requirement(w, &wanted.requirement);
    w.symbol("@type");
    w.symbol(if wanted.is_development { "development" } else { "runtime" });
    w.symbol("@prerelease");
    w.bool(false);
    w.symbol("@version_requirements");
    requirement(w, &wanted.requirement);
}

fn platform(w: &mut Writer, text: &str) {
    if text == RUBY {
        return w.string(RUBY);
    }
    let parts = Platform::parse(text);
    w.object("Gem::Platform", 3);
    w.symbol("@cpu");
    w.optional(parts.cpu.as_deref());
    w.symbol("@os");
    w.string(&parts.os);
    w.symbol("@version");
    w.optional(parts.version.as_deref());
}

/// The specification as the management API shows it; null when the document is of another making.
pub(crate) fn details(document: &Value) -> Value {
    let Ok(spec) = Gemspec::deserialize(document) else { return Value::Null };
    let needs = |is_development: bool| -> Vec<Value> {
        let all = spec.dependencies.iter().filter(|dependency| dependency.is_development == is_development);
        all.map(|dependency| json!({ "name": dependency.name, "requirements": dependency.requirement.joined(", ") }))
            .collect()
    };
    json!({
        "platform": spec.platform,
        "summary": spec.summary,
        "authors": spec.authors,
        "licenses": spec.licenses,
        "required_ruby_version": spec.required_ruby_version.joined(", "),
        "required_rubygems_version": spec.required_rubygems_version.joined(", "),
        "runtime_dependencies": needs(false),
        "development_dependencies": needs(true),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As `gem build` 3.3 writes it.
    pub(crate) const SPEC: &str = "--- !ruby/object:Gem::Specification
name: acme
version: !ruby/object:Gem::Version
  version: 1.10
platform: ruby
authors:
- Ada
autorequire:
bindir: exe
cert_chain: []
date: 2026-01-02 00:00:00.000000000 Z
dependencies:
- !ruby/object:Gem::Dependency
  name: rack
  requirement: &1 !ruby/object:Gem::Requirement
    requirements:
    - - \">=\"
      - !ruby/object:Gem::Version
        version: '2.0'
    - - \"<\"
      - !ruby/object:Gem::Version
        version: '3'
  type: :runtime
  prerelease: false
  version_requirements: *1
- !ruby/object:Gem::Dependency
  name: rake
  requirement: !ruby/object:Gem::Requirement
    requirements:
    - - \"~>\"
      - !ruby/object:Gem::Version
        version: '13.0'
  type: :development
  prerelease: false
description: 'Long'
email: a@b.c
executables:
- run
extensions: []
extra_rdoc_files: []
files:
- lib/acme.rb
homepage: https://acme.test
licenses:
- MIT
metadata:
  source_code_uri: https://acme.test/src
post_install_message:
rdoc_options: []
require_paths:
- lib
required_ruby_version: !ruby/object:Gem::Requirement
  requirements:
  - - \">=\"
    - !ruby/object:Gem::Version
      version: '2.7'
required_rubygems_version: !ruby/object:Gem::Requirement
  requirements:
  - - \">=\"
    - !ruby/object:Gem::Version
      version: '0'
requirements: []
rubygems_version: 3.3.15
signing_key:
specification_version: 4
summary: Does things
test_files: []
";

    #[test]
    fn a_gemspec_is_read_as_it_stands() {
        let packed = PackedSpec::parse(SPEC.as_bytes()).unwrap();
        let spec = &packed.spec;
        assert_eq!((spec.full_name().as_str(), spec.date.as_deref()), ("acme-1.10", Some("2026-01-02")));
        assert_eq!(spec.dependencies[0].requirement.joined("&"), "< 3&>= 2.0");
        assert!(spec.dependencies[1].is_development && spec.requires == ["rack"]);
        assert!(spec.required_rubygems_version.is_any() && !spec.required_ruby_version.is_any());
        assert_eq!(spec.email, Some(Email::One("a@b.c".into())));
        assert_eq!(packed.files.iter().map(String::as_str).collect::<Vec<_>>(), ["exe/run", "lib/acme.rb"]);
        assert_eq!(spec.facts().repository_url.as_deref(), Some("https://acme.test/src"));
    }

    #[test]
    fn addresses_keep_their_shape() {
        for (yaml, wanted, json) in [
            ("email: a@b.c", Some(Email::One("a@b.c".into())), json!("a@b.c")),
            (
                "email:\n- a@b.c\n- d@e.f",
                Some(Email::Many(vec!["a@b.c".into(), "d@e.f".into()])),
                json!(["a@b.c", "d@e.f"]),
            ),
            ("email: []", Some(Email::Many(vec![])), json!([])),
            ("email:", None, Value::Null),
        ] {
            let spec = PackedSpec::parse(SPEC.replacen("email: a@b.c", yaml, 1).as_bytes()).unwrap().spec;
            assert_eq!(spec.email, wanted, "{yaml}");
            let document = serde_json::to_value(&spec).unwrap();
            assert_eq!(document["email"], json);
            assert_eq!(serde_json::from_value::<Gemspec>(document).unwrap(), spec);
        }
    }

    #[test]
    fn documents_are_told_from_those_of_other_gems() {
        let packed = PackedSpec::parse(SPEC.as_bytes()).unwrap().spec;
        assert!(packed.is_made_of(&packed));
        let mut older = serde_json::to_value(&packed).unwrap();
        older["email"] = json!(["a@b.c"]);
        older.as_object_mut().unwrap().remove("spec_sha256");
        let older: Gemspec = serde_json::from_value(older).unwrap();
        assert!(older.is_made_of(&packed));
        assert!(!Gemspec { summary: "other".into(), ..older }.is_made_of(&packed));
        assert!(!Gemspec { spec_sha256: Some("00".into()), ..packed.clone() }.is_made_of(&packed));
    }

    #[test]
    fn faults_are_named() {
        for (from, to, wanted) in [
            ("name: acme", "name: ../x", "no gem name"),
            ("version: 1.10", "version: latest", "no version"),
            ("platform: ruby", "platform: 8bit", "no platform"),
            ("platform: ruby", "platform: {os: java, version: java}", "`platform` is no text"),
            ("platform: ruby", "platform: !ruby/object:Gem::Platform {os: java}", "a tag"),
            ("- Ada", "- ''", "no authors"),
            ("summary: Does things", "summary: ''", "no summary"),
            ("name: rack", "name: \"a b\"", "name of a dependency"),
            ("\">=\"\n      - !ruby/object:Gem::Version\n        version: '2.0'", "\"|\"\n      - '1'", "operator"),
            ("version: '2.0'", "version: \"2.0\\nrack\"", "no version"),
            ("type: :runtime", "type: :other", "type of dependency"),
            ("https://acme.test/src", "javascript:x", "no http link"),
        ] {
            assert!(SPEC.contains(from), "{from}");
            let error = PackedSpec::parse(SPEC.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(error.contains(wanted), "{to}: {error}");
        }
    }

    #[test]
    fn the_management_api_tells_dependencies_apart() {
        let spec = PackedSpec::parse(SPEC.as_bytes()).unwrap().spec;
        let details = details(&serde_json::to_value(&spec).unwrap());
        let listed = ["runtime_dependencies", "development_dependencies"].map(|list| details[list].as_array().unwrap());
        assert_eq!(listed.iter().map(|list| list.len()).sum::<usize>(), spec.dependencies.len());
        assert_eq!((&details["platform"], &details["authors"][0]), (&json!("ruby"), &json!("Ada")));
    }
}
