use super::SOON;
use omnivisor::config::StorageConfig;
use omnivisor::store::{AuditOutcome, Store};
use serde_json::{Value, json};
use tests::{CommandLine, Host, Node, Program, Server, Settings, Supervisord};

const STRICT_AND_FREEZE: &str = r#"["validate-strict", "validate-change-freeze"]"#;
/// A window that is open for as long as anybody will run this.
const ALWAYS: &str = r#"from = "2000-01-01T00:00", to = "2999-12-31T00:00", time_zone = "Europe/Berlin""#;

fn frozen(windows: &str) -> anyhow::Result<Settings> {
    Ok(Settings::new()?.with("plugins", "validate", STRICT_AND_FREEZE).with(
        "plugin.validate-change-freeze.settings",
        "windows",
        windows,
    ))
}

/// `alpha` in production, which is frozen, and `beta` in staging.
async fn two_environments() -> anyhow::Result<([Supervisord; 2], Host)> {
    let start = |name| Supervisord::start(Node::new(name).program(Program::quiet("quiet")));
    let (alpha, beta) = (start("alpha").await?, start("beta").await?);
    let windows = format!(r#"[{{ environments = ["production"], {ALWAYS}, reason = "end of the world" }}]"#);
    let settings = frozen(&windows)?.node(&alpha)?.environment("production").node(&beta)?.environment("staging");
    let host = Host::start(settings).await?;
    for node in ["alpha", "beta"] {
        host.until_process(node, "quiet:quiet", "running", SOON).await?;
    }
    Ok(([alpha, beta], host))
}

fn told(problem: &Value) -> Vec<[&str; 2]> {
    let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    errors.iter().map(|error| ["pointer", "code"].map(|member| error[member].as_str().unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_freeze_refuses_in_its_environment_alone_and_beside_what_other_validators_find() -> anyhow::Result<()> {
    let ([alpha, _beta], host) = two_environments().await?;
    let before = alpha.pid("quiet:quiet").await?;
    for operation in ["restart", "stop"] {
        let problem = host.order("alpha", "quiet:quiet", operation).await?.problem(422, "request.invalid")?;
        assert_eq!(told(&problem), [["/path/node", "change_freeze"]], "{problem}");
        let message = problem["errors"][0]["message"].as_str().unwrap_or_default();
        assert!(message.contains("`production`") && message.contains("window 1 (end of the world)"), "{message}");
        assert!(message.contains("until 2999-12-31T00:00") && message.contains("`override`"), "{message}");
    }
    // Nor by naming its group, or the supervisor that it would end with.
    for (path, body) in [
        ("groups/quiet/stop", json!({})),
        ("restart", json!({ "confirm": "alpha" })),
        ("shutdown", json!({ "confirm": "alpha" })),
        ("update", json!({ "confirm": "alpha" })),
    ] {
        let reply = host.admin.post(&format!("/api/v1/nodes/alpha/{path}"), &body).await?;
        assert_eq!(told(&reply.problem(422, "request.invalid")?), [["/path/node", "change_freeze"]], "{path}");
    }
    // An invisible character in the process's name: both validators have something to say, and both are heard.
    let problem = host.order("alpha", "quiet:a%E2%80%8Bb", "restart").await?.problem(422, "request.invalid")?;
    assert_eq!(
        told(&problem),
        [["/path/process", "invisible_character"], ["/path/node", "change_freeze"]],
        "{problem}"
    );
    assert_eq!(alpha.pid("quiet:quiet").await?, before, "nothing reached the node");

    let started = host.order("alpha", "quiet:quiet", "start").await?.expect_status(200)?.json()?;
    assert_eq!(started["outcome"], "unchanged", "a start is not among the frozen operations: {started}");
    host.process("alpha", "quiet:quiet").await?;
    let restarted = host.order("beta", "quiet:quiet", "restart").await?.expect_status(200)?.json()?;
    assert_eq!(restarted["outcome"], "done", "another environment: {restarted}");
    host.order("nobody", "quiet:quiet", "restart").await?.problem(404, "node.not_found")?;
    Ok(())
}

#[tokio::test]
async fn an_override_goes_through_for_who_may_and_is_in_the_audit() -> anyhow::Result<()> {
    let ([alpha, _beta], host) = two_environments().await?;
    let before = alpha.pid("quiet:quiet").await?;
    let path = "/api/v1/nodes/alpha/processes/quiet:quiet/restart";
    for bad in ["", "  ", &"x".repeat(257)] {
        let problem = host.admin.post(path, &json!({ "override": bad })).await?.problem(422, "request.invalid")?;
        assert_eq!(problem["errors"][0]["pointer"], "/body/override", "{problem}");
    }
    let done = host.admin.post(path, &json!({ "override": "hotfix 42" })).await?.expect_status(200)?.json()?;
    assert_eq!(done["outcome"], "done", "{done}");
    assert_ne!(alpha.pid("quiet:quiet").await?, before);

    let user = CommandLine::new(host.address())?;
    let secret = host.settings().path("admin.password");
    let login = user.run(&["login", "--username", "admin", "--password-file", &secret.to_string_lossy()]).await?;
    assert_eq!(login.code, 0, "{login:?}");
    let refused = user.run(&["restart", "alpha/quiet:quiet"]).await?;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stdout.contains("FAILED") && refused.stdout.contains("frozen until"), "{refused:?}");
    let done = user.run(&["restart", "--override", "hotfix 43", "alpha/quiet:quiet"]).await?;
    assert_eq!(done.code, 0, "{done:?}");

    let settings = host.end().await?;
    let store = Store::open(&StorageConfig::at(settings.path("omnivisor.redb")))?;
    let audit = store.recent_audit(100).await?;
    store.close().await?;
    let said: Vec<_> = audit
        .iter()
        .rev()
        .map(|entry| &entry.record)
        .filter(|record| record.target == "alpha/quiet:quiet")
        .filter(|record| record.what == "change.override" || record.outcome != AuditOutcome::Done)
        .map(|record| (record.what.as_str(), record.outcome.as_str(), record.reason.as_str()))
        .collect();
    let expected = [
        ("change.override", "done", "hotfix 42"),
        ("process.restart", "intended", ""),
        ("process.restart", "refused", "request.invalid"),
        ("change.override", "done", "hotfix 43"),
        ("process.restart", "intended", ""),
    ];
    assert_eq!(said, expected);
    Ok(())
}

#[tokio::test]
async fn faulty_settings_keep_the_host_from_starting_and_name_their_key() -> anyhow::Result<()> {
    let windows =
        r#"[{ environments = ["production"], weekly = ["fri 16:00", "mon 08:00"], time_zone = "Mars/Olympus" }]"#;
    let error = Server::start(frozen(windows)?).await.expect_err("there is no such zone");
    let told = format!("{error:#}");
    assert!(told.contains("plugin `validate-change-freeze`") && told.contains("`windows[0].time_zone`"), "{told}");
    Ok(())
}

#[tokio::test]
async fn the_largest_settings_are_judged_within_the_limits_of_every_validator() -> anyhow::Result<()> {
    const ZONES: [&str; 4] = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"];
    let environments: Vec<String> =
        (0..63).map(|n| format!("environ-{n:02}")).chain(["production".to_owned()]).collect();
    let window = |n: usize| {
        let zone = ZONES[n % ZONES.len()];
        format!(r#"{{ environments = {environments:?}, weekly = ["mon 00:00", "sun 23:59"], time_zone = {zone:?} }}"#)
    };
    let windows: Vec<String> = (0..64).map(window).collect();
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let settings = frozen(&format!("[{}]", windows.join(", ")))?.node(&node)?.environment("production");
    // Work is what counts here; time is the machine's, which other tests share.
    let settings = settings.with("plugins.validate_limits", "time_ms", "5000");
    let host = Host::start(settings).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let reply = host.order("alpha", "quiet:quiet", "restart").await?;
    // One minute of the week is free in each zone; in that minute fewer windows are open, and never none.
    let problem = reply.problem(422, "request.invalid")?;
    assert!(told(&problem).len() >= 48, "{problem}");
    let metrics = host.admin.get("/metrics").await?.text();
    let figure = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse::<u64>().ok())
    };
    let fuel = figure(r#"omnivisor_plugin_fuel_total{plugin="validate-change-freeze"}"#);
    let calls = figure(r#"omnivisor_plugin_calls_total{plugin="validate-change-freeze",outcome="ok"}"#);
    // Half of what every validator has unless told otherwise.
    assert!(fuel.zip(calls).is_some_and(|(fuel, calls)| fuel / calls < 10_000_000), "{fuel:?} in {calls:?} calls");
    Ok(())
}
