//! Tokens, and the files of keys that verify them. Nobody gets in with what was not signed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wardlink_identity::{Keys, Rules, SendFor, Verifier};

const SECRET: &[u8] = b"a secret that no input of a fuzzer can know, at random";

static VERIFIER: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::new(Keys::from_file(SECRET).expect("a secret"), Rules::default()));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(VERIFIER.verify(text, 1_795_478_400).is_err(), "a token that nobody signed");
        if let Ok(pattern) = text.parse::<SendFor>() {
            assert_eq!(pattern.to_string().parse::<SendFor>().expect("a pattern"), pattern);
        }
    }
    let _ = Keys::from_public_jwks(bytes);
    if let Ok(keys) = Keys::from_file(bytes) {
        let _ = Verifier::new(keys, Rules::default()).verify("a.b.c", 1_795_478_400);
    }
});
