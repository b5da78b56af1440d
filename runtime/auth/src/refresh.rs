//! Refresh tokens: each good for one rotation, and recognisable for ever after.
//!
//! A token names its session and carries a seal, so a rotated one is known for a replay even when
//! nothing of it is stored any more. The successor is derived from the predecessor with a server
//! key: a client that repeats a request within the grace gets the same answer, without the server
//! keeping any token in the clear.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use publaryn_core::SessionId;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    secret::{mac, random_bytes},
    session::SigningSecret,
    token::TokenHash,
};

const SESSION_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
const SEAL_BYTES: usize = 16;
const TOKEN_BYTES: usize = SESSION_BYTES + SECRET_BYTES + SEAL_BYTES;

/// A refresh token that this server issued; whether it is still good the session row says.
#[derive(Clone)]
pub struct RefreshToken {
    session: SessionId,
    bytes: [u8; TOKEN_BYTES],
}

impl RefreshToken {
    pub fn session(&self) -> SessionId {
        self.session
    }
    /// What the session row stores.
    pub fn hash(&self) -> TokenHash {
        TokenHash::from_bytes(Sha256::digest(self.bytes).into())
    }
    /// The text for the client, 86 characters of base64url.
    pub fn expose(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.bytes)
    }
    fn secret(&self) -> &[u8] {
        &self.bytes[SESSION_BYTES..SESSION_BYTES + SECRET_BYTES]
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshToken({}, [redacted])", self.session)
    }
}

/// Seals new refresh tokens with the current key and accepts those of the previous one.
#[derive(Clone)]
pub struct RefreshKeys {
    /// Current first.
    keys: Vec<[u8; 32]>,
}

impl RefreshKeys {
    /// Derives the keys from the signing secrets, so that one setting rotates both.
    pub fn new(current: &SigningSecret, previous: Option<&SigningSecret>) -> Self {
        let derive = |secret: &SigningSecret| mac(secret.as_bytes(), &[b"publaryn refresh token v1"]);
        Self { keys: std::iter::once(current).chain(previous).map(derive).collect() }
    }

    /// The first token of a session.
    pub fn mint(&self, session: SessionId) -> RefreshToken {
        self.build(&self.keys[0], session, &random_bytes::<SECRET_BYTES>())
    }

    /// The token that follows `token`; the same for every call with the same keys.
    pub fn successor(&self, token: &RefreshToken) -> RefreshToken {
        self.successor_under(&self.keys[0], token)
    }

    /// The successor whose hash is `stored`, whichever key it was derived with.
    pub fn successor_matching(&self, token: &RefreshToken, stored: TokenHash) -> Option<RefreshToken> {
        self.keys.iter().map(|key| self.successor_under(key, token)).find(|next| next.hash() == stored)
    }

    /// Reads what a client presents; `None` when this server did not issue it.
    pub fn parse(&self, text: &str) -> Option<RefreshToken> {
        let bytes: [u8; TOKEN_BYTES] = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (session, rest) = bytes.split_at(SESSION_BYTES);
        let (secret, seal) = rest.split_at(SECRET_BYTES);
        let sealed = self.keys.iter().any(|key| bool::from(seal_of(key, session, secret).ct_eq(seal)));
        let session: [u8; SESSION_BYTES] = session.try_into().ok()?;
        sealed.then(|| RefreshToken { session: session_id(session), bytes })
    }

    fn successor_under(&self, key: &[u8; 32], token: &RefreshToken) -> RefreshToken {
        let secret = mac(key, &[b"successor", id_bytes(&token.session), token.secret()]);
        self.build(key, token.session, &secret)
    }

    fn build(&self, key: &[u8; 32], session: SessionId, secret: &[u8; SECRET_BYTES]) -> RefreshToken {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..SESSION_BYTES].copy_from_slice(id_bytes(&session));
        bytes[SESSION_BYTES..SESSION_BYTES + SECRET_BYTES].copy_from_slice(secret);
        bytes[SESSION_BYTES + SECRET_BYTES..].copy_from_slice(&seal_of(key, id_bytes(&session), secret));
        RefreshToken { session, bytes }
    }
}

fn id_bytes(session: &SessionId) -> &[u8; SESSION_BYTES] {
    session.0.as_bytes()
}

fn session_id(bytes: [u8; SESSION_BYTES]) -> SessionId {
    SessionId(uuid::Uuid::from_bytes(bytes))
}

fn seal_of(key: &[u8; 32], session: &[u8], secret: &[u8]) -> [u8; SEAL_BYTES] {
    let full = mac(key, &[b"seal", session, secret]);
    let mut seal = [0; SEAL_BYTES];
    seal.copy_from_slice(&full[..SEAL_BYTES]);
    seal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(letter: &str) -> SigningSecret {
        SigningSecret::from_bytes(letter.repeat(8).as_bytes()).unwrap()
    }

    #[test]
    fn a_token_survives_its_text_form() {
        let keys = RefreshKeys::new(&secret("abcd"), None);
        let session = SessionId::new();
        let token = keys.mint(session);
        let read = keys.parse(&token.expose()).unwrap();
        assert_eq!((read.session(), read.hash()), (session, token.hash()));
        assert_eq!(token.expose().len(), 86);
        assert!(!format!("{token:?}").contains(&token.expose()));
    }

    #[test]
    fn a_forged_or_damaged_token_is_not_ours() {
        let keys = RefreshKeys::new(&secret("abcd"), None);
        let text = keys.mint(SessionId::new()).expose();
        assert!(RefreshKeys::new(&secret("wxyz"), None).parse(&text).is_none());
        for position in [0, 30, 85] {
            let mut damaged = text.clone().into_bytes();
            damaged[position] = if damaged[position] == b'A' { b'Q' } else { b'A' };
            assert!(keys.parse(&String::from_utf8(damaged).unwrap()).is_none(), "{position}");
        }
        for text in ["", "x", &text[..80], &format!("{text}AAAA")] {
            assert!(keys.parse(text).is_none());
        }
    }

    #[test]
    fn the_successor_is_stable_and_survives_a_key_rotation() {
        let old = RefreshKeys::new(&secret("abcd"), None);
        let first = old.mint(SessionId::new());
        let second = old.successor(&first);
        assert_eq!(second.expose(), old.successor(&first).expose());
        assert_ne!(second.expose(), first.expose());

        let rotated = RefreshKeys::new(&secret("wxyz"), Some(&secret("abcd")));
        let read = rotated.parse(&first.expose()).unwrap();
        assert_ne!(rotated.successor(&read).hash(), second.hash());
        assert_eq!(rotated.successor_matching(&read, second.hash()).unwrap().expose(), second.expose());
    }
}
