//! Packages that come in through the management API.

use std::io::Read;

use publaryn_core::{ArtifactKind, Timestamp, publish::ReleaseDocument};
use publaryn_protocol::DraftFile;
use publaryn_registry::{Inspector, control::Described};
use publaryn_scan::ArchiveError;

use crate::{
    archive::{ArchiveLimits, read_package},
    name, release,
    release::Stored,
    version,
};

pub(crate) fn describe(file: &DraftFile<'_>) -> Inspector<Described> {
    let (id, key) = (file.name.canonical().to_owned(), file.version.unique_key().to_owned());
    let wanted = format!("{id}.{key}.nupkg");
    if let Some(refused) = file.must_be_called(&wanted) {
        return refused;
    }
    let limits = ArchiveLimits::within(file.limits, ArtifactKind::Nupkg, Timestamp::now());
    Box::new(move |input: &mut dyn Read| {
        let package = read_package(input, limits)?;
        let nuspec = &package.nuspec;
        let packed = version::parse_version(&nuspec.version).map(|version| version.unique_key().to_owned());
        let refuse = |message: String| Err(ArchiveError::refuse("META-NUSPEC", None, message));
        if name::canonical(&nuspec.id) != id || packed.as_deref() != Some(&key) {
            return refuse(format!("the nuspec is not that of {id} {key}"));
        }
        if nuspec.is_symbols() {
            return refuse("this is a symbol package".into());
        }
        let metadata = Stored::of(&package).to_metadata().map_err(std::io::Error::other)?;
        Ok(Some(ReleaseDocument { metadata, facts: release::facts(&package) }.into()))
    })
}

#[cfg(test)]
mod tests {
    use publaryn_registry::Limits;
    use publaryn_scan::corpus::ZipBuilder;

    use super::*;
    use crate::archive::tests::nuspec;

    #[test]
    fn packages_that_come_in_otherwise_describe_themselves() {
        let name = name::parse_name("ACME.lib").unwrap();
        let zip = ZipBuilder::new().file("a.nuspec", nuspec("<tags>a b</tags>").as_bytes()).finish();
        let limits = Limits {
            artifacts: [(ArtifactKind::Nupkg, 1 << 20)].into(),
            json_body: 1 << 20,
            max_entries: 100,
            max_unpacked: 1 << 20,
            max_ratio: 100,
        };
        let read = |version: &str, filename: &str| {
            let version = version::parse_version(version).unwrap();
            let (kind, limits, name) = (ArtifactKind::Nupkg, &limits, &name);
            let file = DraftFile { name, version: &version, kind, filename, limits, base_url: "http://localhost" };
            describe(&file)(&mut zip.as_slice())
        };
        let described = read("1.0.0.0", "acme.lib.1.0.0.nupkg").unwrap().expect("a document");
        assert_eq!(described.release.metadata["nuspec"]["id"], "Acme.Lib");
        assert_eq!(described.release.facts.keywords, ["a", "b"]);
        let refused = |version, filename| read(version, filename).unwrap_err().message;
        assert!(refused("1.0.1", "acme.lib.1.0.1.nupkg").contains("not that of acme.lib 1.0.1"));
        assert!(refused("1.0.0", "lib.nupkg").contains("must be called `acme.lib.1.0.0.nupkg`"));
    }
}
