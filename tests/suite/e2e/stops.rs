//! Stopping and signalling at any instant, the start included.

use super::SOON;
use anyhow::Context as _;
use omnivisor::app::{Ended, Launch, RunError, launch};
use omnivisor::config::Defaults;
use omnivisor::plugin::Compiler;
use omnivisor::reload::ConfigFile;
use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tests::{Client, Settings, Signal, omnivisor as binary, send_signal, until};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const BUDGET: Duration = Duration::from_secs(4);
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Instants at which a start is stopped lie within.
const START_WITHIN_MS: u64 = 3_000;

/// Random stops: a thirty-second of the usual number of cases, for each of them starts a whole host. 8 in CI.
fn cases() -> u64 {
    let usual = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256_u64);
    (usual / 32).max(2)
}

/// Sockets of this process.
fn sockets() -> usize {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return 0 };
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// A node that takes connections, reads what comes, and never answers.
async fn silent(calls: Arc<AtomicUsize>, tracker: &TaskTracker) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let inner = tracker.clone();
    tracker.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let calls = Arc::clone(&calls);
            inner.spawn(async move {
                let mut bytes = [0; 4_096];
                while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                    calls.fetch_add(1, SeqCst);
                }
            });
        }
    });
    Ok(port)
}

/// A host on a port of its own, not started yet.
async fn host(
    settings: &Settings,
    path: PathBuf,
    stop: CancellationToken,
) -> anyhow::Result<(SocketAddr, impl Future<Output = Result<Ended, RunError>> + use<>)> {
    let defaults = Defaults {
        storage_path: settings.path("unused.redb"),
        plugins_directory: settings.path("unused"),
        cache_directory: settings.path("unused-cache"),
    };
    let file = ConfigFile::new(path, defaults);
    let (text, config) = file.load()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let launched = launch(Launch {
        config,
        text,
        file: Some(file),
        listeners: vec![listener.into()],
        stop,
        compiler: Compiler::Child { program: binary()? },
        hangups: Arc::default(),
        log_loss: Arc::default(),
        log_level: None,
    });
    Ok((address, launched))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_a_stop_at_any_instant_ends_in_time_and_leaves_nothing() -> anyhow::Result<()> {
    let seed: u64 = match std::env::var("OMNIVISOR_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => std::hash::RandomState::new().hash_one(0),
    };
    println!("OMNIVISOR_SEED={seed}");
    let (calls, tracker) = (Arc::<AtomicUsize>::default(), TaskTracker::new());
    let mut settings = Settings::new()?
        .with("server", "shutdown_timeout_ms", &BUDGET.as_millis().to_string())
        .with("pool", "poll_interval_ms", "100")
        .with("log", "level", "\"off\"");
    let mut nodes = String::new();
    for index in 0..3 {
        let port = silent(Arc::clone(&calls), &tracker).await?;
        nodes.push_str(&format!("[[node]]\nname = \"n{index}\"\nurl = \"http://127.0.0.1:{port}\"\n"));
    }
    let baseline = sockets();
    for case in 0..cases() {
        let after =
            Duration::from_millis((seed.wrapping_add(case)).wrapping_mul(0x9e37_79b9_7f4a_7c15) % START_WITHIN_MS);
        settings = settings.with("pool", "failures_max", &(case % 9 + 1).to_string());
        let path = settings.write()?;
        let text = std::fs::read_to_string(&path)? + &nodes;
        std::fs::write(&path, text)?;
        let (stop, is_over) = (CancellationToken::new(), Arc::<AtomicBool>::default());
        let (address, launched) = host(&settings, path, stop.clone()).await?;
        let host = tracker.spawn(launched);
        let asking = Arc::clone(&is_over);
        let client = tracker.spawn(async move {
            while !asking.load(SeqCst) {
                drop(timeout(Duration::from_millis(200), Client::new(address).get("/readyz")).await);
            }
        });
        // Every other host is stopped while it starts, or soon after; the others while they call their nodes.
        if case % 2 == 1 {
            let before = calls.load(SeqCst);
            let what = format!("case {case} calls a node");
            until(&what, READY_WITHIN, async || Ok((calls.load(SeqCst) > before).then_some(()))).await?;
        }
        tokio::time::sleep(if case % 2 == 1 { after / 8 } else { after }).await;
        stop.cancel();
        let began = Instant::now();
        let ended = timeout(BUDGET + Duration::from_secs(1), host).await;
        let what = format!("case {case}, stopped after {after:?}, seed {seed}");
        let ended = ended.with_context(|| format!("{what}: it did not end"))???;
        assert_eq!(ended, Ended::Clean, "{what}, after {:?}", began.elapsed());
        is_over.store(true, SeqCst);
        client.await?;
        until(&format!("{what}: no socket is left"), SOON, async || Ok((sockets() <= baseline).then_some(()))).await?;
        // All that was sent before the end is read.
        let called = calls.load(SeqCst);
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(calls.load(SeqCst), called, "{what}: a call began after the end");
    }
    Ok(())
}

/// A server as a process, which nobody waits for.
fn serve(settings: &Settings, stderr: Stdio) -> anyhow::Result<Child> {
    let mut command = Command::new(binary()?);
    command.arg("serve").arg("--config").arg(settings.write()?);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).kill_on_drop(true).spawn()?)
}

