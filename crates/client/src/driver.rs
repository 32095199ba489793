//! The task of a client: makes events of what happens, gives them to the core and does what it
//! asks for. Decides nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use wardlink_wire::terminal::{Down, TerminalError, Up};
use wardlink_wire::{Outcome, Reason};

use crate::client::{Command, Status, Waiting};
use crate::config::{ClientConfig, Identity, Target};
use crate::connection::Connection;
use crate::core::{Action, Core, CoreConfig, Credential, Ended, Event, Held, SendOutcome, Ticket};
use crate::error::{Closed, ConnectError};
use crate::messages::{Message, Messages};
use crate::token::{BearerToken, TokenSourceError};

/// Time for writing the last acknowledgements.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Closing handshakes under way, at most; a connection beyond is dropped without one. Each takes
/// 1 s at most and holds two buffers, of 4 and 136 KiB: 560 KiB in all.
const CLOSING_MAX: usize = 4;

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Opened = Result<(Box<Connection>, Option<Held>), ConnectError>;

/// Starts the task of a client. It ends when the core does.
pub(crate) fn spawn(
    config: ClientConfig,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<Status>,
) -> Messages {
    // One place for each message that is shown and not processed: neither queue is ever full.
    let places = config.unprocessed_max.max(1);
    let (shown, incoming) = mpsc::channel(places);
    let (processed, processed_in) = mpsc::channel(places);
    let messages = Messages::new(incoming, config.ack);
    let (credential, end) = match &config.identity {
        Identity::Development => (Credential::Fixed, None),
        Identity::Bearer(source) => (source.credential(), Some(config.end.clone())),
    };
    if let Some(url) = config.exposed_url() {
        tracing::warn!(url, "token travels unencrypted, use wss://");
    }
    let core = CoreConfig {
        servers: config.urls.len(),
        seed: rand::random(),
        backoff_min: config.backoff_min,
        backoff_max: config.backoff_max,
        send_deadline: config.send_deadline,
        open_sends_max: config.open_sends_max,
        unprocessed_max: places,
        credential,
        end,
    };
    let driver = Driver {
        core: Core::new(core, Duration::ZERO),
        config,
        started: Instant::now(),
        n: 0,
        url: Arc::from(""),
        link: Link::None,
        next: None,
        renewing: None,
        closing: JoinSet::new(),
        inputs: Inputs { commands, processed: processed_in, shown, wanted: true, heard: true },
        processed,
        status,
        ended: None,
        last: Vec::new(),
    };
    tokio::spawn(driver.run());
    messages
}

/// The connection of the moment.
enum Link {
    None,
    Connecting(Pending<Opened>),
    Open(Box<Connection>),
}

/// The connection that is to follow the one of the moment.
struct Next {
    n: u64,
    url: Arc<str>,
    link: Link,
}

/// A token that is asked for while connected, and the connection that it is for.
struct Renewing {
    n: u64,
    token: Pending<Result<BearerToken, TokenSourceError>>,
}

/// Where events come from, besides the connection.
struct Inputs {
    commands: mpsc::Receiver<Command>,
    processed: mpsc::Receiver<Ticket>,
    shown: mpsc::Sender<Message>,
    /// Whether some [`Client`](crate::Client) is left.
    wanted: bool,
    /// Whether the [`Messages`] are left.
    heard: bool,
}

enum Input {
    Connected(u64, Opened),
    Renewed(u64, Result<BearerToken, TokenSourceError>),
    Down(u64, Result<Down, Closed>),
    Command(Option<Command>),
    Processed(Ticket),
    Deaf,
    Tick,
}

struct Driver {
    core: Core<Waiting>,
    config: ClientConfig,
    started: Instant,
    n: u64,
    url: Arc<str>,
    link: Link,
    next: Option<Next>,
    renewing: Option<Renewing>,
    /// The closing handshakes of connections that nothing is awaited from any more.
    closing: JoinSet<()>,
    inputs: Inputs,
    processed: mpsc::Sender<Ticket>,
    status: watch::Sender<Status>,
    ended: Option<Ended>,
    /// Results that the end brought.
    last: Vec<(Waiting, SendOutcome)>,
}

impl Link {
    /// What happens on it next. Cancel safe.
    async fn next_input(&mut self, n: u64, next_write: impl FnMut() -> Option<Up>) -> Input {
        match self {
            Link::None => std::future::pending().await,
            Link::Connecting(connecting) => Input::Connected(n, connecting.await),
            Link::Open(connection) => Input::Down(n, connection.exchange(next_write).await),
        }
    }
}

