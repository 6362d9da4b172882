use super::*;
use crate::model::Role;
use crate::plugin::{Accounts, BoxFuture, PasswordCheck, Toolchain, WebCache};
use std::time::Duration;

const LIMITS: CallLimits = CallLimits {
    fuel: 1_000,
    time: Duration::from_millis(50),
    memory_bytes: 1 << 20,
    hostcall_bytes: 1 << 16,
    calls_max: 8,
};
const STRATEGY: &str = r#"(instance $i) (export "omnivisor:auth/strategy@0.1.0" (instance $i))"#;
const BOTH: &str =
    r#"(import "omnivisor:host/http-client@0.1.0" (instance)) (import "omnivisor:host/secrets@0.1.0" (instance))"#;

struct NoAccounts;

impl Accounts for NoAccounts {
    fn check_password(&self, _: String, _: Secret) -> BoxFuture<'_, Result<PasswordCheck, String>> {
        Box::pin(async { Ok(PasswordCheck::Differs) })
    }
}

fn config(origins: &[&str], secrets: &[&str]) -> PluginConfig {
    PluginConfig {
        allow_http: origins.iter().map(|&origin| origin.to_owned()).collect(),
        secrets: secrets.iter().map(|&name| (name.to_owned(), Secret::new(format!("value of {name}")))).collect(),
        role_max: Role::Viewer,
        ..PluginConfig::default()
    }
}

