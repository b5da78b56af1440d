//! The text fields of an upload form (pypi.md §5).

use publaryn_core::{PackageName, RegistryError, Version};

use crate::{claims::Claims, error::PypiError, filename::Format, name, version};

/// Most parts of a form; metadata lists are sent as one part per entry.
pub const MAX_PARTS: usize = 1024;
/// All text of a form: the two large fields and as much again for the others.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// Longest list of attestations, in bytes.
pub const MAX_ATTESTATIONS_BYTES: usize = 1 << 20;

/// Longest value of a field, in bytes.
pub fn max_bytes(field: &str) -> usize {
    match field {
        "description" => 1 << 20,
        "attestations" => MAX_ATTESTATIONS_BYTES,
        _ => 64 << 10,
    }
}

/// What a form says, as far as it matters: what is stored of a file comes from its archive.
#[derive(Debug, Default)]
pub struct Fields {
    action: Option<String>,
    protocol_version: Option<String>,
    filetype: Option<String>,
    pyversion: Option<String>,
    metadata_version: Option<String>,
    name: Option<String>,
    version: Option<String>,
    pub sha256: Option<String>,
    pub blake2b_256: Option<String>,
    pub md5: Option<String>,
    pub attestations: Option<String>,
    pub claims: Claims,
}

/// The fields that say which file of which release this is.
#[derive(Debug, Clone)]
pub struct Checked {
    pub name: PackageName,
    pub version: Version,
    pub filetype: String,
}

impl Fields {
    /// Takes one field. Empty values mean nothing, unknown fields are ignored, of repeated ones the first counts
    /// where there can be only one.
    pub fn add(&mut self, field: &str, value: String) {
        if value.is_empty() {
            return;
        }
        let slot = match field {
            ":action" => &mut self.action,
            "protocol_version" => &mut self.protocol_version,
            "filetype" => &mut self.filetype,
            "pyversion" => &mut self.pyversion,
            "metadata_version" => &mut self.metadata_version,
            "name" => &mut self.name,
            "version" => &mut self.version,
            "sha256_digest" => &mut self.sha256,
            "blake2_256_digest" => &mut self.blake2b_256,
            "md5_digest" => &mut self.md5,
            "attestations" => &mut self.attestations,
            "requires_python" => &mut self.claims.requires_python,
            "summary" => &mut self.claims.summary,
            "requires_dist" => return self.claims.requires_dist.push(value),
            "provides_extra" => return self.claims.provides_extra.push(value),
            "classifiers" => return self.claims.classifiers.push(value),
            _ => return,
        };
        slot.get_or_insert(value);
    }

    /// The project, if it was named already; clients may send the file first.
    ///
    /// # Errors
    /// 400 for what is no name.
    pub fn name_so_far(&self) -> Result<Option<PackageName>, PypiError> {
        Ok(self.name.as_deref().map(name::parse_name).transpose()?)
    }

    /// Checks what every upload must say; the order is that of pypi.md §5.
    ///
    /// # Errors
    /// 400, or 410 for actions of long ago.
    pub fn check(&self) -> Result<Checked, PypiError> {
        match self.action.as_deref() {
            Some("file_upload") => {}
            Some("submit" | "doc_upload" | "verify") => {
                let text = "This action is no longer required or supported; upload the file itself.";
                return Err(PypiError::refused(http::StatusCode::GONE, text));
            }
            _ => return Err(PypiError::bad_request("Unknown or missing :action; use 'file_upload'.")),
        }
        if self.protocol_version.as_deref().unwrap_or("1") != "1" {
            return Err(PypiError::bad_request("Unknown protocol version."));
        }
        let metadata_version = required(&self.metadata_version, "Metadata-Version")?;
        if !matches!(metadata_version.split_once('.'), Some(("1" | "2", minor)) if minor.parse::<u8>().is_ok()) {
            return Err(invalid(metadata_version, "Metadata-Version", "Use a known metadata version (1.x or 2.x)."));
        }
        let name = name::parse_name(required(&self.name, "Name")?)?;
        let raw_version = required(&self.version, "Version")?;
        let version = version::parse_version(raw_version).ok_or_else(|| {
            invalid(raw_version, "Version", "Start and end with a letter or numeral, as PEP 440 says.")
        })?;
        let filetype = required(&self.filetype, "Filetype")?;
        if !matches!(filetype, "bdist_wheel" | "sdist") {
            return Err(invalid(filetype, "Filetype", "Use 'bdist_wheel' or 'sdist'."));
        }
        let pyversion = self.pyversion.as_deref();
        match (filetype, pyversion) {
            // flit sends none for sdists.
            ("sdist", None | Some("source")) | ("bdist_wheel", Some(_)) => {}
            ("sdist", Some(other)) => return Err(invalid(other, "Pyversion", "Use 'source' for an sdist.")),
            _ => return Err(PypiError::bad_request("'Pyversion' is a required field for wheels.")),
        }
        if self.sha256.is_none() && self.blake2b_256.is_none() && self.md5.is_none() {
            return Err(PypiError::bad_request("Include at least one message digest."));
        }
        Ok(Checked { name, version, filetype: filetype.to_owned() })
    }
}

