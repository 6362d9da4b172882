use super::{SOON, one, slow};
use serde_json::{Value, json};
use std::time::Duration;
use tests::{Host, Node, Program, Reply};

const BULK: &str = "/api/v1/bulk";

/// Every line of the answer.
fn lines(reply: &Reply) -> anyhow::Result<Vec<Value>> {
    Ok(reply.text().lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The items of the answer by process, with the last line.
async fn order(host: &Host, body: Value) -> anyhow::Result<(Vec<Value>, Value)> {
    let reply = host.admin.post(BULK, &body).await?.expect_status(202)?;
    assert_eq!(reply.header("content-type"), "application/x-ndjson");
    let mut lines = lines(&reply)?;
    let (plan, end) = (lines.remove(0), lines.pop().unwrap_or_default());
    assert_eq!((&plan["t"], &end["t"]), (&json!("plan"), &json!("end")), "{plan} {end}");
    assert_eq!(plan["items"].as_array().map(Vec::len), Some(lines.len()), "one line for each: {lines:?}");
    assert_eq!(end["total"], lines.len());
    lines.sort_by_key(|line| line["process"].to_string());
    Ok((lines, end))
}

fn outcomes(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["outcome"].as_str().unwrap_or_default()).collect()
}

#[tokio::test]
async fn many_are_ordered_at_once_and_each_is_told_by_itself() -> anyhow::Result<()> {
    let node = Node::new("alpha")
        .program(Program::quiet("a"))
        .program(Program::quiet("b").waiting())
        .program(Program::new("missing", "/nowhere/at-all").waiting());
    let (supervisord, host) = one(node).await?;
    let pid = host.until_process("alpha", "a:a", "running", SOON).await?["pid"].clone();
    let everything = json!({ "operation": "start", "select": [{ "node": "al*" }], "dry_run": true });
    let plan = host.admin.post(BULK, &everything).await?.expect_status(200)?.json()?;
    let planned: Vec<&Value> = plan["items"].as_array().into_iter().flatten().map(|item| &item["process"]).collect();
    assert_eq!(planned, [&json!("a:a"), &json!("b:b"), &json!("missing:missing")], "{plan}");
    assert_eq!(host.process("alpha", "b:b").await?["state"], "stopped", "nothing was done");
    let (items, end) = order(&host, json!({ "operation": "start", "select": [{ "node": "alpha" }] })).await?;
    assert_eq!(outcomes(&items), ["unchanged", "done", "refused"], "{items:?}");
    assert_eq!(items[2]["code"], "process.no_file", "{items:?}");
    assert_eq!((&end["unchanged"], &end["done"], &end["refused"]), (&json!(1), &json!(1), &json!(1)), "{end}");
    assert_eq!(supervisord.pid("a:a").await?, pid);
    let select = json!([{ "node": "alpha", "state": "running", "group": "b" }, { "name": "a" }]);
    let (items, _) = order(&host, json!({ "operation": "restart", "select": select })).await?;
    assert_eq!(outcomes(&items), ["done", "done"], "{items:?}");
    assert_ne!(supervisord.pid("a:a").await?, pid);
    let agreed = json!({ "operation": "start", "select": [{ "node": "al*", "group": "a" }], "plan": plan["id"] });
    host.admin.post(BULK, &agreed).await?.problem(409, "bulk.plan_changed")?;
    let agreed = json!({ "operation": "start", "select": [{ "node": "*" }], "plan": plan["id"] });
    assert_eq!(order(&host, agreed).await?.0.len(), 3, "the same processes, however they were selected");
    for (body, status, code) in [
        (json!({ "operation": "stop", "select": [{ "node": "*" }], "plan": "soon" }), 422, "request.invalid"),
        (json!({ "operation": "stop", "select": [{ "node": "nobody" }] }), 404, "bulk.nothing_selected"),
        (json!({ "operation": "stop", "select": [] }), 422, "request.invalid"),
        (json!({ "operation": "stop", "select": [{}] }), 422, "request.invalid"),
        (json!({ "operation": "dance", "select": [{ "node": "*" }] }), 422, "request.invalid"),
    ] {
        host.admin.post(BULK, &body).await?.problem(status, code)?;
    }
    host.stranger().post(BULK, &everything).await?.problem(401, "auth.required")?;
    host.stop().await
}

#[tokio::test]
async fn a_rolling_restart_stops_at_what_does_not_stay_up() -> anyhow::Result<()> {
    // Long enough for supervisord to call it running, too short for the gate.
    let node = Node::new("alpha")
        .program(Program::script("a", "sleep 3; exit 1").with("autorestart", "false").waiting())
        .program(Program::quiet("b"))
        .program(Program::quiet("c"));
    let (supervisord, host) = one(node).await?;
    let before = host.until_process("alpha", "c:c", "running", SOON).await?["pid"].clone();
    let rolling = json!({ "size": 1, "healthy_ms": 6_000 });
    let body = json!({ "operation": "restart", "select": [{ "node": "*" }], "rolling": rolling });
    let (items, end) = order(&host, body).await?;
    assert_eq!(outcomes(&items), ["failed", "not-sent", "not-sent"], "{items:?}");
    assert_eq!((&items[0]["code"], &items[1]["code"]), (&json!("bulk.unhealthy"), &json!("bulk.aborted")));
    assert_eq!((&end["failed"], &end["not_sent"]), (&json!(1), &json!(2)));
    assert_eq!(supervisord.pid("c:c").await?, before);
    host.stop().await
}

#[tokio::test]
async fn a_client_that_leaves_a_batch_leaves_the_rest_as_it_was() -> anyhow::Result<()> {
    let (supervisord, host) = one(Node::new("alpha").program(slow()).program(Program::quiet("z"))).await?;
    host.until_process("alpha", "slow:slow", "running", SOON).await?;
    let before = host.until_process("alpha", "z:z", "running", SOON).await?["pid"].clone();
    let mut feed = host.feed().await?;
    let body = json!({ "operation": "restart", "select": [{ "node": "alpha" }], "at_once": 1 });
    tokio::select! {
        reply = host.admin.post(BULK, &body) => anyhow::bail!("ended before the first was seen: {reply:?}"),
        stopping = feed.process_state("alpha", "slow:slow", "stopping", SOON) => drop(stopping?),
    }
    feed.process_state("alpha", "slow:slow", "running", SOON).await?;
    tokio::time::sleep(Duration::from_secs(1)).await; // longer than the second order would have taken
    assert_eq!(supervisord.pid("z:z").await?, before, "what was not sent is not sent");
    host.stop().await
}
