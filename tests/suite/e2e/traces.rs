//! Requests as spans at a collector, over OTLP/HTTP.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tests::{Host, Settings, until};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that refuses its first message with 503, and keeps the spans of the others.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Value>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Collector {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, spans) = (listener.local_addr()?, Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&spans);
        let serving = tokio_util::task::TaskTracker::new().spawn(async move {
            let mut refuses = true;
            while let Ok((stream, _)) = listener.accept().await {
                // A message that is no such thing leaves nothing behind, which fails the test.
                if let Ok(message) = answer(stream, std::mem::take(&mut refuses)).await {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).extend(message);
                }
            }
        });
        Ok(Self { address, spans, _serving: AbortOnDropHandle::new(serving) })
    }

    fn find(&self, request_id: &str) -> Option<Value> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().find(|span| attribute(span, "omnivisor.request_id")["stringValue"] == request_id).cloned()
    }

    async fn until(&self, request_id: &str) -> anyhow::Result<Value> {
        until("the span is with the collector", Duration::from_secs(20), async || Ok(self.find(request_id))).await
    }
}

async fn answer(stream: TcpStream, refuses: bool) -> anyhow::Result<Vec<Value>> {
    let mut stream = BufReader::new(stream);
    let (mut first, mut length, mut is_json) = (String::new(), 0, false);
    stream.read_line(&mut first).await?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse()?;
        }
        is_json |= line == "content-type: application/json";
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    ensure!(first.starts_with("POST /otlp/v1/traces HTTP/1.1") && is_json, "{first}");
    let status = if refuses { "503 Service Unavailable" } else { "200 OK" };
    stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes()).await?;
    stream.flush().await?;
    if refuses {
        return Ok(Vec::new());
    }
    let message: Value = serde_json::from_slice(&body)?;
    let resource = message["resourceSpans"][0]["resource"]["attributes"].as_array().context("no resource")?;
    ensure!(resource.iter().any(|one| one["key"] == "service.name" && one["value"]["stringValue"] == "omnivisor"));
    let spans = message["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().context("no spans")?;
    Ok(spans.clone())
}

fn attribute(span: &Value, key: &str) -> Value {
    let all = span["attributes"].as_array().into_iter().flatten();
    all.into_iter().find(|one| one["key"] == key).map(|one| one["value"].clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_request_is_a_span_of_its_callers_trace_at_the_collector() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let endpoint = format!("\"http://{}/otlp\"", collector.address);
    let host = Host::start(Settings::new()?.with("telemetry", "otlp_endpoint", &endpoint)).await?;
    let ask = async |id: &str, flags: &str, path: &str| {
        let parent = format!("00-{TRACE}-{PARENT}-{flags}");
        host.admin
            .send("GET", path, &[("traceparent", &parent), ("tracestate", "v=1"), ("x-request-id", id)], vec![])
            .await
    };
    ask("unrecorded", "00", "/api/v1/me").await?.expect_status(200)?;
    ask("recorded", "01", "/api/v1/nodes/nobody").await?.problem(404, "node.not_found")?;
    // The first message was refused for now, so this one was sent again.
    let span = collector.until("recorded").await?;
    assert_eq!((&span["traceId"], &span["parentSpanId"]), (&TRACE.into(), &PARENT.into()));
    assert_eq!((&span["name"], &span["kind"]), (&"GET /api/v1/nodes/{node}".into(), &2.into()));
    assert_eq!(span["traceState"], "v=1");
    assert_eq!(span["status"], serde_json::json!({}), "the caller's own mistake is no failure of the server");
    assert_eq!(attribute(&span, "http.response.status_code")["intValue"], "404");
    assert_eq!(attribute(&span, "error.type")["stringValue"], "node.not_found");
    assert_eq!(attribute(&span, "omnivisor.node")["stringValue"], "nobody");
    let at = |key: &str| span[key].as_str().and_then(|text| text.parse::<u128>().ok()).context(key.to_owned());
    assert!(at("startTimeUnixNano")? < at("endTimeUnixNano")?);
    assert_eq!(span["spanId"].as_str().map(str::len), Some(16));
    assert!(collector.find("unrecorded").is_none(), "the caller said that it is not recorded");

    host.admin.send("GET", "/api/v1/me", &[("x-request-id", "begun-here")], vec![]).await?.expect_status(200)?;
    assert!(collector.until("begun-here").await?.get("parentSpanId").is_none());
    let figures = host.admin.get("/metrics").await?.text();
    let sent = figures.lines().find_map(|line| line.strip_prefix("omnivisor_telemetry_spans_total{outcome=\"sent\"} "));
    assert!(sent.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count >= 2), "{sent:?}");

    host.admin.send("GET", "/api/v1/me", &[("x-request-id", "the-last")], vec![]).await?.expect_status(200)?;
    host.stop().await?;
    assert!(collector.find("the-last").is_some(), "what is left at the end is sent");
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_requests_nothing_and_is_counted() -> anyhow::Result<()> {
    let dead = tests::free_address()?;
    let endpoint = format!("\"http://{dead}\"");
    let host = Host::start(Settings::new()?.with("telemetry", "otlp_endpoint", &endpoint)).await?;
    for _ in 0..20 {
        host.admin.get("/api/v1/me").await?.expect_status(200)?;
    }
    until("the loss is counted", Duration::from_secs(30), async || {
        let figures = host.admin.get("/metrics").await?.text();
        let failed = "omnivisor_telemetry_spans_total{outcome=\"failed\"} ";
        let count = figures.lines().find_map(|line| line.strip_prefix(failed)?.parse::<u64>().ok());
        Ok(count.filter(|count| *count >= 20).map(drop))
    })
    .await?;
    host.stop().await
}
