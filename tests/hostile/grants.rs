//! What a plugin may do is what its manifest asks for and its operator granted.

use crate::component::{World, extended, from_fixture, good, with_manifest};
use crate::place::{LIMITS, Place};
use crate::web::Web;
use omnivisor::config::{CallLimits, LimitOverrides, PluginConfig};
use omnivisor::model::{AdapterFault, Credential, PeerFacts, Secret, Verdict};
use omnivisor::plugin::{JudgeError, LoadError, LoadedPlugins, PluginFailure};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use tracing_subscriber::util::SubscriberInitExt as _;

const CANARY: &str = "canary-3b1f9c-secret";

fn manifest(name: &str, rest: &str) -> String {
    format!("name = \"{name}\"\nversion = \"1.2.3\"\nworld = \"omnivisor:auth/auth-strategy@0.1.0\"\n{rest}")
}

/// A strategy of that name that asks for origins and the secret `client`.
fn asking(name: &str) -> anyhow::Result<Vec<u8>> {
    let component = from_fixture(World::Auth, "asks-its-host")?;
    Ok(with_manifest(component, &manifest(name, "[wants]\nhttp = [\"configured\"]\nsecrets = [\"client\"]")))
}

fn grant(origin: &str) -> PluginConfig {
    PluginConfig {
        allow_http: vec![origin.to_owned()],
        secrets: BTreeMap::from([("client".to_owned(), Secret::new(CANARY.to_owned()))]),
        settings: r#"{"issuer":"https://idp"}"#.to_owned(),
        ..PluginConfig::default()
    }
}

