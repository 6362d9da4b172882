//! Every parameter of every operation of the API's own document, given what it cannot be.
//!
//! What is wrong is decided by the document that the server itself serves: a value that its schema refuses has to be refused,
//! named, and without an effect.

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tests::{Host, Reply, Settings, check_schema};

const DOCUMENTED: &str = include_str!("../../../docs/api.md");

/// What a member of a body or a parameter may be given; those that fit its schema are left out.
fn nasty() -> Vec<Value> {
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!("' OR 1=1--"),
        json!("\u{0}"),
        json!([]),
        json!([{}]),
        json!({}),
        json!({ "__proto__": 1 }),
        deep,
    ]
}

/// Pieces of a path that are no name of anything, encoded as they are sent.
const PATHS: [&str; 12] = [
    "%00",
    "%ff",
    "%0d%0aX-Injected:%201",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "%2fetc%2fpasswd",
    "%1b%5b31m",
    "%e2%80%aeabc",
    "group:*",
    "'%20OR%201=1--",
    "-1",
    "99999999999999999999",
];
/// Values of a query parameter that is a number, a word of a list, or a cursor.
const QUERIES: [&str; 8] = ["-1", "1e9", "99999999999999999999", "nonsense", "%00", "%ff", "%0d%0ax", "1;2"];

/// One operation of the document.
struct Operation<'a> {
    method: String,
    path: &'a str,
    parameters: &'a [Value],
    body: Option<&'a Value>,
    media_type: String,
    body_is_needed: bool,
}

fn operations(document: &Value) -> anyhow::Result<Vec<Operation<'_>>> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().context("no paths")? {
        for (method, operation) in methods.as_object().context("no methods")? {
            let content = operation["requestBody"]["content"].as_object();
            let (media_type, body) = content
                .and_then(|content| content.iter().next())
                .map_or((String::new(), None), |(kind, media)| (kind.clone(), Some(&media["schema"])));
            operations.push(Operation {
                method: method.to_uppercase(),
                path,
                parameters: operation["parameters"].as_array().map_or(&[], Vec::as_slice),
                body: body.filter(|_| media_type == "application/json"),
                media_type,
                body_is_needed: operation["requestBody"]["required"] == true,
            });
        }
    }
    Ok(operations)
}

impl Operation<'_> {
    fn named(&self, place: &str) -> impl Iterator<Item = (&str, &Value)> {
        let place = place.to_owned();
        let here = self.parameters.iter().filter(move |parameter| parameter["in"] == *place);
        here.filter_map(|parameter| Some((parameter["name"].as_str()?, &parameter["schema"])))
    }

    /// The path with something legal in each part but `but`, which is as given.
    fn path(&self, but: Option<(&str, &str)>) -> String {
        let mut path = self.path.to_owned();
        let legal = [
            ("node", "web"),
            ("process", "shop:api"),
            ("group", "shop"),
            ("channel", "stdout"),
            ("plugin", "validate-strict"),
            ("generation", "999"),
            ("id", "0123456789abcdef"),
            ("strategy", "auth-nobody"),
            ("name", "zoe"),
        ];
        for (name, value) in but.into_iter().chain(legal) {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        path
    }
}

/// One request that has to be refused, and the pointers of which one has to be named where fields are.
struct Case {
    method: String,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    pointers: Vec<String>,
    /// A part of a path may be a legal name of nothing: 404.
    why: String,
}

/// A value that fits a schema, as simple as can be.
fn plain(document: &Value, schema: &Value) -> Value {
    if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)) {
        return example.clone();
    }
    if let Some(target) = schema["$ref"].as_str().and_then(|path| document.pointer(path.trim_start_matches('#'))) {
        return plain(document, target);
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    let simple = [json!("x"), json!("a long enough text"), json!(1), json!(true), json!([]), Value::Null];
    if let Some(fitting) = simple.into_iter().find(|value| check_schema(document, schema, value).is_ok()) {
        return fitting;
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let members = required.map(|name| (name.to_owned(), plain(document, &schema["properties"][name])));
    Value::Object(members.collect())
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let target = schema["$ref"].as_str().and_then(|path| document.pointer(path.trim_start_matches('#')));
    target.unwrap_or(schema)
}

fn json_headers(kind: &str) -> Vec<(&'static str, String)> {
    vec![("content-type", kind.to_owned()), ("if-match", "\"1\"".to_owned())]
}

/// Bodies that their schema refuses, each with the places of which one has to be told.
fn bad_bodies(document: &Value, schema: &Value) -> Vec<(Value, Vec<String>)> {
    let shape = resolved(document, schema);
    let Value::Object(legal) = plain(document, schema) else { return Vec::new() };
    let mut bodies = Vec::new();
    let with = |name: &str, value: Value| {
        let mut body: Map<String, Value> = legal.clone();
        body.insert(name.to_owned(), value);
        Value::Object(body)
    };
    for (name, member) in shape["properties"].as_object().into_iter().flatten() {
        for value in nasty() {
            if check_schema(document, member, &value).is_err() {
                bodies.push((with(name, value), vec![format!("/body/{name}")]));
            }
        }
    }
    bodies.push((with("no-such-member", json!(1)), vec!["/body/no-such-member".to_owned()]));
    for name in shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let mut body = legal.clone();
        body.remove(name);
        bodies.push((Value::Object(body), vec![format!("/body/{name}")]));
    }
    for other in [json!([]), json!("x"), json!(7), json!(true)] {
        bodies.push((other, vec!["/body".to_owned()]));
    }
    bodies
}

