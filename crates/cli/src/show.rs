//! How things look: pure functions from values to lines. Colours are escapes that the output
//! takes out again where there is no terminal or `NO_COLOR` is set.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::value::RawValue;
use wardlink_client::{Message, SendOutcome};
use wardlink_wire::{EndId, MessageId, Outcome};

pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// A text in a style.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// An error and its causes.
pub(crate) fn error(error: &anyhow::Error) -> String {
    format!("{} {error:#}", styled(BAD, "error:"))
}

/// A received message for people.
pub(crate) fn message(message: &Message) -> String {
    let at = humantime::format_rfc3339_seconds(message.at());
    let from = message.from.as_ref().map_or("plain server", EndId::as_str);
    let mut line =
        format!("{}  {}  {}", styled(DIM, at), styled(BOLD, from), body(message.body_text()));
    if message.redelivered {
        let _ = write!(line, "  {}", styled(NOTE, "(may be a repeat)"));
    }
    line
}

/// A received message as one JSON object; the names are those of the terminal protocol.
pub(crate) fn message_json(message: &Message) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Shown<'a> {
        seq: u64,
        id: &'a MessageId,
        from: Option<&'a EndId>,
        body: &'a RawValue,
        at: u64,
        redelivered: bool,
    }
    serde_json::to_string(&Shown {
        seq: message.seq,
        id: &message.id,
        from: message.from.as_ref(),
        body: serde_json::from_str(message.body_text())?,
        at: message.at_ms,
        redelivered: message.redelivered,
    })
}

/// The result of a send for people.
pub(crate) fn result(id: &MessageId, to: &EndId, outcome: SendOutcome) -> String {
    let style = match outcome.outcome {
        Outcome::Delivered | Outcome::Stored => GOOD,
        Outcome::Unknown => NOTE,
        Outcome::Rejected => BAD,
    };
    let mut line = styled(style, outcome.outcome);
    if let Some(reason) = outcome.reason {
        let _ = write!(line, " ({reason})");
    }
    let _ = write!(line, "  {to}  {}", styled(DIM, id));
    if outcome.retry {
        line.push_str(match outcome.outcome {
            Outcome::Unknown => "  it may still arrive; to send it again safely, use --id",
            _ => "  it may be tried again",
        });
    }
    line
}

/// The result of a send as one JSON object.
pub(crate) fn result_json(
    id: &MessageId,
    to: &EndId,
    outcome: SendOutcome,
) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Shown<'a> {
        id: &'a MessageId,
        to: &'a EndId,
        outcome: Outcome,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
        retry: bool,
    }
    serde_json::to_string(&Shown {
        id,
        to,
        outcome: outcome.outcome,
        reason: outcome.reason.map(|reason| reason.as_str()),
        retry: outcome.retry,
    })
}

/// A body for people: a JSON string without its quotes, else the JSON text. Control characters
/// are escaped, for the text comes from another terminal and must not steer this one.
pub(crate) fn body(json: &str) -> String {
    let text = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned());
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns_text(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character only changes the direction of those around it, so that a text may be read as
/// another one (Unicode Standard Annex 9, section 2).
fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A short time, in milliseconds.
pub(crate) fn elapsed(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use wardlink_wire::Reason;

    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn ids() -> (MessageId, EndId) {
        ("m1".parse().expect("id"), "H1-W1-a".parse().expect("end"))
    }

    #[test]
    fn strings_are_shown_without_quotes_and_cannot_steer_the_terminal() {
        assert_eq!(body(r#""Bett 7 ruft""#), "Bett 7 ruft");
        assert_eq!(body(r#"{"a":"b"}"#), r#"{"a":"b"}"#);
        assert_eq!(body(r#""a\u001b[2Jb\n""#), r"a\u{1b}[2Jb\n");
        assert_eq!(body(r#""5\u202e01\u2066\u200f""#), r"5\u{202e}01\u{2066}\u{200f}");
        assert_eq!(body("{\"a\":\"\u{9b}2J\"}"), r#"{"a":"\u{9b}2J"}"#);
    }

    #[test]
    fn a_result_says_why_and_what_to_do() {
        let (id, to) = ids();
        let shown = |outcome, reason| plain(&result(&id, &to, SendOutcome::new(outcome, reason)));
        assert_eq!(shown(Outcome::Delivered, None), "delivered  H1-W1-a  m1");
        let full = shown(Outcome::Rejected, Some(Reason::MailboxFull));
        assert_eq!(full, "rejected (mailbox full)  H1-W1-a  m1  it may be tried again");
        let large = shown(Outcome::Rejected, Some(Reason::TooLarge));
        assert_eq!(large, "rejected (too large)  H1-W1-a  m1");
        assert!(shown(Outcome::Unknown, None).ends_with("use --id"));
    }

    #[test]
    fn a_result_in_json_is_one_line() {
        let (id, to) = ids();
        let outcome = SendOutcome::new(Outcome::Stored, None);
        let wanted = r#"{"id":"m1","to":"H1-W1-a","outcome":"stored","retry":false}"#;
        assert_eq!(result_json(&id, &to, outcome).expect("json"), wanted);
        let outcome = SendOutcome::new(Outcome::Unknown, Some(Reason::Deadline));
        let json = result_json(&id, &to, outcome).expect("json");
        assert!(json.contains(r#""reason":"deadline","retry":true"#), "{json}");
    }

    #[test]
    fn an_error_shows_its_causes() {
        let error = anyhow::anyhow!("connection refused").context("cannot reach 127.0.0.1:1");
        let wanted = "error: cannot reach 127.0.0.1:1: connection refused";
        assert_eq!(plain(&super::error(&error)), wanted);
    }
}
