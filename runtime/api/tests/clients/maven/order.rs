//! The order of versions is Maven's own: a newer Maven's implementation is asked.

use std::cmp::Ordering;

use publaryn_maven::version::accepted;
use tokio::process::Command;

use super::desk::clients;
use crate::process;

/// Pieces of versions as they occur.
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "1.0",
    "1.0.0",
    "1.1",
    "1.10",
    "1.9",
    "2",
    "2.0.0.1",
    "1.0.1",
    "01",
    "20040616",
    "99999999999",
    "1.2.3.4.5",
];
const ENDINGS: [&str; 26] = [
    "",
    "-alpha",
    "-alpha-1",
    "-alpha2",
    "a1",
    "b2",
    "-beta.3",
    "-M1",
    ".M2",
    "-m3",
    "-rc1",
    ".RC2",
    "-CR3",
    "-SNAPSHOT",
    "-sp",
    "-sp1",
    ".Final",
    ".GA",
    "-jre",
    "-jre8",
    ".x",
    "-1",
    "-2",
    "-20260102",
    "_1",
    "+b",
];

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_ordered_as_maven_orders_them() {
    let versions: Vec<String> =
        NUMBERS.iter().flat_map(|number| ENDINGS.iter().map(move |ending| format!("{number}{ending}"))).collect();
    // Every version meets every 29th other one: some 4,500 pairs in all.
    let mut asked: Vec<(&str, &str)> = Vec::new();
    for (at, left) in versions.iter().enumerate() {
        asked.extend(versions.iter().skip(at % 29).step_by(29).map(|right| (left.as_str(), right.as_str())));
    }
    let jar = clients().join("maven-artifact-3.9.9.jar");
    let classpath = format!("{}:/usr/share/maven/lib/commons-lang3.jar", jar.display());
    let mut wrong = Vec::new();
    for chunk in asked.chunks(500) {
        let mut command = Command::new("java");
        command.args(["-cp", &classpath, "org.apache.maven.artifact.versioning.ComparableVersion"]);
        command.args(chunk.iter().flat_map(|(left, right)| [left, right]));
        let said = process::run(command, "java ComparableVersion", "", std::time::Duration::from_secs(120)).await;
        assert!(said.status.success(), "{}", said.err);
        // It compares each with the one before it, so every other line is about a pair of ours.
        let verdicts: Vec<Ordering> = said.out.lines().filter_map(verdict).step_by(2).collect();
        assert_eq!(verdicts.len(), chunk.len());
        for ((left, right), wanted) in chunk.iter().zip(verdicts) {
            if accepted(left).sort_key().cmp(accepted(right).sort_key()) != wanted {
                wrong.push(format!("{left} {wanted:?} {right}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {:?}", wrong.len(), asked.len(), &wrong[..wrong.len().min(40)]);
}

/// `   1.0 < 1.1`
fn verdict(line: &str) -> Option<Ordering> {
    let words: Vec<&str> = line.strip_prefix("   ")?.split(' ').collect();
    match words.as_slice() {
        [_, "<", _] => Some(Ordering::Less),
        [_, "==", _] => Some(Ordering::Equal),
        [_, ">", _] => Some(Ordering::Greater),
        _ => None,
    }
}