fn cases(document: &Value) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for operation in operations(document)? {
        let Operation { method, media_type, .. } = &operation;
        let whole = operation.path(None);
        let mut push = |path: String, headers, body: Vec<u8>, pointers, why: &str| {
            let why = format!("{method} {} ({why})", operation.path);
            cases.push(Case { method: method.clone(), path, headers, body, pointers, why });
        };
        for (name, _) in operation.named("path") {
            for value in PATHS {
                let headers = json_headers(if media_type.is_empty() { "application/json" } else { media_type });
                let legal = operation.body.map(|schema| plain(document, schema).to_string()).unwrap_or_default();
                push(operation.path(Some((name, value))), headers, legal.into_bytes(), Vec::new(), value);
            }
        }
        for (name, schema) in operation.named("query") {
            for value in QUERIES {
                // A text may be anything that is text.
                let is_text = schema["type"] == "string"
                    || schema["type"].as_array().is_some_and(|t| t.contains(&json!("string")));
                if is_text && schema.get("enum").is_none() && !["%ff"].contains(&value) {
                    continue;
                }
                let pointers = vec![format!("/query/{name}")];
                push(format!("{whole}?{name}={value}"), json_headers("application/json"), Vec::new(), pointers, value);
            }
            push(
                format!("{whole}?{name}=1&{name}=2"),
                json_headers("application/json"),
                Vec::new(),
                vec![format!("/query/{name}")],
                "twice",
            );
        }
        let unknown = vec!["/query/no-such-parameter".to_owned()];
        push(format!("{whole}?no-such-parameter=1"), json_headers("application/json"), Vec::new(), unknown, "unknown");
        if let Some(schema) = operation.body {
            for (body, pointers) in bad_bodies(document, schema) {
                let text = body.to_string();
                push(whole.clone(), json_headers("application/json"), text.clone().into_bytes(), pointers, &text);
            }
            let legal = plain(document, schema).to_string();
            for broken in [&legal[..legal.len() - 1], "\u{1}", "nul", "{\"a\":1,}", "{}{}"] {
                push(whole.clone(), json_headers("application/json"), broken.into(), Vec::new(), broken);
            }
            push(whole.clone(), json_headers("application/json"), vec![b'"', 0xff, b'"'], Vec::new(), "no UTF-8");
            push(whole.clone(), json_headers("text/plain"), legal.into_bytes(), Vec::new(), "text/plain");
            if operation.body_is_needed {
                push(whole.clone(), json_headers("application/json"), Vec::new(), Vec::new(), "nothing");
            }
        }
    }
    Ok(cases)
}

/// Probes take whatever query their callers add, and what comes back from another server is for its strategy.
const ANY_QUERY: [&str; 7] = [
    "/livez",
    "/readyz",
    "/metrics",
    "/api/openapi.json",
    "/api/asyncapi.json",
    "/api/v1/login/{strategy}/callback",
    "/api/v1/login/{strategy}",
];

/// Holds an answer against all that every refusal promises.
fn check(document: &Value, case: &Case, reply: &Reply) -> anyhow::Result<()> {
    let status = reply.status.as_u16();
    ensure!((400..500).contains(&status), "{status}: {}", reply.text().chars().take(200).collect::<String>());
    let known = [400, 401, 403, 404, 405, 408, 409, 412, 413, 414, 415, 422, 426, 428, 429, 431];
    ensure!(known.contains(&status), "{status} is not in the table of statuses");
    let problem = reply.json()?;
    let code = problem["code"].as_str().unwrap_or_default().to_owned();
    reply.problem(status, &code)?;
    check_schema(document, &json!({ "$ref": "#/components/schemas/Problem" }), &problem)?;
    ensure!(DOCUMENTED.contains(&format!("`{code}`")), "`{code}` is not in docs/api.md");
    ensure!(status != 401, "the session has ended: `{code}`");
    if status == 422 && code == "request.invalid" && !case.pointers.is_empty() {
        let named: Vec<_> =
            problem["errors"].as_array().into_iter().flatten().filter_map(|e| e["pointer"].as_str()).collect();
        let is_told = case.pointers.iter().all(|wanted| named.iter().any(|named| named.starts_with(wanted.as_str())));
        ensure!(is_told, "{:?} is not told, but {named:?}", case.pointers);
    }
    Ok(())
}

