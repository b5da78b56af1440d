//! The access matrix of access.md §10: every cell of its table with the derivation rules, asked over HTTP.
//!
//! The table stands here as it stands in the contract; the rules turn it into what each actor must be answered in
//! each variant. Requests are real ones; where a permitted one would destroy what the next cell needs, it is sent
//! with a body that only a permitted caller is told is wrong (control-plane.md §1.2, order of checks).

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use publaryn_core::{
    ReleaseId, Timestamp,
    finding::{Category, Finding, FindingKind, Severity},
};
use serde_json::{Value, json};

use crate::{
    app::{self, Answer, Call, Person, Server, text},
    cargo, oci,
};

/// Columns of the table, in the contract's order.
const ACTORS: [&str; 18] =
    ["A", "S", "U", "O", "D", "M", "P", "C", "N", "B", "V", "gA", "gP", "gM", "gR", "gS", "gT", "X"];

/// `y` allow, else the status: `1` 401, `3` 403, `4` 404.
const TABLE: [(u8, &str); 21] = [
    (1, "yyyyyyyyyyyyyyyyyy"),
    (2, "yyyyyyyyyyyyyyyyyy"),
    (3, "44yyyyyy444yyy4yy4"),
    (4, "444444444444444444"),
    (5, "yyyyyyyyyyyyyyyyyy"),
    (6, "13yyyy33333y3y3333"),
    (7, "13yyy333333y333333"),
    (8, "13yyyyy3333yy33333"),
    (9, "13yyyyy3333yy33333"),
    (10, "13yyyyy3333yy33333"),
    (11, "14yyyyy3444yy3433y"),
    (12, "13yyy333333y33333y"),
    (13, "yyyyyyyyyyyyyyyyyy"),
    (14, "13yyy333333y333333"),
    (15, "13yyy33y333y333y33"),
    (16, "13yyy33y333y333y3y"),
    (17, "13yyy333333y3333y3"),
    (18, "13yyyy33333yyy3333"),
    (19, "13yyy333333y333333"),
    (20, "13yyy333333y3333y3"),
    (21, "13yyy333333y333333"),
];

/// What makes a variant of the table.
#[derive(Debug, Clone, Copy, Default)]
struct Variant {
    visibility: &'static str,
    /// Grants are on the repository, not on the package.
    repository_grants: bool,
    restrict_private_reads: bool,
    mfa_required: bool,
    archived: bool,
    user_owned: bool,
}

impl Variant {
    fn is_open(self) -> bool {
        matches!(self.visibility, "public" | "unlisted")
    }

    /// The contract's cell after its derivation rules.
    fn expected(self, row: u8, actor: &str) -> char {
        let cells = TABLE.iter().find(|(number, _)| *number == row).expect("a row of the table").1;
        let column = |actor: &str| {
            let at = ACTORS.iter().position(|known| *known == actor).expect("a column of the table");
            char::from(cells.as_bytes()[at])
        };
        let is_grant = actor.starts_with('g');
        // Row mark ʳ: a package grant is none on the repository.
        let effective = if is_grant && matches!(row, 18..=20) && !self.repository_grants { "V" } else { actor };
        let mut cell = column(effective);
        // R4: two roles are like strangers to private things.
        let is_shut_out = self.restrict_private_reads && self.visibility == "private" && matches!(effective, "B" | "V");
        let alike = if is_shut_out { "S" } else { effective };
        if is_shut_out {
            cell = column("S");
        }
        // R1.
        if !self.is_open() {
            match (row, alike) {
                (1 | 2 | 13, "A" | "S" | "X") | (5, "A" | "S" | "X") => cell = '4',
                (6..=12 | 14..=21, "S") => cell = '4',
                (6..=12 | 14..=21, "X") if cell != 'y' => cell = '4',
                _ => {}
            }
        }
        // R2, R3: found by nobody.
        if row == 5 && matches!(self.visibility, "unlisted" | "quarantined") {
            cell = '4';
        }
        // R5: who governs or was granted needs a second factor to write.
        let needs_factor =
            matches!(effective, "O" | "D" | "M" | "P" | "C") || is_grant && effective != "V" && actor != "gR";
        if self.mfa_required && needs_factor && matches!(row, 6..=12 | 14..=21) && cell == 'y' {
            cell = '3';
        }
        // R10, and R3 for what cannot be changed in quarantine.
        if cell == 'y' && (self.archived && row == 8 || self.visibility == "quarantined" && matches!(row, 8 | 10)) {
            cell = '9';
        }
        cell
    }
}

