//! Frames of a terminal. What is taken is within the limits and the same after another round.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardlink_wire::terminal::{BODY_MAX_BYTES, Up};

fuzz_target!(|text: &str| {
    if let Ok(up) = Up::decode(text) {
        if let Up::Send(send) = &up {
            assert!(send.body.len() <= BODY_MAX_BYTES);
            assert_ne!(send.ttl_s, Some(0));
        }
        assert_eq!(Up::decode(&up.to_json()).expect("what was encoded"), up);
    }
});
