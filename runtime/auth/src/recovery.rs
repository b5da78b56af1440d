//! Recovery codes: eight one-time ways back in when the authenticator is lost.

use std::fmt;

use publaryn_core::UserId;

use crate::{
    secret::{mac, random_text},
    token::TokenHash,
};

/// How many a person gets.
pub const CODES: usize = 8;
/// No letters that are misread for digits: 32 letters, so a code carries 40 bits.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz234567890";

/// One recovery code, shown as `xxxx-yyyy`.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(String);

impl RecoveryCode {
    /// Draws a fresh set, all different.
    pub fn generate_set() -> Vec<Self> {
        let mut set: Vec<Self> = Vec::with_capacity(CODES);
        while set.len() < CODES {
            let code = Self(random_text(ALPHABET, 8));
            if !set.contains(&code) {
                set.push(code);
            }
        }
        set
    }

    /// Reads what a person typed: case, spaces and the hyphen do not matter.
    pub fn parse(text: &str) -> Option<Self> {
        let code: String =
            text.chars().filter(|c| !c.is_whitespace() && *c != '-').take(9).map(|c| c.to_ascii_lowercase()).collect();
        (code.len() == 8 && code.bytes().all(|b| ALPHABET.contains(&b))).then_some(Self(code))
    }

    /// What is stored. Forty bits could be searched, so the hash is keyed with a server secret
    /// (`SigningSecret::derive("recovery codes")`) and bound to the account.
    pub fn hash(&self, key: &[u8; 32], user: UserId) -> TokenHash {
        TokenHash::from_bytes(mac(key, &[user.0.as_bytes(), self.0.as_bytes()]))
    }

    /// `xxxx-yyyy`, for the one answer that shows it.
    pub fn expose(&self) -> String {
        format!("{}-{}", &self.0[..4], &self.0[4..])
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_type_them() {
        let set = RecoveryCode::generate_set();
        assert_eq!(set.len(), CODES);
        for code in &set {
            let shown = code.expose();
            assert_eq!(shown.len(), 9);
            assert_eq!(RecoveryCode::parse(&shown).as_ref(), Some(code));
            assert_eq!(
                RecoveryCode::parse(&format!(" {} ", shown.to_uppercase().replace('-', " "))).as_ref(),
                Some(code)
            );
        }
        for bad in ["", "abcd", "abcd-efg", "abcd-efghj", "abcd-efg!", "iiii-llll"] {
            assert!(RecoveryCode::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_hash_belongs_to_one_account_and_key() {
        let code = &RecoveryCode::generate_set()[0];
        let (alice, bob) = (UserId::new(), UserId::new());
        assert_eq!(code.hash(&[1; 32], alice), code.hash(&[1; 32], alice));
        assert_ne!(code.hash(&[1; 32], alice), code.hash(&[1; 32], bob));
        assert_ne!(code.hash(&[1; 32], alice), code.hash(&[2; 32], alice));
        assert_eq!(format!("{code:?}"), "[redacted]");
    }
}
