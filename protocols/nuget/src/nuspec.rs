//! The manifest inside a package, `{id}.nuspec`.
//!
//! Source: <https://learn.microsoft.com/nuget/reference/nuspec>; nuget.md §7. The schema's namespace changed over the
//! years, so elements are told by their local names.

use std::collections::BTreeSet;

use publaryn_protocol::strict_xml::{self, Node, child, children, text_of};
use serde::{Deserialize, Serialize};

use crate::{name, range::Range, version::Parts};

/// What a package says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nuspec {
    pub id: String,
    /// Normalized, with label and build metadata as written.
    pub version: String,
    pub authors: String,
    pub description: String,
    #[serde(flatten)]
    pub about: About,
    #[serde(default)]
    pub require_license_acceptance: bool,
    pub license: Option<License>,
    /// Paths inside the package, with `/`.
    pub icon: Option<String>,
    pub readme: Option<String>,
    #[serde(default)]
    pub package_types: Vec<String>,
    pub repository_url: Option<String>,
    #[serde(default)]
    pub dependency_groups: Vec<Group>,
}

/// Texts that may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub title: Option<String>,
    pub summary: Option<String>,
    pub release_notes: Option<String>,
    pub copyright: Option<String>,
    pub language: Option<String>,
    pub tags: Option<String>,
    pub icon_url: Option<String>,
    pub project_url: Option<String>,
    pub license_url: Option<String>,
    pub min_client_version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum License {
    /// SPDX.
    Expression(String),
    /// A path inside the package.
    File(String),
}

/// What the package needs when it is used for one framework, or for any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// As written: clients know more frameworks than we do.
    pub target_framework: Option<String>,
    pub dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub id: String,
    /// In interval notation.
    pub range: String,
}

/// Type of packages that only hold symbols.
const SYMBOLS: &str = "SymbolsPackage";
/// Type of packages that name none.
const DEPENDENCY: &str = "Dependency";

/// Longest text of one element, in bytes.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Most groups and dependencies together.
const MAX_DEPENDENCIES: usize = 2_000;

impl Nuspec {
    /// Reads a nuspec.
    ///
    /// # Errors
    /// A sentence for the publisher that names the element.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let cannot = |fault: strict_xml::XmlFault| format!("the nuspec cannot be read: {fault}");
        let text = strict_xml::decode(bytes).map_err(cannot)?;
        let document = strict_xml::parse(&text).map_err(cannot)?;
        let root = document.root_element();
        if root.tag_name().name() != "package" {
            return Err("the nuspec's root element is not package".into());
        }
        let metadata = child(root, "metadata").ok_or("the nuspec has no metadata")?;
        if children(root, "metadata").nth(1).is_some() {
            return Err("the nuspec has metadata twice".into());
        }
        Self::of(metadata)
    }

    fn of(metadata: Node<'_, '_>) -> Result<Self, String> {
        let text = |name: &'static str| text(metadata, name);
        let need = |name: &'static str| text(name)?.ok_or_else(|| format!("the nuspec has no {name}"));
        let id = need("id")?;
        name::parse_name(&id).map_err(|error| error.to_string())?;
        let version = need("version")?;
        let version = Parts::parse(&version).ok_or_else(|| format!("`{}` is no version", shown(&version)))?;
        let package_types = package_types(metadata)?;
        let is_symbols = package_types.iter().any(|kind| kind.eq_ignore_ascii_case(SYMBOLS));
        let needed = |name: &'static str| if is_symbols { Ok(text(name)?.unwrap_or_default()) } else { need(name) };
        let about = About {
            title: text("title")?,
            summary: text("summary")?,
            release_notes: text("releaseNotes")?,
            copyright: text("copyright")?,
            language: text("language")?,
            tags: text("tags")?,
            icon_url: url(text("iconUrl")?, "iconUrl")?,
            project_url: url(text("projectUrl")?, "projectUrl")?,
            license_url: url(text("licenseUrl")?, "licenseUrl")?,
            min_client_version: min_client_version(metadata)?,
        };
        Ok(Self {
            id,
            version: version.to_string(),
            authors: needed("authors")?,
            description: needed("description")?,
            about,
            require_license_acceptance: flag(text("requireLicenseAcceptance")?, "requireLicenseAcceptance")?,
            license: license(metadata)?,
            icon: text("icon")?.map(|path| slashed(&path)),
            readme: text("readme")?.map(|path| slashed(&path)),
            package_types,
            repository_url: child(metadata, "repository").and_then(|node| node.attribute("url")).map(str::to_owned),
            dependency_groups: groups(metadata)?,
        })
    }

    pub fn is_symbols(&self) -> bool {
        self.package_types.iter().any(|kind| kind.eq_ignore_ascii_case(SYMBOLS))
    }

    /// Whether clients from before SemVer 2 cannot use it.
    pub fn is_semver2(&self) -> bool {
        let asks = |group: &Group| {
            group.dependencies.iter().any(|d| Range::parse(&d.range).is_some_and(|range| range.is_semver2()))
        };
        Parts::parse(&self.version).is_some_and(|version| version.is_semver2())
            || self.dependency_groups.iter().any(asks)
    }

    /// The types of the package; one that names none is for use as a dependency.
    pub fn types(&self) -> Vec<&str> {
        if self.package_types.is_empty() {
            return vec![DEPENDENCY];
        }
        self.package_types.iter().map(String::as_str).collect()
    }

    /// Tags are separated by spaces, and by commas or semicolons where people did not know.
    pub fn tags(&self) -> Vec<&str> {
        split(self.about.tags.as_deref().unwrap_or_default(), |c| c.is_whitespace() || matches!(c, ',' | ';'))
    }

    pub fn authors(&self) -> Vec<&str> {
        split(&self.authors, |c| matches!(c, ',' | ';'))
    }
}

