//! Registration: what clients know of the versions of a package before they download one (nuget.md §3).

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, StatusCode, header};
use publaryn_core::BoxError;
use publaryn_protocol::{matches_etag, replacement, respond_rendered};
use publaryn_registry::{PackageDocument, PackageView, Rendered};
use serde_json::{Map, Value, json};

use crate::{
    advisories::Advisories,
    call::{Answer, Call, JSON, VARY},
    error::NugetError,
    links::{Links, segment},
    name,
    nuspec::License,
    release::{Release, releases},
    route::Hive,
    version,
};

/// Versions per page.
const PAGE: usize = 64;
/// From so many versions on the index leaves its pages out, and clients fetch those they need.
const MAX_INLINE: usize = 128;

/// Most versions of a page that grew since an index named it.
const MAX_PAGE: usize = 2 * PAGE;

/// Which document of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Index,
    /// By the keys of its first and last version.
    Page {
        lower: String,
        upper: String,
    },
}

pub(crate) async fn index(call: &Call, hive: Hive, id: &str) -> Answer {
    answer(call, hive, id, Wanted::Index).await
}

pub(crate) async fn page(call: &Call, hive: Hive, id: &str, lower: &str, upper: &str) -> Answer {
    call.require_reader()?;
    let key = |text: &str| version::parse_version(text).map(|version| version.unique_key().to_owned());
    match (key(lower), key(upper)) {
        (Some(lower), Some(upper)) => answer(call, hive, id, Wanted::Page { lower, upper }).await,
        _ => Err(call.miss().await),
    }
}

pub(crate) async fn leaf(call: &Call, hive: Hive, id: &str, raw_version: &str) -> Answer {
    call.require_reader()?;
    let Some(version) = version::parse_version(raw_version) else { return Err(call.miss().await) };
    let view = call.package(id).await?;
    let live = call.or_miss(call.registry.live_release(&view, version.unique_key()).await).await?;
    let release = Release::of(&live).map_err(unreadable)?;
    if release.stored.is_semver2 && !hive.is_semver2() {
        return Err(call.miss().await);
    }
    let links = Links::new(&call.base(), call.portal().as_str(), view.name());
    let body = leaf_document(hive, &links, &release).to_string().into_bytes();
    send(call, hive, &view, &Rendered::new(JSON, body, view.revision(), view.updated_at()))
}

async fn answer(call: &Call, hive: Hive, id: &str, wanted: Wanted) -> Answer {
    call.require_reader()?;
    let view = call.package(id).await?;
    let portal = call.portal();
    let links = Links::new(&call.base(), portal.as_str(), view.name());
    let key = format!("{}|{wanted:?}", links.base);
    let flavour = match hive {
        Hive::Plain => "nuget-registration",
        Hive::Gzip => "nuget-registration-gz",
        Hive::SemVer2 => "nuget-registration-semver2",
    };
    let render = move |document: &PackageDocument| {
        let releases = releases(document, hive.is_semver2())?;
        let advisories = Advisories::collect(&document.advisories);
        let renderer = Renderer { hive, links, advisories, id: document.package.name.clone() };
        Ok(renderer.render(&releases, &wanted).map(|body| body.to_string().into_bytes()))
    };
    let rendered = call.or_miss(call.registry.try_rendered(&view, flavour, &key, JSON, render).await).await?;
    send(call, hive, &view, &rendered)
}

fn send(call: &Call, hive: Hive, view: &PackageView, rendered: &Rendered) -> Answer {
    let mut response = respond_rendered(rendered, call.headers(), view.is_open());
    if hive.is_gzip() && !response.headers().contains_key(header::CONTENT_ENCODING) {
        response = gzipped(call, response, rendered)?;
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static(VARY));
    Ok(response)
}

/// The compressed form whatever was asked for: that is what the resource promises.
fn gzipped(call: &Call, response: Response, rendered: &Rendered) -> Result<Response, NugetError> {
    if response.status() == StatusCode::NOT_MODIFIED && matches_etag(call.headers(), &[&rendered.etag_gzip]) {
        return Ok(response);
    }
    let body = match &rendered.gzip {
        Some(gzip) => gzip.clone(),
        None => gzip(&rendered.body).map_err(publaryn_core::RegistryError::internal)?.into(),
    };
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::OK;
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    if let Ok(etag) = HeaderValue::from_str(&rendered.etag_gzip) {
        parts.headers.insert(header::ETAG, etag);
    }
    Ok((parts, Body::from(body)).into_response())
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut encoder, body)?;
    encoder.finish()
}

struct Renderer {
    hive: Hive,
    links: Links,
    advisories: Advisories,
    /// As first published.
    id: String,
}

