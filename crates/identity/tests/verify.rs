//! Which tokens count, and what is said of those that do not.

mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::*;
use wardlink_identity::{
    ClaimNames, Grant, Keys, Rules, Signer, TOKEN_MAX_BYTES, TokenError, Verifier,
};

fn verifier(keys: &[u8]) -> Verifier {
    Verifier::new(Keys::from_file(keys).expect("keys"), Rules::default())
}

fn by_secret(rules: Rules) -> Verifier {
    Verifier::new(Keys::from_file(SECRET.as_bytes()).expect("keys"), rules)
}

fn token_of(private: &str, kid: Option<&str>) -> String {
    let grant = Grant::new("H1-A2-u7".parse().expect("end"), std::time::Duration::from_secs(60));
    let signer = Signer::from_file(private.as_bytes(), kid).expect("signer");
    signer.sign(&grant, &ClaimNames::default(), NOW).expect("token")
}

/// The reason of a refusal, `ok` for none.
fn reason(verifier: &Verifier, token: &str) -> &'static str {
    verifier.verify(token, NOW).map_or_else(|error| error.reason(), |_| "ok")
}

#[test]
fn a_token_of_each_algorithm_makes_its_end() {
    let (rsa, ec, ed) = (rsa(), ec(), ed());
    for (private, public) in [
        (SECRET, SECRET),
        (&rsa.private_pem, &rsa.public_pem),
        (&ec.private_pem, &ec.public_pem),
        (&ed.private_pem, &ed.public_pem),
    ] {
        let identity = verifier(public.as_bytes()).verify(&token_of(private, None), NOW);
        let identity = identity.expect("identity");
        assert_eq!(identity.end.as_str(), "H1-A2-u7");
        assert_eq!(identity.expires_at, NOW + 90);
        assert!(identity.send_for.is_empty());
    }
}

#[test]
fn a_token_that_was_not_made_by_a_key_of_this_server_is_refused() {
    let (rsa, ec, other) = (rsa(), ec(), ec());
    let rsa_only = verifier(rsa.public_pem.as_bytes());
    let ec_only = verifier(ec.public_pem.as_bytes());
    let secret = by_secret(Rules::default());
    let hs = json!({ "alg": "HS256" });
    let unsigned = |alg: &str| format!("{}.{}.", part(&json!({ "alg": alg })), part(&claims()));
    let (good, good_of_rsa) = (signed(&claims()), token_of(&rsa.private_pem, None));
    let with_signature_of = |token: &str, other: &str| {
        let (message, _) = token.rsplit_once('.').expect("token");
        format!("{message}.{}", other.rsplit_once('.').expect("token").1)
    };
    let changed = with_signature_of(&signed(&claims_with(json!({ "uid": "u8" }))), &good);
    for (what, verifier, token, wanted) in [
        ("no token", &secret, String::new(), "missing"),
        ("alg none", &secret, unsigned("none"), "algorithm"),
        ("alg None", &secret, unsigned("None"), "algorithm"),
        ("alg none of RSA", &rsa_only, unsigned("none"), "algorithm"),
        ("no signature", &secret, unsigned("HS256"), "signature"),
        (
            "HS256 by the RSA public key's PEM",
            &rsa_only,
            hs256(&hs, &claims(), rsa.public_pem.as_bytes()),
            "algorithm",
        ),
        (
            "HS256 by the RSA public key's trimmed PEM",
            &rsa_only,
            hs256(&hs, &claims(), rsa.public_pem.trim_end().as_bytes()),
            "algorithm",
        ),
        (
            "HS256 by the RSA public key's DER",
            &rsa_only,
            hs256(&hs, &claims(), &rsa.public_der),
            "algorithm",
        ),
        ("RS256 where a secret is due", &secret, good_of_rsa.clone(), "algorithm"),
        ("ES256 where RSA is due", &rsa_only, token_of(&ec.private_pem, None), "algorithm"),
        ("another key", &ec_only, token_of(&other.private_pem, None), "signature"),
        ("another secret", &secret, hs256(&hs, &claims(), &[7; 32]), "signature"),
        ("other claims under a good signature", &secret, changed, "signature"),
        (
            "RS256 with another's signature",
            &rsa_only,
            with_signature_of(&good_of_rsa, &good),
            "signature",
        ),
        ("HS384", &secret, unsigned("HS384"), "algorithm"),
        ("PS256", &rsa_only, unsigned("PS256"), "algorithm"),
        ("alg in small letters", &secret, unsigned("hs256"), "algorithm"),
    ] {
        assert_eq!(reason(verifier, &token), wanted, "{what}");
    }
}

