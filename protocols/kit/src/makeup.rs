//! What a release is made of, as its document tells.

use serde::Serialize;
use serde_json::Value;

/// Counts and traits of a release (control-plane.md §2, Analysis). What its ecosystem does not say is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Makeup {
    /// Of what it refers to where its own files are only a list of that.
    pub compressed_size_bytes: Option<u64>,
    /// Unpacked.
    pub install_size_bytes: Option<u64>,
    pub file_count: Option<u64>,
    pub runtime_dependency_count: Option<usize>,
    pub development_dependency_count: Option<usize>,
    pub peer_dependency_count: Option<usize>,
    pub optional_dependency_count: Option<usize>,
    pub bundled_dependency_count: Option<usize>,
    pub dependency_group_count: Option<usize>,
    pub extra_count: Option<usize>,
    pub package_type_count: Option<usize>,
    pub layer_count: Option<usize>,
    /// Scripts that run on the machine that installs it.
    pub install_script_count: Option<usize>,
    pub has_cli_entrypoints: Option<bool>,
    pub has_tree_shaking_hints: Option<bool>,
    pub has_native_code: Option<bool>,
}

impl Makeup {
    /// Everything it names itself, bundled copies aside: they are named elsewhere, too.
    pub fn direct_dependency_count(&self) -> Option<usize> {
        let counts = [
            self.runtime_dependency_count,
            self.development_dependency_count,
            self.peer_dependency_count,
            self.optional_dependency_count,
        ];
        counts.iter().any(Option::is_some).then(|| counts.iter().flatten().sum())
    }
}

/// How many members an object or a list has; nothing else has any.
pub fn size_of(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    }
}

/// How many items of a list are such.
pub fn count(list: &Value, is_such: impl Fn(&Value) -> bool) -> usize {
    list.as_array().map_or(0, |items| items.iter().filter(|item| is_such(item)).count())
}
