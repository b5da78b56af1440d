//! What pip, gem, Composer, NuGet and Maven read: index documents of a busy project, and wheels.

use reqwest::header::ACCEPT;

use super::{Request, servers, take_turns};
use crate::{
    Error, Plan,
    contender::{Account, Backend, Devpi, Nginx, Publaryn, PyPiServer},
    corpus::{Wheel, composer_upload, gem_upload, maven_uploads, noise, nupkg_upload, wheel_upload},
    http,
    publisher::put,
    report::{Row, Target},
    statistics::Sample,
    wrk::{Load, Outcome},
};

/// Files of the Python project.
const FILES: usize = 200;
/// Versions of each of the other packages; NuGet's index tells them all at once as long as they are below 128.
const VERSIONS: usize = 100;
const WHEEL_BYTES: usize = 1 << 20;
/// The form that clients of the last years read, always compressed.
const REGISTRATION: &str = "/nuget/v3/registration-semver2/bench.library/index.json";
const METADATA: &str = "/maven/bench/library/maven-metadata.xml";
const SIMPLE_JSON: &str = "application/vnd.pypi.simple.v1+json";
const SIMPLE_HTML: &str = "application/vnd.pypi.simple.v1+html";

/// A document, and how fast it is to be beside nginx.
struct Document {
    what: &'static str,
    /// On each of our servers: where a file is, is each one's own affair.
    paths: Vec<String>,
    accept: &'static str,
    is_compressed: bool,
    file: &'static str,
    wanted: f64,
    /// Beside the Python registries as well.
    is_simple: bool,
}

impl Document {
    fn new(what: &'static str, paths: Vec<String>, accept: &'static str, file: &'static str, wanted: f64) -> Self {
        Self { what, paths, accept, is_compressed: true, file, wanted, is_simple: false }
    }

    fn headers(&self) -> Vec<(&'static str, &'static str)> {
        let gzip = self.is_compressed.then_some(("accept-encoding", "gzip"));
        [("accept", self.accept)].into_iter().chain(gzip).collect()
    }
}

/// `wheels`: where each server has the large wheel.
fn documents(wheels: Vec<String>) -> Vec<Document> {
    let servers = wheels.len();
    let everywhere = |path: &str| vec![path.to_owned(); servers];
    let simple = |what, accept, file| {
        let paths = everywhere("/pypi/simple/bench-project/");
        Document { is_simple: true, ..Document::new(what, paths, accept, file, 0.6) }
    };
    let index = |what, path, file| Document::new(what, everywhere(path), "*/*", file, 0.5);
    vec![
        simple("simple index, 200 files, JSON", SIMPLE_JSON, "simple.json"),
        simple("simple index, 200 files, HTML", SIMPLE_HTML, "simple.html"),
        Document { is_compressed: false, ..Document::new("wheel, 1 MB", wheels, "*/*", "wheel.whl", 0.6) },
        index("gem: /info, 100 versions", "/rubygems/info/bench-gem", "info.txt"),
        index("Composer: p2, 100 versions", "/composer/p2/bench/library.json", "p2.json"),
        index("NuGet: registration, 100 versions", REGISTRATION, "registration.json"),
        // Maven's metadata has no compressed form, nor do its clients ask for one.
        Document { is_compressed: false, ..index("Maven: metadata, 100 versions", METADATA, "maven-metadata.xml") },
    ]
}

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Row>, Error> {
    let servers = servers(plan, "indexes").await?;
    let nginx = Nginx::start(&plan.scratch.join("indexes-nginx")).await?;
    let wheels = wheels()?;
    for (_, server) in &servers {
        populate(&server.account().await?, &wheels).await?;
    }
    let files: Vec<_> = wheels.iter().map(|wheel| (wheel.filename.clone(), wheel.bytes.clone())).collect();
    let pypiserver = PyPiServer::start(&plan.tools, &plan.scratch.join("indexes-pypiserver"), &files).await?;
    let devpi = Devpi::start(&plan.tools, &plan.scratch.join("indexes-devpi")).await?;
    let client = http::client()?;
    for wheel in &wheels {
        put(&client, &devpi.index, wheel_upload("/", wheel)).await?;
    }
    // What the others answer to the same request.
    let others = [
        ("pypiserver", format!("{}/simple/bench-project/", pypiserver.base)),
        ("devpi", format!("{}/+simple/bench-project/", devpi.index.base)),
    ];
    let load = Load { threads: 2, connections: 64, turn: plan.turn };
    let mut rows = Vec::new();
    let mut paths = Vec::with_capacity(servers.len());
    for (_, server) in &servers {
        paths.push(wheel_path(server).await?);
    }
    for document in documents(paths) {
        let requests = requests(&document, &servers, &nginx, &others).await?;
        let outcomes = take_turns(load, plan.rounds, &requests).await?;
        let rate = |outcomes: &[Outcome]| Sample::of(outcomes.iter().map(|o| o.requests_per_second).collect());
        let (ours, beside) = outcomes.split_at(servers.len());
        for ((backend, _), outcomes) in servers.iter().zip(ours) {
            let row = Row::new(document.what, backend.name(), "requests/s", rate(outcomes));
            let wanting = |row: Row, share| {
                let is_embedded = matches!(backend, Backend::Embedded);
                if is_embedded { row.wanting(Target::RatioAtLeast(share)) } else { row }
            };
            rows.push(wanting(row.clone().against("nginx", rate(&beside[0])), document.wanted));
            for ((name, _), theirs) in others.iter().zip(&beside[1..]) {
                rows.push(wanting(row.clone().against(name, rate(theirs)), 100.0));
            }
        }
    }
    nginx.stop().await?;
    pypiserver.stop().await?;
    devpi.stop().await?;
    for (_, server) in servers {
        server.stop().await?;
    }
    Ok(rows)
}

