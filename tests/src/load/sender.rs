//! The sending side of a stream.

use std::sync::Arc;

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use wardlink_client::{Client, ClientConfig, Outgoing, Status};

use super::record::{Sent, Stream};
use super::{LoadPlan, Phase};

/// Sends until the load drains, then waits for the last results.
pub(super) async fn run(
    stream: Arc<Stream>,
    config: ClientConfig,
    plan: LoadPlan,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let (client, messages) = Client::connect(config)?;
    // It only sends.
    drop(messages);
    let mut status = client.status();
    // The streams' beats are spread over the interval.
    let begin = Instant::now() + plan.interval * (stream.index as u32 % 16) / 16;
    let mut beat = interval_at(begin, plan.interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = FuturesUnordered::new();
    let mut sending = true;
    while sending || !open.is_empty() {
        tokio::select! {
            _ = beat.tick(), if sending => for _ in 0..plan.burst {
                open.push(send(&stream, &client)?);
            },
            Some((number, result)) = open.next() => {
                let at = stream.now();
                stream.record().sent[number].result = Some((result, at));
            }
            changed = status.changed() => {
                changed.context("the sender's client is gone")?;
                if let Status::Connected { url, .. } = &*status.borrow_and_update() {
                    let at = stream.now();
                    let mut record = stream.record();
                    record.welcomed.push(at);
                    record.sender_at = Some(url.to_string());
                }
            }
            _ = phase.wait_for(|phase| *phase != Phase::Running), if sending => sending = false,
        }
    }
    client.close().await;
    Ok(())
}

/// Sends the next number; its result is awaited.
fn send(
    stream: &Stream,
    client: &Client,
) -> anyhow::Result<impl Future<Output = (usize, wardlink_client::SendOutcome)> + use<>> {
    let number = {
        let mut record = stream.record();
        record.sent.push(Sent { at: stream.now(), result: None });
        record.sent.len() - 1
    };
    let message = Outgoing::from_json(stream.to.clone(), &stream.body(number))?;
    let sending = client.try_send(message)?;
    Ok(async move { (number, sending.await) })
}
