//! A BS of the test's own: it speaks the link protocol in its JSON encoding and does only what
//! the story tells it, at the time that the story wants, so that a register can come late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::{WebSocketStream, client_async};
use uuid::Uuid;
use wardlink_wire::link::{
    Hello, Known, LINK_SUBPROTOCOL, LINK_VERSION, Register, Registered, ToBs, ToMs, Unregister,
    ViewItem, json,
};
use wardlink_wire::{
    ClientId, EndId, Epoch, MsId, ServerId, SessionId, Stamp, StartId, ViewNumber,
};

use super::Cluster;
use super::wait::{PATIENCE, within};

/// As BSs do it: an MS closes a link that is silent for 5 s.
const PING: Duration = Duration::from_millis(500);
/// Items that wait for a link or for the story; a story causes a handful.
const QUEUE: usize = 1_024;

/// Links to all MSs that ran when it was made. Pings, and says what it has seen of the view;
/// all else is the story's. Dropping it breaks the links.
#[derive(Debug)]
pub struct LinkPeer {
    server: ServerId,
    links: BTreeMap<MsId, mpsc::Sender<ToMs>>,
    view: watch::Receiver<Option<Arc<ViewItem>>>,
    items: mpsc::Receiver<ToBs>,
    // Aborts its tasks when it is dropped.
    _tasks: JoinSet<()>,
}

impl LinkPeer {
    /// Opens a link to each running MS, and waits for a welcome and a view on each.
    ///
    /// # Errors
    /// A link that cannot be opened.
    pub async fn connect(cluster: &Cluster) -> anyhow::Result<Self> {
        let (view_in, view) = watch::channel(None);
        let (items_in, items) = mpsc::channel(QUEUE);
        let server = ServerId(Uuid::new_v4());
        let hello = Hello {
            server_id: server,
            start: StartId(Uuid::new_v4()),
            link: 0,
            version: LINK_VERSION,
            view: ViewNumber(0),
            misses: Vec::new(),
        };
        let (mut links, mut tasks) = (BTreeMap::new(), JoinSet::new());
        for ms in cluster.mss().iter().filter(|ms| ms.started()) {
            let hello = Hello { link: links.len() as u64 + 1, ..hello.clone() };
            let (out, out_waiting) = mpsc::channel(QUEUE);
            let mut link = Link {
                socket: open(&ms.link_url(), ms.port()).await?,
                out: out_waiting,
                view: view_in.clone(),
                items: items_in.clone(),
            };
            links.insert(within(PATIENCE, "a welcome", link.greet(hello)).await??, out);
            tasks.spawn(async move {
                // A link that ends is what a story may want; its items stay away.
                let _ = link.run().await;
            });
        }
        Ok(Self { server, links, view, items, _tasks: tasks })
    }

    /// Its server id.
    pub fn server(&self) -> ServerId {
        self.server
    }

    /// Registers a session of an end with its owner, with the epoch that the owner has now.
    ///
    /// # Errors
    /// No owner that this peer is linked to, within [`PATIENCE`].
    pub async fn register(&self, end: &EndId, register: Registration) -> anyhow::Result<()> {
        let (epoch, owner) = self.owner(end).await?;
        let Registration { session, client, stamp } = register;
        let (client, n) = client.map_or((None, 0), |(client, n)| (Some(client), n));
        let item = Register { epoch, end: end.clone(), session, stamp, client, n };
        owner.send(ToMs::Register(item)).await.context("the link has ended")
    }

    /// Unregisters a session of an end, likewise.
    ///
    /// # Errors
    /// As [`LinkPeer::register`].
    pub async fn unregister(&self, end: &EndId, session: SessionId) -> anyhow::Result<()> {
        let (epoch, owner) = self.owner(end).await?;
        let item = Unregister { epoch, end: end.clone(), session };
        owner.send(ToMs::Unregister(item)).await.context("the link has ended")
    }

    async fn owner(&self, end: &EndId) -> anyhow::Result<(Epoch, mpsc::Sender<ToMs>)> {
        let find = |view: &ViewItem| {
            let (owner, epoch) = view.partitions[end.partition().index()];
            let owner = view.members.get(usize::try_from(owner).ok()?)?;
            let link = self.links.get(owner).filter(|link| !link.is_closed())?;
            Some((epoch, link.clone()))
        };
        let mut view = self.view.clone();
        let known = view.wait_for(|view| view.as_deref().is_some_and(|view| find(view).is_some()));
        let view = within(PATIENCE, "a linked owner", known).await??;
        view.as_deref().and_then(find).context("no owner")
    }

