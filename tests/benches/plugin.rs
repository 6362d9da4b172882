//! What a call of a plugin costs: `cargo bench -p tests --bench plugin`. Prints a table, judges nothing.
//!
//! Times are medians of rounds. CPU is the calling thread's, from `/proc`; the rest is wall-clock time, so run it on a
//! quiet machine.

#[path = "../hostile/component.rs"]
#[expect(dead_code, reason = "shared with the hostile tests, which use all of it")]
mod component;
#[path = "../hostile/place.rs"]
#[expect(dead_code, reason = "shared with the hostile tests, which use all of it")]
mod place;

use component::{World, from_fixture, good};
use futures_util::StreamExt as _;
use omnivisor::config::CallLimits;
use omnivisor::model::{Field, OperationRequest, Secret};
use omnivisor::plugin::{Adapter, Compiler, LoadedPlugins};
use place::{LIMITS, Node, Place};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

const ROUNDS: usize = 9;

mod bindings {
    wasmtime::component::bindgen!({
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/validate/0.1.0"],
        world: "omnivisor:validate/input-validator",
        exports: { default: async },
    });
}

fn main() -> anyhow::Result<()> {
    let runtime = runtime()?;
    println!("{:<58} {:>12} {:>12}", "plugin", "wall", "CPU");
    let adapter = load_adapter(&runtime, &good(World::Adapter)?, LIMITS)?;
    let observed = one_adapter(&adapter)?;
    row("fresh instance and call, no work", &measure(2_000, || observe(&runtime, &observed).is_ok()));
    for plugin in &adapter.plugins {
        let label = format!("compile that component ({} bytes)", plugin.size_bytes);
        println!("{label:<58} {:>12}", show(plugin.compile_time));
    }
    hashing(&runtime)?;
    let warm = warm(&runtime, &good(World::Validate)?).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    row("warm instance, call only, no work (the host keeps none)", &warm);
    stops(&runtime)?;
    for threads in [1, 2] {
        let calls = throughput(&adapter, threads)?;
        println!("{:<58} {calls:>10.0}/s", format!("instances, each with one call, on {threads} thread(s)"));
    }
    idle(&runtime)?;
    starts(&runtime)
}

/// What instances cost that do nothing: calls that wait for their node.
fn idle(runtime: &Runtime) -> anyhow::Result<()> {
    // An adapter's engine has places for 512.
    const CALLS: usize = 500;
    let limits = CallLimits { calls_max: CALLS, time: Duration::from_secs(60), ..LIMITS };
    let loaded = load_adapter(runtime, &from_fixture(World::Adapter, "asks-its-node")?, limits)?;
    let adapter = one_adapter(&loaded)?;
    let wait = |time| {
        runtime.block_on(async {
            let deadline = Instant::now() + time;
            let call = || adapter.observe(Arc::new(Node::Forgetful), deadline);
            let mut calls: futures_util::stream::FuturesUnordered<_> = (0..CALLS).map(|_| call()).collect();
            // Polled until each of them waits.
            let before = resident();
            let ended = tokio::time::timeout(time / 2, calls.next()).await;
            anyhow::ensure!(ended.is_err(), "a call ended: {ended:?}");
            Ok(resident().saturating_sub(before))
        })
    };
    let bytes = wait(Duration::from_secs(4))?;
    println!("{:<58} {:>9} KiB", "memory of an idle instance, of 500", bytes / CALLS as u64 / 1024);
    Ok(())
}

