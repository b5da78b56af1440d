use proptest::prelude::*;
use publaryn_scan::corpus::{self, TarBuilder};

use super::*;

const LIMITS: ArchiveLimits = ArchiveLimits { max_entries: 50_000, max_unpacked_bytes: 64 << 20, max_ratio: 50 };
const MANIFEST: &[u8] = b"[package]\nname = \"x\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";

fn read(archive: &[u8]) -> Result<CrateArchive, ArchiveError> {
    read_crate(&mut &*archive, "x", "1.0.0", LIMITS)
}

fn refusal(archive: &[u8]) -> String {
    read(archive).expect_err("refused").message
}

#[test]
fn a_packed_crate_is_read() {
    let vcs = br#"{"git":{"sha1":"0123456789abcdef0123456789abcdef01234567"},"path_in_vcs":""}"#;
    let archive = corpus::targz(&[
        ("x-1.0.0/.cargo_vcs_info.json", vcs),
        ("x-1.0.0/Cargo.toml", MANIFEST),
        ("x-1.0.0/src/main.rs", b"fn main() {}"),
        ("x-1.0.0/src/sub/Cargo.toml", b"not even toml ["),
    ]);
    let seen = read(&archive).unwrap();
    assert_eq!((seen.has_lib, seen.bin_names, seen.summary.files), (false, vec!["x".to_owned()], 4));
    assert_eq!(seen.vcs_commit.as_deref(), Some("0123456789abcdef0123456789abcdef01234567"));
    assert_eq!(seen.manifest.about.edition.as_deref(), Some("2021"));
}

#[test]
fn the_manifest_must_be_there_once_and_agree() {
    let with = |path: &str, manifest: &[u8]| refusal(&corpus::targz(&[(path, manifest)]));
    assert_eq!(with("x-1.0.0/src/lib.rs", b""), "uploaded tarball is missing a `Cargo.toml` manifest file");
    assert!(with("x-1.0.0/cargo.toml", MANIFEST).contains("must be called `Cargo.toml`"));
    assert!(with("x-1.0.0/Cargo.toml", b"[").contains("failed to parse `Cargo.toml`"));
    assert_eq!(
        with("x-1.0.0/Cargo.toml", b"[package]\nname = 'b'\nversion = '1.0.0'"),
        "metadata name `x` does not match manifest name `b`"
    );
    assert_eq!(
        with("x-1.0.0/Cargo.toml", b"[package]\nname = 'x'\nversion = '1.0.1'"),
        "metadata version `1.0.0` does not match manifest version `1.0.1`"
    );
    let twice = corpus::targz(&[("x-1.0.0/Cargo.toml", MANIFEST), ("x-1.0.0/Cargo.toml", MANIFEST)]);
    assert!(refusal(&twice).contains("two files of the same path"));
    let cased = corpus::targz(&[("x-1.0.0/Cargo.toml", MANIFEST), ("x-1.0.0/CARGO.TOML", MANIFEST)]);
    read(&cased).unwrap_err();
}

#[test]
fn everything_lies_under_the_one_root() {
    for root in ["y-1.0.0", "x-1.0.1", "X-1.0.0", "x"] {
        let path = format!("{root}/Cargo.toml");
        assert!(refusal(&corpus::targz(&[(&path, MANIFEST)])).contains("x-1.0.0/"), "{root}");
    }
    for path in ["x-1.0.0/../evil", "/x-1.0.0/abs", "x-1.0.0/a\\b", "evil"] {
        let archive = corpus::targz(&[("x-1.0.0/Cargo.toml", MANIFEST), (path, b"")]);
        assert!(read(&archive).is_err(), "{path}");
    }
}

#[test]
fn links_are_refused_in_the_words_publishers_know() {
    let archive =
        TarBuilder::new().file("x-1.0.0/Cargo.toml", MANIFEST).special(b'2', "x-1.0.0/y", "/etc/passwd").targz();
    assert_eq!(refusal(&archive), "unexpected tar entry type Symlink found: x-1.0.0/y");
}

#[test]
fn what_is_not_a_gzip_is_refused() {
    read(b"PK\x03\x04").unwrap_err();
    read(b"").unwrap_err();
    let mut trailing = corpus::targz(&[("x-1.0.0/Cargo.toml", MANIFEST)]);
    trailing.push(0);
    read(&trailing).unwrap_err();
}

#[test]
fn bombs_are_refused() {
    let zeroes = vec![0; 70 << 20];
    let archive = corpus::targz(&[("x-1.0.0/Cargo.toml", MANIFEST), ("x-1.0.0/zeroes", &zeroes)]);
    assert_eq!(read(&archive).unwrap_err().kind, publaryn_scan::ErrorKind::Limit);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read(&bytes).ok();
    }

    /// One flipped byte of the tar: refused, or still the crate that was asked for.
    #[test]
    fn a_damaged_archive_is_refused_or_still_this_crate(at in 0usize..4096, with: u8) {
        let mut tar = TarBuilder::new().file("x-1.0.0/Cargo.toml", MANIFEST).file("x-1.0.0/src/lib.rs", b"").finish();
        let at = at % tar.len();
        tar[at] = with;
        if let Ok(seen) = read(&corpus::gzip(&tar)) {
            prop_assert_eq!((seen.manifest.name.as_str(), seen.manifest.version.as_str()), ("x", "1.0.0"));
        }
    }
}
