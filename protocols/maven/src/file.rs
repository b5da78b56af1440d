//! File names: what a file of a version is, by its name alone.

use std::fmt;

use publaryn_core::ArtifactKind;

/// Endings of more than one part; of these the longest counts.
const LONG_EXTENSIONS: [&str; 6] = ["tar.gz", "tar.bz2", "tar.xz", "sigstore.json", "cyclonedx.json", "spdx.json"];
/// What is a zip inside.
const ARCHIVES: [&str; 11] = ["jar", "war", "ear", "rar", "aar", "zip", "nbm", "hpi", "sar", "har", "kar"];
const SIGNATURES: [&str; 3] = [".asc", ".sigstore.json", ".sigstore"];

/// A file name, taken apart: `widget-1.0-sources.jar.asc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    text: String,
    prefix: String,
    pub classifier: Option<String>,
    /// Without leading dot, and without that of a signature: `jar`, `tar.gz`.
    pub extension: String,
    /// It signs the file whose name this would be without its ending.
    pub is_signature: bool,
}

impl FileName {
    /// `None` when it is no name of a file of that version.
    ///
    /// A directory `foo_2.12_1.0` of an sbt plugin holds files `foo-1.0.jar`.
    pub fn parse(text: &str, artifact: &str, version: &str) -> Option<Self> {
        let prefixes = std::iter::once(artifact).chain(
            artifact.match_indices('_').rev().map(|(at, _)| &artifact[..at]).filter(|prefix| !prefix.is_empty()),
        );
        prefixes.into_iter().find_map(|prefix| {
            let rest = text.strip_prefix(prefix)?.strip_prefix('-')?.strip_prefix(version)?;
            Self::split(text, prefix, rest)
        })
    }

