//! Atom, as clients of the older protocol read it.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;
use publaryn_core::Timestamp;
use publaryn_protocol::strict_xml::escape;

use super::{
    Feed,
    query::{Entry, Next, Page},
};
use crate::{
    call::Call,
    links::Links,
    nuspec::{License, Nuspec},
};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";
const NAMESPACES: &str = "xmlns=\"http://www.w3.org/2005/Atom\" \
     xmlns:d=\"http://schemas.microsoft.com/ado/2007/08/dataservices\" \
     xmlns:m=\"http://schemas.microsoft.com/ado/2007/08/dataservices/metadata\"";

/// `GET /v2/`: clients look here before every command.
pub fn service_document(base: &str) -> String {
    let base = escape(base);
    format!(
        "{DECLARATION}<service xmlns=\"http://www.w3.org/2007/app\" xmlns:atom=\"http://www.w3.org/2005/Atom\" \
         xml:base=\"{base}/v2/\"><workspace><atom:title>Default</atom:title><collection href=\"Packages\">\
         <atom:title>Packages</atom:title></collection></workspace></service>"
    )
}

pub fn entry_document(call: &Call, entry: &Entry) -> String {
    let mut xml = String::from(DECLARATION);
    write_entry(&mut xml, &Links::new(&call.base(), call.portal().as_str(), &entry.id), entry, NAMESPACES);
    xml
}

pub fn feed_document(call: &Call, feed: Feed, page: &Page) -> String {
    let (base, portal) = (call.base(), call.portal());
    let name = match feed {
        Feed::Packages => "Packages",
        Feed::FindPackagesById => "FindPackagesById",
        Feed::Search => "Search",
        Feed::GetUpdates => "GetUpdates",
    };
    let now = Timestamp::now().to_millis_string();
    let address = escape(&base).into_owned();
    let mut xml = format!(
        "{DECLARATION}<feed xml:base=\"{address}/v2/\" {NAMESPACES}><id>{address}/v2/{name}</id>\
         <title type=\"text\">{name}</title><updated>{now}</updated>\
         <link rel=\"self\" title=\"{name}\" href=\"{name}\" />"
    );
    if call.query("$inlinecount").is_some_and(|wanted| wanted.eq_ignore_ascii_case("allpages")) {
        xml.push_str(&format!("<m:count>{}</m:count>", page.total));
    }
    for entry in &page.entries {
        write_entry(&mut xml, &Links::new(&base, portal.as_str(), &entry.id), entry, "");
    }
    if let Some(next) = page.next {
        let next = next_address(&base, name, &call.parts.uri, next);
        xml.push_str(&format!("<link rel=\"next\" href=\"{}\" />", escape(&next)));
    }
    xml.push_str("</feed>");
    xml
}

/// The same question from another entry on.
fn next_address(base: &str, name: &str, uri: &Uri, next: Next) -> String {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in pairs.filter(|(key, _)| key != "$skip" && key != "$top") {
        query.append_pair(&key, &value);
    }
    query.append_pair("$skip", &next.skip.to_string());
    if let Some(top) = next.top {
        query.append_pair("$top", &top.to_string());
    }
    format!("{base}/v2/{name}()?{}", query.finish())
}

fn write_entry(xml: &mut String, links: &Links, entry: &Entry, namespaces: &str) {
    let (nuspec, about) = (&entry.stored.nuspec, &entry.stored.nuspec.about);
    let id = escape(&entry.id);
    let address = format!("{}/v2/Packages(Id='{}',Version='{}')", links.base, entry.id, entry.normalized);
    let address = escape(&address);
    let updated = &entry.updated;
    let authors = escape(&nuspec.authors);
    let summary = about.summary.as_deref().unwrap_or_default();
    let space = if namespaces.is_empty() { "" } else { " " };
    xml.push_str(&format!(
        "<entry{space}{namespaces}><id>{address}</id>\
         <category term=\"NuGetGallery.OData.V2FeedPackage\" \
         scheme=\"http://schemas.microsoft.com/ado/2007/08/dataservices/scheme\" />\
         <link rel=\"edit\" title=\"V2FeedPackage\" href=\"{address}\" />\
         <title type=\"text\">{id}</title><summary type=\"text\">{}</summary><updated>{updated}</updated>\
         <author><name>{authors}</name></author>\
         <content type=\"application/zip\" src=\"{}/v2/package/{id}/{}\" /><m:properties>",
        escape(summary),
        escape(&links.base),
        escape(&entry.normalized),
    ));
    let mut text = |name: &str, value: &str| {
        xml.push_str(&format!("<d:{name}>{}</d:{name}>", escape(value)));
    };
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    text("Id", &entry.id);
    text("Version", &entry.version);
    text("NormalizedVersion", &entry.normalized);
    text("Authors", &nuspec.authors);
    text("Title", about.title.as_deref().unwrap_or(&entry.id));
    text("Description", &nuspec.description);
    text("Summary", summary);
    text("Tags", &nuspec.tags().join(" "));
    text("Dependencies", &dependencies(nuspec));
    text("Copyright", &or_empty(&about.copyright));
    text("Language", &or_empty(&about.language));
    text("ReleaseNotes", &or_empty(&about.release_notes));
    text("ProjectUrl", &or_empty(&about.project_url));
    text("LicenseUrl", &license_url(entry, links));
    text("IconUrl", &icon_url(entry, links));
    text("GalleryDetailsUrl", &links.page_of(&entry.key));
    text("ReportAbuseUrl", &links.findings());
    text("MinClientVersion", &or_empty(&about.min_client_version));
    text("PackageHash", &BASE64_STANDARD.encode(hex::decode(&entry.sha512).unwrap_or_default()));
    text("PackageHashAlgorithm", "SHA512");
    let mut typed = |name: &str, kind: &str, value: &str| {
        xml.push_str(&format!("<d:{name} m:type=\"Edm.{kind}\">{value}</d:{name}>"));
    };
    typed("PackageSize", "Int64", &entry.size_bytes.to_string());
    // Older clients read 32 bits.
    let narrow = |count: i64| i32::try_from(count).unwrap_or(i32::MAX).to_string();
    typed("DownloadCount", "Int32", &narrow(entry.downloads));
    typed("VersionDownloadCount", "Int32", &narrow(entry.version_downloads));
    for (name, time) in [("Created", &entry.created), ("LastUpdated", updated), ("Published", &entry.published)] {
        // The type has no zone.
        typed(name, "DateTime", time.trim_end_matches('Z'));
    }
    for (name, is) in [
        ("IsLatestVersion", entry.is_latest),
        ("IsAbsoluteLatestVersion", entry.is_absolute_latest),
        ("IsPrerelease", entry.is_prerelease),
        ("RequireLicenseAcceptance", nuspec.require_license_acceptance),
    ] {
        typed(name, "Boolean", if is { "true" } else { "false" });
    }
    xml.push_str("</m:properties></entry>");
}

