//! API tokens: `pub_`, 43 random letters and digits, and a checksum of six.
//!
//! 43 characters out of 62 carry 256 bits. The checksum (as in GitHub's tokens) refuses typing
//! errors and other services' secrets without a look-up, and lets secret scanners be sure.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::secret::random_text;

/// What every API token begins with.
pub const PREFIX: &str = "pub_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// log2(62) * 43 = 256.03 bits (access.md §5 asks for 256).
const RANDOM_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;

/// An API token as presented by its holder: of legal form, with a good checksum.
#[derive(Clone)]
pub struct Token(String);

/// Looks like one of our tokens, but is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an API token")]
pub struct NotAToken;

impl Token {
    /// Draws a new token.
    pub fn mint() -> MintedToken {
        let mut text = String::from(PREFIX);
        text.push_str(&random_text(ALPHABET, RANDOM_CHARS));
        text.push_str(&checksum(&text));
        let token = Self(text);
        MintedToken { hash: token.hash(), last_four: token.last_four().to_owned(), token }
    }

    /// Accepts `^pub_[A-Za-z0-9]{40,120}$` that ends in the checksum of the rest.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let body = text.strip_prefix(PREFIX).ok_or(NotAToken)?;
        if !(40..=120).contains(&body.len()) || !body.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(NotAToken);
        }
        let (signed, given) = text.split_at(text.len() - CHECKSUM_CHARS);
        if checksum(signed) != given {
            return Err(NotAToken);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
    /// The text itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// What its owner recognises it by.
    pub fn last_four(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A token that was just drawn, with what may be stored of it.
#[derive(Debug, Clone)]
pub struct MintedToken {
    /// Shown once, to its owner.
    pub token: Token,
    pub hash: TokenHash,
    pub last_four: String,
}

/// The SHA-256 of a secret of at least 256 bits: what the database stores.
///
/// Compares in constant time. A fast hash is enough because the secret cannot be guessed.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token hash]")
    }
}

/// The CRC-32 of `signed` in six base-62 digits, most significant first.
fn checksum(signed: &str) -> String {
    let mut rest = crc32fast::hash(signed.as_bytes());
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_a_fixed_token_never_changes() {
        // Stored tokens must stay valid across versions; the value was computed with Python's zlib.crc32.
        let signed = format!("{PREFIX}{}", "A".repeat(RANDOM_CHARS));
        let token = format!("{signed}{}", checksum(&signed));
        assert_eq!(token, "pub_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA4cyyBy");
        assert!(Token::parse(&token).is_ok());
    }

    #[test]
    fn hash_is_the_sha256_of_the_text() {
        let minted = Token::mint();
        let expected: [u8; 32] = Sha256::digest(minted.token.expose()).into();
        assert_eq!(minted.hash.as_bytes(), &expected);
    }
}
