//! Files that are no plugins, or none that may serve: refused when they are loaded, all of them at once.

use crate::component::{World, build, extended, from_fixture, good, text};
use crate::place::{Node, Place};
use omnivisor::plugin::{LoadError, PluginClass};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Loads one adapter and tells why it was refused.
async fn refusal(bytes: &[u8]) -> anyhow::Result<LoadError> {
    let place = Place::new()?.adapter("node-good", &good(World::Adapter)?)?.adapter("node-bad", bytes)?;
    let Err(mut errors) = place.load().await else { anyhow::bail!("it was loaded") };
    anyhow::ensure!(errors.len() == 1, "the good one is not at fault: {errors:?}");
    let error = errors.remove(0);
    anyhow::ensure!(error.plugin() == Some("node-bad") && error.to_string().contains("`node-bad`"), "{error}");
    Ok(error)
}

#[tokio::test]
async fn every_plugin_that_cannot_serve_is_named_at_once() -> anyhow::Result<()> {
    let mut place = Place::new()?
        .adapter("core", b"\0asm\x01\0\0\0")?
        .adapter("text", b"(component)")?
        .adapter("machine", b"\x7fELF\x02\x01\x01\0")?
        .adapter("wrong", &good(World::Auth)?)?
        .adapter("fine", &good(World::Adapter)?)?
        .validator("fine-too", &good(World::Validate)?)?;
    place.config.auth = vec!["missing".to_owned(), "../fine".to_owned()];
    let errors = place.load().await.map(|_| ()).expect_err("five of seven");
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for expected in [
        "plugin `missing`: there is no file `",
        "`make plugins`",
        "plugin `../fine`: that is not a plugin's name",
        "plugin `core` is a core module, a WebAssembly component in the binary format was expected",
        "plugin `text` is WebAssembly text",
        "plugin `machine` is machine code",
        "plugin `wrong` is an `auth-strategy`, a `node-adapter` was expected",
    ] {
        assert!(told.iter().any(|line| line.contains(expected)), "{expected:?} is missing in {told:#?}");
    }
    assert_eq!(errors.len(), 6, "{told:#?}");
    Ok(())
}

#[tokio::test]
async fn what_is_loaded_is_told_with_its_digest_and_serves() -> anyhow::Result<()> {
    let bytes = good(World::Adapter)?;
    let place = Place::new()?.adapter("node-good", &bytes)?;
    let loaded = place.load().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let [plugin] = loaded.plugins.as_slice() else { panic!("one plugin") };
    assert_eq!((plugin.name.as_str(), plugin.class), ("node-good", PluginClass::Adapter));
    assert_eq!((plugin.size_bytes, plugin.digest.len()), (bytes.len() as u64, 64));
    let adapter = loaded.set.adapters.get("node-good").expect("it was loaded");
    assert_eq!(adapter.info().kind, "test");
    let observed = adapter.observe(Arc::new(Node::Answers), Instant::now() + Duration::from_secs(5)).await?;
    let process = observed.processes.first().expect("one process");
    assert_eq!((process.id.to_string().as_str(), process.state.as_str()), ("g:p", "running"));
    // A file that is replaced later changes nothing about what was loaded.
    place.put("node-good", b"")?;
    assert!(adapter.observe(Arc::new(Node::Answers), Instant::now() + Duration::from_secs(5)).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn an_import_that_its_world_does_not_offer_is_named() -> anyhow::Result<()> {
    let told = refusal(&wat::parse_str(text("forbidden-import")?)?).await?.to_string();
    assert!(told.contains("imports `wasi:sockets/tcp@0.2.0`, which is not offered"), "{told}");
    assert!(
        told.contains("the world `node-adapter` offers") && told.contains("omnivisor:host/exchange@0.1.0"),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn an_export_without_its_functions_does_not_link() -> anyhow::Result<()> {
    let error = refusal(&wat::parse_str(text("no-such-function")?)?).await?;
    assert!(matches!(&error, LoadError::Link { .. }) && error.to_string().contains("describe"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_start_that_never_ends_is_stopped_while_loading() -> anyhow::Result<()> {
    let LoadError::Describe { source, .. } = refusal(&from_fixture(World::Adapter, "endless-start")?).await? else {
        panic!("it cannot say what it is")
    };
    assert_eq!(source.code(), "plugin.out_of_fuel");
    Ok(())
}

#[tokio::test]
async fn a_hog_of_handles_is_stopped_while_loading() -> anyhow::Result<()> {
    let hog = extended(World::Adapter, &text("handle-hog")?)?;
    let LoadError::Describe { source, .. } = refusal(&hog).await? else { panic!("it cannot say what it is") };
    assert_eq!(source.code(), "plugin.out_of_memory");
    Ok(())
}

#[tokio::test]
async fn a_hog_of_instances_is_refused_before_it_runs() -> anyhow::Result<()> {
    for (module, count) in [("(memory 1)", 900), ("", 40)] {
        let fields = format!("(core module $m {module}) {}", "(core instance (instantiate $m))".repeat(count));
        let error = refusal(&extended(World::Adapter, &fields)?).await?;
        assert!(matches!(&error, LoadError::TooComplex { .. }), "{error}");
    }
    // Ten times ten: the engine counts what nesting multiplies.
    let inner = format!("(component $c (core module $m) {})", "(core instance (instantiate $m))".repeat(10));
    let nested = format!("{inner} {}", "(instance (instantiate $c))".repeat(10));
    let error = refusal(&extended(World::Adapter, &nested)?).await?;
    assert!(matches!(&error, LoadError::Compile { .. } | LoadError::Describe { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_compile_bomb_is_refused_before_it_is_compiled() -> anyhow::Result<()> {
    let started = Instant::now();
    let bomb = build(World::Adapter, &"(func)".repeat(130_000))?;
    let built = started.elapsed();
    let error = refusal(&bomb).await?;
    assert!(error.to_string().contains("more than 20000 functions"), "{error}");
    let took = started.elapsed() - built;
    assert!(took < Duration::from_secs(5), "{took:?}, where compiling takes 25 s");
    Ok(())
}

#[tokio::test]
async fn halves_of_files_and_things_that_are_none_are_refused() -> anyhow::Result<()> {
    let whole = good(World::Adapter)?;
    let half = whole.get(..whole.len() / 2).expect("a half");
    assert!(matches!(refusal(half).await?, LoadError::Malformed { .. } | LoadError::NoExport { .. }));
    assert!(matches!(refusal(&vec![0; (8 << 20) + 1]).await?, LoadError::TooLarge { .. }));
    let mut place = Place::new()?;
    std::fs::create_dir(place.config.directory.join("folder.wasm"))?;
    place.config.validate = vec!["folder".to_owned()];
    let errors = place.load().await.map(|_| ()).expect_err("a folder");
    assert!(matches!(errors.as_slice(), [LoadError::Unreadable { .. }]), "{errors:?}");
    Ok(())
}
