//! The generated side of every contract. The words and the host's interfaces are generated once, in `common`, and the
//! worlds share them: a `Fault` is the same type in all three.

pub(crate) mod common {
    wit_bindgen::generate!({
        inline: "
            package omnivisor:sdk@0.1.0;
            world common {
                import omnivisor:types/types@0.1.0;
                import omnivisor:host/log@0.1.0;
                import omnivisor:host/exchange@0.1.0;
                import omnivisor:host/accounts@0.1.0;
                import omnivisor:host/settings@0.1.0;
                import omnivisor:host/clock@0.1.0;
                import omnivisor:host/random@0.1.0;
                import omnivisor:host/secrets@0.1.0;
                import omnivisor:host/http-client@0.1.0;
                import omnivisor:host/api-keys@0.1.0;
                import omnivisor:auth/types@0.1.0;
            }
        ",
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/auth/0.1.0"],
        additional_derives: [PartialEq],
        generate_unused_types: true,
        generate_all,
    });
}

pub mod adapter {
    wit_bindgen::generate!({
        world: "omnivisor:adapter/node-adapter",
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/adapter/0.2.0"],
        with: {
            "omnivisor:types/types@0.1.0": crate::bindings::common::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": crate::bindings::common::omnivisor::host::log,
            "omnivisor:host/exchange@0.1.0": crate::bindings::common::omnivisor::host::exchange,
            "omnivisor:host/settings@0.1.0": crate::bindings::common::omnivisor::host::settings,
            "omnivisor:host/clock@0.1.0": crate::bindings::common::omnivisor::host::clock,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_node_adapter",
        default_bindings_module: "plugin_sdk::__private::adapter",
    });
}

pub mod auth {
    wit_bindgen::generate!({
        world: "omnivisor:auth/auth-strategy",
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/auth/0.1.0"],
        with: {
            "omnivisor:types/types@0.1.0": crate::bindings::common::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": crate::bindings::common::omnivisor::host::log,
            "omnivisor:auth/types@0.1.0": crate::bindings::common::omnivisor::auth::types,
            "omnivisor:host/accounts@0.1.0": crate::bindings::common::omnivisor::host::accounts,
            "omnivisor:host/settings@0.1.0": crate::bindings::common::omnivisor::host::settings,
            "omnivisor:host/clock@0.1.0": crate::bindings::common::omnivisor::host::clock,
            "omnivisor:host/random@0.1.0": crate::bindings::common::omnivisor::host::random,
            "omnivisor:host/secrets@0.1.0": crate::bindings::common::omnivisor::host::secrets,
            "omnivisor:host/http-client@0.1.0": crate::bindings::common::omnivisor::host::http_client,
            "omnivisor:host/api-keys@0.1.0": crate::bindings::common::omnivisor::host::api_keys,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_auth_strategy",
        default_bindings_module: "plugin_sdk::__private::auth",
    });
}

pub mod redirect {
    wit_bindgen::generate!({
        world: "omnivisor:auth/redirect-login",
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/auth/0.1.0"],
        with: {
            "omnivisor:types/types@0.1.0": crate::bindings::common::omnivisor::types::types,
            "omnivisor:auth/types@0.1.0": crate::bindings::common::omnivisor::auth::types,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_redirect_login",
        default_bindings_module: "plugin_sdk::__private::redirect",
    });
}

pub mod validate {
    wit_bindgen::generate!({
        world: "omnivisor:validate/input-validator",
        path: ["../wit/types/0.1.0", "../wit/host/0.1.0", "../wit/validate/0.2.0"],
        with: {
            "omnivisor:types/types@0.1.0": crate::bindings::common::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": crate::bindings::common::omnivisor::host::log,
            "omnivisor:host/settings@0.1.0": crate::bindings::common::omnivisor::host::settings,
            "omnivisor:host/clock@0.1.0": crate::bindings::common::omnivisor::host::clock,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_input_validator",
        default_bindings_module: "plugin_sdk::__private::validate",
    });
}
