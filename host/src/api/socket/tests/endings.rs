//! However a connection ends, and however many do at once: nothing of it stays.

use super::*;

/// What is there when nobody is: the shards' own tasks, and no client.
async fn is_empty(context: &FeedContext) {
    until("everything is given back", || {
        let figures = context.hub.figures();
        // The shards, the context here and the server's clone of it.
        let held = Arc::strong_count(&context.hold);
        let is_empty = (figures.clients, figures.blocked, context.tasks.tracker().len()) == (0, 0, 2);
        is_empty && held <= 2 && context.door.known() == (0, 0)
    })
    .await;
}

fn reset(socket: WebSocketStream<TcpStream>) {
    socket2::SockRef::from(socket.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
}

#[tokio::test]
async fn p20_every_way_to_end_gives_everything_back() {
    let context = context(HubLimits { clients_max: 3, ..HubLimits::default() });
    let address = server(&context).await;
    publish(&context.hub, "a", 10);
    // Normally, with an answer to the close.
    let mut socket = greeted(address).await;
    frame(&mut socket).await;
    socket.close(None).await.unwrap();
    while timeout(LIMIT, socket.next()).await.unwrap().is_some_and(|message| message.is_ok()) {}
    is_empty(&context).await;
    // Without a word: before the hello, behind it, and by a reset.
    drop(connect(address).await);
    drop(greeted(address).await);
    reset(greeted(address).await);
    is_empty(&context).await;
    assert_eq!(disconnects(&context.hub, Close::Left), 4);
    // By a violation of the protocol below, and of ours.
    for bytes in [b"\x81\x02{}".as_slice(), &masked(0x82, b"x"), &masked(0x81, b"{")] {
        let mut socket = connect(address).await;
        socket.get_mut().write_all(bytes).await.unwrap();
        close_code(&mut socket).await;
        drop(socket);
        is_empty(&context).await;
    }
    // For want of a place: nothing was taken, so nothing is kept.
    let full = (greeted(address).await, greeted(address).await, greeted(address).await);
    until("it is full", || context.hub.figures().clients == 3).await;
    let stream = TcpStream::connect(address).await.unwrap();
    assert!(matches!(client_async(format!("ws://{address}/"), stream).await, Err(Error::Http(_))));
    drop(full);
    is_empty(&context).await;
    // For want of a place of its principal, or of its address.
    let few = Guest { per_principal_max: 1, per_address_max: 1, ..guest() };
    for guest in [few.clone(), Guest { principal: "bob".to_owned(), ..few }] {
        let address = server(&FeedContext { guest: guest.clone(), hold: Arc::new(()), ..context.clone() }).await;
        let first = greeted(address).await;
        let stream = TcpStream::connect(address).await.unwrap();
        match client_async(format!("ws://{address}/"), stream).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 429),
            other => panic!("{other:?}"),
        }
        drop(first);
        until("its place is free", || context.door.known() == (0, 0)).await;
    }
    // By a revocation, of one that reads and of one that does not.
    let mut socket = greeted(address).await;
    let stalled = greeted(address).await;
    frame(&mut socket).await;
    stall(&context).await;
    while frame(&mut socket).await["o"] != context.hub.figures().events {}
    revoke(&context, GrantEnd::Revoked).await;
    assert_eq!(close_code(&mut socket).await, 4501);
    drop(socket);
    is_empty(&context).await;
    drop(stalled);
    // By the server's end.
    let fresh = FeedContext { grant: grant(), ..context.clone() };
    let address = server(&fresh).await;
    let mut socket = greeted(address).await;
    frame(&mut socket).await;
    fresh.stop.cancel();
    assert_eq!(close_code(&mut socket).await, 4001);
    fresh.tasks.tracker().close();
    timeout(LIMIT, fresh.tasks.tracker().wait()).await.expect("no task is left");
    let figures = fresh.hub.figures();
    assert_eq!((figures.clients, figures.blocked), (0, 0));
}

/// Publishes until a client that does not read is blocked.
async fn stall(context: &FeedContext) {
    until("somebody takes nothing", || {
        for _ in 0..100 {
            publish(&context.hub, "a", 2_000);
        }
        context.hub.figures().blocked > 0
    })
    .await;
}

/// A blocked client's unread bytes are thrown away with it: after the call it reads no event that it had not got.
#[tokio::test]
async fn a_revoked_client_that_does_not_read_is_reset_at_once() {
    let context = context(HubLimits::default());
    let address = server(&context).await;
    let mut socket = greeted(address).await;
    frame(&mut socket).await;
    stall(&context).await;
    revoke(&context, GrantEnd::Expired).await;
    assert_eq!(context.hub.figures().clients, 0, "closed when the call returns");
    let after = publish(&context.hub, "secret", 0);
    let mut bytes = Vec::new();
    let ended = timeout(LIMIT, socket.get_mut().read_to_end(&mut bytes)).await.expect("soon");
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("secret") && !text.contains(&format!("\"o\":{after},")));
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_churn_leaves_nobody_behind_and_holds_nobody_up() {
    const EVENTS: u64 = 3_000;
    let context = context(HubLimits::default());
    let address = server(&context).await;
    let clients = TaskTracker::new();
    let steady: Vec<_> =
        (0..5).map(|_| clients.spawn(async move { read_to(&mut greeted(address).await, EVENTS).await })).collect();
    until("the steady ones are there", || context.hub.figures().clients == 5).await;
    let done = CancellationToken::new();
    for worker in 0..20_u32 {
        let done = done.clone();
        clients.spawn(async move {
            for round in worker.. {
                if done.is_cancelled() {
                    return;
                }
                let mut socket = connect(address).await;
                if round % 5 != 0 {
                    let _ = socket.send(Message::text(HELLO)).await;
                }
                for _ in 0..round % 7 {
                    let _ = timeout(Duration::from_millis(20), socket.next()).await;
                }
                match round % 3 {
                    0 => drop(socket.close(None).await),
                    1 => reset(socket),
                    _ => drop(socket.get_mut().write_all(b"\xff\xff\xff").await),
                }
            }
        });
    }
    for event in 0..EVENTS {
        publish(&context.hub, &format!("n{}", event % 5), 100);
        if event % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    for task in steady {
        assert_eq!(timeout(Duration::from_mins(1), task).await.expect("in time").expect("every event, in order"), 0);
    }
    done.cancel();
    clients.close();
    timeout(LIMIT, clients.wait()).await.expect("no client is stuck");
    is_empty(&context).await;
    let figures = context.hub.figures();
    assert!(figures.disconnects.iter().map(|(_, count)| count).sum::<u64>() > 50, "{:?}", figures.disconnects);
}
