//! What may stand between a client and the server: a proxy with TLS and another name, or somebody who
//! changes what passes.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::run::Running;
use crate::Server;

/// What a proxy does besides passing requests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Speaks TLS under a name of its own and says so in `X-Forwarded-*`.
    Tls,
    /// Removes the signatures of the package `unsigned` from what it passes on.
    DropSignatures,
}

/// A running proxy; ends when dropped.
pub struct Proxy {
    _process: Running,
    manner: Manner,
    port: String,
    target: PathBuf,
    authority: PathBuf,
}

impl Proxy {
    /// Starts one that leads nowhere yet. `dir` is for its files.
    pub async fn start(dir: &Path, manner: Manner) -> Self {
        let (target, certificate, key) =
            (dir.join("target"), dir.join("certificate.pem"), dir.join("certificate-key.pem"));
        if manner == Manner::Tls {
            certify(dir).await;
        }
        let mut command = Command::new("node");
        command.args(["-e", PROXY]).arg(format!("{manner:?}")).args([&target, &certificate, &key]);
        let mut process = Running::start(command, format!("{manner:?} proxy"));
        let port = process.prints("listening on ").await;
        Self { _process: process, manner, port, target, authority: dir.join("authority.pem") }
    }

    /// From now on it leads to this server.
    pub fn lead_to(&self, server: &Server) {
        std::fs::write(&self.target, server.host()).expect("the scratch directory is writable");
    }

    pub fn scheme(&self) -> &'static str {
        if self.manner == Manner::Tls { "https" } else { "http" }
    }

    /// `localhost:PORT`
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Whom to trust, in PEM.
    pub fn authority(&self) -> Option<&Path> {
        (self.manner == Manner::Tls).then_some(self.authority.as_path())
    }
}

/// Makes `authority.pem`, to be trusted, and `certificate.pem` with `key.pem` for localhost. Some clients take no
/// certificate that signs itself.
async fn certify(dir: &Path) {
    let made = async |subject: &str, name: &str, constraint: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command
            .current_dir(dir)
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", subject, "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", &format!("basicConstraints=critical,CA:{constraint}")])
            .args(["-keyout", &format!("{name}-key.pem"), "-out", &format!("{name}.pem")])
            .args(more);
        let output = command.output().await.expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    made("/CN=test authority", "authority", "TRUE", &[]).await;
    let signed = ["-CA", "authority.pem", "-CAkey", "authority-key.pem"];
    made("/CN=localhost", "certificate", "FALSE", &signed).await;
}

/// Arguments: manner, file with the target's `host:port`, certificate, key.
const PROXY: &str = r#"
const fs = require('fs'), http = require('http'), https = require('https');
const [manner, target, certificate, key] = process.argv.slice(1);
const handle = (request, response) => {
  const [host, port] = fs.readFileSync(target, 'utf8').split(':');
  const headers = { ...request.headers };
  if (manner === 'Tls') {
    headers['x-forwarded-host'] = headers.host;
    headers['x-forwarded-proto'] = 'https';
    headers.host = `${host}:${port}`;
  } else {
    delete headers['accept-encoding'];
    delete headers['if-none-match'];
  }
  const onward = http.request({ host, port, method: request.method, path: request.url, headers }, (answer) => {
    const pass = manner === 'Tls' || answer.statusCode !== 200;
    if (pass) {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
      return;
    }
    const chunks = [];
    answer.on('data', (chunk) => chunks.push(chunk));
    answer.on('end', () => {
      let body = Buffer.concat(chunks);
      if (request.url === '/npm/unsigned') {
        const document = JSON.parse(body);
        for (const version of Object.values(document.versions)) delete version.dist.signatures;
        body = Buffer.from(JSON.stringify(document));
      }
      const { etag, ...rest } = answer.headers;
      response.writeHead(answer.statusCode, { ...rest, 'content-length': body.length });
      response.end(body);
    });
  });
  onward.on('error', () => { response.writeHead(502); response.end(); });
  request.pipe(onward);
};
const server = manner === 'Tls'
  ? https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, handle)
  : http.createServer(handle);
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
"#;
