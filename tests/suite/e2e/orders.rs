use super::{SOON, one, slow};
use serde_json::json;
use std::time::Duration;
use tests::{Node, Program};

#[tokio::test]
async fn a_restart_of_a_slow_stopper_waits_for_its_end_and_runs_anew() -> anyhow::Result<()> {
    let (node, host) = one(Node::new("alpha").program(slow())).await?;
    let before = host.until_process("alpha", "slow:slow", "running", SOON).await?["pid"].clone();
    let mut feed = host.feed().await?;
    let result = host.order("alpha", "slow:slow", "restart").await?.expect_status(200)?.json()?;
    assert_eq!((&result["outcome"], &result["state"]), (&"done".into(), &"running".into()), "{result}");
    assert!(result["took_ms"].as_u64().is_some_and(|took| took >= 2_000), "{result}");
    for state in ["stopping", "stopped", "starting", "running"] {
        feed.process_state("alpha", "slow:slow", state, SOON).await?;
    }
    assert_ne!(node.pid("slow:slow").await?, before);
    Ok(())
}

#[tokio::test]
async fn a_slow_stop_is_in_progress_and_no_failure() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(slow())).await?;
    host.until_process("alpha", "slow:slow", "running", SOON).await?;
    let path = "/api/v1/nodes/alpha/processes/slow:slow";
    let reply = host.admin.post(&format!("{path}/stop"), &json!({ "wait_ms": 300 })).await?;
    let result = reply.expect_status(202)?.json()?;
    assert_eq!((&result["outcome"], &result["state"]), (&"in-progress".into(), &"stopping".into()), "{result}");
    let busy = host.admin.post(&format!("{path}/start"), &json!({})).await?;
    let code = busy.json()?["code"].clone();
    assert!(code == "process.stopping" || code == "process.busy", "{code}");
    busy.problem(409, code.as_str().unwrap_or_default())?;
    host.until_process("alpha", "slow:slow", "stopped", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn an_order_that_is_fulfilled_already_changes_nothing() -> anyhow::Result<()> {
    let node = Node::new("alpha").program(Program::quiet("up")).program(Program::quiet("down").waiting());
    let (node, host) = one(node).await?;
    let pid = host.until_process("alpha", "up:up", "running", SOON).await?["pid"].clone();
    let result = host.order("alpha", "up:up", "start").await?.expect_status(200)?.json()?;
    assert_eq!(result["outcome"], "unchanged");
    assert_eq!(node.pid("up:up").await?, pid);
    let result = host.order("alpha", "down:down", "stop").await?.expect_status(200)?.json()?;
    assert_eq!(result["outcome"], "unchanged");
    let result = host.order("alpha", "down:down", "restart").await?.expect_status(200)?.json()?;
    assert_eq!((&result["outcome"], &result["state"]), (&"done".into(), &"running".into()), "{result}");
    Ok(())
}

#[tokio::test]
async fn a_missing_binary_is_the_nodes_fault_and_named() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(Program::new("missing", "/nowhere/at-all").waiting())).await?;
    let problem = host.order("alpha", "missing:missing", "start").await?.problem(502, "process.no_file")?;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("alpha")), "{problem}");
    Ok(())
}

#[tokio::test]
async fn a_program_that_dies_at_once_has_failed_and_says_why() -> anyhow::Result<()> {
    let early = Program::new("early", "sh -c 'exit 7'").waiting().with("startretries", "1");
    let (_node, host) = one(Node::new("alpha").program(early)).await?;
    let result = host.order("alpha", "early:early", "start").await?.expect_status(200)?.json()?;
    assert_eq!(result["outcome"], "failed", "{result}");
    assert!(matches!(result["state"].as_str(), Some("backoff" | "fatal" | "exited")), "{result}");
    let process = host.until_process("alpha", "early:early", "fatal", SOON).await?;
    assert!(process["message"].as_str().is_some_and(|words| words.contains("Exited too quickly")), "{process}");
    Ok(())
}

#[tokio::test]
async fn an_order_goes_on_when_its_client_leaves() -> anyhow::Result<()> {
    let (node, host) = one(Node::new("alpha").program(slow())).await?;
    let before = host.until_process("alpha", "slow:slow", "running", SOON).await?["pid"].clone();
    let mut feed = host.feed().await?;
    let order = host.order("alpha", "slow:slow", "restart");
    let leaves = async {
        feed.process_state("alpha", "slow:slow", "stopping", SOON).await?;
        anyhow::Ok(())
    };
    tokio::select! {
        reply = order => anyhow::bail!("answered before the stop was seen: {reply:?}"),
        left = leaves => left?,
    }
    feed.process_state("alpha", "slow:slow", "running", SOON).await?;
    assert_ne!(node.pid("slow:slow").await?, before);
    Ok(())
}

#[tokio::test]
async fn an_order_of_no_wait_is_answered_at_once() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(slow())).await?;
    host.until_process("alpha", "slow:slow", "running", SOON).await?;

    let begin = tokio::time::Instant::now();
    let reply = host.admin.post("/api/v1/nodes/alpha/processes/slow:slow/stop", &json!({ "wait_ms": 0 })).await?;
    assert_eq!(reply.expect_status(202)?.json()?["outcome"], "in-progress");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    Ok(())
}
