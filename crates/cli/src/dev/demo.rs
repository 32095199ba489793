//! The demonstration of `wardlink dev`: a message between two servers, and one that waits.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use wardlink_client::{Client, ClientConfig, Message, Messages};
use wardlink_wire::{EndId, Outcome};

use crate::show::{BOLD, GOOD, body, elapsed, styled};

const NURSE: &str = "H1-W1-nurse";
const PUMP: &str = "H1-W2-pump";
const DOCTOR: &str = "H1-W2-doctor";
/// Time for each step. Above a server's send deadline of 10 s.
const STEP: Duration = Duration::from_secs(15);

/// Sends from the first server to the second, prints what becomes of it.
pub(super) async fn run(urls: &[String; 2]) -> anyhow::Result<()> {
    let [one, two] = urls;
    let (nurse, _nurse_messages) = enter(one, NURSE).await?;
    let (pump, mut pump_messages) = enter(two, PUMP).await?;

    anstream::println!("{}", styled(BOLD, "A message from one server to the other"));
    let text = "Pause the infusion";
    let started = Instant::now();
    let (outcome, message) =
        tokio::join!(send(&nurse, PUMP, text), taken(&mut pump_messages, &pump));
    let message = message?;
    check(outcome?, Outcome::Delivered)?;
    let time = elapsed(started.elapsed());
    anstream::println!("  {NURSE} to {PUMP}: {}", body(message.body_text()));
    anstream::println!("  the sender hears {} after {time}\n", styled(GOOD, "delivered"));

    anstream::println!("{}", styled(BOLD, "A message for somebody who is away"));
    let text = "Please call ward 1";
    let started = Instant::now();
    check(send(&nurse, DOCTOR, text).await?, Outcome::Stored)?;
    let time = elapsed(started.elapsed());
    anstream::println!("  {NURSE} to {DOCTOR}, who is not connected: {text}");
    anstream::println!("  the sender hears {} after {time}", styled(GOOD, "stored"));
    let started = Instant::now();
    let (doctor, mut doctor_messages) = enter(two, DOCTOR).await?;
    let message = taken(&mut doctor_messages, &doctor).await?;
    let time = elapsed(started.elapsed());
    ensure!(body(message.body_text()) == text, "the doctor got another message");
    anstream::println!("  {DOCTOR} connects and has it after {time}\n");

    for client in [nurse, pump, doctor] {
        client.close().await;
    }
    Ok(())
}

async fn enter(url: &str, end: &str) -> anyhow::Result<(Client, Messages)> {
    let (client, messages) = Client::connect(ClientConfig::new(url, end.parse()?))?;
    let connected = tokio::time::timeout(STEP, client.connected()).await;
    connected.with_context(|| format!("{end} could not connect to {url}"))??;
    Ok((client, messages))
}

async fn send(client: &Client, to: &str, text: &str) -> anyhow::Result<Outcome> {
    let to: EndId = to.parse()?;
    Ok(client.send(&to, text).await?.await.outcome)
}

/// Takes one message and acknowledges it.
async fn taken(messages: &mut Messages, client: &Client) -> anyhow::Result<Message> {
    let message = tokio::time::timeout(STEP, messages.recv()).await.context("no message came")?;
    let Some(message) = message else {
        bail!("the receiver ended: {:?}", *client.status().borrow());
    };
    message.ack();
    Ok(message)
}

fn check(outcome: Outcome, wanted: Outcome) -> anyhow::Result<()> {
    ensure!(outcome == wanted, "the result is `{outcome}` in place of `{wanted}`");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Network;

    #[tokio::test]
    async fn the_demonstration_goes_through_two_servers() {
        let network = Network::start().await;
        run(&network.urls).await.expect("demonstration");
    }

    #[tokio::test]
    async fn another_result_than_shown_is_a_failure() {
        assert!(check(Outcome::Unknown, Outcome::Stored).is_err());
    }
}
