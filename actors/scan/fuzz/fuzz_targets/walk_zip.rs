//! Raw bytes as a zip: no panic, no limit exceeded, and whatever is accepted the `zip` crate lists the same.
#![no_main]

use std::io::{Cursor, Read};

use libfuzzer_sys::fuzz_target;
use publaryn_scan::{ArchiveRules, RootRule, walk_zip};

fuzz_target!(|bytes: &[u8]| {
    let rules = ArchiveRules {
        max_entries: 100,
        max_unpacked_bytes: 8 << 20,
        max_entry_bytes: 1 << 20,
        visits_nested: false,
        ..ArchiveRules::new(RootRule::Any)
    };
    let mut ours = Vec::new();
    let accepted = walk_zip(bytes, &rules, &mut |entry| {
        let mut data = Vec::new();
        entry.data.read_to_end(&mut data)?;
        ours.push((entry.path.as_bytes().to_vec(), data));
        Ok(())
    });
    assert!(ours.iter().map(|(_, data)| data.len() as u64).sum::<u64>() <= rules.max_unpacked_bytes);
    if accepted.is_err() {
        return;
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("an accepted zip opens");
    let mut theirs: Vec<_> = (0..archive.len())
        .map(|at| {
            let mut entry = archive.by_index(at).expect("an accepted entry opens");
            let mut data = Vec::new();
            entry.read_to_end(&mut data).expect("an accepted entry unpacks");
            (entry.name_raw().to_vec(), data)
        })
        .collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
});
