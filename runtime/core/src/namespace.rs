//! Namespace claims: their values, what they cover, and which of them governs a name (access.md §7).

use smol_str::{SmolStr, format_smolstr};

use crate::{Ecosystem, RegistryError};

/// Longest claim value, in bytes.
const MAX_BYTES: usize = 200;

/// A claim value in the form its ecosystem compares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace {
    ecosystem: Ecosystem,
    display: SmolStr,
    key: SmolStr,
}

/// A set of normalised package names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Covered {
    Name(SmolStr),
    /// Every name that starts so.
    Prefix(SmolStr),
}

impl Covered {
    pub fn contains(&self, normalized: &str) -> bool {
        match self {
            Self::Name(name) => name == normalized,
            Self::Prefix(prefix) => normalized.starts_with(prefix.as_str()),
        }
    }
}

impl Namespace {
    /// # Errors
    /// `Invalid` with code `invalid_name` for anything that is no claim value of the ecosystem.
    pub fn parse(ecosystem: Ecosystem, text: &str) -> Result<Self, RegistryError> {
        let text = text.trim();
        match key_of(ecosystem, text).filter(|_| text.len() <= MAX_BYTES) {
            Some(key) => Ok(Self { ecosystem, display: text.into(), key }),
            None => Err(RegistryError::invalid("invalid_name", format!("is not a namespace: {}", form(ecosystem)))),
        }
    }

    pub fn ecosystem(&self) -> Ecosystem {
        self.ecosystem
    }
    /// As its owner wrote it.
    pub fn display(&self) -> &str {
        &self.display
    }
    /// The normalised value, unique in its ecosystem.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The bare word that reserved names are compared with.
    pub fn bare(&self) -> &str {
        self.key.trim_start_matches('@').trim_end_matches(['-', '_', '.'])
    }

    /// The normalised package names it covers.
    pub fn covers(&self) -> Vec<Covered> {
        let key = self.key.as_str();
        let with = |end: &str| Covered::Prefix(format_smolstr!("{key}{end}"));
        match self.ecosystem {
            Ecosystem::Npm | Ecosystem::Composer => vec![with("/")],
            Ecosystem::Maven => vec![with(":"), with(".")],
            Ecosystem::Oci => vec![Covered::Name(key.into()), with("/")],
            Ecosystem::Nuget | Ecosystem::Pypi | Ecosystem::Cargo => {
                vec![Covered::Name(self.bare().into()), Covered::Prefix(key.into())]
            }
            // Its names keep `-` and `_` apart.
            Ecosystem::Rubygems => ["", "-", "_"]
                .iter()
                .map(|end| match *end {
                    "" => Covered::Name(self.bare().into()),
                    end => Covered::Prefix(format_smolstr!("{}{end}", self.bare())),
                })
                .collect(),
        }
    }

    /// The keys of the claims that would cover this one, itself excluded.
    pub fn covering_keys(&self) -> Vec<SmolStr> {
        let keys = match self.ecosystem {
            Ecosystem::Npm | Ecosystem::Composer => Vec::new(),
            Ecosystem::Maven => leading(&self.key, '.'),
            Ecosystem::Oci => leading(&self.key, '/'),
            Ecosystem::Nuget => ending(self.bare(), '.'),
            Ecosystem::Pypi | Ecosystem::Rubygems => ending(self.bare(), '-'),
            Ecosystem::Cargo => ending(self.bare(), '_'),
        };
        keys.into_iter().filter(|key| *key != self.key).collect()
    }

    /// Whether claims of these keys are inside this one (and not it itself).
    pub fn contains_key(&self, other: &str) -> bool {
        if other == self.key {
            return false;
        }
        Self { ecosystem: self.ecosystem, display: other.into(), key: other.into() }.covering_keys().contains(&self.key)
    }
}

