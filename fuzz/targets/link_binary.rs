//! Binary frames of a link, in both directions. What is taken is the same after another round, and
//! no frame needs more items or bytes than it may.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use wardlink_view::View;
use wardlink_wire::link::{FRAME_MAX_ITEMS, ToBs, proto};

fuzz_target!(|frame: &[u8]| {
    let frame = Bytes::copy_from_slice(frame);
    if let Ok(items) = proto::decode_to_ms(frame.clone()) {
        assert!(items.len() <= FRAME_MAX_ITEMS);
        let items: Vec<_> = items.into_iter().flatten().collect();
        let mut again = BytesMut::new();
        proto::encode_to_ms(&items, &mut again);
        let decoded = proto::decode_to_ms(again.freeze()).expect("what was encoded");
        let decoded: Vec<_> = decoded.into_iter().map(|item| item.expect("an item")).collect();
        assert_eq!(decoded, items);
    }
    if let Ok(items) = proto::decode_to_bs(frame) {
        assert!(items.len() <= FRAME_MAX_ITEMS);
        let items: Vec<_> = items.into_iter().flatten().collect();
        for item in &items {
            if let ToBs::View(view) = item
                && let Ok(view) = View::from_item(view)
            {
                assert_eq!(View::from_item(&view.to_item()).expect("a view"), view);
            }
        }
        let mut again = BytesMut::new();
        proto::encode_to_bs(&items, &mut again);
        let decoded = proto::decode_to_bs(again.freeze()).expect("what was encoded");
        let decoded: Vec<_> = decoded.into_iter().map(|item| item.expect("an item")).collect();
        assert_eq!(decoded, items);
    }
});
