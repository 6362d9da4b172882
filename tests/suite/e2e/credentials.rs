//! One way in: every operation of the API's own document, asked with every kind of credential that is not good, in every
//! place where a credential may stand.

use super::rights::{self, PASSWORD, USERS, ask};
use super::strategies::{Script, jwt, seconds_from_now};
use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tests::{ADMIN, ADMIN_PASSWORD, Client, Host};

/// Routes that everybody may ask.
const PUBLIC: [(&str, &str); 8] = [
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/asyncapi.json"),
    ("POST", "/api/v1/login"),
    ("POST", "/api/v1/setup"),
    ("GET", "/api/v1/login/{strategy}"),
    ("GET", "/api/v1/login/{strategy}/callback"),
];

const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// What is sent to an operation that is not public.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    path: String,
    body: Option<Value>,
}

async fn guarded(host: &Host) -> anyhow::Result<Vec<Asked>> {
    let table = rights::table();
    let is_public = |(method, path): &(String, String)| PUBLIC.contains(&(method, path));
    let body = |(method, path): &(String, String)| {
        let row = table.iter().find(|(m, p, ..)| (m, p) == (&method.as_str(), &path.as_str()));
        row.and_then(|(.., body)| body.clone())
    };
    let all = rights::operations(host).await?;
    let guarded = all.into_iter().filter(|one| !is_public(one));
    Ok(guarded.map(|one| Asked { body: body(&one), method: one.0, path: one.1 }).collect())
}

/// Asks as `client` and gives the whole answer, as whoever asked sees it.
async fn answer(client: &Client, asked: &Asked) -> anyhow::Result<String> {
    let is_upgrade = asked.path == "/api/v1/feed";
    let client =
        UPGRADE.iter().filter(|_| is_upgrade).fold(client.clone(), |client, (name, value)| client.with(name, value));
    let reply = ask(&client, &asked.method, &asked.path, asked.body.as_ref(), "p08").await?;
    let headers = ["content-type", "www-authenticate", "cache-control", "set-cookie", "retry-after"]
        .map(|name| reply.header(name));
    Ok(format!("{} {headers:?} {}", reply.status, reply.text()))
}

/// The requirement that there is one way in (R3.1, R3.5), from the outside: the router's own document lists the routes.
#[tokio::test]
async fn p07_every_route_but_the_public_ones_refuses_who_is_not_known_in_one_way() -> anyhow::Result<()> {
    let host = rights::house().await?;
    let ended = host.stranger().login("kim", PASSWORD).await?;
    ended.send("POST", "/api/v1/logout", &[], Vec::new()).await?.expect_status(204)?;
    let strangers = [host.stranger(), ended, host.stranger().basic("admin", "x")];
    let operations = rights::operations(&host).await?;
    let public: BTreeSet<_> = PUBLIC.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    ensure!(public.is_subset(&operations), "a public route that is not there");
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for asked in guarded(&host).await? {
        for stranger in &strangers {
            let reply = ask(stranger, &asked.method, &asked.path, asked.body.as_ref(), "stranger").await?;
            reply.problem(401, "auth.required").with_context(|| format!("{asked:?}"))?;
            ensure!(reply.header("www-authenticate").starts_with("Bearer"), "{asked:?}");
            seen.insert(answer(stranger, &asked).await?, format!("{asked:?}"));
        }
    }
    assert_eq!(seen.len(), 1, "byte for byte the same answer: {seen:?}");
    let told = rights::recorded(&host, "stranger").await?;
    assert_eq!(told["stranger"], ["refused"], "of one address in a minute, one is on record");
    // A public route answers whoever asks, and asks nobody who they are.
    for (method, path) in PUBLIC {
        let reply = ask(&host.stranger().bearer("omni_short"), method, path, None, "public").await?;
        ensure!(!reply.text().contains("auth.required"), "{method} {path}: {}", reply.text());
    }
    host.stop().await
}

/// Where a credential may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    Subprotocol,
    Cookie,
}

const PLACES: [Place; 3] = [Place::Header, Place::Subprotocol, Place::Cookie];

impl Place {
    fn holding(self, client: &Client, credential: &str) -> Client {
        match self {
            Self::Header => client.bearer(credential),
            Self::Subprotocol => client.with("sec-websocket-protocol", &format!("feed.v1, bearer.{credential}")),
            Self::Cookie => client.with("cookie", &format!("omnivisor-session={credential}")),
        }
    }
}

