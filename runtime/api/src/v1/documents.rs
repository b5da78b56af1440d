//! `/api-docs/openapi.json` and `/swagger-ui`: the API's description, and a page to try it out.

use std::io::Read;

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, Method, header};
use sha2::{Digest, Sha256};

use super::{
    ApiState, context, guard, openapi,
    problem::Problem,
    route::{Routes, public},
    validators,
};

/// The page runs its own scripts only and talks to this server only.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The routes of this module, for the document.
pub fn routes() -> Routes {
    Routes::below("", "documents")
        .described(
            Method::GET,
            "/api-docs/openapi.json",
            public("This document")
                .answer(200, "openapi s, info o, paths o, components o")
                .problem(401, "unauthenticated"),
        )
        .described(
            Method::GET,
            "/swagger-ui",
            public("A page to try the API out").media(200, "text/html").problem(401, "unauthenticated"),
        )
}

pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/api-docs/openapi.json", get(openapi_json))
        .route("/swagger-ui", get(page))
        .route("/swagger-ui/{file}", get(file))
        .route_layer(axum::middleware::from_fn_with_state(state, guard::credential))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(axum::middleware::from_fn(context::around))
        .layer(super::compression())
}

async fn openapi_json(headers: HeaderMap) -> Response {
    let answer = ([(header::CONTENT_TYPE, "application/json")], openapi::text()).into_response();
    validators::finish(answer, true, headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect()).await
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::CACHE_CONTROL, "public, max-age=0, must-revalidate"),
    ];
    (headers, include_str!("../../assets/swagger-ui/index.html")).into_response()
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let (media, packed): (_, &'static [u8]) = match name.as_str() {
        "start.js" => return ([(header::CONTENT_TYPE, "text/javascript")], START).into_response(),
        "swagger-ui-bundle.js" => {
            ("text/javascript", include_bytes!("../../assets/swagger-ui/swagger-ui-bundle.js.gz"))
        }
        "swagger-ui.css" => ("text/css", include_bytes!("../../assets/swagger-ui/swagger-ui.css.gz")),
        _ => return Problem::route_not_found().into_response(),
    };
    let etag = format!("\"{}\"", hex::encode(&Sha256::digest(packed)[..8]));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return (http::StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let takes_gzip = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|coding| coding.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("gzip")));
    let mut answer = if takes_gzip {
        ([(header::CONTENT_ENCODING, "gzip")], packed).into_response()
    } else {
        let mut plain = Vec::new();
        // Our own file; a test reads it.
        if GzDecoder::new(packed).read_to_end(&mut plain).is_err() {
            return Problem::not_found().into_response();
        }
        plain.into_response()
    };
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0, must-revalidate"));
    headers.insert(header::ETAG, HeaderValue::from_str(&etag).expect("hex digits are a header value"));
    answer
}

const START: &str = include_str!("../../assets/swagger-ui/start.js");
