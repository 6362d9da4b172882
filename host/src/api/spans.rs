//! Requests as spans of a distributed trace, on their way to whoever exports them.

use crate::api::trace::TraceContext;
use http::Method;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// Spans that wait to be exported. Beyond it they are dropped and counted.
const SPANS_MAX: usize = 4_096;

/// A request that was answered.
#[derive(Debug, Clone)]
pub struct Span {
    /// Which trace, which span, and whose part of it caused this one.
    pub trace: Arc<TraceContext>,
    /// When it came.
    pub began: SystemTime,
    /// How long its answer took.
    pub took: Duration,
    /// Its method.
    pub method: Method,
    /// The pattern of its route.
    pub route: String,
    /// The answer's status.
    pub status: u16,
    /// Its id.
    pub request_id: String,
    /// The node that it names.
    pub node: Option<String>,
    /// The code of the problem that it was answered with.
    pub code: Option<&'static str>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct SpanFigures {
    /// Taken by the collector.
    pub sent: AtomicU64,
    /// Not taken by it, whatever was tried.
    pub failed: AtomicU64,
    /// Dropped, for too many waited.
    pub dropped: AtomicU64,
}

/// The queue of spans.
#[derive(Debug)]
pub struct Spans {
    sender: mpsc::Sender<Span>,
    receiver: Mutex<Option<mpsc::Receiver<Span>>>,
    figures: Arc<SpanFigures>,
}

impl Default for Spans {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(SPANS_MAX);
        Self { sender, receiver: Mutex::new(Some(receiver)), figures: Arc::default() }
    }
}

impl Spans {
    /// The other end, for the one who exports. None for a second one.
    #[must_use]
    pub fn take(&self) -> Option<mpsc::Receiver<Span>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What became of them.
    #[must_use]
    pub fn figures(&self) -> &Arc<SpanFigures> {
        &self.figures
    }

    /// Hands one over. Never waits.
    pub(super) fn offer(&self, span: Span) {
        if self.sender.try_send(span).is_err() {
            self.figures.dropped.fetch_add(1, Relaxed);
        }
    }
}
