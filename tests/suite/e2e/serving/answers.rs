use super::{ask, tls, with_tls};
use crate::e2e::{SOON, one};
use anyhow::Context as _;
use serde_json::json;
use tests::{ADMIN, ADMIN_PASSWORD, Host, Node, Program, Reply, Settings, free_address, until};
use tokio::net::TcpStream;

/// A host with five nodes that nobody is at, all of which are known to be so.
async fn fleet() -> anyhow::Result<Host> {
    let mut settings = Settings::new()?;
    for name in ["a", "b", "c", "d", "e"] {
        settings = settings.open_node(name, free_address()?)?;
    }
    let host = Host::start(settings).await?;
    for name in ["a", "b", "c", "d", "e"] {
        host.until_node(name, &["unreachable"], SOON).await?;
    }
    Ok(host)
}

async fn list(host: &Host, headers: &[(&str, &str)]) -> anyhow::Result<Reply> {
    host.admin.send("GET", "/api/v1/nodes", headers, Vec::new()).await
}

#[tokio::test]
async fn every_answer_tells_browsers_what_it_is_not() -> anyhow::Result<()> {
    let secure = free_address()?;
    let host = Host::start(with_tls(Settings::new()?, secure)?).await?;
    for path in ["/livez", "/api/v1/me", "/api/v1/nodes", "/nothing", "/metrics", "/api/openapi.json"] {
        for is_tls in [false, true] {
            let reply = if is_tls {
                ask(tls(secure, "first", "http/1.1").await?, path, &[]).await?
            } else {
                ask(TcpStream::connect(host.address()).await?, path, &[]).await?
            };
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("cross-origin-resource-policy", "same-origin"),
            ] {
                assert_eq!(reply.header(name), value, "{path}");
            }
            let policy = reply.header("content-security-policy");
            assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{path}");
            assert_eq!(reply.headers.contains_key("strict-transport-security"), is_tls, "{path}");
            assert!(reply.header("cache-control").contains("no-"), "{path}: {}", reply.header("cache-control"));
        }
    }
    host.stop().await
}

#[tokio::test]
async fn a_list_is_compressed_where_that_is_asked_for_and_not_sent_to_who_has_it() -> anyhow::Result<()> {
    let host = fleet().await?;
    // What is told of nodes that nobody is at may change a last time.
    let (plain, tag) = until("the list rests", SOON, async || {
        let (one, two) = (list(&host, &[]).await?, list(&host, &[]).await?);
        let tag = one.header("etag").to_owned();
        Ok((tag == two.header("etag")).then_some((one, tag)))
    })
    .await?;
    assert!(plain.body.len() > 1024 && tag.starts_with('"') && !plain.headers.contains_key("content-encoding"));
    assert!(plain.header("vary").contains("accept-encoding") && plain.header("vary").contains("authorization"));
    for (asked, given) in [("gzip", "gzip"), ("gzip, br", "br"), ("br;q=0.1, gzip", "gzip")] {
        let packed = list(&host, &[("accept-encoding", asked)]).await?.expect_status(200)?;
        assert_eq!(packed.header("content-encoding"), given);
        assert!(packed.body.len() * 2 < plain.body.len(), "{} of {}", packed.body.len(), plain.body.len());
        assert_ne!(packed.header("etag"), tag, "another writing has another tag");
        let known = list(&host, &[("accept-encoding", asked), ("if-none-match", packed.header("etag"))]).await?;
        assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
        assert_eq!(known.header("x-content-type-options"), "nosniff");
    }
    assert_eq!(list(&host, &[("if-none-match", &tag)]).await?.status, 304);
    assert_eq!(list(&host, &[("if-none-match", "\"other\"")]).await?.status, 200);
    // Who may not have it does not hear whether it has changed.
    let stranger = host.stranger().send("GET", "/api/v1/nodes", &[("if-none-match", &tag)], Vec::new()).await?;
    stranger.problem(401, "auth.required")?;
    // Answers that hold a token are never compressed, and nobody keeps them.
    let body = json!({ "username": ADMIN, "password": ADMIN_PASSWORD }).to_string().into_bytes();
    let headers = [("content-type", "application/json"), ("accept-encoding", "gzip")];
    let login = host.stranger().send("POST", "/api/v1/login", &headers, body).await?.expect_status(200)?;
    assert_eq!((login.header("content-encoding"), login.header("cache-control")), ("", "no-store"));
    host.stop().await
}

