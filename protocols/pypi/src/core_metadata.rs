//! The metadata file of a distribution (`METADATA`, `PKG-INFO`), and the `WHEEL` file, which has the same form.
//!
//! The form is that of mail headers, as CPython's `email` reads them. Source:
//! <https://packaging.python.org/en/latest/specifications/core-metadata/>

/// Largest metadata file, in bytes: a description of 1 MiB (pypi.md §5) and as much again for the fields.
pub const MAX_METADATA_BYTES: u64 = 2 << 20;

/// Most fields of a metadata file; the longest lists, of dependencies and classifiers, have hundreds.
const MAX_FIELDS: usize = 10_000;

/// Most text of all fields but the description, in bytes: what is stored of them is read for every page of the project.
/// The longest lists of dependencies there are take 50 KB, a licence in full 35 KB.
const MAX_FIELD_BYTES: usize = 256 << 10;

/// Fields and text of a file in mail form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// Lower-case names with their values, in order.
    fields: Vec<(String, String)>,
    body: String,
    /// A line is neither a field nor part of one. Readers differ in what they make of the rest.
    breaks_off: bool,
}

/// Why a metadata file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    #[error("it has more than {MAX_FIELDS} fields")]
    TooManyFields,
    #[error("its fields take more than {MAX_FIELD_BYTES} bytes")]
    TooMuchText,
    #[error("it has no {0}")]
    Missing(&'static str),
    #[error("{0} occurs more than once")]
    Repeated(&'static str),
    #[error("a line is neither a field nor part of one")]
    BreaksOff,
}

impl Headers {
    /// # Errors
    /// `TooManyFields`.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataFault> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut headers = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() {
                after.clone_into(&mut headers.body);
                break;
            }
            if line.starts_with([' ', '\t']) && !headers.fields.is_empty() {
                if let Some((_, value)) = headers.fields.last_mut() {
                    value.push('\n');
                    value.push_str(continuation(line));
                }
            } else if let Some((name, value)) = field(line) {
                if headers.fields.len() == MAX_FIELDS {
                    return Err(MetadataFault::TooManyFields);
                }
                headers.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            } else {
                headers.breaks_off = true;
                rest.clone_into(&mut headers.body);
                break;
            }
            rest = after;
        }
        Ok(headers)
    }

    /// All values of a field; `name` in lower case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a field that says something.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty() && *value != "UNKNOWN")
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.all(name).filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    /// The one value of a field.
    fn single(&self, name: &'static str) -> Result<Option<&str>, MetadataFault> {
        let key = name.to_ascii_lowercase();
        let mut values = self.fields.iter().filter(|(field, _)| *field == key).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(MetadataFault::Repeated(name)),
            (value, None) => Ok(value.filter(|v| !v.is_empty())),
        }
    }
}

fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    is_name.then_some((name, value))
}

/// Descriptions before metadata 2.1 were indented by seven spaces and a bar, or by eight spaces.
fn continuation(line: &str) -> &str {
    line.strip_prefix("       |").or_else(|| line.strip_prefix("        ")).unwrap_or_else(|| line.trim_start())
}

/// The fields of a distribution that this index uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreMetadata {
    pub metadata_version: String,
    pub name: String,
    pub version: String,
    pub summary: Option<String>,
    pub description: Option<String>,
    pub description_content_type: Option<String>,
    pub keywords: Vec<String>,
    pub home_page: Option<String>,
    pub author: Option<String>,
    pub author_email: Option<String>,
    pub maintainer: Option<String>,
    pub maintainer_email: Option<String>,
    pub license: Option<String>,
    pub license_expression: Option<String>,
    pub classifiers: Vec<String>,
    /// Label and address.
    pub project_urls: Vec<(String, String)>,
    pub requires_python: Option<String>,
    pub requires_dist: Vec<String>,
    pub requires_external: Vec<String>,
    pub provides_extra: Vec<String>,
}

impl CoreMetadata {
    /// Reads a metadata file. `is_served`: clients resolve from it, so it must read the same everywhere.
    ///
    /// # Errors
    /// What makes it unreadable, or readable in two ways.
    pub fn parse(bytes: &[u8], is_served: bool) -> Result<Self, MetadataFault> {
        let headers = Headers::parse(bytes)?;
        let fields = headers.fields.iter().filter(|(name, _)| name != "description");
        if fields.map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_FIELD_BYTES {
            return Err(MetadataFault::TooMuchText);
        }
        if is_served && headers.breaks_off {
            return Err(MetadataFault::BreaksOff);
        }
        let text = |name: &str| headers.first(name).map(str::to_owned);
        let needed = |name: &'static str| headers.single(name)?.map(str::to_owned).ok_or(MetadataFault::Missing(name));
        let body = Some(headers.body.as_str()).filter(|body| !body.trim().is_empty() && !headers.breaks_off);
        Ok(Self {
            metadata_version: needed("Metadata-Version")?,
            name: needed("Name")?,
            version: needed("Version")?,
            requires_python: headers.single("Requires-Python")?.map(str::to_owned),
            summary: text("summary").map(|s| s.replace('\n', " ")),
            description: body.or(headers.first("description")).map(str::to_owned),
            description_content_type: text("description-content-type"),
            keywords: keywords(headers.first("keywords").unwrap_or_default()),
            home_page: text("home-page"),
            author: text("author"),
            author_email: text("author-email"),
            maintainer: text("maintainer"),
            maintainer_email: text("maintainer-email"),
            license: text("license"),
            license_expression: text("license-expression"),
            classifiers: headers.list("classifier"),
            project_urls: headers.all("project-url").filter_map(project_url).collect(),
            requires_dist: headers.list("requires-dist"),
            requires_external: headers.list("requires-external"),
            provides_extra: headers.list("provides-extra"),
        })
    }
}