/// A credential that is not good, by what is wrong with it.
type Bad = (&'static str, Client);

/// Each request from an address of its own: whoever guesses at tokens is slowed down, and what is asked here is another thing.
static ADDRESSES: AtomicU32 = AtomicU32::new(0);

fn fresh(client: &Client) -> Client {
    let number = ADDRESSES.fetch_add(1, Ordering::Relaxed);
    client.from_source(IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(127, 2, 0, 0).to_bits() + number)))
}

/// Asks every operation with every one, and gives the answers, each with one of those who were given it.
async fn answers(asked: &[Asked], bad: &[Bad]) -> anyhow::Result<BTreeMap<String, String>> {
    let all = asked.iter().flat_map(|asked| bad.iter().map(move |(what, client)| (asked, what, client)));
    let sent = futures_util::stream::iter(all).map(async |(asked, what, client)| {
        let told = answer(&fresh(client), asked).await.with_context(|| format!("{what}: {asked:?}"))?;
        anyhow::Ok((told, format!("{what} {client:?}: {asked:?}")))
    });
    let told: Vec<anyhow::Result<(String, String)>> = sent.buffer_unordered(12).collect().await;
    told.into_iter().collect()
}

/// Accounts of everybody here, each with a session, and with an API key of its own.
struct People {
    sessions: BTreeMap<&'static str, String>,
    keys: BTreeMap<&'static str, String>,
}

const NAMES: [&str; 6] = ["good", "revoked", "left", "disabled", "removed", "changed"];

async fn token(host: &Host, name: &str) -> anyhow::Result<String> {
    let login = json!({ "username": name, "password": PASSWORD });
    let reply = host.stranger().post("/api/v1/login", &login).await?.expect_status(200)?.json()?;
    Ok(reply["token"].as_str().context("no token")?.to_owned())
}

async fn edit(host: &Host, method: &str, name: &str, body: Value) -> anyhow::Result<()> {
    let path = format!("{USERS}/{name}");
    let tag = host.admin.get(&path).await?.expect_status(200)?.header("etag").to_owned();
    let headers = [("if-match", tag.as_str()), ("content-type", "application/json")];
    let reply = host.admin.send(method, &path, &headers, body.to_string().into_bytes()).await?;
    ensure!(reply.status.is_success(), "{method} {path}: {}", reply.text());
    Ok(())
}

async fn people(host: &Host) -> anyhow::Result<People> {
    let (mut sessions, mut keys) = (BTreeMap::new(), BTreeMap::new());
    for name in NAMES {
        let grants = json!([{ "role": "admin", "scope": "everything" }]);
        let wish = json!({ "name": name, "password": PASSWORD, "grants": grants });
        host.admin.post(USERS, &wish).await?.expect_status(201)?;
        let token = token(host, name).await?;
        let key = json!({ "label": "x", "scopes": if name == "changed" { json!(["feed.read"]) } else { json!([]) } });
        let made = host.stranger().bearer(&token).post("/api/v1/api-keys", &key).await?.expect_status(201)?.json()?;
        keys.insert(name, made["text"].as_str().context("no key")?.to_owned());
        if name == "revoked" {
            let path = format!("/api/v1/api-keys/{}", made["key"]["id"].as_str().unwrap_or_default());
            host.admin.send("DELETE", &path, &[], Vec::new()).await?.expect_status(204)?;
            let list = host.admin.get(&format!("{USERS}/{name}/sessions")).await?.json()?;
            let path = format!("{USERS}/{name}/sessions/{}", list["items"][0]["id"].as_str().unwrap_or_default());
            host.admin.send("DELETE", &path, &[], Vec::new()).await?.expect_status(204)?;
        }
        sessions.insert(name, token);
    }
    host.stranger()
        .bearer(&sessions["left"])
        .send("POST", "/api/v1/logout", &[], Vec::new())
        .await?
        .expect_status(204)?;
    edit(host, "PATCH", "disabled", json!({ "disabled": true })).await?;
    edit(host, "PATCH", "changed", json!({ "password": "another-password-of-kim" })).await?;
    edit(host, "DELETE", "removed", json!({})).await?;
    Ok(People { sessions, keys })
}

