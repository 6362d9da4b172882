//! Browsers: their session in a cookie, what pages of others can do with it, and tickets for the feed.

use super::rights::{self, PASSWORD, USERS};
use super::{SOON, one};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::{ADMIN, ADMIN_PASSWORD, Client, Feed, Host, Node, Reply, Settings};

const LOGIN: &str = "/api/v1/login";
const ME: &str = "/api/v1/me";
const TICKETS: &str = "/api/v1/feed/tickets";
const LOGOUT: &str = "/api/v1/logout";

fn wish(username: &str, password: &str) -> Value {
    json!({ "username": username, "password": password, "cookie": true })
}

/// The cookie of an answer: its name, its value, and what the browser is told of it.
fn cookie(reply: &Reply) -> anyhow::Result<(String, String, String)> {
    let (pair, rest) = reply.header("set-cookie").split_once("; ").context("no cookie")?;
    let (name, value) = pair.split_once('=').context("no cookie")?;
    Ok((name.to_owned(), value.to_owned(), rest.to_owned()))
}

fn origin(host: &Host) -> String {
    format!("http://{}", host.address())
}

/// A page of the server itself, in the browser of somebody who has just logged in: its script, and the token that it cannot
/// read.
async fn browser(host: &Host, username: &str, password: &str) -> anyhow::Result<(Client, String)> {
    let page = host.stranger().with("origin", &origin(host));
    let login = page.post(LOGIN, &wish(username, password)).await?.expect_status(200)?;
    let (name, token, _) = cookie(&login)?;
    Ok((page.with("cookie", &format!("{name}={token}")), token))
}

/// The same browser on another page, or on none.
fn with_cookie(host: &Host, token: &str) -> Client {
    host.stranger().with("cookie", &format!("omnivisor-session={token}"))
}

async fn post(client: &Client, path: &str) -> anyhow::Result<Reply> {
    client.send("POST", path, &[], Vec::new()).await
}

#[tokio::test]
async fn a_browser_keeps_its_session_in_a_cookie_that_no_script_reads_until_it_logs_out() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?.with("server", "base_path", "\"/fleet\"")).await?;
    let page = host.stranger().with("origin", &origin(&host));
    let login = page.post("/fleet/api/v1/login", &wish(ADMIN, ADMIN_PASSWORD)).await?.expect_status(200)?;
    let (name, token, rest) = cookie(&login)?;
    assert_eq!(name, "omnivisor-session", "on this machine nobody is on the way");
    let (attributes, age) = rest.rsplit_once('=').context("no age")?;
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Max-Age");
    assert!((604_790..=604_800).contains(&age.parse::<u64>()?), "{age}");
    assert!(!login.text().contains(&token) && login.json()?["token"].is_null(), "{}", login.text());
    assert_eq!(login.json()?["principal"]["name"], ADMIN);

    let browser = with_cookie(&host, &token);
    assert_eq!(browser.get(ME).await?.expect_status(200)?.json()?["name"], ADMIN);
    let sessions = browser.get("/api/v1/me/sessions").await?.expect_status(200)?.json()?;
    assert_eq!(sessions["items"][0]["current"], true, "{sessions}");
    let out = post(&browser.with("origin", &origin(&host)), LOGOUT).await?.expect_status(204)?;
    assert_eq!(cookie(&out)?, (name, String::new(), "Path=/; HttpOnly; SameSite=Strict; Max-Age=0".to_owned()));
    browser.get(ME).await?.problem(401, "auth.required")?;
    host.admin.get(ME).await?.expect_status(200)?;

    // However a session ends itself, its browser forgets it; another one's end takes nothing from it.
    let (first, _) = self::browser(&host, ADMIN, ADMIN_PASSWORD).await?;
    let (second, _) = self::browser(&host, ADMIN, ADMIN_PASSWORD).await?;
    let sessions = first.get("/api/v1/me/sessions").await?.json()?;
    let others: Vec<_> =
        sessions["items"].as_array().into_iter().flatten().filter(|one| one["current"] == false).collect();
    let id = others.first().and_then(|one| one["id"].as_str()).context("one more")?;
    let ended =
        first.send("DELETE", &format!("/api/v1/me/sessions/{id}"), &[], Vec::new()).await?.expect_status(204)?;
    assert_eq!(ended.header("set-cookie"), "");
    second.get(ME).await?.problem(401, "auth.required")?;
    let ended = first.send("DELETE", "/api/v1/me/sessions", &[], Vec::new()).await?.expect_status(200)?;
    assert!(ended.header("set-cookie").contains("Max-Age=0"));
    host.stop().await
}