#[test]
fn a_key_set_names_the_key_that_is_meant() {
    let (rsa, ec, foe) = (rsa(), ec(), ec());
    let set = verifier(&jwks(&[rsa.jwk("r"), ec.jwk("e"), oct("s", SECRET.as_bytes())]));
    let hs =
        |kid: &str, secret: &[u8]| hs256(&json!({ "alg": "HS256", "kid": kid }), &claims(), secret);
    let bytes_of_rsa = serde_json::to_vec(&rsa.jwk("r")).expect("json");
    for (what, token, wanted) in [
        ("RSA by name", token_of(&rsa.private_pem, Some("r")), "ok"),
        ("EC by name", token_of(&ec.private_pem, Some("e")), "ok"),
        ("secret by name", hs("s", SECRET.as_bytes()), "ok"),
        ("without a name", token_of(&ec.private_pem, None), "ok"),
        ("unknown name", token_of(&ec.private_pem, Some("x")), "unknown_kid"),
        ("empty name", token_of(&ec.private_pem, Some("")), "unknown_kid"),
        ("name of another algorithm's key", token_of(&ec.private_pem, Some("r")), "algorithm"),
        ("HS256 with the name of the RSA key", hs("r", &rsa.public_der), "algorithm"),
        ("HS256 with the name and JSON of the RSA key", hs("r", &bytes_of_rsa), "algorithm"),
        ("a foe's key under a good name", token_of(&foe.private_pem, Some("e")), "signature"),
        ("a foe's key without a name", token_of(&foe.private_pem, None), "signature"),
    ] {
        assert_eq!(reason(&set, &token), wanted, "{what}");
    }
}

#[test]
fn keys_without_names_serve_tokens_of_any_name() {
    let ec = ec();
    let verifier = verifier(ec.public_pem.as_bytes());
    assert_eq!(reason(&verifier, &token_of(&ec.private_pem, Some("any"))), "ok");
}

#[test]
fn a_key_in_the_tokens_own_header_means_nothing() {
    let foe = ec();
    let header = json!({ "alg": "HS256", "jwk": foe.jwk("x"), "jku": "https://foe/keys" });
    let verifier = by_secret(Rules::default());
    assert_eq!(reason(&verifier, &hs256(&header, &claims(), &[7; 32])), "signature");
}

