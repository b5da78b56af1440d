//! The seam between an ecosystem and the rest of the server.

use axum::{Router, response::Response};
use http::{HeaderMap, HeaderValue, Method, header};
use publaryn_core::{ArtifactKind, Ecosystem, PackageName, RegistryError, Version};
use publaryn_registry::{Inspector, Limits, Registry, control::Described};
use publaryn_scan::{ArchiveError, Scanner};
use serde_json::Value;

use crate::Makeup;

/// One ecosystem: its routes, its names, its errors, its scanners.
///
/// Adding an ecosystem costs one folder with an implementation of this trait and one line in
/// `runtime/api/src/protocols.rs` (docs/adding-an-ecosystem.md).
pub trait Adapter: Send + Sync + 'static {
    fn ecosystem(&self) -> Ecosystem;

    /// Where the adapter answers. The mount path is part of the protocol (`/npm`, OCI's `/v2`).
    fn mounts(&self) -> Vec<Mount>;

    /// The only door for names of this ecosystem.
    fn parse_name(&self, raw: &str) -> Result<PackageName, RegistryError>;

    /// The only door for versions of this ecosystem.
    fn parse_version(&self, raw: &str) -> Result<Version, RegistryError>;

    /// An error in the ecosystem's own form. Shared layers use it too (413, 503, panics, unknown routes).
    fn render_error(&self, error: &RegistryError, request: &RequestFacts) -> Response;

    /// The credential that a request is counted against (control-plane.md §1.6).
    fn credential<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        headers.get(header::AUTHORIZATION)
    }

    /// Whether a request counts against the limit on attempts to log in.
    fn login(&self, _request: &RequestFacts, _headers: &HeaderMap) -> Login {
        Login::No
    }

    /// What looks at this ecosystem's artifacts; runs in the scanner processes.
    fn scanners(&self) -> Vec<Box<dyn Scanner>>;

    /// Reads out of a file that came in through the management API what this ecosystem's clients need to know,
    /// and refuses one that they would not find or not take. `None` for kinds of files that say nothing; a release
    /// of which no file says anything cannot be published there.
    fn describe(&self, _file: &DraftFile<'_>) -> Option<Inspector<Described>> {
        None
    }

    /// What a release says in its ecosystem's own terms, for the management API: the `details` that control-plane.md §2
    /// (EcoMeta) has for this ecosystem, out of the release's document. It may say more.
    fn details(&self, release: &KeptRelease<'_>) -> Value {
        release.document.clone()
    }

    /// What a release is made of, out of the same document.
    fn makeup(&self, _release: &KeptRelease<'_>) -> Makeup {
        Makeup::default()
    }

    /// Releases of other packages whose file would be called exactly as this release's is, as canonical name and
    /// version, for ecosystems whose clients ask for a file by its name alone.
    fn namesakes(&self, _name: &PackageName, _version: &Version) -> Vec<(String, Version)> {
        Vec::new()
    }

    /// What this ecosystem has against a tag that is legal elsewhere.
    fn tag_problem(&self, _tag: &str) -> Option<&'static str> {
        None
    }
}

/// How a request counts against the limit on attempts to log in, which goes by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    No,
    /// It does, instead of the limit on other requests.
    Counts,
    /// It does if it is answered 401, besides the limit on other requests.
    CountsIfRefused,
}

/// A file for a release that is put together through the management API.
#[derive(Debug, Clone, Copy)]
pub struct DraftFile<'a> {
    pub name: &'a PackageName,
    pub version: &'a Version,
    pub kind: ArtifactKind,
    /// 1 to 255 bytes without slashes and control characters.
    pub filename: &'a str,
    /// What the operator allows archives.
    pub limits: &'a Limits,
    /// The registry's own address, without trailing slash.
    pub base_url: &'a str,
}

impl DraftFile<'_> {
    /// An inspector that refuses the file unless it is called `wanted`: clients ask for it by that name.
    pub fn must_be_called(&self, wanted: &str) -> Option<Inspector<Described>> {
        if self.filename == wanted {
            return None;
        }
        let message = format!("the file must be called `{wanted}`, as its clients ask for it");
        Some(Box::new(move |_| Err(ArchiveError::refuse("META-FILENAME", None, message))))
    }
}

/// A release with the document that its adapter made of it, which is not empty.
#[derive(Debug, Clone)]
pub struct KeptRelease<'a> {
    /// As published.
    pub name: &'a str,
    pub version: &'a str,
    pub is_yanked: bool,
    pub document: &'a Value,
    /// Those that the caller may know of, by name.
    pub files: Vec<KeptFile<'a>>,
    /// The registry's own address, without trailing slash.
    pub base_url: &'a str,
}

/// A file of a [`KeptRelease`]; digests in lower-case hex.
#[derive(Debug, Clone, Copy)]
pub struct KeptFile<'a> {
    pub kind: ArtifactKind,
    pub filename: &'a str,
    pub sha1: Option<&'a str>,
    pub sha512: &'a str,
}

/// Routes under one path prefix of the server.
pub struct Mount {
    /// Starts with `/`, has no trailing slash.
    pub path: &'static str,
    pub router: Router<Registry>,
}

/// What an error form may depend on.
#[derive(Debug, Clone)]
pub struct RequestFacts {
    pub method: Method,
    /// The undecoded path, mount included.
    pub path: String,
}

impl RequestFacts {
    pub fn of(method: &Method, uri: &http::Uri) -> Self {
        Self { method: method.clone(), path: uri.path().to_owned() }
    }
    /// Anything but GET and HEAD.
    pub fn is_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }
}
