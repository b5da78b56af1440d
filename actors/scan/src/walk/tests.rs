use std::io::Cursor;

use super::*;
use crate::corpus::{self, Case, TarBuilder, Verdict};

const FILES: &[(&str, &[u8])] = &[("package/package.json", b"{}"), ("package/lib/index.js", b"module.exports = 1")];

fn walk(bytes: &[u8], rules: &ArchiveRules) -> Result<(Vec<String>, ArchiveSummary), ArchiveError> {
    let mut paths = Vec::new();
    let summary = walk_targz(bytes, rules, &mut |entry| {
        paths.push(entry.path.to_owned());
        let mut data = Vec::new();
        entry.data.read_to_end(&mut data)?;
        assert_eq!(Some(data.len() as u64), entry.size);
        Ok(())
    })?;
    Ok((paths, summary))
}

fn single() -> ArchiveRules {
    ArchiveRules::new(RootRule::Single)
}

#[test]
fn every_crafted_archive_meets_its_verdict() {
    let cases = corpus::cases("package", FILES);
    assert!(cases.len() > 100, "{}", cases.len());
    for root in [RootRule::Single, RootRule::Exact("package/".into())] {
        for Case { name, bytes, verdict } in &cases {
            let result = walk(bytes, &ArchiveRules::new(root.clone()));
            match (verdict, result) {
                (Verdict::Refused(rule), Err(error)) => assert_eq!(error.rule, *rule, "{name}: {error}"),
                (Verdict::Noted(rule), Ok((_, summary))) => {
                    assert!(summary.notes.iter().any(|n| n.rule_id == *rule), "{name}: {:?}", summary.notes);
                    assert!(summary.notes.iter().all(|n| n.severity < Severity::High), "{name}");
                }
                (Verdict::Clean, Ok((paths, summary))) => {
                    assert_eq!(summary.notes, [], "{name}");
                    assert!(paths.len() >= FILES.len(), "{name}");
                }
                (_, other) => panic!("{name}: expected {verdict:?}, got {other:?}"),
            }
        }
    }
}

fn list_zip(bytes: &[u8], rules: &ArchiveRules) -> Result<(Vec<String>, ArchiveSummary), ArchiveError> {
    let mut paths = Vec::new();
    let summary = walk_zip(bytes, rules, &mut |entry| {
        paths.push(entry.path.to_owned());
        let mut data = Vec::new();
        entry.data.read_to_end(&mut data)?;
        assert!(entry.size.is_none_or(|size| size == data.len() as u64));
        Ok(())
    })?;
    Ok((paths, summary))
}

#[test]
fn every_crafted_zip_meets_its_verdict() {
    let cases = corpus::zip_cases(FILES);
    assert!(cases.len() > 100, "{}", cases.len());
    for Case { name, bytes, verdict } in &cases {
        match (verdict, list_zip(bytes, &ArchiveRules::new(RootRule::Any))) {
            (Verdict::Refused(rule), Err(error)) => assert_eq!(error.rule, *rule, "{name}: {error}"),
            (Verdict::Noted(rule), Ok((_, summary))) => {
                assert!(summary.notes.iter().any(|n| n.rule_id == *rule), "{name}: {:?}", summary.notes);
                assert!(summary.notes.iter().all(|n| n.severity < Severity::High), "{name}");
            }
            (Verdict::Clean, Ok((paths, summary))) => {
                assert_eq!(summary.notes, [], "{name}");
                assert!(paths.len() >= FILES.len(), "{name}");
            }
            (_, other) => panic!("{name}: expected {verdict:?}, got {other:?}"),
        }
    }
}

/// Links of both formats: path, target, and which rule takes them.
const LINKS: &[(&str, &str, bool, bool)] = &[
    // path, target, inside the archive, inside the top directory
    ("p/bin/tool", "../lib/tool.js", true, true),
    ("p/latest", "v1", true, true),
    ("p/up", "../q/x", true, false),
    ("top", "p/a", true, true),
    ("p/out", "../../etc/passwd", false, false),
    ("p/absolute", "/etc/passwd", false, false),
    ("p/later", "v1/../../..", false, false),
    ("p/drive", "c:/x", false, false),
    ("p/empty", "", false, false),
];

