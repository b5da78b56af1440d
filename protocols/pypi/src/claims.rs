//! What an upload form says of a file besides whose it is, against what is inside: clients of other indexes resolve
//! from the form, so a form that says something else is meant to mislead somebody.

use std::collections::BTreeSet;

use publaryn_core::finding::Severity;
use serde::{Deserialize, Serialize};

use crate::{
    core_metadata::CoreMetadata,
    filename::Format,
    requirement::{Requirement, Versions, folded, same_name},
};

/// Fields of the form that a client may have filled with something else than the archive holds. Empty means that the
/// client said nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    pub requires_python: Option<String>,
    pub requires_dist: Vec<String>,
    pub provides_extra: Vec<String>,
    pub summary: Option<String>,
    pub classifiers: Vec<String>,
}

/// A field of which form and archive say different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Differing {
    RequiresPython,
    RequiresDist,
    ProvidesExtra,
    Summary,
    Classifier,
}

impl Differing {
    /// As metadata files call it.
    pub const fn field(self) -> &'static str {
        match self {
            Self::RequiresPython => "Requires-Python",
            Self::RequiresDist => "Requires-Dist",
            Self::ProvidesExtra => "Provides-Extra",
            Self::Summary => "Summary",
            Self::Classifier => "Classifier",
        }
    }

    pub const fn rule(self) -> &'static str {
        match self {
            Self::RequiresPython => "META-PYTHON",
            Self::RequiresDist => "META-DEPS",
            Self::ProvidesExtra => "META-EXTRAS",
            Self::Summary | Self::Classifier => "META-ABOUT",
        }
    }

    pub const fn severity(self, format: Format) -> Severity {
        match (self, format) {
            (Self::RequiresPython | Self::RequiresDist | Self::ProvidesExtra, Format::Wheel) => Severity::High,
            // An sdist's dependencies may only be known once it is built, and then its PKG-INFO says less.
            _ => Severity::Low,
        }
    }
}

impl Claims {
    /// The fields that were filled in and mean something else than inside.
    pub fn differing(&self, inside: &CoreMetadata) -> Vec<Differing> {
        let python = inside.requires_python.as_deref().unwrap_or_default();
        let summary = inside.summary.as_deref().unwrap_or_default();
        let checks = [
            (Differing::RequiresPython, differs(&self.requires_python, python, Versions::read)),
            (Differing::RequiresDist, differ(&self.requires_dist, &inside.requires_dist, Requirement::read)),
            (Differing::ProvidesExtra, differ(&self.provides_extra, &inside.provides_extra, same_name)),
            (Differing::Summary, differs(&self.summary, summary, folded)),
            (Differing::Classifier, differ(&self.classifiers, &inside.classifiers, folded)),
        ];
        checks.into_iter().filter_map(|(field, differs)| differs.then_some(field)).collect()
    }
}

fn differs<T: PartialEq>(said: &Option<String>, inside: &str, meaning: fn(&str) -> T) -> bool {
    said.as_deref().is_some_and(|said| meaning(said) != meaning(inside))
}

/// The order of a list says nothing.
fn differ<T: Ord>(said: &[String], inside: &[String], meaning: fn(&str) -> T) -> bool {
    let all = |list: &[String]| list.iter().map(|one| meaning(one)).collect::<BTreeSet<_>>();
    !said.is_empty() && all(said) != all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = "Requires-Dist: six (>=1.0)\nRequires-Dist: rich[b,a]<3,>=1; extra == \"x\"\n\
        Provides-Extra: X.y\nRequires-Python: >=3.8\nSummary: s\n";

    fn differing(form: &Claims, fields: &str) -> Vec<Differing> {
        let text = format!("Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n{fields}");
        form.differing(&CoreMetadata::parse(text.as_bytes(), true).unwrap())
    }

    fn dependencies(list: &[&str]) -> Claims {
        Claims { requires_dist: list.iter().map(|d| (*d).to_owned()).collect(), ..Claims::default() }
    }

    #[test]
    fn another_spelling_is_no_difference() {
        let form = Claims {
            requires_python: Some(">= 3.8".into()),
            provides_extra: vec!["x-y".into()],
            summary: Some("s".into()),
            ..dependencies(&["Rich[a, b] (>=1,<3) ; extra == 'x'", "six>=1.0"])
        };
        assert_eq!(differing(&form, FIELDS), []);
        assert_eq!(differing(&Claims::default(), FIELDS), []);
    }

    #[test]
    fn other_dependencies_than_the_archive_has_are_found() {
        let same = "rich[a,b]<3,>=1; extra == 'x'";
        for (form, field) in [
            (dependencies(&["six>=1.0"]), Differing::RequiresDist),
            (dependencies(&["six>=1.0", same, "evil"]), Differing::RequiresDist),
            (dependencies(&["six>=1.1", same]), Differing::RequiresDist),
            (Claims { requires_python: Some(">=3.9".into()), ..Claims::default() }, Differing::RequiresPython),
            (Claims { provides_extra: vec!["z".into()], ..Claims::default() }, Differing::ProvidesExtra),
        ] {
            assert_eq!(differing(&form, FIELDS), [field]);
            assert_eq!(field.severity(Format::Wheel), Severity::High);
            assert_eq!(field.severity(Format::SdistTarGz), Severity::Low);
        }
        let other = Claims { summary: Some("t".into()), classifiers: vec!["A".into()], ..Claims::default() };
        assert_eq!(differing(&other, FIELDS), [Differing::Summary, Differing::Classifier]);
        assert_eq!(Differing::Summary.severity(Format::Wheel), Severity::Low);
    }
}