/// The cast of one variant, with the package they all go for.
struct Stage<'a> {
    server: &'a Server,
    variant: Variant,
    people: BTreeMap<&'static str, Person>,
    /// Has a second factor, so that the variant does not stop it.
    boss: Person,
    finding: String,
    image: oci::Image,
    next: AtomicUsize,
    cells: AtomicUsize,
    /// What differs from the contract.
    faults: std::sync::Mutex<Vec<String>>,
}

const NAME: &str = "matrix-tool";
const PATH: &str = "/v1/packages/npm/matrix-tool";
const CRATE: &str = "matrix-crate";
const IMAGE: &str = "matrix/image";
const SLUG: &str = "matrix-repo";

impl<'a> Stage<'a> {
    async fn set(server: &'a Server, variant: Variant) -> Self {
        let boss = server.person("boss").await;
        server.give_mfa(&boss).await;
        let mut people = BTreeMap::new();
        people.insert("S", server.person("stranger").await);
        people.insert("X", server.admin("platform").await);
        let owner = if variant.user_owned {
            people.insert("U", boss.clone());
            json!({})
        } else {
            let acme = server.org(&boss, "acme").await;
            let roles = [
                ("D", "admin"),
                ("M", "maintainer"),
                ("P", "publisher"),
                ("C", "security_manager"),
                ("N", "auditor"),
                ("B", "billing_manager"),
                ("V", "viewer"),
            ];
            for (code, role) in roles {
                let person = server.person(&format!("role-{}", role.replace('_', "-"))).await;
                server.join(&boss, "acme", &person, role).await;
                people.insert(code, person);
            }
            let heir = server.person("second-owner").await;
            server.join(&boss, "acme", &heir, "admin").await;
            server.db().execute_raw("UPDATE memberships SET role = 'owner' WHERE role = 'admin' AND user_id = (SELECT id FROM users WHERE username = 'second-owner')").await.unwrap();
            people.insert("O", heir);
            json!({"owner_org_id": acme["id"]})
        };
        let start = if variant.visibility == "quarantined" { "public" } else { variant.visibility };
        let mut body = json!({"name": SLUG, "slug": SLUG, "kind": "public", "visibility": start});
        body.as_object_mut().unwrap().extend(owner.as_object().unwrap().clone());
        server.post("/v1/repositories", body).bearer(&boss.token).expect(201).await;
        for (ecosystem, name) in [("npm", NAME), ("cargo", CRATE), ("oci", IMAGE)] {
            let body = json!({"ecosystem": ecosystem, "name": name, "repository_slug": SLUG});
            server.post("/v1/packages", body).bearer(&boss.token).expect(201).await;
        }
        server.npm_published(&boss.token, NAME, "1.0.0").await;
        let published = cargo::publish(server, Some(&boss.token), CRATE, "1.0.0").await;
        assert_eq!(published.status, 200, "{}", published.text);
        let image = oci::push(server, &boss.token, IMAGE).await;
        let live = server.get(format!("{PATH}/releases/1.0.0")).bearer(&boss.token).expect(200).await.body;
        let finding = plant_finding(server, &boss, &live).await;
        server.post(format!("{PATH}/releases"), json!({"version": "9.0.0"})).bearer(&boss.token).expect(201).await;
        if !variant.user_owned {
            let grants = [
                ("gA", "admin"),
                ("gP", "publish"),
                ("gM", "write_metadata"),
                ("gR", "read_private"),
                ("gS", "security_review"),
                ("gT", "transfer_ownership"),
            ];
            for (code, permission) in grants {
                let slug = permission.replace('_', "-");
                let person = server.person(&format!("g-{slug}")).await;
                server.join(&boss, "acme", &person, "viewer").await;
                server.team(&boss, "acme", &slug, &[&person]).await;
                let base = format!("/v1/orgs/acme/teams/{slug}");
                let paths = if variant.repository_grants {
                    vec![format!("{base}/repository-access/{SLUG}")]
                } else {
                    vec![
                        format!("{base}/package-access/npm/{NAME}"),
                        format!("{base}/package-access/cargo/{CRATE}"),
                        format!("{base}/package-access/oci/matrix%2Fimage"),
                    ]
                };
                for path in paths {
                    server.put(path, json!({"permissions": [permission]})).bearer(&boss.token).expect(200).await;
                }
                people.insert(code, person);
            }
            let rules = json!({
                "restrict_private_reads": variant.restrict_private_reads, "mfa_required": variant.mfa_required,
            });
            server.patch("/v1/orgs/acme", rules).bearer(&boss.token).expect(200).await;
        }
        for path in [PATH, "/v1/packages/cargo/matrix-crate", "/v1/packages/oci/matrix%2Fimage"] {
            if variant.archived {
                server.patch(path, json!({"is_archived": true})).bearer(&boss.token).expect(200).await;
            }
            if variant.visibility == "quarantined" {
                let body = json!({"reason": "matrix"});
                server.put(format!("{path}/quarantine"), body).bearer(&boss.token).expect(200).await;
            }
        }
        if variant.visibility == "quarantined" {
            let hide = json!({"visibility": "quarantined"});
            server.patch(format!("/v1/repositories/{SLUG}"), hide).bearer(&boss.token).expect(200).await;
        }
        let (next, cells, faults) = (AtomicUsize::new(10), AtomicUsize::new(0), std::sync::Mutex::default());
        Self { server, variant, people, boss, finding, image, next, cells, faults }
    }

