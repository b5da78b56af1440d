//! Crates that come in through the management API: no publish request tells of them, so the index line is made from
//! the manifest inside, under the same rules.

use std::io::Read;

use publaryn_core::publish::ReleaseDocument;
use publaryn_protocol::DraftFile;
use publaryn_registry::{Inspector, control::Described};
use publaryn_scan::ArchiveError;

use crate::{
    archive::{ArchiveLimits, read_crate},
    download::archive_filename,
    own_index::OwnIndexes,
    publish_json::NewCrate,
};

pub(crate) fn describe(file: &DraftFile<'_>) -> Inspector<Described> {
    let (name, version) = (file.name.display().to_owned(), file.version.as_str().to_owned());
    if let Some(refusal) = file.must_be_called(&archive_filename(&name, &version)) {
        return refusal;
    }
    let limits = ArchiveLimits::within(file.limits);
    let bases = vec![file.base_url.to_owned()];
    Box::new(move |input: &mut dyn Read| {
        let archive = read_crate(input, &name, &version, limits)?;
        let refuse = |message: String| ArchiveError::refuse("META-CRATE", Some("Cargo.toml"), message);
        let own = OwnIndexes::new(bases.iter().map(String::as_str));
        let checked = NewCrate::of_manifest(&archive.manifest, &own).and_then(|new| new.check(&own, bases.clone()));
        let mut checked = checked.map_err(|error| refuse(error.to_string()))?;
        checked.adopt(archive);
        let facts = checked.facts();
        let metadata = serde_json::to_value(&checked.release).map_err(|error| refuse(error.to_string()))?;
        Ok(Some(ReleaseDocument { metadata, facts }.into()))
    })
}
