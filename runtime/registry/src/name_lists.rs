//! The list of an ecosystem's names as a document. It is long and asked for often, and compressing it is most of the
//! work: it is made once for everybody who is to see the same names.

use std::sync::Arc;

use publaryn_core::{Ecosystem, Principal, RegistryError, Timestamp};
use publaryn_metadata::{Db, Engine, packages::ListedName};
use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;

use crate::{Registry, Rendered, kept::Kept, rendered::Documents};

/// Bytes of lists kept as documents: a hundred thousand names take about 5 MB in each form.
const KEPT_BYTES: u64 = 64 << 20;

/// Room for a list of each.
const ECOSYSTEMS: u64 = 64;

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
    /// What anonymous callers see, where this process is the only writer, as with heads.
    public: Option<Arc<Kept<Arc<NameList>>>>,
}

impl NameLists {
    pub(crate) fn new(db: &Db) -> Self {
        let public = (db.engine() == Engine::Sqlite).then(|| Arc::new(Kept::new(ECOSYSTEMS)));
        if let Some(hook) = public.clone() {
            db.on_commit(move |notice| notice.packages.iter().for_each(|p| hook.expire(p.ecosystem, WHOLE)));
        }
        Self { documents: Documents::new(KEPT_BYTES), public }
    }

    pub(crate) fn expire_all(&self) {
        if let Some(public) = &self.public {
            public.expire_all();
        }
    }
}

/// The name under which something about a whole ecosystem is kept.
const WHOLE: &str = "";

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
        match &self.0.name_lists.public {
            Some(public) if who.is_anonymous() => public.get(ecosystem, WHOLE, ask).await,
            _ => ask.await,
        }
    }
}

/// Hashing, rendering and compressing a long list takes a while: not on the threads that serve requests.
async fn off_thread<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(make).await.map_err(RegistryError::internal)
}
