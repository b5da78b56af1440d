//! Pages of lists (control-plane.md §1.4).

use std::str::FromStr;

use axum::{
    Json,
    extract::{FromRequestParts, RawQuery},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header, request::Parts};
use publaryn_core::Timestamp;
use serde_json::{Value, json};

use super::{
    ApiState,
    problem::{FieldProblem, Place, Problem},
};

const MAX_PAGE: u64 = 10_000;
const MAX_PER_PAGE: u64 = 100;

/// The members of a query string, decoded.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

/// The effective page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub page: u64,
    pub per_page: u32,
}

impl FromRequestParts<ApiState> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let RawQuery(raw) = RawQuery::from_request_parts(parts, state).await.unwrap_or(RawQuery(None));
        Ok(Self { pairs: parse(&raw.unwrap_or_default())? })
    }
}

impl Query {
    /// The first member of that name that is not blank.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// # Errors
    /// 400 for anything but `true`, `false`, `1`, `0`.
    pub fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(Problem::bad_parameter(name, "must be true or false")),
        }
    }

    /// The same, where absent means neither.
    ///
    /// # Errors
    /// Those of [`Query::flag`].
    pub fn optional_flag(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        if self.text(name).is_none() { Ok(None) } else { self.flag(name).map(Some) }
    }

    /// The page asked for, clamped; `per_page` is the default of the list.
    ///
    /// # Errors
    /// 400 when it is no number, 422 beyond page 10,000.
    pub fn page(&self, per_page: u32) -> Result<Page, Problem> {
        let page = self.number("page")?.unwrap_or(1).max(1).unsigned_abs();
        if page > MAX_PAGE {
            return Err(Problem::unprocessable(vec![FieldProblem {
                place: Place::Parameter("page"),
                code: "validation_failed",
                message: format!("must not be greater than {MAX_PAGE}"),
            }]));
        }
        let wanted = self.number("per_page")?.map_or(u64::from(per_page), |n| n.max(1).unsigned_abs());
        Ok(Page { page, per_page: u32::try_from(wanted.min(MAX_PER_PAGE)).unwrap_or(per_page) })
    }

    /// The address of another page of this list, relative to this one (RFC 3986 §5.2.2): it holds
    /// behind every proxy and path prefix.
    fn at(&self, page: u64) -> String {
        self.with("page", &page.to_string())
    }

    fn with(&self, name: &str, value: &str) -> String {
        let kept = self.pairs.iter().filter(|(key, _)| key != name);
        let pairs = kept.map(|(key, value)| format!("{}={}", encode(key), encode(value)));
        let query: Vec<String> = pairs.chain([format!("{name}={}", encode(value))]).collect();
        format!("?{}", query.join("&"))
    }

    /// Where an earlier page of a walk ended: the parts that [`cursor`] joined.
    ///
    /// # Errors
    /// 400 when it is not one of ours.
    pub fn cursor<const N: usize>(&self) -> Result<Option<[String; N]>, Problem> {
        let Some(text) = self.text("cursor") else { return Ok(None) };
        let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        let parts = <[String; N]>::try_from(parts).ok();
        parts.map(Some).ok_or_else(|| Problem::bad_parameter("cursor", "is not a cursor of this list"))
    }

    /// An instant: RFC 3339, or a day in UTC, of which `end` takes the last microsecond.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn instant(&self, name: &'static str, edge: Edge) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        instant(text, edge)
            .map(Some)
            .ok_or_else(|| Problem::bad_parameter(name, "must be a day (YYYY-MM-DD) or an RFC 3339 instant"))
    }

    /// The two ends of a range, in order.
    ///
    /// # Errors
    /// 400 when one cannot be read, 422 `range_inverted` when the end comes before the start.
    pub fn range(
        &self,
        from: &'static str,
        until: &'static str,
    ) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
        let (start, end) = (self.instant(from, Edge::Start)?, self.instant(until, Edge::End)?);
        if let (Some(start), Some(end)) = (start, end)
            && end < start
        {
            return Err(Problem::unprocessable(vec![FieldProblem {
                place: Place::Parameter(until),
                code: "range_inverted",
                message: format!("must not be before `{from}`"),
            }]));
        }
        Ok((start, end))
    }

    /// An identifier.
    ///
    /// # Errors
    /// 400 when it is no UUID.
    pub fn id<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Problem> {
        self.text(name).map(|text| super::extract::id(name, text)).transpose()
    }

    /// One of these words; as everywhere, case does not matter.
    ///
    /// # Errors
    /// 422 for any other word.
    pub fn one_of(&self, name: &'static str, words: &[&'static str]) -> Result<Option<&'static str>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let known = words.iter().copied().find(|word| word.eq_ignore_ascii_case(text));
        known.map(Some).ok_or_else(|| unknown_word(name))
    }

    /// A word of an enumeration.
    ///
    /// # Errors
    /// 422 for any other word.
    pub fn word<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| unknown_word(name))
    }

    /// Words of an enumeration: the parameter repeated, or a list with commas.
    ///
    /// # Errors
    /// 422 for any other word.
    pub fn words<T: FromStr>(&self, name: &'static str) -> Result<Vec<T>, Problem> {
        let lists = self.pairs.iter().filter(|(key, _)| key == name).flat_map(|(_, value)| value.split(','));
        let words = lists.map(str::trim).filter(|word| !word.is_empty());
        words.map(|word| word.parse().map_err(|_| unknown_word(name))).collect()
    }

    /// A whole number; one too large for us saturates.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn number(&self, name: &'static str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Problem::bad_parameter(name, "must be a number"));
        }
        // A number too large for us is still a number; it saturates.
        Ok(Some(i64::from_str(text).unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX })))
    }
}