fn license_url(entry: &Entry, links: &Links) -> String {
    match &entry.stored.nuspec.license {
        Some(License::File(_)) => links.inner(&entry.key, "license"),
        _ => entry.stored.nuspec.about.license_url.clone().unwrap_or_default(),
    }
}

fn icon_url(entry: &Entry, links: &Links) -> String {
    match &entry.stored.embedded.icon {
        Some(_) => links.inner(&entry.key, "icon"),
        None => entry.stored.nuspec.about.icon_url.clone().unwrap_or_default(),
    }
}

/// `id:range:framework|…`; a group without dependencies is `::framework`.
fn dependencies(nuspec: &Nuspec) -> String {
    let mut all = Vec::new();
    for group in &nuspec.dependency_groups {
        let framework = group.target_framework.as_deref().unwrap_or_default();
        if group.dependencies.is_empty() {
            all.push(format!("::{framework}"));
        }
        for dependency in &group.dependencies {
            // No range at all is how these clients read any version.
            let range = if dependency.range == "(, )" { "" } else { &dependency.range };
            all.push(format!("{}:{range}:{framework}", dependency.id));
        }
    }
    all.join("|")
}

/// What the service can be asked: clients look for `Search` and for the names of properties.
pub const METADATA: &str = include_str!("metadata.xml");

#[cfg(test)]
mod tests {
    use publaryn_protocol::strict_xml::parse;

    use super::*;
    use crate::nuspec::tests::FULL;

    #[test]
    fn documents_are_well_formed() {
        parse(METADATA).unwrap();
        parse(&service_document("http://x/&y")).unwrap();
        let nuspec = Nuspec::parse(FULL.as_bytes()).unwrap();
        assert_eq!(dependencies(&nuspec), "Other.Lib:[1.0.0, ):.NETStandard2.0|Third::.NETStandard2.0|::net6.0");
        let entry = Entry {
            id: "Acme.Lib".into(),
            normalized: "1.0.0".into(),
            version: "1.0.0".into(),
            key: "1.0.0".into(),
            is_latest: true,
            is_absolute_latest: true,
            is_prerelease: false,
            published: "2020-01-01T00:00:00.000Z".into(),
            created: "2020-01-01T00:00:00.000Z".into(),
            updated: "2020-01-01T00:00:00.000Z".into(),
            downloads: 7_000_000_000,
            version_downloads: 3,
            size_bytes: 1,
            sha512: "00ff".into(),
            stored: crate::release::Stored {
                nuspec: Nuspec { description: "a < b & \"c\"".into(), ..nuspec },
                embedded: crate::archive::Embedded::default(),
                is_semver2: false,
                manifest: crate::archive::Place { path: "Acme.Lib.nuspec".into(), offset: 0 },
            },
        };
        let mut xml = String::new();
        write_entry(&mut xml, &Links::new("http://x/nuget", "http://x", "Acme.Lib"), &entry, NAMESPACES);
        let document = parse(&xml).unwrap();
        let text = |name: &str| {
            document.descendants().find(|n| n.tag_name().name() == name).and_then(|n| n.text()).unwrap_or_default()
        };
        assert_eq!(text("Description"), "a < b & \"c\"");
        assert_eq!((text("PackageHash"), text("DownloadCount"), text("Tags")), ("AP8=", "2147483647", "one two three"));
        assert_eq!(text("VersionDownloadCount"), "3");
    }
}
