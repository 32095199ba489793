//! Why the database could not be used, as a state and in words that hold no secret and no data.

use ::mongodb::error::{Error, ErrorKind};

use crate::model::StorageState;

/// Codes by which a server refuses the user, or what it wants; the last is Atlas's.
const REFUSED: [i32; 3] = [13, 18, 8_000];
/// Codes of an index that exists with other options or another name.
const CONFLICT: [i32; 2] = [85, 86];
/// Codes by which a node says that it is no primary or is going.
const NOT_NOW: [i32; 7] = [91, 189, 10_107, 11_600, 11_602, 13_435, 13_436];

/// Why the database could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) state: StorageState,
    pub(super) text: String,
    /// The server's code, where it answered with one.
    pub(super) code: Option<i32>,
}

impl Trouble {
    pub(super) fn new(state: StorageState, text: &str) -> Self {
        Self { state, text: text.to_owned(), code: None }
    }

    /// A failed call: `what` was tried.
    pub(super) fn of(error: &Error, what: &str) -> Self {
        let (state, code) = match &*error.kind {
            ErrorKind::Command(command) => (of_code(command.code), Some(command.code)),
            ErrorKind::Authentication { .. } => (StorageState::NotAuthorized, None),
            ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. } => {
                (StorageState::InvalidUri, None)
            }
            ErrorKind::IncompatibleServer { .. } => (StorageState::NotReplicaSet, None),
            _ => (StorageState::Unreachable, None),
        };
        let text = match state {
            StorageState::Unreachable => {
                format!("the database does not answer: {}", describe(error))
            }
            StorageState::NotAuthorized => {
                format!("the database refuses the user: {what}: {}", describe(error))
            }
            _ => format!("{what}: {}", describe(error)),
        };
        Self { state, text, code }
    }
}

fn of_code(code: i32) -> StorageState {
    if REFUSED.contains(&code) {
        StorageState::NotAuthorized
    } else if CONFLICT.contains(&code) {
        StorageState::IndexConflict
    } else if NOT_NOW.contains(&code) {
        StorageState::Unreachable
    } else {
        StorageState::IndexFailed
    }
}

/// The error in a few words, without texts of the server: they may hold data.
fn describe(error: &Error) -> String {
    match &*error.kind {
        ErrorKind::Command(command) => format!("{} ({})", command.code_name, command.code),
        ErrorKind::Authentication { .. } => "authentication failed".to_owned(),
        ErrorKind::ServerSelection { message, .. } => no_server(message),
        kind => kind.to_string(),
    }
}

/// The driver lists all servers with all that it knows of each: the first server's trouble is
/// enough.
fn no_server(message: &str) -> String {
    let (_, topology) = message.split_once(" Topology: ").unwrap_or((message, ""));
    let cause = topology.split_once("Error: Kind: ").map(|(_, rest)| rest);
    let cause = cause.and_then(|rest| rest.split(", labels: ").next());
    cause.unwrap_or("no primary is known").to_owned()
}

/// `text` without the user part of `uri`, in case the driver repeated it.
pub(super) fn without_secret(text: &str, uri: &str) -> String {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    // An unescaped `@` or `/` in the password is a likely reason for being here: take all up to
    // the last `@`.
    let Some((user, _)) = rest.rsplit_once('@') else {
        // What should be the user may stand where the driver looks for the host.
        let hosts = rest.split(['/', '?']).next().unwrap_or_default().split(',');
        let doubtful = hosts.into_iter().any(|host| {
            let port = host.rsplit_once(':').map_or("", |(_, port)| port);
            host.contains('%') || !port.bytes().all(|byte| byte.is_ascii_digit())
        });
        let text = if doubtful { "the connection string can not be used" } else { text };
        return text.to_owned();
    };
    let mut text = text.replace(user, "***");
    let password = user.split_once(':').map_or("", |(_, password)| password);
    let pieces = password.split(['@', '/', ':', '%', '?', '#']).filter(|piece| piece.len() > 2);
    for secret in std::iter::once(password).filter(|p| !p.is_empty()).chain(pieces) {
        text = text.replace(secret, "***");
    }
    text
}
