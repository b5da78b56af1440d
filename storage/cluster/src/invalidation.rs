//! What others may have cached and has changed.

use publaryn_core::PackageId;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::subscribers::Message;

/// Something that others may have cached has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Invalidation {
    /// Anything about a package: its row, releases, tags, rights.
    Package { id: PackageId },
    /// A token was revoked or changed.
    Token,
    /// A session ended.
    Session,
    /// Jobs of a kind are waiting.
    Jobs {
        #[serde(rename = "job")]
        kind: SmolStr,
    },
    /// Instance, organization or policy settings changed.
    Settings,
    /// Messages were lost: everything above may have happened.
    Missed,
}

impl Message for Invalidation {
    const MISSED: Self = Self::Missed;
}
