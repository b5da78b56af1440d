//! Names of distribution files: wheels (PEP 427) and source distributions (PEP 625 and its forebears).
//!
//! Sources: <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>,
//! <https://packaging.python.org/en/latest/specifications/source-distribution-format/>

use std::collections::BTreeSet;

use publaryn_core::ArtifactKind;

use crate::{name, version};

/// Longest file name, in bytes: what file systems take.
pub const MAX_FILENAME_BYTES: usize = 255;

/// How a distribution file is packed, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Wheel,
    SdistTarGz,
    SdistZip,
}

impl Format {
    /// `None` for what is not a distribution file of this index.
    pub fn of(filename: &str) -> Option<Self> {
        match () {
            () if filename.ends_with(".whl") => Some(Self::Wheel),
            () if filename.ends_with(".tar.gz") => Some(Self::SdistTarGz),
            () if filename.ends_with(".zip") => Some(Self::SdistZip),
            () => None,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Wheel => ".whl",
            Self::SdistTarGz => ".tar.gz",
            Self::SdistZip => ".zip",
        }
    }

    pub const fn kind(self) -> ArtifactKind {
        match self {
            Self::Wheel => ArtifactKind::Wheel,
            Self::SdistTarGz | Self::SdistZip => ArtifactKind::Sdist,
        }
    }

    /// The word of the upload form's `filetype`.
    pub const fn filetype(self) -> &'static str {
        match self {
            Self::Wheel => "bdist_wheel",
            Self::SdistTarGz | Self::SdistZip => "sdist",
        }
    }
}

/// A file name that belongs to a certain version of a certain project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistributionName {
    pub text: String,
    pub format: Format,
    /// Of wheels.
    pub tags: Option<WheelTags>,
}

/// The compatibility part of a wheel's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelTags {
    pub build: Option<String>,
    /// Compressed as written, e.g. `py2.py3`.
    pub python: String,
    pub abi: String,
    pub platform: String,
}

impl WheelTags {
    /// Every `python-abi-platform` triple that the compressed form stands for.
    pub fn expanded(&self) -> BTreeSet<String> {
        self.triple().expand()
    }

    fn triple(&self) -> Triple<'_> {
        Triple { python: &self.python, abi: &self.abi, platform: &self.platform }
    }
}

/// Most compatibility tags that a wheel may stand for. Wheels for every platform there is have some hundreds, and a
/// compressed form stands for the product of its parts: three short lines could stand for thousands of millions.
const MAX_TAGS: usize = 4096;

/// Why the `Tag` lines of a `WHEEL` file cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagFault {
    #[error("a Tag is malformed")]
    Malformed,
    #[error("its Tags stand for more than {MAX_TAGS}")]
    TooMany,
}

/// Expands the `Tag` lines of a `WHEEL` file, which some tools write compressed.
///
/// # Errors
/// `Malformed`, also for lines that no file name has room for; `TooMany`.
pub fn expand_tags<'a>(lines: impl Iterator<Item = &'a str>) -> Result<BTreeSet<String>, TagFault> {
    let mut all = BTreeSet::new();
    let mut left = MAX_TAGS;
    for line in lines {
        if line.len() > MAX_FILENAME_BYTES {
            return Err(TagFault::Malformed);
        }
        let triple = Triple::of(line.trim()).ok_or(TagFault::Malformed)?;
        left = left.checked_sub(triple.count()).ok_or(TagFault::TooMany)?;
        all.extend(triple.expand());
    }
    Ok(all)
}

/// Three compatibility tags, each compressed.
struct Triple<'a> {
    python: &'a str,
    abi: &'a str,
    platform: &'a str,
}

impl<'a> Triple<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        Some(Self { python: parts.next()?, abi: parts.next()?, platform: parts.next()? })
    }

    fn count(&self) -> usize {
        [self.python, self.abi, self.platform].into_iter().map(|part| part.split('.').count()).product()
    }

    fn expand(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for python in self.python.split('.') {
            for abi in self.abi.split('.') {
                for platform in self.platform.split('.') {
                    all.insert(format!("{python}-{abi}-{platform}").to_ascii_lowercase());
                }
            }
        }
        all
    }
}

/// Why a file may not be called so; the texts are those of the public index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilenameFault {
    #[error("Invalid file extension: Use .tar.gz, .whl or .zip extension.")]
    Extension,
    #[error("Invalid filename: Use at most {MAX_FILENAME_BYTES} ASCII letters, numerals and '._+!-'.")]
    Characters,
    #[error("Start filename for '{project}' with '{wanted}'.")]
    Project { project: String, wanted: String },
    #[error("Version in filename should be '{0}'.")]
    Version(String),
    #[error("Invalid wheel filename: {0}")]
    Wheel(&'static str),
}

