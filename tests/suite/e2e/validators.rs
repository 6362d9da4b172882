use super::{SOON, one};
use anyhow::Context as _;
use std::path::Path;
use tests::{Host, Node, Program, Settings, Supervisord, plugins};

/// The plugins in the box, and beside them `validate-old`: a component of contract 0.1.0 that traps when it is asked about
/// `session.read` and finds fault with every restart.
fn with_an_old_one(policy: &str) -> anyhow::Result<Settings> {
    let settings = Settings::new()?;
    let folder = settings.path("plugins");
    std::fs::create_dir(&folder)?;
    for entry in std::fs::read_dir(plugins()?)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|end| end == "wasm")) {
            std::os::unix::fs::symlink(&path, folder.join(name))?;
        }
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/released/validate-0.1.0.wat");
    std::fs::write(folder.join("validate-old.wasm"), wat::parse_file(kept)?)?;
    Ok(settings
        .with("plugins", "directory", &format!("{folder:?}"))
        .with("plugins", "validate", r#"["validate-old", "validate-strict"]"#)
        .with("plugin.validate-old", "on_failure", &format!("{policy:?}")))
}

/// Requests that went on although `validate-old` failed.
async fn let_through(host: &Host) -> anyhow::Result<u64> {
    let metrics = host.admin.get("/metrics").await?.expect_status(200)?.text();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"omnivisor_validator_failures_allowed_total{plugin="validate-old"} "#));
    Ok(line.map_or(Ok(0), str::parse)?)
}

#[tokio::test]
async fn a_validator_that_fails_refuses_unless_its_operator_said_otherwise() -> anyhow::Result<()> {
    let host = Host::start(with_an_old_one("refuse")?).await?;
    let problem = host.admin.get("/api/v1/me").await?.problem(500, "plugin.trapped")?;
    assert!(problem["detail"].as_str().is_some_and(|words| words.contains("`validate-old`")), "{problem}");
    host.admin.get("/api/v1/nodes").await?.expect_status(200)?;
    assert_eq!(let_through(&host).await?, 0);
    host.stop().await?;

    let host = Host::start(with_an_old_one("allow")?).await?;
    for _ in 0..3 {
        host.admin.get("/api/v1/me").await?.expect_status(200)?;
    }
    assert_eq!(let_through(&host).await?, 3, "each is counted");
    // A failure that is let through hides nothing that others find.
    let problem = host.admin.get("/api/v1/nodes/a%E2%80%8Bb").await?.problem(422, "request.invalid")?;
    assert_eq!(problem["errors"][0]["code"], "invisible_character", "{problem}");
    host.stop().await
}

#[tokio::test]
async fn a_validator_of_the_first_contract_judges_beside_those_of_the_current_one() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let host = Host::start(with_an_old_one("refuse")?.node(&node)?).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let problem = host.order("alpha", "quiet:a%E2%80%8Bb", "restart").await?.problem(422, "request.invalid")?;
    let found = |at: usize| (problem["errors"][at]["pointer"].clone(), problem["errors"][at]["code"].clone());
    assert_eq!(found(0), ("/old".into(), "process.restart".into()), "{problem}");
    assert_eq!(problem["errors"][0]["message"], "admin", "who asks, by name: {problem}");
    assert_eq!(found(1), ("/path/process".into(), "invisible_character".into()), "{problem}");
    Ok(())
}

/// How often `validate-strict` was asked and answered.
async fn asked(host: &Host) -> anyhow::Result<u64> {
    let metrics = host.admin.get("/metrics").await?.expect_status(200)?.text();
    let prefix = r#"omnivisor_plugin_calls_total{plugin="validate-strict",outcome="ok"} "#;
    let line = metrics.lines().find_map(|line| line.strip_prefix(prefix)).context("its calls are counted")?;
    Ok(line.parse()?)
}

#[tokio::test]
async fn words_that_passed_are_not_judged_again_and_what_was_refused_is() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    let list = "/api/v1/nodes?include=processes";
    host.admin.get(list).await?.expect_status(200)?;
    // The first of these two has the figures' own request remembered.
    asked(&host).await?;
    let before = asked(&host).await?;
    for _ in 0..10 {
        host.admin.get(list).await?.expect_status(200)?;
    }
    assert_eq!(asked(&host).await?, before, "the same words");
    for _ in 0..3 {
        let problem = host.admin.get("/api/v1/nodes/a%E2%80%8Bb").await?.problem(422, "request.invalid")?;
        assert_eq!(problem["errors"][0]["code"], "invisible_character", "{problem}");
    }
    assert_eq!(asked(&host).await?, before + 3, "each time");
    host.stop().await
}

#[tokio::test]
async fn an_override_that_nothing_asks_for_changes_nothing() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let path = "/api/v1/nodes/alpha/processes/quiet:quiet/restart";
    let done = host.admin.post(path, &serde_json::json!({ "override": "just in case" })).await?;
    assert_eq!(done.expect_status(200)?.json()?["outcome"], "done");
    Ok(())
}
