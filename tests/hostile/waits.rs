//! Calls that wait: for a node that is silent, for a place, for a caller that has gone.

use crate::component::{World, from_fixture, good};
use crate::place::{LIMITS, Node, Place};
use omnivisor::config::CallLimits;
use omnivisor::model::{AdapterFault, FaultKind};
use omnivisor::plugin::{Adapter, AdapterError, LoadedPlugins, PluginFailure};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const TIME: Duration = Duration::from_millis(400);

async fn loaded(calls_max: usize) -> anyhow::Result<(LoadedPlugins, Arc<dyn Adapter>)> {
    let mut place = Place::new()?
        .adapter("node-asks", &from_fixture(World::Adapter, "asks-its-node")?)?
        .adapter("node-good", &good(World::Adapter)?)?;
    place.config.adapter_limits = CallLimits { time: TIME, calls_max, ..LIMITS };
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let asks = loaded.set.adapters.get("node-asks").cloned().ok_or_else(|| anyhow::anyhow!("it was loaded"))?;
    Ok((loaded, asks))
}

async fn ask(adapter: &Arc<dyn Adapter>, node: Node) -> Result<usize, AdapterError> {
    let observed = adapter.observe(Arc::new(node), Instant::now() + 2 * TIME).await;
    observed.map(|observation| observation.processes.len())
}

fn outcome(loaded: &LoadedPlugins, word: &str) -> u64 {
    let asks = loaded.plugins.iter().find(|plugin| plugin.name == "node-asks");
    asks.map_or(0, |plugin| plugin.counters.snapshot().outcome(word))
}

#[tokio::test]
async fn a_node_that_answers_is_observed() -> anyhow::Result<()> {
    let (_loaded, asks) = loaded(2).await?;
    assert_eq!(ask(&asks, Node::Answers).await, Ok(1));
    Ok(())
}

#[tokio::test]
async fn a_silent_node_leaves_the_plugin_time_to_say_so() -> anyhow::Result<()> {
    let (loaded, asks) = loaded(2).await?;
    let started = Instant::now();
    let fault = ask(&asks, Node::Silent).await.expect_err("nobody answers");
    assert!(matches!(&fault, AdapterError::Fault(AdapterFault { kind: FaultKind::Timeout, .. })), "{fault:?}");
    assert!(started.elapsed() < TIME, "the exchange ends before the call: {:?}", started.elapsed());
    assert_eq!(outcome(&loaded, "fault"), 1);
    Ok(())
}

#[tokio::test]
async fn an_exchange_that_forgets_its_deadline_is_dropped_and_the_node_named_as_late() -> anyhow::Result<()> {
    let (_loaded, asks) = loaded(2).await?;
    let started = Instant::now();
    let Err(AdapterError::Fault(fault)) = ask(&asks, Node::Forgetful).await else { panic!("nobody answers") };
    assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Timeout, "node.timed_out"));
    assert!(started.elapsed() < 2 * TIME, "{:?}", started.elapsed());
    assert_eq!(ask(&asks, Node::Answers).await, Ok(1), "a cancelled call leaves nothing behind");
    Ok(())
}

#[tokio::test]
async fn a_host_function_that_blocks_its_thread_is_noticed_afterwards() -> anyhow::Result<()> {
    let (_loaded, asks) = loaded(2).await?;
    let failure = ask(&asks, Node::Blocks(TIME + Duration::from_millis(50))).await.expect_err("too late");
    let expected = PluginFailure::TimedOut { plugin: "node-asks".to_owned(), limit: TIME };
    assert_eq!(failure, AdapterError::Plugin(expected));
    Ok(())
}

#[tokio::test]
async fn a_panic_in_a_host_function_ends_that_call_only() -> anyhow::Result<()> {
    let (loaded, asks) = loaded(2).await?;
    let failure = ask(&asks, Node::Panics).await.expect_err("the exchange is broken");
    assert_eq!(failure.to_string(), "plugin `node-asks` trapped: the host failed in a call of this plugin");
    assert_eq!(ask(&asks, Node::Answers).await, Ok(1));
    let good = loaded.set.adapters.get("node-good").expect("it was loaded");
    assert_eq!(ask(good, Node::Answers).await, Ok(1));
    Ok(())
}

#[tokio::test]
async fn beyond_the_calls_allowed_the_answer_is_busy_at_once() -> anyhow::Result<()> {
    let (loaded, asks) = loaded(2).await?;
    let (first, second) = (ask(&asks, Node::Silent), ask(&asks, Node::Silent));
    let third = async {
        let started = Instant::now();
        (ask(&asks, Node::Answers).await, started.elapsed())
    };
    // Polled in this order: two are waiting when the third comes.
    let (first, second, (third, took)) = futures_util::future::join3(first, second, third).await;
    assert!(first.is_err() && second.is_err());
    let busy = PluginFailure::Busy { plugin: "node-asks".to_owned(), limit: 2 };
    assert_eq!(third, Err(AdapterError::Plugin(busy)));
    assert!(took < TIME / 4, "{took:?}");
    assert_eq!(ask(&asks, Node::Answers).await, Ok(1), "the places are free again");
    assert_eq!(outcome(&loaded, "busy"), 1);
    Ok(())
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_call_with_it() -> anyhow::Result<()> {
    let (loaded, asks) = loaded(1).await?;
    for _ in 0..20 {
        let call = tokio::time::timeout(Duration::from_millis(5), ask(&asks, Node::Forgetful));
        assert!(call.await.is_err(), "the caller did not wait for it");
    }
    assert_eq!(outcome(&loaded, "cancelled"), 20);
    assert_eq!(ask(&asks, Node::Answers).await, Ok(1), "the only place is free again");
    Ok(())
}
