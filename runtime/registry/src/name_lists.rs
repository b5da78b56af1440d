//! The list of an ecosystem's names as a document. It is long and asked for often, and compressing it is most of the
//! work: it is made once for everybody who is to see the same names.

use std::sync::Arc;

use publaryn_core::{Ecosystem, Principal, RegistryError, Timestamp};
use publaryn_metadata::packages::ListedName;
use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;

use crate::{OfPublicList, Registry, Rendered, rendered::Documents};

/// Bytes of lists kept as documents: a hundred thousand names take about 5 MB in each form.
const KEPT_BYTES: u64 = 64 << 20;

/// Names with what they are told apart by.
struct NameList {
    names: Vec<ListedName>,
    digest: [u8; 32],
}

impl NameList {
    fn of(names: Vec<ListedName>) -> Self {
        let mut hash = Sha256::new();
        for text in names.iter().flat_map(|listed| [&listed.name, &listed.normalized_name]) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Self { digest: hash.finalize().into(), names }
    }
}

/// What a list is kept under. The names themselves make a stale hit impossible.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    names: [u8; 32],
    flavour: &'static str,
    base: SmolStr,
}

/// See the module.
pub(crate) struct NameLists {
    documents: Documents<Key>,
    /// What anonymous callers see, by ecosystem.
    public: Vec<OfPublicList<Arc<NameList>>>,
}

impl NameLists {
    pub(crate) fn new() -> Self {
        let public = Ecosystem::ALL.iter().map(|ecosystem| OfPublicList::new(*ecosystem)).collect();
        Self { documents: Documents::new(KEPT_BYTES), public }
    }
}

impl Registry {
    /// [`Self::listed_names`] as a document of one flavour. `render` runs on a blocking thread.
    pub async fn rendered_names(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        flavour: &'static str,
        base: &str,
        content_type: &'static str,
        render: impl FnOnce(&[ListedName]) -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<Rendered>, RegistryError> {
        let list = self.name_list(who, ecosystem).await?;
        let key = Key { names: list.digest, flavour, base: SmolStr::new(base) };
        let make = off_thread(move || {
            // A list has no revision of its own; its content is its validator, and no date is claimed.
            Arc::new(Rendered::new(content_type, render(&list.names), 0, Timestamp::from_micros(0)))
        });
        self.0.name_lists.documents.get_or_render(key, make).await
    }

    async fn name_list(&self, who: &Principal, ecosystem: Ecosystem) -> Result<Arc<NameList>, RegistryError> {
        let ask = async {
            let names = self.listed_names(who, ecosystem).await?;
            off_thread(move || Arc::new(NameList::of(names))).await
        };
        match who.is_anonymous() {
            true => self.0.name_lists.public[ecosystem as usize].get(self, ask).await,
            false => ask.await,
        }
    }
}

/// Hashing, rendering and compressing a long list takes a while: not on the threads that serve requests.
async fn off_thread<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(make).await.map_err(RegistryError::internal)
}
