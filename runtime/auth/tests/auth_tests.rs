//! The promises of the credential forms, for arbitrary input.

use std::time::Duration;

use proptest::prelude::*;
use publaryn_auth::{
    AccountRules, HashCost, Offered, PasswordHasher, Presented, RefreshKeys, Secret, SessionKeys, SessionProblem,
    SigningSecret, Token, Verdict, WeakSecret,
};
use publaryn_core::{SessionId, Timestamp, UserId};

const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn secret(seed: u8) -> SigningSecret {
    SigningSecret::from_bytes(&std::array::from_fn::<u8, 48, _>(|i| seed ^ i as u8)).unwrap()
}

#[test]
fn minted_tokens_have_the_documented_form_and_parse() {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..500 {
        let minted = Token::mint();
        let text = minted.token.expose();
        let body = text.strip_prefix("pub_").expect("the prefix");
        assert!((40..=120).contains(&body.len()) && body.bytes().all(|b| b.is_ascii_alphanumeric()), "{text}");
        assert_eq!(Token::parse(text).unwrap().hash(), minted.hash);
        assert!(text.ends_with(&minted.last_four) && minted.last_four.len() == 4);
        assert!(seen.insert(text.to_owned()), "drawn twice");
    }
}

#[test]
fn secrets_never_show_in_debug() {
    let minted = Token::mint();
    let shown = format!("{minted:?} {:?} {:?}", minted.token, minted.hash);
    assert!(!shown.contains(minted.token.expose()), "{shown}");
    let keys = SessionKeys::new("http://localhost", &secret(1), None);
    let jwt = keys.sign(UserId::new(), SessionId::new(), at(0), HOUR);
    assert_eq!(format!("{jwt:?}"), "[redacted]");
    let password = AccountRules::default().password(Secret::new("correct horse battery")).unwrap();
    assert!(!format!("{password:?}").contains("horse"));
}

proptest! {
    #[test]
    fn changing_one_character_of_a_token_is_noticed(position in 4_usize..53, letter in "[A-Za-z0-9]") {
        let minted = Token::mint();
        let mut text = minted.token.expose().to_owned();
        text.replace_range(position..=position, &letter);
        prop_assume!(text != minted.token.expose());
        prop_assert!(Token::parse(&text).is_err());
    }

    #[test]
    fn arbitrary_text_is_no_token_and_reading_a_header_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let presented = Presented::from_header(Some(&bytes));
        prop_assert!(!matches!(presented.offered(), Some(Offered::ApiToken(_))));
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(Token::parse(&text).is_err());
        prop_assert!(RefreshKeys::new(&secret(1), None).parse(&text).is_none());
    }

    #[test]
    fn a_session_token_says_what_was_signed(issued in 0_i64..4_000_000_000, ttl in 10_u64..100_000, later in 0_u64..200_000) {
        let keys = SessionKeys::new("https://packages.example.com", &secret(1), None);
        let (user, session) = (UserId::new(), SessionId::new());
        let token = keys.sign(user, session, at(issued), Duration::from_secs(ttl));
        let read = keys.verify(&token, at(issued) + Duration::from_secs(later));
        // Five seconds of leeway for the clocks of replicas.
        if later < ttl + 5 {
            let claims = read.unwrap();
            prop_assert_eq!((claims.user, claims.session), (user, session));
            prop_assert_eq!(claims.expires_at, at(issued) + Duration::from_secs(ttl));
        } else {
            prop_assert_eq!(read.unwrap_err(), SessionProblem::Expired);
        }
    }

    #[test]
    fn a_damaged_session_token_is_invalid(position in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_.-]") {
        let keys = SessionKeys::new("https://packages.example.com", &secret(1), None);
        let token = keys.sign(UserId::new(), SessionId::new(), at(1000), HOUR);
        let mut text = token.expose().to_owned();
        // The last character of a signature carries unused bits; damage any other.
        let position = position.index(text.len() - 1);
        text.replace_range(position..=position, &letter);
        prop_assume!(text != token.expose());
        prop_assert_eq!(keys.verify(&Secret::new(text), at(1000)).unwrap_err(), SessionProblem::Invalid);
    }
}