/// A text with its last character but `at` exchanged, which is the least that can be wrong with it.
fn flipped(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = bytes.len() - 1 - at;
    bytes[at] = if bytes[at] == b'B' { b'C' } else { b'B' };
    String::from_utf8_lossy(&bytes).into_owned()
}

fn bad_texts(people: &People) -> Vec<(&'static str, String)> {
    let (session, key) = (people.sessions["good"].as_str(), people.keys["good"].as_str());
    let mut texts = vec![
        ("nothing", String::new()),
        ("blank", " ".to_owned()),
        ("a session with a bit flipped", flipped(session, 7)),
        ("a session cut short", session[..session.len() - 1].to_owned()),
        ("a session with more behind it", format!("{session}A")),
        ("a session in capitals", session.to_ascii_uppercase()),
        ("a session in other letters", format!("omni_{}", session[5..].to_ascii_lowercase())),
        ("a session without its beginning", session[5..].to_owned()),
        ("an unknown session", format!("omni_{}", "A".repeat(43))),
        ("rubbish", "x".to_owned()),
        ("a key with a bit flipped", flipped(key, 7)),
        ("a key cut short", key[..key.len() - 1].to_owned()),
    ];
    let mut of = |what: [&'static str; 2], name: &str| {
        texts.extend([(what[0], people.sessions[name].clone()), (what[1], people.keys[name].clone())]);
    };
    of(["a revoked session", "a revoked key"], "revoked");
    of(["a session of a disabled account", "a key of a disabled account"], "disabled");
    of(["a session of a removed account", "a key of a removed account"], "removed");
    texts.push(("a session that was left", people.sessions["left"].clone()));
    texts.push(("a session from before the password", people.sessions["changed"].clone()));
    texts
}

async fn bad_tokens(issuer: &mut Script) -> anyhow::Result<Vec<(&'static str, String)>> {
    let exp = seconds_from_now(600)?;
    let address = issuer.issuer.clone();
    let claims = |aud: &str, exp: i64| json!({ "iss": address, "aud": aud, "sub": "ann", "role": "ops", "exp": exp, "iat": exp - 660 });
    let good = claims("omnivisor", exp);
    let mut tokens = Vec::new();
    for (what, key, alg, claims) in [
        ("no algorithm", "first", "none", &good),
        ("the public key as a secret", "first", "HS256", &good),
        ("an unknown key", "unknown", "RS256", &good),
        ("a path as the key", "../../etc/passwd", "RS256", &good),
        ("another audience", "first", "RS256", &claims("another", exp)),
        ("a token that has expired", "first", "RS256", &claims("omnivisor", seconds_from_now(-3_600)?)),
    ] {
        tokens.push((what, issuer.token(key, alg, claims).await?));
    }
    let good = issuer.token("first", "RS256", &good).await?;
    tokens.push(("a token with a bit flipped", flipped(&good, 20)));
    tokens.push(("a token without its signature", good[..=good.rfind('.').context("no signature")?].to_owned()));
    Ok(tokens)
}

/// What those who ask could have changed, as an administrator sees it.
async fn state(host: &Host) -> anyhow::Result<String> {
    let mut whole = String::new();
    for path in ["users", "roles", "nodes?include=processes", "plugins", "config/generations", "api-keys"] {
        let mut list = host.admin.get(&format!("/api/v1/{path}")).await?.expect_status(200)?.json()?;
        for item in list["items"].as_array_mut().into_iter().flatten() {
            // What is good was used meanwhile, and strategies were asked.
            item["last_used_at"] = Value::Null;
            item["counters"] = Value::Null;
        }
        whole.push_str(&format!("{path}: {list}\n"));
    }
    Ok(whole)
}

