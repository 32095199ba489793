//! Metrics of one running server: a registry of its own (several servers may share a process),
//! `/metrics` of the admin port, and what is the same for every program.
//!
//! Owns no numbers. Each component has a struct of its metrics, made through [`Section`] with all
//! its children resolved at start: an update is an atomic addition, never a look-up by label. What
//! an engine knows by itself it publishes when a scrape asks for it ([`Publish`]), so that it
//! costs nothing in between.

mod times;

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, TEXT_FORMAT, TextEncoder,
};
use tokio::sync::Notify;
use tokio::time::timeout;

pub use prometheus::Registry;

pub use self::times::{ShownTimes, TIMES_US, Times};
use crate::admin::{Answer, Routes, StatusCode};

/// How long a scrape waits for the engine before it shows what was published last.
const PUBLISH_TIMEOUT: Duration = Duration::from_millis(500);

/// A registry with what is the same for every program: `wardlink_build_info`, and CPU, memory and
/// file descriptors of the process.
pub fn registry(program: &str, version: &str) -> Registry {
    let registry = Registry::new();
    let info = IntGaugeVec::new(
        Opts::new("wardlink_build_info", "Which program and version this is; always 1."),
        &["program", "version"],
    );
    let info = register(&registry, info);
    info.with_label_values(&[program, version]).set(1);
    registry.register(Box::new(ProcessCollector::for_self())).expect("registered once");
    registry
}

/// Mounts `/metrics`. Before each answer `publish` asks the engine for what only it knows.
pub fn mount(routes: Routes, registry: Registry, publish: Publish) -> Routes {
    routes.get_async("/metrics", move |_| {
        let (registry, publish) = (registry.clone(), publish.clone());
        async move {
            publish.ask().await;
            match TextEncoder::new().encode_to_string(&registry.gather()) {
                Ok(text) => Answer::ok(TEXT_FORMAT, text),
                Err(error) => {
                    tracing::error!(%error, "metrics cannot be encoded");
                    Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be encoded\n")
                }
            }
        }
    })
}

/// Between scrapes and the engine: a scrape asks, the engine publishes. Scrapes that come
/// together are answered together, and nothing queues up. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Publish(Arc<(Notify, Notify)>);

impl Publish {
    /// Waits until the engine has published, 500 ms at most.
    pub async fn ask(&self) {
        let (asked, published) = &*self.0;
        let done = published.notified();
        asked.notify_one();
        // Without an answer (the engine is not there yet, or not any more) the last values stand.
        let _ = timeout(PUBLISH_TIMEOUT, done).await;
    }

    /// For the engine: waits until a scrape asks. Cancel safe.
    pub async fn asked(&self) {
        self.0.0.notified().await;
    }

    /// For the engine: all is published.
    pub fn done(&self) {
        self.0.1.notify_waiters();
    }
}

/// Raises a counter to a total that is kept elsewhere. Only one task may do so.
pub fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// Makes and registers the metrics of one component, whose names all begin the same.
#[derive(Debug)]
pub struct Section<'r> {
    registry: &'r Registry,
    prefix: &'static str,
}

impl<'r> Section<'r> {
    /// Metrics whose names begin with `prefix` and `_`.
    pub fn new(registry: &'r Registry, prefix: &'static str) -> Self {
        Self { registry, prefix }
    }

    fn name(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    /// A counter; `name` ends with `_total`.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        register(self.registry, IntCounter::new(self.name(name), help))
    }

    /// A counter for each value of a label, in the order of `values`.
    pub fn counters<const N: usize>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: [&str; N],
    ) -> [IntCounter; N] {
        let family = IntCounterVec::new(Opts::new(self.name(name), help), &[label]);
        let family = register(self.registry, family);
        values.map(|value| family.with_label_values(&[value]))
    }

    /// A counter for each pair of values of two labels.
    pub fn table<const N: usize, const M: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; 2],
        rows: [&str; N],
        columns: [&str; M],
    ) -> [[IntCounter; M]; N] {
        let family = IntCounterVec::new(Opts::new(self.name(name), help), &labels);
        let family = register(self.registry, family);
        rows.map(|row| columns.map(|column| family.with_label_values(&[row, column])))
    }

    /// A counter for each of these pairs of values of two labels, in their order.
    pub fn pairs(
        &self,
        name: &str,
        help: &str,
        labels: [&str; 2],
        values: &[(&str, &str)],
    ) -> Vec<IntCounter> {
        let family = IntCounterVec::new(Opts::new(self.name(name), help), &labels);
        let family = register(self.registry, family);
        values.iter().map(|(one, other)| family.with_label_values(&[*one, *other])).collect()
    }

    /// A counter of any number, such as seconds.
    pub fn float_counter(&self, name: &str, help: &str) -> Counter {
        register(self.registry, Counter::new(self.name(name), help))
    }

    /// A gauge of a whole number.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        register(self.registry, IntGauge::new(self.name(name), help))
    }

    /// A gauge of any number.
    pub fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        register(self.registry, Gauge::new(self.name(name), help))
    }

    /// A gauge for each value of a label, in the order of `values`.
    pub fn gauges<const N: usize>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: [&str; N],
    ) -> [IntGauge; N] {
        let family = IntGaugeVec::new(Opts::new(self.name(name), help), &[label]);
        let family = register(self.registry, family);
        values.map(|value| family.with_label_values(&[value]))
    }

    /// A histogram for each value of a label, in the order of `values`, that shows [`Times`].
    pub fn times(&self, name: &str, help: &str, label: &str, values: &[&str]) -> ShownTimes {
        register(self.registry, ShownTimes::new(self.name(name), help, label, values))
    }

    /// A histogram with these upper bounds.
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(self.name(name), help).buckets(bounds.to_vec());
        register(self.registry, Histogram::with_opts(opts))
    }

    /// A histogram for each value of a label, in the order of `values`.
    pub fn histograms<const N: usize>(
        &self,
        name: &str,
        help: &str,
        bounds: &[f64],
        label: &str,
        values: [&str; N],
    ) -> [Histogram; N] {
        let opts = HistogramOpts::new(self.name(name), help).buckets(bounds.to_vec());
        let family = register(self.registry, HistogramVec::new(opts, &[label]));
        values.map(|value| family.with_label_values(&[value]))
    }
}

/// Metrics are written down in the code: one that is ill formed, or there twice, is a mistake
/// that the first start shows.
fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let metric = made.expect("a metric's name and labels are well formed");
    registry.register(Box::new(metric.clone())).expect("a metric is registered once");
    metric
}