fn split(text: &str, at: impl Fn(char) -> bool) -> Vec<&str> {
    text.split(at).map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn text(metadata: Node<'_, '_>, name: &'static str) -> Result<Option<String>, String> {
    let mut found = children(metadata, name);
    let Some(node) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(format!("the nuspec has {name} twice"));
    }
    let text = text_of(node);
    if text.as_ref().is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
        return Err(format!("{name} is longer than {MAX_TEXT_BYTES} bytes"));
    }
    Ok(text)
}

fn url(text: Option<String>, name: &'static str) -> Result<Option<String>, String> {
    let is_web = |text: &str| url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    match text {
        Some(text) if !is_web(&text) => Err(format!("{name} is no http or https address: {}", shown(&text))),
        other => Ok(other),
    }
}

fn flag(text: Option<String>, name: &'static str) -> Result<bool, String> {
    match text.as_deref() {
        None => Ok(false),
        Some(word) if word.eq_ignore_ascii_case("true") || word == "1" => Ok(true),
        Some(word) if word.eq_ignore_ascii_case("false") || word == "0" => Ok(false),
        Some(_) => Err(format!("{name} is neither true nor false")),
    }
}

fn min_client_version(metadata: Node<'_, '_>) -> Result<Option<String>, String> {
    match metadata.attribute("minClientVersion").map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) if Parts::parse(text).is_none() => Err(format!("minClientVersion is no version: {}", shown(text))),
        other => Ok(other.map(str::to_owned)),
    }
}

fn license(metadata: Node<'_, '_>) -> Result<Option<License>, String> {
    let Some(node) = child(metadata, "license") else { return Ok(None) };
    let text = text(metadata, "license")?.ok_or("license is empty")?;
    match node.attribute("type") {
        Some("expression") => Ok(Some(License::Expression(text))),
        Some("file") => Ok(Some(License::File(slashed(&text)))),
        _ => Err("license has neither type expression nor file".into()),
    }
}

fn package_types(metadata: Node<'_, '_>) -> Result<Vec<String>, String> {
    let Some(list) = child(metadata, "packageTypes") else { return Ok(Vec::new()) };
    let name = |node: Node<'_, '_>| match node.attribute("name").map(str::trim) {
        Some(name) if name::is_id(name) => Ok(name.to_owned()),
        _ => Err("a packageType has no proper name".to_owned()),
    };
    children(list, "packageType").take(MAX_DEPENDENCIES).map(name).collect()
}

/// Paths are written with either slash.
fn slashed(path: &str) -> String {
    path.replace('\\', "/").trim_start_matches("./").trim_start_matches('/').to_owned()
}

fn groups(metadata: Node<'_, '_>) -> Result<Vec<Group>, String> {
    let Some(list) = child(metadata, "dependencies") else { return Ok(Vec::new()) };
    let mut count = 0;
    let mut groups = Vec::new();
    // The older form: dependencies for whatever framework, without a group.
    let flat = group(list, None, &mut count)?;
    if !flat.dependencies.is_empty() {
        groups.push(flat);
    }
    for node in children(list, "group") {
        let framework = node.attribute("targetFramework").map(str::trim).filter(|text| !text.is_empty());
        groups.push(group(node, framework, &mut count)?);
    }
    Ok(groups)
}

