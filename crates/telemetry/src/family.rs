//! Kinds of metrics, each with its children made once, so that counting costs an atomic add and no look-up.

use crate::labels::Label;
use prometheus::core::Collector;
use prometheus::{HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use std::marker::PhantomData;

/// A number that only grows.
pub type Counter = IntCounter;
/// A number that goes up and down.
pub type Gauge = IntGauge;
/// A distribution.
pub type Histogram = prometheus::Histogram;

/// What all families have in common: how the table describes and registers them.
pub(crate) trait Family: Sized {
    /// The type, as Prometheus names it.
    const KIND: &'static str;

    /// Label names, each with its values; `None` where they come from the configuration.
    fn labels() -> Vec<(&'static str, Option<&'static [&'static str]>)>;

    fn register(name: &str, help: &str, registry: &Registry) -> Result<Self, prometheus::Error>;
}

fn registered<C: Collector + Clone + 'static>(
    collector: C,
    registry: &Registry,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

impl Family for Counter {
    const KIND: &'static str = "counter";

    fn labels() -> Vec<(&'static str, Option<&'static [&'static str]>)> {
        Vec::new()
    }

    fn register(name: &str, help: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        registered(IntCounter::new(name, help)?, registry)
    }
}

impl Family for Gauge {
    const KIND: &'static str = "gauge";

    fn labels() -> Vec<(&'static str, Option<&'static [&'static str]>)> {
        Vec::new()
    }

    fn register(name: &str, help: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        registered(IntGauge::new(name, help)?, registry)
    }
}

/// A counter for each value of a label. Clones count together.
#[derive(Clone, Debug)]
pub struct CounterBy<L> {
    children: Vec<Counter>,
    label: PhantomData<fn(L)>,
}

impl<L: Label> CounterBy<L> {
    /// The counter of a value.
    pub fn of(&self, value: L) -> &Counter {
        &self.children[value.index()]
    }
}

impl<L: Label> Family for CounterBy<L> {
    const KIND: &'static str = "counter";

    fn labels() -> Vec<(&'static str, Option<&'static [&'static str]>)> {
        vec![(L::NAME, Some(L::VALUES))]
    }

    fn register(name: &str, help: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = registered(IntCounterVec::new(Opts::new(name, help), &[L::NAME])?, registry)?;
        let children = L::VALUES.iter().map(|value| family.get_metric_with_label_values(&[*value]));
        Ok(CounterBy { children: children.collect::<Result<_, _>>()?, label: PhantomData })
    }
}

/// A counter for each pair of values of two labels.
#[derive(Debug)]
pub struct CounterByPair<A, B> {
    children: Vec<Counter>,
    labels: PhantomData<fn(A, B)>,
}

impl<A: Label, B: Label> CounterByPair<A, B> {
    /// The counter of a pair of values.
    pub fn of(&self, first: A, second: B) -> &Counter {
        &self.children[first.index() * B::VALUES.len() + second.index()]
    }
}

impl<A: Label, B: Label> Family for CounterByPair<A, B> {
    const KIND: &'static str = "counter";

    fn labels() -> Vec<(&'static str, Option<&'static [&'static str]>)> {
        vec![(A::NAME, Some(A::VALUES)), (B::NAME, Some(B::VALUES))]
    }

    fn register(name: &str, help: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = registered(IntCounterVec::new(Opts::new(name, help), &[A::NAME, B::NAME])?, registry)?;
        let mut children = Vec::with_capacity(A::VALUES.len() * B::VALUES.len());
        for first in A::VALUES {
            for second in B::VALUES {
                children.push(family.get_metric_with_label_values(&[*first, *second])?);
            }
        }
        Ok(CounterByPair { children, labels: PhantomData })
    }
}

/// A gauge for each value of a label.
#[derive(Debug)]
pub struct GaugeBy<L> {
    children: Vec<Gauge>,
    label: PhantomData<fn(L)>,
}

impl<L: Label> GaugeBy<L> {
    /// The gauge of a value.
    pub fn of(&self, value: L) -> &Gauge {
        &self.children[value.index()]
    }
}

impl<L: Label> Family for GaugeBy<L> {
    const KIND: &'static str = "gauge";

    fn labels() -> Vec<(&'static str, Option<&'static [&'static str]>)> {
        vec![(L::NAME, Some(L::VALUES))]
    }

    fn register(name: &str, help: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = registered(IntGaugeVec::new(Opts::new(name, help), &[L::NAME])?, registry)?;
        let children = L::VALUES.iter().map(|value| family.get_metric_with_label_values(&[*value]));
        Ok(GaugeBy { children: children.collect::<Result<_, _>>()?, label: PhantomData })
    }
}

/// The upper bounds of a distribution's buckets.
pub(crate) trait Buckets {
    /// In seconds, rising.
    const BOUNDS_S: &'static [f64];
}

/// A distribution of durations.
#[derive(Debug)]
pub struct Seconds<B> {
    histogram: Histogram,
    buckets: PhantomData<fn(B)>,
}

impl<B> Seconds<B> {
    /// Adds a duration to the distribution.
    pub fn observe(&self, duration: std::time::Duration) {
        self.histogram.observe(duration.as_secs_f64());
    }

    /// The histogram itself (in seconds), to be observed elsewhere.
    pub fn histogram(&self) -> &Histogram {
        &self.histogram
    }
}

impl<B: Buckets> Family for Seconds<B> {
    const KIND: &'static str = "histogram";

    fn labels() -> Vec<(&'static str, Option<&'static [&'static str]>)> {
        Vec::new()
    }

    fn register(name: &str, help: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(B::BOUNDS_S.to_vec());
        let histogram = registered(Histogram::with_opts(options)?, registry)?;
        Ok(Seconds { histogram, buckets: PhantomData })
    }
}

/// The name of the one label that is not a closed set.
const GATEWAY: &str = "gateway";

/// A counter for each gateway.
#[derive(Debug)]
pub(crate) struct CounterByGateway(IntCounterVec);

impl CounterByGateway {
    pub(crate) fn of(&self, gateway: &str) -> Counter {
        self.0.with_label_values(&[gateway])
    }
}

impl Family for CounterByGateway {
    const KIND: &'static str = "counter";

    fn labels() -> Vec<(&'static str, Option<&'static [&'static str]>)> {
        vec![(GATEWAY, None)]
    }

    fn register(name: &str, help: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        registered(IntCounterVec::new(Opts::new(name, help), &[GATEWAY])?, registry).map(CounterByGateway)
    }
}

/// A gauge for each gateway.
#[derive(Debug)]
pub(crate) struct GaugeByGateway(IntGaugeVec);

impl GaugeByGateway {
    pub(crate) fn of(&self, gateway: &str) -> Gauge {
        self.0.with_label_values(&[gateway])
    }
}

impl Family for GaugeByGateway {
    const KIND: &'static str = "gauge";

    fn labels() -> Vec<(&'static str, Option<&'static [&'static str]>)> {
        vec![(GATEWAY, None)]
    }

    fn register(name: &str, help: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        registered(IntGaugeVec::new(Opts::new(name, help), &[GATEWAY])?, registry).map(GaugeByGateway)
    }
}

/// Taking over a running total that is kept elsewhere.
pub trait RaiseTo {
    /// Brings the counter up to a total; never down. One writer per counter.
    fn raise_to(&self, total: u64);
}

impl RaiseTo for Counter {
    fn raise_to(&self, total: u64) {
        self.inc_by(total.saturating_sub(self.get()));
    }
}