#[tokio::test]
async fn a_tag_changes_with_what_it_tags() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let path = "/api/v1/nodes/alpha/processes";
    let before = host.admin.get(path).await?.expect_status(200)?;
    host.order("alpha", "quiet:quiet", "stop").await?.expect_status(200)?;
    host.until_process("alpha", "quiet:quiet", "stopped", SOON).await?;
    let tag = before.header("etag").to_owned();
    assert!(!tag.is_empty());
    let after = host.admin.send("GET", path, &[("if-none-match", &tag)], Vec::new()).await?.expect_status(200)?;
    assert_ne!(after.header("etag"), tag);
    host.stop().await
}

#[tokio::test]
async fn lists_are_read_page_by_page_in_their_order() -> anyhow::Result<()> {
    let host = fleet().await?;
    let (mut names, mut cursor) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = host.admin.get(&format!("/api/v1/nodes?limit=2{cursor}")).await?.expect_status(200)?.json()?;
        let items = page["items"].as_array().context("items")?;
        names.extend(items.iter().filter_map(|item| item["name"].as_str().map(str::to_owned)));
        cursor = page["next"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    assert_eq!((names.as_slice(), cursor.as_str()), (["a", "b", "c", "d", "e"].map(str::to_owned).as_slice(), ""));
    let full = host.admin.get("/api/v1/nodes?include=processes&limit=1&cursor=d").await?.json()?;
    assert_eq!((&full["items"][0]["name"], &full["next"]), (&json!("e"), &json!(null)));
    for (path, pointer) in [
        ("/api/v1/nodes?limit=0", "/query/limit"),
        ("/api/v1/nodes?limit=1001", "/query/limit"),
        ("/api/v1/nodes?limit=two", "/query/limit"),
        ("/api/v1/nodes?cursor=", "/query/cursor"),
        ("/api/v1/nodes?page=2", "/query/page"),
        ("/api/v1/nodes/a/processes?limit=-1", "/query/limit"),
    ] {
        let problem = host.admin.get(path).await?.problem(422, "request.invalid")?;
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{path}");
    }
    host.stop().await
}

#[tokio::test]
async fn processes_are_read_page_by_page_by_group_and_name() -> anyhow::Result<()> {
    let node =
        ["b", "a-b", "a", "c"].into_iter().fold(Node::new("alpha"), |node, name| node.program(Program::quiet(name)));
    let (_node, host) = one(node).await?;
    host.until_process("alpha", "c:c", "running", SOON).await?;
    let ids = |page: &serde_json::Value| -> Vec<String> {
        let items = page["items"].as_array().cloned().unwrap_or_default();
        items.iter().filter_map(|item| item["id"].as_str().map(str::to_owned)).collect()
    };
    let all = ids(&host.admin.get("/api/v1/nodes/alpha/processes").await?.expect_status(200)?.json()?);
    let (mut seen, mut path) = (Vec::new(), Some("/api/v1/nodes/alpha/processes?limit=3".to_owned()));
    while let Some(asked) = path {
        let page = host.admin.get(&asked).await?.expect_status(200)?.json()?;
        seen.extend(ids(&page));
        path = page["next"].as_str().map(|next| format!("/api/v1/nodes/alpha/processes?limit=3&cursor={next}"));
    }
    assert_eq!((seen.len(), &seen), (4, &all));
    host.stop().await
}
