//! NuGet packages.

use reqwest::Method;

use super::{Upload, zip};
use crate::Error;

/// A package with one library and one dependency.
pub(crate) fn nupkg_upload(id: &str, version: &str) -> Result<Upload, Error> {
    let nuspec = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<package xmlns=\"http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd\">\
         <metadata><id>{id}</id><version>{version}</version><authors>Ada Example</authors>\
         <description>A library to be measured</description><projectUrl>https://example.test/library</projectUrl>\
         <license type=\"expression\">MIT</license><tags>bench measured</tags><dependencies>\
         <group targetFramework=\".NETStandard2.0\"><dependency id=\"System.Text.Json\" version=\"8.0.0\" /></group>\
         </dependencies></metadata></package>"
    );
    let files = [
        (format!("{id}.nuspec"), nuspec.into_bytes()),
        (format!("lib/netstandard2.0/{id}.dll"), format!("version {version}").into_bytes()),
    ];
    let path = "/v2/package".to_owned();
    Ok(Upload { method: Method::PUT, path, content_type: "application/octet-stream", body: zip(&files)?.into() })
}
