//! The program as a person calls it, against servers in memory: what it prints and how it ends.

mod support;

use std::process::{Output, Stdio};
use std::time::Duration;

use support::{Network, REFUSED, SILENT};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

fn wardlink(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardlink"));
    command.args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn run(arguments: &[&str]) -> Output {
    soon(wardlink(arguments).spawn().expect("spawn").wait_with_output()).await.expect("output")
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(20), future).await.expect("it did not come in time")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Starts a listener and waits until it is connected.
async fn listener(url: &str, end: &str, arguments: &[&str]) -> Child {
    let all = [&["listen", end, "--server", url], arguments].concat();
    let mut child = wardlink(&all).spawn().expect("spawn");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let line = soon(lines.next_line()).await.expect("stderr").expect("line");
    assert!(line.starts_with(&format!("{end} is connected to {url}")), "{line}");
    child
}

#[tokio::test]
async fn what_is_sent_is_listened_to() {
    let network = Network::start().await;
    let [one, two] = &network.urls;
    let arguments = ["--count", "2", "--json"];
    let listening = listener(two, "H1-W2-tablet", &arguments).await;
    let send = ["send", "--server", one, "--from", "H1-W1-phone", "H1-W2-tablet"];
    let sent = run(&[&send[..], &["{\"bed\": 7}", "Bed 7", "--wait"]].concat()).await;
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    let lines: Vec<_> = text(&sent.stdout).lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("delivered  H1-W2-tablet  "), "{}", lines[0]);
    let heard = soon(listening.wait_with_output()).await.expect("output");
    assert_eq!(heard.status.code(), Some(0));
    let lines: Vec<_> = text(&heard.stdout).lines().collect();
    assert!(lines[0].contains(r#""from":"H1-W1-phone","body":{"bed": 7},"#), "{}", lines[0]);
    assert!(lines[1].contains(r#""body":"Bed 7","#), "{}", lines[1]);
}

#[tokio::test]
async fn the_exit_code_follows_from_the_worst_result() {
    let network = Network::start().await;
    let server = network.urls[0].as_str();
    let send = |to: &'static str, more: &'static [&'static str]| {
        let first = ["send", "--server", server, "--from", "H1-W1-phone", to, "hi"];
        let all = [&first[..], more].concat();
        async move { run(&all).await }
    };
    let quiet = send("H1-W2-away", &[]).await;
    assert_eq!((quiet.status.code(), text(&quiet.stdout)), (Some(0), ""));
    let refused = send(REFUSED, &[]).await;
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), ""));
    assert!(text(&refused.stderr).starts_with("rejected (mailbox full)  "));
    let silent = send(SILENT, &["--timeout", "200ms", "--json"]).await;
    assert_eq!(silent.status.code(), Some(2));
    let line = text(&silent.stdout);
    assert!(line.ends_with("\"outcome\":\"unknown\",\"reason\":\"deadline\",\"retry\":true}\n"));
}

#[tokio::test]
async fn without_a_server_the_problem_is_told_and_nothing_is_sent() {
    let url = "ws://127.0.0.1:1/ws";
    let sent = ["send", "--server", url, "--from", "H1-W1-a", "H1-W1-b", "hi"];
    let output = run(&[&sent[..], &["--timeout", "900ms"]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("not connected: cannot reach 127.0.0.1:1: Connection refused"));
    assert!(stderr.contains("rejected (deadline)"), "{stderr}");
}

#[tokio::test]
async fn lines_of_stdin_are_sent_in_order() {
    let network = Network::start().await;
    let [one, two] = &network.urls;
    let listening = listener(two, "H1-W2-tablet", &["--count", "3"]).await;
    let arguments = ["send", "--server", one, "--from", "H1-W1-gate", "H1-W2-tablet", "-"];
    let mut sending = wardlink(&arguments).spawn().expect("spawn");
    let mut stdin = sending.stdin.take().expect("stdin");
    soon(stdin.write_all(b"one\ntwo\nthree\n")).await.expect("written");
    drop(stdin);
    let sent = soon(sending.wait_with_output()).await.expect("output");
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    let heard = soon(listening.wait_with_output()).await.expect("output");
    let bodies: Vec<_> = text(&heard.stdout)
        .lines()
        .map(|line| line.rsplit("  ").next().unwrap_or_default())
        .collect();
    assert_eq!(bodies, ["one", "two", "three"]);
    assert!(!text(&heard.stdout).contains('\u{1b}'), "no colours without a terminal");
}

#[tokio::test]
async fn a_sender_that_is_replaced_while_it_reads_stdin_ends() {
    let network = Network::start().await;
    let server = network.urls[0].as_str();
    let arguments =
        ["send", "--server", server, "--from", "H1-W1-gate", "H1-W2-away", "-", "--json"];
    let mut sending = wardlink(&arguments).spawn().expect("spawn");
    let mut stdin = sending.stdin.take().expect("stdin");
    soon(stdin.write_all(b"one\n")).await.expect("written");
    let mut lines = BufReader::new(sending.stdout.take().expect("stdout")).lines();
    soon(lines.next_line()).await.expect("stdout").expect("a result");
    let replacing = listener(server, "H1-W1-gate", &[]).await;
    let output = soon(sending.wait_with_output()).await.expect("output");
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert_eq!(stderr, "error: closed by the server: replaced by a newer session\n");
    drop((stdin, replacing));
}

#[tokio::test]
async fn ctrl_c_ends_a_listener_cleanly() {
    let network = Network::start().await;
    let listening = listener(&network.urls[0], "H1-W2-tablet", &[]).await;
    let id = listening.id().expect("running").to_string();
    let killed = Command::new("kill").args(["-s", "INT", &id]).status();
    assert!(soon(killed).await.expect("kill").success());
    let output = soon(listening.wait_with_output()).await.expect("output");
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn a_wrong_setting_ends_with_64_and_its_name() {
    for (arguments, named) in [
        (&["listen", "H1-W2"][..], "<END>"),
        (&["dev", "--listen", "0.0.0.0:1,127.0.0.1:2"], "--listen"),
        (&["send", "--from", "H1-A-a", "H1-A-b", "1", "2", "--id", "x"], "--id"),
    ] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(text(&output.stderr).contains(named), "{}", text(&output.stderr));
    }
}
