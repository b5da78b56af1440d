//! Time-based one-time passwords (RFC 6238): SHA-1, six digits, 30 seconds, one step of tolerance.

use std::fmt;

use publaryn_core::Timestamp;
use totp_rs::{Builder, Totp};

use crate::secret::random_bytes;

/// Seconds per step.
pub const STEP_SECONDS: u64 = 30;
/// 160 bits (RFC 4226 §4).
const SECRET_BYTES: usize = 20;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The secret shared with an authenticator app.
#[derive(Clone)]
pub struct TotpSecret([u8; SECRET_BYTES]);

/// A step of time whose code was accepted; each is accepted once per account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TotpStep(pub u64);

impl TotpSecret {
    pub fn generate() -> Self {
        Self(random_bytes())
    }

    /// Reads the form of [`TotpSecret::to_base32`].
    pub fn from_base32(text: &str) -> Option<Self> {
        let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::with_capacity(SECRET_BYTES));
        for letter in text.trim_end_matches('=').bytes() {
            let value = BASE32.iter().position(|b| b.eq_ignore_ascii_case(&letter))?;
            bits = bits << 5 | u32::try_from(value).ok()?;
            held += 5;
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held & 0xff) as u8);
            }
        }
        bytes.try_into().ok().map(Self)
    }

    /// RFC 4648 base32 without padding: what people type and what is stored.
    pub fn to_base32(&self) -> String {
        // 20 bytes are exactly 32 groups of five bits.
        self.0
            .chunks(5)
            .flat_map(|chunk| {
                let word = chunk.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
                (0..8).rev().map(move |i| char::from(BASE32[(word >> (5 * i) & 31) as usize]))
            })
            .collect()
    }

    /// The address a QR code carries (<https://github.com/google/google-authenticator/wiki/Key-Uri-Format>).
    pub fn provisioning_uri(&self, issuer: &str, account: &str) -> String {
        let label = format!("{}:{}", issuer.replace(':', " "), account.replace(':', " "));
        let mut uri = url::Url::parse("otpauth://totp/").expect("a constant");
        uri.path_segments_mut().expect("has an authority").pop_if_empty().push(&label);
        uri.query_pairs_mut()
            .append_pair("secret", &self.to_base32())
            .append_pair("issuer", issuer)
            .append_pair("algorithm", "SHA1")
            .append_pair("digits", "6")
            .append_pair("period", "30");
        // Authenticator apps read `+` literally.
        uri.to_string().replace('+', "%20")
    }

    /// Accepts a code of this step, the one before or the one after, if its step is later than
    /// `last_accepted`; store the step so that it is not accepted again.
    pub fn check(&self, code: &str, now: Timestamp, last_accepted: Option<TotpStep>) -> Option<TotpStep> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).take(7).collect();
        let step = self.totp().check(&code, seconds(now)).map(TotpStep)?;
        last_accepted.is_none_or(|last| step > last).then_some(step)
    }

    /// The code of an instant, six digits.
    pub fn code_at(&self, now: Timestamp) -> String {
        self.totp().generate(seconds(now)).to_string()
    }

    fn totp(&self) -> Totp {
        Builder::new().with_secret(self.0).build_noncompliant()
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_micros() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // Appendix B, SHA-1 rows; the last six of eight digits.
        let secret = TotpSecret(*b"12345678901234567890");
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.code_at(at(time)), code);
        }
    }

    #[test]
    fn one_step_of_tolerance_and_each_step_once() {
        let secret = TotpSecret::generate();
        let now = at(3_000_000);
        let step = TotpStep(3_000_000 / STEP_SECONDS);
        assert_eq!(secret.check(&secret.code_at(now), now, None), Some(step));
        assert_eq!(secret.check(&secret.code_at(at(3_000_000 - 30)), now, None), Some(TotpStep(step.0 - 1)));
        assert_eq!(secret.check(&secret.code_at(at(3_000_000 + 30)), now, None), Some(TotpStep(step.0 + 1)));
        assert_eq!(secret.check(&secret.code_at(now), now, Some(step)), None, "a step is good once");
        assert_eq!(secret.check(&secret.code_at(at(3_000_000 - 30)), now, Some(step)), None);
        let spaced = secret.code_at(now).chars().flat_map(|c| [c, ' ']).collect::<String>();
        assert_eq!(secret.check(&spaced, now, None), Some(step));
        for bad in ["", "12345", "1234567", "abcdef", "+12345"] {
            assert_eq!(secret.check(bad, now, None), None, "{bad}");
        }
    }

    #[test]
    fn codes_two_steps_away_are_refused() {
        // RFC test secret: the codes of these steps all differ, so a match would be the tolerance's.
        let secret = TotpSecret(*b"12345678901234567890");
        for away in [-90, -60, 60, 90] {
            assert_eq!(secret.check(&secret.code_at(at(3_000_000 + away)), at(3_000_000), None), None, "{away}");
        }
    }

    #[test]
    fn the_secret_survives_base32_and_the_uri_names_it() {
        let secret = TotpSecret(*b"12345678901234567890");
        assert_eq!(secret.to_base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let read = TotpSecret::from_base32("gezdgnbvgy3tqojqgezdgnbvgy3tqojq").unwrap();
        assert_eq!(read.0, secret.0);
        for bad in ["", "GEZD", "1EZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBV"] {
            assert!(TotpSecret::from_base32(bad).is_none(), "{bad}");
        }
        let uri = secret.provisioning_uri("My Registry", "alice");
        assert!(
            uri.starts_with("otpauth://totp/My%20Registry:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&"),
            "{uri}"
        );
        assert!(uri.contains("issuer=My%20Registry"), "{uri}");
        assert_eq!(format!("{secret:?}"), "[redacted]");
    }
}
