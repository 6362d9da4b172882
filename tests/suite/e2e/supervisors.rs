//! What operators do beyond starting and stopping one process: signals, input, groups, and the supervisor itself.

use super::{SOON, one, slow, user};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::time::Duration;
use tests::{Host, Monit, Node, Program, Reply, Service, Settings, Supervisord, until};

/// Says which signals it gets.
const LISTENER: &str = "trap 'echo got HUP' HUP\ntrap 'echo got USR1' USR1\nwhile :; do sleep 0.1; done";
/// Says what it reads.
const READER: &str = "while read -r line; do echo \"read $line\"; done";

async fn post(host: &Host, path: &str, body: Value) -> anyhow::Result<Reply> {
    host.admin.post(&format!("/api/v1/nodes/alpha/{path}"), &body).await
}

/// Waits until a log of `alpha` holds these words.
async fn says(host: &Host, process: &str, words: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/nodes/alpha/processes/{process}/logs/stdout");
    until(&format!("`{process}` says `{words}`"), SOON, async || {
        let reply = host.admin.get(&path).await?;
        Ok((reply.status == 200 && reply.text().contains(words)).then_some(()))
    })
    .await
}

/// Writes the node's file anew.
fn rewrite(node: &Supervisord, change: impl FnOnce(String) -> String) -> anyhow::Result<()> {
    let path = node.folder().join("supervisord.conf");
    let text = std::fs::read_to_string(&path)?;
    Ok(std::fs::write(&path, change(text))?)
}

#[tokio::test]
async fn a_program_sees_its_signal_and_its_input_and_a_cleared_log_is_empty() -> anyhow::Result<()> {
    let node =
        Node::new("alpha").program(Program::script("listener", LISTENER)).program(Program::script("reader", READER));
    let (_node, host) = one(node.program(Program::quiet("down").waiting())).await?;
    let running = host.until_process("alpha", "listener:listener", "running", SOON).await?;
    let path = "processes/listener:listener";
    let sent =
        post(&host, &format!("{path}/signal"), json!({ "signal": "SIGHUP" })).await?.expect_status(200)?.json()?;
    assert_eq!((&sent["operation"], &sent["outcome"]), (&"signal".into(), &"done".into()), "{sent}");
    says(&host, "listener:listener", "got HUP").await?;
    let reader = "processes/reader:reader";
    let said = post(&host, &format!("{reader}/input"), json!({ "text": "gr\u{fc}\u{df} <&>\n" })).await?;
    said.expect_status(200)?;
    says(&host, "reader:reader", "read gr\u{fc}\u{df} <&>").await?;
    let user = user(&host).await?;
    let run = user.run(&["signal", "usr1", "alpha/listener:listener"]).await?;
    assert_eq!((run.code, run.stdout.as_str()), (0, "alpha/listener:listener: USR1 sent\n"), "{run:?}");
    says(&host, "listener:listener", "got USR1").await?;
    let run = user.run(&["stdin", "alpha/reader:reader", "from the terminal"]).await?;
    assert_eq!(run.code, 0, "{run:?}");
    says(&host, "reader:reader", "read from the terminal").await?;
    assert_eq!(host.process("alpha", "listener:listener").await?["pid"], running["pid"], "none of it ended it");

    post(&host, &format!("{path}/clear-logs"), json!({})).await?.expect_status(200)?;
    let log = host.admin.get(&format!("/api/v1/nodes/alpha/{path}/logs/stdout")).await?;
    assert!(log.status == 404 || log.json()?["size"] == 0, "{log:?}");

    for (body, code) in [
        (json!({ "signal": "DANCE" }), "request.invalid"),
        (json!({ "signal": "SEGV" }), "request.invalid"),
        (json!({}), "request.invalid"),
    ] {
        post(&host, &format!("{path}/signal"), body).await?.problem(422, code)?;
    }
    let long = "x".repeat(16_385);
    for body in [json!({ "text": "" }), json!({ "text": long }), json!({}), json!({ "text": "a", "base64": "YQ==" })] {
        post(&host, &format!("{path}/input"), body).await?.problem(422, "request.invalid")?;
    }
    let binary = post(&host, &format!("{reader}/input"), json!({ "base64": "/w==" })).await?;
    binary.problem(422, "process.input_not_text")?;
    let down = "processes/down:down";
    post(&host, &format!("{down}/signal"), json!({ "signal": "HUP" })).await?.problem(409, "process.not_running")?;
    post(&host, &format!("{down}/input"), json!({ "text": "x" })).await?.problem(409, "process.not_running")?;
    let nobody = post(&host, "processes/no:no/signal", json!({ "signal": "HUP" })).await?;
    nobody.problem(404, "process.not_found")?;
    Ok(())
}

