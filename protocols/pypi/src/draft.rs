//! Distribution files that come in through the management API, held to the same rules as uploads of the tools.

use std::io::Read;

use publaryn_core::ArtifactKind;
use publaryn_protocol::DraftFile;
use publaryn_registry::{
    Inspector,
    control::{Described, Description},
};
use publaryn_scan::ArchiveError;

use crate::{
    archive::ArchiveLimits,
    claims::Claims,
    document::{FileDocument, metadata_companion, release_document},
    filename::{DistributionName, Format},
    inspect::inspect,
};

pub(crate) fn describe(file: &DraftFile<'_>) -> Option<Inspector<Described>> {
    if !matches!(file.kind, ArtifactKind::Wheel | ArtifactKind::Sdist) {
        return None;
    }
    let (project, version) = (file.name.canonical().to_owned(), file.version.as_str().to_owned());
    let refuse = |message: String| ArchiveError::refuse("META-FILENAME", None, message);
    let named = match DistributionName::parse(file.filename, &project, &version) {
        Ok(named) if named.format.kind() == file.kind => named,
        Ok(_) => {
            let fault = refuse(format!("the file is no {} by its name", file.kind));
            return Some(Box::new(move |_| Err(fault)));
        }
        Err(fault) => {
            let fault = refuse(fault.to_string());
            return Some(Box::new(move |_| Err(fault)));
        }
    };
    let limits = ArchiveLimits::within(file.limits, file.kind);
    Some(Box::new(move |input: &mut dyn Read| {
        let inspected = inspect(input, named.format, limits)?;
        let content = inspected.content?;
        content.check_identity(&named, &project, &version)?;
        let document = FileDocument::new(&content, &named, inspected.blake2b_256, &Claims::default());
        let document = serde_json::to_value(&document)
            .map_err(|error| ArchiveError::refuse("META-DOCUMENT", None, error.to_string()))?;
        let is_wheel = named.format == Format::Wheel;
        Ok(Some(Description {
            release: release_document(&content.metadata, &project),
            file: Some(document),
            companions: if is_wheel { vec![metadata_companion(&content)] } else { Vec::new() },
            is_only_of_its_kind: !is_wheel,
        }))
    }))
}
