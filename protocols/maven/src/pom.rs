//! The project object model: what a version says of itself.
//!
//! Source: <https://maven.apache.org/pom.html>

use publaryn_protocol::strict_xml::{self, Node, XmlFault, child, child_text, children, text_of};
use serde::{Deserialize, Serialize};

use crate::name::Coordinates;

/// Largest POM, in bytes (maven.md §6).
pub const MAX_POM_BYTES: u64 = 2 << 20;
/// Longest text of a field that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 4 << 10;
/// Most entries of a list that are kept.
const MAX_ENTRIES: usize = 2_000;

/// A project, as far as it is its own: what it inherits is known to nobody who has only this file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pom {
    pub parent: Option<Parent>,
    /// Its own, else its parent's.
    pub group: Option<String>,
    pub artifact: Option<String>,
    /// Its own, else its parent's.
    pub version: Option<String>,
    /// `jar` unless it says otherwise.
    pub packaging: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub url: Option<String>,
    pub inception_year: Option<String>,
    pub organization: Option<String>,
    pub licenses: Vec<License>,
    pub developers: Vec<Developer>,
    pub scm_url: Option<String>,
    pub issues_url: Option<String>,
    pub dependencies: Vec<Dependency>,
    /// Where it makes its users look for what they need.
    pub repositories: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parent {
    pub group: Option<String>,
    pub artifact: Option<String>,
    pub version: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct License {
    pub name: Option<String>,
    pub url: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Developer {
    pub id: Option<String>,
    pub name: Option<String>,
    pub organization: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependency {
    pub group: String,
    pub artifact: String,
    /// Absent where it is managed elsewhere.
    pub version: Option<String>,
    pub kind: Option<String>,
    pub classifier: Option<String>,
    pub scope: Option<String>,
    pub is_optional: bool,
}

/// Why a POM is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PomFault {
    #[error("the POM is not well-formed XML: {0}")]
    Xml(#[from] XmlFault),
    #[error("the POM has no <project> at its root")]
    NoProject,
    #[error("POM {field} is {found}, path says {wanted}")]
    Differs { field: &'static str, found: String, wanted: String },
    #[error("the POM has no {0}")]
    Missing(&'static str),
    #[error("the POM is its own parent")]
    OwnParent,
}

impl Pom {
    /// Reads a POM.
    ///
    /// # Errors
    /// What is no POM, or could mean something else to another reader.
    pub fn parse(bytes: &[u8]) -> Result<Self, PomFault> {
        let text = strict_xml::decode(bytes)?;
        let document = strict_xml::parse(&text)?;
        let project = document.root_element();
        if project.tag_name().name() != "project" {
            return Err(PomFault::NoProject);
        }
        let parent = child(project, "parent").map(|node| Parent {
            group: field(node, "groupId"),
            artifact: field(node, "artifactId"),
            version: field(node, "version"),
        });
        let inherited = |part: fn(&Parent) -> &Option<String>| parent.as_ref().and_then(|parent| part(parent).clone());
        Ok(Self {
            group: field(project, "groupId").or_else(|| inherited(|parent| &parent.group)),
            artifact: field(project, "artifactId"),
            version: field(project, "version").or_else(|| inherited(|parent| &parent.version)),
            packaging: field(project, "packaging").unwrap_or_else(|| "jar".to_owned()),
            name: field(project, "name"),
            description: field(project, "description"),
            url: field(project, "url"),
            inception_year: field(project, "inceptionYear"),
            organization: child(project, "organization").and_then(|node| field(node, "name")),
            licenses: list(project, "licenses", "license", |node| License {
                name: field(node, "name"),
                url: field(node, "url"),
            }),
            developers: list(project, "developers", "developer", |node| Developer {
                id: field(node, "id"),
                name: field(node, "name"),
                organization: field(node, "organization"),
            }),
            scm_url: child(project, "scm").and_then(|node| field(node, "url").or_else(|| field(node, "connection"))),
            issues_url: child(project, "issueManagement").and_then(|node| field(node, "url")),
            dependencies: list(project, "dependencies", "dependency", |node| Dependency {
                group: field(node, "groupId").unwrap_or_default(),
                artifact: field(node, "artifactId").unwrap_or_default(),
                version: field(node, "version"),
                kind: field(node, "type"),
                classifier: field(node, "classifier"),
                scope: field(node, "scope"),
                is_optional: field(node, "optional").as_deref() == Some("true"),
            }),
            repositories: [("repositories", "repository"), ("pluginRepositories", "pluginRepository")]
                .into_iter()
                .flat_map(|(around, each)| list(project, around, each, |node| field(node, "url").unwrap_or_default()))
                .filter(|url| !url.is_empty())
                .collect(),
            parent,
        })
    }

    /// Whether the POM is that of a version. Values with `${` are left to those who can fill them in: CI-friendly
    /// projects publish `${revision}` as it stands. `prefix` is what the names of its files start with: an sbt plugin
    /// lies under `foo_2.12_1.0`, and its files and its POM say `foo`.
    ///
    /// # Errors
    /// `Missing`, `Differs`, `OwnParent`.
    pub fn check_identity(&self, coordinates: &Coordinates, prefix: &str, version: &str) -> Result<(), PomFault> {
        for (field, found, wanted) in [
            ("groupId", &self.group, coordinates.group.as_str()),
            ("artifactId", &self.artifact, &coordinates.artifact),
            ("version", &self.version, version),
        ] {
            let Some(found) = found else { return Err(PomFault::Missing(field)) };
            let is_short = field == "artifactId" && found == prefix;
            if found != wanted && !is_short && !found.contains("${") {
                return Err(PomFault::Differs { field, found: shown(found), wanted: wanted.to_owned() });
            }
        }
        let is_own = |parent: &Parent| {
            parent.group.as_deref() == Some(&coordinates.group)
                && parent.artifact.as_deref() == Some(&coordinates.artifact)
                && parent.version.as_deref() == Some(version)
        };
        if self.parent.as_ref().is_some_and(is_own) { Err(PomFault::OwnParent) } else { Ok(()) }
    }
}

/// A field's text, cut to what is kept.
fn field(node: Node<'_, '_>, name: &str) -> Option<String> {
    child_text(node, name).map(|text| cut(text, MAX_TEXT_BYTES))
}

fn list<T>(project: Node<'_, '_>, around: &str, each: &str, read: impl Fn(Node<'_, '_>) -> T) -> Vec<T> {
    let Some(around) = child(project, around) else { return Vec::new() };
    children(around, each).take(MAX_ENTRIES).map(read).collect()
}

fn cut(mut text: String, max_bytes: usize) -> String {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// A foreign value in a message: short, and on one line.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// What a `plugin.xml` says a plugin is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginDescriptor {
    pub prefix: String,
    pub name: Option<String>,
}

impl PluginDescriptor {
    /// `None` when it is none, or gives no usable prefix.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = strict_xml::decode(bytes).ok()?;
        let document = strict_xml::parse(&text).ok()?;
        let plugin = document.root_element();
        let prefix = child_text(plugin, "goalPrefix").filter(|prefix| is_prefix(prefix))?;
        let name = child(plugin, "name").and_then(text_of).map(|name| cut(name, 200));
        (plugin.tag_name().name() == "plugin").then_some(Self { prefix, name })
    }
}

/// What can stand before the colon of `mvn gizmo:help`.
pub fn is_prefix(text: &str) -> bool {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !text.is_empty() && text.len() <= 100 && text.bytes().all(is_legal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pom(body: &str) -> Pom {
        let text = format!("<project xmlns=\"http://maven.apache.org/POM/4.0.0\">{body}</project>");
        Pom::parse(text.as_bytes()).unwrap()
    }

    fn acme() -> Coordinates {
        Coordinates::new("com.acme", "widget").unwrap()
    }

    const GAV: &str = "<groupId>com.acme</groupId><artifactId>widget</artifactId><version>1.0</version>";

    #[test]
    fn what_a_project_says_is_read() {
        let pom = pom(&format!(
            "{GAV}<packaging>maven-plugin</packaging><name> W </name><description>d &lt; e</description><url>https://e/</url>\
             <licenses><license><name>MIT</name><url>u</url></license></licenses>\
             <developers><developer><id>ada</id><name>Ada</name></developer></developers>\
             <scm><connection>scm:git:x</connection><url>https://git</url></scm>\
             <organization><name>Acme</name></organization><issueManagement><url>https://bugs</url></issueManagement>\
             <dependencies><dependency><groupId>g</groupId><artifactId>a</artifactId><version>[1,2)</version>\
             <scope>test</scope><optional>true</optional></dependency></dependencies>\
             <dependencyManagement><dependencies><dependency><groupId>m</groupId><artifactId>m</artifactId></dependency>\
             </dependencies></dependencyManagement><repositories><repository><url>http://other</url></repository></repositories>"
        ));
        assert_eq!((pom.packaging.as_str(), pom.name.as_deref()), ("maven-plugin", Some("W")));
        assert_eq!(pom.description.as_deref(), Some("d < e"));
        assert_eq!((pom.scm_url.as_deref(), pom.organization.as_deref()), (Some("https://git"), Some("Acme")));
        assert_eq!(pom.licenses[0].name.as_deref(), Some("MIT"));
        assert_eq!(pom.developers[0].id.as_deref(), Some("ada"));
        let [dependency] = pom.dependencies.as_slice() else { panic!("one dependency") };
        assert_eq!((dependency.version.as_deref(), dependency.is_optional), (Some("[1,2)"), true));
        assert_eq!(pom.repositories, ["http://other"]);
        assert_eq!(pom.check_identity(&acme(), "widget", "1.0"), Ok(()));
    }

    #[test]
    fn coordinates_are_its_own_or_its_parents() {
        let parent =
            "<parent><groupId>com.acme</groupId><artifactId>parent</artifactId><version>1.0</version></parent>";
        let child = pom(&format!("{parent}<artifactId>widget</artifactId>"));
        assert_eq!(child.check_identity(&acme(), "widget", "1.0"), Ok(()));
        let moved = pom(&format!("{parent}<artifactId>widget</artifactId><version>2.0</version>"));
        let Err(fault) = moved.check_identity(&acme(), "widget", "1.0") else { panic!("another version") };
        assert_eq!(fault.to_string(), "POM version is 2.0, path says 1.0");
        let other = pom(&GAV.replace("com.acme", "x"));
        let Err(fault) = other.check_identity(&acme(), "widget", "1.0") else { panic!("another group") };
        assert_eq!(fault.to_string(), "POM groupId is x, path says com.acme");
        let friendly = pom(&GAV.replace("1.0", "${revision}"));
        assert_eq!(friendly.check_identity(&acme(), "widget", "1.0"), Ok(()));
        assert_eq!(
            pom("<artifactId>widget</artifactId>").check_identity(&acme(), "widget", "1.0"),
            Err(PomFault::Missing("groupId"))
        );
        let own = pom(&format!("<parent>{GAV}</parent><artifactId>widget</artifactId>"));
        assert_eq!(own.check_identity(&acme(), "widget", "1.0"), Err(PomFault::OwnParent));
    }

    #[test]
    fn what_is_no_pom_is_refused() {
        let fault = |text: &str| Pom::parse(text.as_bytes()).unwrap_err();
        assert_eq!(
            fault("<!DOCTYPE project [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><project>&x;</project>"),
            PomFault::Xml(XmlFault::Dtd)
        );
        assert_eq!(fault("<metadata/>"), PomFault::NoProject);
        assert!(matches!(fault("<project>"), PomFault::Xml(XmlFault::Syntax(_))));
        assert!(matches!(fault("not xml"), PomFault::Xml(_)));
        assert!(
            Pom::parse(b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><project><name>\xe9</name></project>").is_ok()
        );
    }

    #[test]
    fn plugins_say_what_they_are_called() {
        let of = |text: &str| PluginDescriptor::parse(text.as_bytes());
        let plugin = of("<plugin><name>Gizmo</name><goalPrefix>gizmo</goalPrefix></plugin>").unwrap();
        assert_eq!((plugin.prefix.as_str(), plugin.name.as_deref()), ("gizmo", Some("Gizmo")));
        assert_eq!(of("<plugin><goalPrefix>a b</goalPrefix></plugin>"), None);
        assert_eq!(of("<other><goalPrefix>a</goalPrefix></other>"), None);
        assert_eq!(of("<plugin/>"), None);
        assert_eq!(of("junk"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pom::parse(&bytes);
            let _ = PluginDescriptor::parse(&bytes);
        }

        #[test]
        fn no_document_panics(body in "(<(/)?(project|groupId|parent|dependencies|dependency)>|x|&lt;|\\$\\{r\\}){0,20}") {
            if let Ok(pom) = Pom::parse(format!("<project>{body}</project>").as_bytes()) {
                let _ = pom.check_identity(&acme(), "widget", "1.0");
            }
        }
    }
}
