//! The author's guide as it is written, and the templates of its commands: every command runs, with the built
//! `omnivisor`, the real compiler for guests and a real server.
#![expect(clippy::panic, reason = "a test that panics has failed, which is what it is for")]

mod page;
mod shell;

use anyhow::Context as _;
use page::{Block, Way, blocks, missing};
use serde_json::Value;
use shell::Shell;
use std::path::Path;
use std::time::Duration;
use tests::until;

const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// The ports that the page names. Here they are others, which are free.
const PORTS: [&str; 2] = ["9900", "8642"];

#[tokio::test]
async fn the_guide_leads_from_nothing_to_a_running_adapter() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in a workspace")?;
    let mut page = std::fs::read_to_string(root.join("docs/plugins.md"))?;
    for port in PORTS {
        page = page.replace(port, &tests::free_address()?.port().to_string());
    }
    let blocks = blocks(&page);
    assert!(blocks.len() > 10, "only {} blocks were found: the marks have changed", blocks.len());
    let mut shell = Shell::new()?;
    for block in blocks {
        match block {
            Block::File { path, text } => std::fs::write(shell.folder()?.join(path), text)?,
            Block::Run { line, commands, shown, way } => {
                let at = || format!("docs/plugins.md, line {line}");
                match way {
                    Way::Once => {
                        let output = shell.run(&commands).await.with_context(at)?;
                        assert_eq!(missing(&shown, &output), None, "{}: {commands}\nprinted:\n{output}", at());
                    }
                    Way::Until => {
                        until("what is shown", SEEN_WITHIN, async || {
                            let output = shell.run(&commands).await?;
                            Ok(missing(&shown, &output).is_none().then_some(()))
                        })
                        .await
                        .with_context(at)?;
                    }
                    Way::Background => shell.begin(&commands, &shown).await.with_context(at)?,
                }
            }
        }
    }
    shell.end().await
}

/// Writes a crate of a kind, and does with it what its README says.
async fn walk(kind: &str, name: &str) -> anyhow::Result<(Shell, Value)> {
    let shell = Shell::new()?;
    shell.run(&format!("omnivisor plugin new {kind} {name}\ncd {name}")).await?;
    let native = shell.run("cargo test").await?;
    assert_eq!(missing(&["test result: ok. 2 passed; 0 failed".to_owned()], &native), None, "{native}");
    shell.run("omnivisor plugin build").await?;
    let checked = shell.run(&format!("omnivisor plugin check target/{name}.wasm")).await?;
    assert_eq!(missing(&[format!("world       {kind}"), "ok: it can be".to_owned()], &checked), None, "{checked}");
    let report = shell.run(&format!("omnivisor plugin test target/{name}.wasm --json")).await?;
    Ok((shell, serde_json::from_str(&report)?))
}

#[tokio::test]
async fn a_new_strategy_builds_and_passes_its_tests_at_once() -> anyhow::Result<()> {
    let (_shell, report) = walk("auth-strategy", "auth-machine").await?;
    assert_eq!((&report["passed"], &report["failed"]), (&3.into(), &0.into()), "{report}");
    assert!(report["cases"][0]["fuel"].as_u64() > Some(1_000), "{report}");
    Ok(())
}

#[tokio::test]
async fn a_new_validator_builds_and_passes_its_tests_and_a_wrong_case_fails() -> anyhow::Result<()> {
    let (shell, report) = walk("input-validator", "validate-kept").await?;
    assert_eq!((&report["passed"], &report["failed"]), (&3.into(), &0.into()), "{report}");
    assert_eq!(report["cases"][2]["fuel"], Value::Null, "a server would not ask it about a start");

    // The manifest travels inside, and what it says of itself can be read again.
    let facts: Value =
        serde_json::from_str(&shell.run("omnivisor plugin inspect target/validate-kept.wasm --json").await?)?;
    assert!(facts["manifest"].as_str().expect("a text").contains("name = \"validate-kept\""), "{facts}");
    assert_eq!(facts["sha256"], report["sha256"]);

    // Less fuel than it needs, a case that expects something else, and fuel that has risen.
    let enough = report["cases"][0]["fuel"].as_u64().expect("fuel");
    let starved = format!("omnivisor plugin test target/validate-kept.wasm --fuel {} || echo code $?", enough * 3 / 4);
    let starved = shell.run(&starved).await?;
    let words = ["FAILED", "plugin.out_of_fuel", "code 1"].map(str::to_owned);
    assert_eq!(missing(&words, &starved), None, "{starved}");
    let wrong = r#"sed 's/"kept_running"/"other"/; s/"name": "everything else goes on",/"name": "b", "fuel": 10,/' vectors.json > wrong.json
        omnivisor plugin test target/validate-kept.wasm wrong.json || echo code $?"#;
    let wrong = shell.run(wrong).await?;
    let words = ["/violations/0/code: expected", "units of fuel, and 10 are recorded", "2 failed", "code 1"];
    assert_eq!(missing(&words.map(str::to_owned), &wrong), None, "{wrong}");

    // A folder that holds something is left alone; a core module is no plugin.
    let again = shell.run("cd ..\nomnivisor plugin new input-validator validate-kept || echo code $?").await?;
    assert_eq!(missing(&["nothing was written".to_owned(), "code 73".to_owned()], &again), None, "{again}");
    let core = "printf '\\0asm\\001\\0\\0\\0' > core.wasm\nomnivisor plugin check core.wasm || echo code $?";
    let core = shell.run(core).await?;
    assert_eq!(missing(&["is a core module".to_owned(), "code 65".to_owned()], &core), None, "{core}");
    Ok(())
}