impl FilenameFault {
    /// The same, with the project called as its uploader does.
    pub fn named(self, project: &str) -> Self {
        match self {
            Self::Project { wanted, .. } => Self::Project { project: project.to_owned(), wanted },
            other => other,
        }
    }
}

impl DistributionName {
    /// Checks that `filename` names a file of `project` in `version`.
    ///
    /// Older build backends keep dots and capitals, or write dashes; only what a name stands for is compared.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(filename: &str, project: &str, version: &str) -> Result<Self, FilenameFault> {
        check_characters(filename)?;
        let format = Format::of(filename).ok_or(FilenameFault::Extension)?;
        let stem = filename.strip_suffix(format.suffix()).unwrap_or(filename);
        let tags = match format {
            Format::Wheel => Some(parse_wheel(stem, project, version)?),
            Format::SdistTarGz | Format::SdistZip => {
                check_stem(stem, project, version)?;
                None
            }
        };
        Ok(Self { text: filename.to_owned(), format, tags })
    }
}

/// # Errors
/// `Characters` for what no distribution file is called, path separators first of all.
pub fn check_characters(filename: &str) -> Result<(), FilenameFault> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'!' | b'-');
    let is_fine = !filename.is_empty()
        && filename.len() <= MAX_FILENAME_BYTES
        && !filename.starts_with('.')
        && filename.bytes().all(is_plain);
    if is_fine { Ok(()) } else { Err(FilenameFault::Characters) }
}

/// Checks a `name-version` pair, as sdists and their top directories are called: some dash parts the two.
///
/// # Errors
/// `Project` or `Version`, whichever does not fit.
pub fn check_stem(stem: &str, project: &str, version: &str) -> Result<(), FilenameFault> {
    let wanted = version::parse(version);
    let mut has_project = false;
    for (at, _) in stem.match_indices('-') {
        let (name_part, version_part) = (&stem[..at], &stem[at + 1..]);
        if name::normalize(name_part).as_deref() != Some(project) {
            continue;
        }
        has_project = true;
        if is_version(version_part, wanted.as_ref()) {
            return Ok(());
        }
    }
    if has_project { Err(FilenameFault::Version(version.to_owned())) } else { Err(wrong_project(project)) }
}

fn wrong_project(project: &str) -> FilenameFault {
    FilenameFault::Project { project: project.to_owned(), wanted: project.replace('-', "_") }
}

/// Whether a part of a file name is that version; `_` may stand for `-`, which wheels cannot have.
fn is_version(part: &str, wanted: Option<&pep440_rs::Version>) -> bool {
    let Some(wanted) = wanted else { return false };
    version::parse(part).as_ref() == Some(wanted) || version::parse(&part.replace('_', "-")).as_ref() == Some(wanted)
}

