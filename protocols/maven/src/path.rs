//! What an address below the mount means (maven.md §1).

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::{
    checksum::Algorithm,
    file::FileName,
    name::{Coordinates, NameFault},
    version::{self, VersionFault},
};

/// The file that says which versions there are.
pub const METADATA: &str = "maven-metadata.xml";
/// The first segment of the view that always asks for a credential; no group can be called that.
pub const CHALLENGE: &str = "~auth";

/// An address, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The view that answers 401 to whoever did not say who they are.
    pub is_challenging: bool,
    pub target: Result<Target, PathFault>,
}

/// What an address is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Root,
    /// A directory; nothing is listed.
    Directory,
    File {
        file: GavFile,
        sidecar: Option<Algorithm>,
    },
    Metadata {
        at: MetadataPath,
        sidecar: Option<Algorithm>,
    },
    /// A checksum of a checksum, or of a checksum's signature: nobody asks for it.
    Ignored(Coordinates),
}

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GavFile {
    pub coordinates: Coordinates,
    pub version: String,
    pub name: FileName,
}

impl GavFile {
    /// `com.acme:widget:1.0.0`
    pub fn gav(&self) -> String {
        format!("{}:{}", self.coordinates, self.version)
    }
    /// Where it lies below the mount.
    pub fn path(&self) -> String {
        let Coordinates { group, artifact } = &self.coordinates;
        format!("{}/{artifact}/{}/{}", group.replace('.', "/"), self.version, self.name)
    }
}

/// The directory of a metadata document: that of a group, of an artifact, or of both at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataPath {
    segments: Vec<String>,
}

impl MetadataPath {
    /// `com.acme` for `com/acme`; `None` where no group can be called that.
    pub fn group(&self) -> Option<String> {
        let group = self.segments.join(".");
        let is_plain = self.segments.iter().all(|segment| !segment.contains('.'));
        (is_plain && Coordinates::new(&group, "x").is_ok()).then_some(group)
    }
    /// `com:acme` for `com/acme`.
    pub fn artifact(&self) -> Option<Coordinates> {
        let (artifact, group) = self.segments.split_last()?;
        group.iter().all(|segment| !segment.contains('.')).then_some(())?;
        Coordinates::new(&group.join("."), artifact).ok()
    }
    /// The directory of a snapshot version.
    pub fn is_of_snapshot(&self) -> bool {
        self.segments.last().is_some_and(|segment| version::is_snapshot(segment))
    }
}

impl fmt::Display for MetadataPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("/"))
    }
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    #[error("the path has an empty segment, `.`, `..`, a backslash, or a character outside of ASCII")]
    Segment,
    #[error("the path is no groupId/artifactId/version/file")]
    Short,
    #[error("{0}")]
    Name(NameFault),
    #[error("{0}")]
    Version(VersionFault),
    #[error("the file name does not start with {0}")]
    FileName(String),
    #[error("maven-metadata-local.xml is a file of local repositories")]
    LocalMetadata,
}

impl Address {
    /// Reads an undecoded path below the mount, which starts with a slash. The view is told whatever follows it.
    pub fn of(path: &str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (mut path, mut is_challenging) = (path, false);
        if let Some(rest) = path.strip_prefix(CHALLENGE)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            (path, is_challenging) = (rest.strip_prefix('/').unwrap_or(rest), true);
        }
        Self { is_challenging, target: Target::of(path) }
    }
}

