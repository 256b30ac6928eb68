//! What of a token counts, and whose.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use jiff::Timestamp;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://id.example.org";
const CLIENT: &str = "satellites";
const NONCE: &str = "of this sign-in";

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn keys(&self) -> JwkSet {
        let point = self.0.public_key().as_ref();
        let (x, y) = (
            BASE64URL_NOPAD.encode(&point[1..33]),
            BASE64URL_NOPAD.encode(&point[33..]),
        );
        let keys = json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256", "x": x, "y": y },
        ]});
        serde_json::from_value(keys).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let mut head = Header::new(Algorithm::ES256);
        head.kid = Some("one".to_owned());
        let der = self.0.to_pkcs8v1().unwrap();
        jsonwebtoken::encode(&head, claims, &EncodingKey::from_ec_der(der.as_ref())).unwrap()
    }
}

fn good() -> Value {
    let now = Timestamp::now().as_second();
    json!({ "iss": ISSUER, "aud": CLIENT, "sub": "42", "exp": now + 300, "iat": now, "nonce": NONCE, "groups": ["a", "b"] })
}

fn changed(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

fn read_by(keys: &JwkSet, token: &str) -> Result<Map<String, Value>, OpenIdError> {
    claims(token, keys, (ISSUER, CLIENT), NONCE)
}

#[test]
fn a_token_counts_only_if_it_is_for_us_for_this_sign_in_and_holds() {
    let signer = Signer::new();
    let keys = signer.keys();
    let read = read_by(&keys, &signer.sign(&good())).unwrap();
    assert_eq!(read["sub"], "42");
    let both = json!([CLIENT, "other"]);
    let mut with_azp = changed("aud", both.clone());
    with_azp["azp"] = json!(CLIENT);
    assert!(read_by(&keys, &signer.sign(&with_azp)).is_ok());
    let long_ago = Timestamp::now().as_second() - 3600;
    for (name, value) in [
        ("iss", json!("https://id.example.org/")),
        ("aud", json!("other")),
        ("aud", both),
        ("azp", json!("other")),
        ("nonce", json!("of another")),
        ("nonce", Value::Null),
        ("exp", json!(long_ago)),
        ("exp", Value::Null),
        ("nbf", json!(long_ago + 7200)),
        ("sub", Value::Null),
    ] {
        let mut claims = changed(name, value.clone());
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
        let read = read_by(&keys, &signer.sign(&claims));
        assert!(
            matches!(read, Err(OpenIdError::Token(_))),
            "{name} {value}: {read:?}"
        );
    }
}

#[test]
fn only_a_key_of_the_provider_signs() {
    let (signer, other) = (Signer::new(), Signer::new());
    let keys = signer.keys();
    assert!(read_by(&keys, &other.sign(&good())).is_err());
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&good()));
    assert!(read_by(&keys, &unsigned).is_err());
    // The public key as the secret of a symmetric signature: the classic.
    let secret = EncodingKey::from_secret(signer.0.public_key().as_ref());
    let symmetric = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &good(), &secret).unwrap();
    let error = read_by(&keys, &symmetric).unwrap_err().to_string();
    assert!(error.contains("HS256"), "{error}");
    let token = signer.sign(&good());
    let (start, end) = token.rsplit_once('.').unwrap();
    assert!(read_by(&keys, start).is_err());
    let head = start.split('.').next().unwrap();
    let forged = format!("{head}.{}.{end}", part(&changed("sub", json!("1"))));
    assert!(read_by(&keys, &forged).is_err());
}

#[test]
fn groups_come_as_a_list_or_as_one() {
    let config = "[openid]\nissuer = 'https://id.example.org'\nclient-id = 'x'\npage = 'https://here'\nuser-claim = 'nick'";
    let config = crate::config::Config::parse(config).unwrap().openid.unwrap();
    let person = |claims: Value| person(claims.as_object().unwrap(), &config);
    let anna = person(json!({ "sub": "1", "nick": "anna", "groups": ["a", 7, "b"] })).unwrap();
    assert_eq!(
        (anna.name.as_deref(), anna.groups),
        (Some("anna"), vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(
        person(json!({ "sub": "1", "groups": "a" })).unwrap().groups,
        ["a"]
    );
    assert!(person(json!({ "sub": "" })).is_err());
    assert!(person(json!({ "sub": "x".repeat(256) })).is_err());
}

#[test]
fn the_word_of_an_error_is_all_that_is_passed_on() {
    let body = |text: &str| Some(Bytes::from(text.to_owned()));
    let refusal = body("{\"error\": \"invalid_grant\", \"error_description\": \"x\"}");
    assert_eq!(error_of(refusal.as_ref()), "invalid_grant");
    assert_eq!(error_of(body("{\"error\": \"a <b>\\n\"}").as_ref()), "ab");
    assert_eq!(error_of(body("<html>").as_ref()), "");
    assert_eq!(error_of(None), "");
}
