//! Random and half-valid zips: the walker never panics, stays within its limits, and whatever it accepts reads the
//! same in the `zip` crate, which starts from the other end.

use std::io::{Cursor, Read};

use proptest::{collection::vec, prelude::*, sample::select, strategy::ValueTree};
use publaryn_scan::{
    ArchiveRules, EntryKind, ErrorKind, RootRule,
    corpus::{RawZipEntry, ZipBuilder},
    walk_zip,
};

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    let result = walk_zip(bytes, &rules, &mut |entry| {
        let mut data = Vec::new();
        entry.data.read_to_end(&mut data)?;
        assert!(entry.size.is_none_or(|size| size == data.len() as u64));
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

fn theirs(bytes: &[u8]) -> Vec<Listed> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("an accepted zip opens");
    (0..archive.len())
        .map(|at| {
            let mut entry = archive.by_index(at).expect("an accepted entry opens");
            let mut data = Vec::new();
            entry.read_to_end(&mut data).expect("an accepted entry unpacks");
            Listed { path: entry.name().expect("an accepted name").into_owned(), is_file: entry.is_file(), data }
        })
        .collect()
}

fn agrees(bytes: &[u8]) {
    if let Some(mut ours) = ours(bytes) {
        let mut theirs = theirs(bytes);
        ours.sort();
        theirs.sort();
        // A directory may be listed twice; the crate keeps one. Files of one path are refused before this.
        ours.dedup_by(|a, b| !a.is_file && a == b);
        assert_eq!(ours, theirs);
    }
}

/// What one entry looks like, sound more often than not.
#[derive(Debug, Clone)]
struct Draft {
    name: &'static str,
    data: Vec<u8>,
    is_deflated: bool,
    has_descriptor: bool,
    is_zip64: bool,
    external: u32,
    edit: Option<(bool, prop::sample::Index, u8)>,
}

fn draft() -> impl Strategy<Value = Draft> {
    let name = prop_oneof![
        9 => select(&["a", "b", "B", "c/d", "c/e", "d/", "long/name/of/a/file.txt", "x.whl"][..]),
        1 => select(&["../x", "/x", "a//b", "", "a\\b", "c"][..]),
    ];
    let external = prop_oneof![8 => Just(0o100644 << 16), 2 => select(&[0, 0o040755 << 16, 0o120777 << 16][..])];
    let edit =
        prop_oneof![3 => Just(None), 1 => (any::<bool>(), any::<prop::sample::Index>(), any::<u8>()).prop_map(Some)];
    (
        name,
        vec(any::<u8>(), 0..600),
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        external,
        edit,
    )
        .prop_map(|(name, data, is_deflated, has_descriptor, is_zip64, external, edit)| {
            let is_directory = name.ends_with('/');
            Draft {
                name,
                data: if is_directory { Vec::new() } else { data },
                is_deflated,
                has_descriptor,
                is_zip64,
                external: if is_directory { 0o040755 << 16 } else { external },
                edit,
            }
        })
}

fn archive() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop_oneof![8 => Just(Vec::new()), 1 => vec(any::<u8>(), 1..10)];
    let edits = prop_oneof![3 => Just(Vec::new()), 1 => vec((any::<prop::sample::Index>(), any::<u8>()), 1..3)];
    (vec(draft(), 0..5), noise.clone(), noise, prop::bool::weighted(0.2), edits).prop_map(
        |(drafts, before, after, is_zip64, edits)| {
            let mut zip = ZipBuilder::new().raw(&before);
            for draft in &drafts {
                let entry = RawZipEntry {
                    name: draft.name.as_bytes(),
                    data: &draft.data,
                    is_deflated: draft.is_deflated,
                    has_descriptor: draft.has_descriptor,
                    is_zip64: draft.is_zip64,
                    external: draft.external,
                    ..RawZipEntry::default()
                };
                let edit = |is_local: bool| {
                    let edit = draft.edit.filter(|(local, ..)| *local == is_local);
                    move |record: &mut Vec<u8>| {
                        if let Some((_, at, value)) = edit {
                            let at = at.index(record.len());
                            record[at] = value;
                        }
                    }
                };
                zip = zip.edited(&entry, edit(true), edit(false));
            }
            let mut bytes = if is_zip64 { zip.finish_zip64() } else { zip.finish() };
            bytes.extend(after);
            for (at, value) in edits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn accepted_zips_read_the_same_in_the_zip_crate(bytes in archive()) {
        agrees(&bytes);
    }

    #[test]
    fn truncated_zips_are_refused(bytes in archive(), cut in any::<prop::sample::Index>()) {
        if ours(&bytes).is_some() {
            prop_assert!(ours(&bytes[..cut.index(bytes.len())]).is_none());
        }
    }

    #[test]
    fn noise_is_refused(bytes in vec(any::<u8>(), 0..2000)) {
        prop_assert!(ours(&bytes).is_none());
    }
}

#[test]
fn the_generator_makes_zips_that_are_accepted() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let accepted = (0..500)
        .filter(|_| ours(&archive().new_tree(&mut runner).unwrap().current()).is_some_and(|l| !l.is_empty()))
        .count();
    assert!(accepted > 50, "only {accepted} of 500");
}