    fn actors(&self) -> Vec<&'static str> {
        ACTORS.into_iter().filter(|actor| *actor == "A" || self.people.contains_key(actor)).collect()
    }

    fn fresh(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn by(&self, actor: &str, call: Call) -> Call {
        call.maybe(self.people.get(actor))
    }

    fn note(&self, row: u8, actor: &str, what: &str, expected: char, answer: &Answer) {
        self.cells.fetch_add(1, Ordering::Relaxed);
        let code = answer.body["code"].as_str().unwrap_or_default();
        let is_met = match expected {
            'y' => (200..300).contains(&answer.status) || answer.status == 422 && code == "validation_failed",
            '1' => answer.status == 401,
            '3' => answer.status == 403,
            '4' => answer.status == 404,
            '9' => answer.status == 409,
            _ => false,
        };
        if !is_met {
            self.faults.lock().unwrap().push(format!(
                "row {row} {what}, {actor}, {:?}: wanted {expected}, got {} {code}",
                self.variant, answer.status
            ));
        }
        // R5 says why.
        if self.variant.mfa_required
            && answer.status == 403
            && self.plain(row, actor) == 'y'
            && !code.is_empty()
            && code != "mfa_required_by_organization"
        {
            self.faults.lock().unwrap().push(format!("row {row} {what}, {actor}: refused as {code}"));
        }
    }

    /// The cell without the second factor.
    fn plain(&self, row: u8, actor: &str) -> char {
        Variant { mfa_required: false, ..self.variant }.expected(row, actor)
    }

    async fn check(&self, row: u8, actor: &str, what: &str, call: Call) -> Answer {
        let expected = self.variant.expected(row, actor);
        let answer = self.by(actor, call).send().await;
        self.note(row, actor, what, expected, &answer);
        answer
    }

    /// Reads (rows 1–5, 13).
    async fn reads(&self) {
        let server = self.server;
        for actor in self.actors() {
            for rest in ["", "/releases", "/releases/1.0.0", "/releases/1.0.0/artifacts", "/tags", "/security-findings"]
            {
                self.check(1, actor, rest, server.get(format!("{PATH}{rest}"))).await;
            }
            let file = format!("{PATH}/releases/1.0.0/artifacts/{NAME}-1.0.0.tgz");
            let answer = self.by(actor, server.get(&file)).send().await;
            let mut expected = self.variant.expected(2, actor);
            if self.variant.visibility == "quarantined" && expected == 'y' {
                // R3: bytes for those who judge them.
                let manages = self.variant.expected(3, actor) == 'y';
                expected = if manages { 'y' } else { '3' };
            }
            self.note(2, actor, "download", expected, &answer);
            let mut native = self.variant.expected(2, actor);
            if self.variant.visibility == "quarantined" {
                native = '4';
            }
            for path in [
                format!("/npm/{NAME}"),
                format!("/npm/{NAME}/-/{NAME}-1.0.0.tgz"),
                cargo::index_path(CRATE),
                cargo::download_path(CRATE, "1.0.0"),
            ] {
                let answer = self.native(actor, server.get(&path)).send().await;
                self.note(2, actor, &path, native, &answer);
            }
            self.pulls(actor, native).await;
            self.check(3, actor, "staged", server.get(format!("{PATH}/releases/9.0.0"))).await;
            self.check(3, actor, "staged files", server.get(format!("{PATH}/releases/9.0.0/artifacts"))).await;
            let answer = self.by(actor, server.get(format!("{PATH}/releases/9.0.0/pipeline"))).send().await;
            let expected = if actor == "A" { '1' } else { self.variant.expected(3, actor) };
            self.note(3, actor, "pipeline", expected, &answer);
            let staged = self.native(actor, server.get(format!("/npm/{NAME}/-/{NAME}-9.0.0.tgz"))).send().await;
            self.note(4, actor, "staged, native", self.variant.expected(4, actor), &staged);
            self.check(13, actor, "trusted publishers", server.get(format!("{PATH}/trusted-publishers"))).await;
        }
        self.search().await;
    }

    /// Native clients send API tokens and sessions alike; cargo sends them bare.
    fn native(&self, actor: &str, call: Call) -> Call {
        self.by(actor, call)
    }

    async fn search(&self) {
        // The index may lag for five seconds; the boss sees it when it has caught up.
        let finds = async |person: Option<&Person>| {
            let body = self.server.get("/v1/search?q=matrix-tool").maybe(person).expect(200).await.body;
            body["packages"].as_array().unwrap().iter().any(|hit| hit["name"] == NAME)
        };
        let someone_finds = self.actors().into_iter().any(|actor| self.variant.expected(5, actor) == 'y');
        let since = Instant::now();
        while someone_finds && !finds(Some(&self.boss)).await {
            assert!(since.elapsed() < Duration::from_secs(5), "the index did not catch up");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for actor in self.actors() {
            self.cells.fetch_add(1, Ordering::Relaxed);
            let wanted = self.variant.expected(5, actor) == 'y';
            if finds(self.people.get(actor)).await != wanted {
                self.faults.lock().unwrap().push(format!("row 5, {actor}, {:?}: wanted {wanted}", self.variant));
            }
        }
    }

    /// Writes (rows 6–12, 14–21).
    async fn writes(&self) {
        let server = self.server;
        for actor in self.actors() {
            let n = self.fresh();
            self.check(6, actor, "PATCH", server.patch(PATH, json!({"description": "the same"}))).await;
            let same = if self.variant.visibility == "quarantined" { "public" } else { self.variant.visibility };
            let archived = json!({"is_archived": self.variant.archived});
            let body = if self.variant.visibility == "quarantined" { archived } else { json!({"visibility": same}) };
            self.check(7, actor, "PATCH visibility", server.patch(PATH, body)).await;
            // Not a mode there is: only who may delete is told so.
            self.check(7, actor, "DELETE", server.delete(format!("{PATH}?mode=no"))).await;
            let body = json!({"version": format!("{n}.0.0")});
            self.check(8, actor, "create release", server.post(format!("{PATH}/releases"), body)).await;
            self.native_publishes(actor).await;
            self.check(9, actor, "deprecate", server.put(format!("{PATH}/releases/1.0.0/deprecate"), json!({}))).await;
            self.native_yanks(actor).await;
            self.check(10, actor, "tag", server.put(format!("{PATH}/tags/t"), json!({"version": "1.0.0"}))).await;
            let tag = server.call("PUT", format!("/npm/-/package/{NAME}/dist-tags/native")).json(json!("1.0.0"));
            let answer = self.native(actor, tag).send().await;
            self.note(10, actor, "dist-tag", self.natively(10, actor, &answer), &answer);
            self.deletes(actor).await;
            let body = json!({"issuer": "https://gitlab.com", "subject": format!("s{n}")});
            self.check(14, actor, "trust", server.post(format!("{PATH}/trusted-publishers"), body)).await;
            let path = format!("{PATH}/security-findings/{}", self.finding);
            self.check(15, actor, "triage", server.patch(path, json!({"is_resolved": false}))).await;
            self.check(16, actor, "quarantine", server.put(format!("{PATH}/quarantine"), json!({}))).await;
            self.check(17, actor, "transfer", server.post(format!("{PATH}/ownership-transfer"), json!({}))).await;
            let body = json!({"repository_slug": SLUG});
            self.check(18, actor, "create package", server.post("/v1/packages", body)).await;
            self.image_deletes(actor).await;
            let repository = format!("/v1/repositories/{SLUG}");
            self.check(19, actor, "PATCH repository", server.patch(&repository, json!({}))).await;
            let transfer = server.post(format!("{repository}/ownership-transfer"), json!({}));
            self.check(20, actor, "transfer repository", transfer).await;
        }
    }

    /// What a native surface answers: quarantined packages are refused in the ecosystem's form, 403 or 409, or are
    /// hidden from reads that come first.
    fn natively(&self, row: u8, actor: &str, answer: &Answer) -> char {
        match self.variant.expected(row, actor) {
            '9' if matches!(answer.status, 403 | 404 | 409) => match answer.status {
                403 => '3',
                404 => '4',
                _ => '9',
            },
            other => other,
        }
    }

    async fn native_publishes(&self, actor: &str) {
        let n = self.fresh();
        let token = self.people.get(actor).map(|person| person.token.as_str());
        let version = format!("{n}.1.0");
        let answer = match token {
            Some(token) => self.server.npm_publish(token, NAME, &version).await,
            None => self.server.call("PUT", format!("/npm/{NAME}")).json(json!({})).send().await,
        };
        self.note(8, actor, "npm publish", self.natively(8, actor, &answer), &answer);
        if answer.status == 401 && answer.headers.contains_key("www-authenticate") {
            // npm's clients discard what an answer says that carries a challenge.
            self.faults.lock().unwrap().push("npm publish: a challenge".into());
        }
        let answer = cargo::publish(self.server, token, CRATE, &version).await;
        self.note(8, actor, "cargo publish", self.natively(8, actor, &answer), &answer);
        self.challenged("cargo publish", &answer);
    }

    async fn native_yanks(&self, actor: &str) {
        let path = format!("/cargo/api/v1/crates/{CRATE}/1.0.0/yank");
        let answer = self.native(actor, self.server.delete(path)).send().await;
        let mut expected = self.variant.expected(9, actor);
        if self.variant.visibility == "quarantined" && actor != "A" {
            // Natively it is hidden from everybody.
            expected = '4';
        }
        self.note(9, actor, "cargo yank", expected, &answer);
    }

    /// R9: what is hidden from anonymous callers is asked for with a challenge where clients of the ecosystem send
    /// their credentials only then (access.md §11); others are told that it is missing.
    async fn pulls(&self, actor: &str, native: char) {
        for path in [format!("/v2/{IMAGE}/manifests/many"), format!("/v2/{IMAGE}/blobs/{}", self.image.blob)] {
            let answer = self.native(actor, self.server.get(&path)).send().await;
            let expected = if actor == "A" && native == '4' { '1' } else { native };
            self.note(2, actor, &path, expected, &answer);
            self.challenged(&path, &answer);
        }
    }

    /// R9: a 401 says how to sign in.
    fn challenged(&self, what: &str, answer: &Answer) {
        if answer.status == 401 && !answer.headers.contains_key("www-authenticate") {
            self.faults.lock().unwrap().push(format!("{what}: 401 without a challenge"));
        }
    }

    /// Row 21, of content that is needed, so that a permitted request destroys nothing: 405 says so.
    async fn image_deletes(&self, actor: &str) {
        for path in
            [format!("/v2/{IMAGE}/manifests/{}", self.image.manifest), format!("/v2/{IMAGE}/blobs/{}", self.image.blob)]
        {
            let mut answer = self.native(actor, self.server.delete(&path)).send().await;
            self.challenged(&path, &answer);
            if answer.status == 405 {
                answer.status = 202;
            }
            let mut expected = self.variant.expected(21, actor);
            if self.variant.visibility == "quarantined" && expected == '3' && answer.status == 404 {
                // Natively it is hidden from those who could not have pushed it.
                expected = '4';
            }
            self.note(21, actor, &path, expected, &answer);
        }
    }

    /// Rows 11 and 12 destroy what they are allowed to, so each gets something of its own.
    async fn deletes(&self, actor: &str) {
        let server = self.server;
        let can_stage = self.variant.visibility != "quarantined" && !self.variant.archived;
        let boss = &self.boss.token;
        let version = if can_stage {
            let version = format!("{}.2.0", self.fresh());
            server.post(format!("{PATH}/releases"), json!({"version": version})).bearer(boss).expect(201).await;
            version
        } else {
            "9.0.0".to_owned()
        };
        if can_stage || self.variant.expected(11, actor) != 'y' {
            self.check(11, actor, "delete staged", server.delete(format!("{PATH}/releases/{version}"))).await;
        }
        let live = if self.variant.expected(12, actor) == 'y' && can_stage {
            let version = format!("{}.3.0", self.fresh());
            server.npm_published(boss, NAME, &version).await;
            version
        } else {
            "1.0.0".to_owned()
        };
        if can_stage || self.variant.expected(12, actor) != 'y' {
            self.check(12, actor, "delete live", server.delete(format!("{PATH}/releases/{live}"))).await;
        }
    }

    fn finish(self) {
        let cells = self.cells.into_inner();
        println!("access matrix: {cells} cells for {:?}", self.variant);
        let faults = self.faults.into_inner().unwrap();
        assert!(faults.is_empty(), "{} of {cells} cells differ:\n{}", faults.len(), faults.join("\n"));
    }
}

async fn plant_finding(server: &Server, boss: &Person, release: &Value) -> String {
    let finding = Finding {
        rule_id: "TEST-1".into(),
        kind: FindingKind::PolicyViolation,
        category: Category::NameConfusion,
        severity: Severity::Low,
        title: "odd".into(),
        description: None,
        location: String::new(),
    };
    let id: ReleaseId = serde_json::from_value(release["id"].clone()).unwrap();
    let mut tx = server.db().begin().await.unwrap();
    tx.upsert_finding(id, None, &finding, Timestamp::now()).await.unwrap();
    tx.commit().await.unwrap();
    let list = server.get(format!("{PATH}/security-findings")).bearer(&boss.token).expect(200).await;
    text(&list.body["findings"][0]["id"])
}

async fn walk(variant: Variant) {
    app::each(async |server| {
        let stage = Stage::set(server, variant).await;
        stage.reads().await;
        stage.writes().await;
        stage.finish();
    })
    .await;
}

macro_rules! variants {
    ($($name:ident: { $($field:ident: $value:expr),* })*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                walk(Variant { $($field: $value,)* ..Variant::default() }).await;
            }
        )*
    };
}

variants! {
    base_table: { visibility: "public" }
    base_table_with_repository_grants: { visibility: "public", repository_grants: true }
    base_table_of_a_person: { visibility: "public", user_owned: true }
    r1_private: { visibility: "private" }
    r1_private_with_repository_grants: { visibility: "private", repository_grants: true }
    r1_private_of_a_person: { visibility: "private", user_owned: true }
    r1_internal: { visibility: "internal_org" }
    r2_unlisted: { visibility: "unlisted" }
    r3_quarantined: { visibility: "quarantined" }
    r4_restricted: { visibility: "private", restrict_private_reads: true }
    r5_second_factor: { visibility: "public", mfa_required: true }
    r10_archived: { visibility: "public", archived: true }
}
