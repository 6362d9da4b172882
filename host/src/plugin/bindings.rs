//! What the WIT says, as Rust types: one module for each version of a world. The words that worlds share are generated once, for adapters.

/// World `node-adapter` of version 0.1.0.
pub(super) mod adapter_v0_1 {
    wasmtime::component::bindgen!({
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/adapter/0.1.0"],
        world: "omnivisor:adapter/node-adapter",
        exports: { default: async },
    });
}

/// World `node-adapter` of version 0.2.0.
pub(super) mod adapter_v0_2 {
    wasmtime::component::bindgen!({
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/adapter/0.2.0"],
        world: "omnivisor:adapter/node-adapter",
        exports: { default: async },
        with: {
            "omnivisor:types/types@0.1.0": super::adapter_v0_1::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": super::adapter_v0_1::omnivisor::host::log,
            "omnivisor:host/settings@0.1.0": super::adapter_v0_1::omnivisor::host::settings,
            "omnivisor:host/clock@0.1.0": super::adapter_v0_1::omnivisor::host::clock,
            "omnivisor:host/exchange@0.1.0": super::adapter_v0_1::omnivisor::host::exchange,
        },
    });
}

/// World `auth-strategy`.
pub(super) mod auth {
    wasmtime::component::bindgen!({
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/auth/0.1.0"],
        world: "omnivisor:auth/auth-strategy",
        exports: { default: async },
        with: {
            "omnivisor:types/types@0.1.0": super::adapter_v0_1::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": super::adapter_v0_1::omnivisor::host::log,
            "omnivisor:host/settings@0.1.0": super::adapter_v0_1::omnivisor::host::settings,
            "omnivisor:host/clock@0.1.0": super::adapter_v0_1::omnivisor::host::clock,
        },
    });
}

/// World `redirect-login`, which an auth strategy may export besides.
pub(super) mod redirect {
    wasmtime::component::bindgen!({
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/auth/0.1.0"],
        world: "omnivisor:auth/redirect-login",
        exports: { default: async },
        with: {
            "omnivisor:types/types@0.1.0": super::adapter_v0_1::omnivisor::types::types,
            "omnivisor:auth/types@0.1.0": super::auth::omnivisor::auth::types,
        },
    });
}

/// World `input-validator` of version 0.1.0.
pub(super) mod validate_v0_1 {
    wasmtime::component::bindgen!({
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/validate/0.1.0"],
        world: "omnivisor:validate/input-validator",
        exports: { default: async },
        with: {
            "omnivisor:types/types@0.1.0": super::adapter_v0_1::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": super::adapter_v0_1::omnivisor::host::log,
        },
    });
}

/// World `input-validator` of version 0.2.0.
pub(super) mod validate_v0_2 {
    wasmtime::component::bindgen!({
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/validate/0.2.0"],
        world: "omnivisor:validate/input-validator",
        exports: { default: async },
        with: {
            "omnivisor:types/types@0.1.0": super::adapter_v0_1::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": super::adapter_v0_1::omnivisor::host::log,
            "omnivisor:host/settings@0.1.0": super::adapter_v0_1::omnivisor::host::settings,
            "omnivisor:host/clock@0.1.0": super::adapter_v0_1::omnivisor::host::clock,
        },
    });
}

pub(super) use adapter_v0_1::omnivisor::types::types;