impl Checked {
    /// # Errors
    /// 400 when the file is not of the announced type.
    pub fn check_format(&self, format: Format) -> Result<(), PypiError> {
        if format.filetype() == self.filetype {
            return Ok(());
        }
        let text = format!("The file is a {}, not a {}.", format.filetype(), self.filetype);
        Err(PypiError::bad_request(text))
    }
}

fn required<'a>(value: &'a Option<String>, field: &str) -> Result<&'a str, PypiError> {
    value.as_deref().ok_or_else(|| PypiError::bad_request(format!("'{field}' is a required field.")))
}

fn invalid(value: &str, field: &str, advice: &str) -> PypiError {
    let shown: String = value.chars().take(60).filter(|c| !c.is_control()).collect();
    let message = format!("'{shown}' is an invalid value for {field}. Error: {advice}");
    RegistryError::invalid("invalid_field", message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 8] = [
        (":action", "file_upload"),
        ("protocol_version", "1"),
        ("metadata_version", "2.5"),
        ("name", "Demo.Pkg"),
        ("version", "v1.0"),
        ("filetype", "bdist_wheel"),
        ("pyversion", "py3"),
        ("sha256_digest", "aa"),
    ];

    fn check(change: &[(&str, &str)]) -> Result<Checked, String> {
        let mut fields = Fields::default();
        for (field, value) in GOOD {
            let value = change.iter().find(|(name, _)| *name == field).map_or(value, |(_, value)| value);
            fields.add(field, value.to_owned());
        }
        fields.check().map_err(|error| format!("{} {error:?}", error.status().as_u16()))
    }

    #[test]
    fn a_form_needs_only_the_minimum() {
        let checked = check(&[]).unwrap();
        assert_eq!((checked.name.canonical(), checked.version.as_str()), ("demo-pkg", "1.0"));
        assert!(check(&[("protocol_version", "")]).is_ok());
        assert!(check(&[("filetype", "sdist"), ("pyversion", "")]).is_ok());
        assert!(check(&[("filetype", "sdist"), ("pyversion", "source")]).is_ok());
        for version in ["1.0", "2.1", "2.6"] {
            assert!(check(&[("metadata_version", version)]).is_ok(), "{version}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (field, value, wanted) in [
            (":action", "", "400"),
            (":action", "other", "400"),
            (":action", "submit", "410"),
            (":action", "doc_upload", "no longer required or supported"),
            ("protocol_version", "2", "Unknown protocol version."),
            ("metadata_version", "", "'Metadata-Version' is a required field."),
            ("metadata_version", "3.0", "'3.0' is an invalid value for Metadata-Version"),
            ("metadata_version", "2", "invalid value for Metadata-Version"),
            ("name", "", "'Name' is a required field."),
            ("name", "../x", "'../x' is an invalid value for Name. Error: "),
            ("version", "", "'Version' is a required field."),
            ("version", "latest", "'latest' is an invalid value for Version. Error: "),
            ("filetype", "bdist_egg", "'bdist_egg' is an invalid value for Filetype"),
            ("filetype", "", "'Filetype' is a required field."),
            ("pyversion", "", "'Pyversion' is a required field"),
            ("sha256_digest", "", "Include at least one message digest."),
        ] {
            let error = check(&[(field, value)]).unwrap_err();
            assert!(error.contains(wanted), "{field}={value}: {error}");
        }
        assert!(check(&[("filetype", "sdist"), ("pyversion", "py3")]).unwrap_err().contains("Pyversion"));
    }

    #[test]
    fn lists_are_kept_and_the_first_of_repeated_values_counts() {
        let mut fields = Fields::default();
        for (field, value) in [
            ("name", "a"),
            ("name", "b"),
            ("requires_dist", "x"),
            ("requires_dist", "y"),
            ("requires_python", ""),
            ("unknown", "z"),
        ] {
            fields.add(field, value.to_owned());
        }
        assert_eq!(fields.name_so_far().unwrap().unwrap().display(), "a");
        assert_eq!(fields.claims.requires_dist, ["x", "y"]);
        assert_eq!(fields.claims.requires_python, None);
    }
}
