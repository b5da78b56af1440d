//! What a publish body asks for, once the tarball is out of it: the checks of npm.md §4 that need no bytes.

use publaryn_core::{PackageName, Version, Visibility};
use serde_json::{Map, Value};

use crate::{
    error::NpmError,
    name,
    version::{check_tag, parse_version},
};

/// One version to publish.
#[derive(Debug)]
pub(crate) struct Submission {
    pub name: PackageName,
    pub version: Version,
    pub manifest: Map<String, Value>,
    pub tags: Vec<String>,
    pub access: Option<Visibility>,
    pub readme: Option<String>,
    pub readme_filename: Option<String>,
    /// `length` of the tarball as the client counted it, in bytes.
    pub claimed_length: Option<u64>,
    /// The sigstore bundle, as it came.
    pub provenance: Option<String>,
}

impl Submission {
    /// Reads the body of `PUT /P` with attachments.
    ///
    /// # Errors
    /// 400 for the first rule it breaks.
    pub fn parse(body: &mut Map<String, Value>, url_name: &PackageName) -> Result<Self, NpmError> {
        let bad = |message: String| NpmError::bad_request(message);
        let (version_text, mut manifest) = only_version(body)?;
        let tarball = attachments(body)?;
        let expected = url_name.canonical();
        for (what, found) in
            [("name", body.get("name")), ("_id", body.get("_id")), ("manifest name", manifest.get("name"))]
        {
            let is_right = match found {
                None => what == "_id",
                Some(found) => found.as_str() == Some(expected),
            };
            if !is_right {
                return Err(bad(format!("the {what} in the body is not `{expected}`, the package in the address")));
            }
        }
        let Some(version) = parse_version(&version_text) else {
            return Err(bad(format!(
                "`{}` is not a SemVer version",
                version_text.chars().take(128).collect::<String>()
            )));
        };
        if manifest.get("version").and_then(Value::as_str) != Some(version.as_str()) {
            return Err(bad(format!("the version of the manifest is not `{version}`, its key in the body")));
        }
        if tarball.filename != format!("{expected}-{version}.tgz") {
            return Err(bad(format!("the tarball must be attached as `{expected}-{version}.tgz`")));
        }
        let tags = tags(body, version.as_str())?;
        if is_private(&manifest) {
            return Err(bad("this package is marked private in its package.json".into()));
        }
        let access = match body.get("access") {
            None | Some(Value::Null) => None,
            Some(Value::String(word)) if word == "public" => Some(Visibility::Public),
            Some(Value::String(word)) if word == "restricted" || word == "private" => Some(Visibility::Private),
            Some(_) => return Err(bad("access must be public or restricted".into())),
        };
        // Clients put the readme beside the manifests, into them, or both.
        let readme = [body.remove("readme"), manifest.remove("readme")].into_iter().flatten().find_map(|v| match v {
            Value::String(text) if !text.is_empty() && text != NO_README => Some(text),
            _ => None,
        });
        let readme_filename = manifest.remove("readmeFilename").and_then(|v| v.as_str().map(str::to_owned));
        Ok(Self {
            name: url_name.clone(),
            version,
            manifest,
            tags,
            access,
            readme,
            readme_filename: readme_filename.filter(|f| f.len() <= name::MAX_NAME_BYTES),
            claimed_length: tarball.length,
            provenance: tarball.provenance,
        })
    }
}

/// What older clients send for packages without one.
const NO_README: &str = "ERROR: No README data found!";

fn only_version(body: &mut Map<String, Value>) -> Result<(String, Map<String, Value>), NpmError> {
    let one = || NpmError::bad_request("the body must hold exactly one version");
    let Some(Value::Object(versions)) = body.remove("versions") else { return Err(one()) };
    let mut versions = versions.into_iter();
    match (versions.next(), versions.next()) {
        (Some((version, Value::Object(manifest))), None) => Ok((version, manifest)),
        _ => Err(one()),
    }
}

struct Attached {
    filename: String,
    length: Option<u64>,
    provenance: Option<String>,
}

fn attachments(body: &mut Map<String, Value>) -> Result<Attached, NpmError> {
    let bad = |message: &str| NpmError::bad_request(message);
    let Some(Value::Object(attachments)) = body.remove("_attachments") else {
        return Err(bad("the body must hold a tarball"));
    };
    let (mut tarball, mut provenance) = (None, None);
    for (filename, attachment) in attachments {
        if filename.ends_with(".tgz") {
            let length = attachment.get("length").and_then(Value::as_u64);
            if tarball.replace((filename, length)).is_some() {
                return Err(bad("the body holds more than one tarball"));
            }
        } else if filename.ends_with(".sigstore") {
            // Its data is the JSON text itself, not base64.
            let Some(bundle) = attachment.get("data").and_then(Value::as_str) else {
                return Err(bad("the provenance attachment has no data"));
            };
            if provenance.replace(bundle.to_owned()).is_some() {
                return Err(bad("the body holds more than one provenance attachment"));
            }
        } else {
            return Err(bad("the body holds an attachment that is neither a tarball nor provenance"));
        }
    }
    let Some((filename, length)) = tarball else { return Err(bad("the body must hold a tarball")) };
    Ok(Attached { filename, length, provenance })
}

