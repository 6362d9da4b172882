use crate::plugin::PluginClass;
use std::num::NonZeroUsize;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Linear memory that a plugin can be given at most, and so the address space kept for each.
pub(super) const MEMORY_BYTES_MAX: usize = 64 << 20;
/// Elements of one table.
pub(super) const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Core instances, memories and tables of one component.
pub(super) const CORE_INSTANCES_MAX: u32 = 16;
pub(super) const MEMORIES_MAX: u32 = 1;
pub(super) const TABLES_MAX: u32 = 8;

/// Calls that all plugins of one class may have under way. Of a fixed size, because plugins come and go while an engine
/// stays; a plugin's own `calls_max` is below it, so that one does not take every slot of the others by default.
pub(super) const fn slots(class: PluginClass) -> usize {
    match class {
        PluginClass::Auth | PluginClass::Validate => 256,
        PluginClass::Adapter => 512,
    }
}

/// Makes the engine of one class, with room for so many calls.
///
/// Where the address space is too small for a pool of that size, instances are allocated one by one: slower, with the
/// same limits.
pub(super) fn build(class: PluginClass, slots: usize) -> wasmtime::Result<Engine> {
    let mut pooled = base();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots)));
    match Engine::new(&pooled) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!(
                target: "omnivisor::plugin",
                %class, slots, error = %format!("{error:#}"),
                "no address space for the instance pool; instances are allocated one by one, which is slower: \
                 raise the limit on address space, or lower `calls_max`"
            );
            let mut single = base();
            single.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            Engine::new(&single)
        }
    }
}

/// Makes an engine that compiles what those of all classes run: it differs in how instances are allocated, which is no
/// matter of the code, and needs no address space for them.
pub(super) fn for_compiling() -> wasmtime::Result<Engine> {
    let mut config = base();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)
}

fn base() -> Config {
    let mut config = Config::new();
    // Fuel is the repeatable bound on work, the epoch the bound on time: neither does the other's.
    config.consume_fuel(true).epoch_interruption(true);
    // Four times cheaper calls, and no streams or futures whose sizes a guest could choose.
    config.concurrency_support(false);
    // Proposals that guests are compiled without; GC, exceptions and threads are not built into the engine at all.
    config.wasm_memory64(false).wasm_multi_memory(false).wasm_relaxed_simd(false);
    // The difference is what host functions may use of the call's stack; an overflow there would end the process.
    config.max_wasm_stack(512 << 10).async_stack_size(1 << 20);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(8));
    config.memory_reservation(MEMORY_BYTES_MAX as u64).memory_guard_size(1 << 20);
    config
}

fn pool(slots: usize) -> PoolingAllocationConfig {
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(slots.saturating_mul(MEMORIES_MAX))
        .total_tables(slots.saturating_mul(TABLES_MAX))
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .max_memory_size(MEMORY_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto)
        .decommit_batch_size(16);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::artefact::Artefact;
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    #[test]
    fn a_pool_of_the_usual_size_fits() {
        let engine = build(PluginClass::Adapter, slots(PluginClass::Adapter)).expect("an engine");
        assert!(engine.pooling_allocator_metrics().is_some());
    }

    #[test]
    fn what_one_engine_compiles_every_other_runs() {
        let hash = |engine: &Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        let compiling = for_compiling().expect("an engine");
        let code = compiling.precompile_component(&wat::parse_str("(component)").expect("text")).expect("small");
        let engines =
            [build(PluginClass::Auth, 4), build(PluginClass::Adapter, 64), build(PluginClass::Auth, 4_000_000)];
        for engine in engines.map(|engine| engine.expect("an engine")) {
            assert_eq!(hash(&engine), hash(&compiling));
            Artefact::compiled(code.clone()).load(&engine).expect("it fits");
        }
    }

    #[test]
    fn without_address_space_for_a_pool_instances_are_allocated_one_by_one() {
        let engine = build(PluginClass::Auth, 4_000_000).expect("an engine");
        assert!(engine.pooling_allocator_metrics().is_none());
    }
}
