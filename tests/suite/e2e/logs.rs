use super::{SOON, one};
use tests::{Host, Node, Program, Reply, until};

const PATH: &str = "/api/v1/nodes/alpha/processes/writer:writer/logs/stdout";
/// Colour codes, and characters of two, three and four bytes side by side.
const TEXT: &str = "\u{1b}[31mrot\u{1b}[0m \u{e4}\u{f6}\u{fc} \u{20ac}\u{20ac} \u{1f980}\u{1f980}\n";

async fn bytes(host: &Host, query: &str) -> anyhow::Result<Reply> {
    let path = format!("{PATH}?{query}");
    let reply = host.admin.send("GET", &path, &[("accept", "application/octet-stream")], Vec::new()).await?;
    reply.expect_status(200)
}

async fn writer() -> anyhow::Result<(tests::Supervisord, Host)> {
    let escaped: String = TEXT.bytes().map(|byte| format!("\\{byte:03o}")).collect();
    let script = format!("printf '{escaped}'; exec sleep 86400");
    let (node, host) = one(Node::new("alpha").program(Program::script("writer", &script))).await?;
    until("the log is written", SOON, async || {
        let reply = host.admin.get(PATH).await?;
        Ok((reply.status == 200 && reply.json()?["size"] == TEXT.len()).then_some(()))
    })
    .await?;
    Ok((node, host))
}

#[tokio::test]
async fn every_cut_of_a_log_is_the_files_own_bytes() -> anyhow::Result<()> {
    let (_node, host) = writer().await?;
    let size = TEXT.len();
    for count in 1..=size {
        let reply = bytes(&host, &format!("tail={count}")).await?;
        assert_eq!(reply.body, TEXT.as_bytes()[size - count..], "the last {count}");
        assert_eq!(reply.header("x-log-start"), (size - count).to_string());
        assert_eq!(reply.header("x-log-next"), size.to_string());
    }
    for offset in 0..size {
        let reply = bytes(&host, &format!("offset={offset}&bytes=3")).await?;
        let end = (offset + 3).min(size);
        assert_eq!(reply.body, TEXT.as_bytes()[offset..end], "three at {offset}");
        assert_eq!(reply.header("x-log-next"), end.to_string());
        assert_eq!(reply.header("x-log-gap"), "false");
    }
    Ok(())
}

#[tokio::test]
async fn a_log_as_a_document_is_text_with_its_place() -> anyhow::Result<()> {
    let (_node, host) = writer().await?;
    let view = host.admin.get(PATH).await?.expect_status(200)?.json()?;
    assert_eq!(view["text"], TEXT);
    assert_eq!((&view["start"], &view["next"], &view["has_gap"]), (&0.into(), &TEXT.len().into(), &false.into()));
    assert_eq!(
        (&view["node"], &view["process"], &view["channel"]),
        (&"alpha".into(), &"writer:writer".into(), &"stdout".into())
    );
    let beyond = host.admin.get(&format!("{PATH}?offset={}&bytes=10", TEXT.len())).await?.expect_status(200)?.json()?;
    assert_eq!((&beyond["text"], &beyond["next"]), (&"".into(), &TEXT.len().into()));
    Ok(())
}

#[tokio::test]
async fn reading_on_from_next_loses_and_repeats_nothing() -> anyhow::Result<()> {
    let script = "i=0; while [ $i -lt 300 ]; do echo \"line $i \u{20ac}\"; i=$((i+1)); done; exec sleep 86400";
    let (node, host) = one(Node::new("alpha").program(Program::script("writer", script))).await?;
    let wanted: String = (0..300).map(|i| format!("line {i} \u{20ac}\n")).collect();
    let mut offset = 0;
    let mut seen = Vec::new();
    until("all lines are read", SOON, async || {
        let reply = host
            .admin
            .send(
                "GET",
                &format!("{PATH}?offset={offset}&bytes=100"),
                &[("accept", "application/octet-stream")],
                Vec::new(),
            )
            .await?;
        if reply.status == 200 {
            seen.extend_from_slice(&reply.body);
            offset = reply.header("x-log-next").parse()?;
        }
        Ok((seen.len() >= wanted.len()).then_some(()))
    })
    .await?;
    assert_eq!(String::from_utf8(seen)?, wanted);
    drop(node);
    Ok(())
}

#[tokio::test]
async fn a_log_that_is_not_there_is_not_found() -> anyhow::Result<()> {
    let (_node, host) = writer().await?;
    let other = host.admin.get("/api/v1/nodes/alpha/processes/writer:writer/logs/other").await?;
    assert_eq!(other.problem(422, "request.invalid")?["errors"][0]["pointer"], "/path/channel");
    host.admin.get("/api/v1/nodes/alpha/processes/no:no/logs/stdout").await?.problem(404, "process.not_found")?;
    Ok(())
}
