//! Files of releases.

use axum::{
    Json,
    body::Body as RawBody,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use publaryn_core::{ArtifactKind, Digest, Operation, RegistryError, Scope, audit::AuditAction};
use publaryn_protocol::{DraftFile, byte_stream, respond_artifact};
use publaryn_registry::control::{ArtifactUpload, Described};
use publaryn_scan::{ArchiveError, ErrorKind};

use super::{
    super::{
        ApiState,
        auth::message,
        extract::{Caller, Origin, Path},
        input::wrong_parameter,
        page::Query,
        problem::Problem,
        route::{Routes, public, scoped},
        validators::Verbatim,
    },
    objects, package_in, parse_version, version_in,
};

/// Longest file name, in bytes.
const MAX_FILENAME_BYTES: usize = 255;

pub fn routes() -> Routes {
    let all = "/packages/{ecosystem}/{name}/releases/{version}/artifacts";
    let one = "/packages/{ecosystem}/{name}/releases/{version}/artifacts/{filename}";
    Routes::new("artifacts")
        .get(all, list, public("Files of a release, by name").list("artifacts", "Artifact", 100))
        .put(
            one,
            upload,
            scoped(Scope::PackagesPublish, "Stores a file of a staged release")
                .query("kind ArtifactKind, sha256 s?, is_signed b?, signature_key_id s?")
                .upload()
                .answer(201, "Artifact")
                .answer(200, "Artifact")
                .problem(403, "insufficient_permission")
                .problem(409, "artifact_content_mismatch")
                .problem(409, "state_conflict")
                .problem(409, "package_archived")
                .problem(413, "artifact_too_large")
                .problem(422, "checksum_mismatch")
                .problem(422, "too_many_files")
                .audit(AuditAction::ReleaseUpdate),
        )
        .delete(
            one,
            remove,
            scoped(Scope::PackagesPublish, "Takes a file out of a staged release")
                .message()
                .problem(403, "insufficient_permission")
                .problem(409, "state_conflict")
                .audit(AuditAction::ReleaseUpdate),
        )
        .get(
            one,
            download,
            public("The bytes of a file")
                .header("Range", "one range of bytes")
                .media(200, "application/octet-stream")
                .media(206, "application/octet-stream")
                .empty(302)
                .problem(403, "insufficient_permission")
                .problem(416, "range_not_satisfiable"),
        )
}

type OfRelease = (String, String, String);
type OfFile = (String, String, String, String);

async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path((ecosystem, name, version)): Path<OfRelease>,
    query: Query,
) -> Result<Response, Problem> {
    let page = query.page(100)?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let package = state.registry.package_for(&caller.0, ecosystem, name.canonical(), Operation::Read).await?;
    let version = version_in(&state, ecosystem, &version)?;
    let rows = state.registry.artifacts(&caller.0, &package, &version).await?;
    let (start, total) = (usize::try_from(page.offset()).unwrap_or(usize::MAX), rows.len());
    let list: Vec<_> = rows.iter().skip(start).take(page.per_page as usize).map(objects::artifact).collect();
    Ok(page.answer(&query, "artifacts", list, i64::try_from(total).unwrap_or(i64::MAX)))
}

async fn upload(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name, version, filename)): Path<OfFile>,
    query: Query,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesPublish)?;
    let is_signed = query.flag("is_signed")?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let key = version_in(&state, ecosystem, &version)?;
    state.registry.may_upload(who, ecosystem, name.canonical(), &key).await?;
    let mut wrong = Vec::new();
    let kind = query.text("kind").and_then(|word| word.parse::<ArtifactKind>().ok());
    if kind.is_none() {
        wrong.push(wrong_parameter("kind", "must be an artifact kind"));
    }
    if !is_filename(&filename) {
        wrong.push(wrong_parameter("filename", "must be 1 to 255 bytes without `/`, `\\` or control characters"));
    }
    let sha256 = query.text("sha256").map(Digest::from_hex).transpose();
    if sha256.is_err() {
        wrong.push(wrong_parameter("sha256", "must be a SHA-256 digest in hex"));
    }
    let (Some(kind), Ok(sha256), []) = (kind, sha256, wrong.as_slice()) else {
        return Err(Problem::unprocessable(wrong));
    };
    let limit_bytes = state.settings.artifact_limit(kind);
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "artifact_too_large",
            format!("files of kind {kind} may have up to {limit_bytes} bytes"),
        )
        .with("limit_bytes", limit_bytes)
        .with("kind", kind.as_str())
    };
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit_bytes) {
        return Err(too_large());
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let upload = ArtifactUpload {
        kind,
        filename,
        content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
        limit_bytes,
        sha256,
        is_signed,
        signature_key_id: query.text("signature_key_id").map(str::to_owned),
    };
    let adapter = state.adapters.iter().find(|adapter| adapter.ecosystem() == ecosystem);
    let parsed = parse_version(&state, ecosystem, &version)?;
    let settings = state.registry.settings();
    let file = DraftFile {
        name: &name,
        version: &parsed,
        kind,
        filename: &upload.filename,
        limits: &settings.limits,
        base_url: &settings.base_url,
    };
    let inspect = adapter.and_then(|adapter| adapter.describe(&file)).unwrap_or_else(|| {
        Box::new(|input: &mut dyn std::io::Read| {
            // Nothing is read out of it, but all of it has to pass.
            std::io::copy(input, &mut std::io::sink())
                .map_err(|error| ArchiveError::new(ErrorKind::Io, "ARC-IO", None, error.to_string()))?;
            Ok::<Described, _>(None)
        })
    });
    let stored = state
        .registry
        .upload_artifact(who, ecosystem, name.canonical(), &key, upload, byte_stream(body), inspect, &origin)
        .await;
    let stored = match stored {
        Err(RegistryError::TooLarge { .. }) => return Err(too_large()),
        outcome => outcome?,
    };
    let status = if stored.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(objects::artifact(&stored.artifact))).into_response())
}

