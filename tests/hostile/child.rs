//! Compiling in a child process: the real program, with the limits that it sets on itself.

use crate::component::{World, build, extended, good};
use crate::logged::Logged;
use crate::place::{Node, Place};
use omnivisor::plugin::{Compiler, LoadError};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn place(component: &[u8]) -> anyhow::Result<Place> {
    let mut place = Place::new()?.adapter("node-x", component)?;
    place.compiler = Compiler::Child { program: tests::omnivisor()? };
    Ok(place)
}

/// Loads it, and tells why that failed and in how many lines of the log.
async fn refusal(place: &Place) -> anyhow::Result<LoadError> {
    let logged = Logged::start();
    let Err(mut errors) = place.load().await else { anyhow::bail!("it was loaded") };
    anyhow::ensure!(errors.len() == 1, "{errors:?}");
    let error = errors.remove(0);
    let code = format!("code=\"{}\"", error.code());
    let lines = logged.lines().into_iter().filter(|line| line.contains(&code)).count();
    anyhow::ensure!(lines == 1, "{lines} lines tell of {error}");
    Ok(error)
}

/// Small enough for the gate, and some seconds of work: functions as long as they may be.
fn bomb() -> anyhow::Result<Vec<u8>> {
    let mut body = String::new();
    for number in 0..30_000 {
        write!(body, "(local.set 0 (i32.mul (i32.add (local.get 0) (local.get 1)) (i32.const {})))", number % 60)?;
    }
    let function = format!("(func (param i32 i32) (result i32) {body} (local.get 0))");
    build(World::Adapter, &function.repeat(8))
}

#[tokio::test]
async fn what_a_child_compiled_runs_here() -> anyhow::Result<()> {
    let place = place(&good(World::Adapter)?)?;
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let adapter = loaded.set.adapters.get("node-x").expect("it was loaded");
    let observed = adapter.observe(Arc::new(Node::Answers), Instant::now() + Duration::from_secs(5)).await?;
    assert_eq!(observed.processes.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_bomb_that_passes_the_gate_is_ended_by_time_and_the_next_one_is_compiled() -> anyhow::Result<()> {
    let mut place = place(&bomb()?)?;
    place.config.compile_timeout = Duration::from_millis(100);
    let started = Instant::now();
    let error = refusal(&place).await?;
    assert_eq!(error.code(), "plugin.compile_timed_out");
    assert!(error.to_string().contains("raise `compile_timeout_ms`"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    place.put("node-x", &good(World::Adapter)?)?;
    place.config.compile_timeout = Duration::from_secs(30);
    assert!(place.load().await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_bomb_is_ended_by_memory() -> anyhow::Result<()> {
    let mut place = place(&bomb()?)?;
    place.config.compile_memory_bytes = 48 << 20;
    let error = refusal(&place).await?;
    assert_eq!(error.code(), "plugin.compile_out_of_memory", "{error}");
    assert!(error.to_string().contains("raise `compile_memory_bytes`"), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_does_not_validate_is_told_in_the_engine_s_words() -> anyhow::Result<()> {
    let place = place(&extended(World::Adapter, "(core module (func (result i32)))")?)?;
    let error = refusal(&place).await?;
    assert_eq!(error.code(), "plugin.compile_refused");
    assert!(error.to_string().contains("type mismatch"), "{error}");
    Ok(())
}

#[tokio::test]
async fn without_a_program_to_start_nothing_is_compiled_and_nothing_falls_back() -> anyhow::Result<()> {
    let mut place = place(&good(World::Adapter)?)?;
    place.compiler = Compiler::Child { program: "/nowhere/omnivisor".into() };
    assert_eq!(refusal(&place).await?.code(), "plugin.compiler_unavailable");
    // A program that is something else ends in a way that is told.
    place.compiler = Compiler::Child { program: "/bin/false".into() };
    assert_eq!(refusal(&place).await?.code(), "plugin.compiler_died");
    // One that says nothing and claims success has given no code.
    place.compiler = Compiler::Child { program: "/bin/true".into() };
    assert_eq!(refusal(&place).await?.code(), "plugin.compile_refused");
    Ok(())
}