impl Target {
    fn of(path: &str) -> Result<Self, PathFault> {
        if path.is_empty() {
            return Ok(Self::Root);
        }
        let (path, is_directory) = match path.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (path, false),
        };
        let mut segments = path.split('/').map(segment).collect::<Result<Vec<String>, PathFault>>()?;
        if is_directory {
            return Ok(Self::Directory);
        }
        let Some(last) = segments.pop() else { return Ok(Self::Root) };
        let (stem, sidecar) = Algorithm::split(&last);
        if stem == "maven-metadata-local.xml" {
            return Err(PathFault::LocalMetadata);
        }
        if stem == METADATA {
            return Ok(Self::Metadata { at: MetadataPath { segments }, sidecar });
        }
        Self::file(segments, stem, sidecar)
    }

    fn file(mut segments: Vec<String>, stem: &str, sidecar: Option<Algorithm>) -> Result<Self, PathFault> {
        let (Some(version), Some(artifact)) = (segments.pop(), segments.pop()) else { return Err(PathFault::Short) };
        if segments.is_empty() {
            return Err(PathFault::Short);
        }
        if segments.iter().any(|segment| segment.contains('.')) {
            return Err(PathFault::Name(NameFault::Dots("groupId")));
        }
        let coordinates = Coordinates::new(&segments.join("."), &artifact).map_err(PathFault::Name)?;
        version::check(&version).map_err(PathFault::Version)?;
        let unsigned = stem.strip_suffix(".asc").unwrap_or(stem);
        if Algorithm::split(unsigned).1.is_some() {
            return Ok(Self::Ignored(coordinates));
        }
        let name = FileName::parse(stem, &artifact, &version)
            .ok_or_else(|| PathFault::FileName(format!("{artifact}-{version}")))?;
        Ok(Self::File { file: GavFile { coordinates, version, name }, sidecar })
    }

    /// For metrics and logs.
    pub fn template(&self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Directory => "/{directory}/",
            Self::File { sidecar: None, .. } => "/{group}/{artifact}/{version}/{file}",
            Self::File { .. } | Self::Ignored(_) => "/{group}/{artifact}/{version}/{checksum}",
            Self::Metadata { sidecar: None, .. } => "/{directory}/maven-metadata.xml",
            Self::Metadata { .. } => "/{directory}/maven-metadata.xml.{checksum}",
        }
    }
}

