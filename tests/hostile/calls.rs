//! Components that load well and misbehave when they are called.

use crate::component::{World, from_fixture, good};
use crate::place::{LIMITS, Node, Place};
use omnivisor::config::CallLimits;
use omnivisor::model::{Credential, Identity, IdentitySource, OperationRequest, PeerFacts, Secret, Verdict};
use omnivisor::plugin::{Adapter, AdapterError, JudgeError, LoadedPlugins, PluginFailure};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::time::Instant;

const GENEROUS: Duration = Duration::from_secs(20);

fn adapter(loaded: &LoadedPlugins, name: &str) -> anyhow::Result<Arc<dyn Adapter>> {
    loaded.set.adapters.get(name).cloned().ok_or_else(|| anyhow::anyhow!("no adapter `{name}`"))
}

async fn observe(loaded: &LoadedPlugins, name: &str) -> anyhow::Result<Result<usize, AdapterError>> {
    let result = adapter(loaded, name)?.observe(Arc::new(Node::Answers), Instant::now() + GENEROUS).await;
    Ok(result.map(|observation| observation.processes.len()))
}

/// Loads the fixture beside a good adapter, observes with it, and then with the good one.
async fn misbehave(fixture: &str) -> anyhow::Result<(PluginFailure, LoadedPlugins)> {
    let hostile = from_fixture(World::Adapter, fixture)?;
    let place = Place::new()?.adapter("node-bad", &hostile)?.adapter("node-good", &good(World::Adapter)?)?;
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let failure = match observe(&loaded, "node-bad").await? {
        Err(AdapterError::Plugin(failure)) => failure,
        other => anyhow::bail!("`{fixture}` got away with {other:?}"),
    };
    anyhow::ensure!(failure.plugin() == "node-bad", "the error names another plugin: {failure}");
    anyhow::ensure!(observe(&loaded, "node-good").await? == Ok(1), "the good one does not serve after `{fixture}`");
    Ok((failure, loaded))
}

fn out_of_fuel() -> PluginFailure {
    PluginFailure::OutOfFuel { plugin: "node-bad".to_owned(), limit: LIMITS.fuel }
}

fn out_of_memory() -> PluginFailure {
    PluginFailure::OutOfMemory { plugin: "node-bad".to_owned(), limit_bytes: LIMITS.memory_bytes }
}

fn trapped(what: &str) -> PluginFailure {
    PluginFailure::Trapped { plugin: "node-bad".to_owned(), what: what.to_owned() }
}

#[tokio::test]
async fn an_endless_export_runs_out_of_fuel() -> anyhow::Result<()> {
    let (failure, loaded) = misbehave("endless-export").await?;
    assert_eq!(failure, out_of_fuel());
    let bad = loaded.plugins.iter().find(|plugin| plugin.name == "node-bad").expect("it was loaded");
    let counters = bad.counters.snapshot();
    assert_eq!((counters.outcome("out_of_fuel"), counters.outcome("ok"), counters.running), (1, 1, 0));
    assert_eq!(counters.fuel_last, LIMITS.fuel);
    Ok(())
}

#[tokio::test]
async fn an_endless_clean_up_runs_out_of_fuel() -> anyhow::Result<()> {
    assert_eq!(misbehave("endless-post-return").await?.0, out_of_fuel());
    Ok(())
}

#[tokio::test]
async fn memory_and_tables_end_at_their_limits() -> anyhow::Result<()> {
    let (failure, loaded) = misbehave("memory-hog").await?;
    assert_eq!(failure, out_of_memory());
    let bad = loaded.plugins.iter().find(|plugin| plugin.name == "node-bad").expect("it was loaded");
    let peak = bad.counters.snapshot().memory_bytes_peak;
    assert!(peak > 15 << 20 && peak <= LIMITS.memory_bytes as u64, "{peak}");
    assert_eq!(misbehave("table-hog").await?.0, out_of_memory());
    Ok(())
}

#[tokio::test]
async fn a_trap_is_told_by_its_kind_and_a_panic_by_its_last_words() -> anyhow::Result<()> {
    assert_eq!(misbehave("trap").await?.0, trapped("wasm `unreachable` instruction executed"));
    assert_eq!(misbehave("panic").await?.0, trapped("panicked: no such\\n\\u{1b}[31mlist"));
    Ok(())
}

#[tokio::test]
async fn deep_recursion_ends_at_its_own_stack() -> anyhow::Result<()> {
    assert_eq!(misbehave("deep-recursion").await?.0, PluginFailure::OutOfStack { plugin: "node-bad".to_owned() });
    Ok(())
}

#[tokio::test]
async fn a_flood_of_log_lines_is_paid_for_in_fuel_and_dropped_beyond_the_budget() -> anyhow::Result<()> {
    let (failure, loaded) = misbehave("log-flood").await?;
    assert_eq!(failure, out_of_fuel());
    let bad = loaded.plugins.iter().find(|plugin| plugin.name == "node-bad").expect("it was loaded");
    let dropped = bad.counters.snapshot().log_lines_dropped;
    // 1,100 units a line and a few for the loop: 5 M units are some 4,500 lines, of which 64 were written.
    assert!((4_000..4_500).contains(&dropped), "{dropped}");
    Ok(())
}

