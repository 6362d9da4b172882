//! Spans to a collector, as OTLP/HTTP in its JSON form (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use crate::api::{Span, SpanFigures};
use crate::config::Snapshot;
use crate::fetch::Fetch;
use crate::plugin::{HttpClient as _, WebRequest};
use crate::resilience::{Backoff, Jitter};
use crate::task::until;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Spans of one message.
const BATCH_MAX: usize = 512;
/// How long spans are gathered for one.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take to answer; at the end of the host, to take all that is left.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
const LAST_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a message is sent that the collector may take later; pauses double from the first one.
const TRIES: u32 = 4;
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// `SPAN_KIND_SERVER` and `STATUS_CODE_ERROR`.
const SERVER: u8 = 2;
const ERROR: u8 = 2;

/// Who sends spans to the collector that the configuration names at each moment.
pub(super) struct Exporter {
    spans: mpsc::Receiver<Span>,
    figures: Arc<SpanFigures>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    instance: String,
    client: Fetch,
    backoff: Backoff,
    is_failing: bool,
}

/// Why spans were not taken, and whether they may be later.
struct Refused {
    why: String,
    may_pass: bool,
}

impl Exporter {
    pub(super) fn new(
        (spans, figures): (mpsc::Receiver<Span>, Arc<SpanFigures>),
        snapshots: watch::Receiver<Arc<Snapshot>>,
        instance: String,
        seed: u64,
    ) -> Self {
        let backoff = Backoff::new(PAUSE_FIRST, PAUSE_LONGEST, Jitter::new(seed));
        Self { spans, figures, snapshots, instance, client: Fetch::new(), backoff, is_failing: false }
    }

    /// Sends spans until `stop`, and then what is left, each message once.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        while !stop.is_cancelled() {
            self.gather(&mut batch, &stop).await;
            if !batch.is_empty() && !stop.is_cancelled() {
                self.send(&batch, &stop).await;
                batch.clear();
            }
        }
        self.send_rest(batch, Instant::now() + LAST_TIMEOUT).await;
    }

    /// What the collector has not taken until `deadline` is lost, and counted.
    async fn send_rest(&mut self, mut batch: Vec<Span>, deadline: Instant) {
        loop {
            while batch.len() < BATCH_MAX
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            let sent = self.post(&batch, deadline).await;
            self.settle(batch.len(), sent);
            batch.clear();
        }
    }

    /// Waits for a first span, and then a moment for others.
    async fn gather(&mut self, batch: &mut Vec<Span>, stop: &CancellationToken) {
        let mut over = None;
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = until(over) => return,
                count = self.spans.recv_many(batch, room) => if count == 0 { return stop.cancelled().await },
            }
            over.get_or_insert_with(|| Instant::now() + GATHER);
        }
    }

    async fn send(&mut self, batch: &[Span], stop: &CancellationToken) {
        for attempt in 1..=TRIES {
            let sent = self.post(batch, Instant::now() + SEND_TIMEOUT).await;
            let may_pass = sent.as_ref().is_err_and(|refused| refused.may_pass);
            if !may_pass || attempt == TRIES || stop.is_cancelled() {
                return self.settle(batch.len(), sent);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(self.backoff.pause()) => {}
            }
        }
    }

    async fn post(&self, batch: &[Span], deadline: Instant) -> Result<(), Refused> {
        let endpoint = self.snapshots.borrow().config.telemetry.otlp_endpoint.clone();
        let Some(endpoint) = endpoint else {
            return Err(Refused { why: "no collector is configured any more".to_owned(), may_pass: false });
        };
        let request = WebRequest {
            method: "POST".to_owned(),
            url: format!("{endpoint}/v1/traces"),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: message(&self.instance, batch).to_string().into_bytes(),
            response_bytes_max: ANSWER_BYTES_MAX,
        };
        match self.client.send(request, deadline).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            // The statuses after which the specification allows another try.
            Ok(answer) => Err(Refused {
                why: format!("it answered {}", answer.status),
                may_pass: matches!(answer.status, 429 | 502 | 503 | 504),
            }),
            Err(failure) => Err(Refused { why: format!("{failure:?}"), may_pass: true }),
        }
    }

    /// Counts what became of spans, and tells when that begins and ends to be bad.
    fn settle(&mut self, count: usize, sent: Result<(), Refused>) {
        match sent {
            Ok(()) => {
                self.figures.sent.fetch_add(count as u64, Relaxed);
                self.backoff.reset();
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the collector takes spans again");
                }
            }
            Err(Refused { why, .. }) => {
                self.figures.failed.fetch_add(count as u64, Relaxed);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(why, count, "the collector did not take spans; they are lost");
                }
            }
        }
    }
}

/// An `ExportTraceServiceRequest`. Ids are hexadecimal and whole numbers are texts, as the specification has it.
fn message(instance: &str, batch: &[Span]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [("service.name", "omnivisor"), ("service.version", version), ("service.instance.id", instance)];
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource.map(|(key, text)| attribute(key, text)) },
        "scopeSpans": [{
            "scope": { "name": "omnivisor", "version": version },
            "spans": batch.iter().map(span).collect::<Vec<_>>(),
        }],
    }] })
}

fn attribute(key: &str, text: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": text } })
}

/// Names of attributes are those of the semantic conventions for HTTP servers; our own begin with `omnivisor.`.
fn span(span: &Span) -> Value {
    let since = span.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut attributes = vec![
        attribute("http.request.method", span.method.as_str()),
        attribute("http.route", &span.route),
        json!({ "key": "http.response.status_code", "value": { "intValue": span.status.to_string() } }),
        attribute("omnivisor.request_id", &span.request_id),
    ];
    attributes.extend(span.node.as_deref().map(|node| attribute("omnivisor.node", node)));
    attributes.extend(span.code.map(|code| attribute("error.type", code)));
    let mut view = json!({
        "traceId": span.trace.trace_id(),
        "spanId": span.trace.span_id(),
        "name": format!("{} {}", span.method, span.route),
        "kind": SERVER,
        "startTimeUnixNano": since.as_nanos().to_string(),
        "endTimeUnixNano": (since + span.took).as_nanos().to_string(),
        "attributes": attributes,
        "status": if span.status >= 500 { json!({ "code": ERROR }) } else { json!({}) },
    });
    if let Value::Object(members) = &mut view {
        let state = span.trace.tracestate().map(|state| ("traceState", state.to_owned()));
        let parent = span.trace.parent_id().map(|parent| ("parentSpanId", parent));
        members.extend(state.into_iter().chain(parent).map(|(name, text)| (name.to_owned(), json!(text))));
    }
    view
}
