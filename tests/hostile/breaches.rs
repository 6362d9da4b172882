//! Every breach of a limit has a code of its own, a counter and one line in the log.

use crate::component::{World, from_fixture, guest};
use crate::logged::Logged;
use crate::place::{LIMITS, Node, Place};
use omnivisor::config::CallLimits;
use omnivisor::model::{Credential, PeerFacts, Secret};
use omnivisor::plugin::{AdapterError, JudgeError, LoadedPlugins, PluginFailure};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What an adapter does that breaks a limit, and the code of that.
const OBSERVED: [(&str, &str); 14] = [
    ("endless-export", "plugin.out_of_fuel"),
    ("endless-post-return", "plugin.out_of_fuel"),
    ("bulk-fill", "plugin.out_of_fuel"),
    ("log-flood", "plugin.out_of_fuel"),
    ("memory-hog", "plugin.out_of_memory"),
    ("table-hog", "plugin.out_of_memory"),
    ("aliased-lists", "plugin.too_much_data"),
    ("huge-list", "plugin.too_much_data"),
    ("deep-recursion", "plugin.out_of_stack"),
    ("trap", "plugin.trapped"),
    ("panic", "plugin.trapped"),
    ("wrong-variant", "plugin.trapped"),
    ("not-utf-8", "plugin.trapped"),
    ("sends-without-end", "plugin.too_much_data"),
];
/// The same of guests that know WASI.
const GUESTS: [(&str, &str); 5] = [
    ("wasi-timers", "plugin.out_of_memory"),
    ("wasi-random", "plugin.out_of_fuel"),
    ("wasi-much-random", "plugin.trapped"),
    ("wasi-flood", "plugin.out_of_fuel"),
    ("wasi-exit", "plugin.trapped"),
];

async fn load(component: &[u8], limits: CallLimits) -> anyhow::Result<LoadedPlugins> {
    let mut place = Place::new()?.adapter("node-bad", component)?;
    place.config.adapter_limits = limits;
    place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

/// Observes once, and checks what is told of it.
async fn breach(loaded: &LoadedPlugins, what: &str, code: &str) -> anyhow::Result<()> {
    let adapter = loaded.set.adapters.get("node-bad").ok_or_else(|| anyhow::anyhow!("it was loaded"))?;
    let logged = Logged::start();
    let result = adapter.observe(Arc::new(Node::Answers), Instant::now() + Duration::from_secs(20)).await;
    let Err(AdapterError::Plugin(failure)) = result else { anyhow::bail!("`{what}` got away with {result:?}") };
    told(loaded, &logged, &failure, what, code)
}

fn told(
    loaded: &LoadedPlugins,
    logged: &Logged,
    failure: &PluginFailure,
    what: &str,
    code: &str,
) -> anyhow::Result<()> {
    anyhow::ensure!(failure.code() == code, "`{what}`: {failure}");
    let word = code.trim_start_matches("plugin.");
    let counted = loaded.plugins.iter().map(|plugin| plugin.counters.snapshot().outcome(word)).sum::<u64>();
    anyhow::ensure!(counted == 1, "`{what}` was counted {counted} times as {word}");
    let lines = logged.lines();
    let named = format!("code=\"{code}\"");
    let lines: Vec<_> = lines.iter().filter(|line| line.contains(" WARN ") && line.contains(" code=")).collect();
    anyhow::ensure!(
        lines.len() == 1 && lines.iter().all(|line| line.contains(&named) && line.contains("-bad\"")),
        "`{what}` is told in these lines: {lines:#?}"
    );
    Ok(())
}

#[tokio::test]
async fn each_has_its_code_its_counter_and_one_line() -> anyhow::Result<()> {
    for (fixture, code) in OBSERVED {
        let generous = CallLimits { fuel: 50_000_000, ..LIMITS };
        let limits = if fixture == "sends-without-end" { generous } else { LIMITS };
        breach(&load(&from_fixture(World::Adapter, fixture)?, limits).await?, fixture, code).await?;
    }
    for (fixture, code) in GUESTS {
        breach(&load(&guest(fixture)?, LIMITS).await?, fixture, code).await?;
    }
    let time = Duration::from_millis(100);
    let slow = CallLimits { fuel: u64::MAX / 2, time, ..LIMITS };
    let loaded = load(&from_fixture(World::Adapter, "endless-export")?, slow).await?;
    breach(&loaded, "endless-export", "plugin.timed_out").await?;
    let loaded = load(&guest("wasi-sleeps")?, slow).await?;
    breach(&loaded, "wasi-sleeps", "plugin.timed_out").await
}

#[tokio::test]
async fn a_guest_that_misbehaves_while_it_is_given_its_arguments_is_stopped_as_well() -> anyhow::Result<()> {
    for (fixture, code) in [("endless-realloc", "plugin.out_of_fuel"), ("reenters", "plugin.trapped")] {
        let place = Place::new()?.strategy("auth-bad", &from_fixture(World::Auth, fixture)?)?;
        let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
        let strategy = loaded.set.strategies.first().expect("one");
        let credential = Credential::Password { username: "ann".to_owned(), password: Secret::new("pass".to_owned()) };
        let facts = PeerFacts {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request_id: "r-1".to_owned(),
        };
        let logged = Logged::start();
        let result = strategy.authenticate(credential, facts).await;
        let Err(JudgeError::Plugin(failure)) = result else { panic!("`{fixture}` got away with {result:?}") };
        told(&loaded, &logged, &failure, fixture, code)?;
    }
    Ok(())
}

#[tokio::test]
async fn filling_memory_costs_what_it_fills() -> anyhow::Result<()> {
    // 12 MiB are 12 M units, and there are 5 M: the first fill is never begun.
    let started = Instant::now();
    breach(&load(&from_fixture(World::Adapter, "bulk-fill")?, LIMITS).await?, "bulk-fill", "plugin.out_of_fuel")
        .await?;
    let plenty = CallLimits { fuel: u64::MAX / 2, time: Duration::from_millis(200), ..LIMITS };
    let loaded = load(&from_fixture(World::Adapter, "bulk-fill")?, plenty).await?;
    breach(&loaded, "bulk-fill", "plugin.timed_out").await?;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    Ok(())
}