#[tokio::test]
async fn a_group_stops_starts_and_restarts_as_one() -> anyhow::Result<()> {
    let node =
        Node::new("alpha").program(Program::quiet("a").processes(2)).program(slow()).program(Program::quiet("lone"));
    let (node, host) = one(node.group("web", "a,slow")).await?;
    let ids = ["web:a_00", "web:a_01", "web:slow"];
    let mut before = vec![];
    for id in ids {
        before.push(host.until_process("alpha", id, "running", SOON).await?["pid"].clone());
    }
    let lone = node.pid("lone").await?;
    let result = post(&host, "groups/web/restart", json!({})).await?.expect_status(200)?.json()?;
    assert_eq!((&result["outcome"], result["items"].as_array().map(Vec::len)), (&"done".into(), Some(3)), "{result}");
    for (id, before) in ids.into_iter().zip(before) {
        assert_ne!(node.pid(id).await?, before);
    }
    let stopping = post(&host, "groups/web/stop", json!({ "wait_ms": 300 })).await?.expect_status(202)?.json()?;
    assert_eq!(stopping["outcome"], "in-progress", "{stopping}");
    host.until_process("alpha", "web:slow", "stopped", SOON).await?;
    let again = post(&host, "groups/web/stop", json!({})).await?.expect_status(200)?.json()?;
    assert_eq!(again["outcome"], "unchanged", "{again}");
    let user = user(&host).await?;
    let run = user.run(&["group", "start", "alpha/web"]).await?;
    assert!(run.code == 0 && run.stdout.lines().count() == 3 && run.stdout.contains("started in"), "{run:?}");
    assert_eq!(node.pid("lone").await?, lone, "it is of no group but its own");
    post(&host, "groups/none/start", json!({})).await?.problem(404, "group.not_found")?;
    Ok(())
}

#[tokio::test]
async fn a_changed_file_is_told_by_reread_and_run_by_update() -> anyhow::Result<()> {
    let node = Node::new("alpha").program(Program::quiet("kept")).program(Program::quiet("old"));
    let (node, host) = one(node.program(Program::quiet("turned"))).await?;
    for id in ["kept:kept", "old:old", "turned:turned"] {
        host.until_process("alpha", id, "running", SOON).await?;
    }
    let (kept, turned) = (node.pid("kept").await?, node.pid("turned").await?);
    let nothing = post(&host, "reread", json!({})).await?.expect_status(200)?.json()?;
    assert_eq!(nothing, json!({ "node": "alpha", "added": [], "changed": [], "removed": [] }));
    let good = std::fs::read_to_string(node.folder().join("supervisord.conf"))?;
    rewrite(&node, |text| format!("{text}\n[program:broken]\n"))?;
    let broken = post(&host, "reread", json!({})).await?.problem(409, "node.cannot_reread")?;
    assert!(broken["detail"].as_str().is_some_and(|words| words.contains("broken")), "its own words: {broken}");
    let changed = good
        .replace("[program:old]\ncommand=sleep 86400\n", "[program:new]\ncommand=sleep 86400\n")
        .replace("[program:turned]\ncommand=sleep 86400\n", "[program:turned]\ncommand=sleep 86399\n");
    rewrite(&node, |_| changed)?;
    let expected = json!({ "node": "alpha", "added": ["new"], "changed": ["turned"], "removed": ["old"] });
    assert_eq!(post(&host, "reread", json!({})).await?.expect_status(200)?.json()?, expected);
    assert_eq!(node.pid("old").await.map(|_| ()).ok(), Some(()), "reading changes nothing");

    for body in [json!({}), json!({ "confirm": "beta" })] {
        post(&host, "update", body).await?.problem(422, "request.invalid")?;
    }
    let user = user(&host).await?;
    let unasked = user.run(&["node", "update", "alpha"]).await?;
    assert_eq!(unasked.code, 64, "{unasked:?}");
    let run = user.run(&["node", "update", "--yes", "alpha"]).await?;
    assert_eq!((run.code, run.stdout.as_str()), (0, "old: removed\nturned: changed\nnew: added\n"), "{run:?}");
    host.until_process("alpha", "new:new", "running", SOON).await?;
    host.until_process("alpha", "turned:turned", "running", SOON).await?;
    host.admin.get("/api/v1/nodes/alpha/processes/old:old").await?.problem(404, "process.not_found")?;
    assert_ne!(node.pid("turned").await?, turned);
    assert_eq!(node.pid("kept").await?, kept, "what did not change is not touched");
    let nothing = post(&host, "update", json!({ "confirm": "alpha" })).await?.expect_status(200)?.json()?;
    assert_eq!((&nothing["outcome"], &nothing["groups"]), (&"unchanged".into(), &json!([])), "{nothing}");
    Ok(())
}

