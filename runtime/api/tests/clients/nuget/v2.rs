//! The older protocol, as PowerShell, Chocolatey and others speak it.

use super::{
    Pack,
    pack::{change, get, until_found},
};
use crate::{Server, on_backends};

/// `Id Version` of each entry.
fn entries(xml: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
    let text = |node: roxmltree::Node<'_, '_>, name: &str| {
        node.descendants().find(|n| n.tag_name().name() == name).and_then(|n| n.text()).unwrap_or_default().to_owned()
    };
    let entries = document.descendants().filter(|node| node.tag_name().name() == "entry");
    entries.map(|entry| format!("{} {}", text(entry, "Id"), text(entry, "Version"))).collect()
}

on_backends!(feeds_answer_what_is_asked_and_refuse_what_is_not_understood, async |server: Server| {
    let user = server.new_user("ada").await;
    for pack in [
        Pack::new("Acme.Core", "1.0.0"),
        Pack::new("Acme.Lib", "1.0.0").needs("Acme.Core", "1.0").with("<tags>json</tags>"),
        Pack::new("Acme.Lib", "1.10.0").with("<tags>json</tags>"),
        Pack::new("Acme.Lib", "1.9.0"),
        Pack::new("Acme.Lib", "2.0.0-beta"),
        Pack::new("Acme.Lib", "3.0.0-beta.1"),
        // To clients from before SemVer 2 these are no versions either.
        Pack::new("Acme.Lib", "3.0.0-1"),
        Pack::new("Acme.Lib", "3.0.0-0a"),
    ] {
        pack.live(&server, &user).await;
    }
    let feed = async |query: &str| {
        let said = get(&server, &format!("/v2/{query}"), None).await;
        assert_eq!(said.status, 200, "{query}: {}", said.text());
        assert_eq!(said.header("dataserviceversion"), "2.0;");
        entries(&said.text())
    };
    until_found(&server, "acme", 2).await;
    for path in ["/v2", "/v2/", "/v2/$metadata"] {
        let said = get(&server, path, None).await;
        assert_eq!(said.status, 200);
        roxmltree::Document::parse(&said.text()).expect("XML");
    }
    let versions = ["Acme.Lib 1.0.0", "Acme.Lib 1.9.0", "Acme.Lib 1.10.0", "Acme.Lib 2.0.0-beta"];
    assert_eq!(feed("FindPackagesById()?id='acme.LIB'").await, versions);
    assert_eq!(feed("FindPackagesById()?id='acme.lib'&semVerLevel=2.0.0").await.len(), 7);
    assert_eq!(feed("FindPackagesById()?id='acme.nil'").await, [""; 0]);
    assert_eq!(feed("FindPackagesById()?id='Acme.Lib'&$filter=IsLatestVersion").await, ["Acme.Lib 1.10.0"]);
    assert_eq!(feed("FindPackagesById()?id='Acme.Lib'&$filter=IsAbsoluteLatestVersion").await, ["Acme.Lib 2.0.0-beta"]);
    assert_eq!(feed("FindPackagesById()?id='Acme.Lib'&$orderby=Version desc&$top=1").await, ["Acme.Lib 2.0.0-beta"]);
    assert_eq!(
        feed("Packages()?$filter=tolower(Id) eq 'acme.lib' and Version gt '1.9.0'&$skip=1").await,
        [versions[3]]
    );
    assert_eq!(
        feed("Packages()?$filter=substringof('json',Tags) eq true and IsLatestVersion&$orderby=Id").await,
        ["Acme.Lib 1.10.0"]
    );
    assert_eq!(
        feed("Search()?searchTerm='acme'&targetFramework=''&includePrerelease=false&$filter=IsLatestVersion&$orderby=Id&$skip=0&$top=30").await,
        ["Acme.Core 1.0.0", "Acme.Lib 1.10.0"]
    );
    assert_eq!(feed("Packages(Id='Acme.Lib',Version='1.0')").await, ["Acme.Lib 1.0.0"]);
    assert_eq!(feed("Packages(Id=%27Acme.Lib%27,Version=%273.0.0-BETA.1%27)").await, ["Acme.Lib 3.0.0-beta.1"]);
    assert_eq!(
        feed("GetUpdates()?packageIds='Acme.Lib|Acme.Core|Acme.Nil'&versions='1.0.0|1.0.0|1.0'&includePrerelease=false&includeAllVersions=false").await,
        ["Acme.Lib 1.10.0"]
    );
    assert_eq!(
        feed("GetUpdates()?packageIds='Acme.Lib'&versions='1.0.0'&includePrerelease=true&includeAllVersions=true&versionConstraints='[1.0,2.0)'").await,
        ["Acme.Lib 1.9.0", "Acme.Lib 1.10.0", "Acme.Lib 2.0.0-beta"]
    );
    get(&server, "/v2/FindPackagesById()/$count?id='Acme.Lib'", None).await.is(200, "4");
    get(&server, "/v2/Packages()?$inlinecount=allpages&$filter=Id eq 'acme.lib'&$top=1", None)
        .await
        .is(200, "<m:count>4</m:count>");
    let counted = "Search()?searchTerm='acme'&$filter=IsLatestVersion&$orderby=Id&$inlinecount=allpages&$top=1";
    get(&server, &format!("/v2/{counted}"), None).await.is(200, "<m:count>2</m:count>");
    let far = format!("/v2/Search()?searchTerm='acme'&$skip={0}&$top={0}", u64::MAX);
    assert_eq!(entries(&get(&server, &far, None).await.text()), [""; 0]);
    for bad in [
        "Packages()?$filter=length(Id) gt 3",
        "Packages()?$orderby=Size",
        "Packages()?$top=many",
        "FindPackagesById()",
        "GetUpdates()?packageIds='a|b'&versions='1'",
    ] {
        assert_eq!(get(&server, &format!("/v2/{bad}"), None).await.status, 400, "{bad}");
    }
    let entry = get(&server, "/v2/Packages(Id='Acme.Lib',Version='1.0.0')", None).await.text();
    assert!(entry.contains("<d:Dependencies>Acme.Core:[1.0.0, ):</d:Dependencies>"), "{entry}");
    let source = entry.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let path = source.strip_prefix(&format!("{}/nuget", server.base_url())).unwrap();
    assert_eq!(
        get(&server, path, None).await.bytes,
        Pack::new("Acme.Lib", "1.0.0").needs("Acme.Core", "1.0").with("<tags>json</tags>").zip()
    );

    change(&server, http::Method::DELETE, "/v2/package/Acme.Lib/1.10.0", Some(&user.token)).await.is(204, "");
    assert_eq!(feed("FindPackagesById()?id='Acme.Lib'&$filter=IsLatestVersion").await, ["Acme.Lib 1.9.0"]);
    assert_eq!(feed("FindPackagesById()?id='Acme.Lib'").await.len(), 4, "still told, as from the year 1900");
});

on_backends!(feeds_go_on_where_a_page_ends, async |server: Server| {
    let user = server.new_user("ada").await;
    for number in 0..105 {
        Pack::new("Acme.Lib", &format!("1.{number}.0")).live(&server, &user).await;
    }
    let next = |xml: &str| -> Option<String> {
        let document = roxmltree::Document::parse(xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
        let mut links = document.descendants().filter(|node| node.tag_name().name() == "link");
        let link = links.find(|link| link.attribute("rel") == Some("next"))?;
        Some(link.attribute("href")?.strip_prefix(&format!("{}/nuget", server.base_url()))?.to_owned())
    };
    for (query, sizes) in
        [("", vec![100, 5]), ("&$top=103", vec![100, 3]), ("&$top=100", vec![100]), ("&$top=3", vec![3])]
    {
        let mut seen = Vec::new();
        let mut path = Some(format!("/v2/FindPackagesById()?id='Acme.Lib'{query}"));
        while let Some(at) = path {
            let page = get(&server, &at, None).await.text();
            seen.push(entries(&page).len());
            path = next(&page);
        }
        assert_eq!(seen, sizes, "{query}");
    }
});