#[tokio::test]
async fn the_cookie_is_sealed_where_the_connection_is_and_not_given_in_the_open() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?.with("server", "trusted_proxies", "[\"127.0.0.2\"]")).await?;
    let proxy = host.stranger().from_source("127.0.0.2".parse()?).with("x-forwarded-for", "192.0.2.1");
    let (sealed, open) = (proxy.with("x-forwarded-proto", "https"), proxy.with("x-forwarded-proto", "http"));
    let outside = format!("https://{}", host.address());
    let login = sealed.with("origin", &outside).post(LOGIN, &wish(ADMIN, ADMIN_PASSWORD)).await?.expect_status(200)?;
    let (name, token, rest) = cookie(&login)?;
    assert_eq!(name, "__Host-omnivisor-session");
    assert!(rest.starts_with("Path=/; HttpOnly; SameSite=Strict; Max-Age=") && rest.ends_with("; Secure"), "{rest}");
    let line = format!("{name}={token}");
    sealed.with("cookie", &line).get(ME).await?.expect_status(200)?;
    for client in [&open, &host.stranger()] {
        client.with("cookie", &line).get(ME).await?.problem(401, "auth.required")?;
    }
    let planted = format!("omnivisor-session={token}");
    sealed.with("cookie", &planted).get(ME).await?.problem(401, "auth.required")?;
    open.with("cookie", &planted).get(ME).await?.problem(401, "auth.required")?;
    host.stranger().with("cookie", &planted).get(ME).await?.expect_status(200)?;

    let refused = open.with("origin", &origin(&host)).post(LOGIN, &wish(ADMIN, ADMIN_PASSWORD)).await?;
    refused.problem(403, "auth.cookie_insecure")?;
    open.post(LOGIN, &json!({ "username": ADMIN, "password": ADMIN_PASSWORD })).await?.expect_status(200)?;
    let plain = sealed.with("origin", &origin(&host)).post(LOGIN, &wish(ADMIN, ADMIN_PASSWORD)).await?;
    plain.problem(403, "auth.cross_site")?;
    host.stop().await
}

/// Nasty case 55: whatever a browser brings to its login, it leaves with a new token, and what it had is over.
#[tokio::test]
async fn a_login_gives_a_new_token_and_ends_the_session_that_the_browser_had() -> anyhow::Result<()> {
    let host = rights::house().await?;
    let page = host.stranger().with("origin", &origin(&host));
    let (eve, planted) = browser(&host, "kim", PASSWORD).await?;
    let planting = page.with("cookie", &format!("omnivisor-session={planted}"));
    let login = planting.post(LOGIN, &wish(ADMIN, ADMIN_PASSWORD)).await?.expect_status(200)?;
    let (_, token, _) = cookie(&login)?;
    assert_ne!(token, planted);
    eve.get(ME).await?.problem(401, "auth.required")?;
    assert_eq!(with_cookie(&host, &token).get(ME).await?.json()?["name"], ADMIN);

    // A login that fails ends nothing, and neither does what is no session or stands there twice.
    let again = page.with("cookie", &format!("omnivisor-session={token}"));
    again.post(LOGIN, &wish(ADMIN, "wrong-password")).await?.problem(401, "auth.failed")?;
    for line in ["omnivisor-session=omni_x".to_owned(), format!("omnivisor-session={token}; omnivisor-session={token}")]
    {
        let login = page.with("cookie", &line).post(LOGIN, &wish(ADMIN, ADMIN_PASSWORD)).await?.expect_status(200)?;
        assert_ne!(cookie(&login)?.1, token);
    }
    with_cookie(&host, &token).get(ME).await?.expect_status(200)?;
    host.stop().await
}

/// Every operation, asked by pages that are none of ours with the cookie of an administrator, as a browser without SameSite
/// would send it.
#[tokio::test]
async fn a_page_of_another_origin_can_do_nothing_with_the_cookie() -> anyhow::Result<()> {
    let host = rights::house().await?;
    let (_, token) = browser(&host, ADMIN, ADMIN_PASSWORD).await?;
    let bare = with_cookie(&host, &token);
    let foreign = [
        bare.with("origin", "https://evil.example"),
        bare.with("origin", "null"),
        bare.with("origin", &format!("{}.evil.example", origin(&host))),
        bare.with("sec-fetch-site", "cross-site"),
        bare.with("sec-fetch-site", "same-site"),
        bare.with("origin", "https://evil.example").with("sec-fetch-site", "same-origin"),
    ];
    let users = host.admin.get(USERS).await?.text();
    let (mut expected, table) = (BTreeSet::new(), rights::table());
    for (number, (method, path, needs, body)) in table.iter().enumerate() {
        if matches!(needs, rights::Needs::Nothing) {
            continue;
        }
        let stays_open = path.starts_with("/api/v1/feed") && *method == "GET";
        // Without a word of where it comes from, a page may have sent it.
        let unsaid = (*method != "GET" || stays_open).then_some(&bare);
        for (at, client) in foreign.iter().chain(unsaid).enumerate() {
            let id = format!("csrf-{number}-{at}");
            let reply = rights::ask(client, method, path, body.as_ref(), &id).await?;
            reply.problem(403, "auth.cross_site").with_context(|| format!("{method} {path} {:?}", client.lines()))?;
            if *method != "GET" {
                expected.insert(id);
            }
        }
    }
    let told = rights::recorded(&host, "csrf-*").await?;
    assert_eq!(told.keys().cloned().collect::<BTreeSet<_>>(), expected, "each refused change is on record");
    assert!(told.values().all(|outcomes| *outcomes == ["refused"]), "once: {told:?}");
    assert_eq!(host.admin.get(USERS).await?.text(), users);

    for login in
        [json!({ "token": "x", "username": "y", "password": PASSWORD, "cookie": true }), wish(ADMIN, ADMIN_PASSWORD)]
    {
        let path = if login["token"].is_null() { LOGIN } else { "/api/v1/setup" };
        for client in [host.stranger(), host.stranger().with("origin", "https://evil.example")] {
            let refused = client.post(path, &login).await?;
            refused.problem(403, "auth.cross_site")?;
            assert_eq!(refused.header("set-cookie"), "");
        }
    }
    // A page of ours may, and a program that says what it brings needs to say nothing else.
    let own = [bare.with("origin", &origin(&host)), bare.with("sec-fetch-site", "same-origin")];
    for client in own.iter().chain([&host.admin.with("origin", "https://evil.example")]) {
        client.post("/api/v1/api-keys", &json!({ "label": "x" })).await?.expect_status(201)?;
    }
    let hello = json!({ "sub": ["node/*/state"] });
    for client in [&bare, &foreign[0], &foreign[1]] {
        assert!(Feed::open_with(client, &hello).await.is_err());
    }
    Feed::open_with(&own[0], &hello).await?;
    host.stop().await
}

