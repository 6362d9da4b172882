//! The feed's messages against the document that describes them.

use super::SOON;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tests::{Feed, Host, Node, Program, check_schema};

const ALL: &[&str] = &["*/*", "*/*/*"];

/// A key that may read the feed and these besides: its text.
async fn key(host: &Host, scopes: &[&str], more: Value) -> anyhow::Result<String> {
    let mut wish = json!({ "label": "reader", "scopes": scopes });
    for (name, value) in more.as_object().into_iter().flatten() {
        wish[name] = value.clone();
    }
    let created = host.admin.post("/api/v1/api-keys", &wish).await?.expect_status(201)?.json()?;
    Ok(created["text"].as_str().context("a text")?.to_owned())
}

/// Every type of message is provoked on a real host, and each message that came fits what the document says of it.
#[tokio::test]
async fn every_message_is_described_and_is_as_it_is_described() -> anyhow::Result<()> {
    let node = tests::Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let settings = tests::Settings::new()?.node(&node)?.with("plugins", "auth", r#"["auth-token", "auth-local"]"#);
    let host = Host::start(settings).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let document = host.stranger().get("/api/asyncapi.json").await?.expect_status(200)?.json()?;
    assert_eq!(document["asyncapi"], "3.0.0");

    // Quiet for longer than a bookmark takes, meanwhile.
    let mut idle = Feed::open(&host.admin, &["node/none/state"], None).await?;
    let log = "log/alpha/quiet:quiet/stdout";
    let mut feed = Feed::open(&host.admin, ALL, None).await?;
    feed.say(&json!({ "t": "logs", "log": [log] }).to_string()).await?;
    feed.frame("logs", SOON).await?;
    feed.frame("log", SOON).await?;
    host.order("alpha", "quiet:quiet", "stop").await?.expect_status(200)?;
    feed.process_state("alpha", "quiet:quiet", "stopped", SOON).await?;
    // Less than before, for a minute; then all of it again.
    let narrow = key(&host, &["feed.read", "node.read"], json!({ "expires_in_s": 60 })).await?;
    feed.refresh(&narrow, SOON).await?;
    feed.frame("expiring", SOON).await?;
    feed.frame("revoked", SOON).await?;
    let wide = key(&host, &[], json!({})).await?;
    feed.refresh(&wide, SOON).await?;
    feed.frame("resync", SOON).await?;
    feed.frame("snap", SOON).await?;
    assert_eq!(feed.refresh("rubbish", SOON).await?["t"], "error");
    // Lines that are gone are told as skipped to who asks for them.
    let mut late = Feed::open(&host.admin, &["node/none/state"], None).await?;
    let position = late.position();
    drop(late);
    late = Feed::open_with(
        &host.admin,
        &json!({ "sub": ["node/none/state"], "since": position, "log": [log], "log_from": { log: 0 } }),
    )
    .await?;
    late.frame("skip", SOON).await?;
    idle.frame("bm", Duration::from_secs(40)).await?;
    let (stopped, drained) = futures_util::future::join(host.stop(), feed.frame("drain", SOON)).await;
    stopped?;
    drained?;

    let mut seen = BTreeSet::new();
    for frame in idle.frames.iter().chain(&feed.frames).chain(&late.frames) {
        let kind = frame["t"].as_str().context("a type")?;
        let payload = &document["components"]["messages"][kind]["payload"];
        check_schema(&document, payload, frame).with_context(|| format!("{kind}: {frame}"))?;
        seen.insert(kind.to_owned());
    }
    let told = document["operations"]["tell"]["messages"].as_array().context("messages")?;
    let told: BTreeSet<String> =
        told.iter().filter_map(|message| message["$ref"].as_str()?.rsplit('/').next().map(str::to_owned)).collect();
    assert_eq!(seen, told, "each type was seen");
    Ok(())
}