    /// The next answer to a register: whether the session has the route, and the answer.
    ///
    /// # Errors
    /// None in time.
    pub async fn answer(&mut self) -> anyhow::Result<(bool, Registered)> {
        match self.next().await? {
            ToBs::Registered(it) => Ok((true, it)),
            ToBs::Superseded(it) => Ok((false, it)),
            other => bail!("in place of an answer came {other:?}"),
        }
    }

    /// The next item that is neither a welcome, nor a view, nor the members' counts.
    ///
    /// # Errors
    /// None in time, or all links have ended.
    pub async fn next(&mut self) -> anyhow::Result<ToBs> {
        within(PATIENCE, "an item", self.items.recv()).await?.context("all links have ended")
    }
}

/// What a register says beside the end.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The session.
    pub session: SessionId,
    /// The terminal program, and the number of its connection.
    pub client: Option<(ClientId, u64)>,
    /// The stamp that an owner gave to this session before.
    pub stamp: Option<Stamp>,
}

impl Registration {
    /// A new session of a program without a name.
    pub fn new() -> Self {
        Self { session: SessionId(Uuid::new_v4()), client: None, stamp: None }
    }

    /// A new session that is connection `n` of a program.
    pub fn of(client: ClientId, n: u64) -> Self {
        Self { client: Some((client, n)), ..Self::new() }
    }
}

impl Default for Registration {
    fn default() -> Self {
        Self::new()
    }
}

struct Link {
    socket: WebSocketStream<TcpStream>,
    out: mpsc::Receiver<ToMs>,
    view: watch::Sender<Option<Arc<ViewItem>>>,
    items: mpsc::Sender<ToBs>,
}

async fn open(url: &str, port: u16) -> anyhow::Result<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = ClientRequestBuilder::new(url.parse()?).with_sub_protocol(LINK_SUBPROTOCOL);
    Ok(client_async(request, stream).await?.0)
}

impl Link {
    /// The id of the MS, once it has sent its first view.
    async fn greet(&mut self, hello: Hello) -> anyhow::Result<MsId> {
        self.say(ToMs::Hello(hello)).await?;
        let mut welcomed = None;
        loop {
            let frame = self.socket.next().await.context("the link has ended")??;
            for item in self.received(frame).await? {
                match item {
                    ToBs::Welcome(welcome) => welcomed = Some(welcome.ms_id),
                    ToBs::View(_) => return welcomed.context("a view before the welcome"),
                    _ => {}
                }
            }
        }
    }

    async fn run(mut self) -> anyhow::Result<()> {
        let mut ping = interval(PING);
        loop {
            tokio::select! {
                frame = self.socket.next() => {
                    let frame = frame.context("the link has ended")??;
                    for item in self.received(frame).await? {
                        if !matches!(item, ToBs::Welcome(_) | ToBs::View(_) | ToBs::Counts(_)) {
                            self.items.send(item).await?;
                        }
                    }
                }
                item = self.out.recv() => match item {
                    Some(item) => self.say(item).await?,
                    None => return Ok(()),
                },
                _ = ping.tick() => self.socket.send(Frame::Ping(Default::default())).await?,
            }
        }
    }

    /// The items of a frame. A view is noted, and answered as one that nothing follows from.
    async fn received(&mut self, frame: Frame) -> anyhow::Result<Vec<ToBs>> {
        let Frame::Text(text) = frame else { return Ok(Vec::new()) };
        let items = json::decode_to_bs(&text)?;
        let items: Vec<ToBs> = items.into_iter().filter_map(Result::ok).collect();
        for item in &items {
            if let ToBs::View(view) = item {
                self.view.send_if_modified(|known| {
                    let newer = known.as_ref().is_none_or(|known| known.number < view.number);
                    if newer {
                        *known = Some(Arc::new(view.clone()));
                    }
                    newer
                });
                let (view, synced) = (Some(view.number), Some(view.number));
                self.say(ToMs::Known(Known { view, synced, ..Known::default() })).await?;
            }
        }
        Ok(items)
    }

    async fn say(&mut self, item: ToMs) -> anyhow::Result<()> {
        Ok(self.socket.send(Frame::text(json::encode_to_ms(&[item]))).await?)
    }
}
