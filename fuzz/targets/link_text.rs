//! Text frames of a link, in both directions, and those of a plain BS.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardlink_wire::link::json;

fuzz_target!(|text: &str| {
    if let Ok(items) = json::decode_to_ms(text) {
        let items: Vec<_> = items.into_iter().flatten().collect();
        let decoded = json::decode_to_ms(&json::encode_to_ms(&items)).expect("what was encoded");
        let decoded: Vec<_> = decoded.into_iter().map(|item| item.expect("an item")).collect();
        assert_eq!(decoded, items);
    }
    if let Ok(items) = json::decode_to_bs(text) {
        let items: Vec<_> = items.into_iter().flatten().collect();
        let decoded = json::decode_to_bs(&json::encode_to_bs(&items)).expect("what was encoded");
        let decoded: Vec<_> = decoded.into_iter().map(|item| item.expect("an item")).collect();
        assert_eq!(decoded, items);
    }
    let _ = json::decode_plain(text);
});