async fn load(place: &Place) -> anyhow::Result<LoadedPlugins> {
    place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

async fn granted(web: &Web) -> anyhow::Result<LoadedPlugins> {
    load(&Place::new()?.strategy("auth-asks", &asking("auth-asks")?)?.grant("auth-asks", grant(&web.origin()))).await
}

/// Has the strategy do `what` with `argument`: the text that the host answered, or how it refused.
async fn ask(loaded: &LoadedPlugins, what: &str, argument: &str) -> Result<String, JudgeError> {
    let credential = Credential::Password { username: what.to_owned(), password: Secret::new(argument.to_owned()) };
    let facts = PeerFacts {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        request_id: "r-1".to_owned(),
    };
    let Some(strategy) = loaded.set.strategies.first() else { return Ok("there is no strategy".to_owned()) };
    strategy.authenticate(credential, facts).await.map(|verdict| match verdict {
        Verdict::Granted(identity) => identity.name,
        Verdict::Denied { code } => format!("denied: {code}"),
        Verdict::NotMine => "not mine".to_owned(),
    })
}

async fn refusal(loaded: &LoadedPlugins, what: &str, argument: &str) -> String {
    match ask(loaded, what, argument).await {
        Err(JudgeError::Fault(AdapterFault { message, .. })) => message,
        other => format!("it was no refusal: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_granted_works() -> anyhow::Result<()> {
    let loaded = granted(&Web::start()?).await?;
    assert_eq!(ask(&loaded, "settings", "-").await, Ok(r#"{"issuer":"https://idp"}"#.to_owned()));
    let clock: u128 = ask(&loaded, "clock", "-").await?.parse()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    assert!(now - clock < 10_000, "{clock} is not {now}");
    let thirty_two = "x".repeat(32);
    let (one, two) = (ask(&loaded, "random", &thirty_two).await?, ask(&loaded, "random", &thirty_two).await?);
    assert!(one.len() == 32 && two.len() == 32 && one != two, "{one} {two}");
    assert_eq!(ask(&loaded, "key of the secret", "client").await, Ok(CANARY.to_owned()));
    assert_eq!(ask(&loaded, "api key", "the-key").await, Ok("ann".to_owned()));
    assert_eq!(refusal(&loaded, "api key", "another").await, "no such key");
    assert_eq!(refusal(&loaded, "api key", "broken").await, "the keys cannot be read");
    let plugin = loaded.plugins.first().expect("one");
    assert_eq!(plugin.manifest.version.as_ref().map(ToString::to_string).as_deref(), Some("1.2.3"));
    Ok(())
}

#[tokio::test]
async fn what_is_not_granted_does_not_load_and_the_line_that_grants_it_is_told() -> anyhow::Result<()> {
    let refused = async |bytes: Vec<u8>, grant: PluginConfig| -> anyhow::Result<String> {
        let place = Place::new()?.strategy("auth-asks", &bytes)?.grant("auth-asks", grant);
        let Err(errors) = place.load().await else { anyhow::bail!("it was loaded") };
        anyhow::ensure!(matches!(errors.as_slice(), [LoadError::NotGranted { .. }]), "{errors:?}");
        Ok(errors.iter().map(ToString::to_string).collect())
    };
    let told = refused(asking("auth-asks")?, PluginConfig::default()).await?;
    assert!(told.contains("`[plugin.auth-asks] allow_http = [\"https://HOST\"]`"), "{told}");
    assert!(told.contains("`[plugin.auth-asks.secrets] client = { file = \"PATH\" }`"), "{told}");
    let silent = from_fixture(World::Auth, "asks-its-host")?;
    let told = refused(silent, grant("https://idp")).await?;
    assert!(told.contains("imports `omnivisor:host/http-client@0.1.0`, and its manifest does not ask"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_manifest_of_another_plugin_is_refused() -> anyhow::Result<()> {
    let bytes = with_manifest(good(World::Auth)?, &manifest("auth-other", ""));
    let errors = Place::new()?.strategy("auth-asks", &bytes)?.load().await.map(drop).expect_err("another's");
    assert!(errors.iter().any(|error| error.to_string().contains("it is that of `auth-other`")), "{errors:?}");
    Ok(())
}

#[tokio::test]
async fn adapters_and_validators_have_settings_and_a_clock() -> anyhow::Result<()> {
    let fields = r#"(import "omnivisor:host/settings@0.1.0" (instance (export "get" (func (result string)))))
        (import "omnivisor:host/clock@0.1.0" (instance (export "now-ms" (func (result u64)))))"#;
    let place = Place::new()?
        .validator("validate-asks", &extended(World::Validate, fields)?)?
        .adapter("node-asks", &extended(World::Adapter, fields)?)?;
    assert_eq!(load(&place).await?.plugins.len(), 2);
    let random = r#"(import "omnivisor:host/random@0.1.0" (instance))"#;
    let place = Place::new()?.adapter("node-asks", &extended(World::Adapter, random)?)?;
    assert!(place.load().await.is_err(), "an adapter has no use for random bytes");
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_not_granted_is_not_told() -> anyhow::Result<()> {
    let mut more = grant("https://idp");
    more.secrets.insert("other".to_owned(), Secret::new("never asked for".to_owned()));
    let place = Place::new()?.strategy("auth-asks", &asking("auth-asks")?)?.grant("auth-asks", more);
    let loaded = load(&place).await?;
    assert_eq!(refusal(&loaded, "k", "other").await, "the secret `other` is not granted");
    assert_eq!(refusal(&loaded, "k", "client\n").await, "the secret `client\\n` is not granted");
    Ok(())
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn secrets_are_in_no_log_line_and_no_error_even_if_the_plugin_puts_them_there() -> anyhow::Result<()> {
    let captured = Captured::default();
    let writer = captured.clone();
    // Of the whole process: one for this thread alone would miss lines that another test's thread came to first.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish()
        .try_init()?;
    let web = Web::start()?;
    let loaded = granted(&web).await?;
    assert!(ask(&loaded, "k", "client").await.is_ok() && ask(&loaded, "write it", "client").await.is_ok());
    let url = format!("{}/count?secret={CANARY}", web.origin());
    assert!(ask(&loaded, "get", &url).await.is_ok());
    let Err(JudgeError::Plugin(PluginFailure::Trapped { what, .. })) = ask(&loaded, "x", "client").await else {
        panic!("it ends with its last words")
    };
    assert_eq!(what, "panicked: ***");
    assert_eq!(refusal(&loaded, "q", "client").await, "***");
    let shown = format!("{:?}", grant(&web.origin()));
    let text = String::from_utf8(captured.0.lock().unwrap_or_else(PoisonError::into_inner).clone())?;
    assert!(text.contains("omnivisor::plugin: ***") && text.contains("a plugin's request"), "{text}");
    for told in [text, shown] {
        assert!(!told.contains(CANARY), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn random_bytes_have_a_bound() -> anyhow::Result<()> {
    let loaded = granted(&Web::start()?).await?;
    assert!(ask(&loaded, "random", &"x".repeat(255)).await.is_ok());
    let Err(JudgeError::Plugin(PluginFailure::Trapped { what, .. })) = ask(&loaded, "random", &"x".repeat(257)).await
    else {
        panic!("it traps")
    };
    assert!(what.contains("at most 256"), "{what}");
    Ok(())
}

#[tokio::test]
async fn only_granted_origins_are_reached_and_redirects_are_not_followed() -> anyhow::Result<()> {
    let (web, other) = (Web::start()?, Web::start()?);
    let loaded = granted(&web).await?;
    let get = async |path: &str| ask(&loaded, "get", &format!("{}{path}", web.origin())).await;
    assert_eq!(get("/count").await, Ok("answer 1".to_owned()));
    assert_eq!(get("/broken").await, Ok("broken 2".to_owned()));
    assert_eq!(get("/moved").await, Ok("moved".to_owned()));
    assert_eq!(web.requests(), 3, "nobody went where the redirect points");
    let told = refusal(&loaded, "get", &format!("{}/count", other.origin())).await;
    assert_eq!(
        told,
        format!("`{}` is not granted; its operator can grant it with `[plugin.auth-asks] allow_http`", other.origin())
    );
    assert_eq!(other.requests(), 0);
    assert_eq!(refusal(&loaded, "get", &format!("{}/big", web.origin())).await, "too-large");
    let told = refusal(&loaded, "loop", &format!("{}/count", web.origin())).await;
    assert_eq!(told, "this call has sent as many requests as one may");
    assert_eq!(web.requests(), 8, "four of five");
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_silent_leaves_the_plugin_time_to_say_so() -> anyhow::Result<()> {
    let web = Web::start()?;
    let mut place =
        Place::new()?.strategy("auth-asks", &asking("auth-asks")?)?.grant("auth-asks", grant(&web.origin()));
    place.config.auth_limits = CallLimits { time: Duration::from_millis(400), ..LIMITS };
    let loaded = load(&place).await?;
    let started = Instant::now();
    assert_eq!(refusal(&loaded, "get", &format!("{}/silent", web.origin())).await, "timed-out");
    assert!(started.elapsed() < Duration::from_millis(400), "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn what_was_fetched_serves_later_calls_and_later_code_of_the_same_plugin() -> anyhow::Result<()> {
    let web = Web::start()?;
    let place = Place::new()?.strategy("auth-asks", &asking("auth-asks")?)?.grant("auth-asks", grant(&web.origin()));
    let loaded = load(&place).await?;
    let keys = format!("{}/keys", web.origin());
    for _ in 0..3 {
        assert_eq!(ask(&loaded, "max-age", &keys).await, Ok("answer 1".to_owned()));
    }
    assert_eq!(ask(&loaded, "fresh", &keys).await, Ok("answer 1".to_owned()), "that was done just now");
    assert_eq!(ask(&loaded, "get", &keys).await, Ok("answer 2".to_owned()), "without the cache it is always asked");

    place.put(
        "auth-asks",
        &with_manifest(
            from_fixture(World::Auth, "asks-its-host")?,
            &manifest("auth-asks", "[optional]\nhttp = [\"configured\"]\nsecrets = [\"client\"]"),
        ),
    )?;
    let replaced = load(&place).await?;
    assert_ne!(
        replaced.plugins.first().map(|plugin| &plugin.digest),
        loaded.plugins.first().map(|plugin| &plugin.digest)
    );
    assert_eq!(ask(&replaced, "max-age", &keys).await, Ok("answer 1".to_owned()));
    assert_eq!(web.requests(), 2);

    let other = Place::new()?.strategy("auth-other", &asking("auth-other")?)?.grant("auth-other", grant(&web.origin()));
    assert_eq!(ask(&load(&other).await?, "max-age", &keys).await, Ok("answer 3".to_owned()));
    Ok(())
}

#[tokio::test]
async fn the_host_s_work_is_paid_for_in_fuel() -> anyhow::Result<()> {
    let web = Web::start()?;
    let settings = format!("{{\"x\":\"{}\"}}", "y".repeat(50_000));
    let grant = PluginConfig { settings, ..grant(&web.origin()) };
    let place = Place::new()?.strategy("auth-asks", &asking("auth-asks")?)?.grant("auth-asks", grant);
    let loaded = load(&place).await?;
    let mut fuel = BTreeMap::new();
    let count = format!("{}/count", web.origin());
    for (what, argument) in
        [("clock", "-"), ("settings", "-"), ("random", "xxx"), ("k", "client"), ("get", &count), ("a", "k")]
    {
        let _ = ask(&loaded, what, argument).await;
        fuel.insert(what, loaded.plugins.first().map_or(0, |plugin| plugin.counters.snapshot().fuel_last));
    }
    assert!(fuel.values().all(|fuel| (1_000..60_000).contains(fuel)), "{fuel:?}");
    assert!(fuel["settings"] > fuel["clock"] + 45_000, "{fuel:?}");
    Ok(())
}

#[tokio::test]
async fn a_manifest_lowers_limits_and_the_operator_has_the_last_word() -> anyhow::Result<()> {
    let spent = async |wish: u64, own: Option<u64>| -> anyhow::Result<JudgeError> {
        let component = from_fixture(World::Auth, "greedy-strategy")?;
        let bytes = with_manifest(component, &manifest("auth-asks", &format!("[limits]\nfuel = {wish}")));
        let limits = LimitOverrides { fuel: own, ..LimitOverrides::default() };
        let grant = PluginConfig { limits, ..PluginConfig::default() };
        let loaded = load(&Place::new()?.strategy("auth-asks", &bytes)?.grant("auth-asks", grant)).await?;
        Ok(ask(&loaded, "-", "-").await.expect_err("it never ends"))
    };
    let out_of = |limit| JudgeError::Plugin(PluginFailure::OutOfFuel { plugin: "auth-asks".to_owned(), limit });
    assert_eq!(spent(100_000, None).await?, out_of(100_000));
    assert_eq!(spent(100_000, Some(200_000)).await?, out_of(200_000));
    assert_eq!(spent(LIMITS.fuel + 1, Some(LIMITS.fuel + 2)).await?, out_of(LIMITS.fuel + 2));
    let refused = spent(LIMITS.fuel + 1, None).await.expect_err("more than its kind has").to_string();
    assert!(refused.contains("LimitNotGranted") && refused.contains("fuel"), "{refused}");
    Ok(())
}