/// The project's files; the last one is large.
fn wheels() -> Result<Vec<Wheel>, Error> {
    let size = |n| if n + 1 == FILES { WHEEL_BYTES } else { 500 };
    (0..FILES).map(|n| Wheel::new("bench_project", &format!("1.{n}.0"), noise(size(n)))).collect()
}

async fn populate(account: &Account, wheels: &[Wheel]) -> Result<(), Error> {
    let client = http::client()?;
    for wheel in wheels {
        put(&client, &account.pypi(), wheel_upload("/legacy/", wheel)).await?;
    }
    for n in 0..VERSIONS {
        put(&client, &account.rubygems(), gem_upload("bench-gem", &format!("1.{n}.0"))?).await?;
        put(&client, &account.composer(), composer_upload("bench/library", &format!("1.{n}.0"))?).await?;
        put(&client, &account.nuget(), nupkg_upload("Bench.Library", &format!("1.{n}.0"))?).await?;
        for upload in maven_uploads("bench", "library", &format!("1.{n}.0"))? {
            put(&client, &account.maven(), upload).await?;
        }
    }
    Ok(())
}

/// Where the simple index says the large wheel is, below the server's address.
async fn wheel_path(server: &Publaryn) -> Result<String, Error> {
    let url = format!("{}/pypi/simple/bench-project/", server.base);
    let page = http::fetch(&url, &[(ACCEPT.as_str(), SIMPLE_JSON)]).await?;
    let page: serde_json::Value = serde_json::from_slice(&page)?;
    let files = page["files"].as_array().ok_or("the page lists no files")?;
    let large = files.iter().find(|file| file["size"].as_u64() > Some(WHEEL_BYTES as u64 / 2));
    let url = large.and_then(|file| file["url"].as_str()).ok_or("no large wheel")?;
    let base = reqwest::Url::parse(&format!("{}/pypi/simple/bench-project/", server.base))?;
    Ok(base.join(url)?.path().to_owned())
}

/// Publaryn's addresses first, then nginx's with the same bytes, then the others'.
async fn requests(
    document: &Document,
    servers: &[(Backend, Publaryn)],
    nginx: &Nginx,
    others: &[(&str, String)],
) -> Result<Vec<Request>, Error> {
    let of = |url: String| Request { url, headers: document.headers() };
    let mut requests: Vec<_> =
        servers.iter().zip(&document.paths).map(|((_, server), path)| of(format!("{}{path}", server.base))).collect();
    let url = &requests[0].url;
    let plain = http::fetch(url, &[("accept", document.accept)]).await?;
    let packed = if document.is_compressed { Some(http::fetch(url, &document.headers()).await?) } else { None };
    eprintln!("{}: {} bytes, {} compressed", document.what, plain.len(), packed.as_ref().map_or(0, |p| p.len()));
    requests.push(of(nginx.put(document.file, &plain, packed.as_deref())?));
    if document.is_simple {
        requests.extend(others.iter().map(|(_, url)| of(url.clone())));
    }
    Ok(requests)
}
