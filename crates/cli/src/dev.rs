//! `wardlink dev`: a whole system in one process, and a first message through it.

mod demo;
mod servers;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use wardlink_service::settings::{BadSetting, parse_listen};
use wardlink_service::stop;

use crate::exit::{self, Exit};
use crate::show::{BOLD, DIM, NOTE, styled};
use servers::Servers;

const EXAMPLES: &str = "\
Examples:
  wardlink dev
  wardlink dev --data ./wardlink-data --no-demo
  wardlink dev --listen 127.0.0.1:0,127.0.0.1:0 --admin-listen 127.0.0.1:0   any free ports";

/// Run a whole system on this machine: one message server, two business servers, until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(crate) struct Args {
    /// Loopback addresses of the two business servers, for terminals
    #[arg(long, env = "WARDLINK_LISTEN", value_name = "ADDRESS:PORT,ADDRESS:PORT")]
    #[arg(default_value = "127.0.0.1:8080,127.0.0.1:8081")]
    #[arg(value_delimiter = ',', value_parser = parse_listen)]
    pub(crate) listen: Vec<SocketAddr>,

    /// Folder of the embedded store [default: a new one in the folder for temporary files,
    /// removed at the end]
    #[arg(long, env = "WARDLINK_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Address and port of the message server's /view, /metrics, /livez and /readyz
    #[arg(long, env = "WARDLINK_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    #[arg(default_value = "127.0.0.1:9090", value_parser = parse_listen)]
    pub(crate) admin_listen: SocketAddr,

    /// Send no messages of its own
    #[arg(long)]
    pub(crate) no_demo: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let listen = check_listen(&args.listen)?;
    // Held to the end: its drop removes the folder.
    let mut temporary = None;
    let data = match args.data {
        Some(data) => data,
        None => {
            let folder = tempfile::Builder::new().prefix("wardlink-dev-").tempdir();
            let folder = folder.context("cannot make a folder for the store")?;
            temporary.insert(folder).path().to_owned()
        }
    };
    let (trigger, stop) = stop::channel();
    stop::signals(trigger.clone())?;
    let servers = Servers::start(listen, args.admin_listen, &data, trigger.clone()).await?;
    let urls = servers.terminals.map(|address| format!("ws://{address}/ws"));
    let work = async {
        servers.ready().await?;
        let page = servers.page();
        anstream::println!("{}", hello(&page, &urls, servers.admin, &data.display().to_string()));
        if !args.no_demo {
            demo::run(&urls).await.context("the demonstration failed")?;
        }
        anstream::println!("{}", what_next(&program(), &page, &urls));
        stop.stopped().await;
        anyhow::Ok(())
    };
    let worked = tokio::select! {
        worked = work => worked,
        () = stop.stopped() => Ok(()),
    };
    trigger.stop();
    let stopped = servers.join().await;
    worked.and(stopped).map(|()| Exit::Done)
}

/// Two loopback addresses: in development mode nobody is checked, so nobody else may come in.
fn check_listen(listen: &[SocketAddr]) -> Result<[SocketAddr; 2], BadSetting> {
    let bad = |problem| BadSetting::new("--listen", problem);
    let listen: [SocketAddr; 2] =
        listen.try_into().map_err(|_| bad("expected two addresses joined by a comma"))?;
    if listen.iter().all(|address| address.ip().is_loopback()) {
        Ok(listen)
    } else {
        Err(bad("expected loopback addresses, for terminals are not checked in development mode"))
    }
}

fn hello(page: &str, urls: &[String; 2], admin: SocketAddr, data: &str) -> String {
    let mut text = styled(BOLD, "Wardlink is running: one message server, two business servers\n");
    let [one, two] = urls;
    let mode = styled(NOTE, "development mode: nobody is checked");
    let _ = writeln!(text, "  playground {}  (a page to try it all)", styled(BOLD, page));
    let _ = writeln!(text, "  terminals  {one}  {two}  ({mode})");
    let _ = writeln!(text, "  admin      http://{admin}/view, /metrics, /readyz");
    let _ = writeln!(text, "  data       {data}");
    text
}

fn what_next(program: &str, page: &str, urls: &[String; 2]) -> String {
    let [one, two] = urls;
    format!(
        "{}\n  {page}\n\n{}\n  {program} listen --server {two} H1-W2-tablet\n  \
         {program} send --server {one} --from H1-W1-phone --wait H1-W2-tablet \"Bed 7 calls\"\n\n{}",
        styled(BOLD, "Now you, in a browser:"),
        styled(BOLD, "Or each line in a terminal of its own:"),
        styled(DIM, "Ctrl-C ends it."),
    )
}

/// How this program was called: by its name where the shell finds it, else by its path.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    match called.to_str() {
        Some(called) if called.contains('/') => called.to_owned(),
        _ => "wardlink".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<[SocketAddr; 2], String> {
        let all: Vec<_> = text.split(',').map(|one| one.parse().expect("address")).collect();
        check_listen(&all).map_err(|error| error.to_string())
    }

    #[test]
    fn two_loopback_addresses_are_needed() {
        assert!(listen("127.0.0.1:8080,[::1]:0").is_ok());
        let one = listen("127.0.0.1:8080").expect_err("one");
        assert_eq!(one, "--listen: expected two addresses joined by a comma");
        let open = listen("127.0.0.1:8080,0.0.0.0:8081").expect_err("open");
        assert!(open.starts_with("--listen: expected loopback addresses"), "{open}");
    }

    #[test]
    fn the_lines_to_copy_use_both_servers() {
        let urls = ["ws://127.0.0.1:1/ws".to_owned(), "ws://127.0.0.1:2/ws".to_owned()];
        let text = what_next("wardlink", "http://127.0.0.1:1/", &urls);
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(text.starts_with("Now you, in a browser:\n  http://127.0.0.1:1/\n"), "{text}");
        assert!(text.contains("\n  wardlink listen --server ws://127.0.0.1:2/ws H1-W2-tablet\n"));
        assert!(
            text.contains("\n  wardlink send --server ws://127.0.0.1:1/ws --from H1-W1-phone ")
        );
    }
}
