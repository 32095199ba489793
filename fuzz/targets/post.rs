//! Bodies of `POST /v1/messages`. What is taken is within the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardlink_wire::terminal::{BODY_MAX_BYTES, Post};

fuzz_target!(|text: &str| {
    if let Ok(post) = Post::decode(text) {
        assert!(post.body.len() <= BODY_MAX_BYTES);
        assert_ne!(post.ttl_s, Some(0));
    }
});
