//! The server's own log: each line is one record, whatever happens, and its level is changed while it runs.

use super::SOON;
use anyhow::{Context as _, ensure};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use std::fmt;
use tests::{ADMIN, ADMIN_PASSWORD, Client, CommandLine, Node, Program, Server, Settings, Supervisord, until};
use tokio::io::AsyncWriteExt as _;

/// Ends of lines, colours of a terminal, and what turns the order of a text around.
const ODD: &str = "x%0d%0a2026-01-01T00:00:00Z%20ERROR%20forged%1b%5b31m%e2%80%ae%c2%85%e2%80%a8y";

/// A JSON object no name of which stands there twice.
struct Record(Map<String, Value>);

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Record;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Record, A::Error> {
                let mut record = Map::new();
                while let Some((name, value)) = entries.next_entry::<String, Value>()? {
                    if record.insert(name.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("`{name}` stands there twice")));
                    }
                }
                Ok(Record(record))
            }
        }
        deserializer.deserialize_map(Whole)
    }
}

fn is_odd(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A time as `2026-11-23T16:13:24.123456Z`.
fn is_time(text: &str) -> bool {
    let is_digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    text.len() == 27
        && text.ends_with('Z')
        && text.as_bytes()[10] == b'T'
        && [0, 5, 8, 11, 14, 17, 20].into_iter().all(is_digit)
}

fn records(log: &str) -> anyhow::Result<Vec<Map<String, Value>>> {
    let mut records = Vec::new();
    for line in log.lines() {
        let Record(record) = serde_json::from_str(line).with_context(|| format!("no record: {line:?}"))?;
        ensure!(!line.contains(is_odd), "{line:?}");
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        ensure!(is_time(text("timestamp")), "no time: {line}");
        ensure!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&text("level")), "no level: {line}");
        ensure!(!text("target").is_empty() && !text("message").is_empty(), "no target or message: {line}");
        records.push(record);
    }
    Ok(records)
}

async fn garbage(client: &Client, bytes: &[u8]) -> anyhow::Result<()> {
    let mut stream = tokio::net::TcpStream::connect(client.address()).await?;
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    Ok(())
}

/// A bit of everything, on a server that logs in this format; gives the whole log.
async fn log_of_a_bad_day(format: &str) -> anyhow::Result<String> {
    let mut alpha = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let locked = Supervisord::start(Node::new("locked")).await?;
    let settings = Settings::new()?.node(&alpha)?.node_with_password(&locked, "canary-wrong-password")?;
    let settings = settings.open_node("gone", "127.0.0.1:1".parse()?)?;
    let settings = settings.with("log", "level", "\"debug\"").with("log", "format", &format!("{format:?}"));
    let mut server = Server::start(settings).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let state = async |node: &str| {
        Ok::<_, anyhow::Error>(admin.get(&format!("/api/v1/nodes/{node}")).await?.json()?["state"].clone())
    };
    until("the nodes are known", SOON, async || {
        let is_live = state("alpha").await?.as_str().is_some_and(|state| state.starts_with("live"));
        Ok((is_live && state("locked").await? == "refused").then_some(()))
    })
    .await?;
    admin
        .send("POST", "/api/v1/nodes/alpha/processes/quiet:quiet/restart", &[], Vec::new())
        .await?
        .expect_status(200)?;
    alpha.kill();
    until("the node is missed", SOON, async || {
        Ok((state("alpha").await? != "live" && state("alpha").await? != "live-poll").then_some(()))
    })
    .await?;
    admin.send("POST", "/api/v1/nodes/alpha/processes/quiet:quiet/restart", &[], Vec::new()).await?;
    for path in [
        format!("/api/v1/nodes/{ODD}"),
        format!("/api/v1/nodes/alpha/processes/{ODD}:{ODD}"),
        format!("/{ODD}"),
        format!("/api/v1/plugins/{ODD}"),
    ] {
        let reply = admin.get(&path).await?;
        ensure!(reply.status.is_client_error(), "{path}: {}", reply.status);
    }
    let odd = "x\r\nERROR forged\u{1b}[31m\u{202e}";
    server.client().post("/api/v1/login", &json!({ "username": odd, "password": "canary-guess" })).await?;
    server.client().send("GET", "/livez", &[("x-request-id", "a b\u{e4}")], Vec::new()).await?;
    garbage(&server.client(), b"\x16\x03\x01\x00\xff\x1b[31m\r\n\r\n").await?;
    garbage(&server.client(), b"GET / HTTP/1.1\r\nhost: \x1b\r\n\r\n").await?;
    admin
        .send(
            "PUT",
            "/api/v1/plugins/validate-strict",
            &[("content-type", "application/wasm")],
            b"no component".to_vec(),
        )
        .await?;
    std::fs::write(server.settings().path("omnivisor.toml"), "[server]\nlisten = \"\\u001b[31m\\n\"\n\"x\\ny\" = 1\n")?;
    admin.post("/api/v1/config/reload", &json!({})).await?.problem(422, "config.faulty")?;
    server.terminate(SOON).await?;
    Ok(server.log())
}

#[tokio::test]
async fn p25_every_line_of_a_bad_day_is_a_record_in_json() -> anyhow::Result<()> {
    let log = log_of_a_bad_day("json").await?;
    let records = records(&log)?;
    let told = |part: &str| {
        records.iter().filter(|record| record["message"].as_str().is_some_and(|text| text.contains(part))).count()
    };
    assert!(records.len() > 20 && told("request refused") >= 5 && told("shutting down") == 1, "{}", records.len());
    let nodes = records.iter().filter_map(|record| record.get("node")?.as_str());
    let as_asked = nodes.filter(|node| node.contains("\r\n2026") && node.contains('\u{202e}')).count();
    assert!(as_asked >= 1, "what was asked for is told as it was: {log}");
    Ok(())
}

