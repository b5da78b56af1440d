//! OCI repositories: the blobs they hold, uploads in progress, the graph of manifests
//! (docs/adr/0020-oci-storage.md).
//!
//! Locks are taken in one order everywhere: package, releases, blobs (by digest), links.

mod collect;
mod links;
mod listings;
mod manifests;
mod scans;
mod uploads;

pub use collect::{ExpiredUpload, LinkKey, Looked};
pub use links::{HeldBlob, LinkRow, MountSource};
pub use listings::{ReferrerRow, TagPage};
pub use manifests::{ChildState, ManifestRow, NewManifest, NewReference};
pub use scans::ContentScan;
pub use uploads::UploadRow;

/// A list of texts as the JSON that both engines unpack.
fn json_list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    serde_json::Value::from_iter(items.into_iter().map(|item| item.to_string())).to_string()
}
