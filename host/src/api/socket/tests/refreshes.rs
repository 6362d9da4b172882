//! Another credential on an open connection.

use super::*;
use crate::api::socket::{NotRenewed, Renewal, Renewed};
use crate::model::Secret;
use futures_util::future::BoxFuture;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Mutex, Weak};

/// Knows what each token is worth: a grant, or why not.
#[derive(Debug, Default)]
pub(super) struct Script {
    worth: Mutex<HashMap<String, Result<Grant, NotRenewed>>>,
    /// What the last one that was good is held by.
    held: Mutex<Option<Weak<String>>>,
}

impl Script {
    fn of(worth: impl IntoIterator<Item = (&'static str, Result<Grant, NotRenewed>)>) -> Arc<Self> {
        let worth = worth.into_iter().map(|(token, worth)| (token.to_owned(), worth)).collect();
        Arc::new(Self { worth: Mutex::new(worth), held: Mutex::default() })
    }

    fn is_held(&self) -> bool {
        self.held.lock().unwrap().as_ref().is_some_and(|held| held.strong_count() > 0)
    }
}

impl Renewal for Script {
    fn renew(&self, token: Secret) -> BoxFuture<'_, Result<Renewed, NotRenewed>> {
        Box::pin(async move {
            let worth = self.worth.lock().unwrap().get(token.reveal()).cloned();
            let grant = worth.unwrap_or_else(|| Err(refusal("auth.failed", true)))?;
            let hold = Arc::new(token.reveal().to_owned());
            *self.held.lock().unwrap() = Some(Arc::downgrade(&hold));
            let hold: Arc<dyn Any + Send + Sync> = hold;
            Ok(Renewed { grant, hold, ttl: Some(3_600) })
        })
    }
}

fn refusal(code: &str, is_final: bool) -> NotRenewed {
    NotRenewed { code: code.to_owned(), detail: "no".to_owned(), is_final }
}

/// A client that has its snapshot, of a server that knows these tokens.
async fn settled(context: &FeedContext, script: &Arc<Script>) -> WebSocketStream<TcpStream> {
    let address = server(&FeedContext { renewal: script.clone(), ..context.clone() }).await;
    let mut socket = greeted(address).await;
    while frame(&mut socket).await["t"] != "snap" {}
    socket
}

async fn bring(socket: &mut WebSocketStream<TcpStream>, token: &str) {
    socket.send(Message::text(format!(r#"{{"t":"refresh","token":"{token}"}}"#))).await.unwrap();
}

#[tokio::test]
async fn a_connection_stands_on_the_credential_that_it_brought_last() {
    let context = context(HubLimits::default());
    publish(&context.hub, "a", 0);
    let (second, third) = (grant(), Grant::of(["feed", "log"].into()));
    let script = Script::of([("second", Ok(second.clone())), ("third", Ok(third.clone()))]);
    let mut socket = settled(&context, &script).await;
    bring(&mut socket, "second").await;
    assert_eq!(frame(&mut socket).await.to_string(), r#"{"t":"refreshed","ttl":3600}"#);
    assert!(script.is_held());
    // The first one's end is nothing to it any more.
    revoke(&context, GrantEnd::Expired).await;
    publish(&context.hub, "b", 0);
    assert_eq!(frame(&mut socket).await["node"], "b");
    // A credential that allows less: what is no longer seen is told, and not seen.
    bring(&mut socket, "third").await;
    assert_eq!(frame(&mut socket).await["t"], "refreshed");
    let revoked = frame(&mut socket).await;
    assert_eq!((&revoked["t"], &revoked["topics"]), (&"revoked".into(), &serde_json::json!(["node/"])));
    publish(&context.hub, "c", 0);
    bring(&mut socket, "second").await;
    assert_eq!(frame(&mut socket).await["t"], "refreshed");
    let resync = frame(&mut socket).await;
    assert_eq!((&resync["t"], &resync["why"]), (&"resync".into(), &"rights".into()));
    let nodes: Vec<Value> =
        frame(&mut socket).await["items"].as_array().unwrap().iter().map(|i| i["node"].clone()).collect();
    assert_eq!(nodes, ["a", "b", "c"]);
    assert_eq!((context.hub.figures().refreshes, context.hub.figures().clients), (3, 1));
    // And the end of the one that it stands on is its own.
    assert!(second.end(GrantEnd::Revoked));
    context.hub.revoke(tokio::sync::oneshot::channel().0);
    assert_eq!(close_code(&mut socket).await, 4501);
    drop(socket);
    until("what held it is let go", || !script.is_held()).await;
}

#[tokio::test]
async fn a_credential_that_ended_on_its_way_ends_the_connection() {
    let context = context(HubLimits::default());
    let over = grant();
    assert!(over.end(GrantEnd::Revoked));
    let script = Script::of([("over", Ok(over))]);
    let mut socket = settled(&context, &script).await;
    bring(&mut socket, "over").await;
    assert_eq!(close_code(&mut socket).await, 4501);
    assert_eq!(context.hub.figures().refreshes, 0);
}

#[tokio::test]
async fn what_is_refused_is_told_and_the_third_time_in_a_row_is_the_last() {
    let context = context(HubLimits::default());
    let script = Script::of([
        ("good", Ok(grant())),
        ("other", Err(refusal("feed.other_subject", true))),
        ("busy", Err(refusal("auth.busy", false))),
    ]);
    let mut socket = settled(&context, &script).await;
    for (token, code) in
        [("bad", "auth.failed"), ("busy", "auth.busy"), ("other", "feed.other_subject"), ("busy", "auth.busy")]
    {
        bring(&mut socket, token).await;
        let told = frame(&mut socket).await;
        assert_eq!((&told["t"], &told["code"], &told["detail"]), (&"error".into(), &code.into(), &"no".into()));
    }
    publish(&context.hub, "a", 0);
    assert_eq!(frame(&mut socket).await["node"], "a", "it stands on what it stood on");
    bring(&mut socket, "good").await;
    assert_eq!(frame(&mut socket).await["t"], "refreshed");
    for _ in 0..2 {
        bring(&mut socket, "bad").await;
        assert_eq!(frame(&mut socket).await["t"], "error");
    }
    bring(&mut socket, "bad").await;
    assert_eq!(close_code(&mut socket).await, 4500);
}

#[tokio::test]
async fn refreshes_are_bounded_and_none_comes_before_the_hello() {
    let context = context(HubLimits::default());
    let script = Script::of([("good", Ok(grant()))]);
    let mut socket = settled(&context, &script).await;
    for _ in 0..30 {
        bring(&mut socket, "good").await;
    }
    assert_eq!(close_code(&mut socket).await, 4502);
    assert!((10..13).contains(&context.hub.figures().refreshes), "{}", context.hub.figures().refreshes);
    let address = server(&context).await;
    let mut socket = connect(address).await;
    bring(&mut socket, "good").await;
    assert_eq!(close_code(&mut socket).await, 4502);
}