impl Renderer {
    fn render(&self, releases: &[Release<'_>], wanted: &Wanted) -> Option<Value> {
        match wanted {
            Wanted::Index if releases.is_empty() => None,
            Wanted::Index => Some(self.index(releases)),
            Wanted::Page { lower, upper } => {
                // Clients keep the index for half an hour: its pages last although versions came in between.
                let place = |key: &str| releases.iter().position(|release| release.key() == key);
                let page = releases.get(place(lower)?..=place(upper)?)?;
                (1..=MAX_PAGE).contains(&page.len()).then(|| self.page(page, true))
            }
        }
    }

    fn index(&self, releases: &[Release<'_>]) -> Value {
        let is_inline = releases.len() < MAX_INLINE;
        let pages: Vec<Value> = releases.chunks(PAGE).map(|page| self.page(page, is_inline)).collect();
        json!({
            "@id": self.links.registration(self.hive),
            "@type": ["catalog:CatalogRoot", "PackageRegistration", "catalog:Permalink"],
            "count": pages.len(),
            "items": pages,
        })
    }

    fn page(&self, releases: &[Release<'_>], with_items: bool) -> Value {
        let index = self.links.registration(self.hive);
        let (lower, upper) = bounds(releases).map_or(("", ""), |(l, u)| (l.normalized(), u.normalized()));
        let address = self.links.page(self.hive, lower, upper);
        let mut page = json!({
            "@id": address,
            "@type": "catalog:CatalogPage",
            "count": releases.len(),
            "lower": lower,
            "upper": upper,
            "parent": index,
        });
        // A key without value counts as present and breaks clients.
        if with_items {
            page["items"] = releases.iter().map(|release| self.leaf(release)).collect();
        }
        page
    }

    fn leaf(&self, release: &Release<'_>) -> Value {
        let key = release.key();
        json!({
            "@id": self.links.leaf(self.hive, key),
            "@type": "Package",
            "catalogEntry": self.entry(release),
            "packageContent": self.links.nupkg(key),
            "registration": self.links.registration(self.hive),
        })
    }

    fn entry(&self, release: &Release<'_>) -> Value {
        let (nuspec, key) = (&release.stored.nuspec, release.key());
        let about = &nuspec.about;
        let address = self.links.leaf(self.hive, key);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let readme = release.stored.embedded.readme.as_ref().map(|_| format!("{}#readme", self.links.page_of(key)));
        let mut entry = json!({
            "@id": address,
            "@type": "PackageDetails",
            "id": self.id,
            "version": release.version(),
            "authors": nuspec.authors,
            "description": nuspec.description,
            "summary": text(&about.summary),
            "title": text(&about.title),
            "iconUrl": icon_url(release, &self.links),
            "licenseUrl": license_url(release, &self.links),
            "licenseExpression": license_expression(release),
            "projectUrl": text(&about.project_url),
            "readmeUrl": readme.unwrap_or_default(),
            "language": text(&about.language),
            "minClientVersion": text(&about.min_client_version),
            "requireLicenseAcceptance": nuspec.require_license_acceptance,
            "tags": nuspec.tags(),
            "listed": release.is_listed(),
            "published": release.published(),
            "packageContent": self.links.nupkg(key),
            "dependencyGroups": self.dependency_groups(release, &address),
        });
        if let Some(deprecation) = deprecation(release) {
            entry["deprecation"] = deprecation;
        }
        if let Some(found) = self.advisories.shown(release.version(), &self.links.findings()) {
            entry["vulnerabilities"] = found;
        }
        entry
    }

    fn dependency_groups(&self, release: &Release<'_>, address: &str) -> Value {
        let groups = release.stored.nuspec.dependency_groups.iter().map(|group| {
            let framework = group.target_framework.as_deref();
            let at = format!("{address}#dependencygroup/{}", segment(&framework.unwrap_or("any").to_ascii_lowercase()));
            let mut shown = Map::new();
            shown.insert("@id".into(), at.as_str().into());
            shown.insert("@type".into(), "PackageDependencyGroup".into());
            if let Some(framework) = framework {
                shown.insert("targetFramework".into(), framework.into());
            }
            let dependencies: Vec<Value> = group
                .dependencies
                .iter()
                .map(|dependency| {
                    let links = Links::new(&self.links.base, &self.links.portal, &dependency.id);
                    json!({
                        "@id": format!("{at}/{}", links.id),
                        "@type": "PackageDependency",
                        "id": dependency.id,
                        "range": dependency.range,
                        "registration": links.registration(self.hive),
                    })
                })
                .collect();
            shown.insert("dependencies".into(), dependencies.into());
            Value::Object(shown)
        });
        groups.collect()
    }
}

fn leaf_document(hive: Hive, links: &Links, release: &Release<'_>) -> Value {
    json!({
        "@id": links.leaf(hive, release.key()),
        "@type": ["Package", "http://schema.nuget.org/catalog#Permalink"],
        "listed": release.is_listed(),
        "published": release.published(),
        "packageContent": links.nupkg(release.key()),
        "registration": links.registration(hive),
    })
}

fn bounds<'p, 'r>(page: &'p [Release<'r>]) -> Option<(&'p Release<'r>, &'p Release<'r>)> {
    Some((page.first()?, page.last()?))
}

/// Why a release should no longer be used, in the clients' form.
pub(crate) fn deprecation(release: &Release<'_>) -> Option<Value> {
    let message = release.live.row.deprecation_message.as_deref()?;
    let mut shown = json!({ "reasons": ["Other"], "message": message });
    // A word alone may be an id or just a word, so only the whole sentence names a package.
    if let Some(id) = replacement::named_by(message).filter(|id| name::is_id(id)) {
        shown["alternatePackage"] = json!({ "id": id, "range": "*" });
    }
    Some(shown)
}

pub(crate) fn icon_url(release: &Release<'_>, links: &Links) -> String {
    match &release.stored.embedded.icon {
        Some(_) => links.inner(release.key(), "icon"),
        None => release.stored.nuspec.about.icon_url.clone().unwrap_or_default(),
    }
}

pub(crate) fn license_expression<'r>(release: &'r Release<'_>) -> &'r str {
    match &release.stored.nuspec.license {
        Some(License::Expression(expression)) => expression,
        _ => "",
    }
}

pub(crate) fn license_url(release: &Release<'_>, links: &Links) -> String {
    match &release.stored.nuspec.license {
        Some(License::File(_)) => links.inner(release.key(), "license"),
        Some(License::Expression(expression)) => format!("https://licenses.nuget.org/{}", segment(expression)),
        None => release.stored.nuspec.about.license_url.clone().unwrap_or_default(),
    }
}

/// Fails rendering, as an error of the registry's.
pub(crate) fn unreadable(error: impl Into<BoxError>) -> publaryn_core::RegistryError {
    publaryn_core::RegistryError::unavailable("the document", error)
}