async fn ticket(client: &Client) -> anyhow::Result<String> {
    let issued = post(client, TICKETS).await?.expect_status(201)?.json()?;
    assert_eq!(issued["expires_in_s"], 30);
    Ok(issued["ticket"].as_str().context("no ticket")?.to_owned())
}

#[tokio::test]
async fn a_ticket_opens_the_feed_once_from_the_page_that_asked_and_ends_with_its_session() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    let (page, token) = browser(&host, ADMIN, ADMIN_PASSWORD).await?;
    let hello = json!({ "sub": ["node/*/state"] });
    let bare = host.stranger();
    let ours = bare.with("origin", &origin(&host));
    let events = "/api/v1/feed/events?sub=x&ticket=";

    let good = ticket(&page).await?;
    let mut feed = Feed::open_at(&ours, &format!("?ticket={good}"), &hello).await?;
    let mut refused = BTreeSet::new();
    let mut note = async |client: &Client, ticket: &str| {
        let reply = client.send("GET", &format!("{events}{ticket}"), &[("x-request-id", "r")], Vec::new()).await?;
        refused.insert(reply.problem(401, "auth.required")?.to_string());
        anyhow::Ok(())
    };
    note(&ours, &good).await?;
    for (asks, brings) in [
        (&page, &bare),
        (&page, &bare.with("origin", "https://evil.example")),
        (&page, &bare.with("sec-fetch-site", "cross-site")),
        (&host.admin, &ours),
    ] {
        let spoilt = ticket(asks).await?;
        note(brings, &spoilt).await?;
        note(if std::ptr::eq(asks, &page) { &ours } else { &bare }, &spoilt).await?;
    }
    for nothing in ["", "ovt_x", &format!("ovt_{}", "A".repeat(43))] {
        note(&ours, nothing).await?;
    }
    let reply = bare.send("GET", "/api/v1/feed/events?sub=x", &[("x-request-id", "r")], Vec::new()).await?;
    refused.insert(reply.problem(401, "auth.required")?.to_string());
    assert_eq!(refused.len(), 1, "whatever is wrong with it: {refused:?}");

    // It is a credential of the feed's routes and of no others, and a page of another origin is given none.
    let stray = ticket(&page).await?;
    bare.bearer(&stray).get(ME).await?.problem(401, "auth.required")?;
    ours.get(&format!("{ME}?ticket={stray}")).await?.problem(401, "auth.required")?;
    post(&host.admin.with("origin", "https://evil.example"), TICKETS).await?.problem(403, "auth.cross_site")?;
    page.get(&format!("{events}{stray}&ticket=x")).await?.problem(401, "auth.required")?;

    // A program's, among the subprotocols.
    let words = format!("ticket.{}", ticket(&host.admin).await?);
    let mut programs = Feed::open_with(&bare.with("sec-websocket-protocol", &words), &hello).await?;

    // The feed stands on the session that asked, also on an unused ticket.
    let unused = ticket(&page).await?;
    post(&page, LOGOUT).await?.expect_status(204)?;
    assert_eq!(feed.closed(SOON).await?, 4501);
    with_cookie(&host, &token).get(ME).await?.problem(401, "auth.required")?;
    ours.get(&format!("{events}{unused}")).await?.problem(401, "auth.required")?;
    assert_eq!(
        programs.refresh("rubbish", SOON).await?["code"],
        "auth.required",
        "it stands on another one, and goes on"
    );
    host.stop().await
}

#[tokio::test]
async fn one_principal_has_sixteen_unused_tickets() -> anyhow::Result<()> {
    let host = rights::house().await?;
    for _ in 0..16 {
        ticket(&host.admin).await?;
    }
    let refused = post(&host.admin, TICKETS).await?;
    refused.problem(429, "auth.too_many_tickets")?;
    assert!((1..=30).contains(&refused.header("retry-after").parse::<u64>()?));
    host.stop().await
}
