use crate::client::Client;
use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use http::Request;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const WELCOME_WITHIN: Duration = Duration::from_secs(10);

/// A client of the feed that holds every frame against what the documents promise: offsets rise, no topic skips one.
#[derive(Debug)]
pub struct Feed {
    socket: WebSocketStream<TcpStream>,
    /// The first frame.
    pub welcome: Value,
    /// What the last snapshot held, in its order.
    pub items: Vec<Value>,
    offset: u64,
    topics: HashMap<String, u64>,
    seen: Vec<String>,
    /// Every frame that came.
    pub frames: Vec<Value>,
}

impl Feed {
    /// Upgrades, says hello with these topics, and reads the snapshot if there is one.
    ///
    /// # Errors
    /// The upgrade was refused or the first frames break a promise.
    pub async fn open(client: &Client, topics: &[&str], since: Option<&str>) -> anyhow::Result<Self> {
        let mut hello = json!({ "sub": topics });
        if let Some(since) = since {
            hello["since"] = json!(since);
        }
        Self::open_with(client, &hello).await
    }

    /// The same with all that a hello may say.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(client: &Client, hello: &Value) -> anyhow::Result<Self> {
        Self::open_at(client, "", hello).await
    }

    /// The same with a query, or with none if it is empty.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_at(client: &Client, query: &str, hello: &Value) -> anyhow::Result<Self> {
        let socket = upgrade(client, query).await?;
        let mut this = Self {
            socket,
            welcome: Value::Null,
            items: Vec::new(),
            offset: 0,
            topics: HashMap::new(),
            seen: Vec::new(),
            frames: Vec::new(),
        };
        let mut hello = hello.clone();
        hello["t"] = json!("hello");
        this.say(&hello.to_string()).await?;
        let end = Instant::now() + WELCOME_WITHIN;
        let welcome = this.next_frame(end).await?.context("closed instead of welcomed")?;
        ensure!(welcome["t"] == "welcome", "not a welcome: {welcome}");
        let is_snapshot = welcome["mode"] != "replay";
        this.offset = welcome["o"].as_u64().context("a welcome without its offset")?;
        this.welcome = welcome;
        if is_snapshot {
            this.read_snapshot(end).await?;
        }
        Ok(this)
    }

    /// Sends one text frame as it is.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn say(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// Where to go on from after a reconnect.
    #[must_use]
    pub fn position(&self) -> String {
        format!("{}:{}", self.welcome["epoch"].as_str().unwrap_or_default(), self.offset)
    }

    /// Waits for an event that `matches`, past all others.
    ///
    /// # Errors
    /// None came within `limit` (the text shows what did), the server closed, or a frame breaks a promise.
    pub async fn event(
        &mut self,
        what: &str,
        limit: Duration,
        mut matches: impl FnMut(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let end = Instant::now() + limit;
        loop {
            let frame = match self.next_frame(end).await {
                Ok(Some(frame)) => frame,
                Ok(None) => bail!("the feed was closed before `{what}`; seen: {}", self.seen.join("\n")),
                Err(error) => bail!("{what}: not within {limit:?} ({error}); seen: {}", self.seen.join("\n")),
            };
            if frame["t"] == "resync" {
                self.topics.clear();
                self.read_snapshot(end).await?;
            } else if frame["t"] == "ev" {
                self.check(&frame)?;
                self.seen.push(frame.to_string());
                if matches(&frame) {
                    return Ok(frame);
                }
            }
        }
    }

    /// Waits for a frame of this type, past all others, which are not held against anything.
    ///
    /// # Errors
    /// None came within `limit`, or the server closed.
    pub async fn frame(&mut self, kind: &str, limit: Duration) -> anyhow::Result<Value> {
        let end = Instant::now() + limit;
        loop {
            let frame = self.next_frame(end).await.with_context(|| format!("waiting for `{kind}`"))?;
            let frame = frame.with_context(|| format!("the feed was closed before `{kind}`"))?;
            if frame["t"] == kind {
                return Ok(frame);
            }
        }
    }

    /// Waits for a frame about followed logs, past all others: `logs`, `log` or `skip`.
    ///
    /// # Errors
    /// None came within `limit`, or the server closed.
    pub async fn log_frame(&mut self, limit: Duration) -> anyhow::Result<Value> {
        let end = Instant::now() + limit;
        loop {
            let frame = self.next_frame(end).await?.context("the feed was closed")?;
            if matches!(frame["t"].as_str(), Some("logs" | "log" | "skip")) {
                return Ok(frame);
            }
        }
    }

    /// Waits for the answer to a refresh, past everything else: `refreshed` or `error`.
    ///
    /// # Errors
    /// None came within `limit`, or the server closed.
    pub async fn refresh(&mut self, token: &str, limit: Duration) -> anyhow::Result<Value> {
        self.say(&json!({ "t": "refresh", "token": token }).to_string()).await?;
        let end = Instant::now() + limit;
        loop {
            let frame = self.next_frame(end).await?.context("the feed was closed")?;
            if matches!(frame["t"].as_str(), Some("refreshed" | "error")) {
                return Ok(frame);
            }
        }
    }

    /// Waits for an event in which a process has this state.
    ///
    /// # Errors
    /// As [`Self::event`].
    pub async fn process_state(&mut self, node: &str, id: &str, state: &str, limit: Duration) -> anyhow::Result<Value> {
        let topic = format!("proc/{node}/state");
        self.event(&format!("`{id}` on `{node}` is {state}"), limit, |event| {
            event["topic"] == topic && event["process"]["id"] == id && event["process"]["state"] == state
        })
        .await
    }

    /// Waits until a node has one of these states. The snapshot counts, if no event came yet.
    ///
    /// # Errors
    /// As [`Self::event`].
    pub async fn node_state(&mut self, node: &str, states: &[&str], limit: Duration) -> anyhow::Result<Value> {
        let topic = format!("node/{node}/state");
        let is_wanted =
            |frame: &Value| frame["topic"] == topic && states.iter().any(|state| frame["state"]["state"] == *state);
        if self.seen.is_empty()
            && let Some(item) = self.items.iter().find(|item| is_wanted(item))
        {
            return Ok(item.clone());
        }
        self.event(&format!("node `{node}` is one of {states:?}"), limit, is_wanted).await
    }

    /// Waits for the server to close and gives its code.
    ///
    /// # Errors
    /// It did not within `limit`, or gave none.
    pub async fn closed(&mut self, limit: Duration) -> anyhow::Result<u16> {
        let end = Instant::now() + limit;
        loop {
            let message = timeout_at(end, self.socket.next()).await.context("not closed in time")?;
            match message.context("ended without a close frame")?? {
                Message::Close(frame) => return Ok(frame.context("closed without a code")?.code.into()),
                Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    async fn read_snapshot(&mut self, end: Instant) -> anyhow::Result<()> {
        self.items.clear();
        for index in 0_u64.. {
            let mut frame = self.next_frame(end).await?.context("closed within the snapshot")?;
            if frame["t"] == "expiring" {
                frame = self.next_frame(end).await?.context("closed within the snapshot")?;
            }
            ensure!(frame["t"] == "snap" && frame["i"] == index, "not snapshot frame {index}: {frame}");
            self.items.extend(frame["items"].as_array().context("a snapshot without items")?.iter().cloned());
            self.offset = frame["o"].as_u64().context("a snapshot without its offset")?;
            if frame["last"] == true {
                break;
            }
        }
        Ok(())
    }

    /// The next text frame, `None` once the server closed.
    async fn next_frame(&mut self, end: Instant) -> anyhow::Result<Option<Value>> {
        loop {
            let Some(message) = timeout_at(end, self.socket.next()).await? else { return Ok(None) };
            match message? {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).context("a frame that is no JSON")?;
                    self.frames.push(frame.clone());
                    return Ok(Some(frame));
                }
                Message::Close(_) => return Ok(None),
                Message::Binary(_) => bail!("a binary frame"),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    fn check(&mut self, event: &Value) -> anyhow::Result<()> {
        let offset = event["o"].as_u64().context("an event without its offset")?;
        ensure!(offset > self.offset, "offset {offset} after {}", self.offset);
        self.offset = offset;
        let topic = event["topic"].as_str().context("an event without its topic")?;
        let count = event["s"].as_u64().context("an event without its topic's count")?;
        let before = self.topics.insert(topic.to_owned(), count);
        // A topic of which nothing was left begins anew.
        ensure!(
            before.is_none_or(|before| count == before + 1 || count == 1),
            "topic `{topic}` went from {before:?} to {count}"
        );
        Ok(())
    }
}

async fn upgrade(client: &Client, query: &str) -> anyhow::Result<WebSocketStream<TcpStream>> {
    let address = client.address();
    let mut request = Request::builder()
        .uri(format!("ws://{address}/api/v1/feed{query}"))
        .header("host", address.to_string())
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "feed.v1")
        .header("sec-websocket-key", tokio_tungstenite::tungstenite::handshake::client::generate_key());
    if let Some(authorization) = client.authorization() {
        request = request.header("authorization", authorization);
    }
    for (name, value) in client.lines() {
        request = request.header(name, value);
    }
    let stream = TcpStream::connect(address).await?;
    let (socket, reply) = tokio_tungstenite::client_async(request.body(())?, stream).await.context("the upgrade")?;
    let protocol = reply.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
    ensure!(protocol == Some("feed.v1"), "subprotocol {protocol:?}");
    Ok(socket)
}
