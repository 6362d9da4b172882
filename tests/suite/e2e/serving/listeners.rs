use super::{ask, certify, fixture, tls, with_tls};
use crate::e2e::SOON;
use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tests::{
    ADMIN, ADMIN_PASSWORD, Client, CommandLine, Host, Node, Program, Settings, Supervisord, free_address, until,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// Reads the feed over a connection of any kind until it has told of a process with this state.
async fn feed<S>(stream: S, client: &Client, state: &str) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = "ws://localhost/api/v1/feed".into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("authorization", client.authorization().context("logged in")?.parse()?);
    headers.insert("sec-websocket-protocol", "feed.v1".parse()?);
    let (mut socket, _) = client_async(request, stream).await?;
    socket.send(Message::text(r#"{"t":"hello","sub":["proc/*/state"]}"#)).await?;
    let told = async {
        loop {
            let message = socket.next().await.context("the feed ended")??;
            let frame: Value = serde_json::from_str(message.to_text()?)?;
            if frame.to_string().contains(&format!("\"state\":\"{state}\"")) {
                return anyhow::Ok(());
            }
        }
    };
    timeout(SOON, told).await.context("not told in time")??;
    socket.close(None).await?;
    Ok(())
}

#[tokio::test]
async fn every_listener_serves_requests_the_feed_and_the_command_line() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let secure = free_address()?;
    let settings = with_tls(Settings::new()?.node(&node)?, secure)?.listen("path = \"o.sock\"\nmode = \"660\"");
    let host = Host::start(settings).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let socket = host.settings().path("o.sock");

    let bearer = host.admin.authorization().context("logged in")?.to_owned();
    let headers = [("authorization", bearer.as_str())];
    for reply in [
        ask(TcpStream::connect(host.address()).await?, "/api/v1/me", &headers).await?,
        ask(UnixStream::connect(&socket).await?, "/api/v1/me", &headers).await?,
        ask(tls(secure, "first", "http/1.1").await?, "/api/v1/me", &headers).await?,
    ] {
        assert_eq!(reply.expect_status(200)?.json()?["name"], ADMIN);
    }
    feed(TcpStream::connect(host.address()).await?, &host.admin, "running").await?;
    feed(UnixStream::connect(&socket).await?, &host.admin, "running").await?;
    feed(tls(secure, "first", "http/1.1").await?, &host.admin, "running").await?;

    let user = CommandLine::new(host.address())?;
    let password = user.home().join("password");
    std::fs::write(&password, ADMIN_PASSWORD)?;
    let (password, authority) = (password.to_string_lossy().into_owned(), fixture("first.pem"));
    let authority = authority.to_string_lossy().into_owned();
    for (server, extra) in [
        (format!("unix:{}", socket.display()), vec![]),
        (format!("https://localhost:{}", secure.port()), vec!["--ca-file", authority.as_str()]),
    ] {
        let run = async |arguments: &[&str]| {
            let mut all = vec!["--server", server.as_str()];
            all.extend(&extra);
            all.extend(arguments);
            user.run(&all).await
        };
        let login = run(&["login", "--username", ADMIN, "--password-file", &password]).await?;
        assert_eq!((login.code, login.stderr.contains("unencrypted")), (0, false), "{login:?}");
        let status = run(&["status"]).await?;
        assert!(status.code == 0 && status.stdout.contains("quiet"), "{status:?}");
    }
    let server = format!("https://localhost:{}", secure.port());
    let distrusted = user.run(&["--server", &server, "status"]).await?;
    assert!(distrusted.code != 0 && distrusted.stderr.contains("--ca-file"), "{distrusted:?}");
    let folder = host.end().await?;
    assert!(!folder.path("o.sock").exists(), "the socket goes with the server");
    Ok(())
}

#[tokio::test]
async fn a_new_certificate_serves_without_a_dropped_connection_and_a_bad_one_changes_nothing() -> anyhow::Result<()> {
    let secure = free_address()?;
    let host = Host::start(with_tls(Settings::new()?, secure)?).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(tls(secure, "first", "http/1.1").await?))
            .await?;
    let tracker = tokio_util::task::TaskTracker::new();
    tracker.spawn(connection);
    let mut still_answers = async || {
        let request = http::Request::builder().uri("/livez").header("host", "x");
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new())?;
        sender.ready().await?;
        anyhow::ensure!(sender.send_request(request).await?.status() == 200);
        anyhow::Ok(())
    };
    still_answers().await?;
    certify(host.settings(), "second")?;
    until("the second certificate serves", SOON, async || Ok(tls(secure, "second", "h2").await.ok().map(drop))).await?;
    assert!(tls(secure, "first", "h2").await.is_err());
    still_answers().await?;
    // The first one's key does not fit the second one's certificate.
    std::fs::copy(fixture("first.key"), host.settings().path("tls.key"))?;
    host.admin.send("POST", "/api/v1/config/reload", &[], Vec::new()).await?;
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    tls(secure, "second", "h2").await?;
    still_answers().await?;
    certify(host.settings(), "first")?;
    until("the first certificate serves again", SOON, async || Ok(tls(secure, "first", "h2").await.ok().map(drop)))
        .await?;
    still_answers().await?;
    drop(sender);
    host.stop().await
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_and_the_outside_one_is_let_in() -> anyhow::Result<()> {
    let settings = Settings::new()?.with("server", "external_url", "\"https://fleet.example\"");
    let host = Host::start(settings).await?;
    let bearer = host.admin.authorization().context("logged in")?.to_owned();
    let mut statuses = Vec::new();
    for origin in ["https://evil.example", "https://fleet.example"] {
        let headers = [
            ("authorization", bearer.as_str()),
            ("origin", origin),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let asked = ask(TcpStream::connect(host.address()).await?, "/api/v1/feed", &headers);
        statuses.push(timeout(SOON, asked).await.ok().and_then(Result::ok).map(|reply| reply.status.as_u16()));
    }
    assert_eq!(statuses.first(), Some(&Some(403)));
    assert_ne!(statuses.get(1), Some(&Some(403)), "{statuses:?}");
    Ok(())
}