/// How long a start with twenty plugins takes, all of which have to be compiled, or none.
fn starts(runtime: &Runtime) -> anyhow::Result<()> {
    const PLUGINS: usize = 20;
    let path = tests::plugins()?.join("node-supervisord.wasm");
    let component = std::fs::read(path)?;
    let mut place = Place::new()?;
    for number in 0..PLUGINS {
        // The same code twenty times under twenty names, which are as long as its own: manifest and digest differ.
        let name = format!("node-number-{number:04}");
        place = place.adapter(&name, &renamed(&component, "node-supervisord", &name)?)?;
    }
    place.config.adapter_limits = CallLimits { fuel: 500_000_000, ..LIMITS };
    place.key = Some(Secret::new("bench".to_owned()));
    place.compiler = tests::omnivisor().map_or(Compiler::InProcess, |program| Compiler::Child { program });
    let form = if place.compiler == Compiler::InProcess { "in process" } else { "in a child each" };
    for (label, cached) in [(format!("cold, compiled {form}"), false), ("warm".to_owned(), true)] {
        let toolchain = place.toolchain()?;
        let started = Instant::now();
        let loaded = runtime.block_on(place.load_with(toolchain.clone()));
        let (took, counts) = (started.elapsed(), toolchain.counts());
        loaded.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
        let expected = if cached { counts.cached } else { counts.compiled };
        anyhow::ensure!(expected == PLUGINS as u64, "not {label}: {counts:?}");
        let label = format!("start of 20 plugins of {} KiB, {label}", component.len() >> 10);
        println!("{label:<58} {:>12}", show(took));
    }
    Ok(())
}

/// The component with another name of equal length in its manifest.
fn renamed(component: &[u8], from: &str, to: &str) -> anyhow::Result<Vec<u8>> {
    anyhow::ensure!(from.len() == to.len(), "{to} is not as long as {from}");
    let quoted = format!("name = \"{from}\"");
    let at = component.windows(quoted.len()).position(|window| window == quoted.as_bytes());
    let start = at.ok_or_else(|| anyhow::anyhow!("no manifest of {from}"))?;
    let (before, behind) = component.split_at(start);
    let behind = behind.get(quoted.len()..).unwrap_or_default();
    Ok([before, format!("name = \"{to}\"").as_bytes(), behind].concat())
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * 4_096)
}

/// A validator that reads all of a value, beside the same loop in this process.
fn hashing(runtime: &Runtime) -> anyhow::Result<()> {
    let place = Place::new()?.validator("hashes", &from_fixture(World::Validate, "hashes")?)?;
    let loaded = load(runtime, &place)?;
    let validator = loaded.set.validators.first().ok_or_else(|| anyhow::anyhow!("no validator"))?;
    for bytes in [1 << 10, 64 << 10] {
        let value = "x".repeat(bytes);
        let field = Field { pointer: "/body/value".to_owned(), value: value.clone() };
        let request = OperationRequest {
            name: "node.list".to_owned(),
            is_mutating: false,
            requester: None,
            targets: vec![],
            fields: vec![field],
            at: std::time::UNIX_EPOCH,
        };
        let request = Arc::new(request);
        let plugin = measure(1_000, || runtime.block_on(validator.validate(Arc::clone(&request))).is_ok());
        // Many more of them: the kernel counts CPU time in steps of milliseconds.
        let calls = u32::try_from((64 << 20) / bytes)?;
        let native = measure(calls, || fnv(black_box(value.as_bytes())) != 0);
        row(&format!("validator that reads {} KiB", bytes >> 10), &plugin);
        row(&format!("the same {} KiB read natively", bytes >> 10), &native);
        let ratio = plugin.cpu.as_secs_f64() / native.cpu.as_secs_f64();
        println!("{:<58} {:>12} {ratio:>11.1}x", "  ratio", "");
    }
    Ok(())
}

fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The typed call alone, on one instance that is kept. The host never does that: it shows what freshness costs.
fn warm(runtime: &Runtime, component: &[u8]) -> wasmtime::Result<Cost> {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true).concurrency_support(false);
    let engine = Engine::new(&config)?;
    let component = Component::from_binary(&engine, component)?;
    let mut linker = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&component)?;
    let mut store = Store::new(&engine, ());
    store.set_fuel(u64::MAX / 2)?;
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = bindings::InputValidator::instantiate_async(&mut store, &component, &linker);
    let instance = runtime.block_on(instance)?;
    let operation = bindings::exports::omnivisor::validate::validator::Operation {
        name: "node.list".to_owned(),
        principal: None,
        fields: vec![],
        extra: vec![],
    };
    let validator = instance.omnivisor_validate_validator();
    // One entry of the runtime for a thousand calls: it costs as much as several of them.
    let cost = measure(10, || {
        runtime.block_on(async {
            for _ in 0..1_000 {
                if validator.call_validate(&mut store, &operation).await.is_err() {
                    return false;
                }
            }
            true
        })
    });
    Ok(Cost { wall: cost.wall / 1_000, cpu: cost.cpu / 1_000 })
}

