//! Refusals in an ecosystem's own words: what is the same in all of them, so that an adapter says only what is its own.

use std::{fmt, marker::PhantomData};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use publaryn_core::RegistryError;

use crate::failure::{Reason, error_response};

/// How a native surface asks for a password. Exactly this, for good: Ivy and sbt find credentials by host and realm,
/// and old coursier takes nothing behind it.
const BASIC: &str = "Basic realm=\"Publaryn\"";

/// The header by which clients take a body for nothing else than it is said to be.
pub const NOSNIFF: (&str, &str) = ("x-content-type-options", "nosniff");

/// The words and the form in which a protocol says why a request failed.
pub trait Dialect: Sized + 'static {
    /// Names, in lower case, and values of headers that every refusal has here.
    const HEADERS: &'static [(&'static str, &'static str)];

    /// Longest text on the status line, in bytes.
    const MAX_REASON: usize = Reason::MAX;

    /// Status and text of an error that is not about one package.
    fn words(error: &RegistryError) -> (StatusCode, String);

    /// The media type and the body that tell a text.
    fn body(status: StatusCode, text: &str) -> (&'static str, String);

    /// Which credential a refusal asks for, as `WWW-Authenticate` says it.
    fn challenge(status: StatusCode, _cause: &RegistryError) -> Option<&'static str> {
        (status == StatusCode::UNAUTHORIZED).then_some(BASIC)
    }
}

/// Why a request failed, in the words of one protocol.
pub struct Refusal<D> {
    status: StatusCode,
    text: String,
    /// What the registry said; logged when it is a failure of ours.
    cause: RegistryError,
    dialect: PhantomData<fn() -> D>,
}

impl<D> Refusal<D> {
    /// What an error of the registry means here, with its own status and words.
    pub fn of(cause: RegistryError, status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), cause, dialect: PhantomData }
    }
    /// A refusal of the adapter's own.
    pub fn refused(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self::of(RegistryError::malformed(text.clone()), status, text)
    }
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, text)
    }

    /// The same refusal in other words.
    pub fn saying(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }
    /// The same refusal in the form of another dialect.
    pub fn spoken<E>(self) -> Refusal<E> {
        let Self { status, text, cause, .. } = self;
        Refusal { status, text, cause, dialect: PhantomData }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }
    pub fn text(&self) -> &str {
        &self.text
    }
    pub fn cause(&self) -> &RegistryError {
        &self.cause
    }
}

impl<D: Dialect> Refusal<D> {
    /// One form for what is missing and what is hidden.
    pub fn not_found() -> Self {
        RegistryError::NotFound.into()
    }
}

impl<D> fmt::Debug for Refusal<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("text", &self.text)
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl<D: Dialect, E: Into<RegistryError>> From<E> for Refusal<D> {
    fn from(error: E) -> Self {
        let cause = error.into();
        let (status, text) = D::words(&cause);
        Self::of(cause, status, text)
    }
}

impl<D: Dialect> IntoResponse for Refusal<D> {
    fn into_response(self) -> Response {
        respond::<D>(self.status, &self.text, &self.cause)
    }
}

/// A registry error as a protocol says it.
pub fn render<D: Dialect>(error: &RegistryError) -> Response {
    let (status, text) = D::words(error);
    respond::<D>(status, &text, error)
}

fn respond<D: Dialect>(status: StatusCode, text: &str, cause: &RegistryError) -> Response {
    let (content_type, body) = D::body(status, text);
    let mut response = error_response(status, content_type, body, cause);
    response.extensions_mut().insert(Reason::line(text, D::MAX_REASON));
    let headers = response.headers_mut();
    let challenge = D::challenge(status, cause).map(|challenge| (header::WWW_AUTHENTICATE.as_str(), challenge));
    D::HEADERS.iter().copied().chain(challenge).for_each(|(name, value)| insert(headers, name, value));
    response
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Plain;

    impl Dialect for Plain {
        const HEADERS: &'static [(&'static str, &'static str)] = &[("vary", "Authorization"), NOSNIFF];
        const MAX_REASON: usize = 12;

        fn words(error: &RegistryError) -> (StatusCode, String) {
            match error {
                RegistryError::Unauthenticated => (StatusCode::UNAUTHORIZED, "who are you?".to_owned()),
                other => (crate::error_status(other), other.to_string()),
            }
        }
        fn body(status: StatusCode, text: &str) -> (&'static str, String) {
            ("text/plain", format!("{} {text}", status.as_u16()))
        }
    }

    /// Another form of the same words.
    struct Bare;

    impl Dialect for Bare {
        const HEADERS: &'static [(&'static str, &'static str)] = &[];

        fn words(error: &RegistryError) -> (StatusCode, String) {
            Plain::words(error)
        }
        fn body(_: StatusCode, text: &str) -> (&'static str, String) {
            ("application/x-bare", text.to_owned())
        }
        fn challenge(_: StatusCode, _: &RegistryError) -> Option<&'static str> {
            None
        }
    }

    async fn body(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 10).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_says_its_text_in_the_body_and_on_the_status_line() {
        let response = Refusal::<Plain>::bad_request("first\r\nsecond é third").into_response();
        assert_eq!(response.extensions().get::<Reason>().unwrap().0, "firstsecond ");
        assert_eq!(response.headers()[header::VARY], "Authorization");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert!(!response.headers().contains_key(header::WWW_AUTHENTICATE));
        assert_eq!(body(response).await, "400 first\r\nsecond é third");
    }

    #[tokio::test]
    async fn errors_have_the_words_the_form_and_the_challenge_of_the_dialect() {
        let asked = render::<Plain>(&RegistryError::Unauthenticated);
        assert_eq!(asked.headers()[header::WWW_AUTHENTICATE], "Basic realm=\"Publaryn\"");
        assert_eq!(body(asked).await, "401 who are you?");
        let bare = Refusal::<Plain>::from(RegistryError::Unauthenticated).spoken::<Bare>().into_response();
        assert!(!bare.headers().contains_key(header::WWW_AUTHENTICATE));
        assert!(!bare.headers().contains_key(header::VARY));
        assert_eq!(body(bare).await, "who are you?");
    }

    #[test]
    fn waiting_is_told_where_it_helps() {
        let away = || RegistryError::unavailable("the blob store", "secret endpoint");
        let response = Refusal::<Plain>::from(away()).into_response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::RETRY_AFTER]),
            (503, &"2".parse().unwrap())
        );
    }
}
