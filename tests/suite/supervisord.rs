//! What our adapter relies on, asked of a real supervisord without us in between. When a newer supervisord changes one
//! of these facts, this says which; the suites through the host would only say that something is wrong.

use anyhow::Context as _;
use std::time::Duration;
use tests::{Node, Program, Reply, Supervisord, int, text, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SOON: Duration = Duration::from_secs(10);

/// A program that takes two seconds to end.
fn slow() -> Program {
    Program::script("slow", "trap 'sleep 2; exit 0' TERM\nwhile :; do sleep 0.1; done").with("stopwaitsecs", "8")
}

fn fault(reply: &Reply) -> anyhow::Result<i64> {
    let body = reply.text();
    let (_, after) = body.split_once("<name>faultCode</name>").with_context(|| format!("no fault: {body}"))?;
    let number: String = after.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    Ok(number.parse()?)
}

async fn fault_of(node: &Supervisord, method: &str, parameters: &[String]) -> anyhow::Result<i64> {
    fault(&node.call(method, parameters).await?)
}

#[tokio::test]
async fn a_grouped_process_has_no_bare_name() -> anyhow::Result<()> {
    let node = Node::new("alpha").program(Program::quiet("web").processes(2)).program(Program::quiet("lone"));
    let node = Supervisord::start(node).await?;
    assert_eq!(fault_of(&node, "supervisor.getProcessInfo", &[text("web_00")]).await?, 10, "BAD_NAME");
    assert_eq!(node.process("web:web_01", "group").await?, "web");
    assert_eq!(node.process("lone", "group").await?, "lone");
    Ok(())
}

#[tokio::test]
async fn a_stopping_process_takes_neither_stop_nor_start() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(slow())).await?;
    node.until_state("slow:slow", "RUNNING", SOON).await?;
    node.call("supervisor.stopProcess", &[text("slow:slow"), "<boolean>0</boolean>".to_owned()]).await?;
    assert_eq!(node.process("slow:slow", "statename").await?, "STOPPING");
    assert_eq!(fault_of(&node, "supervisor.stopProcess", &[text("slow:slow")]).await?, 70, "NOT_RUNNING is no proof");
    assert_eq!(fault_of(&node, "supervisor.startProcess", &[text("slow:slow")]).await?, 40, "ABNORMAL_TERMINATION");
    node.until_state("slow:slow", "STOPPED", SOON).await
}

#[tokio::test]
async fn a_missing_binary_is_refused_and_an_early_end_backs_off() -> anyhow::Result<()> {
    let early = Program::new("early", "sh -c 'exit 7'").waiting().with("startretries", "5");
    let missing = Program::new("missing", "/nowhere/at-all").waiting();
    let node = Supervisord::start(Node::new("alpha").program(early).program(missing)).await?;
    assert_eq!(fault_of(&node, "supervisor.startProcess", &[text("missing")]).await?, 20, "NO_FILE");
    assert_eq!(fault_of(&node, "supervisor.startProcess", &[text("early")]).await?, 50, "SPAWN_ERROR");
    // Each attempt is seen for a moment as STARTING: on a loaded machine the next one has begun before we look.
    node.until_state("early", "BACKOFF", SOON).await?;
    assert!(node.process("early", "spawnerr").await?.contains("Exited too quickly"));
    Ok(())
}

#[tokio::test]
async fn times_are_whole_seconds_of_the_nodes_own_clock() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    node.until_state("quiet", "RUNNING", SOON).await?;
    let start: i64 = node.process("quiet", "start").await?.parse()?;
    let now: i64 = node.process("quiet", "now").await?.parse()?;
    assert!((0..60).contains(&(now - start)), "{start} {now}");
    Ok(())
}

