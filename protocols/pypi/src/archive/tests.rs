use proptest::prelude::*;
use publaryn_scan::corpus::{self, RawZipEntry, Verdict, ZipBuilder, targz};

use super::*;

type Files = Vec<(String, Vec<u8>)>;

const LIMITS: ArchiveLimits = ArchiveLimits {
    max_entries: 1000,
    max_unpacked_bytes: 64 << 20,
    max_entry_bytes: 64 << 20,
    max_ratio: 50,
    checks_hashes: true,
};

const METADATA: &[u8] = b"Metadata-Version: 2.1\nName: Demo.Pkg\nVersion: 1.0\n\nhello\n";
const WHEEL: &[u8] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
const INFO: &str = "Demo_Pkg-1.0.dist-info";

fn hashed(path: &str, data: &[u8]) -> String {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    format!("{path},sha256={},{}\n", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(data)), data.len())
}

/// The files of a wheel with a right RECORD, which comes last.
fn wheel_files(files: &[(&str, &[u8])]) -> Files {
    let mut all: Files = files.iter().map(|(p, d)| ((*p).to_owned(), d.to_vec())).collect();
    let mut record: String = all.iter().map(|(path, data)| hashed(path, data)).collect();
    record.push_str(&format!("{INFO}/RECORD,,\n"));
    all.push((format!("{INFO}/RECORD"), record.into_bytes()));
    all
}

fn good_files() -> Files {
    let (metadata, wheel) = (format!("{INFO}/METADATA"), format!("{INFO}/WHEEL"));
    wheel_files(&[("demo/__init__.py", b"x = 1\n"), (&metadata, METADATA), (&wheel, WHEEL)])
}

fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    files.iter().fold(ZipBuilder::new(), |zip, (path, data)| zip.file(path, data)).finish()
}

fn wheel(bytes: &[u8]) -> Result<Distribution, ArchiveError> {
    read_distribution(&mut &bytes[..], Format::Wheel, LIMITS)
}

fn name(filename: &str) -> DistributionName {
    DistributionName::parse(filename, "demo-pkg", "1.0").unwrap()
}

#[test]
fn a_wheel_gives_its_metadata_byte_for_byte() {
    let read = wheel(&zip(&good_files())).unwrap();
    assert_eq!(read.metadata_file, METADATA);
    assert_eq!((read.stem.as_str(), read.metadata.name.as_str()), ("Demo_Pkg-1.0", "Demo.Pkg"));
    read.check_identity(&name("demo_pkg-1.0.0-py3-none-any.whl"), "demo-pkg", "1.0.0").unwrap();
}

#[test]
fn what_is_missing_or_too_much_in_a_wheel_is_refused() {
    let edited = |edit: &dyn Fn(&mut Files)| {
        let mut files = good_files();
        edit(&mut files);
        wheel(&zip(&files)).unwrap_err()
    };
    for missing in ["METADATA", "WHEEL", "RECORD"] {
        let error = edited(&|files| files.retain(|(path, _)| !path.ends_with(missing)));
        assert!(error.message.contains(&format!("no {missing}")), "{error}");
    }
    let without_info = wheel(&zip(&[("demo.py".to_owned(), vec![])])).unwrap_err();
    assert_eq!(without_info.rule, "META-WHEEL");
    for (what, path, rule) in [
        ("a second dist-info", "other-1.0.dist-info/METADATA", "META-WHEEL"),
        ("a dist-info of another spelling", "demo-1.0.DIST-INFO/METADATA", "META-WHEEL"),
        ("a file called dist-info", "x.dist-info", "META-WHEEL"),
        ("a file that RECORD does not list", "demo/hidden.py", "META-RECORD"),
    ] {
        let error = edited(&|files| files.insert(0, (path.to_owned(), b"x".to_vec())));
        assert_eq!(error.rule, rule, "{what}: {error}");
    }
    let error = edited(&|files| files[0].1 = b"x = 2\n".to_vec());
    assert_eq!(error.rule, "META-RECORD");
    assert!(error.message.contains("hash"), "{error}");
    let error = edited(&|files| files.retain(|(path, _)| !path.starts_with("demo/")));
    assert!(error.message.contains("not there: demo/__init__.py"), "{error}");
    for (from, to) in [(&b"1.0\nGen"[..], &b"2.0\nGen"[..]), (b"Tag: py3-none-any\n", b""), (b"py3-none-any", b"py3")] {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let changed = text(WHEEL).replace(&text(from), &text(to));
        let (metadata, wheel_path) = (format!("{INFO}/METADATA"), format!("{INFO}/WHEEL"));
        let files = wheel_files(&[(&metadata, METADATA), (&wheel_path, changed.as_bytes())]);
        assert!(wheel(&zip(&files)).unwrap_err().message.starts_with("WHEEL cannot be read"));
    }
}

#[test]
fn hashes_are_compared_only_where_asked() {
    let mut files = good_files();
    files[0].1 = b"x = 2\n".to_vec();
    let lax = ArchiveLimits { checks_hashes: false, ..LIMITS };
    read_distribution(&mut &zip(&files)[..], Format::Wheel, lax).unwrap();
}

