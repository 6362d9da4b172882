//! Code that was compiled before: used when it is whole and ours, and otherwise as good as none.

use crate::component::{World, good};
use crate::logged::Logged;
use crate::place::{Node, Place};
use omnivisor::model::Secret;
use omnivisor::plugin::{LoadError, ToolchainCounts};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn place(key: &str) -> anyhow::Result<Place> {
    let mut place = Place::new()?.adapter("node-good", &good(World::Adapter)?)?;
    place.key = Some(Secret::new(key.to_owned()));
    Ok(place)
}

/// Starts as a server does, has the plugin work, and tells where its code came from.
async fn start(place: &Place) -> anyhow::Result<ToolchainCounts> {
    let toolchain = place.toolchain()?;
    let loaded = place.load_with(toolchain.clone()).await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let adapter = loaded.set.adapters.get("node-good").ok_or_else(|| anyhow::anyhow!("it was loaded"))?;
    adapter.observe(Arc::new(Node::Answers), Instant::now() + Duration::from_secs(5)).await?;
    Ok(toolchain.counts())
}

/// The one file of compiled code.
fn file(place: &Place) -> anyhow::Result<PathBuf> {
    let files = std::fs::read_dir(&place.config.cache_directory)?.collect::<Result<Vec<_>, _>>()?;
    let [file] = files.as_slice() else { anyhow::bail!("{} files are kept", files.len()) };
    Ok(file.path())
}

const NOTHING: ToolchainCounts = ToolchainCounts { cached: 0, compiled: 0, unfit: 0, failed: 0 };
const COMPILED: ToolchainCounts = ToolchainCounts { compiled: 1, ..NOTHING };
const CACHED: ToolchainCounts = ToolchainCounts { cached: 1, ..NOTHING };
const REPLACED: ToolchainCounts = ToolchainCounts { compiled: 1, unfit: 1, ..NOTHING };

#[tokio::test]
async fn the_second_start_compiles_nothing() -> anyhow::Result<()> {
    let mut place = place("key")?;
    assert_eq!(start(&place).await?, COMPILED);
    assert_eq!(start(&place).await?, CACHED);
    let name = file(&place)?.file_name().expect("a name").to_string_lossy().into_owned();
    let (digest, engine) = name.trim_end_matches(".cwasm").split_once('-').expect("two parts");
    assert!(digest.len() == 64 && engine.len() == 16, "{name}");
    place.key = None;
    assert_eq!(start(&place).await?, COMPILED, "without a key nothing that is kept is trusted");
    Ok(())
}

#[tokio::test]
async fn a_file_that_was_tampered_with_is_told_of_once_and_replaced() -> anyhow::Result<()> {
    let place = place("key")?;
    start(&place).await?;
    let file = file(&place)?;
    let whole = std::fs::read(&file)?;
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let mut forged = whole.clone();
    forged[..32].fill(0);
    for (what, bytes) in [("flipped", &flipped[..]), ("cut", &whole[..whole.len() - 1]), ("forged", &forged), ("", b"")]
    {
        std::fs::write(&file, bytes)?;
        let logged = Logged::start();
        assert_eq!(start(&place).await?, REPLACED, "{what}");
        let lines = logged.lines();
        let told = lines.iter().filter(|line| line.contains("is not used; compiling anew")).count();
        assert_eq!(told, 1, "{what}: {lines:#?}");
        assert_eq!(start(&place).await?, CACHED, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn code_of_another_server_is_not_used() -> anyhow::Result<()> {
    let (ours, theirs) = (place("ours")?, place("theirs")?);
    assert_eq!((start(&ours).await?, start(&theirs).await?), (COMPILED, COMPILED));
    let (our_file, their_file) = (file(&ours)?, file(&theirs)?);
    assert_ne!(our_file.file_name(), their_file.file_name(), "in one directory each has its own");
    std::fs::copy(their_file, our_file)?;
    assert_eq!(start(&ours).await?, REPLACED);
    Ok(())
}

#[tokio::test]
async fn compiled_code_is_never_taken_for_a_plugin() -> anyhow::Result<()> {
    let mut place = place("key")?;
    start(&place).await?;
    let sealed = std::fs::read(file(&place)?)?;
    let code = sealed.get(32..).expect("behind the seal");
    assert!(code.starts_with(b"\x7fELF"), "the real thing");
    for bytes in [code, &sealed] {
        place.put("node-good", bytes)?;
        let errors = place.load().await.map(|_| ()).expect_err("machine code");
        assert!(matches!(errors.as_slice(), [LoadError::NotComponent { .. }]), "{errors:?}");
    }
    // Nor is the directory of plugins a place for code.
    place.config.cache_directory = place.config.directory.join("cache");
    let error = place.toolchain().expect_err("inside");
    assert_eq!(error.code(), "plugin.cache_directory");
    Ok(())
}