fn parse_wheel(stem: &str, project: &str, version: &str) -> Result<WheelTags, FilenameFault> {
    let parts: Vec<&str> = stem.split('-').collect();
    let (head, build, tags) = match parts.as_slice() {
        [name, version, python, abi, platform] => ((*name, *version), None, [*python, *abi, *platform]),
        [name, version, build, python, abi, platform] => ((*name, *version), Some(*build), [*python, *abi, *platform]),
        _ => return Err(FilenameFault::Wheel("it must have five or six parts, parted by '-'.")),
    };
    if name::normalize(head.0).as_deref() != Some(project) {
        return Err(wrong_project(project));
    }
    if !is_version(head.1, version::parse(version).as_ref()) {
        return Err(FilenameFault::Version(version.to_owned()));
    }
    if build.is_some_and(|build| !build.starts_with(|c: char| c.is_ascii_digit())) {
        return Err(FilenameFault::Wheel("the build number must start with a digit."));
    }
    let is_tag = |part: &str| {
        part.split('.').all(|tag| !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
    };
    if !tags.iter().all(|part| is_tag(part)) {
        return Err(FilenameFault::Wheel("a compatibility tag is malformed."));
    }
    let tags = WheelTags {
        build: build.map(str::to_owned),
        python: tags[0].to_owned(),
        abi: tags[1].to_owned(),
        platform: tags[2].to_owned(),
    };
    if tags.triple().count() > MAX_TAGS {
        return Err(FilenameFault::Wheel("it stands for too many compatibility tags."));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(filename: &str) -> Result<DistributionName, FilenameFault> {
        DistributionName::parse(filename, "demo-pkg", "1.0")
    }

    #[test]
    fn files_of_the_version_are_accepted_however_their_backend_spelled_them() {
        for good in [
            "demo_pkg-1.0-py3-none-any.whl",
            "Demo.Pkg-1.0-py3-none-any.whl",
            "demo_pkg-1.0.0-py2.py3-none-any.whl",
            "demo_pkg-1.0-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "demo_pkg-1.0-1abc-py3-none-linux_x86_64.whl",
            "demo_pkg-1.0.tar.gz",
            "Demo.Pkg-1.0.tar.gz",
            "demo-pkg-1.0.0.tar.gz",
            "demo-pkg-v1.0.zip",
        ] {
            assert!(parse(good).is_ok(), "{good}: {:?}", parse(good));
        }
        let post = |filename| DistributionName::parse(filename, "demo", "1.0.post1");
        assert!(post("demo-1.0-1.tar.gz").is_ok() && post("demo-1.0_1-py3-none-any.whl").is_ok());
        let local = DistributionName::parse("demo-1.0+cpu.1-py3-none-any.whl", "demo", "1.0+cpu.1");
        assert!(local.is_ok());
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        for (bad, wanted) in [
            ("demo_pkg-1.0.egg", "Invalid file extension"),
            ("demo_pkg-1.0.tar.bz2", "Invalid file extension"),
            ("demo_pkg-1.0.exe", "Invalid file extension"),
            ("other-1.0.tar.gz", "Start filename for 'demo-pkg' with 'demo_pkg'."),
            ("demo-1.0.tar.gz", "Start filename"),
            ("demo_pkg-1.1.tar.gz", "Version in filename should be '1.0'."),
            ("demo_pkg.tar.gz", "Start filename"),
            ("other-1.0-py3-none-any.whl", "Start filename"),
            ("demo_pkg-2.0-py3-none-any.whl", "Version in filename"),
            ("demo_pkg-1.0-py3-none.whl", "Invalid wheel filename"),
            ("demo_pkg-1.0-x1-py3-none-any.whl", "the build number"),
            ("demo_pkg-1.0-py3-none-any..whl", "a compatibility tag"),
            ("demo_pkg-1.0-a-b-c-d-e.whl", "five or six parts"),
            ("../demo_pkg-1.0.tar.gz", "Invalid filename"),
            ("a/demo_pkg-1.0.tar.gz", "Invalid filename"),
            ("a\\demo_pkg-1.0.tar.gz", "Invalid filename"),
            (".demo_pkg-1.0.tar.gz", "Invalid filename"),
            ("demo_pkg-1.0 .tar.gz", "Invalid filename"),
            ("demo_pkg-1.0\n.tar.gz", "Invalid filename"),
            ("demö-1.0.tar.gz", "Invalid filename"),
            ("", "Invalid filename"),
            (&format!("demo_pkg-1.0-py3-none-{}.whl", "a".repeat(250)), "Invalid filename"),
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains(wanted), "{bad}: {error}");
        }
        let named = parse("other-1.0.tar.gz").unwrap_err().named("Demo.Pkg").to_string();
        assert_eq!(named, "Start filename for 'Demo.Pkg' with 'demo_pkg'.");
    }

    #[test]
    fn compressed_tags_are_expanded() {
        let tags = parse("demo_pkg-1.0-py2.py3-none-any.whl").unwrap().tags.unwrap();
        assert_eq!(tags.expanded(), BTreeSet::from(["py2-none-any".to_owned(), "py3-none-any".to_owned()]));
        assert_eq!(expand_tags(["py2.py3-none-any"].into_iter()).unwrap(), tags.expanded());
        assert_eq!(expand_tags(["py2-none-any", " py3-none-any "].into_iter()).unwrap(), tags.expanded());
        assert_eq!(expand_tags(["py3-none"].into_iter()), Err(TagFault::Malformed));
    }

    #[test]
    fn what_stands_for_too_many_tags_is_refused_before_it_is_expanded() {
        let parts = |count: usize| vec!["a"; count].join(".");
        let line = |a, b, c| format!("{}-{}-{}", parts(a), parts(b), parts(c));
        let expand = |lines: &[String]| expand_tags(lines.iter().map(String::as_str));
        assert_eq!(expand(&[line(16, 16, 16)]), Ok(BTreeSet::from(["a-a-a".to_owned()])));
        assert_eq!(expand(&[line(17, 16, 16)]), Err(TagFault::TooMany));
        assert_eq!(expand(&[line(16, 16, 16), line(1, 1, 1)]), Err(TagFault::TooMany));
        assert_eq!(expand(&[line(1000, 1000, 1000)]), Err(TagFault::Malformed));
        let fault = parse(&format!("demo_pkg-1.0-{}.whl", line(30, 30, 30))).unwrap_err().to_string();
        assert!(fault.contains("too many compatibility tags"), "{fault}");
    }

    proptest! {
        #[test]
        fn no_name_panics(filename in "\\PC{0,60}", version in "\\PC{0,10}") {
            let _ = DistributionName::parse(&filename, "demo", &version);
        }

        #[test]
        fn what_is_accepted_is_a_plain_name(filename in "[ -~]{0,60}") {
            if let Ok(name) = DistributionName::parse(&filename, "demo", "1.0") {
                prop_assert!(!name.text.contains(['/', '\\', ' ', '"', '<', '>', '&']));
            }
        }
    }
}
