//! Turning columns into domain values.

use publaryn_core::{OrgId, UserId, access::Owner};
use uuid::Uuid;

/// The owner of a row; the schema's CHECK keeps exactly one of the two set.
pub(crate) fn owner_of(user: Option<UserId>, org: Option<OrgId>) -> Owner {
    match (user, org) {
        (Some(user), _) => Owner::User(user),
        (None, Some(org)) => Owner::Org(org),
        (None, None) => unreachable!("the schema's CHECK keeps one owner set"),
    }
}

/// Ids as a JSON list: the `$1` of [`for_packages!`].
pub(crate) fn id_list(ids: impl IntoIterator<Item = impl Into<Uuid>>) -> String {
    serde_json::json!(ids.into_iter().map(|id| id.into().simple().to_string()).collect::<Vec<_>>()).to_string()
}
