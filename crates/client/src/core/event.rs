//! What goes into the core and what comes out of it.

use std::time::Duration;

use wardlink_wire::terminal::{Down, DownMessage, Limits, Token, UpSend};
use wardlink_wire::{CloseCode, EndId, Outcome, Reason, ServerId, SessionId};

#[cfg(doc)]
use super::Core;

/// Names a shown message; goes back in [`Event::Processed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

/// What a [`Core`] is told once.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// Number of servers that are tried in turn; at least 1.
    pub servers: usize,
    /// Seed of the jitter.
    pub seed: u64,
    /// Ceiling of the first delay before a new connection.
    pub backoff_min: Duration,
    /// Ceiling of the longest delay before a new connection.
    pub backoff_max: Duration,
    /// Time within which each send has a result, whatever happens.
    pub send_deadline: Duration,
    /// Sends without a result, at most; one more is `rejected` as `overloaded`.
    pub open_sends_max: usize,
    /// Messages shown and not processed, at most; one more ends the session (it comes again).
    pub unprocessed_max: usize,
    /// What can be done where the identity ends or is refused.
    pub credential: Credential,
    /// The end that a `welcome` must name, where an identity may turn out to be another one's.
    pub end: Option<EndId>,
}

/// What can be done where the identity ends or is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Credential {
    /// Nothing: the client ends.
    #[default]
    Fixed,
    /// Another token may be had.
    Renewable {
        /// How often a new one is looked for, besides before the present one ends.
        recheck: Option<Duration>,
    },
}

/// A token that was had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The token.
    pub token: Token,
    /// How long it counts from now, where that is known.
    pub life: Option<Duration>,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            servers: 1,
            seed: 0,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            send_deadline: Duration::from_secs(30),
            open_sends_max: 1024,
            unprocessed_max: 1024,
            credential: Credential::Fixed,
            end: None,
        }
    }
}

/// What happens to a terminal. `H` is the caller's handle of a send.
#[derive(Debug)]
pub enum Event<H> {
    /// Time has passed: [`Core::timeout`] is reached.
    Tick,
    /// Connection `n` is open.
    Connected {
        /// The number of [`Action::Connect`].
        n: u64,
        /// The token that it was opened with.
        held: Option<Held>,
    },
    /// There is no token to open connection `n` with.
    NoToken {
        /// The number of [`Action::Connect`].
        n: u64,
    },
    /// What [`Action::Renew`] has found on connection `n`; `None` where it failed.
    Renewed {
        /// The number of the connection.
        n: u64,
        /// The token, which may be the one that the server knows.
        held: Option<Held>,
    },
    /// Connection `n` could not be made.
    ConnectFailed {
        /// The number of [`Action::Connect`].
        n: u64,
        /// The HTTP status by which the server refused it, where it did.
        status: Option<u16>,
    },
    /// The server said something on connection `n`.
    Down {
        /// The number of the connection.
        n: u64,
        /// What it said.
        down: Down,
    },
    /// Connection `n` is gone.
    Closed {
        /// The number of the connection.
        n: u64,
        /// The server's close code, where there was one.
        code: Option<u16>,
    },
    /// The program sends.
    Send {
        /// What it sends.
        send: UpSend,
        /// Comes back in [`Action::Resolve`].
        handle: H,
    },
    /// The program has processed a message that it was shown.
    Processed(Ticket),
    /// The program takes no messages any more; what arrives is not acknowledged.
    Deaf,
    /// The program ends.
    Stop,
}

/// What a [`Core`] wants done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<H> {
    /// Open a connection, with `n` as its number.
    Connect {
        /// Counts the connections of this program, from 1.
        n: u64,
        /// Index of the server.
        server: usize,
    },
    /// Close connection `n`; nothing more of it counts.
    Close {
        /// The number of the connection.
        n: u64,
    },
    /// Ask for a token anew; [`Event::Renewed`] is the answer.
    Renew {
        /// The number of the connection.
        n: u64,
    },
    /// The session is registered.
    Welcomed(Welcome),
    /// The connection is gone and will be made anew.
    Lost,
    /// It is gone because no `welcome` came in time.
    Unwelcome,
    /// Show a message to the program.
    Show {
        /// Names it.
        ticket: Ticket,
        /// The message.
        message: DownMessage,
    },
    /// A send has its result.
    Resolve {
        /// The handle of [`Event::Send`].
        handle: H,
        /// The result.
        outcome: SendOutcome,
    },
    /// Nothing more will come.
    Ended(Ended),
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendOutcome {
    /// What became of it.
    pub outcome: Outcome,
    /// Why, where there is a reason.
    pub reason: Option<Reason>,
    /// Whether sending it again, under the same id, may succeed.
    pub retry: bool,
}

impl SendOutcome {
    /// A result whose `retry` follows from its reason.
    pub fn new(outcome: Outcome, reason: Option<Reason>) -> Self {
        let failed = matches!(outcome, Outcome::Rejected | Outcome::Unknown);
        Self { outcome, reason, retry: failed && reason.is_none_or(Reason::retry) }
    }
}

/// A registered session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The terminal's end.
    pub end: EndId,
    /// The session.
    pub session: SessionId,
    /// The server that has it.
    pub server: ServerId,
    /// What the terminal may do.
    pub limits: Limits,
}

/// Why a client ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The program wanted it.
    #[error("stopped")]
    Stopped,
    /// The server closed with a code that says not to come back.
    #[error("closed by the server: {}", close_text(*.0))]
    Closed(u16),
    /// The server refused the connection with this HTTP status.
    #[error("refused by the server with HTTP status {0}")]
    Refused(u16),
    /// The identity is that of another end than the client's.
    #[error("identity is that of another end")]
    OtherEnd,
}

fn close_text(code: u16) -> String {
    CloseCode::from_code(code).map_or_else(|| format!("code {code}"), |c| c.text().to_owned())
}