#[tokio::test]
async fn results_beyond_the_contract_are_refused_before_use() -> anyhow::Result<()> {
    let too_much = |what: &str| PluginFailure::TooMuchData { plugin: "node-bad".to_owned(), what: what.to_owned() };
    assert_eq!(misbehave("huge-list").await?.0, too_much("10001 processes, at most 10000"));
    assert_eq!(misbehave("aliased-lists").await?.0, too_much("4194304 bytes"));
    assert_eq!(misbehave("wrong-variant").await?.0.code(), "plugin.trapped");
    assert_eq!(misbehave("not-utf-8").await?.0.code(), "plugin.trapped");
    Ok(())
}

#[tokio::test]
async fn a_loop_with_endless_fuel_is_stopped_by_time_and_leaves_its_thread_to_others() -> anyhow::Result<()> {
    let limit = Duration::from_millis(400);
    let mut place = Place::new()?.adapter("node-bad", &from_fixture(World::Adapter, "endless-export")?)?;
    place.config.adapter_limits = CallLimits { fuel: u64::MAX / 2, time: limit, ..LIMITS };
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let bad = adapter(&loaded, "node-bad")?;
    let started = Instant::now();
    let mut beats = 0;
    let mut beat = tokio::time::interval(Duration::from_millis(10));
    let call = bad.observe(Arc::new(Node::Answers), started + GENEROUS);
    tokio::pin!(call);
    // One thread runs both: the guest has to give it back again and again.
    let failure = loop {
        tokio::select! {
            result = &mut call => break result.expect_err("it never returns"),
            _ = beat.tick() => beats += 1,
        }
    };
    let took = started.elapsed();
    assert_eq!(failure, AdapterError::Plugin(PluginFailure::TimedOut { plugin: "node-bad".to_owned(), limit }));
    assert!(took >= limit && took < 2 * limit, "{took:?}");
    assert!(beats >= 10, "{beats} beats in {took:?}");

    let sooner = Instant::now() + Duration::from_millis(50);
    let failure = bad.observe(Arc::new(Node::Answers), sooner).await.expect_err("it never returns");
    let AdapterError::Plugin(PluginFailure::TimedOut { limit, .. }) = failure else { panic!("{failure:?}") };
    assert!(limit <= Duration::from_millis(50), "the caller's deadline counts when it is sooner: {limit:?}");
    let late = bad.observe(Arc::new(Node::Answers), Instant::now()).await.expect_err("no time at all");
    assert!(matches!(late, AdapterError::Plugin(PluginFailure::TimedOut { .. })), "{late:?}");
    Ok(())
}

fn facts() -> PeerFacts {
    PeerFacts {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        request_id: "r-1".to_owned(),
    }
}

fn ann() -> Identity {
    Identity { name: "ann".to_owned(), source: IdentitySource::Account, scopes: vec![], expires: None }
}

fn password(password: &str) -> Credential {
    Credential::Password { username: "ann".to_owned(), password: Secret::new(password.to_owned()) }
}

fn request(name: &str) -> OperationRequest {
    OperationRequest {
        name: name.to_owned(),
        is_mutating: false,
        requester: None,
        targets: vec![],
        fields: vec![],
        at: std::time::UNIX_EPOCH,
    }
}

#[tokio::test]
async fn a_strategy_and_a_validator_are_held_by_the_same_limits() -> anyhow::Result<()> {
    let place = Place::new()?
        .strategy("auth-bad", &from_fixture(World::Auth, "greedy-strategy")?)?
        .strategy("auth-good", &good(World::Auth)?)?
        .validator("validate-bad", &from_fixture(World::Validate, "greedy-validator")?)?
        .validator("validate-good", &good(World::Validate)?)?
        .validator("validate-bad-too", &from_fixture(World::ValidateV02, "greedy-validator-0.2.0")?)?;
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let spent =
        |plugin: &str| JudgeError::Plugin(PluginFailure::OutOfFuel { plugin: plugin.to_owned(), limit: LIMITS.fuel });
    let mut verdicts = vec![];
    for strategy in &loaded.set.strategies {
        verdicts.push(strategy.authenticate(password("pass"), facts()).await);
    }
    assert_eq!(verdicts, [Err(spent("auth-bad")), Ok(Verdict::Granted(ann()))]);
    let request = Arc::new(request("node.list"));
    let mut judged = vec![];
    for validator in &loaded.set.validators {
        judged.push(validator.validate(Arc::clone(&request)).await);
    }
    assert_eq!(judged, [Err(spent("validate-bad")), Ok(vec![]), Err(spent("validate-bad-too"))]);
    Ok(())
}

#[tokio::test]
async fn a_strategy_gets_two_password_checks_and_no_more() -> anyhow::Result<()> {
    let place = Place::new()?.strategy("auth-bad", &from_fixture(World::Auth, "guesses-passwords")?)?;
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let strategy = loaded.set.strategies.first().expect("one");
    let verdict = strategy.authenticate(password("pass"), facts()).await;
    assert_eq!(verdict, Ok(Verdict::Denied { code: "unnamed".to_owned() }), "the fifth check has to differ");
    assert_eq!(place.accounts.checks.load(SeqCst), 2);
    Ok(())
}
