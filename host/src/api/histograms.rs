//! Counts in classes as Prometheus has them.

use crate::model::ClassCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// One family of histograms that somebody else has counted.
#[derive(Debug)]
pub(super) struct Histograms<L> {
    name: &'static str,
    help: &'static str,
    /// What the counted numbers are multiplied with.
    scale: f64,
    /// Without labels where there is one row for all.
    rows: Vec<(Option<L>, ClassCounts)>,
}

impl<L: EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static> Histograms<L> {
    /// What was counted in microseconds is told in seconds.
    pub(super) fn micros(name: &'static str, help: &'static str, rows: Vec<(L, ClassCounts)>) -> Self {
        let rows = rows.into_iter().map(|(labels, counts)| (Some(labels), counts)).collect();
        Self { name, help, scale: 1e-6, rows }
    }

    /// What was counted is told as it is.
    pub(super) fn units(name: &'static str, help: &'static str, rows: Vec<(L, ClassCounts)>) -> Self {
        let rows = rows.into_iter().map(|(labels, counts)| (Some(labels), counts)).collect();
        Self { name, help, scale: 1.0, rows }
    }

    /// One histogram in microseconds, told in seconds.
    pub(super) fn micros_of_all(name: &'static str, help: &'static str, counts: ClassCounts) -> Self {
        Self { name, help, scale: 1e-6, rows: vec![(None, counts)] }
    }

    pub(super) fn register(self, registry: &mut Registry) {
        registry.register_collector(Box::new(self));
    }
}

impl<L: EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static> Collector for Histograms<L> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let unit: Option<&Unit> = None;
        let mut family = encoder.encode_descriptor(self.name, self.help, unit, MetricType::Histogram)?;
        for (labels, counted) in &self.rows {
            let bound = |bound: u64| if bound == u64::MAX { f64::INFINITY } else { bound as f64 * self.scale };
            let classes: Vec<_> = counted.classes.iter().map(|(limit, count)| (bound(*limit), *count)).collect();
            let sum = counted.sum as f64 * self.scale;
            let count = counted.count();
            match labels {
                Some(labels) => {
                    family.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, count, &classes, None)?
                }
                None => family.encode_histogram::<NoLabelSet>(sum, count, &classes, None)?,
            }
        }
        Ok(())
    }
}
