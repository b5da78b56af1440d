//! The list of ecosystems this server speaks: the one line a new adapter costs.

use publaryn_protocol::Adapter;
use publaryn_scan::Scanner;

/// Every adapter, in the order they are mounted.
pub fn all() -> Vec<Box<dyn Adapter>> {
    vec![
        Box::new(publaryn_npm::Npm),
        Box::new(publaryn_cargo::Cargo),
        Box::new(publaryn_pypi::Pypi),
        Box::new(publaryn_composer::Composer::default()),
        Box::new(publaryn_oci::Oci),
        Box::new(publaryn_nuget::Nuget),
        Box::new(publaryn_rubygems::Rubygems::default()),
        Box::new(publaryn_maven::Maven),
    ]
}

/// Every adapter's scanners, for the scanner processes.
pub fn scanners() -> Vec<Box<dyn Scanner>> {
    all().iter().flat_map(|adapter| adapter.scanners()).collect()
}