/// All that a request could have changed.
async fn state(host: &Host) -> anyhow::Result<BTreeMap<&'static str, Value>> {
    let mut state = BTreeMap::new();
    for path in [
        "/api/v1/nodes",
        "/api/v1/users",
        "/api/v1/roles",
        "/api/v1/api-keys",
        "/api/v1/config",
        "/api/v1/config/generations",
        "/api/v1/users/zoe",
        "/api/v1/users/zoe/sessions",
    ] {
        state.insert(path, host.admin.get(path).await?.expect_status(200)?.json()?);
    }
    let plugins = host.admin.get("/api/v1/plugins").await?.expect_status(200)?.json()?;
    let serving = plugins["items"].as_array().into_iter().flatten();
    state.insert("plugins", serving.map(|p| json!([p["name"], p["digest"], p["generation"]])).collect());
    let done = host.admin.get("/api/v1/audit?outcome=done&limit=1000").await?.expect_status(200)?.json()?;
    state.insert("done", done["items"].as_array().into_iter().flatten().map(|record| record["what"].clone()).collect());
    let sessions = host.admin.get("/api/v1/me/sessions").await?.expect_status(200)?.json()?;
    let count = sessions["items"].as_array().map_or(0, Vec::len);
    state.insert("sessions", json!(count));
    Ok(state)
}

async fn house() -> anyhow::Result<Host> {
    let nowhere = "127.0.0.1:1".parse()?;
    let host = Host::start(Settings::new()?.open_node("web", nowhere)?.environment("prod").disabled()).await?;
    let wish = json!({ "name": "zoe", "password": "canary-zoe-password" });
    host.admin.post("/api/v1/users", &wish).await?.expect_status(201)?;
    Ok(host)
}

#[tokio::test]
async fn p16_p22_whatever_is_wrong_is_refused_in_one_form_and_changes_nothing() -> anyhow::Result<()> {
    let host = house().await?;
    let document = host.stranger().get("/api/openapi.json").await?.expect_status(200)?.json()?;
    let before = state(&host).await?;
    let (mut wrong, mut statuses) = (BTreeSet::new(), BTreeMap::<u16, usize>::new());
    let cases = cases(&document)?;
    for case in &cases {
        if case.path.contains('?') && ANY_QUERY.iter().any(|path| case.why.contains(&format!(" {path} "))) {
            continue;
        }
        let headers: Vec<_> = case.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = host.admin.send(&case.method, &case.path, &headers, case.body.clone()).await?;
        *statuses.entry(reply.status.as_u16()).or_default() += 1;
        if let Err(error) = check(&document, case, &reply) {
            wrong.insert(format!("{}: {error:#}", case.why));
        }
    }
    println!("{} requests: {statuses:?}", cases.len());
    let wrong: Vec<_> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    for (what, now) in state(&host).await? {
        assert_eq!(Some(&now), before.get(what), "{what}");
    }
    host.stop().await
}

/// Texts that somebody's filter would take for an attack, and that are names like any other.
const HOSTILE: [&str; 10] = [
    "' OR 1=1--",
    "Robert'); DROP TABLE audit;--",
    "select * from users",
    "<script>alert(1)</script>",
    "../../../../etc/passwd",
    "{{7*7}} ${jndi:ldap://x} %s%n",
    "a=b&c=d;e",
    "=cmd|' /C calc'!A0",
    "union all 🦀 naïve",
    "__proto__",
];

#[tokio::test]
async fn p22_hostile_words_come_back_as_they_were_given_and_find_what_they_name() -> anyhow::Result<()> {
    let host = house().await?;
    let mut ids = BTreeMap::new();
    for label in HOSTILE {
        let wish = json!({ "label": label, "expires_in_s": 600 });
        let made = host.admin.post("/api/v1/api-keys", &wish).await?;
        let made = made.expect_status(201).with_context(|| label.to_owned())?.json()?;
        ids.insert(label, made["key"]["id"].as_str().context("no id")?.to_owned());
    }
    let list = host.admin.get("/api/v1/api-keys").await?.expect_status(200)?.json()?;
    let labels: BTreeMap<_, _> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|key| Some((key["label"].as_str()?, key["id"].as_str()?.to_owned())))
        .collect();
    assert_eq!(labels, ids, "each came back as it was given");
    for (label, id) in &ids {
        let reply = host.admin.send("DELETE", &format!("/api/v1/api-keys/{id}"), &[], Vec::new()).await?;
        assert_eq!(reply.status, 204, "{label}");
    }
    for word in HOSTILE {
        let encoded: String = word.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for filter in ["who", "target", "what"] {
            let reply = host.admin.get(&format!("/api/v1/audit?{filter}={encoded}")).await?;
            if reply.status == 200 {
                assert_eq!(reply.json()?["items"], json!([]), "nothing has the {filter} {word}");
            } else {
                reply.problem(422, "request.invalid")?;
            }
        }
    }
    host.stop().await
}
