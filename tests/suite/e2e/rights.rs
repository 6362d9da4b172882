//! Who may do what: every operation of the API's own document, asked by everybody.
//!
//! The nodes are left alone (`enabled = false`), so that what is admitted is refused by them and not carried out.

use super::{SOON, one};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tests::{Client, CommandLine, Feed, Host, Node, Program, Reply, Settings};

pub(super) const PASSWORD: &str = "canary-kim-password";
pub(super) const USERS: &str = "/api/v1/users";

/// What an operation needs, as this test has it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// To be known.
    ToBeKnown,
    /// A right of any scope, for what is the caller's own.
    Own(&'static str),
    /// A right of any scope; the answer is what may be seen.
    List(&'static str),
    /// A right over everything.
    Server(&'static str),
    /// A right on the node.
    Node(&'static str),
    /// A right on the node or on a part of it.
    Part(&'static str),
    /// A right on the group.
    Group(&'static str),
}

pub(super) type Row = (&'static str, &'static str, Needs, Option<Value>);

/// Every operation once, with the JSON it is sent, if any.
pub(super) fn table() -> Vec<Row> {
    [of_everybody(), of_the_fleet(), of_the_server()].concat()
}

fn of_everybody() -> Vec<Row> {
    use Needs::{Nothing, Own, ToBeKnown};
    let get = |path, needs| ("GET", path, needs, None);
    let post = |path, needs, body: Value| ("POST", path, needs, Some(body));
    vec![
        get("/livez", Nothing),
        get("/readyz", Nothing),
        get("/api/openapi.json", Nothing),
        get("/api/asyncapi.json", Nothing),
        post("/api/v1/login", Nothing, json!({ "username": "nobody", "password": "x" })),
        post("/api/v1/setup", Nothing, json!({ "token": "x", "username": "y", "password": PASSWORD })),
        get("/api/v1/login/{strategy}", Nothing),
        get("/api/v1/login/{strategy}/callback", Nothing),
        get("/api/v1/me", ToBeKnown),
        get("/api/v1/permissions", ToBeKnown),
        post("/api/v1/me/password", ToBeKnown, json!({ "old": "x", "new": "short" })),
        get("/api/v1/me/sessions", ToBeKnown),
        ("DELETE", "/api/v1/me/sessions/{id}", ToBeKnown, None),
        ("DELETE", "/api/v1/me/sessions", ToBeKnown, None),
        ("POST", "/api/v1/logout", ToBeKnown, None),
        get("/api/v1/api-keys", Own("api-key.read")),
        post("/api/v1/api-keys", Own("api-key.write"), json!({ "label": "x", "expires_in_s": 60 })),
        ("DELETE", "/api/v1/api-keys/{id}", Own("api-key.write"), None),
        get("/api/v1/feed", Own("feed.read")),
        get("/api/v1/feed/events", Own("feed.read")),
        ("POST", "/api/v1/feed/tickets", Own("feed.read"), None),
    ]
}

fn of_the_fleet() -> Vec<Row> {
    use Needs::{Group, List, Node, Part};
    let get = |path, needs| ("GET", path, needs, None);
    let post = |path, needs, body: Value| ("POST", path, needs, Some(body));
    vec![
        get("/api/v1/nodes", List("node.read")),
        post(
            "/api/v1/bulk",
            List("process.control"),
            json!({ "operation": "start", "select": [{ "node": "web" }], "dry_run": true }),
        ),
        get("/api/v1/nodes/{node}", Node("node.read")),
        get("/api/v1/nodes/{node}/processes", Part("process.read")),
        get("/api/v1/nodes/{node}/log", Node("log.read")),
        ("POST", "/api/v1/nodes/{node}/reread", Node("node.update"), None),
        post("/api/v1/nodes/{node}/update", Node("node.update"), json!({ "confirm": "web" })),
        post("/api/v1/nodes/{node}/restart", Node("node.shutdown"), json!({ "confirm": "web" })),
        post("/api/v1/nodes/{node}/shutdown", Node("node.shutdown"), json!({ "confirm": "web" })),
        get("/api/v1/nodes/{node}/processes/{process}", Group("process.read")),
        get("/api/v1/nodes/{node}/processes/{process}/logs/{channel}", Group("log.read")),
        ("POST", "/api/v1/nodes/{node}/processes/{process}/start", Group("process.control"), None),
        ("POST", "/api/v1/nodes/{node}/processes/{process}/stop", Group("process.control"), None),
        ("POST", "/api/v1/nodes/{node}/processes/{process}/restart", Group("process.control"), None),
        ("POST", "/api/v1/nodes/{node}/processes/{process}/monitor", Group("process.control"), None),
        ("POST", "/api/v1/nodes/{node}/processes/{process}/unmonitor", Group("process.control"), None),
        post("/api/v1/nodes/{node}/processes/{process}/signal", Group("process.signal"), json!({ "signal": "HUP" })),
        post("/api/v1/nodes/{node}/processes/{process}/input", Group("process.input"), json!({ "text": "x" })),
        ("POST", "/api/v1/nodes/{node}/processes/{process}/clear-logs", Group("log.clear"), None),
        ("POST", "/api/v1/nodes/{node}/groups/{group}/start", Group("process.control"), None),
        ("POST", "/api/v1/nodes/{node}/groups/{group}/stop", Group("process.control"), None),
        ("POST", "/api/v1/nodes/{node}/groups/{group}/restart", Group("process.control"), None),
    ]
}

fn of_the_server() -> Vec<Row> {
    use Needs::Server;
    let get = |path, needs| ("GET", path, needs, None);
    let post = |path, needs, body: Value| ("POST", path, needs, Some(body));
    let node_url = json!({ "name": "new", "url": "http://127.0.0.1:1", "password_file": "/nowhere", "username": "u" });
    vec![
        post("/api/v1/nodes", Server("node.manage"), node_url),
        ("PUT", "/api/v1/nodes/{node}", Server("node.manage"), Some(json!({ "url": "http://127.0.0.1:1" }))),
        ("DELETE", "/api/v1/nodes/{node}", Server("node.manage"), None),
        get("/api/v1/plugins", Server("plugin.read")),
        get("/api/v1/plugins/{plugin}", Server("plugin.read")),
        ("PUT", "/api/v1/plugins/{plugin}", Server("plugin.manage"), None),
        ("POST", "/api/v1/plugins/{plugin}/rollback", Server("plugin.manage"), None),
        get("/api/v1/health", Server("health.read")),
        get("/metrics", Server("metrics.read")),
        get("/api/v1/config", Server("config.read")),
        get("/api/v1/config/generations", Server("config.read")),
        ("POST", "/api/v1/config/reload", Server("config.manage"), None),
        get("/api/v1/log-level", Server("config.read")),
        ("PUT", "/api/v1/log-level", Server("config.manage"), Some(json!({ "level": "info" }))),
        ("DELETE", "/api/v1/log-level", Server("config.manage"), None),
        ("POST", "/api/v1/config/rollback/{generation}", Server("config.manage"), None),
        get("/api/v1/audit", Server("audit.read")),
        get("/api/v1/audit/export", Server("audit.read")),
        get("/api/v1/audit/verify", Server("audit.read")),
        get("/api/v1/backup", Server("backup.create")),
        ("POST", "/api/v1/storage/compact", Server("storage.manage"), None),
        get(USERS, Server("account.read")),
        post(USERS, Server("account.manage"), json!({ "name": "new", "password": PASSWORD })),
        get("/api/v1/users/{name}", Server("account.read")),
        ("PATCH", "/api/v1/users/{name}", Server("account.manage"), Some(json!({ "disabled": true }))),
        ("DELETE", "/api/v1/users/{name}", Server("account.manage"), None),
        ("PUT", "/api/v1/users/{name}/grants", Server("account.manage"), Some(json!({ "grants": [] }))),
        get("/api/v1/users/{name}/sessions", Server("account.read")),
        ("DELETE", "/api/v1/users/{name}/sessions", Server("account.manage"), None),
        ("DELETE", "/api/v1/users/{name}/sessions/{id}", Server("account.manage"), None),
        get("/api/v1/roles", Server("account.read")),
        post("/api/v1/roles", Server("account.manage"), json!({ "name": "extra", "actions": [] })),
        get("/api/v1/roles/{name}", Server("account.read")),
        ("PUT", "/api/v1/roles/{name}", Server("account.manage"), Some(json!({ "actions": [] }))),
        ("DELETE", "/api/v1/roles/{name}", Server("account.manage"), None),
    ]
}

/// The parts of paths, each of something that is there; `zoe` may do nothing, and `web` is in `prod`.
pub(super) fn filled(path: &str) -> String {
    let name = if path.contains("/roles/") { "custom" } else { "zoe" };
    [
        ("{node}", "web"),
        ("{process}", "shop:api"),
        ("{group}", "shop"),
        ("{channel}", "stdout"),
        ("{plugin}", "validate-strict"),
        ("{generation}", "999"),
        ("{id}", "0123456789abcdef"),
        ("{strategy}", "auth-nobody"),
        ("{name}", name),
    ]
    .into_iter()
    .fold(path.to_owned(), |path, (part, value)| path.replace(part, value))
}

pub(super) async fn ask(
    client: &Client,
    method: &str,
    path: &str,
    body: Option<&Value>,
    id: &str,
) -> anyhow::Result<Reply> {
    let mut headers = vec![("x-request-id", id)];
    if matches!(method, "PUT" | "PATCH" | "DELETE") {
        // What is admitted fails for it, and nothing is changed.
        headers.push(("if-match", "\"1\""));
    }
    let bytes = match body {
        Some(body) => {
            headers.push(("content-type", "application/json"));
            body.to_string().into_bytes()
        }
        None if path.ends_with("/plugins/validate-strict") && method == "PUT" => {
            headers.push(("content-type", "application/wasm"));
            b"no component".to_vec()
        }
        None => Vec::new(),
    };
    client.send(method, &filled(path), &headers, bytes).await
}

/// The code of a refusal; empty for an answer that is none.
fn code(reply: &Reply) -> String {
    let is_problem = reply.header("content-type") == "application/problem+json";
    let problem = if is_problem { reply.json().unwrap_or_default() } else { Value::Null };
    problem["code"].as_str().unwrap_or_default().to_owned()
}

/// Those who ask: what they may do, over what.
const SCOPES: [&str; 7] =
    ["everything", "environment:prod", "environment:lab", "node:web", "node:db", "group:web/shop", "group:web/cron"];
const CUSTOM: [&str; 4] = ["node.read", "log.read", "process.signal", "audit.read"];

/// The refusal that is expected; none where it is admitted.
fn verdict(needs: Needs, actions: &BTreeSet<String>, scope: &str) -> Option<&'static str> {
    let has = |action: &str| actions.contains(action);
    let forbidden_unless = |is_allowed: bool| (!is_allowed).then_some("auth.forbidden");
    let is_over_node = ["everything", "environment:prod", "node:web"].contains(&scope);
    let sees_node = !actions.is_empty() && (is_over_node || scope.starts_with("group:web/"));
    match needs {
        Needs::Nothing | Needs::ToBeKnown => None,
        Needs::Own(action) | Needs::List(action) => forbidden_unless(has(action)),
        Needs::Server(action) => forbidden_unless(has(action) && scope == "everything"),
        Needs::Node(_) | Needs::Part(_) | Needs::Group(_) if !sees_node => Some("node.not_found"),
        Needs::Node(action) => forbidden_unless(has(action) && (is_over_node || action == "node.read")),
        Needs::Part(action) => forbidden_unless(has(action)),
        Needs::Group(_) if !is_over_node && scope != "group:web/shop" => Some("not_found"),
        Needs::Group(action) => forbidden_unless(has(action)),
    }
}

pub(super) async fn operations(host: &Host) -> anyhow::Result<BTreeSet<(String, String)>> {
    let document = host.stranger().get("/api/openapi.json").await?.expect_status(200)?.json()?;
    let paths = document["paths"].as_object().context("no paths")?;
    let mut operations = BTreeSet::new();
    for (path, methods) in paths {
        for method in methods.as_object().context("no methods")?.keys() {
            operations.insert((method.to_uppercase(), path.clone()));
        }
    }
    Ok(operations)
}

async fn set_grants(host: &Host, name: &str, grants: Value) -> anyhow::Result<Reply> {
    let shown = host.admin.get(&format!("{USERS}/{name}")).await?.expect_status(200)?;
    let tag = shown.header("etag").to_owned();
    let headers = [("if-match", tag.as_str()), ("content-type", "application/json")];
    let body = json!({ "grants": grants }).to_string().into_bytes();
    host.admin.send("PUT", &format!("{USERS}/{name}/grants"), &headers, body).await
}

pub(super) async fn house() -> anyhow::Result<Host> {
    let nowhere = "127.0.0.1:1".parse()?;
    let settings = Settings::new()?.open_node("web", nowhere)?.environment("prod").disabled();
    let host = Host::start(settings.open_node("db", nowhere)?.environment("lab").disabled()).await?;
    for name in ["kim", "zoe"] {
        let wish = json!({ "name": name, "password": PASSWORD });
        host.admin.post(USERS, &wish).await?.expect_status(201)?;
    }
    host.admin.post("/api/v1/roles", &json!({ "name": "custom", "actions": CUSTOM })).await?.expect_status(201)?;
    Ok(host)
}

/// The actions of each role, as the API itself says.
async fn roles(host: &Host) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let list = host.admin.get("/api/v1/roles").await?.expect_status(200)?.json()?;
    let items = list["items"].as_array().context("no roles")?;
    let words = |role: &Value| {
        role["actions"].as_array().into_iter().flatten().filter_map(|a| Some(a.as_str()?.to_owned())).collect()
    };
    Ok(items.iter().map(|role| (role["name"].as_str().unwrap_or_default().to_owned(), words(role))).collect())
}

fn is_mutating(method: &str, path: &str) -> bool {
    method != "GET" || path == "/api/v1/backup"
}

#[tokio::test]
async fn everybody_may_do_what_the_table_says_and_each_refusal_is_on_record_once() -> anyhow::Result<()> {
    let host = house().await?;
    let table = table();
    let listed: BTreeSet<_> =
        table.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(listed.len(), table.len(), "each operation stands there once");
    assert_eq!(listed, operations(&host).await?, "the table and the document name the same operations");
    let (kim, roles) = (host.stranger().login("kim", PASSWORD).await?, roles(&host).await?);
    let mut callers = vec![(json!([]), BTreeSet::new(), "everything")];
    for (role, actions) in roles.iter().filter(|(role, _)| *role != "extra") {
        callers.extend(SCOPES.map(|scope| (json!([{ "role": role, "scope": scope }]), actions.clone(), scope)));
    }
    assert_eq!(callers.len(), 1 + 4 * 7);
    let (mut refused, mut wrong, mut asked) = (BTreeSet::new(), Vec::new(), 0);
    for (number, (grants, actions, scope)) in callers.iter().enumerate() {
        set_grants(&host, "kim", grants.clone()).await?.expect_status(200)?;
        for (index, (method, path, needs, body)) in table.iter().enumerate() {
            let ends_the_session = *path == "/api/v1/logout" || (*method, *path) == ("DELETE", "/api/v1/me/sessions");
            let expected = verdict(*needs, actions, scope);
            // A stream that is admitted does not end.
            if ends_the_session || (path.ends_with("/events") && expected.is_none()) {
                continue;
            }
            asked += 1;
            let id = format!("matrix-{number}-{index}");
            let reply = ask(&kim, method, path, body.as_ref(), &id).await?;
            let code = code(&reply);
            let is_lookup = matches!(needs, Needs::Group("process.read"));
            let is_right = match expected {
                Some("not_found") => ["process.not_found", "group.not_found"].contains(&code.as_str()),
                Some(wanted) => code == wanted,
                None => {
                    let is_unseen = ["node.not_found", "group.not_found"].contains(&code.as_str())
                        || code == "process.not_found" && !is_lookup;
                    !is_unseen
                        && !["auth.required", "auth.forbidden"].contains(&code.as_str())
                        && reply.status.as_u16() < 500
                }
            };
            if !is_right {
                wrong.push(format!("{method} {path} with {grants}: {} `{code}`, expected {expected:?}", reply.status));
            }
            if expected.is_some() && is_mutating(method, path) {
                refused.insert(id);
            }
        }
    }
    assert_eq!(wrong, [""; 0], "{} of {asked}", wrong.len());
    println!("{asked} requests, {} of them refused changes", refused.len());
    assert_eq!(
        recorded(&host, "matrix-*")
            .await?
            .into_iter()
            .filter(|(id, _)| refused.contains(id))
            .collect::<BTreeMap<_, _>>(),
        refused.into_iter().map(|id| (id, vec!["refused".to_owned()])).collect()
    );
    host.stop().await
}

/// The outcomes on record of each request whose id begins like that.
pub(super) async fn recorded(host: &Host, ids: &str) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let beginning = ids.trim_end_matches('*');
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = host.admin.get(&format!("/api/v1/audit?limit=1000{cursor}")).await?.expect_status(200)?.json()?;
        for record in page["items"].as_array().into_iter().flatten() {
            let text = |member: &str| record[member].as_str().unwrap_or_default().to_owned();
            if text("request_id").starts_with(beginning) {
                found.entry(text("request_id")).or_default().push(text("outcome"));
            }
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}

#[tokio::test]
async fn who_may_see_one_group_sees_nothing_of_the_others() -> anyhow::Result<()> {
    let node = Node::new("alpha").program(Program::quiet("shop")).program(Program::quiet("cron"));
    let (_node, host) = one(node).await?;
    for id in ["shop:shop", "cron:cron"] {
        host.until_process("alpha", id, "running", SOON).await?;
    }
    host.admin.post(USERS, &json!({ "name": "kim", "password": PASSWORD })).await?.expect_status(201)?;
    let kim = host.stranger().login("kim", PASSWORD).await?;
    let names = |list: &Value| {
        let items = list.as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    kim.get("/api/v1/nodes").await?.problem(403, "auth.forbidden")?;
    set_grants(&host, "kim", json!([{ "role": "operator", "scope": "group:alpha/shop" }])).await?.expect_status(200)?;
    let list = kim.get("/api/v1/nodes?include=processes").await?.expect_status(200)?.json()?;
    let seen = &list["items"][0];
    assert_eq!(
        (names(&seen["processes"]), &seen["process_count"], &seen["running_count"]),
        (vec!["shop:shop".to_owned()], &json!(1), &json!(1))
    );
    let whole = host.admin.get("/api/v1/nodes?include=processes").await?.json()?;
    assert_eq!(names(&whole["items"][0]["processes"]).len(), 2, "what one may see is kept for nobody else");
    let shown = kim.get("/api/v1/nodes/alpha").await?.expect_status(200)?.json()?;
    let listed = kim.get("/api/v1/nodes/alpha/processes").await?.expect_status(200)?.json()?;
    assert_eq!(
        (names(&shown["processes"]), names(&listed["items"])),
        (vec!["shop:shop".to_owned()], vec!["shop:shop".to_owned()])
    );
    let hidden = kim.get("/api/v1/nodes/alpha/processes/cron:cron").await?.problem(404, "process.not_found")?;
    let absent = kim.get("/api/v1/nodes/alpha/processes/cron:none").await?.problem(404, "process.not_found")?;
    let said = |problem: &Value, name: &str| problem["detail"].as_str().unwrap_or_default().replace(name, "X");
    assert_eq!(said(&hidden, "cron:cron"), said(&absent, "cron:none"), "as if it were absent");
    kim.get("/api/v1/nodes/beta").await?.problem(404, "node.not_found")?;
    let plan = json!({ "operation": "restart", "select": [{ "node": "*" }], "dry_run": true });
    let plan = kim.post("/api/v1/bulk", &plan).await?.expect_status(200)?.json()?;
    assert_eq!(plan["items"].as_array().map(Vec::len), Some(1), "{plan}");
    kim.send("POST", "/api/v1/nodes/alpha/processes/cron:cron/stop", &[], Vec::new())
        .await?
        .problem(404, "process.not_found")?;
    kim.send("POST", "/api/v1/nodes/alpha/processes/shop:shop/stop", &[], Vec::new()).await?.expect_status(200)?;
    let feed = Feed::open(&kim, &["node/*/state", "proc/*/state"], None).await?;
    let topics: BTreeSet<_> =
        feed.items.iter().map(|item| item["topic"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(topics, BTreeSet::from(["node/alpha/state".to_owned()]), "processes of several groups share a topic");
    host.stop().await
}

#[tokio::test]
async fn a_grant_that_changes_is_followed_by_an_open_feed() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    host.admin.post(USERS, &json!({ "name": "kim", "password": PASSWORD })).await?.expect_status(201)?;
    set_grants(&host, "kim", json!([{ "role": "viewer", "scope": "node:beta" }])).await?.expect_status(200)?;
    let kim = host.stranger().login("kim", PASSWORD).await?;
    let mut feed = Feed::open(&kim, &["node/*/state", "proc/*/state"], None).await?;
    assert_eq!(feed.items, [Value::Null; 0], "nothing of a node outside of the scope");
    host.order("alpha", "quiet:quiet", "stop").await?.expect_status(200)?;
    set_grants(&host, "kim", json!([{ "role": "viewer", "scope": "node:alpha" }])).await?.expect_status(200)?;
    host.order("alpha", "quiet:quiet", "start").await?.expect_status(200)?;
    feed.process_state("alpha", "quiet:quiet", "running", SOON).await?;
    assert_eq!(feed.items.len(), 2, "the node and its process are new to it: {:?}", feed.items);
    set_grants(&host, "kim", json!([])).await?.expect_status(200)?;
    let ended = feed.event("anything", Duration::from_secs(5), |_| true).await;
    assert!(ended.is_err_and(|error| error.to_string().contains("closed")), "who may read nothing has no feed");
    host.stop().await
}

#[tokio::test]
async fn an_administrator_keeps_accounts_and_roles_in_the_terminal() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    let user = super::user(&host).await?;
    let file = user.home().join("new");
    std::fs::write(&file, PASSWORD)?;
    let file = file.to_string_lossy().into_owned();
    let run = user.run(&["role", "set", "deploy", "process.read", "process.control"]).await?;
    assert_eq!((run.code, run.stdout.as_str()), (0, "deploy: process.read process.control\n"), "{run:?}");
    let run = user.run(&["user", "add", "kim", "--grant", "deploy@node:web", "--password-file", &file]).await?;
    assert_eq!((run.code, run.stdout.as_str()), (0, "kim: enabled; deploy@node:web\n"), "{run:?}");
    let run = user.run(&["user", "grant", "kim", "viewer@environment:lab"]).await?;
    assert_eq!(run.stdout, "kim: enabled; deploy@node:web viewer@environment:lab\n", "{run:?}");
    assert_ne!(user.run(&["role", "remove", "deploy"]).await?.code, 0, "somebody has it");
    let run = user.run(&["user", "ungrant", "kim", "deploy@node:web"]).await?;
    assert_eq!(run.stdout, "kim: enabled; viewer@environment:lab\n", "{run:?}");
    let run = user.run(&["whoami"]).await?;
    assert!(
        run.stdout.lines().any(|line| line.starts_with("everything: ") && line.contains("account.manage")),
        "{run:?}"
    );
    let kim = host.stranger().login("kim", PASSWORD).await?;
    let run = user.run(&["user", "sessions", "kim"]).await?;
    assert!(run.code == 0 && run.stdout.contains("auth-local"), "{run:?}");
    assert_eq!(user.run(&["user", "sessions", "kim", "--end-all"]).await?.stdout, "1 sessions ended\n");
    kim.get("/api/v1/me").await?.problem(401, "auth.required")?;
    assert_eq!(user.run(&["user", "disable", "kim"]).await?.stdout, "kim: disabled; viewer@environment:lab\n");
    assert!(host.stranger().login("kim", PASSWORD).await.is_err());
    assert_eq!(user.run(&["user", "enable", "kim"]).await?.code, 0);
    assert_eq!(user.run(&["user", "password", "kim", "--password-file", &file]).await?.code, 0);
    let run = user.run(&["user", "list"]).await?;
    assert!(
        ["kim", "admin@everything", "viewer@environment:lab"].iter().all(|word| run.stdout.contains(word)),
        "{run:?}"
    );
    assert_eq!(user.run(&["user", "remove", "kim"]).await?.stdout, "account kim is removed\n");
    assert_eq!(user.run(&["role", "remove", "deploy"]).await?.stdout, "role deploy is removed\n");
    let run = user.run(&["role", "list", "--json"]).await?;
    let list: Value = serde_json::from_str(&run.stdout)?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(3), "{list}");
    host.stop().await
}

#[tokio::test]
async fn somebody_keeps_his_own_password_and_sessions_in_the_terminal() -> anyhow::Result<()> {
    let host = house().await?;
    set_grants(&host, "kim", json!([{ "role": "custom", "scope": "environment:prod" }])).await?.expect_status(200)?;
    let user = CommandLine::new(host.address())?;
    let home = |name: &str, text: &str| {
        let path = user.home().join(name);
        std::fs::write(&path, text)?;
        anyhow::Ok(path.to_string_lossy().into_owned())
    };
    let (old, new) = (home("old", PASSWORD)?, home("new", "canary-kim-other-password")?);
    let run = user.run(&["login", "--username", "kim", "--password-file", &old]).await?;
    assert_eq!(run.code, 0, "{run:?}");
    let run = user.run(&["whoami"]).await?;
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("kim (custom) on "), "{run:?}");
    // What is about the server counts over everything alone.
    assert_eq!(lines[1..], ["environment:prod: node.read log.read process.signal"], "{run:?}");

    let others = [host.stranger().login("kim", PASSWORD).await?, host.stranger().login("kim", PASSWORD).await?];
    let run = user.run(&["session", "list"]).await?;
    let this: Vec<&str> = run.stdout.lines().filter(|line| line.ends_with("this one")).collect();
    assert_eq!((run.stdout.lines().count(), this.len()), (4, 1), "{run:?}");
    let list: Value = serde_json::from_str(&user.run(&["session", "list", "--json"]).await?.stdout)?;
    let mut ids = list["items"].as_array().into_iter().flatten().filter(|one| one["current"] == false);
    let id = ids.next().and_then(|one| one["id"].as_str()).context("another one")?;
    assert_eq!(user.run(&["session", "end", id]).await?.stdout, "1 sessions ended\n");
    assert_eq!(user.run(&["session", "end", id]).await?.code, 66, "it is not there any more");
    assert_eq!(user.run(&["session", "end-others", "--json"]).await?.stdout, "{\"ended\":1}\n");
    for other in &others {
        other.get("/api/v1/me").await?.problem(401, "auth.required")?;
    }

    let other = host.stranger().login("kim", PASSWORD).await?;
    let wrong = user.run(&["password", "--old-password-file", &new, "--new-password-file", &new]).await?;
    assert_eq!(wrong.code, 77, "{wrong:?}");
    other.get("/api/v1/me").await?.expect_status(200)?;
    let run = user.run(&["password", "--old-password-file", &old, "--new-password-file", &new]).await?;
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (0, "the password is changed; your other sessions have ended\n"),
        "{run:?}"
    );
    other.get("/api/v1/me").await?.problem(401, "auth.required")?;
    assert_eq!(user.run(&["whoami"]).await?.code, 0, "this one goes on");
    assert!(host.stranger().login("kim", PASSWORD).await.is_err());
    host.stranger().login("kim", "canary-kim-other-password").await?;
    host.stop().await
}
