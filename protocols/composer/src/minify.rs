//! The minified form of a list of versions: the first entry whole, of the others what differs from the one before.
//!
//! Source: `MetadataMinifier` of composer/metadata-minifier.

use serde_json::{Map, Value};

/// Stands for a member that the previous version had and this one lacks.
const UNSET: &str = "__unset";

/// Minifies entries in the order given.
pub(crate) fn minify(entries: Vec<Map<String, Value>>) -> Vec<Value> {
    let mut previous: Option<Map<String, Value>> = None;
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        out.push(Value::Object(match &previous {
            None => entry.clone(),
            Some(previous) => difference(previous, &entry),
        }));
        previous = Some(entry);
    }
    out
}

fn difference(previous: &Map<String, Value>, entry: &Map<String, Value>) -> Map<String, Value> {
    let mut changed: Map<String, Value> = entry
        .iter()
        .filter(|(key, value)| previous.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for key in previous.keys().filter(|key| !entry.contains_key(*key)) {
        changed.insert(key.clone(), UNSET.into());
    }
    changed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// As the client does it.
    fn expand(minified: &[Value]) -> Vec<Map<String, Value>> {
        let mut current = Map::new();
        minified
            .iter()
            .map(|entry| {
                for (key, value) in entry.as_object().unwrap() {
                    if value == UNSET {
                        current.remove(key);
                    } else {
                        current.insert(key.clone(), value.clone());
                    }
                }
                current.clone()
            })
            .collect()
    }

    #[test]
    fn only_differences_are_repeated() {
        let entries = [json!({"version": "2", "type": "x", "bin": ["a"]}), json!({"version": "1", "type": "x"})];
        let entries: Vec<_> = entries.iter().map(|e| e.as_object().unwrap().clone()).collect();
        assert_eq!(minify(entries)[1], json!({"version": "1", "bin": "__unset"}));
    }

    proptest! {
        #[test]
        fn expanding_gives_back_what_was_minified(
            lists in proptest::collection::vec(proptest::collection::btree_map("[a-d]", 0..3_i32, 0..4), 0..6),
        ) {
            let entries: Vec<Map<String, Value>> =
                lists.into_iter().map(|map| map.into_iter().map(|(k, v)| (k, v.into())).collect()).collect();
            let sorted = |list: &[Map<String, Value>]| -> Vec<std::collections::BTreeMap<String, Value>> {
                list.iter().map(|m| m.clone().into_iter().collect()).collect()
            };
            prop_assert_eq!(sorted(&expand(&minify(entries.clone()))), sorted(&entries));
        }
    }
}