fn is_filename(name: &str) -> bool {
    (1..=MAX_FILENAME_BYTES).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| matches!(c, '/' | '\\') || c.is_control())
}

async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name, version, filename)): Path<OfFile>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesPublish)?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let version = version_in(&state, ecosystem, &version)?;
    state.registry.delete_artifact(who, ecosystem, name.canonical(), &version, &filename, &origin).await?;
    Ok(message("file deleted"))
}

async fn download(
    State(state): State<ApiState>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    Path((ecosystem, name, version, filename)): Path<OfFile>,
) -> Result<Response, Problem> {
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let version = version_in(&state, ecosystem, &version)?;
    let servable = state.registry.artifact_bytes(&caller.0, ecosystem, name.canonical(), &version, &filename).await?;
    let digest = servable.sha256();
    // Here the tag names its algorithm, natively it does not.
    let headers = with_plain_tags(headers);
    let mut response = respond_artifact(&state.registry, servable, &method, &headers).await?;
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        let range = response.headers().get(header::CONTENT_RANGE).cloned();
        let problem =
            Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", "the file has no such bytes");
        let mut response = problem.into_response();
        if let Some(range) = range {
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        return Ok(response);
    }
    if response.headers().contains_key(header::LOCATION) {
        // To an address that is good for minutes: what is said about it is not about the file.
        return Ok(response);
    }
    response.extensions_mut().insert(Verbatim);
    let answer = response.headers_mut();
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.insert(name, value);
        }
    };
    set("etag", format!("\"sha256:{}\"", digest.hex()));
    set("repr-digest", format!("sha-256=:{}:", STANDARD.encode(digest.as_bytes())));
    set("content-disposition", disposition(&filename));
    if caller.0.is_anonymous() {
        set("cache-control", "public, max-age=0, must-revalidate".into());
    } else {
        set("cache-control", "private, no-store".into());
    }
    Ok(response)
}

/// `"sha256:<hex>"` in conditions becomes `"<hex>"`.
fn with_plain_tags(mut headers: HeaderMap) -> HeaderMap {
    for name in [header::IF_NONE_MATCH, header::IF_RANGE] {
        let plain =
            headers.get(&name).and_then(|value| value.to_str().ok()).map(|text| text.replace("\"sha256:", "\""));
        if let Some(value) = plain.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

/// `attachment` with the name, also where it is not ASCII (RFC 6266, RFC 8187).
fn disposition(filename: &str) -> String {
    let plain: String = filename
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') { c } else { '_' })
        .collect();
    let encoded: String = filename
        .bytes()
        .map(|b| {
            let is_plain = b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~' | b'+');
            if is_plain { char::from(b).to_string() } else { format!("%{b:02X}") }
        })
        .collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_climb_are_refused() {
        for bad in ["", ".", "..", "a/b", "a\\b", "a\nb", &"x".repeat(256)] {
            assert!(!is_filename(bad), "{bad}");
        }
        assert!(is_filename("left-pad-1.0.0.tgz") && is_filename("ü.whl"));
    }

    #[test]
    fn any_name_can_be_a_download() {
        assert_eq!(disposition("a b\".tgz"), "attachment; filename=\"a_b_.tgz\"; filename*=UTF-8''a%20b%22.tgz");
    }
}