#[test]
fn links_that_stay_inside_are_taken_where_an_ecosystem_has_them() {
    let with = |links| ArchiveRules { links, ..ArchiveRules::new(RootRule::Any) };
    for (path, target, in_archive, in_top) in LINKS {
        let tar = TarBuilder::new().file("p/a", b"a").special(b'2', path, target).targz();
        let link = corpus::RawZipEntry {
            name: path.as_bytes(),
            data: target.as_bytes(),
            external: 0o120777 << 16,
            ..corpus::RawZipEntry::default()
        };
        let zip = corpus::ZipBuilder::new().file("p/a", b"a").entry(&link).finish();
        for (rule, is_taken) in
            [(LinkRule::Refuse, false), (LinkRule::InsideArchive, *in_archive), (LinkRule::InsideTop, *in_top)]
        {
            let in_tar = walk(&tar, &with(rule)).map(drop);
            let in_zip = list_zip(&zip, &with(rule)).map(drop);
            assert_eq!((in_tar.is_ok(), in_zip.is_ok()), (is_taken, is_taken), "{path} -> {target}, {rule:?}");
            if !is_taken {
                assert_eq!((in_tar.unwrap_err().rule, in_zip.unwrap_err().rule), ("ARC-L", "ARC-Z6"));
            }
        }
    }
}

#[test]
fn nothing_lies_below_a_link_and_no_link_has_two_targets() {
    let rules = ArchiveRules { links: LinkRule::InsideArchive, ..ArchiveRules::new(RootRule::Any) };
    let below = TarBuilder::new().special(b'2', "d", "e").file("d/x", b"").targz();
    let above = TarBuilder::new().file("d/x", b"").special(b'2', "d", "e").targz();
    let twice = TarBuilder::new().special(b'2', "d", "e").special(b'2', "d", "f").targz();
    for bytes in [&below, &above, &twice] {
        assert_eq!(walk(bytes, &rules).unwrap_err().rule, "ARC-Z3");
    }
    let link = |name: &'static [u8]| corpus::RawZipEntry {
        name,
        data: b"e",
        external: 0o120777 << 16,
        ..corpus::RawZipEntry::default()
    };
    let below = corpus::ZipBuilder::new().entry(&link(b"d")).file("d/x", b"").finish();
    assert_eq!(list_zip(&below, &rules).unwrap_err().rule, "ARC-Z3");
    let elsewhere = TarBuilder::new().pax(b'x', &[("linkpath", b"/etc")]).special(b'2', "d", "e").targz();
    let long = TarBuilder::new().extension(b'K', b"/etc\0").special(b'2', "d", "e").targz();
    for bytes in [&elsewhere, &long] {
        assert_eq!(walk(bytes, &rules).unwrap_err().rule, "ARC-T2");
    }
    let hard = TarBuilder::new().file("a", b"").special(b'1', "b", "a").targz();
    assert_eq!(walk(&hard, &rules).unwrap_err().rule, "ARC-L");
}

#[test]
fn wheels_may_not_have_descriptors() {
    let entry = corpus::RawZipEntry { has_descriptor: true, is_deflated: true, ..corpus::RawZipEntry::default() };
    let bytes = corpus::ZipBuilder::new().entry(&entry).finish();
    list_zip(&bytes, &ArchiveRules::new(RootRule::Any)).unwrap();
    let strict = ArchiveRules { descriptors: DescriptorRule::Refuse, ..ArchiveRules::new(RootRule::Any) };
    assert_eq!(list_zip(&bytes, &strict).unwrap_err().rule, "ARC-Z5");
}

#[test]
fn zips_have_the_limits_of_tars() {
    let zip = |data: &[u8]| corpus::ZipBuilder::new().file("p/a", data).file("p/b", b"x").finish();
    let bytes = zip(&[1; 1000]);
    let exact =
        ArchiveRules { max_entries: 2, max_entry_bytes: 1000, max_unpacked_bytes: 1001, max_depth: 2, ..single() };
    let (paths, summary) = list_zip(&bytes, &exact).unwrap();
    assert_eq!(paths, ["p/a", "p/b"]);
    assert_eq!((summary.files, summary.unpacked_bytes, summary.compressed_bytes), (2, 1001, bytes.len() as u64));
    assert_eq!(summary.root.as_deref(), Some("p"));
    for tight in [
        ArchiveRules { max_entries: 1, ..exact.clone() },
        ArchiveRules { max_entry_bytes: 999, ..exact.clone() },
        ArchiveRules { max_unpacked_bytes: 1000, ..exact.clone() },
        ArchiveRules { max_depth: 1, ..exact.clone() },
    ] {
        let error = list_zip(&bytes, &tight).unwrap_err();
        assert_eq!((error.rule, error.kind), ("ARC-B1", ErrorKind::Limit), "{tight:?}");
    }
    let bomb = zip(&vec![0; 80 << 20]);
    assert_eq!(list_zip(&bomb, &single()).unwrap_err().rule, "ARC-B1");
    // A size told behind the data is counted as it comes.
    let data = vec![7; 2000];
    let entry = corpus::RawZipEntry {
        name: b"p/a",
        data: &data,
        has_descriptor: true,
        is_deflated: true,
        ..corpus::RawZipEntry::default()
    };
    let bytes = corpus::ZipBuilder::new().entry(&entry).finish();
    assert_eq!(list_zip(&bytes, &exact).unwrap_err().rule, "ARC-B1");
}

