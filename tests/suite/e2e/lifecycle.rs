use super::SOON;
use std::time::Duration;
use tests::{ADMIN, ADMIN_PASSWORD, CommandLine, Node, Program, Server, Settings, Supervisord};

#[tokio::test]
async fn a_server_that_is_asked_to_end_does_so_cleanly() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let mut server = Server::start(Settings::new()?.node(&node)?).await?;
    server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let status = server.terminate(Duration::from_secs(11)).await?;
    assert!(status.success(), "{status}: {}", server.log());
    node.until_state("quiet:quiet", "RUNNING", SOON).await
}

#[tokio::test]
async fn one_database_serves_one_server() -> anyhow::Result<()> {
    let server = Server::start(Settings::new()?).await?;
    let second = CommandLine::new(server.client().address())?;
    let config = server.settings().path("omnivisor.toml");
    let run = second.run(&["serve", "--config", &config.to_string_lossy()]).await?;
    assert!(run.code > 0, "{run:?}");
    assert!(run.stderr.contains("omnivisor.redb") || run.stderr.contains("another"), "{run:?}");
    Ok(())
}

#[tokio::test]
async fn a_faulty_configuration_is_told_whole_with_its_lines() -> anyhow::Result<()> {
    let settings = Settings::new()?.with("server", "listen", "\"nowhere\"").with("pool", "pol_interval_ms", "5");
    let config = settings.write()?;
    let user = CommandLine::new(std::net::SocketAddr::from(([127, 0, 0, 1], 1)))?;
    for command in [vec!["config", "check"], vec!["serve", "--config"], vec!["init", "--username", "a", "--config"]] {
        let path = config.to_string_lossy().into_owned();
        let arguments: Vec<_> = command.iter().copied().chain([path.as_str()]).collect();
        let run = user.run(&arguments).await?;
        assert_eq!(run.code, 78, "{command:?}: {run:?}");
        for word in ["listen", "pol_interval_ms"] {
            assert!(run.stderr.contains(word), "{command:?} does not name {word}: {run:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn accounts_and_sessions_outlive_a_restart() -> anyhow::Result<()> {
    let mut server = Server::start(Settings::new()?).await?;
    let session = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    server.terminate(SOON).await?;
    let server = server.start_again().await?;
    session.get("/api/v1/me").await?.expect_status(200)?;
    server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    Ok(())
}
