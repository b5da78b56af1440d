//! Failures in the words of the distribution specification: `{"errors":[{"code","message","detail"}]}`.

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use publaryn_core::{ContentDigest, DigestProblem, RegistryError, StatusClass, access::Denial};
use publaryn_protocol::{Reason, json_error};
use publaryn_registry::oci::{ManifestRefusal, UploadRefusal};
use serde_json::{Value, json};

/// Why a request of this protocol failed.
#[derive(Debug)]
pub struct OciError {
    status: StatusCode,
    /// One entry per fault; clients print the first.
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What the registry said; logged when it is a failure of ours.
    cause: RegistryError,
}

#[derive(Debug)]
struct Fault {
    code: &'static str,
    message: String,
    detail: Option<Value>,
}

impl OciError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            cause: RegistryError::malformed(message.clone()),
            faults: vec![Fault { code, message, detail: None }],
            headers: Vec::new(),
        }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Says which repository it is about. docker takes an error without any detail for a bare code, and
    /// prints nothing but that.
    pub fn about(mut self, name: Option<&str>) -> Self {
        for fault in &mut self.faults {
            if let (None, Some(name), "NAME_UNKNOWN" | "MANIFEST_UNKNOWN") = (&fault.detail, name, fault.code) {
                fault.detail = Some(json!({ "name": name }));
            }
        }
        self
    }

    /// The same refusal under another of the protocol's codes.
    pub fn coded(mut self, code: &'static str) -> Self {
        self.faults.iter_mut().for_each(|fault| fault.code = code);
        self
    }

    pub fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "there is nothing at this address")
    }
    pub fn wrong_method(allowed: &'static str) -> Self {
        let message = format!("only {allowed} are allowed here");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message).with(header::ALLOW, allowed)
    }
    pub fn name_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", message)
    }
    /// Missing and hidden repositories alike.
    pub fn name_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry")
    }
    pub fn manifest_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown")
    }
    pub fn manifest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
    }
    pub fn blob_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry")
    }
    pub fn upload_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
    }
    pub fn upload_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    }
    pub fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }
    pub fn digest(problem: DigestProblem) -> Self {
        Self::digest_invalid(problem.to_string())
    }
    pub fn size_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message)
    }
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    /// The blobs and manifests that a manifest names and the repository does not have.
    fn unknown_references(digests: &[ContentDigest]) -> Self {
        let fault = |digest: &ContentDigest| Fault {
            code: "MANIFEST_BLOB_UNKNOWN",
            message: format!("manifest references {digest}, which is unknown to this repository"),
            detail: Some(json!({ "digest": digest })),
        };
        let mut error = Self::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", "unknown references");
        error.faults = digests.iter().map(fault).collect();
        error
    }

    pub fn into_response(self) -> Response {
        let faults: Vec<Value> = self.faults.iter().map(Fault::as_json).collect();
        let mut response = json_error(self.status, &json!({ "errors": faults }), &self.cause);
        if let Some(first) = self.faults.first() {
            let words = RegistryError::malformed(format!("{}: {}", first.code.to_lowercase(), first.message));
            response.extensions_mut().insert(Reason::of(&words));
        }
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl Fault {
    fn as_json(&self) -> Value {
        match &self.detail {
            Some(detail) => json!({ "code": self.code, "message": self.message, "detail": detail }),
            None => json!({ "code": self.code, "message": self.message }),
        }
    }
}

impl From<&RegistryError> for OciError {
    fn from(error: &RegistryError) -> Self {
        let (status, code) = match error {
            RegistryError::Unauthenticated | RegistryError::BadCredential(_) => {
                (StatusCode::UNAUTHORIZED, "UNAUTHORIZED")
            }
            RegistryError::Conflict { code, .. } if *code == CONTENT_STAYS => {
                (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED")
            }
            RegistryError::Invalid { code: "invalid_name", .. } => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            RegistryError::Unsupported(_) => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
            // docker shows these as `denied: …`; it knows no 409 and no 422.
            RegistryError::Conflict { .. }
            | RegistryError::Invalid { .. }
            | RegistryError::NameTaken { .. }
            | RegistryError::VersionExists(_) => (StatusCode::FORBIDDEN, "DENIED"),
            other => match other.class() {
                StatusClass::Forbidden => (StatusCode::FORBIDDEN, "DENIED"),
                StatusClass::NotFound => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
                StatusClass::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
                StatusClass::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
                StatusClass::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
                StatusClass::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
                _ => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
            },
        };
        let message = match error {
            RegistryError::Unauthenticated => "authentication required".to_owned(),
            RegistryError::BadCredential(publaryn_core::error::CredentialProblem::OtpRequired) => {
                "this account has a second factor: use an API token instead of the password".to_owned()
            }
            RegistryError::NotFound => "repository name not known to registry".to_owned(),
            RegistryError::NameTaken { existing: Some(name) } => format!("the name is too close to `{name}`"),
            RegistryError::Denied(Denial::InsufficientPermission(_)) => {
                "requested access to the resource is denied".to_owned()
            }
            other => other.to_string(),
        };
        let shown = Self::new(status, code, message);
        match error.retry_after_seconds() {
            Some(seconds) => shown.with(header::RETRY_AFTER, &seconds.to_string()),
            None => shown,
        }
    }
}

/// The code of `publaryn_registry`'s refusal to delete what is needed or has to stay.
const CONTENT_STAYS: &str = "content_stays";

impl From<RegistryError> for OciError {
    fn from(error: RegistryError) -> Self {
        let shown = Self::from(&error);
        Self { cause: error, ..shown }
    }
}

impl From<ManifestRefusal> for OciError {
    fn from(refusal: ManifestRefusal) -> Self {
        match refusal {
            ManifestRefusal::UnknownReferences(digests) => Self::unknown_references(&digests),
            ManifestRefusal::WrongSize { .. } => Self::manifest_invalid(refusal.to_string()),
            ManifestRefusal::Registry(RegistryError::TooLarge { limit_bytes, .. }) => {
                let message = format!("a manifest may have at most {limit_bytes} bytes");
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", message)
            }
            ManifestRefusal::Registry(error) => error.into(),
        }
    }
}

impl From<UploadRefusal> for OciError {
    fn from(refusal: UploadRefusal) -> Self {
        match refusal {
            UploadRefusal::Unknown => Self::upload_unknown(),
            UploadRefusal::OutOfStep { .. } => {
                Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", refusal.to_string())
            }
            UploadRefusal::WrongDigest => Self::digest_invalid("the uploaded content does not match the digest"),
            UploadRefusal::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", refusal.to_string())
            }
            UploadRefusal::Registry(RegistryError::Malformed(text)) => Self::upload_invalid(text),
            UploadRefusal::Registry(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use publaryn_core::access::Permission;

    use super::*;

    #[test]
    fn registry_errors_have_the_codes_clients_know() {
        let cases = [
            (RegistryError::NotFound, 404, "NAME_UNKNOWN"),
            (RegistryError::Unauthenticated, 401, "UNAUTHORIZED"),
            (RegistryError::Denied(Denial::InsufficientPermission(Permission::Publish)), 403, "DENIED"),
            (RegistryError::conflict("package_archived", "the package is archived"), 403, "DENIED"),
            (RegistryError::conflict(CONTENT_STAYS, "in use"), 405, "UNSUPPORTED"),
            (RegistryError::invalid("reserved_name", "reserved"), 403, "DENIED"),
            (RegistryError::invalid("invalid_name", "bad"), 400, "NAME_INVALID"),
            (RegistryError::unavailable("the database", "gone"), 503, "UNAVAILABLE"),
        ];
        for (error, status, code) in cases {
            let shown = OciError::from(&error);
            assert_eq!((shown.status.as_u16(), shown.faults[0].code), (status, code), "{error:?}");
        }
        assert_eq!(CONTENT_STAYS, publaryn_registry::oci::STAYS);
    }

    #[test]
    fn every_unknown_reference_is_named() {
        let digests: Vec<ContentDigest> =
            (0..3u8).map(|n| ContentDigest::from(publaryn_core::Digest::from_bytes([n; 32]))).collect();
        let error = OciError::from(ManifestRefusal::UnknownReferences(digests.clone()));
        assert_eq!((error.status.as_u16(), error.faults.len()), (400, 3));
        assert_eq!(error.faults[1].as_json()["detail"]["digest"], digests[1].to_string());
    }
}