fn keywords(text: &str) -> Vec<String> {
    let separator = if text.contains(',') { ',' } else { ' ' };
    text.split(separator).map(str::trim).filter(|k| !k.is_empty()).map(str::to_owned).collect()
}

fn project_url(text: &str) -> Option<(String, String)> {
    let (label, address) = text.split_once(',')?;
    Some((label.trim().to_owned(), address.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METADATA: &str = "Metadata-Version: 2.1\nName: Demo.Pkg\nVersion: 1.0\nSummary: a demo\nKeywords: a,b c\n\
        Author: UNKNOWN\nRequires-Python: >=3.8\nRequires-Dist: six (>=1.0)\nRequires-Dist: rich; extra == \"x\"\n\
        Provides-Extra: x\nProject-URL: Source, https://example.test/src\nClassifier: A :: B\n\
        License: MIT\n        and more\n\n# Demo\n\nhello\n";

    #[test]
    fn fields_and_description_are_read() {
        for text in [METADATA.to_owned(), METADATA.replace('\n', "\r\n"), format!("\u{feff}{METADATA}")] {
            let metadata = CoreMetadata::parse(text.as_bytes(), true).unwrap();
            assert_eq!((metadata.name.as_str(), metadata.version.as_str()), ("Demo.Pkg", "1.0"));
            assert_eq!(metadata.requires_python.as_deref(), Some(">=3.8"));
            assert_eq!(metadata.requires_dist, ["six (>=1.0)", "rich; extra == \"x\""]);
            assert_eq!(metadata.keywords, ["a", "b c"]);
            assert_eq!(metadata.author, None);
            assert_eq!(metadata.license.as_deref(), Some("MIT\nand more"));
            assert_eq!(metadata.project_urls, [("Source".to_owned(), "https://example.test/src".to_owned())]);
            assert!(metadata.description.unwrap().starts_with("# Demo"));
        }
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        for (edit, fault) in [
            ("Name: other\n", MetadataFault::Repeated("Name")),
            ("Version: 2.0\n", MetadataFault::Repeated("Version")),
            ("Requires-Python: >=2\n", MetadataFault::Repeated("Requires-Python")),
            ("no field at all\n", MetadataFault::BreaksOff),
            (": empty\n", MetadataFault::BreaksOff),
        ] {
            let text = METADATA.replace("Summary:", &format!("{edit}Summary:"));
            assert_eq!(CoreMetadata::parse(text.as_bytes(), true).unwrap_err(), fault, "{edit}");
        }
        let text = METADATA.replace("Summary:", "no field at all\nSummary:");
        assert_eq!(CoreMetadata::parse(text.as_bytes(), false).unwrap().summary, None);
        for missing in ["Metadata-Version: 2.1\n", "Name: Demo.Pkg\n", "Version: 1.0\n"] {
            let fault = CoreMetadata::parse(METADATA.replace(missing, "").as_bytes(), true).unwrap_err();
            assert!(matches!(fault, MetadataFault::Missing(_)), "{missing}");
        }
        let long = "x".repeat(MAX_FIELD_BYTES);
        let fat = METADATA.replace("A :: B", &long);
        assert_eq!(CoreMetadata::parse(fat.as_bytes(), true).unwrap_err(), MetadataFault::TooMuchText);
        let described = METADATA.replace("Summary:", &format!("Description: {long}\nSummary:")) + &long;
        assert!(CoreMetadata::parse(described.as_bytes(), true).is_ok());
        let many = format!("{METADATA}\n").replace("Classifier: A :: B\n", &"Classifier: x\n".repeat(MAX_FIELDS));
        assert_eq!(CoreMetadata::parse(many.as_bytes(), true).unwrap_err(), MetadataFault::TooManyFields);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), is_served in any::<bool>()) {
            let _ = CoreMetadata::parse(&bytes, is_served);
        }

        #[test]
        fn values_come_back(value in "[!-~]([ -~]{0,40}[!-~])?", folded in "[!-~]([ -~]{0,20}[!-~])?") {
            let text = format!("A: {value}\n  {folded}\nB: x\n\nbody");
            let headers = Headers::parse(text.as_bytes()).unwrap();
            let wanted = format!("{value}\n{folded}");
            prop_assert_eq!(headers.all("a").collect::<Vec<_>>(), vec![wanted.as_str()]);
            prop_assert_eq!(headers.first("b"), Some("x"));
        }
    }
}
