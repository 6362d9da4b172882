use super::{SOON, one};
use serde_json::Value;
use tests::{Node, Program};

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().into_iter().flatten().filter_map(|item| item["id"].as_str()).collect()
}

#[tokio::test]
async fn groups_and_several_processes_of_a_program_are_listed_in_order() -> anyhow::Result<()> {
    let node = Node::new("alpha")
        .program(Program::quiet("web").processes(3))
        .program(Program::quiet("cache"))
        .program(Program::quiet("queue"))
        .program(Program::quiet("lone").waiting())
        .group("backend", "queue,cache");
    let (_node, host) = one(node).await?;
    for id in ["web:web_00", "web:web_01", "web:web_02", "backend:cache", "backend:queue"] {
        host.until_process("alpha", id, "running", SOON).await?;
    }
    let list = host.admin.get("/api/v1/nodes/alpha/processes").await?.expect_status(200)?.json()?;
    let wanted = ["backend:cache", "backend:queue", "lone:lone", "web:web_00", "web:web_01", "web:web_02"];
    assert_eq!(ids(&list), wanted);
    assert_eq!((&list["node"]["process_count"], &list["node"]["running_count"]), (&6.into(), &5.into()));
    let lone = host.process("alpha", "lone:lone").await?;
    assert_eq!(
        (&lone["state"], &lone["native_state"], &lone["pid"]),
        (&"stopped".into(), &"STOPPED".into(), &Value::Null)
    );
    let all = host.admin.get("/api/v1/nodes?include=processes").await?.expect_status(200)?.json()?;
    assert_eq!(all["items"][0]["processes"], list["items"]);
    let bare = host.admin.get("/api/v1/nodes").await?.expect_status(200)?.json()?;
    assert_eq!(bare["items"][0].get("processes"), None);
    Ok(())
}

#[tokio::test]
async fn two_groups_may_hold_the_same_name_and_an_order_reaches_one() -> anyhow::Result<()> {
    let node = Node::new("alpha")
        .program(Program::quiet("blue").process_name("worker"))
        .program(Program::quiet("green").process_name("worker"));
    let (node, host) = one(node).await?;
    for id in ["blue:worker", "green:worker"] {
        host.until_process("alpha", id, "running", SOON).await?;
    }
    let green = node.pid("green:worker").await?;
    host.order("alpha", "blue:worker", "stop").await?.expect_status(200)?;
    assert_eq!(host.process("alpha", "blue:worker").await?["state"], "stopped");
    assert_eq!(host.process("alpha", "green:worker").await?["state"], "running");
    assert_eq!(node.pid("green:worker").await?, green);
    Ok(())
}

#[tokio::test]
async fn odd_names_are_shown_and_addressed_as_they_are() -> anyhow::Result<()> {
    // A process called `*` is not among them: supervisord 4.3.0 takes the configuration and then answers every
    // getAllProcessInfo with BAD_NAME, since it looks its own names up as group selectors.
    let names = [
        ("n\u{e4}me-\u{1f980}", "n%C3%A4me-%F0%9F%A6%80"),
        ("a+b&<c>\"d", "a%2Bb%26%3Cc%3E%22d"),
        ("100%%", "100%25"),
        ("what?#x", "what%3F%23x"),
    ];
    let mut node = Node::new("alpha");
    for (at, (name, _)) in names.iter().enumerate() {
        node = node.program(Program::quiet(&format!("p{at}")).process_name(name));
    }
    let (_node, host) = one(node).await?;
    for (at, (name, encoded)) in names.iter().enumerate() {
        let process = host.until_process("alpha", &format!("p{at}:{encoded}"), "running", SOON).await?;
        assert_eq!(process["name"], name.replace("%%", "%"));
        let result = host.order("alpha", &format!("p{at}:{encoded}"), "stop").await?.expect_status(200)?.json()?;
        assert_eq!(result["outcome"], "done", "{name}: {result}");
    }
    Ok(())
}

#[tokio::test]
async fn a_star_is_a_name_and_never_a_whole_group() -> anyhow::Result<()> {
    let (node, host) = one(Node::new("alpha").program(Program::quiet("web").processes(2))).await?;
    let pid = host.until_process("alpha", "web:web_00", "running", SOON).await?["pid"].clone();
    let reply = host.order("alpha", "web:*", "stop").await?;
    assert!(matches!(reply.status.as_u16(), 404 | 422), "{}", reply.text());
    assert_eq!(node.pid("web:web_00").await?, pid);
    Ok(())
}