    fn split(text: &str, prefix: &str, rest: &str) -> Option<Self> {
        let signed = SIGNATURES.into_iter().find_map(|ending| rest.strip_suffix(ending));
        let is_signature = signed.is_some();
        let rest = signed.unwrap_or(rest);
        let (classifier, extension) = match rest.strip_prefix('-') {
            Some(classified) => {
                let at = extension_at(classified)?;
                (Some(&classified[..at]), &classified[at + 1..])
            }
            None => {
                let extension = rest.strip_prefix('.')?;
                (None, extension)
            }
        };
        let is_legal = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+'))
                && !part.starts_with('.')
                && !part.ends_with('.')
                && !part.contains("..")
        };
        if !is_legal(extension) || classifier.is_some_and(|classifier| !is_legal(classifier)) || text.len() > 255 {
            return None;
        }
        Some(Self {
            text: text.to_owned(),
            prefix: prefix.to_owned(),
            classifier: classifier.map(str::to_owned),
            extension: extension.to_owned(),
            is_signature,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the version: the artifact id, or in the files of an sbt plugin the short form of it.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The POM of the version itself.
    pub fn is_pom(&self) -> bool {
        !self.is_signature && self.classifier.is_none() && self.extension == "pom"
    }
    /// Gradle's description of the version.
    pub fn is_module(&self) -> bool {
        !self.is_signature && self.classifier.is_none() && self.extension == "module"
    }
    /// What the version is there for, as far as names tell.
    pub fn is_main(&self) -> bool {
        !self.is_signature && self.classifier.is_none() && !self.is_pom() && !self.is_module()
    }
    /// Only accompanies: it changes nothing about what clients resolve.
    pub fn is_attachment(&self) -> bool {
        self.is_signature || self.classifier.is_some()
    }
    pub fn is_archive(&self) -> bool {
        let ending = self.extension.rsplit('.').next().unwrap_or_default();
        !self.is_signature && ARCHIVES.contains(&ending)
    }

    pub fn kind(&self) -> ArtifactKind {
        if self.is_signature {
            return ArtifactKind::Signature;
        }
        let is_bill = |word: &str| self.classifier.as_deref() == Some(word) || self.extension.starts_with(word);
        match self.extension.as_str() {
            // Both describe the version.
            "pom" | "module" if self.classifier.is_none() => ArtifactKind::Pom,
            "json" | "xml" | "cyclonedx.json" | "spdx.json" if is_bill("cyclonedx") || is_bill("spdx") => {
                ArtifactKind::Sbom
            }
            "zip" => ArtifactKind::SourceZip,
            "tar.gz" | "tgz" | "tar.bz2" | "tar.xz" => ArtifactKind::Tarball,
            _ => ArtifactKind::Jar,
        }
    }

    pub fn content_type(&self) -> &'static str {
        if self.text.ends_with(".asc") {
            return "application/pgp-signature";
        }
        match self.extension.as_str() {
            _ if self.text.ends_with(".json") => "application/json",
            _ if self.is_signature => "application/octet-stream",
            "jar" | "war" | "aar" | "ear" | "rar" => "application/java-archive",
            "pom" | "xml" => "application/xml",
            "module" => "application/json",
            "zip" => "application/zip",
            _ => "application/octet-stream",
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where the dot before the extension stands.
fn extension_at(text: &str) -> Option<usize> {
    let long = LONG_EXTENSIONS.into_iter().find_map(|known| {
        let stem = text.strip_suffix(known)?.strip_suffix('.')?;
        (!stem.is_empty()).then_some(stem.len())
    });
    long.or_else(|| text.rfind('.').filter(|at| *at > 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_taken_apart() {
        for (text, classifier, extension, is_signature) in [
            ("w-1.0.jar", None, "jar", false),
            ("w-1.0.pom", None, "pom", false),
            ("w-1.0-sources.jar", Some("sources"), "jar", false),
            ("w-1.0-bin.tar.gz", Some("bin"), "tar.gz", false),
            ("w-1.0.tar.gz", None, "tar.gz", false),
            ("w-1.0-linux-x86_64.zip", Some("linux-x86_64"), "zip", false),
            ("w-1.0-jdk1.8.jar", Some("jdk1.8"), "jar", false),
            ("w-1.0.jar.asc", None, "jar", true),
            ("w-1.0-javadoc.jar.asc", Some("javadoc"), "jar", true),
            ("w-1.0.jar.sigstore.json", None, "jar", true),
            ("w-1.0-cyclonedx.json", Some("cyclonedx"), "json", false),
            ("w-1.0.module", None, "module", false),
        ] {
            let name = FileName::parse(text, "w", "1.0").unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (name.classifier.as_deref(), name.extension.as_str(), name.is_signature),
                (classifier, extension, is_signature),
                "{text}"
            );
            assert_eq!(name.to_string(), text);
        }
        for bad in [
            "w-1.0",
            "w-1.0.",
            "w-1.0-.jar",
            "w-1.0-x",
            "w-1.0jar",
            "w-1.1.jar",
            "v-1.0.jar",
            "w-1.0..jar",
            "w-1.0.a$b",
        ] {
            assert_eq!(FileName::parse(bad, "w", "1.0"), None, "{bad}");
        }
    }

    #[test]
    fn plugins_of_sbt_leave_out_what_they_are_built_for() {
        let short = FileName::parse("foo-1.0.jar", "foo_2.12_1.0", "1.0").unwrap();
        assert!(short.is_main() && short.prefix() == "foo");
        assert!(FileName::parse("foo_2.12_1.0-1.0.pom", "foo_2.12_1.0", "1.0").is_some_and(|name| name.is_pom()));
        assert!(FileName::parse("foo_2.12-1.0.pom", "foo_2.12_1.0", "1.0").is_some());
        assert_eq!(FileName::parse("-1.0.jar", "_x", "1.0"), None);
    }

    #[test]
    fn what_a_file_is_for_follows_from_its_name() {
        let of = |text| FileName::parse(text, "w", "1").unwrap();
        assert!(of("w-1.jar").is_main() && !of("w-1.jar").is_attachment());
        assert!(of("w-1-sources.jar").is_attachment() && !of("w-1-sources.jar").is_main());
        assert!(of("w-1.pom.asc").is_attachment() && !of("w-1.pom.asc").is_pom());
        assert!(!of("w-1.module").is_attachment() && of("w-1.module").is_module());
        for (text, kind) in [
            ("w-1.jar", ArtifactKind::Jar),
            ("w-1.pom", ArtifactKind::Pom),
            ("w-1.jar.asc", ArtifactKind::Signature),
            ("w-1-cyclonedx.json", ArtifactKind::Sbom),
            ("w-1-dist.tar.gz", ArtifactKind::Tarball),
            ("w-1-dist.zip", ArtifactKind::SourceZip),
            ("w-1.klib", ArtifactKind::Jar),
        ] {
            assert_eq!(of(text).kind(), kind, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_name_panics(text in "[ -~]{0,60}", artifact in "[ -~]{0,10}", version in "[ -~]{0,10}") {
            let _ = FileName::parse(&text, &artifact, &version);
        }
    }
}
