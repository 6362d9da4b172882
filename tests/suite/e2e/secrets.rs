use super::SOON;
use base64::Engine as _;
use serde_json::json;
use tests::{ADMIN, ADMIN_PASSWORD, CommandLine, Feed, Node, Program, Server, Settings, Supervisord, until};

/// Everything that was ever sent or written is searched for every secret in play, at the most talkative log level.
#[tokio::test]
async fn no_secret_is_in_any_answer_or_log_line() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let locked = Supervisord::start(Node::new("locked")).await?;
    let settings = Settings::new()?.node(&node)?.node_with_password(&locked, "canary-wrong-node-password")?;
    let file = settings.secret("plugin.secret", "canary-plugin-secret")?;
    let settings = settings.with("plugin.auth-local.secrets", "unasked", &format!("{{ file = {file:?} }}"));
    let mut server = Server::start(settings).await?;
    let stranger = server.client();
    let login = json!({ "username": ADMIN, "password": ADMIN_PASSWORD });
    let session = stranger.post("/api/v1/login", &login).await?.expect_status(200)?.json()?;
    let token = session["token"].as_str().unwrap_or_default().to_owned();
    let admin = stranger.bearer(&token);
    until("both nodes are known", SOON, async || {
        let list = admin.get("/api/v1/nodes").await?.json()?;
        let states = [list["items"][0]["state"].clone(), list["items"][1]["state"].clone()];
        Ok((states[0].as_str().is_some_and(|s| s.starts_with("live")) && states[1] == "refused").then_some(()))
    })
    .await?;

    // A browser's session, and tickets that travel in addresses and in the list of subprotocols.
    let page = stranger.with("origin", &format!("http://{}", stranger.address()));
    let wish = json!({ "username": ADMIN, "password": ADMIN_PASSWORD, "cookie": true });
    let login = page.post("/api/v1/login", &wish).await?.expect_status(200)?;
    let pair = login.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let page = page.with("cookie", &pair);
    let mut tickets = Vec::new();
    for _ in 0..3 {
        let issued = page.send("POST", "/api/v1/feed/tickets", &[], Vec::new()).await?.expect_status(201)?.json()?;
        tickets.push(issued["ticket"].as_str().unwrap_or_default().to_owned());
    }
    let hello = json!({ "sub": ["*/*/state"] });
    drop(Feed::open_at(&page, &format!("?ticket={}", tickets[0]), &hello).await?);
    drop(Feed::open_with(&page.with("sec-websocket-protocol", &format!("ticket.{}", tickets[1])), &hello).await?);

    let mut told = String::new();
    let wrong = json!({ "username": ADMIN, "password": "canary-wrong-admin-password" });
    for reply in [
        stranger.post("/api/v1/login", &wrong).await?,
        stranger.post("/api/v1/login", &json!({ "username": "canary", "password": "canary-extra", "x": 1 })).await?,
        stranger.bearer("canary-wrong-token").get("/api/v1/me").await?,
        admin.get("/api/v1/nodes?include=processes").await?,
        admin.get("/api/v1/me").await?,
        page.get("/api/v1/me").await?,
        page.get(&format!("/api/v1/feed?ticket={}", tickets[2])).await?,
        page.get(&format!("/api/v1/feed/events?ticket={}", tickets[2])).await?,
        page.get(&format!("/api/v1/feed/events?ticket={}&ticket={}", tickets[2], tickets[0])).await?,
        page.get("/api/v1/audit?limit=1000").await?,
        admin.send("POST", "/api/v1/nodes/alpha/processes/quiet:quiet/restart", &[], Vec::new()).await?,
        admin.send("POST", "/api/v1/nodes/locked/processes/quiet:quiet/restart", &[], Vec::new()).await?,
        admin.get("/metrics").await?,
        stranger.get("/readyz").await?,
        stranger.get("/api/openapi.json").await?,
    ] {
        told.push_str(&format!("{:?}\n{}\n", reply.headers, reply.text()));
    }
    let user = CommandLine::new(stranger.address())?;
    let file = user.home().join("password");
    std::fs::write(&file, ADMIN_PASSWORD)?;
    let run = user.run(&["login", "--username", ADMIN, "--password-file", &file.to_string_lossy()]).await?;
    told.push_str(&format!("{run:?}\n{:?}\n", user.run(&["status", "--json"]).await?));
    server.terminate(SOON).await?;
    told.push_str(&server.log());

    assert!(told.contains("unasked"), "a secret that is granted and not asked for is told by its name");
    let basic = |password: &str| base64::prelude::BASE64_STANDARD.encode(format!("{}:{password}", Node::USERNAME));
    for secret in [
        ADMIN_PASSWORD,
        "canary-wrong-admin-password",
        "canary-wrong-node-password",
        "canary-wrong-token",
        "canary-extra",
        "canary-plugin-secret",
        &token,
        pair.split_once('=').map_or("no cookie", |(_, token)| token),
        &tickets[0],
        &tickets[1],
        &tickets[2],
        node.password(),
        locked.password(),
        &basic(node.password()),
        &basic("canary-wrong-node-password"),
    ] {
        let line = told.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "shows {secret:?}");
    }
    Ok(())
}