fn tags(body: &Map<String, Value>, version: &str) -> Result<Vec<String>, NpmError> {
    let Some(tags) = body.get("dist-tags").and_then(Value::as_object) else { return Ok(Vec::new()) };
    let mut names = Vec::with_capacity(tags.len());
    for (tag, target) in tags {
        check_tag(tag).map_err(|error| NpmError::bad_request(format!("`{tag}`: {error}")))?;
        if target.as_str() != Some(version) {
            return Err(NpmError::bad_request(format!("the tag `{tag}` does not name the version being published")));
        }
        names.push(tag.clone());
    }
    Ok(names)
}

/// Clients refuse it themselves; `"private": "false"` is a mistake they let through.
fn is_private(manifest: &Map<String, Value>) -> bool {
    manifest.get("private") == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        /// One place of a good body replaced by anything: refused, or still about exactly what the address says.
        #[test]
        fn no_body_publishes_something_else_than_its_address(
            place in prop_oneof![
                "", "/_id", "/name", "/dist-tags", "/dist-tags/latest", "/access", "/versions", "/versions/1.0.0",
                "/versions/1.0.0/name", "/versions/1.0.0/version", "/versions/1.0.0/readme", "/_attachments",
                "/_attachments/@a~1b-1.0.0.tgz", "/_attachments/@a~1b-1.0.0.tgz/length",
            ],
            text in prop_oneof!["\\PC{0,8}", "(@a/b|1\\.0\\.0|public|latest)"],
            shape in 0..6,
        ) {
            let mut body = body();
            let Some(target) = body.pointer_mut(&place) else { return Ok(()) };
            *target = match shape {
                0 => Value::Null,
                1 => json!(text),
                2 => json!([text]),
                3 => json!({ text: {} }),
                4 => json!({ "1.0.0": { "name": "@a/b", "version": text } }),
                _ => json!(-1),
            };
            let Value::Object(mut body) = body else { return Ok(()) };
            if let Ok(submission) = Submission::parse(&mut body, &name::parse_name("@a/b").unwrap()) {
                prop_assert_eq!(submission.name.canonical(), "@a/b");
                prop_assert_eq!(submission.manifest["name"].as_str(), Some("@a/b"));
                prop_assert_eq!(submission.manifest["version"].as_str(), Some(submission.version.as_str()));
                prop_assert!(submission.tags.iter().all(|tag| check_tag(tag).is_ok()));
            }
        }
    }

    fn body() -> Value {
        json!({
            "_id": "@a/b", "name": "@a/b", "description": "d", "dist-tags": {"latest": "1.0.0"}, "access": null,
            "versions": {"1.0.0": {"name": "@a/b", "version": "1.0.0", "readme": "inner", "readmeFilename": "README.md"}},
            "_attachments": {"@a/b-1.0.0.tgz": {"content_type": "x", "data": "", "length": 3}},
        })
    }

    fn parse(body: Value) -> Result<Submission, NpmError> {
        Submission::parse(&mut body.as_object().unwrap().clone(), &name::parse_name("@a/b").unwrap())
    }

    #[test]
    fn an_ordinary_body_is_understood() {
        let submission = parse(body()).unwrap();
        assert_eq!(submission.version.as_str(), "1.0.0");
        assert_eq!(submission.tags, ["latest"]);
        assert_eq!(submission.readme.as_deref(), Some("inner"));
        assert_eq!(submission.readme_filename.as_deref(), Some("README.md"));
        assert_eq!((submission.claimed_length, submission.access), (Some(3), None));
        assert!(!submission.manifest.contains_key("readme"));
    }

    #[test]
    fn every_broken_rule_is_a_400() {
        type Break = (&'static str, fn(&mut Value));
        let broken: &[Break] = &[
            ("two versions", |b| b["versions"]["2.0.0"] = json!({})),
            ("no version", |b| b["versions"] = json!({})),
            ("versions are a list", |b| b["versions"] = json!([])),
            ("no attachment", |b| b["_attachments"] = json!({})),
            ("two tarballs", |b| b["_attachments"]["x.tgz"] = json!({})),
            ("strange attachment", |b| b["_attachments"]["x.exe"] = json!({})),
            ("file name of another version", |b| b["_attachments"] = json!({"@a/b-2.0.0.tgz": {}})),
            ("file name without scope", |b| b["_attachments"] = json!({"b-1.0.0.tgz": {}})),
            ("other name", |b| b["name"] = json!("c")),
            ("no name", |b| drop(b.as_object_mut().unwrap().remove("name"))),
            ("other id", |b| b["_id"] = json!("c")),
            ("other manifest name", |b| b["versions"]["1.0.0"]["name"] = json!("c")),
            ("other manifest version", |b| b["versions"]["1.0.0"]["version"] = json!("1.0.1")),
            ("loose version", |b| {
                b["versions"] = json!({"v1.0.0": {"name": "@a/b", "version": "v1.0.0"}});
                b["dist-tags"] = json!({});
            }),
            ("tag of another version", |b| b["dist-tags"]["x1"] = json!("2.0.0")),
            ("tag that is a range", |b| b["dist-tags"] = json!({"1.x": "1.0.0"})),
            ("private", |b| b["versions"]["1.0.0"]["private"] = json!(true)),
            ("strange access", |b| b["access"] = json!("everyone")),
        ];
        for (name, break_it) in broken {
            let mut body = body();
            break_it(&mut body);
            let error = parse(body).expect_err(name);
            assert_eq!(error.status(), 400, "{name}: {error:?}");
        }
    }
}