#[test]
fn a_visitor_may_leave_the_data_of_a_zip_entry_unread() {
    let bytes = corpus::ZipBuilder::new().file("p/a", &[3; 100_000]).stored("p/b", &[4; 100_000]).finish();
    let mut heads = Vec::new();
    walk_zip(&bytes[..], &single(), &mut |entry| {
        let mut head = [0; 3];
        entry.data.read_exact(&mut head)?;
        heads.push(head);
        Ok(())
    })
    .unwrap();
    assert_eq!(heads, [[3; 3], [4; 3]]);
    let error =
        walk_zip(&bytes[..], &single(), &mut |entry| Err(ArchiveError::refuse("META-X", Some(entry.path), "no")))
            .unwrap_err();
    assert_eq!(error.rule, "META-X");
}

#[test]
fn the_summary_counts_what_is_there() {
    let bytes = corpus::tar(FILES).directory("package/empty/").targz();
    let (paths, summary) = walk(&bytes, &single()).unwrap();
    assert_eq!(paths, ["package/package.json", "package/lib/index.js", "package/empty/"]);
    let expected = ArchiveSummary {
        entries: 3,
        files: 2,
        unpacked_bytes: 20,
        compressed_bytes: bytes.len() as u64,
        root: Some("package".into()),
        notes: vec![],
    };
    assert_eq!(summary, expected);
}

#[test]
fn messages_name_the_entry_as_cargo_would() {
    let bytes = corpus::tar(&[]).special(b'2', "x-1.0.0/y", "z").targz();
    let error = walk(&bytes, &ArchiveRules::new(RootRule::Exact("x-1.0.0/".into()))).unwrap_err();
    assert_eq!(error.to_string(), "unexpected tar entry type Symlink found: x-1.0.0/y");
    assert_eq!((error.rule, error.path.as_deref(), error.kind), ("ARC-L", Some("x-1.0.0/y"), ErrorKind::Unsafe));
    let finding = error.to_finding();
    assert_eq!((finding.severity, finding.category), (Severity::High, Category::ArchiveUnsafe));
}

#[test]
fn unread_data_is_skipped_and_a_visitors_refusal_is_kept() {
    let bytes = corpus::targz(FILES);
    let mut seen = 0;
    walk_targz(&bytes[..], &single(), &mut |_| {
        seen += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, 2);
    let error =
        walk_targz(&bytes[..], &single(), &mut |entry| Err(ArchiveError::refuse("META-X", Some(entry.path), "no")))
            .unwrap_err();
    assert_eq!((error.rule, error.path.as_deref()), ("META-X", Some("package/package.json")));
}

#[test]
fn a_fault_in_the_stream_outranks_what_the_visitor_made_of_it() {
    let good = corpus::targz(&[("package/a", &[7; 100_000])]);
    let error = walk_targz(&good[..good.len() - 40], &single(), &mut |entry| {
        let mut text = Vec::new();
        entry.data.read_to_end(&mut text).map_err(|_| ArchiveError::refuse("META-X", None, "unreadable"))?;
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.rule, "ARC-T1", "{error}");
}

#[test]
fn a_failing_input_is_not_the_archives_fault() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::ConnectionReset, "gone"))
        }
    }
    let bytes = corpus::targz(FILES);
    let error = walk_targz(Cursor::new(&bytes[..20]).chain(Broken), &single(), &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io);
}

#[test]
fn each_limit_refuses_just_above_it() {
    let bytes = corpus::targz(&[("p/a", &[1; 1000]), ("p/b", &[2; 1000])]);
    // Two headers, two files of two blocks each, and the end marker.
    let exact =
        ArchiveRules { max_entries: 2, max_entry_bytes: 1000, max_unpacked_bytes: 4096, max_depth: 2, ..single() };
    walk(&bytes, &exact).unwrap();
    for tight in [
        ArchiveRules { max_entries: 1, ..exact.clone() },
        ArchiveRules { max_entry_bytes: 999, ..exact.clone() },
        ArchiveRules { max_unpacked_bytes: 4095, ..exact.clone() },
        ArchiveRules { max_depth: 1, ..exact.clone() },
    ] {
        let error = walk(&bytes, &tight).unwrap_err();
        assert_eq!((error.rule, error.kind), ("ARC-B1", ErrorKind::Limit), "{tight:?}");
    }
}

