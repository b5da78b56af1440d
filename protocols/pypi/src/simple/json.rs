//! Pages in JSON (PEP 691). Keys without a value are left out: `null` makes uv reject the whole page.

use std::fmt;

use publaryn_core::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{API_VERSION, FileEntry, Names, ProjectPage, Yank};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Meta {
    api_version: &'static str,
}

const META: Meta = Meta { api_version: API_VERSION };

pub(super) fn list(names: &Names) -> Vec<u8> {
    #[derive(Serialize)]
    struct Project<'a> {
        name: &'a str,
    }
    #[derive(Serialize)]
    struct List<'a> {
        meta: Meta,
        projects: Vec<Project<'a>>,
    }
    let projects = names.iter().map(|listed| Project { name: &listed.name }).collect();
    write(&List { meta: META, projects })
}

pub(super) fn project(page: &ProjectPage) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Status<'a> {
        status: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Project<'a> {
        meta: Meta,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        project_status: Option<Status<'a>>,
        versions: &'a [String],
        files: Vec<File<'a>>,
    }
    let project_status = page.status.as_ref();
    write(&Project {
        meta: META,
        name: &page.name,
        project_status: project_status.map(|(status, reason)| Status { status, reason: reason.as_deref() }),
        versions: &page.versions,
        files: page.files.iter().map(File).collect(),
    })
}

struct File<'a>(&'a FileEntry);

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let file = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("filename", &file.filename)?;
        map.serialize_entry("url", &file.url)?;
        // uv compares the first hash to see whether a file is there already.
        map.serialize_entry("hashes", &Sha256(&file.sha256))?;
        map.serialize_entry("size", &file.size_bytes)?;
        map.serialize_entry("upload-time", &Instant(file.uploaded_at).to_string())?;
        if let Some(python) = &file.requires_python {
            map.serialize_entry("requires-python", python)?;
        }
        match &file.yanked {
            None => map.serialize_entry("yanked", &false)?,
            Some(Yank(None)) => map.serialize_entry("yanked", &true)?,
            Some(Yank(Some(reason))) => map.serialize_entry("yanked", reason)?,
        }
        // The second is the name under which PEP 658 was first deployed.
        for key in ["core-metadata", "dist-info-metadata"] {
            match &file.core_metadata {
                Some(sha256) => map.serialize_entry(key, &Sha256(sha256))?,
                None => map.serialize_entry(key, &false)?,
            }
        }
        if let Some(provenance) = &file.provenance {
            map.serialize_entry("provenance", provenance)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Hash<'a> {
    sha256: &'a str,
}

struct Sha256<'a>(&'a str);

impl Serialize for Sha256<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Hash { sha256: self.0 }.serialize(serializer)
    }
}

/// `2026-01-02T03:04:05.678901Z`: always six digits, as PEP 700 asks.
pub(super) struct Instant(pub(super) Timestamp);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.to_seconds_string();
        write!(f, "{}.{:06}Z", seconds.trim_end_matches('Z'), self.0.as_micros().rem_euclid(1_000_000))
    }
}

fn write(page: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(page).expect("strings, numbers and booleans are always JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::simple::page::ProjectPage;

    fn file(filename: &str) -> FileEntry {
        FileEntry {
            filename: filename.to_owned(),
            url: format!("https://e/pypi/files/1/{filename}"),
            sha256: "ab".into(),
            size_bytes: 12,
            uploaded_at: Timestamp::from_micros(1_767_323_045_000_901),
            requires_python: None,
            yanked: None,
            core_metadata: None,
            provenance: None,
        }
    }

    #[test]
    fn absent_values_are_left_out() {
        let page = ProjectPage {
            name: "demo".into(),
            status: None,
            versions: vec!["1.0".into()],
            files: vec![
                file("demo-1.0.tar.gz"),
                FileEntry {
                    requires_python: Some(">=3.8".into()),
                    yanked: Some(Yank(Some("bad".into()))),
                    core_metadata: Some("cd".into()),
                    ..file("demo-1.0-py3-none-any.whl")
                },
                FileEntry { yanked: Some(Yank(None)), ..file("x") },
            ],
        };
        let text = String::from_utf8(project(&page)).unwrap();
        assert!(!text.contains("null"), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["meta"], json!({ "api-version": "1.4" }));
        assert_eq!(
            value["files"][0],
            json!({
                "filename": "demo-1.0.tar.gz", "url": "https://e/pypi/files/1/demo-1.0.tar.gz",
                "hashes": { "sha256": "ab" }, "size": 12, "upload-time": "2026-01-02T03:04:05.000901Z",
                "yanked": false, "core-metadata": false, "dist-info-metadata": false,
            })
        );
        let wheel = &value["files"][1];
        assert_eq!(wheel["core-metadata"], json!({ "sha256": "cd" }));
        assert_eq!(wheel["core-metadata"], wheel["dist-info-metadata"]);
        assert_eq!((&wheel["yanked"], &value["files"][2]["yanked"]), (&json!("bad"), &json!(true)));
        assert!(value.get("project-status").is_none());
        let archived = ProjectPage { status: Some(("deprecated", Some("use x".into()))), ..page };
        let value: Value = serde_json::from_slice(&project(&archived)).unwrap();
        assert_eq!(value["project-status"], json!({ "status": "deprecated", "reason": "use x" }));
    }
}