/// Decodes one segment, once.
fn segment(raw: &str) -> Result<String, PathFault> {
    let decoded = percent_decode_str(raw).decode_utf8().map_err(|_| PathFault::Segment)?;
    let is_legal = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'/');
    if decoded.is_empty() || matches!(&*decoded, "." | "..") || !decoded.bytes().all(is_legal) {
        return Err(PathFault::Segment);
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(path: &str) -> Result<Target, PathFault> {
        Address::of(path).target
    }

    #[test]
    fn a_file_lies_under_group_artifact_and_version() {
        let Ok(Target::File { file, sidecar: None }) = of("/com/acme/deep/widget/1.0.0/widget-1.0.0-sources.jar")
        else {
            panic!("a file")
        };
        assert_eq!(file.gav(), "com.acme.deep:widget:1.0.0");
        assert_eq!(file.path(), "com/acme/deep/widget/1.0.0/widget-1.0.0-sources.jar");
        let Ok(Target::File { file, sidecar }) = of("/a/b/1%2B2/b-1+2.pom.sha512") else { panic!("a checksum") };
        assert_eq!((file.version.as_str(), sidecar), ("1+2", Some(Algorithm::Sha512)));
        assert!(matches!(of("/a/b/1/b-1.jar.sha1.md5"), Ok(Target::Ignored(_))));
        assert!(matches!(of("/a/b/1/b-1.jar.sha1.asc"), Ok(Target::Ignored(_))));
        assert!(matches!(of("/a/b/1/b-1.jar.asc.sha1"), Ok(Target::File { sidecar: Some(Algorithm::Sha1), .. })));
    }

    #[test]
    fn metadata_may_be_that_of_a_group_and_of_an_artifact() {
        let Ok(Target::Metadata { at, sidecar: None }) = of("/com/acme/maven-metadata.xml") else { panic!("metadata") };
        assert_eq!(at.group().as_deref(), Some("com.acme"));
        assert_eq!(at.artifact().unwrap().to_string(), "com:acme");
        let Ok(Target::Metadata { at, .. }) = of("/com/acme/widget_2.12/maven-metadata.xml.md5") else {
            panic!("metadata")
        };
        assert_eq!((at.group(), at.artifact().unwrap().to_string()), (None, "com.acme:widget_2.12".to_owned()));
        let Ok(Target::Metadata { at, .. }) = of("/com/maven-metadata.xml") else { panic!("metadata") };
        assert_eq!((at.group().as_deref(), at.artifact()), (Some("com"), None));
        let Ok(Target::Metadata { at, .. }) = of("/a/b/1-SNAPSHOT/maven-metadata.xml") else { panic!("metadata") };
        assert!(at.is_of_snapshot());
        assert_eq!(of("/a/b/maven-metadata-local.xml"), Err(PathFault::LocalMetadata));
    }

    #[test]
    fn the_challenging_view_has_the_same_addresses() {
        for (path, wanted) in [
            ("/~auth", true),
            ("/~auth/", true),
            ("/~auth/a/b/maven-metadata.xml", true),
            ("/", false),
            ("/~auth/%ff", true),
        ] {
            assert_eq!(Address::of(path).is_challenging, wanted, "{path}");
        }
        assert!(of("/~authority/b/1/b-1.jar").is_err());
        assert!(of("/~auth/~auth/b/1/b-1.jar").is_err());
    }

    #[test]
    fn odd_paths_are_refused() {
        for path in [
            "/a/../b/1/b-1.jar",
            "/a/%2e%2e/1/b-1.jar",
            "/a/b/1/..%2fb-1.jar",
            "/a/b/1/b-1\\x.jar",
            "/a/b/1/b-1%5cx.jar",
            "/a//b/1/b-1.jar",
            "//a/b/1/b-1.jar",
            "/a/b/1/b-1%00.jar",
            "/a/b/1/b-1%c3%a9.jar",
            "/a/b/1/%ff",
            "/a/./b/1/b-1.jar",
            "/a/b/1/b-1%20.jar",
        ] {
            assert_eq!(of(path), Err(PathFault::Segment), "{path}");
        }
        assert_eq!(of("/a/b-1.jar"), Err(PathFault::Short));
        assert_eq!(of("/b/1/b-1.jar"), Err(PathFault::Short));
        assert!(matches!(of("/a/b/1/c-1.jar"), Err(PathFault::FileName(_))));
        assert!(matches!(of("/a/b/1/b-2.jar"), Err(PathFault::FileName(_))));
        assert!(matches!(of("/a.x/b/1/b-1.jar"), Err(PathFault::Name(NameFault::Dots(_)))));
        assert_eq!(of("/a/b/1-SNAPSHOT/b-1-SNAPSHOT.jar"), Err(PathFault::Version(VersionFault::Snapshot)));
        assert_eq!(of("/a/b/LATEST/b-LATEST.jar"), Err(PathFault::Version(VersionFault::Word)));
        assert!(matches!(of("/a/b/${x}/b-${x}.jar"), Err(PathFault::Version(VersionFault::Characters))));
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "[ -~]{0,80}") {
            let _ = Address::of(&path);
        }

        #[test]
        fn what_is_read_lies_where_it_was_found(
            group in "[a-z_][a-z0-9_-]{0,5}(/[a-z_][a-z0-9_-]{0,5}){0,3}", artifact in "[a-z][a-z0-9.-]{0,5}[a-z]",
            version in "[0-9](\\.[0-9]{1,2}){0,3}(-rc[0-9])?", rest in "(-[a-z]{1,8})?\\.(jar|pom|module|tar\\.gz|jar\\.asc)"
        ) {
            prop_assume!(!artifact.contains(".."));
            let path = format!("{group}/{artifact}/{version}/{artifact}-{version}{rest}");
            match of(&format!("/{path}")) {
                Ok(Target::File { file, sidecar: None }) => prop_assert_eq!(file.path(), path),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
