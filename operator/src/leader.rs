//! Of several operators one leads: a Lease says which.
//!
//! Owns the Lease. `core` decides, without I/O or a clock; here it is read and written. What a
//! leader may do, and until when, is told through [`Lead`].

mod core;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wardlink_service::stop::Stop;

pub use self::core::Terms;
use self::core::{Election, Step};
use crate::apply::words;
use crate::client::Lead;
use crate::metrics::Metrics;

/// Where the Lease is and who asks for it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub lease: String,
    /// Who this is: another one at every start of the process.
    pub identity: String,
    /// For how long it is taken.
    pub terms: Terms,
}

/// Takes part until `stop` is up, then gives the Lease back.
///
/// `leads` is true while this operator leads. It turns false before another one could take over;
/// when it does, or when `stop` is up, nothing may be written any more. `seen` turns true once the
/// Lease could be read or written.
pub async fn run(
    client: Client,
    candidate: Candidate,
    lead: Lead,
    leads: watch::Sender<bool>,
    seen: watch::Sender<bool>,
    metrics: Arc<Metrics>,
    stop: Stop,
) {
    let leases: Api<Lease> = Api::namespaced(client, &candidate.namespace);
    let terms = candidate.terms;
    let mut task = Task { leases, candidate, election: Election::default(), held: None };
    let mut failing = false;
    loop {
        let begun = Instant::now();
        // Whoever leads must know before its time is over.
        let attempt = timeout(terms.attempt(), task.attempt(begun));
        let result = tokio::select! {
            () = stop.stopped() => break,
            result = attempt => result,
        };
        match result {
            Ok(Ok(())) => {
                failing = false;
                seen.send_replace(true);
            }
            Ok(Err(error)) => note(&mut failing, &words(&error)),
            Err(_) => note(&mut failing, "no answer in time"),
        }
        let until = task.election.leads_until(terms).filter(|until| *until > Instant::now());
        match until {
            Some(until) => lead.until(until),
            None => lead.end(),
        }
        tell(&leads, &metrics, until.is_some(), &task.candidate);
        let next = if until.is_some() { terms.renew() } else { terms.retry() };
        tokio::select! {
            () = stop.stopped() => break,
            () = sleep(next) => {}
            () = sleep_until(until.unwrap_or_else(|| Instant::now() + next)) => {}
        }
    }
    lead.end();
    tell(&leads, &metrics, false, &task.candidate);
    task.release().await;
}

fn note(failing: &mut bool, error: &str) {
    if !std::mem::replace(failing, true) {
        tracing::warn!(error, "lease could not be read or written, trying again");
    }
}

fn tell(leads: &watch::Sender<bool>, metrics: &Metrics, now: bool, candidate: &Candidate) {
    leads.send_if_modified(|leads| {
        if *leads == now {
            return false;
        }
        *leads = now;
        metrics.leads(now);
        let identity = &candidate.identity;
        if now {
            tracing::info!(identity, "this operator leads");
        } else {
            tracing::warn!(identity, "this operator does not lead any more");
        }
        true
    });
}

struct Task {
    leases: Api<Lease>,
    candidate: Candidate,
    election: Election,
    /// The Lease as this process wrote it last, if that succeeded.
    held: Option<Lease>,
}

impl Task {
    /// Reads the Lease, unless it is known, and writes it where it is ours or free.
    async fn attempt(&mut self, begun: Instant) -> kube::Result<()> {
        let known = self.held.take();
        let found = match known {
            Some(held) => Some(held),
            None => self.leases.get_opt(&self.candidate.lease).await?,
        };
        let Candidate { identity, lease: name, terms, .. } = &self.candidate;
        let step = self.election.decide(Instant::now(), found.as_ref(), identity);
        let written = match step {
            Step::Wait => return Ok(()),
            Step::Create => {
                let lease = core::taken(None, name, identity, *terms);
                self.leases.create(&PostParams::default(), &lease).await
            }
            Step::Write => {
                let lease = core::taken(found, name, identity, *terms);
                self.leases.replace(name, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(lease) => {
                self.election.written(begun);
                self.held = Some(lease);
                Ok(())
            }
            // Somebody else wrote: it is read anew at the next attempt.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives the Lease back, so that another one need not wait for its end.
    async fn release(&mut self) {
        let Some(held) = self.held.take() else { return };
        let name = self.candidate.lease.clone();
        let (free, params) = (core::freed(held), PostParams::default());
        let released = self.leases.replace(&name, &params, &free);
        match timeout(self.candidate.terms.attempt(), released).await {
            Ok(Ok(_)) => tracing::info!("lease given back"),
            // It ends by itself.
            Ok(Err(error)) => tracing::warn!(error = words(&error), "lease not given back"),
            Err(_) => tracing::warn!("lease not given back: no answer in time"),
        }
    }
}

impl Terms {
    /// How long one attempt may take.
    fn attempt(self) -> Duration {
        self.duration() / 5
    }
}
