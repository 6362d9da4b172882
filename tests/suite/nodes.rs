//! The harness's own promises: what a suite starts is real, answers, and is gone afterwards.

use std::path::Path;
use std::time::Duration;
use tests::{Node, Program, Signal, Supervisord, send_signal};

const SOON: Duration = Duration::from_secs(10);

fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test]
async fn a_dropped_node_leaves_no_process_and_no_file() -> anyhow::Result<()> {
    let nest = Program::script("nest", "sleep 86400 & sleep 86400 & wait");
    let node = Supervisord::start(Node::new("alpha").program(nest).program(Program::quiet("quiet"))).await?;
    node.until_state("nest:nest", "RUNNING", SOON).await?;
    node.until_state("quiet:quiet", "RUNNING", SOON).await?;
    let family =
        tests::until("all have started", SOON, async || Ok(Some(node.family()).filter(|family| family.len() == 5)))
            .await?;
    let folder = node.folder().to_owned();
    drop(node);
    assert!(!Path::new(&folder).exists());
    assert_eq!(family.into_iter().filter(|&pid| is_alive(pid)).count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_frozen_node_is_dropped_as_well() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    node.until_state("quiet:quiet", "RUNNING", SOON).await?;
    let family = node.family();
    node.freeze()?;
    drop(node);
    assert_eq!(family.into_iter().filter(|&pid| is_alive(pid)).count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_killed_node_comes_back_on_its_port() -> anyhow::Result<()> {
    let mut node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let address = node.address();
    node.kill();
    assert!(node.call("supervisor.getState", &[]).await.is_err());
    node.start_again().await?;
    assert_eq!(node.address(), address);
    node.until_state("quiet:quiet", "RUNNING", SOON).await
}

#[tokio::test]
async fn a_node_asks_for_its_password() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha")).await?;
    let stranger = tests::Client::new(node.address());
    let reply = stranger.send("POST", "/RPC2", &[("content-type", "text/xml")], Vec::new()).await?;
    assert_eq!(reply.status.as_u16(), 401, "S19");
    assert!(reply.header("www-authenticate").starts_with("Basic"), "S19");
    Ok(())
}

#[test]
fn a_signal_to_nobody_is_an_error() {
    assert!(send_signal(Signal::Continue, 4_194_304).is_err());
}

#[tokio::test]
async fn a_node_that_is_dropped_while_it_starts_things_leaves_none_of_them() -> anyhow::Result<()> {
    // Programs that end at once and are started again and again: there is always one on its way.
    let mut node = Node::new("alpha");
    for at in 0..8 {
        let busy = Program::script(&format!("busy{at}"), "sleep 0.1 & sleep 86400 & sleep 0.01");
        node = node.program(busy.with("startsecs", "0"));
    }
    for _ in 0..5 {
        let node = Supervisord::start(node.clone()).await?;
        let folder = node.folder().to_string_lossy().into_owned();
        drop(node);
        let left = std::fs::read_dir("/proc")?.flatten().filter(|entry| {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&folder)
        });
        assert_eq!(left.count(), 0);
    }
    Ok(())
}