#[tokio::test]
async fn a_tail_gives_the_last_bytes_wherever_it_was_asked_to_start() -> anyhow::Result<()> {
    let writer = Program::script("writer", "printf 'abcdefghijklmnopqrstuvwxyz'; exec sleep 86400");
    let node = Supervisord::start(Node::new("alpha").program(writer)).await?;
    until("26 bytes are written", SOON, async || {
        let size = node.call("supervisor.tailProcessStdoutLog", &[text("writer"), int(0), int(0)]).await?;
        Ok(size.text().contains("<int>26</int>").then_some(()))
    })
    .await?;
    let tail = node.call("supervisor.tailProcessStdoutLog", &[text("writer"), int(23), int(10)]).await?.text();
    assert!(tail.contains("<string>qrstuvwxyz</string>") && tail.contains("<int>26</int>"), "{tail}");
    let read = node.call("supervisor.readProcessStdoutLog", &[text("writer"), int(23), int(2)]).await?.text();
    assert!(read.contains("<string>xy</string>"), "{read}");
    let last = node.call("supervisor.readProcessStdoutLog", &[text("writer"), int(-3), int(0)]).await?.text();
    assert!(last.contains("<string>xyz</string>"), "{last}");
    assert_eq!(fault_of(&node, "supervisor.readProcessStdoutLog", &[text("writer"), int(-3), int(1)]).await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_cut_character_is_an_http_500_and_a_colour_code_comes_raw() -> anyhow::Result<()> {
    let writer = Program::script("writer", "printf '\\033[31mrot\\033[0m \\303\\244\\303\\266'; exec sleep 86400");
    let node = Supervisord::start(Node::new("alpha").program(writer)).await?;
    until("17 bytes are written", SOON, async || {
        let size = node.call("supervisor.tailProcessStdoutLog", &[text("writer"), int(0), int(0)]).await?;
        Ok(size.text().contains("<int>17</int>").then_some(()))
    })
    .await?;
    let cut = node.call("supervisor.readProcessStdoutLog", &[text("writer"), int(0), int(14)]).await?;
    assert_eq!(cut.status.as_u16(), 500);
    assert!(!cut.text().contains("methodResponse"));
    let whole = node.call("supervisor.readProcessStdoutLog", &[text("writer"), int(0), int(15)]).await?;
    assert!(whole.text().contains("\u{1b}[31mrot\u{1b}[0m ä"), "{}", whole.text());
    Ok(())
}

#[tokio::test]
async fn the_main_log_tells_of_an_exit_as_it_happens() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    node.until_state("quiet", "RUNNING", SOON).await?;
    let client = node.client();
    let mut stream = tokio::net::TcpStream::connect(node.address()).await?;
    let head = format!(
        "GET /mainlogtail HTTP/1.1\r\nHost: node\r\nAuthorization: {}\r\n\r\n",
        client.authorization().unwrap_or_default()
    );
    stream.write_all(head.as_bytes()).await?;
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "spawned: 'quiet'").await?;
    let pid = node.kill_process("quiet").await?;
    read_until(&mut stream, &mut seen, "exited: quiet (terminated by SIGKILL").await?;
    read_until(&mut stream, &mut seen, &format!("spawned: 'quiet' with pid {}", node_pid(&node, pid).await?)).await
}

/// The number of the run after the one that ended.
async fn node_pid(node: &Supervisord, ended: u32) -> anyhow::Result<u32> {
    until("a new run", SOON, async || Ok(node.pid("quiet").await.ok().filter(|&pid| pid != ended))).await
}

async fn read_until(stream: &mut tokio::net::TcpStream, seen: &mut String, words: &str) -> anyhow::Result<()> {
    let mut piece = [0; 4096];
    while !seen.contains(words) {
        let count = tokio::time::timeout(SOON, stream.read(&mut piece)).await.context(seen.clone())??;
        anyhow::ensure!(count > 0, "the stream ended before `{words}`: {seen}");
        seen.push_str(&String::from_utf8_lossy(piece.get(..count).unwrap_or_default()));
    }
    Ok(())
}
