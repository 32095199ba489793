//! `wardlink send`: connects as an end, sends, and waits for the results.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use wardlink_client::{Client, Ended, SendError, SendOutcome, Sending, Status};
use wardlink_service::settings::{BadSetting, parse_positive_duration};
use wardlink_wire::{EndId, MessageId};

use crate::exit::{self, Exit};
use crate::input::{self, Connect};
use crate::show;
use crate::status::{Tell, narrate};

/// Results that wait for their turn to be printed; as many as sends may be open, so that
/// printing holds up no send.
const RESULTS_WAITING: usize = 1024;

const EXAMPLES: &str = "\
Examples:
  wardlink send --from H1-W1-phone H1-W2-tablet \"Bed 7 calls\"
  wardlink send --from H1-W1-phone H1-W2-tablet '{\"bed\":7}' --ttl 60s --wait
  wardlink send --token-file phone.jwt --from H1-W1-phone H1-W2-tablet hi
  tail -f alarms.jsonl | wardlink send --from H1-W1-gateway H1-W2-tablet - --json

A BODY that is JSON is sent as it is, any other as a string. The program always waits for the
results, and its exit code follows from them; --wait prints them, else only trouble is told.
It connects as the sender, so whoever else is connected as this end is replaced.";

/// Send messages to an end, and wait for what becomes of them
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(crate) struct Args {
    /// Who to connect as: hospitalCode-hosareaCode-uid
    #[arg(long, value_name = "END")]
    pub(crate) from: EndId,

    /// Who to send to: hospitalCode-hosareaCode-uid
    #[arg(value_name = "TO")]
    pub(crate) to: EndId,

    /// What to send, one message each; `-` for the lines of stdin
    #[arg(value_name = "BODY", required = true, allow_negative_numbers = true)]
    pub(crate) bodies: Vec<String>,

    #[command(flatten)]
    pub(crate) connect: Connect,

    /// Life of a message that must wait for its target [default: the server's limit]
    #[arg(long, value_name = "DURATION", value_parser = parse_positive_duration)]
    pub(crate) ttl: Option<Duration>,

    /// Id of the message, to send it again after an unknown result
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<MessageId>,

    /// How long to wait for each result, reconnects included
    #[arg(long, value_name = "DURATION", value_parser = parse_positive_duration)]
    #[arg(default_value = "30s")]
    pub(crate) timeout: Duration,

    /// Print the result of each message
    #[arg(long)]
    pub(crate) wait: bool,

    /// Print results as one JSON object a line (implies --wait)
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) async fn run(mut args: Args) -> anyhow::Result<Exit> {
    if args.id.is_some() && (args.bodies.len() != 1 || args.bodies[0] == "-") {
        return Err(BadSetting::new("--id", "expected one BODY beside it").into());
    }
    let mut config = args.connect.config(args.from.clone())?;
    config.send_deadline = args.timeout;
    let (client, messages) = Client::connect(config)?;
    // What waits for the sender's end stays where it is.
    drop(messages);
    let (sent, results) = mpsc::channel(RESULTS_WAITING);
    let bodies = input::bodies(std::mem::take(&mut args.bodies));
    let work = async {
        let (fed, exit) = tokio::join!(feed(&client, &args, bodies, sent), report(&args, results));
        let exit = exit?;
        fed.map(|()| exit)
    };
    let narration = async {
        // The sends are resolved when the client ends, and so the work ends by itself.
        narrate(client.status(), Tell::Problems).await;
        std::future::pending().await
    };
    let exit = tokio::select! {
        exit = work => exit,
        never = narration => never,
    };
    // Why nothing more will come of what has no good result.
    if let (Ok(Exit::Failed | Exit::Unknown), Status::Ended(ended)) =
        (&exit, &*client.status().borrow())
    {
        anstream::eprintln!("{}", show::error(&args.connect.error(*ended)));
    }
    client.close().await;
    exit
}

async fn feed(
    client: &Client,
    args: &Args,
    mut bodies: mpsc::Receiver<std::io::Result<String>>,
    sent: mpsc::Sender<Sending>,
) -> anyhow::Result<()> {
    loop {
        let body = tokio::select! {
            body = bodies.recv() => body,
            ended = ended(client) => return Err(args.connect.error(ended)),
        };
        let Some(body) = body else { return Ok(()) };
        let body = body.context("cannot read stdin")?;
        let mut message = input::outgoing(&args.to, &body, args.ttl)?;
        if let Some(id) = &args.id {
            message = message.with_id(id.clone());
        }
        let sending = match client.send_with(message).await {
            Ok(sending) => sending,
            Err(SendError::Ended) => return Err(args.connect.error(ended(client).await)),
            Err(error) => return Err(error.into()),
        };
        if sent.send(sending).await.is_err() {
            // Results cannot be printed any more; the other half says why.
            return Ok(());
        }
    }
}

/// Waits until the client has ended.
async fn ended(client: &Client) -> Ended {
    let mut status = client.status();
    let ended = status.wait_for(|status| matches!(status, Status::Ended(_))).await;
    match ended.as_deref() {
        Ok(Status::Ended(ended)) => *ended,
        // The client leaves `Ended` as its last word.
        Ok(_) | Err(_) => Ended::Stopped,
    }
}

/// Prints the results in the order of the sends; the worst decides.
async fn report(args: &Args, mut results: mpsc::Receiver<Sending>) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    while let Some(sending) = results.recv().await {
        let id = sending.id().clone();
        let outcome = sending.await;
        exit = exit.max(Exit::of(outcome.outcome));
        tell(args, &id, outcome)?;
    }
    Ok(exit)
}

fn tell(args: &Args, id: &MessageId, outcome: SendOutcome) -> anyhow::Result<()> {
    if args.json {
        writeln!(anstream::stdout(), "{}", show::result_json(id, &args.to, outcome)?)?;
    } else if args.wait {
        writeln!(anstream::stdout(), "{}", show::result(id, &args.to, outcome))?;
    } else if Exit::of(outcome.outcome) != Exit::Done {
        anstream::eprintln!("{}", show::result(id, &args.to, outcome));
    }
    Ok(())
}