/// From a new key to a changed one, as an operator goes about it.
#[tokio::test]
async fn a_password_that_came_over_the_api_outlives_restarts_and_a_change_of_the_key() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("beta").program(Program::quiet("quiet"))).await?;
    let settings = Settings::new()?;
    let user = CommandLine::new(node.address())?;
    let key = settings.path("storage.key").display().to_string();
    let made = user.run(&["secrets", "new-key", &key]).await?;
    assert_eq!(made.code, 0, "{made:?}");
    assert_ne!(user.run(&["secrets", "new-key", &key]).await?.code, 0, "nothing is overwritten");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key)?.permissions());
    assert_eq!(mode & 0o777, 0o600);
    let mut server = Server::start(settings.with("storage", "key_file", "\"storage.key\"")).await?;
    let config = server.settings().path("omnivisor.toml").display().to_string();
    let user = CommandLine::new(server.client().address())?;
    let file = |name: &str, text: &str| {
        let path = user.home().join(name);
        std::fs::write(&path, text).map(|()| path.display().to_string())
    };
    let (admin_file, good, wrong) =
        (file("admin", ADMIN_PASSWORD)?, file("good", node.password())?, file("wrong", "canary-wrong-password")?);
    let run = user.run(&["login", "--username", ADMIN, "--password-file", &admin_file]).await?;
    assert_eq!(run.code, 0, "{run:?}");
    let url = format!("http://{}", node.address());
    let add = ["node", "add", "beta", &url, "--username", Node::USERNAME, "--password-file"];
    let run = user.run(&[&add[..], &[&wrong]].concat()).await?;
    assert!(run.code == 0 && run.stdout.contains("nodes added: beta"), "{run:?}");
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let state = async |wanted: &str| {
        until(&format!("beta is {wanted}"), SOON, async || {
            let view = admin.get("/api/v1/nodes/beta").await?.json()?;
            Ok(view["state"].as_str().is_some_and(|state| state.starts_with(wanted)).then_some(()))
        })
        .await
    };
    state("refused").await?;
    let run = user.run(&[&add[..], &[&good, "--replace"]].concat()).await?;
    assert!(run.code == 0 && run.stdout.contains("nodes changed: beta"), "{run:?}");
    state("live").await?;
    let replaced = json!({ "url": url, "username": Node::USERNAME, "environment": "e" });
    let headers = [("content-type", "application/json")];
    let path = "/api/v1/nodes/beta";
    admin.send("PUT", path, &headers, replaced.to_string().into_bytes()).await?.expect_status(200)?;
    state("live").await?;
    let elsewhere = json!({ "url": "http://127.0.0.1:1", "username": Node::USERNAME }).to_string();
    let problem = admin.send("PUT", path, &headers, elsewhere.into_bytes()).await?.problem(422, "request.invalid")?;
    assert_eq!(problem["errors"][0]["pointer"], "/body/password", "{problem}");
    let shown = admin.get("/api/v1/config").await?.expect_status(200)?.json()?;
    assert_eq!((&shown["nodes"][0]["password"], &shown["nodes"][0]["environment"]), (&json!("kept"), &json!("e")));

    let new = server.settings().path("storage.key.new").display().to_string();
    assert_eq!(user.run(&["secrets", "new-key", &new]).await?.code, 0);
    let rotate = ["secrets", "rotate", "--new-key-file", &new, "--config", &config];
    let run = user.run(&rotate).await?;
    assert!(run.code != 0 && run.stderr.contains("another Omnivisor is running"), "{run:?}");
    server.terminate(SOON).await?;
    let run = user.run(&rotate).await?;
    assert!(run.code == 0 && run.stdout.starts_with("1 secrets in"), "{run:?}");
    let run = user.run(&rotate).await?;
    assert!(run.code == 0 && run.stdout.starts_with("Nothing to do"), "{run:?}");
    let run = user.run(&["serve", "--config", &config]).await?;
    assert!(run.code != 0 && run.stderr.contains("are sealed with the key"), "{run:?}");
    std::fs::rename(&new, &key)?;
    let server = server.start_again().await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    until("beta is live again", SOON, async || {
        let view = admin.get("/api/v1/nodes/beta").await?.json()?;
        Ok(view["state"].as_str().is_some_and(|state| state.starts_with("live")).then_some(()))
    })
    .await?;
    let rotated = admin.get("/api/v1/audit?what=secrets.rotate").await?.expect_status(200)?.json()?;
    assert_eq!(rotated["items"].as_array().map(Vec::len), Some(1), "{rotated}");
    Ok(())
}
