//! What `/metrics` says, against what was done.

use super::serving::with_tls;
use super::{SOON, one};
use anyhow::Context as _;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use tests::{Host, Node, Program, Settings, Supervisord, until};

const LIVE: &[&str] = &["live", "live-poll"];

/// Every sample of the page, by its name with its labels as they stand there.
#[derive(Debug)]
struct Page(BTreeMap<String, f64>);

impl Page {
    async fn read(host: &Host) -> anyhow::Result<Self> {
        let text = host.admin.get("/metrics").await?.expect_status(200)?.text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line:?}"))?;
            Ok((name.to_owned(), value.parse()?))
        });
        Ok(Self(samples.collect::<anyhow::Result<_>>()?))
    }

    /// The sample of that name; none counted is none.
    fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// All samples of a family together.
    fn sum(&self, family: &str) -> f64 {
        let is_of = |name: &str| name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        self.0.iter().filter(|(name, _)| is_of(name)).map(|(_, value)| value).sum()
    }
}

#[tokio::test]
async fn p23_the_figures_agree_with_what_was_done() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let before = Page::read(&host).await?;
    for _ in 0..7 {
        host.admin.get("/api/v1/me").await?.expect_status(200)?;
    }
    for operation in ["stop", "start"] {
        host.order("alpha", "quiet:quiet", operation).await?.expect_status(200)?;
    }
    // A host in this process has no file to read again.
    host.admin.post("/api/v1/config/reload", &json!({})).await?.problem(409, "config.no_file")?;
    let feeds = [host.feed().await?, host.feed().await?, host.feed().await?];
    let after = Page::read(&host).await?;
    let rise = |name: &str| after.value(name) - before.value(name);
    for (name, wanted) in [
        (r#"omnivisor_http_requests_total{route="/api/v1/me",method="GET",status="200"}"#, 7.0),
        (r#"omnivisor_http_request_seconds_count{route="/api/v1/me"}"#, 7.0),
        ("omnivisor_orders_total", 2.0),
        (r#"omnivisor_node_call_seconds_count{kind="log"}"#, 0.0),
        (r#"omnivisor_config_changes_total{outcome="unchanged"}"#, 0.0),
        (r#"omnivisor_config_changes_total{outcome="refused"}"#, 1.0),
        ("omnivisor_feed_clients", 3.0),
        (r#"omnivisor_process_restarts_total{node="alpha",group="quiet",process="quiet"}"#, 1.0),
    ] {
        assert!((rise(name) - wanted).abs() < f64::EPSILON, "{name} rose by {}, not {wanted}", rise(name));
    }
    assert!(rise(r#"omnivisor_node_call_seconds_count{kind="order"}"#) >= 2.0, "each order is a call");
    // Each of the orders has a record before it and one behind it, and nothing is written without being counted.
    assert!(rise(r#"omnivisor_store_writes_total{outcome="written"}"#) >= 4.0);
    assert!(rise("omnivisor_store_commit_seconds_count") >= 4.0, "a record behind another is in another commit");
    assert_eq!(after.value(r#"omnivisor_store_condition{condition="good"}"#), 1.0);
    assert_eq!(after.sum("omnivisor_store_condition"), 1.0, "one condition at a time");
    assert_eq!(after.sum("omnivisor_processes"), 1.0, "each process in one state");
    // A call that ends between the two reads of one page shows in one of them; at rest they agree.
    until("the calls and their times agree", SOON, async || {
        let page = Page::read(&host).await?;
        let (calls, times) = (page.sum("omnivisor_node_calls_total"), page.sum("omnivisor_node_call_seconds_count"));
        Ok(((calls - times).abs() < f64::EPSILON).then_some(()))
    })
    .await?;
    drop(feeds);
    until("the feeds are gone from the figures", SOON, async || {
        Ok((Page::read(&host).await?.value("omnivisor_feed_clients") == 0.0).then_some(()))
    })
    .await?;
    host.stop().await
}

#[tokio::test]
async fn a_breaker_is_counted_when_it_opens_and_while_it_is_open() -> anyhow::Result<()> {
    let (mut node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_node("alpha", LIVE, SOON).await?;
    assert_eq!(Page::read(&host).await?.value("omnivisor_node_breaker_opens_total"), 0.0);
    node.kill();
    let limit = Duration::from_secs(60);
    until("the breaker opens", limit, async || {
        Ok((Page::read(&host).await?.value("omnivisor_node_breakers_open") == 1.0).then_some(()))
    })
    .await?;
    let page = Page::read(&host).await?;
    assert_eq!(page.value("omnivisor_node_breaker_opens_total"), 1.0);
    assert_eq!(page.value(r#"omnivisor_node_up{node="alpha",environment=""}"#), 0.0);
    node.start_again().await?;
    host.until_node("alpha", LIVE, limit).await?;
    let page = Page::read(&host).await?;
    assert_eq!(page.value("omnivisor_node_breakers_open"), 0.0, "one good answer closes it");
    assert_eq!(page.value("omnivisor_node_breaker_opens_total"), 1.0);
    host.stop().await
}

/// The families that a text names, without what counters and histograms have behind their names.
fn families(text: &str) -> BTreeSet<&str> {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_of_a_name(c)).filter(|word| word.starts_with("omnivisor_"));
    let ends = ["_total", "_bucket", "_count", "_sum"];
    words.map(|word| ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word)).collect()
}

#[tokio::test]
async fn dashboard_and_alerts_ask_for_what_is_there() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    // Families of certificates are there where there is one.
    let settings = with_tls(Settings::new()?, "127.0.0.1:0".parse()?)?;
    let host = Host::start(settings.node(&node)?).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let page = host.admin.get("/metrics").await?.expect_status(200)?.text();
    let there: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).map(|(name, _)| name).collect();
    for file in ["docs/monitoring/grafana.json", "docs/monitoring/alerts.yml"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file))?;
        let asked = families(&text);
        assert!(asked.len() > 5, "{file} names hardly anything: {asked:?}");
        let missing: Vec<_> = asked.difference(&there).collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}");
    }
    host.stop().await
}
