//! What a client put into its `Authorization` header, in the dialects of all ecosystems.
//!
//! Management clients and npm send `Bearer`, twine, NuGet, Maven and `npm _auth` send `Basic`
//! with the token as password, and Cargo and RubyGems send the bare token.

use std::fmt;

use base64::{
    Engine, engine::DecodePaddingMode, engine::GeneralPurposeConfig, engine::general_purpose::GeneralPurpose,
};

use crate::{
    secret::Secret,
    token::{self, Token},
};

/// Longest header value read, in bytes: a Basic header with the longest password and user name fits.
pub const MAX_HEADER_BYTES: usize = 4096;

/// The credential of a request, read but not yet checked.
#[derive(Debug, Clone)]
pub enum Presented {
    /// No header, or an empty one.
    None,
    /// `Bearer …`, or `Token …` as some clients write.
    Bearer(Offered),
    /// `Basic …`; the user name is not trusted when the secret is a token.
    Basic { username: String, secret: Offered },
    /// The header value, or an ecosystem's own header, is the credential itself.
    Raw(Offered),
    /// Something is there that nobody can read.
    Malformed,
}

/// The secret inside, told apart by its form.
#[derive(Clone)]
pub enum Offered {
    ApiToken(Token),
    /// Has the form of a JSON web token.
    Jwt(Secret),
    /// Begins like an API token, but its form or checksum is wrong: no need to look it up.
    BadToken,
    /// Anything else: a password, or another service's secret.
    Other(Secret),
}

impl Presented {
    /// Reads an `Authorization` header value (RFC 9110 §11.4, RFC 7617, RFC 6750).
    pub fn from_header(value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self::None };
        if value.len() > MAX_HEADER_BYTES {
            return Self::Malformed;
        }
        let Ok(text) = std::str::from_utf8(value) else { return Self::Malformed };
        let text = text.trim();
        if text.is_empty() {
            return Self::None;
        }
        let Some((scheme, rest)) = text.split_once([' ', '\t']) else {
            // A scheme without a credential is not a token that happens to read `Bearer`.
            let bare_scheme = ["bearer", "basic", "token"].iter().any(|s| text.eq_ignore_ascii_case(s));
            return if bare_scheme { Self::Malformed } else { Self::raw(text) };
        };
        let rest = rest.trim();
        if rest.is_empty() || rest.contains([' ', '\t']) {
            return Self::Malformed;
        }
        if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
            Self::Bearer(Offered::read(rest))
        } else if scheme.eq_ignore_ascii_case("basic") {
            Self::basic(rest)
        } else {
            Self::Malformed
        }
    }

    /// Reads a bare credential, as from `X-NuGet-ApiKey`.
    pub fn raw(text: &str) -> Self {
        match text.trim() {
            "" => Self::None,
            text if text.len() > MAX_HEADER_BYTES => Self::Malformed,
            text => Self::Raw(Offered::read(text)),
        }
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The secret, whatever it was wrapped in.
    pub fn offered(&self) -> Option<&Offered> {
        match self {
            Self::Bearer(offered) | Self::Raw(offered) | Self::Basic { secret: offered, .. } => Some(offered),
            Self::None | Self::Malformed => None,
        }
    }

    fn basic(encoded: &str) -> Self {
        let decoded = LENIENT.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((username, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return Self::Malformed;
        };
        if matches!(password, "" | "x-oauth-basic") && username.starts_with(token::PREFIX) {
            // Some tools put the token into the user name and leave the password empty, or as GitHub has it.
            return Self::Basic { username: String::new(), secret: Offered::read(username) };
        }
        Self::Basic { username: username.to_owned(), secret: Offered::read(password) }
    }
}

impl Offered {
    pub fn read(text: &str) -> Self {
        if text.starts_with(token::PREFIX) {
            return Token::parse(text).map_or(Self::BadToken, Self::ApiToken);
        }
        let is_jwt = text.starts_with("ey")
            && text.split('.').count() == 3
            && text.split('.').all(|part| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            });
        if is_jwt { Self::Jwt(Secret::new(text)) } else { Self::Other(Secret::new(text)) }
    }
}

impl fmt::Debug for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiToken(_) => "ApiToken([redacted])",
            Self::Jwt(_) => "Jwt([redacted])",
            Self::BadToken => "BadToken",
            Self::Other(_) => "Other([redacted])",
        })
    }
}

/// Standard alphabet, padding optional: hand-written `_auth` lines come without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn read(text: &str) -> Presented {
        Presented::from_header(Some(text.as_bytes()))
    }

    fn basic(text: &str) -> Presented {
        read(&format!("Basic {}", BASE64_STANDARD.encode(text)))
    }

    #[test]
    fn every_dialect_finds_the_token() {
        let token = Token::mint().token;
        let is_token = |presented: &Presented| matches!(presented.offered(), Some(Offered::ApiToken(t)) if t.expose() == token.expose());
        let text = token.expose();
        assert!(matches!(read(&format!("Bearer {text}")), ref p @ Presented::Bearer(_) if is_token(p)));
        assert!(matches!(read(&format!("bearer   {text} ")), ref p @ Presented::Bearer(_) if is_token(p)));
        assert!(matches!(read(&format!("Token {text}")), ref p @ Presented::Bearer(_) if is_token(p)));
        assert!(matches!(read(text), ref p @ Presented::Raw(_) if is_token(p)));
        assert!(matches!(basic(&format!("__token__:{text}")), ref p @ Presented::Basic { .. } if is_token(p)));
        assert!(matches!(basic(&format!("{text}:")), ref p @ Presented::Basic { .. } if is_token(p)));
        let unpadded = BASE64_STANDARD.encode(format!("me:{text}")).trim_end_matches('=').to_owned();
        assert!(is_token(&read(&format!("Basic {unpadded}"))));
    }

    #[test]
    fn passwords_keep_their_colons() {
        let Presented::Basic { username, secret: Offered::Other(secret) } = basic("alice:pa:ss:word") else {
            panic!("a password");
        };
        assert_eq!((username.as_str(), secret.expose()), ("alice", "pa:ss:word"));
    }

    #[test]
    fn unreadable_headers_are_malformed_and_absent_ones_are_none() {
        assert!(Presented::from_header(None).is_none());
        assert!(read("   ").is_none());
        for bad in ["Bearer", "basic", "Bearer a b", "Basic !!!", "Basic bm9jb2xvbg==", "Digest abc", "Negotiate x"] {
            assert!(matches!(read(bad), Presented::Malformed), "{bad}");
        }
        assert!(matches!(Presented::from_header(Some(b"Bearer \xff")), Presented::Malformed));
        assert!(matches!(read(&"x".repeat(MAX_HEADER_BYTES + 1)), Presented::Malformed));
    }

    #[test]
    fn a_token_with_a_typing_error_is_not_looked_up() {
        let mut text = Token::mint().token.expose().to_owned();
        let last = text.pop().unwrap();
        text.push(if last == 'x' { 'y' } else { 'x' });
        assert!(matches!(read(&format!("Bearer {text}")), Presented::Bearer(Offered::BadToken)));
    }

    #[test]
    fn debug_shows_no_secret() {
        for header in
            [format!("Bearer {}", Token::mint().token.expose()), "Bearer ey0.ey1.sig".into(), "hunter2".into()]
        {
            let shown = format!("{:?}", read(&header));
            assert!(!shown.contains("hunter2") && !shown.contains("ey0") && !shown.contains("pub_"), "{shown}");
        }
    }
}
