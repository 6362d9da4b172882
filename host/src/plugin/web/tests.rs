use super::*;
use crate::plugin::{BoxFuture, ExchangeResponse};
use futures_util::future::join_all;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const SOON: Duration = Duration::from_secs(1);

/// A web whose every page is its own address, and which takes a moment.
#[derive(Default)]
struct Script {
    requests: AtomicUsize,
    status: u16,
}

impl HttpClient for Script {
    fn send(&self, request: WebRequest, _: Instant) -> BoxFuture<'_, Result<ExchangeResponse, ExchangeFailure>> {
        self.requests.fetch_add(1, SeqCst);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(ExchangeResponse { status: self.status, headers: vec![], body: request.url.into_bytes() })
        })
    }
}

fn web(script: &Arc<Script>) -> Web {
    let client: Arc<dyn HttpClient> = Arc::<Script>::clone(script);
    let origins = ["https://idp.example", "http://127.0.0.1:8080"].map(str::to_owned).into();
    Web { plugin: Arc::from("auth-x"), origins, client: Some(client), cache: WebCache::default() }
}

fn script() -> Arc<Script> {
    Arc::new(Script { status: 200, ..Script::default() })
}

fn get(url: &str) -> WebRequest {
    WebRequest {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: vec![],
        body: vec![],
        response_bytes_max: RESPONSE_BYTES_MAX,
    }
}

#[test]
fn only_granted_origins_are_asked_whatever_the_url_pretends() {
    let web = web(&script());
    for url in
        ["https://idp.example/a?b=c", "HTTPS://IDP.EXAMPLE:443/", "https://idp.example", "http://127.0.0.1:8080/x"]
    {
        assert_eq!(web.check(&get(url)), Ok(()), "{url}");
    }
    for url in [
        "http://idp.example/",
        "https://idp.example:8443/",
        "https://idp.example.evil/",
        "https://evil/idp.example",
        "https://idp.example@evil/",
        "https://evil@idp.example/",
        "https://ann:pw@idp.example/",
        "https://idp.example./",
        "https://idp.example:0443x/",
        "https://idp.example:65536/",
        "https://idp.example\\@evil/",
        "https://idp%2eexample/",
        "https:idp.example/",
        "//idp.example/",
        "/path",
        "http://127.0.0.1/",
        "http://localhost:8080/",
        "http://127.1:8080/",
        "http://2130706433:8080/",
        "http://[::ffff:127.0.0.1]:8080/",
        "ftp://idp.example/",
        "file:///etc/passwd",
        "https://idp.example/#x",
        "https://idp.example/ä",
        "https://idp.example/a b",
        "https://idp.example/\r\nhost: evil",
        "",
    ] {
        assert!(web.check(&get(url)).is_err(), "{url}");
    }
}

#[test]
fn a_refusal_names_the_origin_and_nothing_secret() {
    let refusal = web(&script()).check(&get("https://evil/path?client_secret=hunter2")).expect_err("not granted");
    assert_eq!(refusal, "`https://evil` is not granted; its operator can grant it with `[plugin.auth-x] allow_http`");
    let refusal = web(&script()).check(&get("https://ann:hunter2@idp.example/")).expect_err("user information");
    assert!(!refusal.contains("hunter2"), "{refusal}");
}

