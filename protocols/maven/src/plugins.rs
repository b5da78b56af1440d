//! The prefixes by which plugins are called: `gizmo` of `mvn gizmo:help` (maven.md §3).
//!
//! They come from the descriptor in the main jar of a version that is packaged as a plugin, whichever of jar and POM
//! comes first, and from what clients upload for a group.

use std::collections::BTreeMap;

use http::StatusCode;
use publaryn_core::Ecosystem;
use publaryn_registry::PluginName;
use serde_json::{Value, json};

use crate::{
    archive::Archive,
    call::Call,
    error::MavenError,
    file::FileName,
    metadata::{UploadedPlugin, version_key},
    name::Coordinates,
    packaging,
    path::GavFile,
    pom::PluginDescriptor,
    put::Content,
};

const PACKAGING: &str = "maven-plugin";

/// What is kept with a file: what the POM needs to know of a jar that came before it.
pub(crate) fn document(name: &FileName, content: &Content) -> Value {
    match content {
        Content::Archive(Archive { plugin: Some(plugin), .. }) if name.is_main() => json!({ "plugin": plugin }),
        _ => json!({}),
    }
}

/// Names the plugin of a version once its jar and its POM are there. Nobody is told of it before one of its versions
/// is served.
pub(crate) async fn name(call: &Call, file: &GavFile, content: &Content) -> Result<(), MavenError> {
    let package = file.coordinates.package_name();
    let key = version_key(&file.version);
    let plugin = match content {
        Content::Archive(Archive { plugin: Some(plugin), .. }) if file.name.is_main() => {
            let known = call.registry.staged_files(Ecosystem::Maven, &package, &key).await?;
            let is_plugin = known.document.as_ref().and_then(packaging::of_document) == Some(PACKAGING);
            is_plugin.then(|| plugin.clone())
        }
        Content::Pom(pom) if pom.packaging == PACKAGING => {
            let files = call.registry.file_documents(Ecosystem::Maven, &package, &key).await?;
            files.into_iter().find_map(|(name, document)| {
                let name = FileName::parse(&name, &file.coordinates.artifact, &file.version)?;
                let plugin = name.is_main().then(|| document.get("plugin").cloned())??;
                serde_json::from_value::<PluginDescriptor>(plugin).ok()
            })
        }
        _ => None,
    };
    if let Some(PluginDescriptor { prefix, name: title }) = plugin {
        let names = [PluginName { prefix, title }];
        call.registry.name_plugin(&call.who, Ecosystem::Maven, &package, &names).await?;
    }
    Ok(())
}

/// Takes the names from a group's document, of plugins that the caller may publish.
pub(crate) async fn name_uploaded(call: &Call, group: &str, uploaded: Vec<UploadedPlugin>) -> Result<(), MavenError> {
    let mut by_artifact: BTreeMap<String, Vec<PluginName>> = BTreeMap::new();
    for UploadedPlugin { artifact, prefix, name } in uploaded {
        by_artifact.entry(artifact).or_default().push(PluginName { prefix, title: name });
    }
    let mut is_any = false;
    for (artifact, names) in by_artifact {
        let Ok(coordinates) = Coordinates::new(group, &artifact) else { continue };
        let package = coordinates.package_name();
        is_any |= call.registry.name_plugin(&call.who, Ecosystem::Maven, &package, &names).await?;
    }
    // The list is merged from what others have, so only all of it can be refused.
    if is_any {
        return Ok(());
    }
    Err(MavenError::refused(StatusCode::FORBIDDEN, format!("not allowed to publish to group {group}")))
}
