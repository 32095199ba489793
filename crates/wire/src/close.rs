//! Close codes: one closed table for terminals and links. Code, text, metric label and whether
//! to connect again live here and nowhere else.

/// Why a server closes a WebSocket. The range tells a peer that does not know the code whether
/// to connect again: 4000 to 4499 yes, 4500 to 4999 no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// The server is stopping or draining.
    GoingAway,
    /// The peer did not answer pings in time.
    Silent,
    /// The peer does not read as fast as messages arrive for it.
    TooSlow,
    /// A server on the way is overloaded or out of order.
    Overloaded,
    /// A newer link of the same BS took this one's place.
    LinkReplaced,
    /// The MS is no member any more; it comes back under a new id.
    NotAMember,
    /// The session's BS lost its place; the terminal may connect again.
    SessionLost,
    /// A newer session of the same end took this one's place.
    Replaced,
    /// The identity is missing or refused.
    BadIdentity,
    /// The peer broke the protocol: a frame that is no frame, or too large.
    ProtocolError,
    /// The peer speaks a version that this server does not.
    Version,
    /// A plain BS where there are several MSs: use `wardlink-bs`.
    PlainWithSeveral,
    /// A view number that cannot be: more than a day ahead of the database.
    ImpossibleView,
    /// The identity expired while connected. A terminal that gets a fresh token may come again.
    IdentityExpired,
    /// The key that made the terminal's token counts no more. It may come again with a fresh one.
    KeyWithdrawn,
    /// The terminal has sent more than it may for too long.
    RateLimited,
}

impl CloseCode {
    /// All codes, for closed label sets, documents and tests.
    pub const ALL: [CloseCode; 16] = [
        CloseCode::GoingAway,
        CloseCode::Silent,
        CloseCode::TooSlow,
        CloseCode::Overloaded,
        CloseCode::LinkReplaced,
        CloseCode::NotAMember,
        CloseCode::SessionLost,
        CloseCode::Replaced,
        CloseCode::BadIdentity,
        CloseCode::ProtocolError,
        CloseCode::Version,
        CloseCode::PlainWithSeveral,
        CloseCode::ImpossibleView,
        CloseCode::IdentityExpired,
        CloseCode::KeyWithdrawn,
        CloseCode::RateLimited,
    ];

    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            CloseCode::GoingAway => (4000, "going_away", "server is stopping"),
            CloseCode::Silent => (4001, "silent", "no answer to pings"),
            CloseCode::TooSlow => (4002, "too_slow", "reader is too slow"),
            CloseCode::Overloaded => (4003, "overloaded", "server is overloaded"),
            CloseCode::LinkReplaced => (4004, "link_replaced", "newer link of this server"),
            CloseCode::NotAMember => (4005, "not_a_member", "message server left the view"),
            CloseCode::SessionLost => (4006, "session_lost", "session lost, connect again"),
            CloseCode::Replaced => (4500, "replaced", "replaced by a newer session"),
            CloseCode::BadIdentity => (4501, "bad_identity", "identity missing or refused"),
            CloseCode::ProtocolError => (4502, "protocol_error", "protocol error"),
            CloseCode::Version => (4503, "version", "protocol version not supported"),
            CloseCode::PlainWithSeveral => (
                4504,
                "plain_with_several",
                "several message servers: plain links are not served, use wardlink-bs",
            ),
            CloseCode::ImpossibleView => (4505, "impossible_view", "view number cannot be"),
            CloseCode::IdentityExpired => (4506, "identity_expired", "identity has expired"),
            CloseCode::KeyWithdrawn => (
                4007,
                "key_withdrawn",
                "the key of the token counts no more, connect again with a fresh token",
            ),
            CloseCode::RateLimited => {
                (4008, "rate_limited", "more messages or bytes than allowed, for too long")
            }
        }
    }

    /// The WebSocket close code.
    pub const fn code(self) -> u16 {
        self.row().0
    }

    /// Metric label.
    pub const fn label(self) -> &'static str {
        self.row().1
    }

    /// Text for people; at most 123 bytes, as RFC 6455 section 5.5 demands.
    pub const fn text(self) -> &'static str {
        self.row().2
    }

    /// Whether a peer that is closed with this code should connect again by itself.
    pub const fn reconnect(self) -> bool {
        should_reconnect(self.code())
    }

    /// The entry of a code, where it is one of ours.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|entry| entry.code() == code)
    }
}

/// Whether a peer that was closed with `code` should connect again: all but 4500 to 4999.
pub const fn should_reconnect(code: u16) -> bool {
    !(code >= 4500 && code <= 4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_labels_are_distinct_and_texts_fit() {
        for (i, a) in CloseCode::ALL.into_iter().enumerate() {
            assert_eq!(a as usize, i);
            assert!((4000..5000).contains(&a.code()));
            assert!(a.text().len() <= 123);
            assert_eq!(CloseCode::from_code(a.code()), Some(a));
            for b in &CloseCode::ALL[i + 1..] {
                assert_ne!(a.code(), b.code());
                assert_ne!(a.label(), b.label());
            }
        }
    }
}