fn unknown_word(name: &'static str) -> Problem {
    Problem::unprocessable(vec![FieldProblem {
        place: Place::Parameter(name),
        code: "validation_failed",
        message: "is not one of the known words".into(),
    }])
}

impl Page {
    pub fn offset(self) -> u64 {
        (self.page - 1) * u64::from(self.per_page)
    }

    /// A page of items as an answer, with `Link`.
    pub fn answer(self, query: &Query, items: &str, list: Vec<Value>, total: i64) -> Response {
        self.answer_with(query, items, list.into(), total, [])
    }

    /// [`Page::answer`] with further members.
    pub fn answer_with<const N: usize>(
        self,
        query: &Query,
        items: &str,
        list: Value,
        total: i64,
        more: [(&str, Value); N],
    ) -> Response {
        let total = total.max(0).unsigned_abs();
        let has_next = self.offset() + u64::from(self.per_page) < total;
        let mut body = json!({
            items: list, "page": self.page, "per_page": self.per_page, "total": total, "has_next": has_next,
        });
        for (name, value) in more {
            body[name] = value;
        }
        self.linked(query, body, has_next, None)
    }

    /// A step of a walk as an answer: `next` is the cursor of the step after it, `total` is `None` where it
    /// is too large to be counted.
    pub fn walk_answer(
        self,
        query: &Query,
        items: &str,
        list: Vec<Value>,
        total: Option<i64>,
        next: Option<String>,
    ) -> Response {
        let body = json!({
            items: list, "page": self.page, "per_page": self.per_page, "total": total,
            "has_next": next.is_some(), "next_cursor": next,
        });
        self.linked(query, body, next.is_some(), next.as_deref())
    }

    /// Any answer with the links of its page.
    pub fn linked(self, query: &Query, body: Value, has_next: bool, next_cursor: Option<&str>) -> Response {
        let mut links = Vec::new();
        match next_cursor {
            Some(next) if query.text("cursor").is_some() => {
                links.push(format!("<{}>; rel=\"next\"", query.with("cursor", next)));
            }
            _ if has_next && self.page < MAX_PAGE && query.text("cursor").is_none() => {
                links.push(format!("<{}>; rel=\"next\"", query.at(self.page + 1)));
            }
            _ => {}
        }
        if self.page > 1 && query.text("cursor").is_none() {
            links.push(format!("<{}>; rel=\"prev\"", query.at(self.page - 1)));
        }
        let mut response = Json(body).into_response();
        if !links.is_empty()
            && let Ok(value) = HeaderValue::from_str(&links.join(", "))
        {
            response.headers_mut().insert(header::LINK, value);
        }
        response
    }
}

/// Which end of a day counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    Start,
    End,
}

/// A cursor of parts that hold no dots.
pub fn cursor<const N: usize>(parts: [&dyn std::fmt::Display; N]) -> String {
    parts.map(ToString::to_string).join(".")
}

fn instant(text: &str, edge: Edge) -> Option<Timestamp> {
    if text.len() == 10 {
        let start = Timestamp::from_str(&format!("{text}T00:00:00Z")).ok()?;
        return Some(match edge {
            Edge::Start => start,
            Edge::End => Timestamp::from_micros(start.as_micros() + DAY_MICROS - 1),
        });
    }
    // In a query string a `+` of an offset is often left unescaped and arrives as a space.
    Timestamp::from_str(&text.replace(' ', "+")).ok()
}

const DAY_MICROS: i64 = 86_400_000_000;

/// Decodes `application/x-www-form-urlencoded` (the URL standard's parser).
fn parse(raw: &str) -> Result<Vec<(String, String)>, Problem> {
    let decode = |text: &str| decode(text).ok_or_else(|| Problem::malformed("the query string is not valid UTF-8"));
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |b: u8| char::from(b).to_digit(16).unwrap_or(0);
                bytes.push((digit(*high) * 16 + digit(*low)) as u8);
                rest = after;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

fn encode(text: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|b| if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(raw: &str) -> Query {
        Query { pairs: parse(raw).unwrap() }
    }

    #[test]
    fn pages_are_clamped_and_nonsense_is_refused() {
        let page = |raw: &str| query(raw).page(20).map(|p| (p.page, p.per_page)).map_err(|p| p.status().as_u16());
        assert_eq!(page(""), Ok((1, 20)));
        assert_eq!(page("page=0&per_page=0"), Ok((1, 1)));
        assert_eq!(page("page=-3&per_page=1000"), Ok((1, 100)));
        assert_eq!(page("page=10000&per_page=99999999999999999999"), Ok((10_000, 100)));
        assert_eq!(page("page=10001"), Err(422));
        assert_eq!(page("page=99999999999999999999"), Err(422));
        for bad in ["page=x", "per_page=1.5", "page=-", "page=%20x"] {
            assert_eq!(page(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn links_keep_the_other_members() {
        let query = query("include_expired=true&page=2&per_page=10&q=a%20b%26c");
        let page = query.page(20).unwrap();
        let response = page.answer(&query, "tokens", Vec::new(), 25);
        let link = response.headers()[header::LINK].to_str().unwrap().to_owned();
        let base = "<?include_expired=true&per_page=10&q=a%20b%26c&page=";
        assert_eq!(link, format!("{base}3>; rel=\"next\", {base}1>; rel=\"prev\""));
    }

    #[test]
    fn broken_escapes_are_text_and_bad_utf8_is_malformed() {
        assert_eq!(query("a=%zz+%41").text("a"), Some("%zz A"));
        assert!(parse("a=%ff").is_err());
    }
}