#[test]
fn the_ratio_rule_stops_a_bomb_early_and_spares_small_archives() {
    let zeros = vec![0; 80 << 20];
    let bomb = corpus::targz(&[("p/zeros", &zeros)]);
    let error = walk(&bomb, &single()).unwrap_err();
    assert_eq!((error.rule, error.kind), ("ARC-B1", ErrorKind::Limit));
    walk(&bomb, &ArchiveRules { max_ratio: 2000, ..single() }).unwrap();
    walk(&corpus::targz(&[("p/zeros", &zeros[..60 << 20])]), &single()).unwrap();
}

#[test]
fn zeros_after_the_end_marker_count_as_unpacked() {
    let bytes = corpus::gzip(&[corpus::tar(FILES).finish(), vec![0; 100_000]].concat());
    let error = walk(&bytes, &ArchiveRules { max_unpacked_bytes: 50_000, ..single() }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Limit);
}

#[test]
fn nested_entries_are_visited_on_request_and_share_the_budget() {
    let inner = corpus::targz(&[("in/secret", b"s"), ("in/more", &[5; 5000])]);
    let bytes = corpus::targz(&[("p/x.tgz", &inner), ("p/y", b"z")]);
    let rules = ArchiveRules { visits_nested: true, ..single() };
    let mut seen = Vec::new();
    let summary = walk_targz(&bytes[..], &rules, &mut |entry| {
        seen.push((entry.path.to_owned(), entry.within.map(str::to_owned)));
        Ok(())
    })
    .unwrap();
    let within = Some("p/x.tgz".to_owned());
    let expected = [
        ("p/x.tgz".to_owned(), None),
        ("in/secret".to_owned(), within.clone()),
        ("in/more".to_owned(), within),
        ("p/y".to_owned(), None),
    ];
    assert_eq!(seen, expected);
    assert_eq!(summary.entries, 2);
    let error = walk(&bytes, &ArchiveRules { max_entries: 3, ..single() }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Limit);
    let error = walk_targz(&bytes[..], &rules, &mut |entry| match entry.within {
        Some(_) => Err(ArchiveError::refuse("META-X", None, "no")),
        None => Ok(()),
    })
    .unwrap_err();
    assert_eq!(error.rule, "META-X");
}

#[test]
fn case_insensitive_rules_refuse_what_is_otherwise_noted() {
    let bytes = corpus::targz(&[("p/Cargo.toml", b""), ("p/cargo.toml", b"")]);
    assert_eq!(walk(&bytes, &single()).unwrap().1.notes.len(), 1);
    let strict = ArchiveRules { duplicates: DuplicateRule::CaseInsensitive, ..single() };
    assert_eq!(walk(&bytes, &strict).unwrap_err().rule, "ARC-Z3");
}

#[test]
fn a_leading_dot_is_taken_off_where_it_may_be() {
    let bytes = TarBuilder::new().directory("./").directory("./d/").file("./d/f", b"").file("./g", b"").targz();
    let any = ArchiveRules::new(RootRule::Any);
    assert_eq!(walk(&bytes, &any).unwrap_err().rule, "ARC-Z3");
    let dotted = ArchiveRules { takes_dot_slash: true, ..any };
    assert_eq!(walk(&bytes, &dotted).unwrap().0, ["d/", "d/f", "g"]);
    for bad in [&["./d", "d"][..], &["././d"], &["./../d"], &[".//d"], &["./"]] {
        let tar = bad.iter().fold(TarBuilder::new(), |tar, path| tar.file(path, b""));
        assert!(walk(&tar.targz(), &dotted).is_err(), "{bad:?}");
    }
}

#[test]
fn paths_below_the_root_are_what_clients_see() {
    let bytes = TarBuilder::new().directory("p/").directory("p/d/").file("p/d/f", b"").targz();
    let mut below = Vec::new();
    walk_targz(&bytes[..], &single(), &mut |entry| {
        below.push(entry.below_root().map(str::to_owned));
        Ok(())
    })
    .unwrap();
    assert_eq!(below, [None, Some("d".to_owned()), Some("d/f".to_owned())]);
}
