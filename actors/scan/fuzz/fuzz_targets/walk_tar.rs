//! A tar, compressed here: whatever the walker accepts, the `tar` crate lists the same.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use publaryn_scan::{EntryKind, RootRule, ArchiveRules, corpus::gzip, walk_targz};

fuzz_target!(|tar: &[u8]| {
    let bytes = gzip(tar);
    let mut ours = Vec::new();
    let accepted = walk_targz(&bytes[..], &ArchiveRules::new(RootRule::Any), &mut |entry| {
        let mut data = Vec::new();
        entry.data.read_to_end(&mut data)?;
        ours.push((entry.path.as_bytes().to_vec(), entry.kind == EntryKind::File, data));
        Ok(())
    });
    if accepted.is_err() {
        return;
    }
    let mut theirs = Vec::new();
    for entry in tar::Archive::new(tar).entries().expect("a reader in memory") {
        let mut entry = entry.expect("an accepted archive has sound headers");
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let mut data = Vec::new();
        entry.read_to_end(&mut data).expect("an accepted archive has all its data");
        theirs.push((entry.path_bytes().into_owned(), kind.is_file(), data));
    }
    assert_eq!(ours, theirs);
});
