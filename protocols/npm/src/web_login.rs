//! Login in a browser: npm opens a page of ours and polls until somebody confirmed it there.
//!
//! The page is one form without script; it asks for the password, so no session and no forgery token are needed.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use publaryn_auth::Secret;
use publaryn_core::RegistryError;
use publaryn_registry::identity::{PasswordProof, WebLoginProgress};
use serde_json::json;

use crate::{
    account::login_scopes,
    body,
    call::{Answer, Call, json as json_answer, ok},
    error::identity_error,
};

/// Seconds a client waits between two polls.
const POLL_EVERY_SECONDS: u64 = 2;

/// `POST /-/v1/login`.
pub(crate) async fn start(call: &Call) -> Answer {
    let id = call.registry.identity().start_web_login().await?;
    let base = call.base();
    ok(json!({ "loginUrl": format!("{base}/-/v1/login/{id}"), "doneUrl": format!("{base}/-/v1/done/{id}") }))
}

/// `GET doneUrl`: 202 until confirmed, then the token, once.
pub(crate) async fn poll(call: &Call, id: &str) -> Answer {
    let progress = call.registry.identity().finish_web_login(id, "npm login", login_scopes(), &call.origin()).await;
    match progress.map_err(identity_error)? {
        WebLoginProgress::Done(issued) => ok(json!({ "token": issued.secret.expose() })),
        WebLoginProgress::Waiting => {
            let mut response = json_answer(StatusCode::ACCEPTED, &json!({}));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(POLL_EVERY_SECONDS));
            Ok(response)
        }
    }
}

/// `GET loginUrl`: the form.
pub(crate) async fn page(call: &Call, id: &str) -> Answer {
    if call.registry.identity().web_login_waits(id).await? {
        Ok(html(StatusCode::OK, FORM, ""))
    } else {
        Ok(html(StatusCode::NOT_FOUND, GONE, ""))
    }
}

/// `POST loginUrl`: the filled-in form.
pub(crate) async fn confirm(call: &Call, id: &str) -> Answer {
    let bytes = body::read(call.headers(), call.take_body(), 8192).await?;
    let form = String::from_utf8_lossy(&bytes);
    let field = |name: &str| crate::call::form_value(&form, name).unwrap_or_default();
    let (login, password, code) = (field("username"), Secret::new(field("password")), field("code"));
    let proof = PasswordProof { password: &password, code: Some(code.trim()).filter(|code| !code.is_empty()) };
    let confirmed = call.registry.identity().confirm_web_login(id, &login, proof, &call.origin()).await;
    let Err(error) = confirmed.map_err(identity_error) else {
        return Ok(html(StatusCode::OK, DONE, ""));
    };
    match (error.status(), error.cause()) {
        (_, RegistryError::NotFound) => Ok(html(StatusCode::NOT_FOUND, GONE, "")),
        (_, RegistryError::BadCredential(problem)) => {
            Ok(html(StatusCode::UNAUTHORIZED, FORM, &format!("<p role=alert>{}.</p>", sentence(&problem.to_string()))))
        }
        (_, RegistryError::RateLimited { .. }) => {
            Ok(html(StatusCode::TOO_MANY_REQUESTS, FORM, "<p role=alert>Too many attempts. Try again later.</p>"))
        }
        _ => Err(error),
    }
}

/// The first letter in upper case; the texts are our own and hold no markup.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn html(status: StatusCode, content: &str, alert: &str) -> Response {
    let page = PAGE.replace("{content}", &content.replace("{alert}", alert));
    let mut response = (status, page).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

const PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
    <title>Command-line login - Publaryn</title><main><h1>Command-line login</h1>{content}</main></html>";

const FORM: &str = "<p>A command-line client asks for a token of your account. Go on only if you have just run \
    <code>npm login</code> yourself.</p>{alert}<form method=post><p><label>User name <input name=username \
    autocomplete=username required autofocus></label></p><p><label>Password <input name=password type=password \
    autocomplete=current-password required></label></p><p><label>One-time code, if your account asks for one \
    <input name=code inputmode=numeric autocomplete=one-time-code></label></p><p><button>Log in on the command line</button></p></form>";

const DONE: &str = "<p>You are logged in on the command line. You can close this page.</p>";

const GONE: &str = "<p>Nobody waits for this login any more. Run <code>npm login</code> again.</p>";
