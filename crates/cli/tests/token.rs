//! Keys and tokens as a person makes and uses them.

mod support;

use std::fs;
use std::process::Output;
use std::time::{Duration, SystemTime};

use support::{Network, SECRET};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;
use wardlink_identity::{Identity, Keys, Rules, TokenError, Verifier};

async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardlink"));
    let output = command.args(arguments).kill_on_drop(true).output();
    timeout(Duration::from_secs(20), output).await.expect("it did not end").expect("output")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn path(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).to_str().expect("path").to_owned()
}

/// What a server with this key file and these rules says of a token, so many seconds from now.
fn verified(key: &str, rules: Rules, token: &str, later: u64) -> Result<Identity, TokenError> {
    let keys = Keys::from_file(&fs::read(key).expect("key")).expect("keys");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("time").as_secs();
    Verifier::new(keys, rules).verify(token, now + later)
}

#[tokio::test]
async fn a_new_key_is_this_users_alone_and_never_overwritten() {
    let dir = TempDir::new().expect("folder");
    let key = path(&dir, "ward.key");
    let made = run(&["token", "--new-key", &key]).await;
    assert_eq!((made.status.code(), text(&made.stdout)), (Some(0), ""));
    assert!(text(&made.stderr).contains("ward.key is written."), "{}", text(&made.stderr));
    let first = fs::read(&key).expect("key");
    #[cfg(unix)]
    {
        let mode = fs::metadata(&key).expect("key").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    }
    let again = run(&["token", "--new-key", &key]).await;
    assert_eq!(again.status.code(), Some(64));
    assert!(text(&again.stderr).contains("a key is never overwritten"));
    assert_eq!(fs::read(&key).expect("key"), first);
    let other = path(&dir, "other.key");
    run(&["token", "--new-key", &other]).await;
    assert_ne!(fs::read(&other).expect("key"), first);
    let nowhere = path(&dir, "none/ward.key");
    assert_eq!(run(&["token", "--new-key", &nowhere]).await.status.code(), Some(1));
}

#[tokio::test]
async fn stdout_is_the_token_and_nothing_else() {
    let dir = TempDir::new().expect("folder");
    let key = path(&dir, "ward.key");
    run(&["token", "--new-key", &key]).await;
    let made = run(&["token", "--key", &key, "H1-W2-tablet"]).await;
    assert_eq!((made.status.code(), text(&made.stderr)), (Some(0), ""));
    let token = text(&made.stdout).strip_suffix('\n').expect("line");
    let identity = verified(&key, Rules::default(), token, 0).expect("identity");
    assert_eq!(identity.end.as_str(), "H1-W2-tablet");
    assert!(verified(&key, Rules::default(), token, 3_500).is_ok());
    let late = verified(&key, Rules::default(), token, 3_700);
    assert_eq!(late, Err(TokenError::Expired));
}

#[tokio::test]
async fn a_token_says_what_it_is_asked_to_say() {
    let dir = TempDir::new().expect("folder");
    let key = path(&dir, "keys.json");
    let set = r#"{"keys":[{"kty":"oct","kid":"old","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},
        {"kty":"oct","kid":"new","k":"HxECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}]}"#;
    fs::write(&key, set).expect("written");
    let made = run(&[
        "token",
        "--key",
        &key,
        "--kid",
        "new",
        "--alg",
        "HS256",
        "--issuer",
        "ward",
        "--audience",
        "wardlink,other",
        "--ttl",
        "60s",
        "--send-for",
        "H1-W2-*,H2-*",
        "H1-W2-gate",
    ])
    .await;
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let rules = Rules {
        issuer: Some("ward".into()),
        audiences: vec!["wardlink".into()],
        leeway: Duration::ZERO,
        ..Rules::default()
    };
    let token = text(&made.stdout).trim_end();
    let identity = verified(&key, rules.clone(), token, 0).expect("identity");
    for (end, may) in [("H1-W2-x", true), ("H2-W9-x", true), ("H1-W3-x", false)] {
        assert_eq!(identity.may_send_as(&end.parse().expect("end")), may, "{end}");
    }
    assert_eq!(verified(&key, rules, token, 61), Err(TokenError::Expired));
}

#[tokio::test]
async fn a_key_that_cannot_sign_ends_with_64_and_says_what_is_wrong() {
    let dir = TempDir::new().expect("folder");
    let write = |name: &str, content: &str| {
        let path = path(&dir, name);
        fs::write(&path, content).expect("written");
        path
    };
    let good = write("good", SECRET);
    let end = "H1-W1-a";
    for (arguments, wanted) in [
        (vec!["--key", "none", end], "--key: none cannot be read: No such file"),
        (vec!["--key", &write("short", "secret\n"), end], "a secret must have at least 32 bytes"),
        (
            vec!["--key", &write("public", "-----BEGIN PUBLIC KEY-----\nMA==\n"), end],
            "a public key; expected the private key or the secret that signs",
        ),
        (vec!["--key", &good, "--alg", "RS256", end], "--alg: the key is for HS256"),
        (vec!["--key", &good, "--ttl", "10ms", end], "--ttl: expected at least 1s"),
    ] {
        let output = run(&[&["token"], &arguments[..]].concat()).await;
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(64), ""));
        let stderr = text(&output.stderr);
        assert!(stderr.contains(wanted) && !stderr.contains(SECRET), "{stderr}");
    }
}

#[tokio::test]
async fn a_terminal_shows_the_token_of_its_file() {
    let network = Network::start().await;
    let server = network.urls[0].as_str();
    let dir = TempDir::new().expect("folder");
    let (key, token) = (path(&dir, "ward.key"), path(&dir, "phone.jwt"));
    fs::write(&key, SECRET).expect("written");
    let made = run(&["token", "--key", &key, "H1-W1-phone"]).await;
    fs::write(&token, &made.stdout).expect("written");
    let send = |from: &'static str| {
        let arguments = ["send", "--server", server, "--token-file", &token, "--from", from];
        let all = [&arguments[..], &["H1-W2-away", "hi", "--json"]].concat();
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        async move { run(&all.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let sent = send("H1-W1-phone").await;
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    assert!(text(&sent.stdout).contains(r#""outcome":"stored""#));
    let other = send("H1-W1-nurse").await;
    assert_eq!(other.status.code(), Some(1));
    let stderr = text(&other.stderr);
    assert!(stderr.contains("identity is that of another end"), "{stderr}");
}

#[tokio::test]
async fn files_that_cannot_be_used_end_with_64() {
    for (flag, url) in [("--token-file", "ws://127.0.0.1:1/ws"), ("--ca", "wss://127.0.0.1:1/ws")] {
        let output = run(&["listen", "H1-W1-a", "--server", url, flag, "none.pem"]).await;
        assert_eq!(output.status.code(), Some(64));
        let stderr = text(&output.stderr);
        assert!(stderr.contains(flag) && stderr.contains("none.pem cannot be read"), "{stderr}");
    }
}
