//! What mvn uploads of a version.

use reqwest::Method;

use super::{Upload, zip};
use crate::Error;

/// The POM and the jar of a version; `group` and `artifact` have no dots.
pub(crate) fn maven_uploads(group: &str, artifact: &str, version: &str) -> Result<[Upload; 2], Error> {
    let pom = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion><groupId>{group}</groupId>\
         <artifactId>{artifact}</artifactId><version>{version}</version><description>A library to be measured</description>\
         </project>"
    );
    let jar = zip(&[
        ("META-INF/MANIFEST.MF".to_owned(), b"Manifest-Version: 1.0\n".to_vec()),
        ("version.txt".to_owned(), version.as_bytes().to_vec()),
    ])?;
    let upload = |ending: &str, body: Vec<u8>| Upload {
        method: Method::PUT,
        path: format!("/{group}/{artifact}/{version}/{artifact}-{version}.{ending}"),
        content_type: "application/octet-stream",
        body: body.into(),
    };
    Ok([upload("pom", pom.into_bytes()), upload("jar", jar)])
}
