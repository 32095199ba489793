//! `wardlink view`: who the message servers are, and which of them serves an end.

mod http;
mod table;

use std::io::Write;

use anyhow::Context;
use hyper::Uri;
use wardlink_wire::EndId;

use crate::exit::{self, Exit};
use crate::input::parse_admin;
use table::View;

const EXAMPLES: &str = "\
Examples:
  wardlink view
  wardlink view H1-W2-tablet
  wardlink view --admin http://10.0.0.7:9090 --json";

/// Show the message servers, the partitions of each, and who serves an end
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(crate) struct Args {
    /// An end whose message server is looked for: hospitalCode-hosareaCode-uid
    #[arg(value_name = "END")]
    pub(crate) end: Option<EndId>,

    /// Admin port of any message server
    #[arg(long, env = "WARDLINK_ADMIN", value_name = "URL", value_parser = parse_admin)]
    #[arg(default_value = "http://127.0.0.1:9090")]
    pub(crate) admin: Uri,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let body = http::get(&args.admin, "/view").await?;
    let view: View = serde_json::from_slice(&body)
        .with_context(|| format!("what {} answers is no view", args.admin))?;
    let text = match (&args.end, args.json) {
        (Some(end), true) => serde_json::to_string(&view.owner(end)?)? + "\n",
        (Some(end), false) => view.owner(end)?.to_string(),
        (None, true) => serde_json::to_string(&view)? + "\n",
        (None, false) => view.to_string(),
    };
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(Exit::Done)
}