/// Settles for a component with these imports, exports and this manifest behind its first three lines.
fn settled(class: PluginClass, fields: &str, manifest: &str, config: &PluginConfig) -> Result<Granted, String> {
    let world = match class {
        PluginClass::Auth => "omnivisor:auth/auth-strategy@0.1.0",
        PluginClass::Validate => "omnivisor:validate/input-validator@0.1.0",
        PluginClass::Adapter => "omnivisor:adapter/node-adapter@0.1.0",
    };
    let text = format!("name = \"x\"\nversion = \"1.0.0\"\nworld = \"{world}\"\n{manifest}");
    let text = text.replace('"', "\\\"").replace('\n', "\\n");
    component(class, &format!(r#"(component {fields} (@custom "omnivisor.manifest" "{text}"))"#), config)
}

fn component(class: PluginClass, text: &str, config: &PluginConfig) -> Result<Granted, String> {
    let component = wat::parse_str(text).expect("well-formed text");
    let services = Services {
        accounts: Arc::new(NoAccounts),
        api_keys: None,
        http: None,
        web_cache: WebCache::default(),
        toolchain: Toolchain::for_tests(),
    };
    let asked = Asked { plugin: "x", class, component: &component, config, limits: &LIMITS, services: &services };
    settle(&asked).map_err(|error| error.to_string())
}

fn strategy(manifest: &str, config: &PluginConfig) -> Result<Granted, String> {
    settled(PluginClass::Auth, &format!("{BOTH} {STRATEGY}"), manifest, config)
}

#[track_caller]
fn refused(result: Result<Granted, String>, expected: &str) {
    match result {
        Ok(_) => panic!("it was granted; expected {expected:?}"),
        Err(text) => assert!(text.contains(expected), "{text:?} does not say {expected:?}"),
    }
}

#[test]
fn what_nobody_asks_for_is_not_linked() {
    let granted = component(PluginClass::Auth, &format!("(component {STRATEGY})"), &PluginConfig::default());
    let granted = granted.unwrap_or_else(|error| panic!("{error}"));
    assert!(granted.secrets.is_none() && granted.web.is_none());
    assert_eq!((granted.limits, granted.manifest), (LIMITS, Manifest::default()));
}

#[test]
fn an_import_without_a_wish_is_refused_even_if_it_is_granted() {
    let config = config(&["https://a"], &["client"]);
    refused(strategy("", &config), "imports `omnivisor:host/http-client@0.1.0`, and its manifest does not ask for it");
    refused(strategy("[wants]\nhttp = [\"https://a\"]", &config), "put `secrets = [\"NAME\"]` under `[wants]`");
}

#[test]
fn every_missing_grant_is_named_with_the_line_that_grants_it() {
    let wants = "[wants]\nhttp = [\"https://a\", \"https://b:8443\"]\nsecrets = [\"client\", \"key\"]";
    let error = strategy(wants, &config(&["https://a"], &["key"])).map(drop).expect_err("two are missing");
    assert_eq!(
        error,
        "plugin `x` wants HTTP with `https://b:8443` and the secret `client`, which is not granted; if you trust it with \
         that, add to the configuration: `[plugin.x] allow_http = [\"https://a\", \"https://b:8443\"]` and \
         `[plugin.x.secrets] client = { file = \"PATH\" }`"
    );
    let granted = strategy(wants, &config(&["https://a", "https://b:8443"], &["key", "client"]));
    assert!(granted.is_ok(), "{:?}", granted.map(drop));
}

#[test]
fn origins_that_only_the_operator_knows_are_those_that_are_granted() {
    let wants = "[wants]\nhttp = [\"configured\"]\nsecrets = [\"client\"]";
    refused(strategy(wants, &config(&[], &["client"])), "`[plugin.x] allow_http = [\"https://HOST\"]`");
    let granted = strategy(wants, &config(&["https://idp"], &["client", "other"])).expect("granted");
    assert_eq!(granted.web.expect("linked").origins().iter().collect::<Vec<_>>(), ["https://idp"]);
    let secrets = granted.secrets.expect("linked");
    assert_eq!(secrets.keys().collect::<Vec<_>>(), ["client"], "what it does not ask for is not handed over");
}

#[test]
fn what_is_optional_is_linked_and_given_where_it_is_granted() {
    let optional = "[optional]\nhttp = [\"configured\"]\nsecrets = [\"key\"]";
    let bare = strategy(optional, &config(&[], &[])).expect("it does without");
    assert!(bare.web.expect("linked").origins().is_empty() && bare.secrets.expect("linked").is_empty());
    let full = strategy(optional, &config(&["https://idp"], &["key"])).expect("granted");
    assert!(full.web.expect("linked").origins().contains("https://idp"));
    assert_eq!(full.secrets.expect("linked").get("key").map(Secret::reveal), Some("value of key"));
}

#[test]
fn a_wish_that_the_world_does_not_offer_is_refused() {
    let node = r#"(instance $i) (export "omnivisor:adapter/node@0.1.0" (instance $i))"#;
    let wants = "[wants]\nhttp = [\"https://a\"]";
    let result = settled(PluginClass::Adapter, node, wants, &config(&["https://a"], &[]));
    refused(result, "which the world `node-adapter` does not offer");
}

#[test]
fn the_world_of_a_manifest_is_that_of_the_component() {
    let newer = r#"(instance $i) (export "omnivisor:auth/strategy@0.2.0" (instance $i))"#;
    refused(
        settled(PluginClass::Auth, newer, "", &config(&[], &[])),
        "the component is for `omnivisor:auth/auth-strategy@0.2.0`",
    );
    let node = r#"(instance $i) (export "omnivisor:adapter/node@0.1.0" (instance $i))"#;
    refused(
        settled(PluginClass::Auth, node, "", &config(&[], &[])),
        "its `world` is `omnivisor:auth/auth-strategy@0.1.0`",
    );
}

#[test]
fn wishes_lower_limits_and_only_the_operator_raises_them() {
    let manifest = "[limits]\nfuel = 900\ncalls_max = 9";
    let settled = |overrides| {
        let config = PluginConfig { limits: overrides, ..PluginConfig::default() };
        settled(PluginClass::Auth, STRATEGY, manifest, &config)
    };
    refused(
        settled(LimitOverrides::default()),
        "plugin `x` asks for `calls_max = 9`, and its kind has 8; grant it with `calls_max = 9` in `[plugin.x.limits]`",
    );
    let raised = settled(LimitOverrides { calls_max: Some(9), ..LimitOverrides::default() }).expect("granted");
    assert_eq!(raised.limits, CallLimits { fuel: 900, calls_max: 9, ..LIMITS });
    let own = LimitOverrides { calls_max: Some(2), fuel: Some(5_000), ..LimitOverrides::default() };
    let lowered = settled(own).expect("granted");
    assert_eq!(lowered.limits, CallLimits { fuel: 5_000, calls_max: 2, ..LIMITS }, "the operator's word wins");
}

#[test]
fn secrets_are_taken_out_of_texts() {
    let wants = "[wants]\nhttp = [\"https://a\"]\nsecrets = [\"client\"]";
    let granted = strategy(wants, &config(&["https://a"], &["client"])).expect("granted");
    assert_eq!(granted.redact("it is value of client, value of client!".to_owned()), "it is ***, ***!");
    assert_eq!(granted.redact("value of another".to_owned()), "value of another");
}
