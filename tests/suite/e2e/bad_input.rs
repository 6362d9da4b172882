use super::{SOON, one};
use serde_json::{Value, json};
use tests::{ADMIN, ADMIN_PASSWORD, Client, Node, Program};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// A request, and the problem that it has to be answered with.
type Case = (&'static str, &'static str, &'static str, u16, &'static str);

async fn refused(client: &Client, case: &Case) -> anyhow::Result<Value> {
    let (method, path, body, status, code) = *case;
    let headers = if body.is_empty() { &[] } else { JSON };
    let reply = client.send(method, path, headers, body.as_bytes().to_vec()).await?;
    reply.problem(status, code).map_err(|error| error.context(format!("{method} {path} {body}")))
}

#[tokio::test]
async fn every_refusal_is_a_problem_document_with_its_code() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let cases: &[Case] = &[
        ("GET", "/api/v1/nodes/nobody", "", 404, "node.not_found"),
        ("GET", "/api/v1/nodes/nobody/processes", "", 404, "node.not_found"),
        ("GET", "/api/v1/nodes/alpha/processes/quiet:nobody", "", 404, "process.not_found"),
        ("POST", "/api/v1/nodes/nobody/processes/quiet:quiet/start", "", 404, "node.not_found"),
        ("POST", "/api/v1/nodes/alpha/processes/quiet:nobody/start", "", 404, "process.not_found"),
        ("POST", "/api/v1/nodes/alpha/processes/quiet:quiet/dance", "", 404, "route.not_found"),
        ("GET", "/api/v1/nothing", "", 404, "route.not_found"),
        ("GET", "/nothing", "", 404, "route.not_found"),
        ("GET", "/api/v1/plugins/nobody", "", 404, "plugin.not_found"),
        ("POST", "/api/v1/plugins/nobody/rollback", "", 404, "plugin.not_found"),
        ("POST", "/api/v1/plugins/validate-strict/rollback", "", 409, "plugin.no_previous"),
        ("POST", "/api/v1/plugins/a%2Fb/rollback", "", 422, "request.invalid"),
        ("PUT", "/api/v1/plugins/validate-strict", "{}", 415, "request.media_type"),
        ("GET", "/api/v1/plugins?x=1", "", 422, "request.invalid"),
        ("PUT", "/api/v1/nodes", "", 405, "route.method_not_allowed"),
        ("GET", "/api/v1/nodes/alpha/processes/quiet:quiet/start", "", 405, "route.method_not_allowed"),
        ("GET", "/api/v1/nodes/%ff", "", 400, "request.malformed"),
        ("GET", "/api/v1/nodes/alpha/processes/quiet", "", 422, "request.invalid"),
        ("GET", "/api/v1/nodes/alpha/processes/quiet:a%00b", "", 422, "request.invalid"),
        ("GET", "/api/v1/nodes/alpha/processes/quiet:quiet/logs/stdout?tail=none", "", 422, "request.invalid"),
        ("GET", "/api/v1/nodes/alpha/processes/quiet:quiet/logs/stdout?tail=1048577", "", 422, "request.invalid"),
        ("POST", "/api/v1/login", "{\"username\":", 400, "request.malformed"),
        ("POST", "/api/v1/login", "{\"username\":\"a\",\"username\":\"b\",\"password\":\"c\"}", 422, "request.invalid"),
        ("POST", "/api/v1/login", "{\"username\":\"a\"}", 422, "request.invalid"),
        ("POST", "/api/v1/login", "{\"username\":7,\"password\":\"c\"}", 422, "request.invalid"),
        ("POST", "/api/v1/login", "{\"username\":\"a\",\"password\":\"c\",\"role\":\"admin\"}", 422, "request.invalid"),
        ("POST", "/api/v1/nodes/alpha/processes/quiet:quiet/start", "{\"wait\":1}", 422, "request.invalid"),
        ("POST", "/api/v1/nodes/alpha/processes/quiet:quiet/start", "{\"wait_ms\":60001}", 422, "request.invalid"),
        ("POST", "/api/v1/nodes/alpha/processes/quiet:quiet/start", "[", 400, "request.malformed"),
    ];
    let mut broken = Vec::new();
    for case in cases {
        match refused(&host.admin, case).await {
            Err(error) => broken.push(format!("{error:#}")),
            Ok(problem) if case.4 == "request.invalid" => {
                let pointer = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
                if !["/path", "/query", "/body"].iter().any(|start| pointer.starts_with(start)) {
                    broken.push(format!("{case:?} names no field: {problem}"));
                }
            }
            Ok(_) => {}
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert_eq!(host.process("alpha", "quiet:quiet").await?["state"], "running");
    Ok(())
}

#[tokio::test]
async fn without_a_good_token_nothing_is_told() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    for path in ["/api/v1/nodes", "/api/v1/nodes/alpha", "/api/v1/nodes/nobody", "/api/v1/me"] {
        host.stranger().get(path).await?.problem(401, "auth.required")?;
        for token in ["x", "", "a.b.c", &"x".repeat(5_000)] {
            let reply = host.stranger().bearer(token).get(path).await?;
            let code = reply.json()?["code"].as_str().unwrap_or_default().to_owned();
            assert!(matches!(code.as_str(), "auth.required" | "auth.failed"), "{code}");
            reply.problem(401, &code)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_login_never_says_which_half_was_wrong() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    let mut answers = Vec::new();
    for (username, password) in [(ADMIN, "canary-wrong-password"), ("nobody", ADMIN_PASSWORD)] {
        let body = json!({ "username": username, "password": password });
        let mut problem = host.stranger().post("/api/v1/login", &body).await?.problem(401, "auth.failed")?;
        problem["request_id"].take();
        answers.push(problem);
    }
    assert_eq!(answers.first(), answers.last());
    Ok(())
}

#[tokio::test]
async fn bodies_that_are_too_large_or_no_json_are_refused_before_they_are_read() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    let large = vec![b' '; 70_000];
    host.stranger().send("POST", "/api/v1/login", JSON, large).await?.problem(413, "request.too_large")?;
    let text = [("content-type", "text/plain")];
    let body = json!({ "username": ADMIN, "password": ADMIN_PASSWORD }).to_string().into_bytes();
    host.stranger().send("POST", "/api/v1/login", &text, body).await?.problem(415, "request.media_type")?;
    let deep = format!("{{\"username\":{}", "[".repeat(30_000)).into_bytes();
    host.stranger().send("POST", "/api/v1/login", JSON, deep).await?.problem(422, "request.invalid")?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_has_accounts_is_not_set_up_again() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    let body = json!({ "token": "guess", "username": "eve", "password": "a long enough password" });
    host.stranger().post("/api/v1/setup", &body).await?.problem(409, "setup.done")?;
    Ok(())
}

#[tokio::test]
async fn a_request_id_is_taken_from_a_client_only_if_it_is_plain() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    let long = "x".repeat(5_000);
    for (sent, is_kept) in [("plain-1.2_3", true), ("two words", false), ("\"quoted\"", false), (long.as_str(), false)]
    {
        let reply = host.stranger().send("GET", "/nothing", &[("x-request-id", sent)], Vec::new()).await?;
        assert_eq!(reply.problem(404, "route.not_found")?["request_id"] == sent, is_kept, "{sent}");
    }
    Ok(())
}
