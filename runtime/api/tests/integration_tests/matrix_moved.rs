//! Derivation rule R12 of access.md §10: a package that is its owner's own in a repository that is somebody else's.

use serde_json::json;

use crate::app::{self, Person, column};

#[tokio::test(flavor = "multi_thread")]
async fn r12_a_package_is_read_by_its_owners_in_a_repository_that_is_not_theirs() {
    app::each(async |server| {
        let (ada, old, new) = (server.person("ada").await, server.person("old").await, server.person("new").await);
        let (acme, _) = (server.org(&ada, "acme").await, server.org(&ada, "beta").await);
        server.join(&ada, "acme", &old, "maintainer").await;
        server.join(&ada, "beta", &new, "maintainer").await;
        server.repository(&ada, &acme, "vault", "private", "private").await;
        for name in ["moved-tool", "other-tool"] {
            let body = json!({"ecosystem": "npm", "name": name, "repository_slug": "vault"});
            server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
            server.npm_published(&ada.token, name, "1.0.0").await;
        }
        let path = "/v1/packages/npm/moved-tool";
        let hand = server.post(format!("{path}/ownership-transfer"), json!({"target_org_slug": "beta"}));
        hand.bearer(&ada.token).expect(200).await;

        // Package rows are unaffected for the new owner's people …
        let file = format!("{path}/releases/1.0.0/artifacts/moved-tool-1.0.0.tgz");
        for read in [path.to_owned(), format!("{path}/releases"), format!("{path}/tags"), file] {
            server.get(&read).bearer(&new.token).expect(200).await;
            server.get(&read).bearer(&old.token).problem(404, "not_found").await;
        }
        assert_eq!(server.npm_read(Some(&new.token), "moved-tool").await, 200);
        assert_eq!(server.npm_read(Some(&old.token), "moved-tool").await, 404);
        server.npm_published(&new.token, "moved-tool", "1.1.0").await;
        server.patch(path, json!({"description": "x"})).bearer(&new.token).expect(200).await;
        server.patch(path, json!({"description": "x"})).bearer(&old.token).problem(404, "not_found").await;
        // … whom the repository is still hidden from.
        let repository = "/v1/repositories/vault";
        server.get(repository).bearer(&new.token).problem(404, "not_found").await;
        server.get(format!("{repository}/packages")).bearer(&new.token).problem(404, "not_found").await;
        server.patch(repository, json!({"name": "x"})).bearer(&new.token).problem(404, "not_found").await;
        server.delete(repository).bearer(&new.token).problem(404, "not_found").await;
        let body = json!({"ecosystem": "npm", "name": "third-tool", "repository_slug": "vault"});
        server.post("/v1/packages", body).bearer(&new.token).problem(404, "not_found").await;

        let list = async |path: &str, person: &Person| {
            column(&server.get(path).bearer(&person.token).expect(200).await.body["packages"], "name")
        };
        assert_eq!(list("/v1/repositories/vault/packages", &old).await, ["other-tool"]);
        assert_eq!(list("/v1/orgs/beta/packages", &new).await, ["moved-tool"]);
        assert_eq!(list("/v1/orgs/beta/packages", &old).await, Vec::<String>::new());
        assert_eq!(list("/v1/orgs/acme/packages", &new).await, Vec::<String>::new());
        let coverage =
            server.get("/v1/orgs/beta/repository-package-coverage").bearer(&new.token).expect(200).await.body;
        assert_eq!(column(&coverage["repositories"], "repository_slug"), ["vault"]);
        assert_eq!(column(&coverage["repositories"][0]["packages"], "name"), ["moved-tool"]);
    })
    .await;
}
