//! The program as an operator runs it: arguments in, output and exit code out.

mod program;

use std::{fs, os::unix::fs::PermissionsExt};

use program::{Program, exit, run, text};

#[test]
fn usage_faults_exit_2_and_help_0() {
    let program = Program::new();
    for args in [&["--version"][..], &["--help"], &["admin", "--help"], &["bench", "jobs", "--help"]] {
        assert_eq!(exit(&program.run(args)), 0, "{args:?}");
    }
    for args in [
        &["frobnicate"][..],
        &["admin", "create-user"],
        &["admin", "create-user", "--username", "ada", "--email", "a@b.example", "--password", "secret"],
        &["--listen", "127.0.0.1:0", "migrate"],
        &["gc", "--grace", "24"],
        &["bench", "jobs", "--count", "0"],
    ] {
        assert_eq!(exit(&program.run(args)), 2, "{args:?}");
    }
}

#[test]
fn every_configuration_fault_is_printed_and_exits_78() {
    let program = Program::new();
    let output = run(program
        .command(&["serve", "--listen", "nowhere"])
        .env("PUBLARYN__STORAGE__BACKEND", "s3")
        .env("PUBLARYN__RATE_LIMIT__AUTH_PER_MINUTE", "0"));
    assert_eq!(exit(&output), 78);
    let lines = text(&output.stderr);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("config error: server.listen: expected an address"), "{lines:?}");
    assert!(lines[1].starts_with("config error: rate_limit.auth_per_minute: must be at least 1"), "{lines:?}");
    let bucket =
        "config error: storage.s3.bucket: required when storage.backend = \"s3\" (set PUBLARYN__STORAGE__S3__BUCKET)";
    assert_eq!(lines[2], bucket);
    assert!(!program.data().exists(), "nothing was created");
}