fn group(node: Node<'_, '_>, framework: Option<&str>, count: &mut usize) -> Result<Group, String> {
    let mut dependencies = Vec::new();
    let mut seen = BTreeSet::new();
    *count += 1;
    for node in children(node, "dependency") {
        *count += 1;
        if *count > MAX_DEPENDENCIES {
            return Err(format!("the nuspec has more than {MAX_DEPENDENCIES} dependencies"));
        }
        let id = node.attribute("id").map(str::trim).unwrap_or_default();
        if !name::is_id(id) {
            return Err(format!("a dependency has no proper id: {}", shown(id)));
        }
        if !seen.insert(name::canonical(id)) {
            return Err(format!("the dependency {id} is there twice"));
        }
        let wanted = node.attribute("version").unwrap_or_default();
        let range = Range::parse(wanted)
            .ok_or_else(|| format!("the version range of the dependency {id} is none: {}", shown(wanted)))?;
        dependencies.push(Dependency { id: id.to_owned(), range: range.to_string() });
    }
    if framework.is_some_and(|text| text.len() > 200) {
        return Err("a target framework is too long".into());
    }
    Ok(Group { target_framework: framework.map(str::to_owned), dependencies })
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub const FULL: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd">
  <metadata minClientVersion="2.12">
    <id>Acme.Lib</id>
    <version>1.0.0-Beta.1+abc</version>
    <title>Acme &amp; Co</title>
    <authors>Ada, Bob</authors>
    <requireLicenseAcceptance>true</requireLicenseAcceptance>
    <license type="expression">MIT</license>
    <licenseUrl>https://licenses.nuget.org/MIT</licenseUrl>
    <icon>images\icon.png</icon>
    <readme>docs/README.md</readme>
    <projectUrl>https://acme.test/</projectUrl>
    <description>A library</description>
    <tags>one two;three</tags>
    <repository type="git" url="https://acme.test/src.git" commit="abc" />
    <dependencies>
      <group targetFramework=".NETStandard2.0">
        <dependency id="Other.Lib" version="1.0" exclude="Build,Analyzers" />
        <dependency id="Third" />
      </group>
      <group targetFramework="net6.0" />
    </dependencies>
  </metadata>
</package>"#;

    fn with(inner: &str) -> Result<Nuspec, String> {
        let xml = format!(
            "<package><metadata><id>A</id><version>1.0</version><authors>x</authors><description>y</description>{inner}</metadata></package>"
        );
        Nuspec::parse(xml.as_bytes())
    }

    #[test]
    fn everything_is_read() {
        let nuspec = Nuspec::parse(format!("\u{feff}{FULL}").as_bytes()).unwrap();
        assert_eq!((nuspec.id.as_str(), nuspec.version.as_str()), ("Acme.Lib", "1.0.0-Beta.1+abc"));
        assert_eq!(nuspec.about.title.as_deref(), Some("Acme & Co"));
        assert_eq!(nuspec.authors(), ["Ada", "Bob"]);
        assert_eq!(nuspec.tags(), ["one", "two", "three"]);
        assert_eq!(nuspec.license, Some(License::Expression("MIT".into())));
        assert_eq!(nuspec.icon.as_deref(), Some("images/icon.png"));
        assert_eq!(nuspec.about.min_client_version.as_deref(), Some("2.12"));
        assert!(nuspec.require_license_acceptance && nuspec.is_semver2());
        let [standard, net6] = nuspec.dependency_groups.as_slice() else { panic!("{nuspec:?}") };
        assert_eq!(standard.dependencies[0].range, "[1.0.0, )");
        assert_eq!(standard.dependencies[1].range, "(, )");
        assert_eq!((net6.target_framework.as_deref(), net6.dependencies.len()), (Some("net6.0"), 0));
        assert_eq!(nuspec.types(), ["Dependency"]);
        let stored = serde_json::to_value(&nuspec).unwrap();
        assert_eq!(serde_json::from_value::<Nuspec>(stored).unwrap(), nuspec);
    }

    #[test]
    fn the_older_form_is_one_group_for_any_framework() {
        let nuspec = with("<dependencies><dependency id='B' version='[1.0.0-a.b,2)'/></dependencies>").unwrap();
        assert_eq!(nuspec.dependency_groups.len(), 1);
        assert_eq!(nuspec.dependency_groups[0].target_framework, None);
        assert!(nuspec.is_semver2(), "a dependency's bound makes it so");
    }

    #[test]
    fn symbols_need_no_author() {
        let xml = "<package><metadata><id>A</id><version>1.0</version><packageTypes><packageType name='SymbolsPackage'/></packageTypes></metadata></package>";
        assert!(Nuspec::parse(xml.as_bytes()).unwrap().is_symbols());
    }

    #[test]
    fn faults_are_named() {
        for (inner, wanted) in [
            ("<id>B</id>", "id twice"),
            ("<projectUrl>javascript:x</projectUrl>", "projectUrl is no http"),
            ("<license>MIT</license>", "license has neither"),
            ("<requireLicenseAcceptance>maybe</requireLicenseAcceptance>", "neither true nor false"),
            ("<dependencies><dependency id='B' version='1.*'/></dependencies>", "range of the dependency B"),
            ("<dependencies><dependency id='B'/><dependency id='b'/></dependencies>", "b is there twice"),
            ("<dependencies><dependency id='../x'/></dependencies>", "no proper id"),
            ("<packageTypes><packageType/></packageTypes>", "packageType"),
            ("<description>again</description>", "description twice"),
        ] {
            let fault = with(inner).unwrap_err();
            assert!(fault.contains(wanted), "{fault}");
        }
        for (xml, wanted) in [
            ("<package/>", "no metadata"),
            ("<x/>", "root element"),
            ("<package><metadata/></package>", "no id"),
            ("<package><metadata><id>$id$</id></metadata></package>", "no package id"),
            ("<package><metadata><id>A</id><version>x</version></metadata></package>", "`x` is no version"),
            ("<package><metadata><id>A</id><version>1</version></metadata></package>", "no authors"),
            ("<!DOCTYPE x><package/>", "document type"),
            ("not xml", "cannot be read"),
        ] {
            let fault = Nuspec::parse(xml.as_bytes()).unwrap_err();
            assert!(fault.contains(wanted), "{fault}");
        }
    }
}
