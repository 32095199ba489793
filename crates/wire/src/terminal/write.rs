//! Writing JSON objects field by field into a text that is used again.

use std::fmt::{Display, Write};

use serde_json::value::RawValue;
use uuid::Uuid;

/// An object that is being written.
pub(super) struct Object<'a>(&'a mut String);

impl<'a> Object<'a> {
    /// Begins `{"type":"kind"`.
    pub(super) fn begin(out: &'a mut String, kind: &'static str) -> Self {
        out.push_str(r#"{"type":""#);
        out.push_str(kind);
        out.push('"');
        Self(out)
    }

    /// Ends it.
    pub(super) fn end(self) {
        self.0.push('}');
    }

    fn name(&mut self, name: &'static str) {
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    /// A text that holds nothing that JSON escapes: an id or a word of a closed set.
    pub(super) fn word(&mut self, name: &'static str, word: &str) -> &mut Self {
        self.name(name);
        self.0.push('"');
        self.0.push_str(word);
        self.0.push('"');
        self
    }

    /// A UUID.
    pub(super) fn uuid(&mut self, name: &'static str, uuid: Uuid) -> &mut Self {
        self.word(name, uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }

    /// Any text.
    pub(super) fn text(&mut self, name: &'static str, text: &str) -> &mut Self {
        self.name(name);
        push_text(self.0, text);
        self
    }

    /// A number or a truth value.
    pub(super) fn plain(&mut self, name: &'static str, value: impl Display) -> &mut Self {
        self.name(name);
        // Writing to a text cannot fail.
        let _ = write!(self.0, "{value}");
        self
    }

    /// A body, as it is. It was JSON when it was taken in, so only what the store or a link could
    /// have broken is looked at: that it is UTF-8. What is not is shown as a string.
    pub(super) fn body(&mut self, name: &'static str, body: &[u8]) -> &mut Self {
        self.name(name);
        match std::str::from_utf8(body) {
            Ok("") => self.0.push_str("null"),
            Ok(body) => self.0.push_str(body),
            Err(_) => push_text(self.0, &String::from_utf8_lossy(body)),
        }
        self
    }

    /// An object within.
    pub(super) fn raw(&mut self, name: &'static str, value: &RawValue) -> &mut Self {
        self.name(name);
        self.0.push_str(value.get());
        self
    }
}

fn push_text(out: &mut String, text: &str) {
    // Serializing a text cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}
