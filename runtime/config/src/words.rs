//! Settings that are one of a few words.

use crate::value::{Refusal, Setting};

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? })+) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl Setting for $name {
            const EXPECTS: &'static str = concat!("one of", $(" ", $word),+);
            fn parse_text(text: &str) -> Result<Self, Refusal> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(Refusal::Unlike),
                }
            }
            fn show(&self) -> Option<String> {
                Some(self.as_str().to_owned())
            }
        }
    )+ };
}

words! {
    /// What a process does.
    Role {
        /// Everything.
        All = "all",
        /// HTTP without workers.
        Api = "api",
        /// Workers, probes and metrics only.
        Worker = "worker",
    }
    StorageBackend { Fs = "fs", S3 = "s3" }
    SearchBackend { Embedded = "embedded", Meilisearch = "meilisearch" }
    /// Who may create an account through the API.
    Registration { Open = "open", Closed = "closed" }
    /// What an anonymous caller gets for a name it may not see (access.md §11).
    AnonymousMiss { Auto = "auto", Challenge = "challenge", NotFound = "not_found" }
    /// The visibility of a personal repository made by a first publish (access.md §6).
    PersonalVisibility { Private = "private", Public = "public", Unlisted = "unlisted" }
    /// Who may claim a namespace.
    ClaimPolicy { Open = "open", Admin = "admin" }
    /// What happens to a name that looks like an existing one.
    NameSimilarity { Enforce = "enforce", Warn = "warn", Off = "off" }
    LogFormat { Pretty = "pretty", Json = "json" }
    /// What the portal does with images of other hosts in a README.
    ReadmeImages { Ask = "ask", Allow = "allow", Block = "block" }
}
