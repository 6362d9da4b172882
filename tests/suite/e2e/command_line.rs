use super::{SOON, one, user};
use anyhow::Context as _;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use tests::{ADMIN, CommandLine, Node, Program};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStdout;

#[tokio::test]
async fn a_user_logs_in_looks_and_restarts() -> anyhow::Result<()> {
    let (node, host) = one(Node::new("alpha").program(Program::quiet("quiet").processes(2))).await?;
    for id in ["quiet:quiet_00", "quiet:quiet_01"] {
        host.until_process("alpha", id, "running", SOON).await?;
    }
    let user = user(&host).await?;
    let session = user.home().join("state/omnivisor/session.json");
    assert_eq!(std::fs::metadata(&session)?.permissions().mode() & 0o777, 0o600);

    let status = user.run(&["status"]).await?;
    assert_eq!(status.code, 0, "{status:?}");
    for word in ["alpha", "quiet_00", "quiet_01", "running"] {
        assert!(status.stdout.contains(word), "no {word}: {status:?}");
    }
    let status = user.run(&["status", "--json"]).await?;
    let document: Value = serde_json::from_str(&status.stdout).with_context(|| status.stdout.clone())?;
    assert_eq!(document["items"][0]["name"], "alpha", "{document}");

    let before = node.pid("quiet:quiet_00").await?;
    let restart = user.run(&["restart", "alpha/quiet:quiet_00", "--json"]).await?;
    assert_eq!(restart.code, 0, "{restart:?}");
    assert!(restart.stdout.contains("\"done\""), "{restart:?}");
    assert_ne!(node.pid("quiet:quiet_00").await?, before);

    let stop = user.run(&["stop", "--yes", "alpha/quiet:*"]).await?;
    assert_eq!(stop.code, 0, "{stop:?}");
    for id in ["quiet:quiet_00", "quiet:quiet_01"] {
        assert_eq!(node.process(id, "statename").await?, "STOPPED");
    }
    let start = user.run(&["start", "--yes", "--rolling", "1", "--healthy", "1", "alpha/quiet:*"]).await?;
    assert_eq!((start.code, start.stdout.lines().last()), (0, Some("2 started")), "{start:?}");
    Ok(())
}

#[tokio::test]
async fn a_pipe_is_given_a_logs_own_bytes() -> anyhow::Result<()> {
    let script = "printf '\\033[31mrot\\033[0m \\303\\244\\n'; exec sleep 86400";
    let (_node, host) = one(Node::new("alpha").program(Program::script("writer", script))).await?;
    let user = user(&host).await?;
    let tail = tests::until("the log is written", SOON, async || {
        let run = user.run(&["tail", "alpha/writer:writer"]).await?;
        Ok((run.code == 0 && !run.stdout.is_empty()).then_some(run))
    })
    .await?;
    assert_eq!(tail.stdout, "\u{1b}[31mrot\u{1b}[0m \u{e4}\n");
    Ok(())
}

#[tokio::test]
async fn a_followed_log_goes_on_where_its_history_ends() -> anyhow::Result<()> {
    let script = "n=0; while :; do n=$((n+1)); echo \"line $n\"; sleep 0.05; done";
    let (node, host) = one(
        Node::new("alpha").program(Program::script("writer", script).with("stdout_logfile", "%(here)s/writer.log"))
    )
    .await?;
    tests::until("the log has begun", SOON, async || {
        let size = std::fs::metadata(node.folder().join("writer.log")).map(|file| file.len()).unwrap_or_default();
        Ok((size > 200).then_some(()))
    })
    .await?;
    let user = user(&host).await?;
    let mut child = user.command(&["logs", "-f", "-n", "100", "alpha/writer:writer"])?.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
    let mut told = Vec::new();
    while told.len() < 60 {
        let line = tokio::time::timeout(SOON, lines.next_line()).await.context("no line in time")??;
        told.push(line.context("the command ended")?);
    }
    tests::send_signal(tests::Signal::Interrupt, child.id().context("it runs")?)?;
    let ended = tokio::time::timeout(SOON, child.wait_with_output()).await.context("it did not end")??;
    assert_eq!(ended.status.code(), Some(0), "Ctrl-C is how it is left");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "nothing was lost");
    // The history may begin in the middle of a line; from the second on each follows the one before.
    let numbers: Vec<u64> = told[1..].iter().map(|line| line["line ".len()..].parse().expect("a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn watching_prints_each_change_as_a_document() -> anyhow::Result<()> {
    let (node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let user = user(&host).await?;
    let mut child = user.command(&["watch", "--json"])?.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
    document(&mut lines, |line| line["t"] == "ready").await?;
    let killed = node.kill_process("quiet:quiet").await?;
    document(&mut lines, |frame| frame["process"]["id"] == "quiet:quiet" && frame["process"]["pid"] != killed).await?;
    child.kill().await?;
    Ok(())
}

async fn document(lines: &mut Lines<BufReader<ChildStdout>>, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let find = async {
        loop {
            let line = lines.next_line().await?.context("the command ended")?;
            let frame: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if wanted(&frame) {
                return anyhow::Ok(frame);
            }
        }
    };
    tokio::time::timeout(SOON, find).await.context("no such document in time")?
}

#[tokio::test]
async fn exit_codes_tell_scripts_what_is_wrong() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let stranger = CommandLine::new(host.address())?;
    assert_eq!(stranger.run(&["status"]).await?.code, 77, "not logged in");
    let file = stranger.home().join("password");
    std::fs::write(&file, "canary-wrong-password")?;
    let login = stranger.run(&["login", "--username", ADMIN, "--password-file", &file.to_string_lossy()]).await?;
    assert_eq!(login.code, 77, "wrong password: {login:?}");
    assert!(!format!("{login:?}").contains("canary"), "{login:?}");

    let user = user(&host).await?;
    for (arguments, code) in [
        (vec!["status", "nobody"], 66),
        (vec!["restart", "alpha/no:no"], 66),
        (vec!["restart"], 64),
        (vec!["dance"], 64),
        (vec!["tail", "alpha/no:no"], 66),
        (vec!["stop", "--dry-run", "alpha/*:*"], 0),
    ] {
        let run = user.run(&arguments).await?;
        assert_eq!(run.code, code, "{arguments:?}: {run:?}");
        assert!(code == 0 || !run.stderr.is_empty(), "{arguments:?} says nothing: {run:?}");
    }
    assert_eq!(host.process("alpha", "quiet:quiet").await?["state"], "running", "a dry run sends nothing");
    host.stop().await?;
    assert_eq!(user.run(&["status"]).await?.code, 69, "nobody there");
    Ok(())
}