#[test]
fn the_previous_key_verifies_but_does_not_sign() {
    let old = SessionKeys::new("http://a", &secret(1), None);
    let rotated = SessionKeys::new("http://a", &secret(2), Some(&secret(1)));
    let done = SessionKeys::new("http://a", &secret(2), None);
    let before = old.sign(UserId::new(), SessionId::new(), at(0), HOUR);
    let after = rotated.sign(UserId::new(), SessionId::new(), at(0), HOUR);
    assert!(rotated.verify(&before, at(1)).is_ok());
    assert!(rotated.verify(&after, at(1)).is_ok() && done.verify(&after, at(1)).is_ok());
    assert_eq!(old.verify(&after, at(1)).unwrap_err(), SessionProblem::Invalid);
    assert_eq!(done.verify(&before, at(1)).unwrap_err(), SessionProblem::Invalid);
}

#[test]
fn foreign_issuers_audiences_and_algorithms_are_refused() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let ours = secret(1);
    let keys = SessionKeys::new("http://a", &ours, None);
    let (user, session) = (UserId::new(), SessionId::new());
    let other_issuer = SessionKeys::new("http://b", &ours, None).sign(user, session, at(0), HOUR);
    assert_eq!(keys.verify(&other_issuer, at(1)).unwrap_err(), SessionProblem::Invalid);

    let key = EncodingKey::from_secret(ours.as_bytes());
    let claims = |iss: &str, aud: &str| serde_json::json!({"iss": iss, "aud": aud, "sub": user, "sid": session, "iat": 0, "exp": 3600});
    let sign = |alg, claims| Secret::new(encode(&Header::new(alg), &claims, &key).unwrap());
    let good = sign(Algorithm::HS256, claims("http://a", "publaryn:session"));
    assert!(keys.verify(&good, at(1)).is_ok(), "the shape used below is the right one");
    let other_purpose = sign(Algorithm::HS256, claims("http://a", "publaryn:mfa"));
    assert_eq!(keys.verify(&other_purpose, at(1)).unwrap_err(), SessionProblem::Invalid);
    let other_algorithm = sign(Algorithm::HS512, claims("http://a", "publaryn:session"));
    assert_eq!(keys.verify(&other_algorithm, at(1)).unwrap_err(), SessionProblem::Invalid);
    let no_session = sign(
        Algorithm::HS256,
        serde_json::json!({"iss": "http://a", "aud": "publaryn:session", "sub": user, "iat": 0, "exp": 3600}),
    );
    assert_eq!(keys.verify(&no_session, at(1)).unwrap_err(), SessionProblem::Invalid);

    // `alg: none`, the classic: header and claims of a good token, no signature.
    let unsigned = {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
        let body = good.expose().split('.').nth(1).unwrap();
        Secret::new(format!("{}.{body}.", B64.encode(r#"{"alg":"none","typ":"JWT"}"#)))
    };
    assert_eq!(keys.verify(&unsigned, at(1)).unwrap_err(), SessionProblem::Invalid);
}

#[test]
fn a_token_from_the_future_is_invalid() {
    let keys = SessionKeys::new("http://a", &secret(1), None);
    let token = keys.sign(UserId::new(), SessionId::new(), at(1000), HOUR);
    assert!(keys.verify(&token, at(996)).is_ok(), "within the leeway");
    assert_eq!(keys.verify(&token, at(900)).unwrap_err(), SessionProblem::Invalid);
}

#[test]
fn short_signing_secrets_are_refused() {
    assert_eq!(SigningSecret::from_bytes(b"0123456789abcdef0123456789abcde").unwrap_err(), WeakSecret::TooShort);
}

#[tokio::test]
async fn default_cost_verifies_its_own_hash() {
    let hasher = PasswordHasher::new(HashCost::default()).unwrap();
    let password = AccountRules::default().password(Secret::new("correct horse battery staple")).unwrap();
    let hash = hasher.hash(&password).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let verdict = hasher.verify(&Secret::new("correct horse battery staple"), Some(&hash)).await.unwrap();
    assert_eq!(verdict, Verdict::Match { needs_rehash: false });
}
