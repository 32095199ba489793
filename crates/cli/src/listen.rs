//! `wardlink listen`: connects as an end and prints what is sent to it.

use std::io::Write;
use std::num::NonZeroU64;

use wardlink_client::{AckMode, Client, Message, Messages};
use wardlink_service::settings::parse_number;
use wardlink_service::stop::{self, Stop};
use wardlink_wire::EndId;

use crate::exit::{self, Exit};
use crate::input::Connect;
use crate::show;
use crate::status::{Tell, narrate};

const EXAMPLES: &str = "\
Examples:
  wardlink listen H1-W2-tablet
  wardlink listen H1-W2-tablet --count 1 --json
  wardlink listen H1-W2-tablet --server ws://10.0.0.5:8080/ws,ws://10.0.0.6:8080/ws
  wardlink listen H1-W2-tablet --server wss://bs.ward:8443/ws --ca ca.pem --token-file tablet.jwt

Each message is acknowledged once it is printed. Whoever else is connected as this end is
replaced; when somebody replaces this program, it ends with exit code 1.";

/// Connect as an end and print what is sent to it, until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(crate) struct Args {
    /// Who to connect as: hospitalCode-hosareaCode-uid
    #[arg(value_name = "END")]
    pub(crate) end: EndId,

    #[command(flatten)]
    pub(crate) connect: Connect,

    /// End after this many messages
    #[arg(long, value_name = "N", value_parser = parse_number::<NonZeroU64>)]
    pub(crate) count: Option<NonZeroU64>,

    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let (trigger, stop) = stop::channel();
    stop::signals(trigger)?;
    let mut config = args.connect.config(args.end)?;
    config.ack = AckMode::Manual;
    let (client, messages) = Client::connect(config)?;
    let exit = tokio::select! {
        printed = print(messages, args.count, args.json, stop) => printed.map(|()| Exit::Done),
        ended = narrate(client.status(), Tell::All) => Err(args.connect.error(ended)),
    };
    client.close().await;
    exit
}

async fn print(
    mut messages: Messages,
    count: Option<NonZeroU64>,
    json: bool,
    stop: Stop,
) -> anyhow::Result<()> {
    let mut left = count.map(NonZeroU64::get);
    while left != Some(0) {
        let message = tokio::select! {
            () = stop.stopped() => return Ok(()),
            message = messages.recv() => message,
        };
        let Some(message) = message else {
            // The narrator knows why.
            return std::future::pending().await;
        };
        write(&mut anstream::stdout(), &message, json)?;
        message.ack();
        left = left.map(|left| left - 1);
    }
    Ok(())
}

fn write(out: &mut impl Write, message: &Message, json: bool) -> anyhow::Result<()> {
    let line = if json { show::message_json(message)? } else { show::message(message) };
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
