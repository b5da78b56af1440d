//! The package ecosystems Publaryn can name. Behaviour lives in the adapters; this is data only.

text_enum! {
    /// A family of clients with its own wire protocol, naming and versioning rules.
    pub enum Ecosystem {
        Npm = "npm",
        Pypi = "pypi",
        Cargo = "cargo",
        Nuget = "nuget",
        Maven = "maven",
        Rubygems = "rubygems",
        Composer = "composer",
        Oci = "oci",
    }
}