/// Whatever is wrong with a credential, wherever it stands and whatever is asked for with it: the same answer, byte for byte,
/// which is a stranger's; and nothing is changed.
#[tokio::test]
async fn p08_every_bad_credential_is_refused_alike_by_every_operation_on_every_way_in() -> anyhow::Result<()> {
    let mut issuer = Script::start("issuer.mjs", &[], "").await?;
    for key in ["first", "unknown", "../../etc/passwd"] {
        issuer.told(&json!({ "make": key })).await?;
    }
    for key in ["unknown", "../../etc/passwd"] {
        issuer.told(&json!({ "drop": key })).await?;
    }
    let nowhere = "127.0.0.1:1".parse()?;
    let settings = jwt(&issuer.issuer)?
        .with("plugins", "auth", r#"["auth-local", "auth-token", "auth-jwt"]"#)
        .with("plugin.auth-jwt", "role_max", r#""admin""#)
        .with("server", "session_idle_timeout_ms", "60000")
        .with("log", "level", "\"info\"");
    let mut host = Host::start(settings.open_node("web", nowhere)?.environment("prod").disabled()).await?;
    // These two end by themselves: nobody uses the one, and the other has its time.
    let began = tokio::time::Instant::now();
    let old_session = host.stranger().login(ADMIN, ADMIN_PASSWORD).await?;
    let wish = json!({ "label": "short", "expires_in_s": 60 });
    let made = host.admin.post("/api/v1/api-keys", &wish).await?.expect_status(201)?.json()?;
    let old_key = host.stranger().bearer(made["text"].as_str().context("no key")?);

    let people = people(&host).await?;
    let asked = guarded(&host).await?;
    ensure!(asked.len() > 60, "only {} operations", asked.len());
    let stranger = host.stranger();
    let page = stranger.with("origin", &format!("http://{}", host.address()));
    let mut bad: Vec<Bad> = Vec::new();
    for (what, text) in bad_texts(&people).iter().chain(&bad_tokens(&mut issuer).await?) {
        bad.extend(PLACES.map(|place| (*what, place.holding(&page, text))));
    }
    let good = &people.sessions["good"];
    let twice = format!("omnivisor-session={good}; omnivisor-session={good}");
    bad.extend([
        ("nobody", stranger.clone()),
        ("a name and a password", stranger.basic("good", PASSWORD)),
        ("the cookie twice", page.with("cookie", &twice)),
        ("another cookie", page.with("cookie", &format!("__Host-omnivisor-session={good}"))),
        ("a key in a cookie", Place::Cookie.holding(&page, &people.keys["good"])),
        ("two that differ", Place::Subprotocol.holding(&stranger.bearer(good), &people.sessions["left"])),
        ("two that differ, the good one last", Place::Subprotocol.holding(&stranger.bearer("x"), good)),
    ]);
    let before = state(&host).await?;
    let mut told = answers(&asked, &bad).await?;

    // Each way in is one: what is good passes there, and a key's scopes hold on each.
    host.admin = stranger.login(ADMIN, ADMIN_PASSWORD).await?;
    let good = token(&host, "good").await?;
    for place in PLACES {
        let me = place.holding(&page, &good).get("/api/v1/me").await?.expect_status(200)?.json()?;
        assert_eq!(me["name"], "good", "{place:?}");
    }
    for place in [Place::Header, Place::Subprotocol] {
        let scoped = place.holding(&stranger, &people.keys["changed"]);
        assert_eq!(scoped.get("/api/v1/me").await?.json()?["scopes"], json!(["feed.read"]));
        scoped.get("/api/v1/nodes").await?.problem(403, "auth.forbidden")?;
        scoped.get(USERS).await?.problem(403, "auth.forbidden")?;
    }
    while began.elapsed() < Duration::from_secs(62) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Who uses a session keeps it.
        host.admin.get("/api/v1/me").await?.expect_status(200)?;
        stranger.bearer(&good).get("/api/v1/me").await?.expect_status(200)?;
    }
    told.extend(answers(&asked, &[("an old session", old_session), ("an old key", old_key)]).await?);
    assert_eq!(told.len(), 1, "{} operations and {} credentials: {told:#?}", asked.len(), bad.len() + 2);
    println!("{} operations, {} credentials", asked.len(), bad.len() + 2);
    let (answer, _) = told.first_key_value().context("an answer")?;
    ensure!(answer.starts_with("401") && answer.contains("auth.required"), "{answer}");
    stranger.bearer(&good).get("/api/v1/me").await?.expect_status(200)?;
    assert_eq!(state(&host).await?, before, "nothing was changed");
    let records = rights::recorded(&host, "p08").await?;
    assert!(records.values().flatten().all(|outcome| outcome == "refused"), "{records:?}");
    host.stop().await
}
