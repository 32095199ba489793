//! The way to the API server: each request has a time-out, and each write needs the lead.
//!
//! Owns no decision about who leads: that is [`leader`](crate::leader)'s; here its word is kept,
//! for every write that this process sends through such a client.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, Layer, Service};

use crate::metrics::Metrics;

/// How long the head of an answer may take. An API server under load answers in a few seconds, or
/// says 429.
const ANSWER: Duration = Duration::from_secs(20);

/// How long nothing at all may come of a connection. A watch has a bookmark about once a minute.
const SILENCE: Duration = Duration::from_secs(120);

/// Until when this process may write. Clones share it.
#[derive(Debug, Clone)]
pub struct Lead(Arc<Mutex<Until>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Never,
    At(Instant),
    Always,
}

impl Lead {
    /// Nobody else is there: it always leads.
    pub fn alone() -> Self {
        Self(Arc::new(Mutex::new(Until::Always)))
    }

    /// It does not lead yet.
    pub fn none() -> Self {
        Self(Arc::new(Mutex::new(Until::Never)))
    }

    /// It leads until then, unless this is said again.
    pub fn until(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Until::At(until);
    }

    /// It leads no more.
    pub fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Until::Never;
    }

    /// Until when a write that begins now must have ended; `None`: it must not begin.
    fn deadline(&self, now: Instant) -> Option<Instant> {
        let most = now + ANSWER;
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Until::Never => None,
            Until::At(until) => (until > now).then_some(until.min(most)),
            Until::Always => Some(most),
        }
    }
}

/// Why a request was not sent or not answered.
#[derive(Debug, Error)]
pub enum RequestError {
    /// Another operator may lead by now.
    #[error("this operator does not lead")]
    NoLead,
    /// The answer did not come in time.
    #[error("no answer in time")]
    TimedOut,
}

/// A client whose writes need `lead`.
///
/// # Errors
/// The configuration can not be used, such as a certificate that can not be read.
pub fn guarded(config: Config, lead: Lead, metrics: Arc<Metrics>) -> kube::Result<Client> {
    let layer = Guard { lead, metrics: Some(metrics) };
    Ok(ClientBuilder::try_from(patient(config))?.with_layer(&layer).build())
}

/// A client for what decides who leads.
///
/// # Errors
/// As [`guarded`].
pub fn free(config: Config) -> kube::Result<Client> {
    let layer = Guard { lead: Lead::alone(), metrics: None };
    Ok(ClientBuilder::try_from(patient(config))?.with_layer(&layer).build())
}

fn patient(mut config: Config) -> Config {
    config.read_timeout = Some(SILENCE);
    // Counted from a request, not from when the connection was last used.
    config.reset_reader_on_write = true;
    config
}

#[derive(Debug, Clone)]
struct Guard {
    lead: Lead,
    metrics: Option<Arc<Metrics>>,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.clone() }
    }
}

#[derive(Debug, Clone)]
struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S, B> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let now = Instant::now();
        let reads = *request.method() == Method::GET;
        let deadline = if reads { Some(now + ANSWER) } else { self.guard.lead.deadline(now) };
        let Some(deadline) = deadline else {
            if let Some(metrics) = &self.guard.metrics {
                metrics.write_refused();
            }
            return Box::pin(async { Err(RequestError::NoLead.into()) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            match timeout_at(deadline, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(RequestError::TimedOut.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_must_end_before_the_lead_does() {
        let now = Instant::now();
        let lead = Lead::none();
        assert_eq!(lead.deadline(now), None);
        lead.until(now + Duration::from_secs(3));
        assert_eq!(lead.deadline(now), Some(now + Duration::from_secs(3)));
        lead.until(now + Duration::from_secs(300));
        assert_eq!(lead.deadline(now), Some(now + ANSWER));
        lead.until(now);
        assert_eq!(lead.deadline(now), None);
        assert_eq!(Lead::alone().deadline(now), Some(now + ANSWER));
    }
}
