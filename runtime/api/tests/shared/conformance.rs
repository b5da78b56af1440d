//! Every answer that a test gets is held against the OpenAPI document: its status must be documented for
//! the operation, and a JSON body must have exactly the members the document names, of their types.

use std::sync::LazyLock;

use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(publaryn_api::openapi()).unwrap());

/// Panics when the answer is not as documented; routes that do not exist have no say.
pub fn check(method: &str, path: &str, status: StatusCode, headers: &HeaderMap, body: &Value) {
    let name = format!("{method} {path} → {status}");
    let is_routing = matches!(body["code"].as_str(), Some("route_not_found" | "method_not_allowed"));
    if is_routing {
        return;
    }
    let method = if method == "HEAD" { "get" } else { &method.to_ascii_lowercase() };
    let operation =
        operation(method, path.split('?').next().unwrap()).unwrap_or_else(|| panic!("{name}: no operation"));
    let response = &operation["responses"][status.as_str()];
    assert!(response.is_object(), "{name}: the document does not know this status; {body}");
    if body.is_null() {
        return;
    }
    let media = headers[header::CONTENT_TYPE].to_str().unwrap().split(';').next().unwrap();
    let content = &response["content"][media];
    assert!(content.is_object(), "{name}: the document does not know {media}");
    if let Err(fault) = matches(body, &content["schema"], "") {
        panic!("{name}: {fault}\n{body:#}");
    }
    if media == "application/problem+json" {
        let codes = response["x-problem-codes"].as_array().unwrap();
        assert!(codes.contains(&body["code"]), "{name}: {} is not documented", body["code"]);
    }
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let wanted: Vec<&str> = template.split('/').collect();
        wanted.len() == parts.len() && wanted.iter().zip(&parts).all(|(w, p)| w.starts_with('{') || w == p)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let candidates = paths.iter().filter(|(template, item)| fits(template) && item.get(method).is_some());
    // Fixed segments win over parameters, as in the router.
    candidates.min_by_key(|(template, _)| template.matches('{').count()).map(|(_, item)| &item[method])
}

/// Whether a value is of a schema; knows what our document uses.
pub fn matches(value: &Value, schema: &Value, at: &str) -> Result<(), String> {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return matches(value, DOCUMENT.pointer(target.trim_start_matches('#')).unwrap(), at);
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let faults: Vec<String> = choices.iter().filter_map(|choice| matches(value, choice, at).err()).collect();
        return if faults.len() < choices.len() { Ok(()) } else { Err(faults.join(" | ")) };
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        return Err(format!("{at}: {value} is none of {words:?}"));
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(()),
    };
    let fits = types.iter().any(|wanted| match *wanted {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    });
    if !fits {
        return Err(format!("{at}: {value} is not {types:?}"));
    }
    if let (Some(text), Some(format)) = (value.as_str(), schema.get("format").and_then(Value::as_str)) {
        let is_so = match format {
            "uuid" => text.len() == 36 && text.parse::<uuid::Uuid>().is_ok() && text == text.to_ascii_lowercase(),
            "date-time" => text.ends_with('Z') && text.parse::<publaryn_core::Timestamp>().is_ok(),
            other => panic!("unknown format {other}"),
        };
        if !is_so {
            return Err(format!("{at}: `{text}` is no {format}"));
        }
    }
    if let (Some(list), Some(items)) = (value.as_array(), schema.get("items")) {
        for (position, item) in list.iter().enumerate() {
            matches(item, items, &format!("{at}/{position}"))?;
        }
    }
    if let Some(object) = value.as_object() {
        members(object, schema, at)?;
    }
    Ok(())
}

fn members(object: &Map<String, Value>, schema: &Value, at: &str) -> Result<(), String> {
    if let Some(values) = schema.get("additionalProperties") {
        for (name, value) in object {
            matches(value, values, &format!("{at}/{name}"))?;
        }
        return Ok(());
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for name in required {
        if !object.contains_key(name) {
            return Err(format!("{at}: `{name}` is missing"));
        }
    }
    // Problems carry extras by code, and the document itself is of another standard.
    let is_open = properties.contains_key("request_id") || properties.contains_key("openapi");
    for (name, value) in object {
        match properties.get(name) {
            Some(schema) => matches(value, schema, &format!("{at}/{name}"))?,
            None if is_open => {}
            None => return Err(format!("{at}: `{name}` is not documented")),
        }
    }
    Ok(())
}
