use omnivisor::auth::Action;
use serde_json::{Value, json};
use tests::{ADMIN, CommandLine, Host, Settings};

const KEYS: &str = "/api/v1/api-keys";

#[tokio::test]
async fn a_key_is_shown_once_listed_and_revoked() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    let wish =
        json!({ "label": "nightly deploy", "scopes": ["process.read", "process.control"], "expires_in_s": 3600 });
    let created = host.admin.post(KEYS, &wish).await?.expect_status(201)?.json()?;
    let text = created["text"].as_str().unwrap_or_default().to_owned();
    let id = created["key"]["id"].as_str().unwrap_or_default().to_owned();
    assert!(text.starts_with(&format!("ovk_{id}_")) && text.len() == 64, "{text}");
    assert_eq!(created["key"]["account"], ADMIN);

    let list = host.admin.get(KEYS).await?.expect_status(200)?;
    assert!(!list.text().contains(&text), "the text is shown once");
    let key = list.json()?["items"][0].clone();
    assert_eq!((&key["id"], &key["label"], &key["scopes"]), (&json!(id), &wish["label"], &wish["scopes"]));
    assert_eq!((&key["last_used_at"], &key["revoked_at"]), (&Value::Null, &Value::Null));
    assert!(key["expires_at"].is_string(), "{key}");

    let path = format!("{KEYS}/{id}");
    for _ in 0..2 {
        host.admin.send("DELETE", &path, &[], Vec::new()).await?.expect_status(204)?;
    }
    let key = host.admin.get(KEYS).await?.json()?["items"][0].clone();
    assert!(key["revoked_at"].is_string(), "{key}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn bad_wishes_name_each_field_and_nothing_is_made() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    let many: Vec<&str> = vec!["node.read"; Action::ALL.len() + 1];
    for (wish, pointers) in [
        (json!({}), vec!["/body"]),
        (json!({ "label": "", "scopes": ["node.read", "root"] }), vec!["/body/label", "/body/scopes/1"]),
        (json!({ "label": "x".repeat(101) }), vec!["/body/label"]),
        (json!({ "label": "x", "expires_in_s": 59 }), vec!["/body/expires_in_s"]),
        (json!({ "label": "x", "scopes": many }), vec!["/body/scopes"]),
        (json!({ "label": "x", "account": "eve" }), vec!["/body/account"]),
    ] {
        let problem = host.admin.post(KEYS, &wish).await?.problem(422, "request.invalid")?;
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        for pointer in pointers {
            let has = errors.iter().any(|error| error["pointer"].as_str().is_some_and(|p| p.starts_with(pointer)));
            assert!(has, "{wish}: no {pointer} in {problem}");
        }
    }
    let text = "ovk_0123456789abcdef_abc";
    let bad = host.admin.send("DELETE", &format!("{KEYS}/{text}"), &[], Vec::new()).await?;
    assert!(!bad.text().contains(text), "the text in place of the id is told to nobody: {}", bad.text());
    bad.problem(422, "request.invalid")?;
    let unknown = host.admin.send("DELETE", &format!("{KEYS}/0123456789abcdef"), &[], Vec::new()).await?;
    unknown.problem(404, "auth.key_not_found")?;
    for (method, path) in [("GET", KEYS), ("POST", KEYS), ("DELETE", "/api/v1/api-keys/0123456789abcdef")] {
        host.stranger().send(method, path, &[], Vec::new()).await?.problem(401, "auth.required")?;
    }
    assert_eq!(host.admin.get(KEYS).await?.json()?, json!({ "items": [] }));
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_user_makes_lists_and_revokes_keys_in_the_terminal() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    let user = CommandLine::new(host.address())?;
    let token =
        host.admin.authorization().and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    let run = async |arguments: &[&str]| {
        let child = user.command(arguments)?.env("OMNIVISOR_TOKEN", &token).spawn()?;
        let ended = child.wait_with_output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        anyhow::Ok((ended.status.code().unwrap_or(-1), text(&ended.stdout), text(&ended.stderr)))
    };
    let (code, stdout, stderr) =
        run(&["api-key", "create", "--label", "dashboard", "--scope", "node.read", "--days", "90"]).await?;
    assert_eq!(code, 0, "{stderr}");
    let text = stdout.trim_end();
    assert!(text.starts_with("ovk_") && !text.contains('\n'), "the key alone, for `> file`: {stdout}");
    let id = text.get(4..20).unwrap_or_default();
    assert!(stderr.contains(&format!("omnivisor api-key revoke {id}")) && !stderr.contains(text), "{stderr}");

    let (code, stdout, stderr) = run(&["api-key", "list"]).await?;
    assert_eq!(code, 0, "{stderr}");
    for word in [id, "dashboard", "node.read", ADMIN] {
        assert!(stdout.contains(word), "no {word}: {stdout}");
    }
    assert_eq!(run(&["api-key", "revoke", id]).await?.0, 0);
    assert!(run(&["api-key", "list"]).await?.1.contains("revoked"));
    let (code, stdout, _) = run(&["api-key", "list", "--json"]).await?;
    let list: Value = serde_json::from_str(&stdout)?;
    assert_eq!((code, list["items"][0]["id"].as_str()), (0, Some(id)));
    assert_eq!(run(&["api-key", "revoke", "0123456789abcdef"]).await?.0, 66, "there is none");
    let (code, stdout, _) = run(&["whoami"]).await?;
    assert!(code == 0 && stdout.contains("auth-local") && stdout.contains("until"), "{stdout}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_login_elsewhere_that_nobody_configured_is_not_there() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    for path in ["auth-local", "auth-nobody", "auth-local/callback?state=x&code=y"] {
        let reply = host.stranger().get(&format!("/api/v1/login/{path}")).await?;
        reply.problem(404, "auth.no_such_login")?;
    }
    host.stranger().get("/api/v1/login/auth-local?next=x").await?.problem(422, "request.invalid")?;
    let me = host.admin.get("/api/v1/me").await?.expect_status(200)?.json()?;
    assert_eq!((&me["strategy"], &me["role"], &me["scopes"]), (&json!("auth-local"), &json!("admin"), &json!([])));
    assert!(me["expires_at"].is_string(), "{me}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn keys_come_page_by_page_newest_first_each_once() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    let mut made = Vec::new();
    for number in 0..7 {
        let wish = json!({ "label": format!("key {number}"), "expires_in_s": 3600 });
        let key = host.admin.post(KEYS, &wish).await?.expect_status(201)?.json()?;
        made.insert(0, key["key"]["label"].clone());
    }
    let (mut seen, mut pages, mut path) = (Vec::new(), 0, Some(format!("{KEYS}?limit=3")));
    while let Some(next) = path {
        let page = host.admin.get(&next).await?.expect_status(200)?.json()?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        assert!((1..=3).contains(&items.len()), "{page}");
        seen.extend(items.iter().map(|key| key["label"].clone()));
        pages += 1;
        path = page["next"].as_str().map(|next| format!("{KEYS}?limit=3&cursor={next}"));
    }
    assert_eq!((seen, pages), (made, 3));
    assert_eq!(host.admin.get(KEYS).await?.json()?["items"].as_array().map(Vec::len), Some(7), "all without a limit");
    host.admin.get(&format!("{KEYS}?limit=0&cursor=")).await?.problem(422, "request.invalid")?;
    host.stop().await
}
