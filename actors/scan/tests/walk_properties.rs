//! Random and half-valid archives: the walker never panics, stays within its limits, and whatever it accepts
//! reads the same in the `tar` crate.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use proptest::{collection::vec, prelude::*, sample::select, strategy::ValueTree};
use publaryn_scan::{
    ArchiveRules, EntryKind, ErrorKind, RootRule,
    corpus::{GNU, RawHeader, TarBuilder, USTAR, V7, gzip, pax_record, seal},
    walk_targz,
};

#[derive(Debug, PartialEq)]
struct Listed {
    path: String,
    is_file: bool,
    data: Vec<u8>,
}

fn rules() -> ArchiveRules {
    ArchiveRules {
        max_entries: 20,
        max_entry_bytes: 4096,
        max_unpacked_bytes: 64 << 10,
        ..ArchiveRules::new(RootRule::Any)
    }
}

/// Our listing, or `None` if refused; checks on the way that no limit is exceeded.
fn ours(bytes: &[u8]) -> Option<Vec<Listed>> {
    let rules = rules();
    let mut listed: Vec<Listed> = Vec::new();
    let result = walk_targz(bytes, &rules, &mut |entry| {
        let mut data = Vec::new();
        entry.data.read_to_end(&mut data)?;
        assert_eq!(Some(data.len() as u64), entry.size);
        assert!(data.len() as u64 <= rules.max_entry_bytes);
        listed.push(Listed { path: entry.path.to_owned(), is_file: entry.kind == EntryKind::File, data });
        Ok(())
    });
    assert!(listed.len() as u64 <= rules.max_entries);
    assert!(listed.iter().map(|l| l.data.len() as u64).sum::<u64>() <= rules.max_unpacked_bytes);
    match result {
        Ok(summary) => {
            assert_eq!(summary.entries, listed.len() as u64);
            assert_eq!(summary.compressed_bytes, bytes.len() as u64);
            Some(listed)
        }
        Err(error) => {
            assert_ne!(error.kind, ErrorKind::Io, "{error}");
            assert!(!error.message.is_empty() && !error.message.chars().any(char::is_control), "{error:?}");
            None
        }
    }
}

fn theirs(bytes: &[u8]) -> std::io::Result<Vec<Listed>> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(bytes));
    let mut listed = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_pax_global_extensions() {
            continue;
        }
        let path = String::from_utf8(entry.path_bytes().into_owned()).map_err(std::io::Error::other)?;
        let is_file = entry.header().entry_type().is_file();
        assert!(is_file || entry.header().entry_type().is_dir(), "{path}");
        let mut data = Vec::new();
        entry.read_to_end(&mut data)?;
        listed.push(Listed { path, is_file, data });
    }
    Ok(listed)
}

fn paths() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        9 => select(&["p/a", "p/b", "p/B", "p/c/d", "p/e/f", "q/A", "p/é", "p/longer-name", "r", "p/g/"][..]),
        1 => select(&["p/../x", "/p", "p//a", "", "C:/x", "p/b/c", "p"][..]),
    ]
}

/// One header-sized or larger piece of an archive, sound more often than not.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let data = vec(any::<u8>(), 0..600);
    let keys = select(&["path", "size", "linkpath", "mtime", "comment", "GNU.sparse.size", "hdrcharset"][..]);
    let values = prop_oneof![
        paths().prop_map(|p| p.as_bytes().to_vec()),
        select(&["0", "5", "512", "007", "-1", "p/x", "x\n12 path=evil\n"][..]).prop_map(|v| v.as_bytes().to_vec()),
        vec(any::<u8>(), 0..20),
    ];
    let records = vec((keys, values), 1..3);
    let raw = (
        paths(),
        prop_oneof![Just(""), Just("pre"), Just("p")],
        select(&b"\x000123457gxLKSMVX"[..]),
        prop_oneof![4 => Just(0_u64), 1 => Just(5), 1 => Just(512), 1 => Just(9 << 30)],
        select(&[USTAR, GNU, V7][..]),
    );
    prop_oneof![
        14 => (paths(), data.clone()).prop_map(|(path, data)| TarBuilder::new().file(path, &data).unfinished()),
        2 => paths().prop_map(|path| TarBuilder::new().directory(path).unfinished()),
        3 => (records, any::<bool>()).prop_map(|(records, is_local)| {
            let body: Vec<u8> = records.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
            TarBuilder::new().extension(if is_local { b'x' } else { b'g' }, &body).unfinished()
        }),
        2 => (paths(), any::<bool>()).prop_map(|(path, ends)| {
            let body = [path.as_bytes(), if ends { b"\0" } else { b"" }].concat();
            TarBuilder::new().extension(b'L', &body).unfinished()
        }),
        3 => raw.prop_map(|(name, prefix, kind, size, magic)| {
            let header = RawHeader { name: name.as_bytes(), prefix: prefix.as_bytes(), kind, size, magic, ..RawHeader::default() };
            TarBuilder::new().header(&header).unfinished()
        }),
        1 => Just(vec![0; 512]),
        1 => vec(any::<u8>(), 1..600),
    ]
}

/// An archive of such pieces, with some bytes changed and some of those under a right checksum again.
fn archive() -> impl Strategy<Value = Vec<u8>> {
    let edits =
        prop_oneof![3 => Just(Vec::new()), 2 => vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..4)];
    (vec(piece(), 0..5), edits, select(&[0_usize, 512, 1024, 10_240][..]), any::<prop::sample::Index>(), 0..8).prop_map(
        |(pieces, edits, end, cut, cuts)| {
            let mut tar = pieces.concat();
            tar.extend(vec![0; end]);
            for (at, value, seals) in edits {
                if tar.is_empty() {
                    break;
                }
                let at = at.index(tar.len());
                tar[at] = value;
                let block = at / 512 * 512;
                if seals && let Some(header) = tar.get_mut(block..block + 512) {
                    let mut sealed: [u8; 512] = (&*header).try_into().unwrap();
                    seal(&mut sealed);
                    header.copy_from_slice(&sealed);
                }
            }
            if cuts == 0 && !tar.is_empty() {
                tar.truncate(cut.index(tar.len()));
            }
            tar
        },
    )
}

fn agrees(bytes: &[u8]) {
    if let Some(listed) = ours(bytes) {
        assert_eq!(theirs(bytes).unwrap(), listed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn accepted_archives_read_the_same_in_the_tar_crate(tar in archive()) {
        agrees(&gzip(&tar));
    }

    #[test]
    fn damaged_gzip_is_refused_or_unchanged(
        at in any::<prop::sample::Index>(), value in any::<u8>(), cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let good = TarBuilder::new().file("p/a", &[b"abc".repeat(99), vec![7; 999]].concat()).file("p/b", b"x").targz();
        let mut bytes = good.clone();
        bytes[at.index(good.len())] = value;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(good.len()));
            prop_assert!(ours(&bytes).is_none());
        } else if let Some(listed) = ours(&bytes) {
            // Only fields without meaning may differ: time, operating system, compression hints.
            prop_assert_eq!(listed, ours(&good).unwrap());
        }
    }

    #[test]
    fn noise_is_refused(bytes in vec(any::<u8>(), 0..2000)) {
        prop_assert!(ours(&bytes).is_none());
        agrees(&gzip(&bytes));
    }
}

#[test]
fn the_generator_makes_archives_that_are_accepted() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let accepted = (0..500)
        .filter(|_| ours(&gzip(&archive().new_tree(&mut runner).unwrap().current())).is_some_and(|l| !l.is_empty()))
        .count();
    assert!(accepted > 50, "only {accepted} of 500");
}
