//! Attestations whose signatures count: an authority, a log and a workflow of the test's own.

use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer as _},
    pkcs8::{DecodePrivateKey, EncodePublicKey},
};
use publaryn_core::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::{Client, Desk, Dist};
use crate::{Server, issuer::Issuer, on_backends};

const FORGE: &str = "https://github.test";

/// A certificate authority and a transparency log, as Sigstore runs them.
struct Sigstore {
    dir: PathBuf,
    log: SigningKey,
}

impl Sigstore {
    async fn start(dir: PathBuf) -> Self {
        let sigstore = Self { dir, log: SigningKey::from_slice(&[9; 32]).expect("a key") };
        let authority = ["-addext", "basicConstraints=critical,CA:TRUE"];
        sigstore.certify("root", "P-384", &authority, None).await;
        sigstore.certify("authority", "P-384", &authority, Some("root")).await;
        sigstore
    }

    async fn certify(&self, name: &str, curve: &str, more: &[&str], by: Option<&str>) {
        let mut command = Command::new("openssl");
        command
            .current_dir(&self.dir)
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2", "-sha384", "-pkeyopt"])
            .arg(format!("ec_paramgen_curve:{curve}"))
            .args([
                "-subj",
                &format!("/CN={name}"),
                "-keyout",
                &format!("{name}-key.pem"),
                "-out",
                &format!("{name}.pem"),
            ])
            .args(more);
        if let Some(by) = by {
            command.args(["-CA", &format!("{by}.pem"), "-CAkey", &format!("{by}-key.pem")]);
        }
        let output = command.output().await.expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn pem(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(format!("{name}.pem"))).expect("just made")
    }

    /// Base64 of the DER form.
    fn der(&self, name: &str) -> String {
        self.pem(name).lines().filter(|line| !line.starts_with("-----")).collect()
    }

    fn log_spki(&self) -> Vec<u8> {
        p256::PublicKey::from(self.log.verifying_key()).to_public_key_der().expect("a key").into_vec()
    }

    /// What an operator configures.
    fn trusted_root(&self) -> PathBuf {
        let valid = json!({ "start": "2020-01-01T00:00:00Z" });
        let spki = self.log_spki();
        let document = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "certificateAuthorities": [{
                "certChain": { "certificates": [{ "rawBytes": self.der("authority") }, { "rawBytes": self.der("root") }] },
                "validFor": valid,
            }],
            "tlogs": [{
                "logId": { "keyId": BASE64_STANDARD.encode(Sha256::digest(&spki)) },
                "publicKey": { "rawBytes": BASE64_STANDARD.encode(&spki), "validFor": valid },
            }],
        });
        let path = self.dir.join("trusted_root.json");
        std::fs::write(&path, document.to_string()).expect("the scratch directory is writable");
        path
    }

    /// An attestation about a file, signed by a workflow of `acme/widget`.
    async fn attest(&self, issuer: &str, workflow: &str, filename: &str, file: &[u8]) -> Value {
        let extension = |number: u32, text: &str| format!("1.3.6.1.4.1.57264.1.{number}=ASN1:UTF8String:{text}");
        let config = format!("{FORGE}/acme/widget/.github/workflows/{workflow}@refs/tags/v1");
        let extensions = [
            "basicConstraints=critical,CA:FALSE".to_owned(),
            "extendedKeyUsage=codeSigning".to_owned(),
            format!("subjectAltName=URI:{config}"),
            extension(8, issuer),
            extension(12, &format!("{FORGE}/acme/widget")),
            extension(17, "4711"),
            extension(18, &config),
        ];
        let more: Vec<&str> = extensions.iter().flat_map(|one| ["-addext", one.as_str()]).collect();
        self.certify("leaf", "P-256", &more, Some("authority")).await;
        let key = SigningKey::from_pkcs8_pem(&self.pem("leaf-key")).expect("a key just made");
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": filename, "digest": { "sha256": hex::encode(Sha256::digest(file)) } }],
            "predicateType": "https://docs.pypi.org/attestations/publish/v1",
            "predicate": null,
        })
        .to_string();
        let covered = format!("DSSEv1 28 application/vnd.in-toto+json {} {statement}", statement.len());
        let signature: DerSignature = key.sign(covered.as_bytes());
        let signature = BASE64_STANDARD.encode(signature.as_bytes());
        json!({
            "version": 1,
            "verification_material": {
                "certificate": self.der("leaf"),
                "transparency_entries": [self.entry(&statement, &signature)],
            },
            "envelope": { "statement": BASE64_STANDARD.encode(statement), "signature": signature },
        })
    }

    fn entry(&self, statement: &str, signature: &str) -> Value {
        let body = json!({ "apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "payloadHash": { "algorithm": "sha256", "value": hex::encode(Sha256::digest(statement)) },
            "signatures": [{ "signature": signature, "verifier": BASE64_STANDARD.encode(self.pem("leaf")) }],
        }});
        let body = BASE64_STANDARD.encode(body.to_string());
        let id = Sha256::digest(self.log_spki());
        let time = Timestamp::now().as_micros() / 1_000_000;
        let covered = format!(
            "{{\"body\":\"{body}\",\"integratedTime\":{time},\"logID\":\"{}\",\"logIndex\":42}}",
            hex::encode(id)
        );
        let promise: DerSignature = self.log.sign(covered.as_bytes());
        json!({
            "logIndex": "42", "integratedTime": time.to_string(), "canonicalizedBody": body,
            "logId": { "keyId": BASE64_STANDARD.encode(id) },
            "kindVersion": { "kind": "dsse", "version": "0.0.1" },
            "inclusionPromise": { "signedEntryTimestamp": BASE64_STANDARD.encode(promise.as_bytes()) },
        })
    }
}