#[test]
fn what_is_no_token_is_malformed_or_too_large() {
    let verifier = by_secret(Rules::default());
    let good = signed(&claims());
    let of_header = |header: &str| {
        hs256(&json!({}), &claims(), SECRET.as_bytes()).replacen(
            &part(&json!({})),
            &base64_of(header),
            1,
        )
    };
    for (what, token, wanted) in [
        ("a word", "garbage".to_owned(), "malformed"),
        ("two parts", "a.b".to_owned(), "malformed"),
        ("four parts", format!("{good}.x"), "malformed"),
        ("dots", "..".to_owned(), "malformed"),
        ("no base64", format!("ä{good}"), "malformed"),
        ("blank before it", format!(" {good}"), "malformed"),
        ("padding", format!("{good}="), "malformed"),
        ("signature is no base64", format!("{good}!"), "malformed"),
        ("header is no JSON", of_header("x"), "malformed"),
        ("header is an array", of_header(r#"["HS256",null,null]"#), "malformed"),
        ("header without alg", of_header("{}"), "malformed"),
        ("alg is a number", of_header(r#"{"alg":1}"#), "malformed"),
        ("two algs", of_header(r#"{"alg":"HS256","alg":"none"}"#), "malformed"),
        ("two kids", of_header(r#"{"alg":"HS256","kid":"a","kid":"b"}"#), "malformed"),
        ("kid is a number", of_header(r#"{"alg":"HS256","kid":1}"#), "malformed"),
        (
            "crit",
            hs256(&json!({ "alg": "HS256", "crit": ["x"] }), &claims(), SECRET.as_bytes()),
            "malformed",
        ),
        ("claims are an array", signed(&json!([1])), "malformed"),
        ("claims are nested deeply", signed_text(&nested(200)), "malformed"),
        ("huge", "x".repeat(TOKEN_MAX_BYTES + 1), "too_large"),
        (
            "huge and good",
            signed(&claims_with(json!({ "x": "y".repeat(TOKEN_MAX_BYTES) }))),
            "too_large",
        ),
        ("as large as may be", signed(&claims_with(json!({ "x": "y".repeat(5_900) }))), "ok"),
    ] {
        assert_eq!(reason(&verifier, &token), wanted, "{what}");
    }
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn nested(depth: usize) -> String {
    format!(r#"{{"x":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth))
}

/// A token whose claims are this text.
fn signed_text(claims: &str) -> String {
    let message = format!("{}.{}", part(&json!({ "alg": "HS256" })), base64_of(claims));
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let alg = jsonwebtoken::Algorithm::HS256;
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, alg).expect("signature");
    format!("{message}.{signature}")
}

#[test]
fn a_token_counts_from_nbf_and_iat_to_exp_with_leeway() {
    let verifier = by_secret(Rules::default());
    for (changes, wanted) in [
        (json!({ "exp": null }), "claims"),
        (json!({ "exp": "soon" }), "claims"),
        (json!({ "exp": true }), "claims"),
        (json!({ "exp": NOW - 30 }), "expired"),
        (json!({ "exp": NOW - 29 }), "ok"),
        (json!({ "exp": NOW as f64 - 29.5 }), "expired"),
        (json!({ "exp": NOW as f64 + 0.5 }), "ok"),
        (json!({ "exp": 0 }), "expired"),
        (json!({ "exp": -5 }), "expired"),
        (json!({ "exp": u64::MAX }), "ok"),
        (json!({ "exp": 1e300 }), "ok"),
        (json!({ "nbf": NOW + 30 }), "ok"),
        (json!({ "nbf": NOW + 31 }), "not_yet_valid"),
        (json!({ "nbf": u64::MAX }), "not_yet_valid"),
        (json!({ "nbf": "later" }), "claims"),
        (json!({ "iat": NOW + 30 }), "ok"),
        (json!({ "iat": NOW + 31 }), "not_yet_valid"),
        (json!({ "iat": [] }), "claims"),
    ] {
        let token = signed(&claims_with(changes.clone()));
        assert_eq!(reason(&verifier, &token), wanted, "{changes}");
    }
    let endless = signed(&claims_with(json!({ "exp": u64::MAX })));
    let identity = verifier.verify(&endless, NOW).expect("identity");
    assert_eq!(identity.expires_at, 253_402_300_799);
    let strict = Rules { leeway: std::time::Duration::ZERO, ..Rules::default() };
    let token = signed(&claims_with(json!({ "exp": NOW })));
    assert_eq!(reason(&by_secret(strict), &token), "expired");
}

#[test]
fn issuer_and_audience_are_those_of_the_rules() {
    let rules = Rules {
        issuer: Some("https://id.hospital".into()),
        audiences: vec!["wardlink".into(), "wardlink-2".into()],
        ..Rules::default()
    };
    let both = by_secret(rules);
    let open = by_secret(Rules::default());
    let with = |iss: Value, aud: Value| signed(&claims_with(json!({ "iss": iss, "aud": aud })));
    let iss = json!("https://id.hospital");
    for (what, verifier, token, wanted) in [
        ("both", &both, with(iss.clone(), json!("wardlink")), "ok"),
        ("one of several", &both, with(iss.clone(), json!(["x", "wardlink-2"])), "ok"),
        ("wrong issuer", &both, with(json!("https://foe"), json!("wardlink")), "issuer"),
        ("longer issuer", &both, with(json!("https://id.hospital/"), json!("wardlink")), "issuer"),
        ("issuer in a list", &both, with(json!([iss.clone()]), json!("wardlink")), "issuer"),
        ("no issuer", &both, with(Value::Null, json!("wardlink")), "issuer"),
        ("wrong audience", &both, with(iss.clone(), json!("billing")), "audience"),
        ("no audience", &both, with(iss.clone(), Value::Null), "audience"),
        ("empty audiences", &both, with(iss.clone(), json!([])), "audience"),
        ("audience is a number", &both, with(iss.clone(), json!(1)), "audience"),
        ("any issuer where none is asked for", &open, with(iss.clone(), Value::Null), "ok"),
        ("meant for somebody else", &open, with(Value::Null, json!("billing")), "audience"),
    ] {
        assert_eq!(reason(verifier, &token), wanted, "{what}");
    }
}

#[test]
fn claims_that_make_no_end_are_refused_by_name() {
    let verifier = by_secret(Rules::default());
    for (changes, text) in [
        (json!({ "hospitalCode": null }), "claim hospitalCode is missing"),
        (json!({ "hosareaCode": null }), "claim hosareaCode is missing"),
        (json!({ "uid": null }), "claim uid is missing"),
        (json!({ "uid": 7 }), "claim uid must be a string"),
        (json!({ "uid": ["u7"] }), "claim uid must be a string"),
        (json!({ "hospitalCode": "H-1" }), "claim hospitalCode does not make an end id: "),
        (json!({ "hospitalCode": "" }), "claim hospitalCode does not make an end id: "),
        (json!({ "hosareaCode": "Ä" }), "claim hosareaCode does not make an end id: "),
        (json!({ "uid": "u".repeat(65) }), "claim uid does not make an end id: "),
        (json!({ "uid": "u 7" }), "claim uid does not make an end id: "),
    ] {
        let error = verifier.verify(&signed(&claims_with(changes.clone())), NOW).expect_err("end");
        assert_eq!(error.reason(), "claims", "{changes}");
        assert!(error.to_string().starts_with(text), "{changes}: {error}");
    }
}

#[test]
fn claim_names_are_those_of_the_rules() {
    let names = ClaimNames {
        hospital_code: "https://h/code".into(),
        hosarea_code: "area".into(),
        uid: "sub".into(),
        send_for: "may".into(),
    };
    let verifier = by_secret(Rules { claims: names.clone(), ..Rules::default() });
    let claims = json!({
        "https://h/code": "H1", "area": "A2", "sub": "u7", "may": "H1-*", "exp": NOW + 1
    });
    let identity = verifier.verify(&signed(&claims), NOW).expect("identity");
    assert_eq!(identity.end.as_str(), "H1-A2-u7");
    assert!(identity.may_send_as(&"H1-A3-x".parse().expect("end")));
    let error = verifier.verify(&signed(&support::claims()), NOW).expect_err("names");
    assert_eq!(error.to_string(), "claim https://h/code is missing");
    let signer = Signer::from_file(SECRET.as_bytes(), None).expect("signer");
    let mut grant = Grant::new("H1-A2-u7".parse().expect("end"), std::time::Duration::from_secs(9));
    grant.send_for = vec!["H9-A-u".parse().expect("pattern")];
    let token = signer.sign(&grant, &names, NOW).expect("token");
    assert_eq!(verifier.verify(&token, NOW).expect("identity").send_for, grant.send_for);
}

#[test]
fn a_token_sends_for_its_own_end_and_for_what_it_says() {
    let verifier = by_secret(Rules::default());
    let may = |claim: Value, end: &str| {
        let identity = verifier.verify(&signed(&claims_with(json!({ "sendFor": claim }))), NOW)?;
        Ok::<_, TokenError>(identity.may_send_as(&end.parse().expect("end")))
    };
    for (claim, end, wanted) in [
        (Value::Null, "H1-A2-u7", true),
        (Value::Null, "H1-A2-u8", false),
        (json!([]), "H1-A2-u8", false),
        (json!("*"), "X-Y-z", true),
        (json!(["H1-A2-*", "H2-*"]), "H1-A2-u8", true),
        (json!(["H1-A2-*", "H2-*"]), "H2-B-c", true),
        (json!(["H1-A2-*", "H2-*"]), "H1-A3-u8", false),
        (json!(["H1-A3-x"]), "H1-A3-x", true),
    ] {
        assert_eq!(may(claim.clone(), end), Ok(wanted), "{claim} {end}");
    }
    for claim in [
        json!(1),
        json!([1]),
        json!({}),
        json!("H1"),
        json!(["H1-*", "H1-A*"]),
        json!(vec!["*"; 65]),
    ] {
        let error = may(claim.clone(), "H1-A2-u7").expect_err("claim");
        assert_eq!(error.reason(), "claims", "{claim}");
    }
}

#[test]
fn refusals_repeat_nothing_of_the_token_and_have_reasons_of_the_closed_set() {
    let verifier = by_secret(Rules::default());
    let marked =
        json!({ "hospitalCode": "MARK*", "iss": "MARK", "exp": "MARK", "sendFor": "MARK" });
    let mut texts = Vec::new();
    for (name, value) in marked.as_object().expect("object") {
        let token = signed(&claims_with(json!({ name: value })));
        texts.extend(verifier.verify(&token, NOW).err());
    }
    let header = json!({ "alg": "MARK", "kid": "MARK" });
    texts.extend(verifier.verify(&hs256(&header, &claims(), b"x"), NOW).err());
    texts.extend(verifier.verify("MARK.MARK.MARK", NOW).err());
    assert_eq!(texts.len(), 5);
    for error in texts {
        assert!(!format!("{error} {error:?}").contains("MARK"), "{error:?}");
        assert!(TokenError::REASONS.contains(&error.reason()));
    }
}

#[test]
fn the_key_that_signed_is_known_as_long_as_it_is_there() {
    let (old, new) = (ec(), ec());
    let token = token_of(&old.private_pem, None);
    let both = verifier(format!("{}{}", old.public_pem, new.public_pem).as_bytes());
    let (identity, key) = both.verify_by(&token, NOW).expect("identity");
    assert_eq!(identity, both.verify(&token, NOW).expect("identity"));
    assert!(both.has(key));
    // Read again, it is the same key.
    assert!(verifier(old.public_pem.as_bytes()).has(key));
    assert!(!verifier(new.public_pem.as_bytes()).has(key));
    assert!(!by_secret(Rules::default()).has(key));
}

#[test]
fn other_keys_replace_those_before() {
    let (old, new) = (ec(), ec());
    let first = verifier(old.public_pem.as_bytes());
    let both = format!("{}{}", old.public_pem, new.public_pem);
    let second = first.with_keys(Keys::from_file(both.as_bytes()).expect("keys"));
    let third = second.with_keys(Keys::from_file(new.public_pem.as_bytes()).expect("keys"));
    let (by_old, by_new) = (token_of(&old.private_pem, None), token_of(&new.private_pem, None));
    let counts = |token: &str| [&first, &second, &third].map(|it| reason(it, token) == "ok");
    assert_eq!(counts(&by_old), [true, true, false]);
    assert_eq!(counts(&by_new), [false, true, true]);
}

proptest! {
    #[test]
    fn any_text_is_refused_without_a_panic(text in ".{0,200}", parts in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
        let verifier = by_secret(Rules::default());
        prop_assert!(verifier.verify(&text, NOW).is_err());
        prop_assert!(verifier.verify(&parts, NOW).is_err());
    }

    #[test]
    fn a_token_with_any_byte_changed_is_refused(place in 0_usize..150, byte in "[A-Za-z0-9._-]") {
        let good = signed(&claims());
        let place = place % good.len();
        let mut changed = good.clone();
        changed.replace_range(place..=place, &byte);
        let verifier = by_secret(Rules::default());
        // The last character of a part holds bits that mean nothing; the library refuses them.
        prop_assert_eq!(verifier.verify(&changed, NOW).is_ok(), changed == good);
    }
}
