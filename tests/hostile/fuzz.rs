//! Components that nobody wrote, through everything that loading does: inspect, compile, link, describe, and one call.
//!
//! `OMNIVISOR_FUZZ_SECONDS` says how long (10), `OMNIVISOR_FUZZ_SEED` with which case to begin. A case that fails prints
//! its seed; beginning with that seed, it is the first.

use crate::component::{World, from_module, good, module};
use crate::place::{LIMITS, Node, Place};
use arbitrary::Unstructured;
use omnivisor::config::{CallLimits, LimitOverrides, PluginConfig};
use omnivisor::plugin::{AdapterError, LoadError, PluginFailure};
use std::collections::BTreeMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wasm_encoder::{ComponentSection as _, RawSection};
use wasm_smith::{Component, Config, Module};

/// Far more than any case needs, the largest 2 s, on a machine that ten others share: one that takes longer hangs.
const CASE_TIME: Duration = Duration::from_secs(120);
/// How much the process may grow over all cases together. Each case may have a few hundred MiB for a moment.
const GROWTH_BYTES_MAX: u64 = 2 << 30;

/// A small generator of numbers, so that a seed gives the same case everywhere.
struct Numbers(u64);

impl Numbers {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }
}

/// What is loaded in one case.
#[derive(Clone)]
struct Subject {
    world: World,
    name: String,
    bytes: Vec<u8>,
}

impl Subject {
    fn adapter(bytes: Vec<u8>) -> Self {
        Self { world: World::Adapter, name: "fuzz".to_owned(), bytes }
    }
}

/// What cases are made from.
struct Sources {
    /// Real components, each with what it is and the name that its manifest has to have.
    whole: Vec<Subject>,
    /// The imports and exports of an adapter's core module.
    shape: Vec<u8>,
}

impl Sources {
    fn read() -> anyhow::Result<Self> {
        let mut whole = Vec::new();
        for world in [World::Auth, World::Validate, World::ValidateV02, World::Adapter] {
            whole.push(Subject { world, name: "fuzz".to_owned(), bytes: good(world)? });
        }
        for entry in std::fs::read_dir(tests::plugins()?)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let world = [("auth-", World::Auth), ("validate-", World::Validate), ("node-", World::Adapter)];
            let world = world.iter().find(|(kind, _)| name.starts_with(kind));
            if let (Some((_, world)), Some(name)) = (world, name.strip_suffix(".wasm")) {
                whole.push(Subject { world: *world, name: name.to_owned(), bytes: std::fs::read(&path)? });
            }
        }
        Ok(Self { whole, shape: wat::parse_str(module(World::Adapter, "")?)? })
    }

    /// One case, and what kind it is.
    fn case(&self, seed: u64) -> (&'static str, Option<Subject>) {
        let mut numbers = Numbers(seed);
        match numbers.below(8) {
            0 => ("component", component(&mut numbers).map(Subject::adapter)),
            1..=3 => ("plugin", plugin(&mut numbers, &self.shape).map(Subject::adapter)),
            4 | 5 => ("mutated", self.mutated(&mut numbers)),
            _ => ("grafted", self.grafted(&mut numbers)),
        }
    }

    /// A real component with some bytes changed, cut out, doubled or moved in from another.
    fn mutated(&self, numbers: &mut Numbers) -> Option<Subject> {
        let Subject { world, name, mut bytes } = self.whole.get(numbers.below(self.whole.len()))?.clone();
        for _ in 0..=numbers.below(8) {
            let at = numbers.below(bytes.len());
            let end = (at + 1 + numbers.below(64)).min(bytes.len());
            match numbers.below(5) {
                0 => *bytes.get_mut(at)? ^= 1 << numbers.below(8),
                1 => *bytes.get_mut(at)? = u8::try_from(numbers.below(256)).ok()?,
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let piece = bytes.get(at..end)?.to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    let Subject { bytes: other, .. } = self.whole.get(numbers.below(self.whole.len()))?;
                    let from = numbers.below(other.len());
                    let piece = other.get(from..(from + end - at).min(other.len()))?;
                    bytes.splice(at..end, piece.iter().copied());
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        Some(Subject { world, name, bytes })
    }

    /// A real component with a generated core module behind it, which is compiled and never runs.
    fn grafted(&self, numbers: &mut Numbers) -> Option<Subject> {
        let Subject { world, name, mut bytes } = self.whole.get(numbers.below(self.whole.len()))?.clone();
        let size = 256 << numbers.below(7);
        let input = numbers.bytes(size);
        let config = Config { max_memories: 0, max_tables: 1, ..language(numbers) };
        let module = Module::new(config, &mut Unstructured::new(&input)).ok()?.to_bytes();
        RawSection { id: 1, data: &module }.append_to_component(&mut bytes);
        Some(Subject { world, name, bytes })
    }
}

/// Mostly the language that the engine takes, so that most cases get past its door; now and then all of it.
fn language(numbers: &mut Numbers) -> Config {
    if numbers.below(8) == 0 {
        return Config::default();
    }
    Config {
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        threads_enabled: false,
        ..Config::default()
    }
}

fn component(numbers: &mut Numbers) -> Option<Vec<u8>> {
    let size = 256 << numbers.below(7);
    let input = numbers.bytes(size);
    Some(Component::new(Config::default(), &mut Unstructured::new(&input)).ok()?.to_bytes())
}

/// An adapter whose functions are generated: it loads, and then does anything.
fn plugin(numbers: &mut Numbers, shape: &[u8]) -> Option<Vec<u8>> {
    let size = 1_024 << numbers.below(5);
    let input = numbers.bytes(size);
    let config = Config { module_shape: Some(shape.to_vec()), max_memories: 1, ..language(numbers) };
    let module = Module::new(config, &mut Unstructured::new(&input)).ok()?.to_bytes();
    from_module(World::Adapter, module).ok()
}

/// Loads it and asks it once. The word says how that ended.
async fn run(Subject { world, name, bytes }: &Subject) -> anyhow::Result<&'static str> {
    // Whatever a real one asks for, or most cases would end at the door.
    let limits = LimitOverrides { fuel: Some(150_000_000), ..LimitOverrides::default() };
    let grant = PluginConfig { allow_http: vec!["https://127.0.0.1:1".to_owned()], limits, ..PluginConfig::default() };
    let place = Place::new()?.grant(name, grant);
    let mut place = match world {
        World::Auth => place.strategy(name, bytes)?,
        World::Validate | World::ValidateV02 => place.validator(name, bytes)?,
        World::Adapter | World::AdapterV02 => place.adapter(name, bytes)?,
    };
    let limits = CallLimits { fuel: 2_000_000, time: Duration::from_millis(500), ..LIMITS };
    (place.config.auth_limits, place.config.validate_limits, place.config.adapter_limits) = (limits, limits, limits);
    let loaded = match place.load().await {
        Ok(loaded) => loaded,
        Err(errors) => {
            let error = errors.first().ok_or_else(|| anyhow::anyhow!("refused without a reason"))?;
            let is_ours = matches!(error, LoadError::CompilerDied { .. } | LoadError::Engine { .. })
                || error.to_string().contains("the host failed")
                || std::error::Error::source(error).is_some_and(|cause| cause.to_string().contains("the host "));
            anyhow::ensure!(!is_ours, "a fault of the host: {error:?}");
            return Ok(error.code());
        }
    };
    let Some(adapter) = loaded.set.adapters.values().next() else { return Ok("described") };
    let result = adapter.observe(Arc::new(Node::Answers), Instant::now() + Duration::from_secs(5)).await;
    Ok(match result {
        Ok(_) => "observed",
        Err(AdapterError::Fault(_)) => "faulted",
        Err(AdapterError::Plugin(failure)) => {
            let is_ours = matches!(&failure, PluginFailure::Trapped { what, .. } if what.starts_with("the host "));
            anyhow::ensure!(!is_ours, "a fault of the host: {failure:?}");
            failure.code()
        }
    })
}