#[tokio::test]
async fn a_restarted_supervisor_comes_back_and_no_process_is_told_as_gone_or_new() -> anyhow::Result<()> {
    let (node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let pid = node.pid("quiet").await?;
    post(&host, "restart", json!({ "confirm": "nobody" })).await?.problem(422, "request.invalid")?;
    let log = host.admin.get("/api/v1/nodes/alpha/log").await?.expect_status(200)?.json()?;
    assert!(log["text"].as_str().is_some_and(|text| text.contains("spawned: 'quiet'")), "{log}");
    let mut feed = host.feed().await?;
    let taken = post(&host, "restart", json!({ "confirm": "alpha" })).await?.expect_status(202)?.json()?;
    assert_eq!(taken["outcome"], "accepted", "{taken}");
    let mut states = vec![];
    let mut is_anew = false;
    while !is_anew || states.last().is_none_or(|state| state == "shutting-down") {
        let event = feed.event("the node comes back", SOON, |_| true).await?;
        anyhow::ensure!(event["kind"] == "changed", "nothing comes or goes: {event}");
        if let Some(state) = event["state"]["state"].as_str() {
            states.push(state.to_owned());
        }
        is_anew |= event["process"]["state"] == "running" && event["process"]["pid"] != pid;
    }
    states.dedup();
    anyhow::ensure!(
        states.first().is_some_and(|state| state == "shutting-down")
            && states.iter().all(|state| matches!(state.as_str(), "shutting-down" | "live" | "live-poll")),
        "it was never failing: {states:?}"
    );
    assert_ne!(node.pid("quiet").await?, pid);

    post(&host, "shutdown", json!({ "confirm": "alpha" })).await?.expect_status(202)?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(host.node("alpha").await?["state"], "shutting-down", "what it was told to do is no failure");
    Ok(())
}

#[tokio::test]
async fn what_a_kind_of_node_cannot_do_is_not_offered_and_refused_before_it_is_sent() -> anyhow::Result<()> {
    let alpha = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let mona = Monit::start("mona", vec![Service::quiet("web").with("group farm")]).await?;
    let host = Host::start(Settings::new()?.node(&alpha)?.monit(&mona)?).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    host.until_process("mona", "farm:web", "running", SOON).await?;
    let offered = host.node("alpha").await?["abilities"].clone();
    let offered = offered.as_array().context("a list")?.clone();
    for word in ["signal", "send-input", "clear-logs", "group-restart", "reread", "update", "restart-node", "node-log"]
    {
        assert!(offered.contains(&word.into()), "{word} of {offered:?}");
    }
    assert_eq!(host.node("mona").await?["abilities"], json!([]));
    for (path, body) in [
        ("processes/farm:web/signal", json!({ "signal": "HUP" })),
        ("processes/farm:web/input", json!({ "text": "x" })),
        ("processes/farm:web/clear-logs", json!({})),
        ("groups/farm/restart", json!({})),
        ("reread", json!({})),
        ("update", json!({ "confirm": "mona" })),
        ("restart", json!({ "confirm": "mona" })),
        ("shutdown", json!({ "confirm": "mona" })),
    ] {
        let reply = host.admin.post(&format!("/api/v1/nodes/mona/{path}"), &body).await?;
        reply.problem(422, "operation.unsupported")?;
    }
    host.admin.get("/api/v1/nodes/mona/log").await?.problem(422, "operation.unsupported")?;
    Ok(())
}
