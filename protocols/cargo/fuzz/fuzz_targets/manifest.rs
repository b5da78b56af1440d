//! A `Cargo.toml` of any content inside a well-made archive: no panic, and an accepted one is the
//! crate that was asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use publaryn_cargo::archive::{ArchiveLimits, read_crate};
use publaryn_scan::corpus::targz;

const LIMITS: ArchiveLimits = ArchiveLimits { max_entries: 100, max_unpacked_bytes: 8 << 20, max_ratio: 1000 };

fuzz_target!(|manifest: &[u8]| {
    let archive = targz(&[("x-1.0.0/Cargo.toml", manifest), ("x-1.0.0/src/lib.rs", b"")]);
    if let Ok(seen) = read_crate(&mut &archive[..], "x", "1.0.0", LIMITS) {
        assert_eq!((seen.manifest.name.as_str(), seen.manifest.version.as_str()), ("x", "1.0.0"));
        assert!(seen.has_lib);
    }
});