/// Bytes of memory that this process has; 0 where the system does not tell.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

fn variable(name: &str) -> anyhow::Result<Option<u64>> {
    std::env::var(name).ok().map(|text| text.parse()).transpose().map_err(|error| anyhow::anyhow!("{name}: {error}"))
}

/// Says which case it was when that ends in a panic.
struct Case(u64, &'static str);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a case of kind {} failed: OMNIVISOR_FUZZ_SEED={}", self.1, self.0);
        }
    }
}

#[tokio::test]
async fn what_nobody_wrote_is_refused_or_held_by_its_limits() -> anyhow::Result<()> {
    let time = Duration::from_secs(variable("OMNIVISOR_FUZZ_SECONDS")?.unwrap_or(10));
    let first = variable("OMNIVISOR_FUZZ_SEED")?.unwrap_or_else(|| std::hash::RandomState::new().hash_one(0));
    println!("fuzzing for {time:?}, OMNIVISOR_FUZZ_SEED={first}");
    let (sources, started, memory_before) = (Sources::read()?, Instant::now(), memory());
    let mut endings = BTreeMap::<(&str, &str), u64>::new();
    let mut seed = first;
    while started.elapsed() < time {
        let (kind, subject) = sources.case(seed);
        if let Some(subject) = subject {
            let (case, began) = (Case(seed, kind), Instant::now());
            let ended = tokio::time::timeout(CASE_TIME, run(&subject)).await;
            let told = format!("OMNIVISOR_FUZZ_SEED={seed}, a {kind} of {} bytes", subject.bytes.len());
            let ending = ended.map_err(|_| anyhow::anyhow!("{told}: it hangs"))?;
            let ending = ending.map_err(|error| error.context(told.clone()))?;
            anyhow::ensure!(began.elapsed() < CASE_TIME, "{told}: it took {:?}", began.elapsed());
            let growth = memory().saturating_sub(memory_before);
            anyhow::ensure!(growth < GROWTH_BYTES_MAX, "{told}: the process grew by {growth} bytes");
            *endings.entry((kind, ending)).or_default() += 1;
            drop(case);
        }
        seed = seed.wrapping_add(1);
    }
    let cases = endings.values().sum::<u64>();
    println!("{cases} cases in {:?}, memory {} MiB -> {} MiB", started.elapsed(), memory_before >> 20, memory() >> 20);
    for ((kind, ending), count) in &endings {
        println!("{count:>8}  {kind:<10} {ending}");
    }
    assert!(cases > 0 && endings.keys().any(|(_, ending)| !ending.contains("malformed")), "{endings:?}");
    Ok(())
}
