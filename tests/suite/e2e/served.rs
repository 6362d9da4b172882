use super::one;
use tests::{Host, Node, Program, Settings};

/// What `docs/api.md` lists, as OpenAPI writes it.
const ROUTES: &[(&str, &str)] = &[
    ("get", "/api/v1/nodes"),
    ("get", "/api/v1/nodes/{node}"),
    ("get", "/api/v1/nodes/{node}/processes"),
    ("get", "/api/v1/nodes/{node}/processes/{process}"),
    ("post", "/api/v1/nodes/{node}/processes/{process}/start"),
    ("post", "/api/v1/nodes/{node}/processes/{process}/stop"),
    ("post", "/api/v1/nodes/{node}/processes/{process}/restart"),
    ("post", "/api/v1/nodes/{node}/processes/{process}/monitor"),
    ("post", "/api/v1/nodes/{node}/processes/{process}/unmonitor"),
    ("get", "/api/v1/nodes/{node}/processes/{process}/logs/{channel}"),
    ("get", "/api/v1/plugins"),
    ("get", "/api/v1/plugins/{plugin}"),
    ("put", "/api/v1/plugins/{plugin}"),
    ("post", "/api/v1/plugins/{plugin}/rollback"),
    ("post", "/api/v1/login"),
    ("post", "/api/v1/logout"),
    ("get", "/api/v1/me"),
    ("post", "/api/v1/setup"),
];

#[tokio::test]
async fn probes_need_no_login_and_figures_need_one_unless_the_operator_opens_them() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let stranger = host.stranger();
    stranger.get("/livez").await?.expect_status(200)?;
    stranger.get("/readyz").await?.expect_status(200)?;
    stranger.get("/metrics").await?.problem(401, "auth.required")?;
    let open = Host::start(Settings::new()?.with("metrics", "open", "true")).await?;
    open.stranger().bearer("omni_forged").get("/metrics").await?.expect_status(200)?;
    open.stranger().get("/api/v1/health").await?.problem(401, "auth.required")?;
    let metrics = host.admin.get("/metrics").await?.expect_status(200)?;
    let kind = metrics.header("content-type").to_owned();
    assert!(kind.starts_with("application/openmetrics-text") || kind.starts_with("text/plain"), "{kind}");
    let text = metrics.text();
    assert!(text.lines().any(|line| line.starts_with("# TYPE ")), "{text}");
    assert!(text.lines().any(|line| !line.is_empty() && !line.starts_with('#')), "{text}");
    Ok(())
}

#[tokio::test]
async fn the_served_description_has_every_route_that_the_documents_have() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    let document = host.stranger().get("/api/openapi.json").await?.expect_status(200)?.json()?;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{}", document["openapi"]);
    let missing: Vec<_> =
        ROUTES.iter().filter(|(method, path)| document["paths"][*path][*method]["responses"].is_null()).collect();
    let present: Vec<_> = document["paths"].as_object().into_iter().flat_map(|paths| paths.keys()).collect();
    assert!(missing.is_empty(), "missing: {missing:?}; there are {present:?}");
    Ok(())
}

#[tokio::test]
async fn a_session_knows_who_it_is() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    let me = host.admin.get("/api/v1/me").await?.expect_status(200)?.json()?;
    assert_eq!((&me["name"], &me["role"], &me["strategy"]), (&"admin".into(), &"admin".into(), &"auth-local".into()));
    Ok(())
}

#[tokio::test]
async fn a_node_says_what_it_is_and_what_it_can_do() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    let node = host.node("alpha").await?;
    assert_eq!((&node["version"], &node["identification"]), (&"4.3.0".into(), &"alpha".into()), "{node}");
    assert_eq!(node["adapter"], "node-supervisord");
    assert_eq!(node["operations"], serde_json::json!(["start", "stop", "restart"]));
    assert_eq!(node["log_channels"], serde_json::json!(["stdout", "stderr"]));
    Ok(())
}