/// The keys of every claim that may govern a package of that normalised name; the longest that exists does.
pub fn governing_keys(ecosystem: Ecosystem, normalized: &str) -> Vec<SmolStr> {
    match ecosystem {
        Ecosystem::Npm => match normalized.split_once('/') {
            Some((scope, _)) if scope.starts_with('@') => vec![scope.into()],
            _ => Vec::new(),
        },
        Ecosystem::Composer => normalized.split_once('/').map(|(vendor, _)| vendor.into()).into_iter().collect(),
        Ecosystem::Maven => {
            let lower = normalized.to_ascii_lowercase();
            let group = lower.split_once(':').map_or(lower.as_str(), |(group, _)| group);
            leading(group, '.')
        }
        Ecosystem::Oci => leading(normalized, '/'),
        Ecosystem::Nuget => ending(&normalized.to_ascii_lowercase(), '.'),
        Ecosystem::Pypi => ending(normalized, '-'),
        Ecosystem::Cargo => ending(&normalized.to_ascii_lowercase().replace('-', "_"), '_'),
        Ecosystem::Rubygems => ending(&normalized.to_ascii_lowercase().replace('_', "-"), '-'),
    }
}

/// `a.b.c` → `a`, `a.b`, `a.b.c`.
fn leading(text: &str, separator: char) -> Vec<SmolStr> {
    let cuts = text.match_indices(separator).map(|(at, _)| at).chain([text.len()]);
    cuts.filter(|at| *at > 0).map(|at| text[..at].into()).collect()
}

/// `a-b` → `a-`, `a-b-`.
fn ending(text: &str, separator: char) -> Vec<SmolStr> {
    leading(text, separator).into_iter().map(|part| format_smolstr!("{part}{separator}")).collect()
}

fn form(ecosystem: Ecosystem) -> &'static str {
    match ecosystem {
        Ecosystem::Npm => "write a scope, `@acme`",
        Ecosystem::Composer => "write a vendor, `acme`",
        Ecosystem::Maven => "write a group id, `com.acme`",
        Ecosystem::Oci => "write leading path segments, `acme` or `acme/team`",
        Ecosystem::Nuget => "write a prefix up to a dot, `Acme.`",
        Ecosystem::Pypi | Ecosystem::Cargo | Ecosystem::Rubygems => "write a prefix with its separator, `acme-`",
    }
}

