//! Starting, stopping, and what works beside a running server.

mod program;

use std::{fs, path::Path};

use program::{Program, exit, get, put_blob, run, text};

#[test]
fn it_serves_announces_itself_and_stops_on_sigterm() {
    let program = Program::new();
    let server = program.serve(&[]);
    assert!(get(&server, "/health").starts_with("HTTP/1.1 200"));
    let address = server.address.clone();
    let output = server.stop();
    assert_eq!(exit(&output), 0, "{}", text(&output.stderr));
    let line = format!("publaryn {} listening on http://{address}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&output.stdout), line);
    // Not a terminal: the log is JSON lines.
    for line in text(&output.stderr).lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string());
    }
}

#[test]
fn a_second_server_on_the_same_data_exits_75() {
    let program = Program::new();
    let server = program.serve(&[]);
    let output = program.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(exit(&output), 75);
    let message = text(&output.stderr);
    assert!(message.contains(&format!("(process {})", server.pid())), "{message}");
    assert_eq!(exit(&server.stop()), 0);
    // After a crash the lock is gone with the process.
    drop(program.serve(&[]));
    assert_eq!(exit(&program.serve(&[]).stop()), 0);
}

#[test]
fn pending_migrations_stop_a_server_that_may_not_migrate() {
    let program = Program::new();
    let output = run(program.command(&["--listen", "127.0.0.1:0"]).env("PUBLARYN__DATABASE__AUTO_MIGRATE", "false"));
    assert_eq!(exit(&output), 78);
    assert!(text(&output.stderr).contains("config error: database.auto_migrate: "), "{}", text(&output.stderr));
}

#[test]
fn backup_of_a_running_server_restores_to_the_same_data() {
    let program = Program::new();
    let server = program.serve(&[]);
    let create = ["admin", "create-user", "--username", "ada", "--email", "ada@example.com", "--password-stdin"];
    assert_eq!(exit(&program.run_with_input(&create, "a password of some length\n")), 0);
    let blob = b"the bytes of a package";
    let blob_path = put_blob(&program.data(), blob);

    let output = program.run(&["backup", "--out", "backup.tar.zst"]);
    assert_eq!(exit(&output), 0, "{}", text(&output.stderr));
    assert!(!program.data().join(".backup").exists() && !program.data().join("blobs/.backup").exists());
    server.stop();

    let restore = |archive: &str, data: &str| program.run(&["restore", "--from", archive, "--data-dir", data]);
    assert_eq!(exit(&restore("backup.tar.zst", "data")), 1, "not into a directory with something in it");
    let output = restore("backup.tar.zst", "restored");
    assert_eq!(exit(&output), 0, "{}", text(&output.stderr));
    let restored = program.scratch().join("restored");
    assert_eq!(fs::read(restored.join("blobs").join(&blob_path)).unwrap(), blob);
    let key = |data: &Path| fs::read(data.join("secrets/jwt.key")).unwrap();
    assert_eq!(key(&restored), key(&program.data()));
    assert!(!restored.join(".restoring").exists());
    // The account is there: its name is taken.
    let mut again = vec!["--data-dir", "restored"];
    again.extend(create);
    let output = program.run_with_input(&again, "a password of some length\n");
    assert!(text(&output.stderr).contains("already taken"), "{}", text(&output.stderr));
    let server = program.serve(&["--data-dir", "restored"]);
    assert!(get(&server, "/health").starts_with("HTTP/1.1 200"));
    assert_eq!(exit(&server.stop()), 0);
}

#[test]
fn a_damaged_backup_restores_nothing() {
    let program = Program::new();
    program.migrated();
    assert_eq!(exit(&program.run(&["backup", "--out", "backup.tar.zst"])), 0);
    let good = fs::read(program.scratch().join("backup.tar.zst")).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (name, bytes) in
        [("cut", &good[..good.len() * 2 / 3]), ("flipped", &flipped[..]), ("empty", &[][..]), ("other", b"hello")]
    {
        fs::write(program.scratch().join(name), bytes).unwrap();
        let output = program.run(&["restore", "--from", name, "--data-dir", "restored"]);
        assert_eq!(exit(&output), 1, "{name}");
        assert!(text(&output.stderr).contains("nothing was restored"), "{}", text(&output.stderr));
        assert!(!program.scratch().join("restored").exists(), "{name} left something behind");
    }
}

#[test]
fn a_blob_that_is_not_what_its_name_says_is_reported() {
    let program = Program::new();
    program.migrated();
    let path = put_blob(&program.data(), b"right");
    fs::write(program.data().join("blobs").join(&path), b"wrong").unwrap();
    let output = program.run(&["backup", "--out", "backup.tar.zst"]);
    assert_eq!(exit(&output), 1);
    assert!(text(&output.stderr).contains(&path), "{}", text(&output.stderr));
    assert!(program.scratch().join("backup.tar.zst").exists());
}

#[test]
fn services_are_backed_up_with_their_own_tools() {
    let program = Program::new();
    let output = run(program
        .command(&["backup", "--out", "x"])
        .env("PUBLARYN__DATABASE__URL", "postgres://db/x")
        .env("PUBLARYN__STORAGE__BACKEND", "s3")
        .env("PUBLARYN__STORAGE__S3__BUCKET", "b"));
    assert_eq!(exit(&output), 78);
    let message = text(&output.stderr);
    assert!(message.contains("pg_dump") && message.contains("aws s3 sync"), "{message}");
}