#[test]
fn migrate_tells_whether_it_is_needed() {
    let program = Program::new();
    assert_eq!(exit(&program.run(&["migrate", "--check"])), 3);
    assert_eq!(exit(&program.run(&["migrate", "--dry-run"])), 0);
    assert!(!program.data().exists(), "looking creates nothing");
    assert_eq!(exit(&program.run(&["migrate"])), 0);
    assert_eq!(exit(&program.run(&["migrate", "--check"])), 0);
    assert_eq!(fs::metadata(program.data()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn accounts_and_tokens() {
    let program = Program::new();
    // Without a database there is nothing to work on: a wrong --data-dir must not create one.
    let create = ["admin", "create-user", "--username", "ada", "--email", "ada@example.com", "--password-stdin"];
    let output = program.run_with_input(&create, "a password of some length\n");
    assert_eq!(exit(&output), 1, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("there is no database at"));

    program.migrated();
    let output = program.run_with_input(&create, "a password of some length\n");
    assert_eq!(exit(&output), 0, "{}", text(&output.stderr));
    let id = text(&output.stdout);
    assert_eq!(id.trim().len(), 36, "the id is printed: {id:?}");

    let output = program.run_with_input(&create, "a password of some length\n");
    assert_eq!((exit(&output), text(&output.stdout).as_str()), (1, ""));
    let output = program.run_with_input(
        &["admin", "create-user", "--username", "bob", "--email", "b@example.com", "--password-stdin"],
        "short\n",
    );
    assert_eq!(exit(&output), 1);
    assert!(text(&output.stderr).contains("at least 12 characters"), "{}", text(&output.stderr));
    // Nobody to ask, and nothing given.
    assert_eq!(exit(&program.run(&["admin", "set-password", "--username", "ada"])), 2);

    let file = program.scratch().join("password");
    fs::write(&file, "another password of some length\n").unwrap();
    let set = ["admin", "set-password", "--username", "ada", "--password-file", file.to_str().unwrap()];
    assert_eq!(exit(&program.run(&set)), 0);
    assert_eq!(exit(&program.run(&["admin", "grant-admin", "--username", "ada"])), 0);
    assert_eq!(exit(&program.run(&["admin", "reset-mfa", "--username", "ada"])), 0);
    let output = program.run(&["admin", "grant-admin", "--username", "nobody"]);
    assert_eq!(exit(&output), 1);
    assert!(text(&output.stderr).contains("no such account"));
    // The last administrator stays one.
    assert_eq!(exit(&program.run(&["admin", "grant-admin", "--username", "ada", "--revoke"])), 1);

    let token =
        ["admin", "create-token", "--username", "ada", "--name", "ci", "--scopes", "packages:publish,packages:read"];
    let output = program.run(&token);
    assert_eq!(exit(&output), 0, "{}", text(&output.stderr));
    let secret = text(&output.stdout);
    assert!(secret.starts_with("pub_") && secret.lines().count() == 1, "only the token is printed");
    let unknown = ["admin", "create-token", "--username", "ada", "--name", "ci", "--scopes", "packages:fly"];
    assert_eq!(exit(&program.run(&unknown)), 2);
}

#[test]
fn a_signing_key_others_can_read_stops_everything() {
    let program = Program::new();
    program.migrated();
    assert_eq!(exit(&program.run(&["admin", "grant-admin", "--username", "ada"])), 1);
    let key = program.data().join("secrets/jwt.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let output = program.run(&["admin", "grant-admin", "--username", "ada"]);
    assert_eq!(exit(&output), 78);
    assert!(text(&output.stderr).contains("chmod 600"), "{}", text(&output.stderr));
    let output = program.run(&["doctor"]);
    assert_eq!(exit(&output), 1);
    assert!(text(&output.stdout).lines().any(|line| line.starts_with("fail  permissions")));
}

#[test]
fn doctor_reports_line_by_line() {
    let program = Program::new();
    program.migrated();
    let output = program.run(&["doctor"]);
    assert_eq!(exit(&output), 0, "{}", text(&output.stdout));
    for line in text(&output.stdout).lines() {
        let status = line.split_whitespace().next().unwrap();
        assert!(matches!(status, "ok" | "warn"), "{line}");
    }
    let json: serde_json::Value = serde_json::from_slice(&program.run(&["doctor", "--json"]).stdout).unwrap();
    let names: Vec<_> =
        json["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    for name in ["configuration", "data_dir", "permissions", "database", "migrations", "storage", "search", "base_url"]
    {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }

    // A port nobody listens on, given up at once.
    let output = run(program
        .command(&["doctor"])
        .env("PUBLARYN__DATABASE__URL", "postgres://u:hunter2@127.0.0.1:1/x")
        .env("PUBLARYN__STARTUP__WAIT_SECONDS", "0"));
    assert_eq!(exit(&output), 1);
    assert!(text(&output.stdout).contains("fail  database"), "{}", text(&output.stdout));
    assert!(!text(&output.stdout).contains("hunter2") && !text(&output.stderr).contains("hunter2"));
}

#[test]
fn the_effective_configuration_is_shown_without_secrets() {
    let program = Program::new();
    let output = run(program
        .command(&["doctor", "--print-config", "--log-level", "warn"])
        .env("PUBLARYN__METRICS__TOKEN", "hunter2")
        .env("PUBLARYN__SERVER__LISTEN", "127.0.0.1:4000"));
    let shown = text(&output.stdout);
    assert!(!shown.contains("hunter2"));
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("metrics.token").contains("***  (PUBLARYN__METRICS__TOKEN)"));
    assert!(line("server.listen").contains("127.0.0.1:4000  (PUBLARYN__SERVER__LISTEN)"));
    assert!(line("server.base_url").contains("http://127.0.0.1:4000  (derived)"));
    assert!(line("log.level").contains("warn  (--log-level)"));
}

#[test]
fn an_unreachable_database_exits_69_naming_the_setting() {
    let program = Program::new();
    let output = run(program
        .command(&["migrate"])
        .env("PUBLARYN__DATABASE__URL", "postgres://u:hunter2@127.0.0.1:1/x")
        .env("PUBLARYN__STARTUP__WAIT_SECONDS", "0"));
    assert_eq!(exit(&output), 69);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("database.url") && !stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn a_data_directory_that_cannot_be_made_exits_73() {
    let program = Program::new();
    fs::write(program.data(), "a file").unwrap();
    assert_eq!(exit(&program.run(&["migrate"])), 73);
}
