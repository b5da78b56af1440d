//! Symbol files for debuggers, by name and id: `/symbols/{name}.pdb/{id}/{name}.pdb`.
//!
//! Source: <https://github.com/dotnet/symstore/blob/main/docs/specs/SSQP_Key_Conventions.md>.

use publaryn_core::{Ecosystem, RegistryError};
use serde::Deserialize;

use crate::{
    archive::{MAX_PDB_BYTES, Pdb},
    call::{Answer, Call},
    flat::entry,
};

/// Of the document of a symbol package.
#[derive(Deserialize)]
struct Symbols {
    pdbs: Vec<Pdb>,
}

pub(crate) async fn lookup(call: &Call, key: &str) -> Answer {
    call.require_reader()?;
    let found = call.registry.artifact_by_key(&call.who, Ecosystem::Nuget, key).await;
    let (artifact, metadata) = call.or_miss(found).await?;
    let symbols: Symbols =
        serde_json::from_str(&metadata).map_err(|error| RegistryError::unavailable("the document", error))?;
    let Some(pdb) = symbols.pdbs.into_iter().find(|pdb| pdb.key == key) else { return Err(call.miss().await) };
    match entry(call, &artifact, pdb.place, MAX_PDB_BYTES).await? {
        Some(bytes) => Ok(call.document("application/octet-stream", bytes)),
        None => Err(call.miss().await),
    }
}
