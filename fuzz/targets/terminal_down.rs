//! Frames of a server, as the client library reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardlink_wire::terminal::Down;

fuzz_target!(|text: &str| {
    if let Ok(down) = Down::decode(text) {
        assert_eq!(Down::decode(&down.to_json()).expect("what was encoded"), down);
    }
});
