//! The report as Markdown.

use std::{collections::BTreeMap, fmt::Write};

use super::{Row, Section, Target};
use crate::{machine::Circumstances, statistics::Sample, suite::Suite};

const INTRODUCTION: &str = "\
# Benchmarks

Written by `make bench`; do not edit. Each row is one measurement in which the contenders took turns, on one
machine, under one load generator, with as many connections each; numbers are medians over the rounds, with the
lowest and the highest round in brackets, and ratios are taken within a round. Publaryn runs its shipped build
with the settings it has out of the box (access log and metrics on, every commit synced), except that rate limits
are off and new packages are public. nginx serves the same bytes from files, with sendfile, `gzip_static` and its
access log, one worker per core. verdaccio has fresh storage, no uplinks, and asks nobody for a password;
pypiserver keeps its listing in memory, devpi and the distribution registry (on its file system driver) run as they
come. Publishes are scanned and installable when they are answered.

```sh
make bench            # everything, about half an hour
make bench-reads      # or: bench-downloads, bench-publish, bench-start, bench-jobs, bench-indexes, bench-images,
                      # bench-lists
```

The numbers as JSON: [benchmarks.json](benchmarks.json). What was decided because of them:
[ADR 0008](adr/0008-speed.md).
";

pub(super) fn render(sections: &BTreeMap<Suite, Section>) -> String {
    let mut out = INTRODUCTION.to_owned();
    for (suite, Section { circumstances, rows }) in sections {
        let _ = write!(out, "\n## {suite}\n\n{}\n\n", circumstances_text(circumstances));
        out.push_str("| what | on | Publaryn | beside | ratio | target | reached |\n|---|---|---|---|---|---|---|\n");
        for row in rows {
            let _ = writeln!(out, "| {} |", cells(row).join(" | "));
        }
        let notes: Vec<&Row> = rows.iter().filter(|row| row.note.is_some()).collect();
        if !notes.is_empty() {
            out.push('\n');
        }
        let mut told = Vec::new();
        for row in notes {
            let line = format!("- {}, {}: {}.", row.what, row.backend, row.note.as_deref().unwrap_or_default());
            if !told.contains(&line) {
                let _ = writeln!(out, "{line}");
                told.push(line);
            }
        }
    }
    out
}

/// The columns: what, on, Publaryn, beside, ratio, target, reached.
pub(super) fn cells(row: &Row) -> [String; 7] {
    let (theirs, ratio) = match &row.versus {
        Some(versus) => (format!("{} {}", versus.name, spread(&versus.theirs)), spread(&versus.ratio)),
        None => (String::new(), String::new()),
    };
    let target = match row.target {
        Some(Target::RatioAtLeast(wanted)) => format!("≥ {}×", number(wanted)),
        Some(Target::RatioAtMost(wanted)) => format!("≤ {}×", number(wanted)),
        Some(Target::AtLeast(wanted)) => format!("≥ {}", number(wanted)),
        Some(Target::AtMost(wanted)) => format!("≤ {}", number(wanted)),
        None => String::new(),
    };
    let reached = row.is_reached().map_or("", |reached| if reached { "yes" } else { "**no**" });
    let ours = format!("{} {}", spread(&row.ours), row.unit);
    [row.what.clone(), row.backend.clone(), ours, theirs, ratio, target, reached.to_owned()]
}

fn spread(sample: &Sample) -> String {
    format!("{} ({}–{})", number(sample.median), number(sample.min), number(sample.max))
}

/// Three significant digits, with spaces between thousands.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    let Some(tail) = text.len().checked_sub(3).filter(|at| *at > 0 && digits == 0) else { return text };
    let (mut head, mut out) = (&text[..tail], text[tail..].to_owned());
    while head.len() > 3 {
        out.insert_str(0, &format!("{} ", &head[head.len() - 3..]));
        head = &head[..head.len() - 3];
    }
    out.insert(0, ' ');
    format!("{head}{out}")
}

fn circumstances_text(c: &Circumstances) -> String {
    format!(
        "{}, commit {}: {} cores of {}, {} GiB, {}; {}, {}, verdaccio {} on Node {}, {}, pypiserver and devpi {}; {} rounds, turns of {} s; took {} s.",
        c.measured_at,
        c.commit,
        c.cores,
        c.processor,
        c.memory_gib,
        c.kernel,
        c.nginx.trim_start_matches("nginx version: "),
        c.wrk.split(" [").next().unwrap_or_default(),
        c.verdaccio.trim_start_matches('v'),
        c.node.trim_start_matches('v'),
        if c.distribution.is_empty() { "no distribution registry" } else { c.distribution.as_str() },
        if c.python.is_empty() { "none" } else { c.python.as_str() },
        c.rounds,
        c.turn_seconds,
        c.took_seconds,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, wanted) in [
            (0.6, "0.6"),
            (0.623, "0.62"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1234.5, "1 234"),
            (55_000.0, "55 000"),
            (1_234_567.0, "1 234 567"),
            (0.0, "0"),
        ] {
            assert_eq!(number(value), wanted);
        }
    }
}