fn key_of(ecosystem: Ecosystem, text: &str) -> Option<SmolStr> {
    let lower = text.to_ascii_lowercase();
    let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    // Words of `inner` characters between single separators, alphanumeric at both ends.
    let words = |text: &str, separators: &[char]| {
        !text.is_empty() && text.split(separators).all(|word| !word.is_empty() && word.chars().all(alnum))
    };
    match ecosystem {
        Ecosystem::Npm => {
            let scope = lower.strip_prefix('@')?;
            let legal = scope.starts_with(|c: char| alnum(c) || matches!(c, '~' | '-'))
                && scope.chars().all(|c| alnum(c) || matches!(c, '~' | '-' | '.' | '_'));
            legal.then(|| lower.as_str().into())
        }
        Ecosystem::Composer => words(&lower, &['_', '.', '-']).then(|| lower.as_str().into()),
        Ecosystem::Maven => lower
            .split('.')
            .all(|part| {
                part.starts_with(|c: char| alnum(c) || c == '_')
                    && part.chars().all(|c| alnum(c) || matches!(c, '_' | '-'))
            })
            .then(|| lower.as_str().into()),
        Ecosystem::Oci => {
            let legal = text.split('/').all(|segment| {
                let inner = segment.replace("__", "_");
                let collapsed = inner.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
                !segment.starts_with('-') && !segment.ends_with('-') && words(&collapsed, &['_', '.', '-'])
            });
            // Names are compared as they are, so capitals are none.
            (legal && lower == text).then(|| text.into())
        }
        Ecosystem::Nuget => {
            let prefix = lower.strip_suffix('.')?;
            let legal = !prefix.is_empty()
                && prefix.split(['.', '-']).all(|word| !word.is_empty() && word.chars().all(|c| alnum(c) || c == '_'));
            legal.then(|| lower.as_str().into())
        }
        Ecosystem::Pypi => {
            let prefix = lower.strip_suffix(['-', '_', '.'])?;
            let runs: Vec<&str> = prefix.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
            let legal = !runs.is_empty() && prefix.starts_with(alnum) && runs.iter().all(|run| run.chars().all(alnum));
            legal.then(|| format_smolstr!("{}-", runs.join("-")))
        }
        Ecosystem::Cargo | Ecosystem::Rubygems => {
            let separator = if ecosystem == Ecosystem::Cargo { '_' } else { '-' };
            let prefix = lower.strip_suffix(['-', '_'])?;
            let legal = prefix.starts_with(alnum)
                && prefix.ends_with(alnum)
                && prefix
                    .chars()
                    .all(|c| alnum(c) || matches!(c, '-' | '_') || (c == '.' && ecosystem == Ecosystem::Rubygems));
            let separated: String =
                prefix.chars().map(|c| if matches!(c, '-' | '_') { separator } else { c }).collect();
            legal.then(|| format_smolstr!("{separated}{separator}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(ecosystem: Ecosystem, text: &str) -> Namespace {
        Namespace::parse(ecosystem, text).unwrap()
    }

    #[test]
    fn values_are_normalised_and_nonsense_is_refused() {
        use Ecosystem::*;
        for (ecosystem, text, key) in [
            (Npm, "@Acme", "@acme"),
            (Composer, "Acme", "acme"),
            (Maven, "com.Acme", "com.acme"),
            (Oci, "acme/team", "acme/team"),
            (Nuget, "Acme.Core.", "acme.core."),
            (Pypi, "Acme_", "acme-"),
            (Pypi, "acme.tools-", "acme-tools-"),
            (Cargo, "Acme-", "acme_"),
            (Rubygems, "acme_", "acme-"),
        ] {
            assert_eq!(claim(ecosystem, text).key(), key);
        }
        for (ecosystem, text) in [
            (Npm, "acme"),
            (Npm, "@"),
            (Npm, "@a/b"),
            (Composer, "acme/x"),
            (Composer, ""),
            (Maven, "com."),
            (Maven, ".com"),
            (Maven, "com:acme"),
            (Oci, "Acme"),
            (Oci, "a//b"),
            (Oci, "/a"),
            (Nuget, "Acme"),
            (Nuget, "."),
            (Pypi, "acme"),
            (Pypi, "-"),
            (Cargo, "acme"),
            (Cargo, "_-"),
            (Rubygems, "a b-"),
        ] {
            assert!(Namespace::parse(ecosystem, text).is_err(), "{ecosystem} {text}");
        }
    }

    #[test]
    fn claims_inside_others_are_known_both_ways() {
        use Ecosystem::*;
        for (ecosystem, outer, inner) in [
            (Maven, "com.acme", "com.acme.x.y"),
            (Oci, "acme", "acme/team"),
            (Nuget, "Acme.", "Acme.Core."),
            (Pypi, "acme-", "acme-tools-"),
            (Cargo, "acme-", "acme_tools_"),
            (Rubygems, "acme-", "acme_tools-"),
        ] {
            let (outer, inner) = (claim(ecosystem, outer), claim(ecosystem, inner));
            assert!(inner.covering_keys().iter().any(|key| key == outer.key()));
            assert!(outer.contains_key(inner.key()) && !inner.contains_key(outer.key()));
            assert!(!outer.contains_key(outer.key()));
        }
        assert!(!claim(Maven, "com.acme").contains_key("com.acmee"));
    }

    proptest! {
        /// The two directions of one table: from a name to its claims, and from a claim to its names.
        #[test]
        fn a_claim_governs_exactly_what_it_covers(
            which in 0..Ecosystem::ALL.len(),
            value in "[ab]{1,2}([-./_][ab]{1,2}){0,2}[-._]?",
            name in "@?[ab]{1,2}([-./_:][ab]{1,2}){0,3}",
        ) {
            let ecosystem = Ecosystem::ALL[which];
            let value = if ecosystem == Ecosystem::Npm { format!("@{value}") } else { value };
            // Names in the form their adapters normalise to.
            let name = match ecosystem {
                Ecosystem::Pypi => name.replace(['_', '.'], "-"),
                Ecosystem::Cargo => name.replace('-', "_"),
                _ => name,
            };
            if let Ok(claim) = Namespace::parse(ecosystem, &value) {
                let is_plain = match ecosystem {
                    Ecosystem::Maven => name.matches(':').count() == 1,
                    Ecosystem::Composer | Ecosystem::Npm => name.matches('/').count() == 1,
                    Ecosystem::Oci => true,
                    // A mixture of both separators names the same claim in a way no prefix can say.
                    Ecosystem::Rubygems => !name.contains('/') && !claim.bare().contains('-'),
                    _ => !name.contains('/'),
                };
                if is_plain {
                    let governs = governing_keys(ecosystem, &name).iter().any(|key| key == claim.key());
                    let covers = claim.covers().iter().any(|set| set.contains(&name));
                    prop_assert_eq!(governs, covers, "{} {} {}", ecosystem, claim.key(), name);
                }
            }
        }
    }
}