impl Driver {
    async fn run(mut self) {
        self.act();
        let ended = loop {
            if let Some(ended) = self.ended {
                break ended;
            }
            let input = self.next_input().await;
            self.take(input).await;
        };
        // Each is bounded by itself, and all began at the same time or before.
        while self.closing.join_next().await.is_some() {}
        self.status.send_replace(Status::Ended(ended));
        // Who has a last result finds out why it is the last; nobody may be waiting.
        for (waiting, outcome) in std::mem::take(&mut self.last) {
            let _ = waiting.result.send(outcome);
        }
        // What was asked for meanwhile was never written.
        self.inputs.commands.close();
        while let Some(command) = self.inputs.commands.recv().await {
            if let Command::Send(_, waiting) = command {
                let outcome = SendOutcome::new(Outcome::Rejected, Some(Reason::Unavailable));
                let _ = waiting.result.send(outcome);
            }
        }
    }

    async fn next_input(&mut self) -> Input {
        let due = self.core.timeout().map(|due| self.started + due);
        let Self { core, n, link, next, renewing, inputs, .. } = self;
        let connection = link.next_input(*n, || core.next_write());
        let next = async {
            match next {
                Some(Next { n, link, .. }) => link.next_input(*n, || None).await,
                None => std::future::pending().await,
            }
        };
        let renewed = async {
            match renewing {
                Some(Renewing { n, token }) => Input::Renewed(*n, token.await),
                None => std::future::pending().await,
            }
        };
        let tick = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            input = connection => input,
            input = next => input,
            input = renewed => input,
            command = inputs.commands.recv(), if inputs.wanted => Input::Command(command),
            // It cannot end: this task holds a sender.
            Some(ticket) = inputs.processed.recv() => Input::Processed(ticket),
            () = inputs.shown.closed(), if inputs.heard => Input::Deaf,
            () = tick => Input::Tick,
        }
    }

    async fn take(&mut self, input: Input) {
        let event = match input {
            Input::Connected(n, Ok((connection, held))) => {
                self.put(n, Link::Open(connection));
                Event::Connected { n, held }
            }
            Input::Connected(n, Err(error)) => {
                self.problem(n, &error);
                self.put(n, Link::None);
                match error {
                    ConnectError::Token(_) => Event::NoToken { n },
                    error => Event::ConnectFailed { n, status: error.status() },
                }
            }
            Input::Renewed(n, token) => {
                self.renewing = None;
                if let Err(error) = &token {
                    tracing::warn!(error = chain(error), "token could not be renewed");
                }
                Event::Renewed { n, held: token.ok().map(held) }
            }
            Input::Down(n, Ok(down)) => {
                if let Down::Error { code: TerminalError::BadToken, text, .. } = &down
                    && !matches!(*self.status.borrow(), Status::Connected { .. })
                {
                    // A close code follows, of which the program hears.
                    tracing::debug!(text, "server does not let this program in");
                } else if let Down::Error { code, text, id } = &down {
                    tracing::warn!(%code, text, ?id, "server could not use a frame");
                }
                Event::Down { n, down }
            }
            Input::Down(n, Err(closed)) => {
                self.problem(n, &closed);
                self.put(n, Link::None);
                Event::Closed { n, code: closed.code() }
            }
            Input::Command(Some(Command::Send(send, waiting))) => {
                Event::Send { send, handle: waiting }
            }
            Input::Command(Some(Command::Close)) => return self.stop().await,
            Input::Command(None) => {
                self.inputs.wanted = false;
                return self.stop_if_unwanted().await;
            }
            Input::Processed(ticket) => Event::Processed(ticket),
            Input::Deaf => {
                self.inputs.heard = false;
                self.take_processed();
                self.handle(Event::Deaf);
                return self.stop_if_unwanted().await;
            }
            Input::Tick => Event::Tick,
        };
        self.handle(event);
    }

    fn handle(&mut self, event: Event<Waiting>) {
        self.core.handle(self.started.elapsed(), event);
        self.act();
    }

    async fn stop_if_unwanted(&mut self) {
        if !self.inputs.wanted && !self.inputs.heard {
            self.stop().await;
        }
    }

    /// Writes what is due, then tells the core.
    async fn stop(&mut self) {
        self.take_processed();
        if let Link::Open(connection) = &mut self.link {
            let core = &mut self.core;
            let last_words = async {
                while let Some(up) = core.next_write() {
                    connection.feed(&up).await?;
                }
                connection.flush().await
            };
            if !matches!(timeout(LAST_WORDS, last_words).await, Ok(Ok(()))) {
                tracing::debug!("not all acknowledgements could be written before closing");
            }
        }
        self.handle(Event::Stop);
    }

    fn take_processed(&mut self) {
        while let Ok(ticket) = self.inputs.processed.try_recv() {
            self.handle(Event::Processed(ticket));
        }
    }

    fn problem(&mut self, n: u64, error: &(dyn std::error::Error + 'static)) {
        let problem = chain(error);
        tracing::debug!(n, problem, "connection ended");
        // While the one of the moment stands, or another follows, nothing is amiss.
        if n == self.n && self.next.is_none() {
            self.status.send_replace(Status::Connecting { problem: Some(problem.into()) });
        }
    }

    /// What has become of connection `n`. Where the one of the moment is gone, the next is it.
    fn put(&mut self, n: u64, link: Link) {
        if n != self.n {
            self.next.take_if(|next| next.n == n && matches!(link, Link::None));
            if let Some(next) = self.next.as_mut().filter(|next| next.n == n) {
                next.link = link;
            }
            return;
        }
        self.link = link;
        if matches!(self.link, Link::None)
            && let Some(Next { n, url, link }) = self.next.take()
        {
            (self.n, self.url, self.link) = (n, url, link);
        }
    }

    fn link_of(&mut self, n: u64) -> Option<&mut Link> {
        if n == self.n {
            return Some(&mut self.link);
        }
        self.next.as_mut().filter(|next| next.n == n).map(|next| &mut next.link)
    }

    /// Does what the core asks for; nothing is written meanwhile, so that what the core gives for
    /// its present session goes on that session's connection.
    fn act(&mut self) {
        let mut resolved = Vec::new();
        while let Some(action) = self.core.next_action() {
            match action {
                Action::Connect { n, server } => self.connect(n, server),
                Action::Close { n } => {
                    let link = self.link_of(n).map(|link| std::mem::replace(link, Link::None));
                    self.put(n, Link::None);
                    if let Some(Link::Open(connection)) = link {
                        self.close(*connection);
                    }
                }
                Action::Renew { n } => self.renew(n),
                Action::Welcomed(welcome) => {
                    let url = self.url.clone();
                    self.status.send_replace(Status::Connected { url, welcome });
                }
                Action::Lost => self.lost(),
                Action::Unwelcome => {
                    let problem = Some("no welcome from the server in time".into());
                    self.status.send_replace(Status::Connecting { problem });
                }
                Action::Show { ticket, message } => {
                    let message = Message::new(message, ticket, self.processed.clone());
                    // Fails only where the receiver is gone: then it stays unacknowledged.
                    let _ = self.inputs.shown.try_send(message);
                }
                Action::Resolve { handle, outcome } => resolved.push((handle, outcome)),
                Action::Ended(ended) => self.ended = Some(ended),
            }
        }
        if self.ended.is_some() {
            self.last.extend(resolved);
            return;
        }
        for (waiting, outcome) in resolved {
            // Nobody may be waiting.
            let _ = waiting.result.send(outcome);
        }
    }

    fn close(&mut self, connection: Connection) {
        while self.closing.try_join_next().is_some() {}
        if self.closing.len() < CLOSING_MAX {
            self.closing.spawn(connection.close());
        } else {
            tracing::debug!("too many closing handshakes, a connection is dropped");
        }
    }

    fn connect(&mut self, n: u64, server: usize) {
        let url = self.config.urls.get(server).map_or("", String::as_str);
        let target = Target {
            url: url.to_owned(),
            end: self.config.end.clone(),
            identity: self.config.identity.clone(),
            tls: self.config.tls.clone(),
            client: Some((self.config.client.clone(), n)),
            acks: true,
        };
        let connecting = Link::Connecting(Box::pin(async move {
            let (connection, token) = Connection::open(&target).await?;
            Ok((Box::new(connection), token.map(held)))
        }));
        let url = Arc::from(url);
        if matches!(self.link, Link::None) {
            (self.n, self.url, self.link) = (n, url, connecting);
        } else {
            self.next = Some(Next { n, url, link: connecting });
        }
    }

    fn renew(&mut self, n: u64) {
        if let Identity::Bearer(source) = &self.config.identity {
            let source = source.clone();
            // One that is still asked for an earlier connection is dropped.
            self.renewing =
                Some(Renewing { n, token: Box::pin(async move { source.fetch().await }) });
        }
    }

    fn lost(&mut self) {
        self.status.send_if_modified(|status| {
            let connected = matches!(status, Status::Connected { .. });
            if connected {
                *status = Status::Connecting { problem: None };
            }
            connected
        });
    }
}

fn held(BearerToken { token, life }: BearerToken) -> Held {
    Held { token, life }
}

/// An error and its causes in one line. A cause that the text holds already is not repeated.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
