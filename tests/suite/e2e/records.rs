use super::user;
use omnivisor::config::StorageConfig;
use omnivisor::store::Store;
use serde_json::{Value, json};
use tests::{ADMIN, Host, Settings};

const AUDIT: &str = "/api/v1/audit";

async fn items(host: &Host, query: &str) -> anyhow::Result<Vec<Value>> {
    let page = host.admin.get(&format!("{AUDIT}?{query}")).await?.expect_status(200)?.json()?;
    Ok(page["items"].as_array().cloned().unwrap_or_default())
}

#[tokio::test]
async fn the_audit_is_read_page_by_page_exported_and_verified() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    for n in 0..5 {
        host.admin.post("/api/v1/api-keys", &json!({ "label": format!("=key {n}") })).await?.expect_status(201)?;
    }
    let wrong = json!({ "username": "eve", "password": "wrong" });
    host.stranger().post("/api/v1/login", &wrong).await?.problem(401, "auth.failed")?;

    let made = items(&host, "what=api-key.create&outcome=done&who=*").await?;
    assert_eq!(made.len(), 5, "{made:?}");
    assert!(made.iter().all(|record| record["who"] == ADMIN && record["address"] == "127.0.0.1"), "{made:?}");
    let refused = items(&host, "outcome=refused&who=ev*").await?;
    assert_eq!((refused.len(), &refused[0]["what"]), (1, &json!("session.login")), "{refused:?}");

    // Page by page is the same as all at once, in the same order.
    let all = items(&host, "limit=1000").await?;
    let (mut paged, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let page = host.admin.get(&format!("{AUDIT}?{query}")).await?.expect_status(200)?.json()?;
        paged.extend(page["items"].as_array().cloned().unwrap_or_default());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(paged, all);
    let numbers: Vec<u64> = all.iter().filter_map(|record| record["number"].as_u64()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] == pair[1] + 1) && numbers.last() == Some(&1), "{numbers:?}");

    let lines = host.admin.get(&format!("{AUDIT}/export")).await?.expect_status(200)?;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let mut exported: Vec<Value> = lines.text().lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let own = exported.pop().unwrap_or_default();
    assert_eq!((&own["what"], &own["target"]), (&json!("audit.export"), &json!("jsonl")), "who takes it is in it");
    exported.reverse();
    assert_eq!(exported, all);
    let csv = host.admin.get(&format!("{AUDIT}/export?format=csv&what=api-key.*")).await?.expect_status(200)?;
    assert_eq!(csv.text().lines().count(), 6, "{}", csv.text());

    let verdict = host.admin.get(&format!("{AUDIT}/verify")).await?.expect_status(200)?.json()?;
    assert_eq!((&verdict["intact"], &verdict["removed"]), (&json!(true), &json!(0)), "{verdict}");
    let head = verdict["head"].as_str().unwrap_or_default().to_owned();
    let noted = host.admin.get(&format!("{AUDIT}/verify?noted={head}")).await?.json()?;
    assert_eq!(noted["intact"], true, "{noted}");
    let other = head.replace(|c: char| c.is_ascii_alphabetic(), "0");
    let noted = host.admin.get(&format!("{AUDIT}/verify?noted={other}")).await?.json()?;
    assert_eq!(noted["intact"], false, "{noted}");

    for (path, pointers) in [
        ("?limit=0&outcome=good", vec!["/query/limit", "/query/outcome"]),
        ("?since=yesterday&cursor=x", vec!["/query/since", "/query/cursor"]),
        ("/export?format=xml&limit=1", vec!["/query/format", "/query/limit"]),
        ("/verify?noted=1", vec!["/query/noted"]),
    ] {
        let problem = host.admin.get(&format!("{AUDIT}{path}")).await?.problem(422, "request.invalid")?;
        for pointer in pointers {
            assert!(problem["errors"].to_string().contains(pointer), "{path}: {problem}");
        }
    }
    for path in [AUDIT, "/api/v1/audit/export", "/api/v1/audit/verify", "/api/v1/backup"] {
        host.stranger().get(path).await?.problem(401, "auth.required")?;
    }
    host.stop().await
}

#[tokio::test]
async fn who_may_not_read_it_or_take_a_copy_is_refused() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?.with("plugins", "auth", "[\"auth-local\", \"auth-token\"]")).await?;
    let wish = json!({ "label": "reads", "scopes": ["node.read"] });
    let key = host.admin.post("/api/v1/api-keys", &wish).await?.expect_status(201)?.json()?;
    let limited = host.stranger().bearer(key["text"].as_str().unwrap_or_default());
    for path in [AUDIT, "/api/v1/audit/export", "/api/v1/audit/verify", "/api/v1/backup"] {
        limited.get(path).await?.problem(403, "auth.forbidden")?;
    }
    let refused = items(&host, "what=backup.create").await?;
    assert_eq!((refused.len(), &refused[0]["outcome"]), (1, &json!("refused")), "{refused:?}");
    host.stop().await
}

#[tokio::test]
async fn a_copy_is_taken_while_it_serves_and_put_back_when_it_does_not() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    let user = user(&host).await?;
    let copy = user.home().join("copy.redb");
    let copy = copy.to_string_lossy().into_owned();
    let taken = user.run(&["backup", &copy]).await?;
    assert_eq!(taken.code, 0, "{taken:?}");
    assert_ne!(user.run(&["backup", &copy]).await?.code, 0, "nothing is overwritten");
    let looked = user.run(&["restore", "--check", &copy]).await?;
    assert!(looked.code == 0 && looked.stdout.contains("1 accounts") && looked.stdout.contains("whole"), "{looked:?}");
    let left: Vec<_> = std::fs::read_dir(host.settings().folder())?.flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".backup")), "{left:?}");

    let list = user.run(&["audit", "list", "--what", "backup.*"]).await?;
    assert!(list.code == 0 && list.stdout.contains("intended") && list.stdout.contains("done"), "{list:?}");
    let verified = user.run(&["audit", "verify"]).await?;
    assert!(verified.code == 0 && verified.stdout.contains("every one is what was written"), "{verified:?}");
    let exported = user.run(&["audit", "export", "--format", "csv"]).await?;
    assert!(exported.code == 0 && exported.stdout.starts_with("number,at,who,"), "{exported:?}");

    let data = host.settings().path("omnivisor.redb").to_string_lossy().into_owned();
    let refused = user.run(&["restore", &copy, "--data", &data]).await?;
    assert!(refused.code != 0 && refused.stderr.contains("another Omnivisor is running"), "{refused:?}");
    host.admin.post("/api/v1/api-keys", &json!({ "label": "after the copy" })).await?.expect_status(201)?;
    let settings = host.end().await?;
    let restored = user.run(&["restore", &copy, "--data", &data]).await?;
    assert!(restored.code == 0 && restored.stdout.contains("What was there before is"), "{restored:?}");

    let store = Store::open(&StorageConfig::at(settings.path("omnivisor.redb")))?;
    let audit = store.recent_audit(100).await?;
    assert_eq!((audit[0].record.what.as_str(), audit[0].record.target.as_str()), ("backup.restore", "copy.redb"));
    assert!(audit.iter().all(|entry| entry.record.what != "api-key.create"), "what came after the copy is not in it");
    assert_eq!(store.verify_audit(None).await?.fault, None);
    store.close().await?;
    Ok(())
}
