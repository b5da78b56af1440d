//! `maven-metadata.xml`: which versions an artifact has, which plugins a group has.
//!
//! Clients upload what they merged from what they saw; that is only read for what it says about the deploy at hand.
//! What is served is made from the database. Source: <https://maven.apache.org/ref/current/maven-repository-metadata/>

use std::fmt::Write;

use publaryn_core::ReleaseState;
use publaryn_protocol::strict_xml::{self, XmlFault, child, child_text, children, escape};
use publaryn_registry::{LiveRelease, PackageDocument, Plugin};

use crate::{
    file::FileName,
    name::Coordinates,
    path::MetadataPath,
    pom::is_prefix,
    version::{accepted, check},
};

/// Most plugins of a group's document: each may be a write.
const MAX_PLUGINS: usize = 1_000;
/// Largest metadata document of a client, in bytes (maven.md §3).
pub const MAX_METADATA_BYTES: u64 = 1 << 20;
pub const CONTENT_TYPE: &str = "application/xml";

const END: &str = "</metadata>\n";

/// What a client's document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uploaded {
    Artifact {
        coordinates: Coordinates,
        /// The version that was deployed just now: what it calls the release, else the latest.
        deployed: Option<String>,
    },
    Group(Vec<UploadedPlugin>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedPlugin {
    pub artifact: String,
    pub prefix: String,
    pub name: Option<String>,
}

/// Why a client's document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    #[error("the metadata is not well-formed XML: {0}")]
    Xml(#[from] XmlFault),
    #[error("the metadata has no <metadata> at its root")]
    NoMetadata,
    #[error("metadata {field} is {found}, path says {wanted}")]
    Differs { field: &'static str, found: String, wanted: String },
    #[error("the metadata names more than {MAX_PLUGINS} plugins")]
    ManyPlugins,
}

impl Uploaded {
    /// Reads a document that was sent to `at`.
    ///
    /// # Errors
    /// What is no metadata, or that of another place.
    pub fn parse(bytes: &[u8], at: &MetadataPath) -> Result<Self, MetadataFault> {
        let text = strict_xml::decode(bytes)?;
        let document = strict_xml::parse(&text)?;
        let root = document.root_element();
        if root.tag_name().name() != "metadata" {
            return Err(MetadataFault::NoMetadata);
        }
        let plugins = child(root, "plugins").into_iter().flat_map(|list| children(list, "plugin"));
        let plugins: Vec<_> = plugins.take(MAX_PLUGINS + 1).collect();
        if plugins.len() > MAX_PLUGINS {
            return Err(MetadataFault::ManyPlugins);
        }
        let plugins: Vec<UploadedPlugin> = plugins
            .into_iter()
            .filter_map(|plugin| {
                Some(UploadedPlugin {
                    artifact: child_text(plugin, "artifactId")?,
                    prefix: child_text(plugin, "prefix").filter(|prefix| is_prefix(prefix))?,
                    name: child_text(plugin, "name").map(|name| name.chars().take(200).collect()),
                })
            })
            .collect();
        let (group, artifact) = (child_text(root, "groupId"), child_text(root, "artifactId"));
        if !plugins.is_empty() && artifact.is_none() {
            return Ok(Self::Group(plugins));
        }
        let Some(wanted) = at.artifact() else {
            return Err(differs("artifactId", artifact.as_deref().unwrap_or_default(), "nothing"));
        };
        for (field, found, wanted) in [("groupId", &group, &wanted.group), ("artifactId", &artifact, &wanted.artifact)]
        {
            if found.as_ref() != Some(wanted) {
                return Err(differs(field, found.as_deref().unwrap_or("missing"), wanted));
            }
        }
        let deployed = child(root, "versioning")
            .and_then(|versioning| child_text(versioning, "release").or_else(|| child_text(versioning, "latest")))
            .filter(|version| check(version).is_ok());
        Ok(Self::Artifact { coordinates: wanted, deployed })
    }
}

fn differs(field: &'static str, found: &str, wanted: &str) -> MetadataFault {
    let found = found.chars().filter(|c| !c.is_control()).take(100).collect();
    MetadataFault::Differs { field, found, wanted: wanted.to_owned() }
}

/// The document of an artifact; `None` when no version is listed.
pub fn render(document: &PackageDocument) -> Option<Vec<u8>> {
    let (group, artifact) = document.package.name.split_once(':')?;
    let mut listed: Vec<_> = document.releases.iter().filter(|release| is_listed(release, artifact)).collect();
    listed.sort_by(|a, b| (&a.row.sort_key, &a.row.version).cmp(&(&b.row.sort_key, &b.row.version)));
    let latest = listed.last()?;
    let release = listed.iter().rev().find(|release| !release.row.is_prerelease).unwrap_or(latest);
    let changed: String =
        document.package.updated_at.to_seconds_string().chars().filter(char::is_ascii_digit).collect();
    let mut xml = start();
    let mut line = |depth: usize, name: &str, value: &str| {
        xml.push_str(&format!("{}<{name}>{}</{name}>\n", "  ".repeat(depth), escape(value)));
    };
    line(1, "groupId", group);
    line(1, "artifactId", artifact);
    let mut versioning = String::from("  <versioning>\n");
    let _ = writeln!(versioning, "    <latest>{}</latest>", escape(&latest.row.version));
    let _ = writeln!(versioning, "    <release>{}</release>\n    <versions>", escape(&release.row.version));
    for release in &listed {
        let _ = writeln!(versioning, "      <version>{}</version>", escape(&release.row.version));
    }
    let _ = writeln!(versioning, "    </versions>\n    <lastUpdated>{changed}</lastUpdated>\n  </versioning>");
    xml.push_str(&versioning);
    xml.push_str(END);
    Some(xml.into_bytes())
}

/// Whether clients that look for versions find this one: it can be resolved, and was not taken back.
fn is_listed(release: &LiveRelease, artifact: &str) -> bool {
    if release.row.status == ReleaseState::Yanked {
        return false;
    }
    let names =
        || release.artifacts.iter().filter_map(|file| FileName::parse(&file.filename, artifact, &release.row.version));
    let is_complete = release.row.open.sealed_at.is_some() || release.row.open.open_until.is_none();
    names().any(|name| name.is_pom()) || (is_complete && names().any(|name| name.is_main()))
}

/// The plugins of a group, into the document of the artifact that lies in the same directory, if there is one.
pub fn with_plugins(artifact: Option<&[u8]>, plugins: &[Plugin]) -> Option<Vec<u8>> {
    if plugins.is_empty() {
        return artifact.map(<[u8]>::to_vec);
    }
    let mut xml = match artifact {
        Some(bytes) => String::from_utf8_lossy(bytes.strip_suffix(END.as_bytes()).unwrap_or(bytes)).into_owned(),
        None => start(),
    };
    xml.push_str("  <plugins>\n");
    for plugin in plugins {
        let artifact = plugin.package.split_once(':').map_or(plugin.package.as_str(), |(_, artifact)| artifact);
        let name = plugin.name.as_deref().unwrap_or(artifact);
        let _ = writeln!(
            xml,
            "    <plugin>\n      <name>{}</name>\n      <prefix>{}</prefix>\n      <artifactId>{}</artifactId>\n    </plugin>",
            escape(name),
            escape(&plugin.prefix),
            escape(artifact)
        );
    }
    xml.push_str("  </plugins>\n");
    xml.push_str(END);
    Some(xml.into_bytes())
}

fn start() -> String {
    String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata>\n")
}

/// The key under which the registry keeps a version of that spelling.
pub fn version_key(version: &str) -> String {
    accepted(version).unique_key().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::path::{Address, Target};

    fn at(path: &str) -> MetadataPath {
        match Address::of(&format!("/{path}/maven-metadata.xml")).target {
            Ok(Target::Metadata { at, .. }) => at,
            other => panic!("{other:?}"),
        }
    }

    fn parse(body: &str, path: &str) -> Result<Uploaded, MetadataFault> {
        Uploaded::parse(format!("<metadata modelVersion=\"1.1.0\">{body}</metadata>").as_bytes(), &at(path))
    }

    const WIDGET: &str = "<groupId>com.acme</groupId><artifactId>widget</artifactId>";

    #[test]
    fn a_document_names_the_version_that_was_deployed() {
        let deployed = |versioning: &str| {
            let body =
                format!("{WIDGET}<versioning>{versioning}<versions><version>9</version></versions></versioning>");
            match parse(&body, "com/acme/widget").unwrap() {
                Uploaded::Artifact { deployed, .. } => deployed,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(deployed("<latest>2.0</latest><release>1.0</release>").as_deref(), Some("1.0"));
        assert_eq!(deployed("<latest>2.0</latest>").as_deref(), Some("2.0"));
        assert_eq!(deployed(""), None);
        assert_eq!(deployed("<release>1-SNAPSHOT</release>"), None);
    }

    #[test]
    fn a_document_of_another_place_is_refused() {
        let fault = parse(WIDGET, "com/acme/gadget").unwrap_err();
        assert_eq!(fault.to_string(), "metadata artifactId is widget, path says gadget");
        assert!(parse("", "com/acme/widget").is_err());
        assert!(parse(&format!("{WIDGET}<version>1.0</version>"), "com/acme/widget/1.0").is_err());
        assert_eq!(Uploaded::parse(b"<project/>", &at("a/b")), Err(MetadataFault::NoMetadata));
        assert!(matches!(Uploaded::parse(b"junk", &at("a/b")), Err(MetadataFault::Xml(_))));
    }

    #[test]
    fn plugins_of_a_group_are_read_and_written() {
        let body = "<plugins><plugin><name>Gizmo</name><prefix>gizmo</prefix><artifactId>gizmo-maven-plugin</artifactId>\
             </plugin><plugin><prefix>no good</prefix><artifactId>x</artifactId></plugin></plugins>";
        let Ok(Uploaded::Group(plugins)) = parse(body, "com/acme") else { panic!("a group") };
        assert_eq!(plugins.len(), 1);
        let many = "<plugin><prefix>p</prefix><artifactId>x</artifactId></plugin>".repeat(MAX_PLUGINS + 1);
        assert_eq!(parse(&format!("<plugins>{many}</plugins>"), "com/acme"), Err(MetadataFault::ManyPlugins));
        let plugin = Plugin {
            package: "com.acme:gizmo-maven-plugin".into(),
            prefix: "gizmo".into(),
            name: Some("A & B".into()),
        };
        let alone = String::from_utf8(with_plugins(None, std::slice::from_ref(&plugin)).unwrap()).unwrap();
        assert!(alone.contains("<name>A &amp; B</name>") && alone.ends_with(END), "{alone}");
        let both = with_plugins(Some(b"<metadata>\n  <groupId>com</groupId>\n</metadata>\n"), &[plugin]).unwrap();
        let both = String::from_utf8(both).unwrap();
        assert!(both.contains("<groupId>com</groupId>") && both.matches("</metadata>").count() == 1, "{both}");
        assert!(strict_xml::parse(&both).is_ok());
        assert_eq!(with_plugins(Some(b"x"), &[]).as_deref(), Some(&b"x"[..]));
        assert_eq!(with_plugins(None, &[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Uploaded::parse(&bytes, &at("com/acme/widget"));
        }
    }
}
