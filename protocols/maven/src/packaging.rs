//! What a POM's `<packaging>` says about the main file beside it (scanning.md §3b).
//!
//! Source of the endings: <https://maven.apache.org/ref/3.9.9/maven-core/artifact-handlers.html>.

use serde_json::Value;

use crate::file::FileName;

/// Endings of main files that exclude one another: a version is one of these, whatever else builds attach to it.
const MAIN: [&str; 5] = ["jar", "war", "ear", "rar", "aar"];

/// The ending that a packaging stands for; `None` where a build tool has its own idea, or the POM none.
fn ending_of(packaging: &str) -> Option<&'static str> {
    match packaging {
        "jar" | "ejb" | "maven-plugin" | "maven-archetype" | "bundle" => Some("jar"),
        "war" => Some("war"),
        "ear" => Some("ear"),
        "rar" => Some("rar"),
        "aar" => Some("aar"),
        _ => None,
    }
}

/// Whether anything about the file hangs on the packaging of its version.
pub fn concerns(name: &FileName) -> bool {
    name.is_main() && MAIN.contains(&name.extension.as_str())
}

/// Why a main file does not go with a POM of that packaging.
pub fn fault(packaging: &str, name: &FileName) -> Option<String> {
    let wanted = ending_of(packaging).filter(|_| concerns(name))?;
    (name.extension != wanted).then(|| format!("POM packaging is {packaging}, the file is {name}"))
}

/// The packaging in what a version says of itself.
pub fn of_document(document: &Value) -> Option<&str> {
    document.get("packaging")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_main_files_of_another_kind_are_against_a_packaging() {
        let fault = |packaging, text| fault(packaging, &FileName::parse(text, "w", "1").unwrap());
        for (packaging, file) in [
            ("jar", "w-1.jar"),
            ("jar", "w-1.zip"),
            ("jar", "w-1.tar.gz"),
            ("war", "w-1.war"),
            ("war", "w-1-classes.jar"),
            ("war", "w-1.war.asc"),
            ("maven-plugin", "w-1.jar"),
            ("pom", "w-1.jar"),
            ("hpi", "w-1.jar"),
            ("${kind}", "w-1.war"),
        ] {
            assert_eq!(fault(packaging, file), None, "{packaging} {file}");
        }
        assert_eq!(fault("war", "w-1.jar").as_deref(), Some("POM packaging is war, the file is w-1.jar"));
        for (packaging, file) in [("jar", "w-1.war"), ("ejb", "w-1.ear"), ("aar", "w-1.jar")] {
            assert!(fault(packaging, file).is_some(), "{packaging} {file}");
        }
    }
}
