//! Pages in HTML (PEP 503). File names and reasons come from strangers, so everything is escaped.

use std::fmt::{self, Write as _};

use super::{API_VERSION, Names, ProjectPage, Yank};

pub(super) fn list(names: &Names, base: &str) -> Vec<u8> {
    let mut page = start("Simple index", "");
    for listed in names {
        let (name, display) = (Escaped(&listed.normalized_name), Escaped(&listed.name));
        // Writing to a String cannot fail.
        let _ = writeln!(page, "    <a href=\"{}/pypi/simple/{name}/\">{display}</a><br/>", Escaped(base));
    }
    end(page)
}

pub(super) fn project(project: &ProjectPage) -> Vec<u8> {
    let mut metas = String::new();
    if let Some((status, reason)) = &project.status {
        meta(&mut metas, "pypi:project-status", status);
        if let Some(reason) = reason {
            meta(&mut metas, "pypi:project-status-reason", reason);
        }
    }
    let mut page = start(&format!("Links for {}", project.name), &metas);
    let _ = writeln!(page, "    <h1>Links for {}</h1>", Escaped(&project.name));
    for file in &project.files {
        let _ = write!(page, "    <a href=\"{}#sha256={}\"", Escaped(&file.url), file.sha256);
        if let Some(python) = &file.requires_python {
            attribute(&mut page, "data-requires-python", python);
        }
        if let Some(sha256) = &file.core_metadata {
            for name in ["data-core-metadata", "data-dist-info-metadata"] {
                attribute(&mut page, name, &format!("sha256={sha256}"));
            }
        }
        if let Some(Yank(reason)) = &file.yanked {
            attribute(&mut page, "data-yanked", reason.as_deref().unwrap_or_default());
        }
        if let Some(provenance) = &file.provenance {
            attribute(&mut page, "data-provenance", provenance);
        }
        attribute(&mut page, "data-gpg-sig", "false");
        let _ = writeln!(page, ">{}</a><br/>", Escaped(&file.filename));
    }
    end(page)
}

fn start(title: &str, metas: &str) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html>\n  <head>\n");
    meta(&mut page, "pypi:repository-version", API_VERSION);
    page.push_str(metas);
    let _ = write!(page, "    <title>{}</title>\n  </head>\n  <body>\n", Escaped(title));
    page
}

fn meta(page: &mut String, name: &str, content: &str) {
    let _ = writeln!(page, "    <meta name=\"{name}\" content=\"{}\">", Escaped(content));
}

fn attribute(page: &mut String, name: &str, value: &str) {
    let _ = write!(page, " {name}=\"{}\"", Escaped(value));
}

fn end(mut page: String) -> Vec<u8> {
    page.push_str("  </body>\n</html>\n");
    page.into_bytes()
}

/// Text for element content and double-quoted attributes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#x27;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use publaryn_core::Timestamp;
    use publaryn_registry::ListedName;

    use super::*;
    use crate::simple::page::FileEntry;

    fn page(file: FileEntry) -> String {
        let page = ProjectPage {
            name: "demo".into(),
            status: Some(("archived", None)),
            versions: vec!["1.0".into()],
            files: vec![file],
        };
        String::from_utf8(project(&page)).unwrap()
    }

    fn file() -> FileEntry {
        FileEntry {
            filename: "demo-1.0-py3-none-any.whl".into(),
            url: "https://e/f".into(),
            sha256: "ab".into(),
            size_bytes: 1,
            uploaded_at: Timestamp::from_micros(0),
            requires_python: Some(">=3.8,<4".into()),
            yanked: Some(Yank(Some("\"><script>".into()))),
            core_metadata: Some("cd".into()),
            provenance: None,
        }
    }

    #[test]
    fn attributes_are_escaped_and_optional() {
        let text = page(file());
        for wanted in [
            "<meta name=\"pypi:repository-version\" content=\"1.4\">",
            "<meta name=\"pypi:project-status\" content=\"archived\">",
            "href=\"https://e/f#sha256=ab\"",
            "data-requires-python=\"&gt;=3.8,&lt;4\"",
            "data-yanked=\"&quot;&gt;&lt;script&gt;\"",
            "data-core-metadata=\"sha256=cd\"",
            "data-dist-info-metadata=\"sha256=cd\"",
            "data-gpg-sig=\"false\"",
            ">demo-1.0-py3-none-any.whl</a>",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        let bare = page(FileEntry { requires_python: None, yanked: None, core_metadata: None, ..file() });
        for absent in ["data-requires-python", "data-yanked", "metadata=", "<base"] {
            assert!(!bare.contains(absent), "{absent}");
        }
        assert!(page(FileEntry { yanked: Some(Yank(None)), ..file() }).contains("data-yanked=\"\""));
        let names = [ListedName { name: "De<mo".into(), normalized_name: "demo".into() }];
        let listed = String::from_utf8(list(&names, "https://e")).unwrap();
        assert!(listed.contains("<a href=\"https://e/pypi/simple/demo/\">De&lt;mo</a>"), "{listed}");
    }

    proptest! {
        #[test]
        fn nothing_breaks_out_of_an_attribute(reason in "\\PC{0,40}", filename in "\\PC{0,40}") {
            let text = page(FileEntry { yanked: Some(Yank(Some(reason))), filename, ..file() });
            let line = text.lines().find(|l| l.contains("href=")).unwrap();
            prop_assert_eq!(line.matches('<').count(), 3);
            prop_assert_eq!(line.matches('"').count(), 12);
        }
    }
}
