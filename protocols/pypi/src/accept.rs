//! Which representation a client wants (PEP 691, RFC 9110 §12.5.1).

use http::{HeaderMap, header};

/// The forms in which the simple API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Representation {
    Json,
    Html,
    /// The same page under the type that clients before PEP 691 know.
    LegacyHtml,
}

use Representation::{Html, Json, LegacyHtml};

impl Representation {
    /// Best first, among equals that the client named.
    const NAMED_ORDER: [Self; 3] = [Json, Html, LegacyHtml];
    /// Best first, among those a wildcard covers.
    const WILD_ORDER: [Self; 3] = [LegacyHtml, Json, Html];

    pub const fn content_type(self) -> &'static str {
        match self {
            Json => "application/vnd.pypi.simple.v1+json",
            Html => "application/vnd.pypi.simple.v1+html",
            LegacyHtml => "text/html",
        }
    }

    fn of_type(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match () {
            () if is(Json.content_type()) || is("application/vnd.pypi.simple.latest+json") => Some(Json),
            () if is(Html.content_type()) || is("application/vnd.pypi.simple.latest+html") => Some(Html),
            () if is(LegacyHtml.content_type()) => Some(LegacyHtml),
            () => None,
        }
    }

    fn is_covered_by(self, wildcard: &str) -> bool {
        match wildcard {
            "*/*" => true,
            "application/*" => self != LegacyHtml,
            "text/*" => self == LegacyHtml,
            _ => false,
        }
    }

    /// The representation to answer with; `None` when the client takes none of them (406).
    ///
    /// `?format=` names a type and overrides `Accept`. Sloppy headers are read as meant: parameters without a
    /// value and weights that are no number do not matter.
    pub fn negotiate(query: Option<&str>, headers: &HeaderMap) -> Option<Self> {
        if let Some(format) = query.and_then(format_parameter) {
            return Self::of_type(&format);
        }
        let ranges: Vec<(String, u16)> = media_ranges(headers).collect();
        if ranges.is_empty() {
            return Some(LegacyHtml);
        }
        let named = |form: Self| ranges.iter().rev().find(|(name, _)| Self::of_type(name) == Some(form)).map(|r| r.1);
        let wild = |form: Self| {
            if named(form).is_some() {
                return None;
            }
            ranges.iter().filter(|(name, _)| form.is_covered_by(name)).map(|(_, weight)| *weight).max()
        };
        let best = |order: [Self; 3], weight: &dyn Fn(Self) -> Option<u16>| {
            let mut found: Option<(Self, u16)> = None;
            for form in order {
                match weight(form) {
                    Some(weight) if weight > 0 && found.is_none_or(|(_, best)| weight > best) => {
                        found = Some((form, weight));
                    }
                    _ => {}
                }
            }
            found
        };
        match (best(Self::NAMED_ORDER, &named), best(Self::WILD_ORDER, &wild)) {
            (Some((form, named)), Some((_, wild))) if named >= wild => Some(form),
            (Some((form, _)), None) | (_, Some((form, _))) => Some(form),
            (None, None) => None,
        }
    }
}

/// Most types read of a request; browsers name the most of all clients, and those are about ten.
const MAX_RANGES: usize = 64;

/// What `Accept` names.
fn media_ranges(headers: &HeaderMap) -> impl Iterator<Item = (String, u16)> + '_ {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).take(MAX_RANGES).filter_map(media_range)
}

/// A type and its weight in thousandths.
fn media_range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| name.contains('/'))?.to_ascii_lowercase();
    let weight = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    let weight = weight.and_then(|q| q.trim().parse::<f32>().ok()).unwrap_or(1.0);
    Some((name, (weight.clamp(0.0, 1.0) * 1000.0).round() as u16))
}

fn format_parameter(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("format="))?;
    // People write the `+` of the type as it is.
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// Whether the client asks for JSON by name, as uv does; everybody else prints texts.
pub fn prefers_json_errors(headers: &HeaderMap) -> bool {
    media_ranges(headers).any(|(name, weight)| name == "application/json" && weight > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accept(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, value.parse().expect("a header value"))])
    }

    #[test]
    fn each_client_gets_what_it_prefers() {
        for (value, wanted) in [
            // pip, uv, poetry, browsers, curl.
            (
                "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
                Some(Json),
            ),
            (
                "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01, text/html;",
                Some(Json),
            ),
            ("application/vnd.pypi.simple.v1+json, */*;q=0.1", Some(Json)),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(LegacyHtml)),
            ("*/*", Some(LegacyHtml)),
            ("text/*", Some(LegacyHtml)),
            ("application/*", Some(Json)),
            ("text/html", Some(LegacyHtml)),
            ("application/vnd.pypi.simple.v1+html", Some(Html)),
            ("application/vnd.pypi.simple.latest+json", Some(Json)),
            ("application/vnd.pypi.simple.latest+html", Some(Html)),
            ("text/html, application/vnd.pypi.simple.v1+html", Some(Html)),
            ("text/html;q=0.9, application/vnd.pypi.simple.v1+json;q=0.8", Some(LegacyHtml)),
            ("application/vnd.pypi.simple.v1+json;q=0.2, */*", Some(LegacyHtml)),
            ("application/vnd.pypi.simple.v1+json;q=0, */*", Some(LegacyHtml)),
            ("application/json", None),
            ("image/png, text/plain", None),
            ("text/html;q=0", None),
            ("application/vnd.pypi.simple.v2+json", None),
        ] {
            assert_eq!(Representation::negotiate(None, &accept(value)), wanted, "{value}");
        }
        assert_eq!(Representation::negotiate(None, &HeaderMap::new()), Some(LegacyHtml));
    }

    #[test]
    fn only_the_first_types_are_read() {
        let after = |others: usize| accept(&format!("{}application/vnd.pypi.simple.v1+json", "x/y,".repeat(others)));
        assert_eq!(Representation::negotiate(None, &after(MAX_RANGES - 1)), Some(Json));
        assert_eq!(Representation::negotiate(None, &after(MAX_RANGES)), None);
    }

    #[test]
    fn the_query_overrides_the_header() {
        let headers = accept("text/html");
        for (query, wanted) in [
            ("format=application/vnd.pypi.simple.v1+json", Some(Json)),
            ("format=application%2Fvnd.pypi.simple.v1%2Bjson", Some(Json)),
            ("x=1&format=text/html", Some(LegacyHtml)),
            ("format=application/json", None),
            ("x=1", Some(LegacyHtml)),
        ] {
            assert_eq!(Representation::negotiate(Some(query), &headers), wanted, "{query}");
        }
    }

    #[test]
    fn only_clients_that_name_json_get_json_errors() {
        assert!(prefers_json_errors(&accept("application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7")));
        for other in ["*/*", "text/plain", "application/json;q=0", "application/vnd.pypi.simple.v1+json"] {
            assert!(!prefers_json_errors(&accept(other)), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(value in "[ -~]{0,200}", query in prop::option::of("[ -~]{0,60}")) {
            Representation::negotiate(query.as_deref(), &accept(&value));
        }
    }
}
