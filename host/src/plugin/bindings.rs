//! What the WIT says, as Rust types: one module a world. The words that worlds share are generated once, for adapters.

/// World `node-adapter`.
pub(super) mod adapter {
    wasmtime::component::bindgen!({
        path: ["../wit/types", "../wit/host", "../wit/adapter"],
        world: "omnivisor:adapter/node-adapter",
        exports: { default: async },
    });
}

/// World `auth-strategy`.
pub(super) mod auth {
    wasmtime::component::bindgen!({
        path: ["../wit/types", "../wit/host", "../wit/auth"],
        world: "omnivisor:auth/auth-strategy",
        exports: { default: async },
        with: {
            "omnivisor:types/types@0.1.0": super::adapter::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": super::adapter::omnivisor::host::log,
        },
    });
}

/// World `input-validator`.
pub(super) mod validate {
    wasmtime::component::bindgen!({
        path: ["../wit/types", "../wit/host", "../wit/validate"],
        world: "omnivisor:validate/input-validator",
        exports: { default: async },
        with: {
            "omnivisor:types/types@0.1.0": super::adapter::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": super::adapter::omnivisor::host::log,
        },
    });
}

pub(super) use adapter::omnivisor::types::types;
