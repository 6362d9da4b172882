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
            }
        ",
        path: ["../wit/types", "../wit/host"],
        additional_derives: [PartialEq],
        generate_unused_types: true,
        generate_all,
    });
}

pub mod adapter {
    wit_bindgen::generate!({
        world: "omnivisor:adapter/node-adapter",
        path: ["../wit/types", "../wit/host", "../wit/adapter"],
        with: {
            "omnivisor:types/types@0.1.0": crate::bindings::common::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": crate::bindings::common::omnivisor::host::log,
            "omnivisor:host/exchange@0.1.0": crate::bindings::common::omnivisor::host::exchange,
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
        path: ["../wit/types", "../wit/host", "../wit/auth"],
        with: {
            "omnivisor:types/types@0.1.0": crate::bindings::common::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": crate::bindings::common::omnivisor::host::log,
            "omnivisor:host/accounts@0.1.0": crate::bindings::common::omnivisor::host::accounts,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_auth_strategy",
        default_bindings_module: "plugin_sdk::__private::auth",
    });
}

pub mod validate {
    wit_bindgen::generate!({
        world: "omnivisor:validate/input-validator",
        path: ["../wit/types", "../wit/host", "../wit/validate"],
        with: {
            "omnivisor:types/types@0.1.0": crate::bindings::common::omnivisor::types::types,
            "omnivisor:host/log@0.1.0": crate::bindings::common::omnivisor::host::log,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_input_validator",
        default_bindings_module: "plugin_sdk::__private::validate",
    });
}
