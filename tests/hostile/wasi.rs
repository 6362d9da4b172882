//! Components of other toolchains: WASI 0.2 is there, closed, and held by the same limits as everything else.

use crate::component::guest;
use crate::logged::Logged;
use crate::place::{LIMITS, Node, Place};
use omnivisor::config::CallLimits;
use omnivisor::plugin::{AdapterError, LoadedPlugins, PluginFailure};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

async fn load(fixture: &str, limits: CallLimits) -> anyhow::Result<LoadedPlugins> {
    let mut place = Place::new()?.adapter("node-wasi", &guest(fixture)?)?;
    place.config.adapter_limits = limits;
    place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

async fn observe(loaded: &LoadedPlugins) -> anyhow::Result<Result<usize, AdapterError>> {
    let adapter = loaded.set.adapters.get("node-wasi").ok_or_else(|| anyhow::anyhow!("it was loaded"))?;
    let observed = adapter.observe(Arc::new(Node::Answers), Instant::now() + Duration::from_secs(20)).await;
    Ok(observed.map(|observation| observation.processes.len()))
}

async fn failure(fixture: &str) -> anyhow::Result<(PluginFailure, LoadedPlugins)> {
    let loaded = load(fixture, LIMITS).await?;
    match observe(&loaded).await? {
        Err(AdapterError::Plugin(failure)) => Ok((failure, loaded)),
        other => anyhow::bail!("`{fixture}` got away with {other:?}"),
    }
}

fn out_of_fuel() -> PluginFailure {
    PluginFailure::OutOfFuel { plugin: "node-wasi".to_owned(), limit: LIMITS.fuel }
}

#[tokio::test]
async fn clocks_random_numbers_and_standard_error_are_there_and_nothing_of_the_machine() -> anyhow::Result<()> {
    let loaded = load("wasi-guest", LIMITS).await?;
    let logged = Logged::start();
    assert_eq!(observe(&loaded).await?, Ok(1));
    let lines = logged.lines();
    for line in ["hello from WASI", "second"] {
        assert_eq!(lines.iter().filter(|told| told.contains(line)).count(), 1, "{line}: {lines:#?}");
    }
    assert!(lines.iter().all(|line| line.contains("plugin=\"node-wasi\"")), "{lines:#?}");
    let fuel = loaded.plugins[0].counters.snapshot().fuel_last;
    // 12 calls, each 1,000 units, and the bytes.
    assert!((12_000..14_000).contains(&fuel), "{fuel}");
    Ok(())
}

#[tokio::test]
async fn who_asks_for_sockets_is_refused_by_name() -> anyhow::Result<()> {
    let place = Place::new()?.adapter("node-wasi", &guest("wasi-sockets")?)?;
    let errors = place.load().await.map(|_| ()).expect_err("sockets");
    let told = errors[0].to_string();
    assert!(told.contains("imports `wasi:sockets/network@0.2.0`, `wasi:sockets/instance-network@0.2.0`"), "{told}");
    assert_eq!(errors[0].code(), "plugin.forbidden_import");
    Ok(())
}

#[tokio::test]
async fn a_wait_ends_with_the_call() -> anyhow::Result<()> {
    let limit = Duration::from_millis(200);
    let loaded = load("wasi-sleeps", CallLimits { time: limit, ..LIMITS }).await?;
    let started = Instant::now();
    let expected = PluginFailure::TimedOut { plugin: "node-wasi".to_owned(), limit };
    assert_eq!(observe(&loaded).await?, Err(AdapterError::Plugin(expected)));
    let took = started.elapsed();
    assert!(took >= limit && took < 10 * limit, "{took:?}");
    Ok(())
}

#[tokio::test]
async fn timers_random_numbers_and_lines_have_an_end() -> anyhow::Result<()> {
    let out_of_memory = PluginFailure::OutOfMemory { plugin: "node-wasi".to_owned(), limit_bytes: LIMITS.memory_bytes };
    assert_eq!(failure("wasi-timers").await?.0, out_of_memory);
    assert_eq!(failure("wasi-random").await?.0, out_of_fuel());
    let much = failure("wasi-much-random").await?.0;
    assert!(much.code() == "plugin.trapped" && much.to_string().contains("exceeds limit 4096"), "{much}");
    let (failure, loaded) = failure("wasi-flood").await?;
    assert_eq!(failure, out_of_fuel());
    let dropped = loaded.plugins[0].counters.snapshot().log_lines_dropped;
    // 1,100 units for 25 lines and a few for the loop: 5 M units are some 4,500 writes.
    assert!((100_000..113_000).contains(&dropped), "{dropped}");
    Ok(())
}

#[tokio::test]
async fn leaving_the_program_ends_the_call_alone() -> anyhow::Result<()> {
    let (failure, loaded) = failure("wasi-exit").await?;
    assert_eq!(failure.code(), "plugin.trapped");
    assert!(failure.to_string().to_lowercase().contains("exit"), "{failure}");
    assert!(observe(&loaded).await?.is_err(), "and the next one begins anew");
    Ok(())
}
