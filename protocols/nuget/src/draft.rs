//! Packages that come in through the management API.

use std::io::Read;

use publaryn_core::{ArtifactKind, publish::ReleaseDocument};
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
    let limits = ArchiveLimits::within(file.limits, ArtifactKind::Nupkg);
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