async fn publish(desk: &Desk, dir: &Path, token: &str) -> super::Ran {
    let url = desk.legacy();
    let args = ["publish", "--publish-url", &url, "--token", token, "--trusted-publishing", "never"];
    desk.run(Client::Uv, dir, &args).await
}

/// What is done to an attestation before it is uploaded.
type Edit = fn(&mut Value);

on_backends!(signed_attestations_of_trusted_workflows_are_vouched_for, async |mut server: Server| {
    let issuer = Issuer::start().await;
    let sigstore = Sigstore::start(server.scratch("sigstore")).await;
    let root = sigstore.trusted_root().display().to_string();
    server.restart_with(&[("oidc.issuers", issuer.url()), ("attestations.trusted_root", &root)]).await;
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    Dist::new("widget", "0.1").upload_wheel().live(&server, &user).await;
    let trusted = json!({ "issuer": issuer.url(), "subject": "repo:acme/widget", "workflow_ref": "release.yml" });
    server.post("/v1/packages/pypi/widget/trusted-publishers", Some(&user.token), &trusted).await;

    let attested = async |version: &str, workflow: &str, edit: fn(&mut Value)| {
        let dist = Dist::new("widget", version);
        let dir = desk.folder(&format!("widget-{version}"));
        let wheel = format!("dist/{}", dist.wheel_name());
        desk.write(&dir, &wheel, dist.wheel());
        let mut attestation = sigstore.attest(issuer.url(), workflow, &dist.wheel_name(), &dist.wheel()).await;
        edit(&mut attestation);
        desk.write(&dir, &format!("{wheel}.publish.attestation"), attestation.to_string());
        (dir, attestation)
    };
    let provenance =
        |version: &str| format!("/pypi/integrity/widget/{version}/widget-{version}-py3-none-any.whl/provenance");

    let (dir, attestation) = attested("1.0", "release.yml", |_| {}).await;
    publish(&desk, &dir, &user.token).await.ok();
    let (status, body) = server.get(&provenance("1.0"), None).await;
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let bundle = &body["attestation_bundles"][0];
    let publisher = json!({ "kind": "GitHub", "repository": "acme/widget", "workflow": "release.yml" });
    assert_eq!((&bundle["publisher"], &bundle["attestations"][0]), (&publisher, &attestation));
    let (_, page) = server.get("/pypi/simple/widget/?format=application/vnd.pypi.simple.v1+json", None).await;
    let page: Value = serde_json::from_str(&page).expect("JSON");
    let shown: Vec<_> = page["files"].as_array().unwrap().iter().map(|file| &file["provenance"]).collect();
    let address = format!("{}{}", server.base_url(), provenance("1.0"));
    assert_eq!(shown, [&Value::Null, &json!(address)], "{page}");
    let (_, html) = server.get("/pypi/simple/widget/", None).await;
    assert_eq!(html.matches("data-provenance").count(), 1, "{html}");

    // A workflow that the project does not trust: a good signature, and nothing is shown of it.
    let (dir, _) = attested("1.1", "other.yml", |_| {}).await;
    publish(&desk, &dir, &user.token).await.ok();
    assert_eq!(server.get(&provenance("1.1"), None).await.0, 404);

    // The repository's name has changed hands since the publisher was used first, or has not.
    let db = server.database().await;
    for (version, owner, status) in [("1.2", "4712", 404), ("1.3", "4711", 200)] {
        db.execute_raw(&format!("UPDATE trusted_publishers SET source_owner_id = '{owner}'")).await.unwrap();
        let (dir, _) = attested(version, "release.yml", |_| {}).await;
        publish(&desk, &dir, &user.token).await.ok();
        assert_eq!(server.get(&provenance(version), None).await.0, status, "{version}");
    }

    // Signatures that do not hold are refused, and the file with them.
    let cases: [(&str, Edit, &str); 3] = [
        ("2.0", |a| a["verification_material"]["transparency_entries"] = json!([]), "no transparency log"),
        (
            "2.1",
            |a| a["verification_material"]["transparency_entries"][0]["integratedTime"] = json!("5"),
            "no transparency log",
        ),
        ("2.2", |a| a["envelope"]["signature"] = json!("MAYCAQECAQE="), "no transparency log"),
    ];
    for (version, edit, says) in cases {
        let (dir, _) = attested(version, "release.yml", edit).await;
        publish(&desk, &dir, &user.token).await.fails().says(says);
    }
    // Another authority, whoever it says it vouches for.
    let other = Sigstore::start(server.scratch("other-sigstore")).await;
    let dist = Dist::new("widget", "2.3");
    let dir = desk.folder("widget-2.3");
    let wheel = format!("dist/{}", dist.wheel_name());
    desk.write(&dir, &wheel, dist.wheel());
    let forged = other.attest(issuer.url(), "release.yml", &dist.wheel_name(), &dist.wheel()).await;
    desk.write(&dir, &format!("{wheel}.publish.attestation"), forged.to_string());
    publish(&desk, &dir, &user.token).await.fails().says("authority");
    let (_, page) = server.get("/pypi/simple/widget/", None).await;
    assert!(!page.contains("widget-2"), "{page}");
});
