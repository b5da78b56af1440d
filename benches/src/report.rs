//! The outcome: a table for the terminal, JSON for programs, Markdown for people.

mod markdown;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Error, machine::Circumstances, statistics::Sample, suite::Suite};

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub what: String,
    /// What Publaryn stood on.
    pub backend: String,
    pub unit: String,
    pub ours: Sample,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versus: Option<Versus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Whom it was measured beside, in the same rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Versus {
    pub name: String,
    pub theirs: Sample,
    /// Ours over theirs.
    pub ratio: Sample,
}

/// What we want a measurement to say.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, backend: &str, unit: &str, ours: Sample) -> Self {
        let (what, backend, unit) = (what.into(), backend.to_owned(), unit.to_owned());
        Self { what, backend, unit, ours, versus: None, target: None, note: None }
    }

    pub(crate) fn against(mut self, name: &str, theirs: Sample) -> Self {
        let ratio = self.ours.over(&theirs);
        self.versus = Some(Versus { name: name.to_owned(), theirs, ratio });
        self
    }

    pub(crate) fn wanting(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    pub(crate) fn note(mut self, note: String) -> Self {
        self.note = Some(note);
        self
    }

    /// Whether the median reaches the target; `None` without one.
    pub(crate) fn is_reached(&self) -> Option<bool> {
        let ratio = self.versus.as_ref().map_or(f64::NAN, |versus| versus.ratio.median);
        Some(match self.target? {
            Target::RatioAtLeast(wanted) => ratio >= wanted,
            Target::RatioAtMost(wanted) => ratio <= wanted,
            Target::AtLeast(wanted) => self.ours.median >= wanted,
            Target::AtMost(wanted) => self.ours.median <= wanted,
        })
    }
}

/// What is known, of this run and of earlier ones.
#[derive(Debug)]
pub(crate) struct Report {
    out: PathBuf,
    sections: BTreeMap<Suite, Section>,
}

/// The measurements of one suite, all of one run.
#[derive(Debug, Serialize, Deserialize)]
struct Section {
    circumstances: Circumstances,
    rows: Vec<Row>,
}

impl Report {
    /// Reads what earlier runs left in `out.json`.
    pub(crate) fn open(out: &Path) -> Result<Self, Error> {
        let file = out.with_extension("json");
        let sections = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { out: out.to_owned(), sections })
    }

    /// Replaces what was known of a suite, unless nothing was measured.
    pub(crate) fn put(&mut self, suite: Suite, rows: Vec<Row>, circumstances: Circumstances) {
        if !rows.is_empty() {
            self.sections.insert(suite, Section { circumstances, rows });
        }
    }

    pub(crate) fn save(&self) -> Result<(), Error> {
        let json = serde_json::to_string_pretty(&self.sections)? + "\n";
        fs::write(self.out.with_extension("json"), json)?;
        fs::write(self.out.with_extension("md"), markdown::render(&self.sections))?;
        Ok(())
    }

    pub(crate) fn print(&self) {
        for (suite, section) in &self.sections {
            println!("\n{suite} ({})", section.circumstances.measured_at);
            for row in &section.rows {
                let cells = markdown::cells(row);
                let [what, backend, ours, theirs, ratio, target, reached] = &cells;
                println!("{what:<44} {backend:<22} {ours:<30} {theirs:<36} {ratio:<20} {target:<10} {reached}");
            }
        }
    }
}
