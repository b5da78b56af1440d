//! Gems that come in through the management API.

use std::io::Read;

use publaryn_core::publish::ReleaseDocument;
use publaryn_protocol::DraftFile;
use publaryn_registry::{Inspector, control::Described};
use publaryn_scan::ArchiveError;

use crate::{
    archive::{ArchiveLimits, read_gem},
    version,
};

pub(crate) fn describe(file: &DraftFile<'_>) -> Inspector<Described> {
    let (name, key) = (file.name.display().to_owned(), file.version.unique_key().to_owned());
    let filename = file.filename.to_owned();
    let limits = ArchiveLimits::within(file.limits);
    Box::new(move |input: &mut dyn Read| {
        let spec = read_gem(input, limits)?.packed.spec;
        let refuse = |message: String| Err(ArchiveError::refuse("META-GEM", Some("metadata.gz"), message));
        let packed = version::version_of(&spec.version, &spec.platform);
        if spec.name != name || packed.is_none_or(|packed| packed.unique_key() != key) {
            return refuse(format!("the gem is {}, not that of this release", spec.full_name()));
        }
        // Clients ask for it by the name that its specification gives it.
        let wanted = format!("{}.gem", spec.full_name());
        if filename != wanted {
            return refuse(format!("the file must be called `{wanted}`, as its clients ask for it"));
        }
        let metadata =
            serde_json::to_value(&spec).map_err(|error| ArchiveError::refuse("META-GEM", None, error.to_string()))?;
        Ok(Some(ReleaseDocument { metadata, facts: spec.facts() }.into()))
    })
}
