//! Zips that come in through the management API.

use std::io::Read;

use publaryn_core::publish::ReleaseDocument;
use publaryn_protocol::DraftFile;
use publaryn_registry::{Inspector, control::Described};
use publaryn_scan::ArchiveError;

use crate::{
    archive::{ArchiveLimits, RULE, read_zip},
    release::document,
    version::Normalized,
};

pub(crate) fn describe(file: &DraftFile<'_>) -> Inspector<Described> {
    let (name, version) = (file.name.canonical().to_owned(), file.version.as_str().to_owned());
    let limits = ArchiveLimits::within(file.limits);
    Box::new(move |input: &mut dyn Read| {
        let zip = read_zip(input, limits)?;
        let refuse = |message: &str| ArchiveError::refuse(RULE, Some("composer.json"), message.to_owned());
        if zip.manifest.name != name {
            return Err(refuse("composer.json is not that of this package"));
        }
        let version = Normalized::parse(&version).map_err(|fault| refuse(&fault.of(&version)))?;
        let packed = zip.manifest.version.as_deref().map(Normalized::parse).transpose();
        match packed {
            Ok(packed) if packed.as_ref().is_none_or(|packed| packed.unique == version.unique) => {}
            _ => return Err(refuse("the version in composer.json is not that of this release")),
        }
        let metadata = document(&zip.manifest, &version, None);
        Ok(Some(ReleaseDocument { metadata, facts: zip.manifest.facts(zip.readme) }.into()))
    })
}