#[test]
fn identity_is_compared_as_clients_do() {
    let read = wheel(&zip(&good_files())).unwrap();
    let ok = name("Demo.Pkg-1.0-py3-none-any.whl");
    read.check_identity(&ok, "demo-pkg", "1.0").unwrap();
    for (project, version) in [("demo", "1.0"), ("demo-pkg", "1.1")] {
        assert_eq!(read.check_identity(&ok, project, version).unwrap_err().rule, "META-IDENTITY");
    }
    let tagged = name("demo_pkg-1.0-cp312-cp312-linux_x86_64.whl");
    assert!(read.check_identity(&tagged, "demo-pkg", "1.0").unwrap_err().message.contains("tags"));
    let mut moved = read.clone();
    moved.stem = "other-1.0".into();
    assert!(moved.check_identity(&ok, "demo-pkg", "1.0").unwrap_err().message.contains("directory"));
}

#[test]
fn every_crafted_zip_is_refused_as_a_wheel_or_rightly_accepted() {
    let files = good_files();
    let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(p, d)| (p.as_str(), d.as_slice())).collect();
    for case in corpus::zip_cases(&borrowed) {
        let result = wheel(&case.bytes);
        if let Verdict::Refused(rule) = case.verdict {
            let error = result.expect_err(case.name);
            // Wheels have no data descriptors, so that a wrong one is not even looked at.
            assert!(error.rule == rule || error.rule == "ARC-Z5", "{}: {error}", case.name);
        } else if let Err(error) = result {
            // What a case adds is not in RECORD, and wheels have no data descriptors.
            assert!(matches!(error.rule, "META-RECORD" | "ARC-Z5"), "{}: {error}", case.name);
        }
    }
    let linked = RawZipEntry { name: b"demo/l", data: b"/etc/passwd", external: 0o120777 << 16, ..Default::default() };
    let bytes = files.iter().fold(ZipBuilder::new(), |z, (p, d)| z.file(p, d)).entry(&linked).finish();
    assert_eq!(wheel(&bytes).unwrap_err().rule, "ARC-Z6");
}

#[test]
fn scripts_are_found() {
    let text = b"[console_scripts]\nrun = demo:main\n# no = x\n\n[other]\nx = y\n[gui_scripts]\n../evil = demo:main\n";
    assert_eq!(scripts(text), ["run", "../evil"]);
}

#[test]
fn an_sdist_has_one_directory_with_its_metadata() {
    let good: &[(&str, &[u8])] = &[("Demo.Pkg-1.0/PKG-INFO", METADATA), ("Demo.Pkg-1.0/setup.py", b"")];
    let tar = |files: &[(&str, &[u8])]| {
        let bytes = targz(files);
        read_distribution(&mut &bytes[..], Format::SdistTarGz, LIMITS)
    };
    let read = tar(good).unwrap();
    assert_eq!((read.stem.as_str(), read.tags.as_ref()), ("Demo.Pkg-1.0", None));
    read.check_identity(&name("demo_pkg-1.0.tar.gz"), "demo-pkg", "1.0").unwrap();
    let zipped = good.iter().fold(ZipBuilder::new(), |zip, (path, data)| zip.file(path, data)).finish();
    read_distribution(&mut &zipped[..], Format::SdistZip, LIMITS).unwrap();

    assert_eq!(tar(&good[1..]).unwrap_err().rule, "META-SDIST");
    let cased = [("Demo.Pkg-1.0/pkg-info", METADATA), good[1]];
    assert_eq!(tar(&cased).unwrap_err().rule, "META-SDIST");
    let elsewhere = [good[0], ("other/x", &b""[..])];
    assert_eq!(tar(&elsewhere).unwrap_err().rule, "ARC-T3");
    assert_eq!(tar(&[good[0], ("Demo.Pkg-1.0/big", &vec![0; 70 << 20])]).unwrap_err().rule, "ARC-B1");
    for case in corpus::cases("Demo.Pkg-1.0", good) {
        let result = read_distribution(&mut &case.bytes[..], Format::SdistTarGz, LIMITS);
        match case.verdict {
            Verdict::Refused(rule) => assert_eq!(result.expect_err(case.name).rule, rule, "{}", case.name),
            _ => assert!(result.is_ok(), "{}: {result:?}", case.name),
        }
    }
}

proptest! {
    #[test]
    fn damaged_wheels_never_panic_and_never_change_their_metadata(
        at in any::<prop::sample::Index>(), value in any::<u8>(),
    ) {
        let mut bytes = zip(&good_files());
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(read) = wheel(&bytes) {
            prop_assert_eq!(read.metadata_file, METADATA);
        }
    }

    #[test]
    fn noise_is_no_distribution(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        for format in [Format::Wheel, Format::SdistTarGz, Format::SdistZip] {
            prop_assert!(read_distribution(&mut &bytes[..], format, LIMITS).is_err());
        }
    }

    #[test]
    fn no_metadata_panics(text in "\\PC{0,200}", entry_points in "\\PC{0,100}") {
        let _ = wheel_tags(text.as_bytes());
        scripts(entry_points.as_bytes());
    }
}
