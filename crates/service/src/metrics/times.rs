//! How long things took, counted in buckets by a core that knows no clock and no registry, and
//! how a registry shows that.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// Upper bounds of the buckets, in microseconds: from what one machine takes to a send's deadline.
pub const TIMES_US: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Times of one kind. They only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// By bucket; the last one has no bound.
    counts: [u64; TIMES_US.len() + 1],
    sum_us: u64,
}

impl Times {
    /// Counts one, in microseconds.
    pub fn observe(&mut self, us: u64) {
        let at = TIMES_US.iter().position(|bound| us <= *bound).unwrap_or(TIMES_US.len());
        self.counts[at] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn histogram(&self) -> Histogram {
        let mut total = 0;
        let bucket = |(bound, count): (&u64, &u64)| {
            total += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e6);
            bucket.set_cumulative_count(total);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(TIMES_US.iter().zip(&self.counts).map(bucket).collect());
        histogram.set_sample_count(self.count());
        histogram.set_sample_sum(self.sum_us as f64 / 1e6);
        histogram
    }
}

/// A family of histograms, one for each value of a label, that shows [`Times`] kept elsewhere.
#[derive(Debug, Clone)]
pub struct ShownTimes {
    desc: Desc,
    shown: Arc<Mutex<Vec<(String, Times)>>>,
}

impl ShownTimes {
    pub(super) fn new(
        name: String,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> prometheus::Result<Self> {
        let labels = vec![label.to_owned()];
        let desc = Desc::new(name, help.to_owned(), labels, Default::default())?;
        let shown = values.iter().map(|value| ((*value).to_owned(), Times::default())).collect();
        Ok(Self { desc, shown: Arc::new(Mutex::new(shown)) })
    }

    /// Shows these, in the order of the label's values.
    pub fn show(&self, times: &[Times]) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, shown), times) in shown.iter_mut().zip(times) {
            *shown = *times;
        }
    }
}

impl Collector for ShownTimes {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let metric = |(value, times): &(String, Times)| {
            let mut label = LabelPair::default();
            label.set_name(self.desc.variable_labels[0].clone());
            label.set_value(value.clone());
            let mut metric = Metric::from_label(vec![label]);
            metric.set_histogram(times.histogram());
            metric
        };
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(shown.iter().map(metric).collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_holds_it_and_shown_in_all_above() {
        let mut times = Times::default();
        for us in [0, 250, 251, 9_999_999, 10_000_001] {
            times.observe(us);
        }
        let shown = ShownTimes::new("wardlink_x_seconds".into(), "Help.", "outcome", &["a", "b"]);
        let shown = shown.expect("well formed");
        shown.show(&[Times::default(), times]);
        let family = shown.collect().remove(0);
        assert_eq!(family.name(), "wardlink_x_seconds");
        let metric = &family.get_metric()[1];
        assert_eq!((metric.get_label()[0].name(), metric.get_label()[0].value()), ("outcome", "b"));
        let histogram = metric.get_histogram();
        let buckets: Vec<u64> =
            histogram.get_bucket().iter().map(Bucket::cumulative_count).collect();
        assert_eq!((buckets[0], buckets[1], buckets[14]), (2, 3, 4));
        assert_eq!(histogram.get_sample_count(), 5);
        assert!((histogram.get_sample_sum() - 20.000_501).abs() < 1e-9);
    }
}