#[tokio::test]
async fn p25_every_line_of_a_bad_day_is_a_record_for_people() -> anyhow::Result<()> {
    let log = log_of_a_bad_day("text").await?;
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() > 20, "{log}");
    for line in lines {
        ensure!(!line.contains(is_odd), "{line:?}");
        let (time, rest) = line.split_once(' ').with_context(|| format!("no record: {line:?}"))?;
        let level = rest.split_whitespace().next().unwrap_or_default();
        ensure!(is_time(time) && ["ERROR", "WARN", "INFO", "DEBUG"].contains(&level), "no record: {line:?}");
    }
    assert!(log.contains(r"\r\n2026-01-01T00:00:00Z ERROR forged\u{1b}[31m\u{202e}"), "{log}");
    Ok(())
}

/// Asks with this id, and waits until a later request is in the log. Gives the records of the first one.
async fn asked(server: &Server, client: &Client, id: &str) -> anyhow::Result<usize> {
    client.send("GET", "/api/v1/me", &[("x-request-id", id)], Vec::new()).await?.expect_status(200)?;
    let marker = format!("{id}-marker");
    client.send("GET", "/nothing", &[("x-request-id", &marker)], Vec::new()).await?.problem(404, "route.not_found")?;
    until("the later request is logged", SOON, async || {
        let log = server.log();
        let records: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let is_told = |id: &str| records.iter().filter(|record| record["request_id"] == id).count();
        Ok((is_told(&marker) > 0).then(|| is_told(id)))
    })
    .await
}

#[tokio::test]
async fn p25_a_changed_level_counts_for_the_next_request_and_ends_by_itself() -> anyhow::Result<()> {
    let settings = Settings::new()?.with("log", "level", "\"info\"").with("log", "format", "\"json\"");
    let mut server = Server::start(settings).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let level = async || admin.get("/api/v1/log-level").await?.expect_status(200)?.json();
    let set = async |body: Value| {
        admin
            .send("PUT", "/api/v1/log-level", &[("content-type", "application/json")], body.to_string().into_bytes())
            .await
    };
    assert_eq!(level().await?, json!({ "level": "info", "configured": "info" }));
    assert_eq!(asked(&server, &admin, "at-first").await?, 0);
    let shown = set(json!({ "level": "debug" })).await?.expect_status(200)?.json()?;
    assert_eq!((&shown["level"], &shown["by"]), (&json!("debug"), &json!(ADMIN)), "{shown}");
    assert_eq!(asked(&server, &admin, "talkative").await?, 1);
    // A configuration that is read meanwhile counts afterwards.
    let path = server.settings().path("omnivisor.toml");
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replace("level = \"info\"", "level = \"warn\""))?;
    until("the file is in force", SOON, async || Ok((level().await?["configured"] == "warn").then_some(()))).await?;
    assert_eq!(asked(&server, &admin, "still-talkative").await?, 1);
    let shown = admin.send("DELETE", "/api/v1/log-level", &[], Vec::new()).await?.expect_status(200)?.json()?;
    assert_eq!(shown, json!({ "level": "warn", "configured": "warn" }));
    set(json!({ "level": "info", "for_seconds": 2 })).await?.expect_status(200)?;
    assert_eq!(asked(&server, &admin, "silent").await?, 0);
    until("it is over", SOON, async || {
        Ok((level().await? == json!({ "level": "warn", "configured": "warn" })).then_some(()))
    })
    .await?;
    for (body, pointer) in [
        (json!({ "level": "loud" }), "/body/level"),
        (json!({ "level": "info", "for_seconds": 0 }), "/body/for_seconds"),
        (json!({ "level": "info", "for_seconds": 86_401 }), "/body/for_seconds"),
    ] {
        let problem = set(body).await?.problem(422, "request.invalid")?;
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let audit = admin.get("/api/v1/audit?what=log-level.set").await?.expect_status(200)?.json()?;
    let outcomes: Vec<_> = audit["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|record| (record["target"].clone(), record["outcome"].clone()))
        .collect();
    assert_eq!(outcomes[0], (json!("info for 2 s"), json!("done")), "{audit}");
    assert_eq!(outcomes[1], (json!("info for 2 s"), json!("intended")), "{audit}");
    in_the_terminal(&server).await?;
    server.terminate(SOON).await?;
    records(&server.log()).map(drop)
}

async fn in_the_terminal(server: &Server) -> anyhow::Result<()> {
    let user = CommandLine::new(server.client().address())?;
    let file = user.home().join("password");
    std::fs::write(&file, ADMIN_PASSWORD)?;
    user.run(&["login", "--username", ADMIN, "--password-file", &file.to_string_lossy()]).await?;
    let run = user.run(&["log-level"]).await?;
    assert_eq!((run.code, run.stdout.as_str()), (0, "warn, as configured\n"), "{run:?}");
    let run = user.run(&["log-level", "debug", "--for", "10m"]).await?;
    assert!(run.code == 0 && run.stdout.starts_with("debug for another "), "{run:?}");
    let run = user.run(&["log-level", "--reset"]).await?;
    assert_eq!((run.code, run.stdout.as_str()), (0, "warn, as configured\n"), "{run:?}");
    Ok(())
}
