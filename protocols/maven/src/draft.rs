//! Files that come in through the management API.

use std::io::Read;

use publaryn_core::ArtifactKind;
use publaryn_protocol::DraftFile;
use publaryn_registry::{Inspector, control::Described};
use publaryn_scan::{ArchiveError, ErrorKind};

use crate::{
    archive, document,
    file::FileName,
    name::Coordinates,
    pom::{MAX_POM_BYTES, Pom},
};

/// What the POM says of the release; other files only have to be called as clients ask for them.
pub(crate) fn describe(file: &DraftFile<'_>) -> Option<Inspector<Described>> {
    let (name, version) = (file.name.display().to_owned(), file.version.to_string());
    let artifact = name.split_once(':').map_or("", |(_, artifact)| artifact);
    let stem = format!("{artifact}-{version}");
    let parsed = FileName::parse(file.filename, artifact, &version);
    if file.kind != ArtifactKind::Pom {
        let fits = file.filename.strip_prefix(&stem).is_some_and(|rest| rest.starts_with(['.', '-']));
        let is_fine = fits || parsed.is_some();
        return if is_fine { None } else { file.must_be_called(&format!("{stem}[-classifier].extension")) };
    }
    match parsed.filter(FileName::is_pom) {
        Some(parsed) => Some(Box::new(move |input| read_pom(input, &name, parsed.prefix(), &version))),
        None => file.must_be_called(&format!("{stem}.pom")),
    }
}

fn read_pom(input: &mut dyn Read, name: &str, prefix: &str, version: &str) -> Result<Described, ArchiveError> {
    let refuse = |message: String| ArchiveError::new(ErrorKind::Malformed, archive::RULE, None, message);
    let mut bytes = Vec::new();
    input.take(MAX_POM_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_POM_BYTES {
        return Err(refuse(format!("the POM is larger than {MAX_POM_BYTES} bytes")));
    }
    let (group, artifact) = name.split_once(':').unwrap_or_default();
    let coordinates = Coordinates::new(group, artifact).map_err(|fault| refuse(fault.to_string()))?;
    let pom = Pom::parse(&bytes).map_err(|fault| refuse(fault.to_string()))?;
    pom.check_identity(&coordinates, prefix, version).map_err(|fault| refuse(fault.to_string()))?;
    Ok(Some(document::release_document(&pom, &coordinates, version).into()))
}