/// How long it takes to be rid of a guest that will not stop.
fn stops(runtime: &Runtime) -> anyhow::Result<()> {
    for (label, fixture, limits) in [
        ("endless loop, stopped by 10 M fuel", "endless-export", CallLimits { fuel: 10_000_000, ..LIMITS }),
        (
            "endless loop, stopped by 50 ms",
            "endless-export",
            CallLimits { fuel: u64::MAX / 2, time: Duration::from_millis(50), ..LIMITS },
        ),
        ("trap", "trap", LIMITS),
        ("deep recursion, stopped by 512 KiB of stack", "deep-recursion", LIMITS),
        ("log flood, stopped by 5 M fuel", "log-flood", LIMITS),
    ] {
        // Loaded anew for each: what is measured includes the first failures, which are logged.
        let loaded = load_adapter(runtime, &from_fixture(World::Adapter, fixture)?, limits)?;
        let adapter = one_adapter(&loaded)?;
        row(label, &measure(10, || observe(runtime, &adapter).is_err()));
    }
    Ok(())
}

/// Calls a second on so many threads at once, all of one plugin.
fn throughput(loaded: &LoadedPlugins, threads: usize) -> anyhow::Result<f64> {
    const CALLS: usize = 20_000;
    let adapter = one_adapter(loaded)?;
    let runtimes = (0..threads).map(|_| runtime()).collect::<anyhow::Result<Vec<_>>>()?;
    let started = Instant::now();
    std::thread::scope(|scope| {
        for runtime in &runtimes {
            scope.spawn(|| {
                for _ in 0..CALLS {
                    black_box(observe(runtime, &adapter).is_ok());
                }
            });
        }
    });
    Ok((threads * CALLS) as f64 / started.elapsed().as_secs_f64())
}

fn observe(runtime: &Runtime, adapter: &Arc<dyn Adapter>) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    runtime.block_on(adapter.observe(Arc::new(Node::Answers), deadline))?;
    Ok(())
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn load(runtime: &Runtime, place: &Place) -> anyhow::Result<LoadedPlugins> {
    runtime.block_on(place.load()).map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

fn load_adapter(runtime: &Runtime, bytes: &[u8], limits: CallLimits) -> anyhow::Result<LoadedPlugins> {
    let mut place = Place::new()?.adapter("node", bytes)?;
    place.config.adapter_limits = limits;
    load(runtime, &place)
}

fn one_adapter(loaded: &LoadedPlugins) -> anyhow::Result<Arc<dyn Adapter>> {
    loaded.set.adapters.values().next().cloned().ok_or_else(|| anyhow::anyhow!("no adapter"))
}

/// What one call costs.
struct Cost {
    wall: Duration,
    cpu: Duration,
}

/// The median of some rounds of `calls` calls, each of which has to say that it went as expected.
fn measure(calls: u32, mut call: impl FnMut() -> bool) -> Cost {
    let mut rounds: Vec<(Duration, Duration)> = (0..ROUNDS)
        .map(|_| {
            let (wall, cpu) = (Instant::now(), cpu_time());
            let expected = (0..calls).filter(|_| black_box(call())).count();
            assert_eq!(expected, calls as usize, "a call did not go as expected");
            (wall.elapsed() / calls, cpu_time().saturating_sub(cpu) / calls)
        })
        .collect();
    rounds.sort_unstable();
    let wall = rounds.get(ROUNDS / 2).map_or(Duration::ZERO, |round| round.0);
    rounds.sort_unstable_by_key(|round| round.1);
    let cpu = rounds.get(ROUNDS / 2).map_or(Duration::ZERO, |round| round.1);
    Cost { wall, cpu }
}

/// CPU time of this thread; zero where the system does not tell.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn row(label: &str, cost: &Cost) {
    println!("{label:<58} {:>12} {:>12}", show(cost.wall), show(cost.cpu));
}

fn show(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    if us < 1_000.0 { format!("{us:.2} us") } else { format!("{:.2} ms", us / 1_000.0) }
}
