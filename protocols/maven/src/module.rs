//! Gradle's description of a version, as far as it says whose it is.
//!
//! Source: <https://github.com/gradle/gradle/blob/master/platforms/documentation/docs/src/docs/design/gradle-module-metadata-latest-specification.md>

use publaryn_protocol::strict_json;
use serde_json::Value;

use crate::name::Coordinates;

/// Largest module file, in bytes.
pub const MAX_MODULE_BYTES: u64 = 4 << 20;

/// Why a module file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleFault {
    #[error("the module file is not a JSON object: {0}")]
    Json(String),
    #[error("the module file has no formatVersion")]
    NoFormat,
    #[error("module {field} is {found}, path says {wanted}")]
    Differs { field: &'static str, found: String, wanted: String },
}

/// Whether a module file is that of a version. One without a component speaks of its own version all the same.
///
/// # Errors
/// What is no module file, or that of another version.
pub fn check(bytes: &[u8], coordinates: &Coordinates, version: &str) -> Result<(), ModuleFault> {
    let module = strict_json::parse_object(bytes).map_err(|error| ModuleFault::Json(error.to_string()))?;
    if !module.get("formatVersion").is_some_and(Value::is_string) {
        return Err(ModuleFault::NoFormat);
    }
    let component = module.get("component").and_then(Value::as_object);
    for (field, wanted) in
        [("group", coordinates.group.as_str()), ("module", &coordinates.artifact), ("version", version)]
    {
        // A component with a `url` describes a variant of the module that lies there.
        let Some(component) = component.filter(|component| !component.contains_key("url")) else { continue };
        let found = component.get(field).and_then(Value::as_str).unwrap_or_default();
        if found != wanted {
            let found = found.chars().filter(|c| !c.is_control()).take(100).collect();
            return Err(ModuleFault::Differs { field, found, wanted: wanted.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checked(text: &str) -> Result<(), ModuleFault> {
        check(text.as_bytes(), &Coordinates::new("com.acme", "widget").unwrap(), "1.0")
    }

    #[test]
    fn a_module_file_is_that_of_its_version() {
        let of = |group: &str| {
            format!(r#"{{"formatVersion":"1.1","component":{{"group":"{group}","module":"widget","version":"1.0"}}}}"#)
        };
        assert_eq!(checked(&of("com.acme")), Ok(()));
        assert_eq!(checked(&of("x")).unwrap_err().to_string(), "module group is x, path says com.acme");
        assert_eq!(
            checked(r#"{"formatVersion":"1.1","component":{"url":"../../x/1.0/x-1.0.module","group":"g"}}"#),
            Ok(())
        );
        assert_eq!(checked(r#"{"component":{}}"#), Err(ModuleFault::NoFormat));
        for bad in ["", "[]", "{", r#"{"formatVersion":"1","formatVersion":"2"}"#] {
            assert!(matches!(checked(bad), Err(ModuleFault::Json(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~]{0,100}") {
            let _ = checked(&text);
        }
    }
}
