//! Raw bytes: no panic, and no limit exceeded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use publaryn_scan::{RootRule, ArchiveRules, walk_targz};

fuzz_target!(|bytes: &[u8]| {
    let rules = ArchiveRules {
        max_entries: 100,
        max_unpacked_bytes: 8 << 20,
        max_entry_bytes: 1 << 20,
        visits_nested: true,
        ..ArchiveRules::new(RootRule::Single)
    };
    let mut seen = 0;
    let result = walk_targz(bytes, &rules, &mut |entry| {
        seen += std::io::copy(entry.data, &mut std::io::sink())?;
        Ok(())
    });
    // An entry of a nested archive is seen on its own and inside its container: at most thrice.
    assert!(seen <= 3 * rules.max_unpacked_bytes);
    if let Ok(summary) = result {
        assert!(summary.entries <= rules.max_entries && summary.compressed_bytes == bytes.len() as u64);
    }
});
