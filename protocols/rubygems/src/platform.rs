//! Platforms as `Gem::Platform` takes them apart; the legacy index stores the parts.
//!
//! Source: `lib/rubygems/platform.rb` of ruby/rubygems.

/// Processor, system and its version, each where known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    pub cpu: Option<String>,
    pub os: String,
    pub version: Option<String>,
}

impl Platform {
    pub fn parse(text: &str) -> Self {
        let text = text.trim_end_matches('-');
        let mut parts: Vec<String> = text.split('-').map(str::to_owned).collect();
        if parts.len() > 2 && !parts.last().is_some_and(|last| ends_in_number(last)) {
            // x86-linux-gnu
            let extra = parts.pop().unwrap_or_default();
            if let Some(last) = parts.last_mut() {
                *last = format!("{last}-{extra}");
            }
        }
        let first = parts.remove(0);
        let cpu = match first.as_bytes() {
            [b'i', d, b'8', b'6', ..] if d.is_ascii_digit() => "x86".to_owned(),
            _ => first.clone(),
        };
        if let [os, version] = parts.as_slice()
            && is_number(version)
        {
            return Self { cpu: Some(cpu), os: os.clone(), version: Some(version.clone()) };
        }
        match parts.first() {
            // `java`, `jruby`: no processor.
            None => Self::of(None, &first),
            Some(os) => Self::of(Some(cpu), os),
        }
    }

    fn of(cpu: Option<String>, os: &str) -> Self {
        let after = |word: &str| os.find(word).map(|at| &os[at + word.len()..]);
        let digits = |rest: &str| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            (!digits.is_empty()).then_some(digits)
        };
        let dotted = |rest: &str| {
            let text: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            let is_pair = text.split_once('.').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
            is_pair.then_some(text)
        };
        let word = |rest: &str| {
            let rest = rest.strip_prefix('-').unwrap_or(rest);
            let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            (!word.is_empty()).then_some(word)
        };
        let (os, version) = if let Some(rest) = after("aix") {
            ("aix", digits(rest))
        } else if os.contains("cygwin") {
            ("cygwin", None)
        } else if let Some(rest) = after("darwin") {
            ("darwin", digits(rest))
        } else if let Some(rest) = after("freebsd") {
            ("freebsd", digits(rest))
        } else if matches!(os, "java" | "jruby") {
            ("java", None)
        } else if let Some(rest) = os.strip_prefix("java") {
            ("java", Some(rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect()))
        } else if let Some(rest) = os.strip_prefix("dalvik") {
            ("dalvik", digits(rest))
        } else if let Some(rest) = os.strip_prefix("dotnet") {
            ("dotnet", dotted(rest).or_else(|| digits(rest)))
        } else if let Some(rest) = after("linux") {
            ("linux", word(rest).filter(|libc| !libc.starts_with("gnu")))
        } else if os.contains("mingw32") {
            ("mingw32", None)
        } else if let Some(rest) = after("mingw") {
            ("mingw", word(rest))
        } else if let Some(rest) = after("mswin") {
            let bits = digits(rest).unwrap_or_default();
            let version = rest[bits.len()..].strip_prefix('_').and_then(digits);
            let cpu = cpu.or_else(|| bits.ends_with("32").then(|| "x86".to_owned()));
            return Self { cpu, os: format!("mswin{bits}"), version };
        } else if os.contains("netbsdelf") {
            ("netbsdelf", None)
        } else if let Some(rest) = after("openbsd") {
            ("openbsd", dotted(rest))
        } else if let Some(rest) = after("solaris") {
            ("solaris", dotted(rest))
        } else if os.contains("wasi") {
            ("wasi", None)
        } else {
            ("unknown", None)
        };
        Self { cpu, os: os.to_owned(), version }
    }
}

fn is_number(text: &str) -> bool {
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('.') {
        None => all_digits(text),
        Some((a, b)) => all_digits(a) && all_digits(b),
    }
}

fn ends_in_number(text: &str) -> bool {
    text.bytes().last().is_some_and(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `ruby -e 'p Gem::Platform.new(x).to_a'` prints.
    #[test]
    fn parts_are_those_of_rubygems() {
        for (text, cpu, os, version) in [
            ("x86_64-linux", Some("x86_64"), "linux", None),
            ("x86_64-linux-musl", Some("x86_64"), "linux", Some("musl")),
            ("aarch64-linux-gnu", Some("aarch64"), "linux", None),
            ("i686-linux", Some("x86"), "linux", None),
            ("x86_64-darwin-19", Some("x86_64"), "darwin", Some("19")),
            ("arm64-darwin", Some("arm64"), "darwin", None),
            ("universal-darwin19", Some("universal"), "darwin", Some("19")),
            ("java", None, "java", None),
            ("jruby", None, "java", None),
            ("x64-mingw32", Some("x64"), "mingw32", None),
            ("x64-mingw-ucrt", Some("x64"), "mingw", Some("ucrt")),
            ("x86-mswin32-60", Some("x86"), "mswin32", Some("60")),
            ("mswin32", Some("x86"), "mswin32", None),
        ] {
            let parsed = Platform::parse(text);
            let found = (parsed.cpu.as_deref(), parsed.os.as_str(), parsed.version.as_deref());
            assert_eq!(found, (cpu, os, version), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            Platform::parse(&text);
        }
    }
}
