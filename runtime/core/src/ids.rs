//! Typed identifiers. All are UUIDv7, so they sort by creation and index well.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "sql", derive(sqlx::Type), sqlx(transparent))]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identifier, later than every earlier one of this process.
            #[allow(clippy::new_without_default, reason = "an id is made on purpose, never defaulted")]
            pub fn new() -> Self { Self(Uuid::now_v7()) }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { self.0.fmt(f) }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self { id.0 }
        }

        impl From<&$name> for Uuid {
            fn from(id: &$name) -> Self { id.0 }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> { text.parse().map(Self) }
        }
    )+ };
}

ids! {
    UserId, OrgId, TeamId, SessionId, TokenId, RepositoryId, PackageId, ReleaseId, ArtifactId,
    FindingId, JobId, LeaseId, AuditId, ClaimId, UploadId, InvitationId, TrustedPublisherId,
}
