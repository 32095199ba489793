//! The admin port through real sockets.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::stop::{self, Trigger};

struct Port {
    address: SocketAddr,
    readiness: Readiness,
    dropped: IntCounter,
    /// The process's stop signal.
    process: Trigger,
    /// The admin port's own.
    last: Trigger,
    serving: JoinHandle<()>,
}

async fn open(routes: Routes) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let (process, stopping) = stop::channel();
    let (last, stop) = stop::channel();
    let readiness = Readiness::new(stopping, &["store", "view"]);
    let dropped = IntCounter::new("dropped", "Dropped.").expect("a name");
    let serving = serve(listener, routes, readiness.clone(), dropped.clone(), stop);
    let serving = tokio::spawn(serving);
    Port { dropped, address, readiness, process, last, serving }
}

impl Port {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connect")
    }

    async fn request(&self, line: &str) -> String {
        let mut stream = self.connect().await;
        let request = format!("{line} HTTP/1.1\r\nhost: test\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        all(stream).await
    }
}

/// A route `/hold` that says when it is entered and answers when it is released.
fn holding() -> (Routes, Arc<Notify>, Arc<Notify>) {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, wait) = (Arc::clone(&entered), Arc::clone(&release));
    let routes = Routes::new().get_async("/hold", move |_| {
        let (enter, wait) = (Arc::clone(&enter), Arc::clone(&wait));
        async move {
            enter.notify_one();
            wait.notified().await;
            Answer::ok(TEXT, "held\n")
        }
    });
    (routes, entered, release)
}

/// Everything until the server closes.
async fn all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("read");
    text
}

#[tokio::test]
async fn livez_answers_whatever_the_conditions() {
    let port = open(Routes::new()).await;
    let answer = port.request("GET /livez").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn readyz_names_what_is_missing() {
    let port = open(Routes::new()).await;
    let answer = port.request("GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nnot ready: store\nnot ready: view\n"), "{answer}");
    port.readiness.set("store", true);
    port.readiness.set("view", true);
    assert!(port.request("GET /readyz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_draining_process_is_alive_and_not_ready() {
    let port = open(Routes::new()).await;
    port.readiness.set("store", true);
    port.readiness.set("view", true);
    port.process.stop();
    assert!(port.request("GET /readyz").await.ends_with("not ready: stopping\n"));
    assert!(port.request("GET /livez").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn mounted_routes_get_their_query() {
    let routes = Routes::new()
        .get("/view", |query| Answer::ok("application/json", format!("[\"{query}\"]")))
        .get_async("/slow", |_| async {
            tokio::task::yield_now().await;
            Answer::text(StatusCode::IM_A_TEAPOT, "short and stout\n")
        });
    let port = open(routes).await;
    let view = port.request("GET /view?end=H1-A2-u7").await;
    assert!(view.contains("content-type: application/json\r\n"), "{view}");
    assert!(view.ends_with("[\"end=H1-A2-u7\"]"), "{view}");
    assert!(port.request("GET /view").await.ends_with("[\"\"]"));
    assert!(port.request("GET /slow").await.starts_with("HTTP/1.1 418 "));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_words() {
    let port = open(Routes::new().get("/view", |_| Answer::ok(TEXT, ""))).await;
    let missing = port.request("GET /metrics").await;
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
    assert!(missing.ends_with("there is /livez /readyz /view\n"), "{missing}");
    let post = port.request("POST /view").await;
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET\r\n"), "{post}");
}

#[tokio::test]
async fn a_panicking_route_leaves_the_port_up() {
    let port = open(Routes::new().get("/view", |_| panic!("broken"))).await;
    assert_eq!(port.request("GET /view").await, "");
    assert!(port.request("GET /livez").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed() {
    let port = open(Routes::new()).await;
    let begun = Instant::now();
    let mut silent = port.connect().await;
    silent.write_all(b"GET /livez HT").await.expect("write");
    all(silent).await;
    assert!(begun.elapsed() < CONNECTION_TIMEOUT, "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_route_that_never_answers_is_given_up() {
    let routes = Routes::new().get_async("/view", |_| {
        // Only now, so that the clock cannot jump while the request is on its way.
        tokio::time::pause();
        std::future::pending()
    });
    let port = open(routes).await;
    let begun = Instant::now();
    assert_eq!(port.request("GET /view").await, "");
    let took = begun.elapsed();
    assert!(took >= CONNECTION_TIMEOUT && took < CONNECTION_TIMEOUT * 2, "took {took:?}");
}

#[tokio::test]
async fn who_holds_connections_open_keeps_no_probe_out() {
    let port = open(Routes::new()).await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        idle.push(port.connect().await);
    }
    assert!(port.request("GET /livez").await.ends_with("ok\n"));
    // The oldest made room, and nobody else.
    assert_eq!(port.dropped.get(), 1);
    let oldest = idle.remove(0);
    assert_eq!(all(oldest).await, "");
    let mut youngest = idle.pop().expect("a connection");
    youngest.write_all(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").await.expect("write");
    assert!(all(youngest).await.ends_with("ok\n"));
}

#[tokio::test]
async fn a_begun_answer_ends_before_the_port_closes() {
    let (routes, entered, release) = holding();
    let port = Arc::new(open(routes).await);
    let asking = tokio::spawn({
        let port = Arc::clone(&port);
        async move { port.request("GET /hold").await }
    });
    entered.notified().await;
    port.last.stop();
    release.notify_one();
    assert!(asking.await.expect("answer").ends_with("held\n"));
    let port = Arc::into_inner(port).expect("the only one");
    port.serving.await.expect("serving ends");
    assert!(TcpStream::connect(port.address).await.is_err());
}

#[tokio::test]
async fn a_scrape_shows_what_the_engine_publishes_when_it_is_asked() {
    let registry = crate::metrics::registry("test", "1.2.3");
    let answers = crate::metrics::Section::new(&registry, "wardlink_test").gauge("answer", "Help.");
    let publish = crate::metrics::Publish::default();
    let port = open(crate::metrics::mount(Routes::new(), registry, publish.clone())).await;
    let engine = tokio::spawn(async move {
        publish.asked().await;
        answers.set(42);
        publish.done();
    });
    let shown = port.request("GET /metrics").await;
    engine.await.expect("the engine published");
    assert!(shown.contains("content-type: text/plain; version=0.0.4\r\n"), "{shown}");
    for line in [
        "wardlink_test_answer 42\n",
        "# TYPE wardlink_test_answer gauge\n",
        "wardlink_build_info{program=\"test\",version=\"1.2.3\"} 1\n",
    ] {
        assert!(shown.contains(line), "{line:?} is not in {shown}");
    }
    assert!(shown.contains("process_open_fds "), "{shown}");
    // Nobody publishes any more: the last values are shown.
    assert!(port.request("GET /metrics").await.contains("wardlink_test_answer 42\n"));
}