/// Whether a process has handlers for SIGHUP, SIGINT and SIGTERM.
fn hears(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    let wanted = 1 | 1 << 1 | 1 << 14;
    u64::from_str_radix(caught.trim(), 16).is_ok_and(|mask| mask & wanted == wanted)
}

#[tokio::test]
async fn signals_during_the_start_kill_nothing_and_end_it_in_order() -> anyhow::Result<()> {
    let settings = Settings::new()?.with("log", "level", "\"info\"");
    for pause in [0, 5, 40, 200, 800] {
        let mut child = serve(&settings, Stdio::null())?;
        let pid = child.id().context("it runs")?;
        until("it hears signals", SOON, async || Ok(hears(pid).then_some(()))).await?;
        send_signal(Signal::Hangup, pid)?;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        send_signal(Signal::Hangup, pid)?;
        send_signal(Signal::Terminate, pid)?;
        let status = timeout(Duration::from_secs(11), child.wait()).await.context("it did not end in time")??;
        assert_eq!(status.code(), Some(0), "{status} after {pause} ms");
    }
    // A second signal is a demand.
    let mut child = serve(&settings, Stdio::null())?;
    let pid = child.id().context("it runs")?;
    until("it hears signals", SOON, async || Ok(hears(pid).then_some(()))).await?;
    send_signal(Signal::Terminate, pid)?;
    send_signal(Signal::Interrupt, pid)?;
    let status = timeout(Duration::from_secs(5), child.wait()).await.context("it did not end at once")??;
    assert!(matches!(status.code(), Some(0 | 75)), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_full_log_pipe_holds_up_neither_requests_nor_the_end() -> anyhow::Result<()> {
    let address = tests::free_address()?;
    let settings =
        Settings::new()?.with("server", "listen", &format!("\"{address}\"")).with("log", "level", "\"trace\"");
    let settings = settings.with("metrics", "open", "true");
    // Nobody ever reads the pipe.
    let mut child = serve(&settings, Stdio::piped())?;
    let client = Client::new(address);
    until("it is ready", Duration::from_secs(60), async || {
        Ok(client.get("/readyz").await.ok().filter(|reply| reply.status == 200).map(drop))
    })
    .await?;
    until("the pipe and the queue are full", Duration::from_secs(60), async || {
        for _ in 0..500 {
            let reply = timeout(SOON, client.get("/livez")).await.context("a request waited for the log")??;
            reply.expect_status(200)?;
        }
        let metrics = client.get("/metrics").await?.text();
        let dropped = metrics.lines().find_map(|line| line.strip_prefix("omnivisor_log_lines_dropped_total "));
        Ok(dropped.is_some_and(|count| count != "0").then_some(()))
    })
    .await?;
    send_signal(Signal::Terminate, child.id().context("it runs")?)?;
    let status = timeout(Duration::from_secs(11), child.wait()).await.context("it did not end")??;
    assert_eq!(status.code(), Some(0), "{status}");
    Ok(())
}
