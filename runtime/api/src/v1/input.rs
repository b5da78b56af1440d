//! Members that several routes read by the same rules (control-plane.md §1.1).

use publaryn_auth::{AccountRules, EmailAddress, RuleBreak, profile};
use publaryn_core::{Ecosystem, access::Owner};

use super::{
    extract::{Fields, ecosystem},
    page::Query,
    problem::{FieldProblem, Place, Problem},
};

/// Longest names, in characters.
const MAX_NAME_CHARS: usize = 200;
/// Longest slug, in bytes.
const MAX_SLUG_BYTES: usize = 64;

/// A rule for a text: `None` for a blank one.
pub type TextRule = fn(&'static str, &str) -> Result<Option<String>, RuleBreak>;

/// A name that must be there.
pub fn required_name(fields: &mut Fields) -> String {
    let Some(name) = fields.text("name") else { return String::new() };
    if name.chars().count() > MAX_NAME_CHARS {
        fields.report("name", format!("must not be longer than {MAX_NAME_CHARS} characters"));
    }
    name
}

/// A slug that must be there: `^[a-z0-9][a-z0-9_-]{0,63}$`.
pub fn required_slug(fields: &mut Fields) -> String {
    let Some(slug) = fields.text("slug") else { return String::new() };
    if !is_slug(&slug) {
        fields
            .report("slug", "must be 1 to 64 lower-case letters, digits, `-` or `_`, starting with a letter or digit");
    }
    slug
}

pub fn is_slug(slug: &str) -> bool {
    (1..=MAX_SLUG_BYTES).contains(&slug.len())
        && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        && slug.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// [`required_slug`] for an organization: some words are reserved.
pub fn organization_slug(fields: &mut Fields, rules: &AccountRules) -> String {
    let slug = required_slug(fields);
    if rules.is_reserved(&slug) {
        fields.problem(FieldProblem::in_body("slug", "reserved_name", format!("`{slug}` is a reserved name")));
    }
    slug
}

/// A text that may be absent, null or blank.
pub fn optional(fields: &mut Fields, name: &'static str, rule: TextRule) -> Option<String> {
    patch(fields, name, rule).flatten()
}

/// A member of a PATCH: absent = leave, `Some(None)` = clear.
pub fn patch(fields: &mut Fields, name: &'static str, rule: TextRule) -> Option<Option<String>> {
    let text = fields.patch_text(name)?;
    Some(text.and_then(|text| fields.rule(rule(name, &text)).flatten()))
}

/// A long text of a PATCH, with line breaks and tabs.
pub fn patch_long(fields: &mut Fields, name: &'static str, max_bytes: usize) -> Option<Option<String>> {
    let text = fields.patch_text(name)?;
    let text = text.filter(|text| !text.trim().is_empty());
    if text.as_ref().is_some_and(|text| text.len() > max_bytes) {
        fields.report(name, format!("must not be longer than {max_bytes} bytes"));
    }
    if text.as_ref().is_some_and(|text| text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))) {
        fields.report(name, "must not contain control characters");
    }
    Some(text)
}

/// The `name` of a PATCH: it cannot be cleared.
pub fn patch_name(fields: &mut Fields) -> Option<String> {
    match patch(fields, "name", profile::name)? {
        Some(name) => Some(name),
        None => {
            fields.report("name", "must not be blank");
            None
        }
    }
}

/// A description of several lines.
pub const DESCRIPTION: TextRule = profile::bio;
/// An `http` or `https` address.
pub const WEB_ADDRESS: TextRule = profile::web_address;
/// One line.
pub const LINE: TextRule = profile::name;

/// One e-mail address; blank means absent.
pub fn email(field: &'static str, text: &str) -> Result<Option<String>, RuleBreak> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let address = EmailAddress::parse(text).map_err(|broken| RuleBreak { field, ..broken })?;
    Ok(Some(address.as_str().to_owned()))
}

/// `owner_user_id` and `owner_org_id`, of which at most one may be given.
pub fn owner(fields: &mut Fields) -> Option<Owner> {
    let user = id(fields, "owner_user_id").map(Owner::User);
    let org = id(fields, "owner_org_id").map(Owner::Org);
    if user.is_some() && org.is_some() {
        fields.report("owner_org_id", "must not be given together with owner_user_id");
    }
    org.or(user)
}

fn id<T: std::str::FromStr>(fields: &mut Fields, name: &'static str) -> Option<T> {
    let text = fields.optional_text(name)?;
    let id = text.parse().ok();
    if id.is_none() {
        fields.report(name, "must be a UUID");
    }
    id
}

/// The member `ecosystem`, which must be there.
pub fn required_ecosystem(fields: &mut Fields) -> Option<Ecosystem> {
    let word = fields.text("ecosystem")?;
    let found = ecosystem(&word);
    if found.is_none() {
        fields.report("ecosystem", "is not one of the known ecosystems");
    }
    found
}

/// An ecosystem in a path. An unknown one has no resources: 404.
pub fn path_ecosystem(word: &str) -> Result<Ecosystem, Problem> {
    ecosystem(word).ok_or_else(Problem::not_found)
}

pub fn query_ecosystem(query: &Query) -> Result<Option<Ecosystem>, Problem> {
    let Some(text) = query.text("ecosystem") else { return Ok(None) };
    ecosystem(text).map(Some).ok_or_else(|| unprocessable_parameter("ecosystem", "is not one of the known ecosystems"))
}

/// An id in the path.
///
/// # Errors
/// 400 when it is none.
pub fn path_id<T: std::str::FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::bad_parameter("id", "must be a UUID"))
}

pub fn unprocessable_parameter(name: &'static str, message: &str) -> Problem {
    Problem::unprocessable(vec![wrong_parameter(name, message)])
}

/// A parameter that can be read and is wrong, beside whatever else is.
pub fn wrong_parameter(name: &'static str, message: &str) -> FieldProblem {
    FieldProblem { place: Place::Parameter(name), code: "validation_failed", message: message.into() }
}
