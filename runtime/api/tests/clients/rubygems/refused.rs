use super::{Desk, Packed, packed::gzip};
use crate::{Server, User, on_backends};

async fn push(server: &Server, user: &User, body: Vec<u8>) -> (u16, String) {
    let request = server.http.post(format!("{}/rubygems/api/v1/gems", server.base_url()));
    let response = request.header("authorization", &user.token).body(body).send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("a body"))
}

on_backends!(broken_gems_are_refused_with_the_reason, async |server: Server| {
    let user = server.new_user("ada").await;
    let good = Packed::new("acme", "1.0.0");
    let spec = |from: &str, to: &str| {
        assert!(good.spec.contains(from), "{from}");
        Packed { spec: good.spec.replacen(from, to, 1), ..good.clone() }.bytes()
    };
    let with_file = |path: &str| Packed { files: vec![(path.into(), b"x".to_vec())], ..good.clone() }.bytes();
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n";
    let mut two_members = gzip(b"a");
    two_members.extend(gzip(b"b"));
    for (what, bytes, wanted) in [
        ("nothing", Vec::new(), "The gem could not be processed: "),
        ("no tar", b"no tar at all".repeat(100), "The gem could not be processed: "),
        ("cut off", good.bytes()[..1000].to_vec(), "The gem could not be processed: "),
        ("climbing", with_file("../evil.rb"), "The gem could not be processed: "),
        ("absolute", with_file("/etc/evil"), "The gem could not be processed: "),
        ("link", Packed { link: Some(("l".into(), "/etc/passwd".into())), ..good.clone() }.bytes(), "leads out"),
        ("two gzip members", Packed { data: Some(two_members), ..good.clone() }.bytes(), "more than one gzip member"),
        ("no metadata", Packed { has_metadata: false, ..good.clone() }.bytes(), "has no metadata.gz"),
        ("checksum", Packed { checksum: Some("0".repeat(64)), ..good.clone() }.bytes(), "the SHA256 of data.tar.gz"),
        ("further", Packed { further: vec![("x.rb".into(), vec![])], ..good.clone() }.bytes(), "found: x.rb"),
        ("twice", Packed { further: vec![("metadata.gz".into(), gzip(b"a"))], ..good.clone() }.bytes(), "same path"),
        ("alias bomb", Packed { spec: format!("{}{bomb}", good.spec), ..good.clone() }.bytes(), "an anchor names"),
        ("tag", spec("summary: s", "summary: !ruby/object:Kernel {}"), "a tag that gems do not need"),
        ("platform", spec("platform: ruby", "platform: !ruby/object:Gem::Platform {os: java}"), "a tag"),
        ("name", spec("name: acme", "name: ../x"), "no gem name"),
        ("version", spec("version: 1.0.0", "version: latest"), "no version"),
        ("authors", spec("- Ada", "- ''"), "no authors"),
        ("twice a key", spec("summary: s", "summary: s\nsummary: t"), "twice"),
    ] {
        let (status, text) = push(&server, &user, bytes).await;
        assert_eq!(status, 422, "{what}: {text}");
        assert!(text.contains(wanted) && text.starts_with("The gem could not be processed: "), "{what}: {text}");
    }
    assert_eq!(server.database().await.count_rows("packages").await.unwrap(), 0);
    // All of it is free still.
    assert_eq!(push(&server, &user, good.bytes()).await.0, 200);
});

on_backends!(clients_are_told_why_a_gem_is_refused, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    let dir = desk.folder("bad");
    let good = Packed::new("acme", "1.0.0");
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n";
    for (what, gem, wanted) in [
        ("climbing", Packed { files: vec![("../x".into(), vec![])], ..good.clone() }, "`..`"),
        ("bomb", Packed { spec: format!("{}{bomb}", good.spec), ..good.clone() }, "an anchor names"),
    ] {
        let file = desk.write(&dir, &format!("{what}.gem"), gem.bytes());
        desk.push_file(&file).await.fails().says("The gem could not be processed: ").says(wanted);
    }
    // Without a specification the client itself does not know what to send, and checksums it checks itself.
    let file = desk.write(&dir, "bare.gem", Packed { has_metadata: false, ..good.clone() }.bytes());
    desk.push_file(&file).await.fails();
    let file = desk.write(&dir, "checksum.gem", Packed { checksum: Some("0".repeat(64)), ..good.clone() }.bytes());
    desk.push_file(&file).await.fails().says("checksum mismatch");
    let file = desk.write(&dir, "good.gem", good.bytes());
    desk.push_file(&file).await.ok();
});

on_backends!(links_that_stay_inside_are_taken, async |server: Server| {
    let user = server.new_user("ada").await;
    let mut gem = Packed::new("linked", "1.0.0");
    gem.link = Some(("lib/alias.rb".into(), "linked.rb".into()));
    gem.spec = gem.spec.replacen("- lib/linked.rb", "- lib/linked.rb\n- lib/alias.rb", 1);
    let (status, text) = push(&server, &user, gem.bytes()).await;
    assert_eq!(status, 200, "{text}");
    let desk = Desk::new(&server, "installer");
    desk.install(&desk.source(), &["linked"]).await.ok();
    let installed = desk.target().join("gems/linked-1.0.0/lib");
    assert_eq!(std::fs::read(installed.join("alias.rb")).unwrap(), std::fs::read(installed.join("linked.rb")).unwrap());
});

on_backends!(files_that_the_specification_hides_are_blocked, async |server: Server| {
    let user = server.new_user("ada").await;
    let mut gem = Packed::new("acme", "1.0.0");
    gem.files.push(("rubygems_plugin.rb".into(), b"x".to_vec()));
    let (status, text) = push(&server, &user, gem.bytes()).await;
    assert_eq!(status, 403, "{text}");
    assert!(text.starts_with("The gem was blocked by a scan: ") && text.contains("rubygems_plugin.rb"), "{text}");
    assert_eq!(server.get("/rubygems/info/acme", None).await.0, 404);
    assert_eq!(server.get("/rubygems/gems/acme-1.0.0.gem", None).await.0, 404);
});

on_backends!(file_names_have_one_owner, async |server: Server| {
    let user = server.new_user("ada").await;
    assert_eq!(push(&server, &user, Packed::new("a-1-x", "2").bytes()).await.0, 200);
    let mut clash = Packed::new("a", "1");
    clash.spec = clash.spec.replacen("platform: ruby", "platform: x-2", 1);
    let (status, text) = push(&server, &user, clash.bytes()).await;
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("a-1-x-2.gem"), "{text}");
});

on_backends!(attestations_are_not_taken, async |server: Server| {
    let user = server.new_user("ada").await;
    let gem = Packed::new("acme", "1.0.0").bytes();
    let form = |attestations: &str| {
        let mut body = b"--x\r\nContent-Disposition: form-data; name=\"gem\"; filename=\"a.gem\"\r\n\r\n".to_vec();
        body.extend_from_slice(&gem);
        body.extend(
            format!(
                "\r\n--x\r\nContent-Disposition: form-data; name=\"attestations\"\r\n\r\n{attestations}\r\n--x--\r\n"
            )
            .bytes(),
        );
        let request = server.http.post(format!("{}/rubygems/api/v1/gems", server.base_url()));
        request
            .header("authorization", &user.token)
            .header("content-type", "multipart/form-data; boundary=x")
            .body(body)
            .send()
    };
    let refused = form("[{}]").await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), refused.text().await.unwrap().as_str()),
        (400, "Attestations are not supported.\n")
    );
    assert_eq!(form("[]").await.unwrap().status().as_u16(), 200);
});