#[test]
fn methods_headers_and_sizes_keep_to_the_contract() {
    let web = web(&script());
    let with = |change: fn(&mut WebRequest)| {
        let mut request = WebRequest { method: "POST".to_owned(), ..get("https://idp.example/") };
        change(&mut request);
        web.check(&request).is_ok()
    };
    let header = |request: &mut WebRequest, name: &str| request.headers.push((name.to_owned(), "x".to_owned()));
    assert!(with(|request| request.body = vec![0; BODY_BYTES_MAX]));
    assert!(with(|request| request.headers.push(("Authorization".to_owned(), "Basic x".to_owned()))));
    assert!(!with(|request| request.body = vec![0; BODY_BYTES_MAX + 1]));
    assert!(!with(|request| request.method = "PUT".to_owned()));
    assert!(!with(|request| request.method = "get".to_owned()));
    assert!(!with(|request| (request.method, request.body) = ("GET".to_owned(), vec![0])));
    assert!(!with(|request| request.url = format!("https://idp.example/{}", "x".repeat(URL_BYTES_MAX))));
    assert!(!with(|request| request.headers = vec![("a".to_owned(), "b".to_owned()); 33]));
    assert!(!with(|request| request.headers.push(("a".to_owned(), "x\r\nhost: evil".to_owned()))));
    for name in ["Host", "connection", "Content-Length", "transfer-encoding", "Cookie", "te", "upgrade"] {
        let mut request = get("https://idp.example/");
        header(&mut request, name);
        assert!(web.check(&request).is_err(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_calls_at_once_are_one_request() {
    let script = script();
    let web = web(&script);
    for freshness in [Freshness::MaxAge(Duration::from_secs(60)), Freshness::Refresh] {
        let calls = (0..20).map(|_| async {
            let (outcome, _) =
                web.send(get("https://idp.example/keys"), Some(freshness), Instant::now() + SOON, &mut 4).await;
            outcome.map(|response| response.status)
        });
        assert!(join_all(calls).await.iter().all(|outcome| *outcome == Ok(200)), "{freshness:?}");
        assert_eq!(script.requests.load(SeqCst), 1, "{freshness:?}: asking anew was done just now");
    }
    tokio::time::advance(Duration::from_secs(11)).await;
    let until = Instant::now() + SOON;
    let (outcome, age) = web.send(get("https://idp.example/keys"), Some(Freshness::Refresh), until, &mut 4).await;
    assert!(outcome.is_ok() && age.is_zero());
    assert_eq!(script.requests.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_one_that_is_cancelled_asks_itself() {
    let script = script();
    let web = web(&script);
    let mode = Some(Freshness::Refresh);
    let mut first_left = 4;
    let mut second_left = 4;
    let first = tokio::time::timeout(
        Duration::from_millis(5),
        web.send(get("https://idp.example/keys"), mode, Instant::now() + SOON, &mut first_left),
    );
    let second = web.send(get("https://idp.example/keys"), mode, Instant::now() + SOON, &mut second_left);
    let (first, (second, _)) = futures_util::future::join(first, second).await;
    assert!(first.is_err() && second.is_ok());
    assert_eq!((first_left, second_left, script.requests.load(SeqCst)), (3, 3, 2));
}

#[tokio::test(start_paused = true)]
async fn what_depends_on_the_asker_is_never_kept() {
    let script = script();
    let web = web(&script);
    let private = WebRequest {
        headers: vec![("Authorization".to_owned(), "Bearer x".to_owned())],
        ..get("https://idp.example/userinfo")
    };
    let post = WebRequest { method: "POST".to_owned(), ..get("https://idp.example/token") };
    for request in [private, post] {
        let before = script.requests.load(SeqCst);
        for _ in 0..2 {
            let mode = Some(Freshness::MaxAge(Duration::from_secs(60)));
            assert!(web.send(request.clone(), mode, Instant::now() + SOON, &mut 4).await.0.is_ok());
        }
        assert_eq!(script.requests.load(SeqCst), before + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_has_so_many_requests_and_what_is_kept_is_free() {
    let script = script();
    let web = web(&script);
    let mut left = 4;
    for number in 0..6 {
        let url = format!("https://idp.example/{number}");
        let (outcome, _) = web.send(get(&url), None, Instant::now() + SOON, &mut left).await;
        assert_eq!(outcome.is_ok(), number < 4, "{number}");
    }
    let mode = Some(Freshness::MaxAge(Duration::from_secs(60)));
    let (refused, _) = web.send(get("https://idp.example/keys"), mode, Instant::now() + SOON, &mut 0).await;
    assert!(matches!(refused, Err(ExchangeFailure::Refused(_))));
    let (asked, _) = web.send(get("https://idp.example/keys"), mode, Instant::now() + SOON, &mut 1).await;
    assert!(asked.is_ok(), "one call's refusal is nobody else's");
    let (kept, _) = web.send(get("https://idp.example/keys"), mode, Instant::now() + SOON, &mut 0).await;
    assert!(kept.is_ok());
    assert_eq!(script.requests.load(SeqCst), 5);
}
