//! The older protocol: OData 2 as Atom, as much of it as clients ask for (nuget.md §5).
//!
//! What is asked for and not understood is refused: a filter that is ignored makes clients install the wrong thing.

mod feed;
mod filter;
mod query;

use http::{HeaderName, HeaderValue};

use crate::{
    call::{Answer, Call},
    error::NugetError,
};

/// What a path below `/v2` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    Service,
    Metadata,
    /// One release.
    Package {
        id: String,
        version: String,
    },
    Feed {
        feed: Feed,
        is_count: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    Packages,
    FindPackagesById,
    Search,
    GetUpdates,
}

impl Resource {
    /// Reads decoded segments.
    pub fn of(segments: &[&str]) -> Option<Self> {
        let feed = |name: &str| match name.strip_suffix("()").unwrap_or(name) {
            "Packages" => Some(Feed::Packages),
            "FindPackagesById" => Some(Feed::FindPackagesById),
            "Search" => Some(Feed::Search),
            "GetUpdates" => Some(Feed::GetUpdates),
            _ => None,
        };
        match segments {
            [] => Some(Self::Service),
            ["$metadata"] => Some(Self::Metadata),
            [name] => match name.strip_prefix("Packages(").and_then(|rest| rest.strip_suffix(')')) {
                Some(key) if !key.is_empty() => Self::keyed(key),
                _ => Some(Self::Feed { feed: feed(name)?, is_count: false }),
            },
            [name, "$count"] => Some(Self::Feed { feed: feed(name)?, is_count: true }),
            _ => None,
        }
    }

    /// `Id='X',Version='1.0'`, in either order.
    fn keyed(key: &str) -> Option<Self> {
        let (mut id, mut version) = (None, None);
        for pair in key.split(',') {
            let (name, value) = pair.split_once('=')?;
            let value = literal(value)?;
            match name.trim() {
                "Id" => id = Some(value),
                "Version" => version = Some(value),
                _ => return None,
            }
        }
        Some(Self::Package { id: id?, version: version? })
    }
}

/// The text of `'it''s'`.
fn literal(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    let plain = inner.replace("''", "\0");
    (!plain.contains('\'')).then(|| plain.replace('\0', "'"))
}

pub(crate) async fn read(call: &Call, resource: &Resource) -> Answer {
    call.require_reader()?;
    let (content_type, body) = match resource {
        Resource::Service => ("application/xml;charset=utf-8", feed::service_document(&call.base())),
        Resource::Metadata => ("application/xml;charset=utf-8", feed::METADATA.to_owned()),
        Resource::Package { id, version } => {
            let row = query::one(call, id, version).await?;
            ("application/atom+xml;type=entry;charset=utf-8", feed::entry_document(call, &row))
        }
        Resource::Feed { feed, is_count } => {
            let page = query::page(call, *feed).await?;
            match is_count {
                true => ("text/plain;charset=utf-8", page.total.to_string()),
                false => ("application/atom+xml;type=feed;charset=utf-8", feed::feed_document(call, *feed, &page)),
            }
        }
    };
    let mut response = call.document(content_type, body);
    let version = HeaderName::from_static("dataserviceversion");
    response.headers_mut().insert(version, HeaderValue::from_static("2.0;"));
    Ok(response)
}

/// A parameter that is a text literal, or bare as some clients send it.
fn parameter(call: &Call, name: &str) -> Result<Option<String>, NugetError> {
    match call.query(name) {
        None => Ok(None),
        Some(text) if text.trim().starts_with('\'') => match literal(&text) {
            Some(text) => Ok(Some(text)),
            None => Err(NugetError::bad_request(format!("{name} is no text"))),
        },
        Some(text) => Ok(Some(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_told_apart() {
        let package = |id: &str, version: &str| Resource::Package { id: id.into(), version: version.into() };
        assert_eq!(Resource::of(&["Packages(Id='A.b',Version='1.0')"]), Some(package("A.b", "1.0")));
        assert_eq!(Resource::of(&["Packages(Version='1.0', Id='it''s')"]), Some(package("it's", "1.0")));
        let feed = |feed, is_count| Some(Resource::Feed { feed, is_count });
        assert_eq!(Resource::of(&["Packages()"]), feed(Feed::Packages, false));
        assert_eq!(Resource::of(&["Packages"]), feed(Feed::Packages, false));
        assert_eq!(Resource::of(&["Search()", "$count"]), feed(Feed::Search, true));
        for bad in [&["Packages(Id='A')"][..], &["Packages(Id=A,Version='1')"], &["Nothing()"], &["a", "b"]] {
            assert_eq!(Resource::of(bad), None, "{bad:?}");
        }
    }
}
