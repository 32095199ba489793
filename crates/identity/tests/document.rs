//! What docs/PROTOCOL.md says of tokens is what the code does.

mod support;

use std::path::Path;

use support::{SECRET, signed};
use wardlink_identity::{Keys, Rules, TokenError, Verifier};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/PROTOCOL.md");
    std::fs::read_to_string(path).expect("docs/PROTOCOL.md")
}

#[test]
fn the_table_of_reasons_is_that_of_the_code() {
    let document = document();
    let (_, rest) = document.split_once("<!-- checked: token refusals -->\n").expect("table");
    let rows = rest.lines().take_while(|line| line.starts_with('|')).skip(2);
    let written: Vec<&str> = rows.map(|row| row.split('`').nth(1).expect("word")).collect();
    assert_eq!(written, TokenError::REASONS);
}

#[test]
fn the_claims_of_the_example_count() {
    let document = document();
    let (_, rest) = document.split_once("```json token\n").expect("example");
    let claims = serde_json::from_str(rest.lines().next().expect("line")).expect("JSON");
    let verifier =
        Verifier::new(Keys::from_file(SECRET.as_bytes()).expect("keys"), Rules::default());
    let identity = verifier.verify(&signed(&claims), 1_795_478_400).expect("identity");
    assert_eq!(identity.end.as_str(), "H1-W1-gateway");
    assert_eq!(identity.expires_at, 1_795_482_030);
    assert!(identity.may_send_as(&"H1-W1-nurse".parse().expect("end")));
    assert!(!identity.may_send_as(&"H1-W2-nurse".parse().expect("end")));
}
