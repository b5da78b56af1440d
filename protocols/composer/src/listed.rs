//! The names of what is here. What anonymous callers are told is kept: clients ask for it with every run.

use std::sync::Arc;

use publaryn_core::{Ecosystem, RegistryError};
use publaryn_registry::OfPublicList;

use crate::{call::Call, name::vendor};

/// What is kept of lists; cheap to clone.
#[derive(Clone)]
pub(crate) struct Listed(Arc<Kept>);

struct Kept {
    public: OfPublicList<Arc<Names>>,
    /// Whether there is something that can be read but is in no list; the same for all callers.
    has_unlisted: OfPublicList<bool>,
}

/// Names that are listed for somebody, sorted.
pub(crate) struct Names {
    pub packages: Vec<String>,
    pub vendors: Vec<String>,
}

impl Default for Listed {
    fn default() -> Self {
        let public = OfPublicList::new(Ecosystem::Composer);
        Self(Arc::new(Kept { public, has_unlisted: OfPublicList::new(Ecosystem::Composer) }))
    }
}

impl Listed {
    /// What is listed for the caller.
    pub async fn names(&self, call: &Call) -> Result<Arc<Names>, RegistryError> {
        let names = async {
            let listed = call.registry.listed_names(&call.who, Ecosystem::Composer).await?;
            Ok(Arc::new(Names::of(listed.into_iter().map(|name| name.normalized_name).collect())))
        };
        if call.who.is_anonymous() { self.0.public.get(&call.registry, names).await } else { names.await }
    }

    pub async fn has_unlisted(&self, call: &Call) -> Result<bool, RegistryError> {
        self.0.has_unlisted.get(&call.registry, call.registry.has_unlisted(Ecosystem::Composer)).await
    }
}

impl Names {
    fn of(packages: Vec<String>) -> Self {
        let mut vendors: Vec<String> = packages.iter().map(|name| vendor(name).to_owned()).collect();
        vendors.sort_unstable();
        vendors.dedup();
        Self { packages, vendors }
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn vendors_are_named_once() {
        let names = Names::of(["a-b/x", "a/x", "a/y", "b/x"].map(str::to_owned).to_vec());
        assert_eq!(names.vendors, ["a", "a-b", "b"]);
    }
}
