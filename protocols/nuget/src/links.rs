//! The addresses of documents, all below one view.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::route::Hive;

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~').remove(b'+');

/// Addresses of one package below `base`.
#[derive(Debug, Clone)]
pub struct Links {
    /// The address of the view.
    pub base: String,
    /// The address of the portal.
    pub portal: String,
    /// The id in lower case.
    pub id: String,
}

impl Links {
    pub fn new(base: &str, portal: &str, id: &str) -> Self {
        Self { base: base.to_owned(), portal: portal.to_owned(), id: id.to_ascii_lowercase() }
    }
    pub fn registration(&self, hive: Hive) -> String {
        format!("{}/v3/{}/{}/index.json", self.base, hive.folder(), self.id)
    }
    pub fn page(&self, hive: Hive, lower: &str, upper: &str) -> String {
        let (lower, upper) = (lower.to_ascii_lowercase(), upper.to_ascii_lowercase());
        format!("{}/v3/{}/{}/page/{lower}/{upper}.json", self.base, hive.folder(), self.id)
    }
    pub fn leaf(&self, hive: Hive, key: &str) -> String {
        format!("{}/v3/{}/{}/{key}.json", self.base, hive.folder(), self.id)
    }
    pub fn nupkg(&self, key: &str) -> String {
        let id = &self.id;
        format!("{}/v3/flatcontainer/{id}/{key}/{id}.{key}.nupkg", self.base)
    }
    /// The readme, icon or licence inside a package.
    pub fn inner(&self, key: &str, what: &str) -> String {
        format!("{}/v3/flatcontainer/{}/{key}/{what}", self.base, self.id)
    }
    /// The page for people.
    pub fn page_of(&self, key: &str) -> String {
        format!("{}/packages/nuget/{}/{key}", self.portal, self.id)
    }
    pub fn findings(&self) -> String {
        format!("{}/packages/nuget/{}/-/security", self.portal, self.id)
    }
}

/// A text as one segment of a path.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}
