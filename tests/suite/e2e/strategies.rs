//! The strategies in the box, each as an operator would set it up: API keys, signed tokens, a proxy's header, and a login at
//! a real OpenID Connect server.

use super::SOON;
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};
use tests::{ADMIN, Client, CommandLine, Feed, Host, Node, Program, Reply, Settings, Supervisord, free_address, until};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const ME: &str = "/api/v1/me";

/// A helper in JavaScript: told one JSON document a line, answers one a line, ends with its standard input.
pub(super) struct Script {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// The issuer that it said it is.
    pub(super) issuer: String,
}

impl Script {
    pub(super) async fn start(name: &str, arguments: &[&str], secret: &str) -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc").join(name);
        let mut child = Command::new("node")
            .arg(script)
            .args(arguments)
            .env("CLIENT_SECRET", secret)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("`node` cannot be run: make setup")?;
        let stdin = child.stdin.take().context("no standard input")?;
        let lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let mut this = Self { _child: child, stdin, lines, issuer: String::new() };
        this.issuer = this.line().await?["issuer"].as_str().context("no issuer")?.to_owned();
        Ok(this)
    }

    async fn line(&mut self) -> anyhow::Result<Value> {
        let line = tokio::time::timeout(SOON, self.lines.next_line()).await??;
        Ok(serde_json::from_str(&line.context("the script ended")?)?)
    }

    pub(super) async fn told(&mut self, order: &Value) -> anyhow::Result<Value> {
        self.stdin.write_all(format!("{order}\n").as_bytes()).await?;
        self.line().await
    }

    pub(super) async fn token(&mut self, key: &str, alg: &str, claims: &Value) -> anyhow::Result<String> {
        let answer = self.told(&json!({ "sign": key, "alg": alg, "claims": claims })).await?;
        Ok(answer["token"].as_str().context("no token")?.to_owned())
    }
}

pub(super) fn seconds_from_now(seconds: i64) -> anyhow::Result<i64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    Ok(i64::try_from(now)? + seconds)
}

#[tokio::test]
async fn an_api_key_may_what_its_scopes_say_until_it_is_revoked() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let settings = Settings::new()?.node(&node)?.with("plugins", "auth", r#"["auth-token", "auth-local"]"#);
    let host = Host::start(settings).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let wish = json!({ "label": "reader", "scopes": ["process.read"] });
    let created = host.admin.post("/api/v1/api-keys", &wish).await?.expect_status(201)?.json()?;
    let text = created["text"].as_str().context("no text")?;
    let id = created["key"]["id"].as_str().context("no id")?;
    let reader = host.stranger().bearer(text);

    let me = reader.get(ME).await?.expect_status(200)?.json()?;
    assert_eq!((&me["name"], &me["strategy"]), (&json!(ADMIN), &json!("auth-token")));
    assert_eq!((&me["scopes"], &me["expires_at"]), (&json!(["process.read"]), &Value::Null));
    reader.get("/api/v1/nodes/alpha/processes").await?.expect_status(200)?;
    reader.get("/api/v1/nodes").await?.problem(403, "auth.forbidden")?;
    let stop = "/api/v1/nodes/alpha/processes/quiet:quiet/stop";
    reader.send("POST", stop, &[], Vec::new()).await?.problem(403, "auth.forbidden")?;
    reader.post("/api/v1/api-keys", &wish).await?.problem(403, "auth.forbidden")?;
    reader.send("POST", "/api/v1/logout", &[], Vec::new()).await?.problem(409, "auth.no_session")?;

    let user = CommandLine::new(host.address())?;
    let child = user.command(&["whoami"])?.env("OMNIVISOR_TOKEN", text).spawn()?;
    let said = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("auth-token") && said.contains("limited to process.read"), "{said}");

    let key = host.admin.get("/api/v1/api-keys").await?.json()?["items"][0].clone();
    assert!(key["last_used_at"].is_string(), "{key}");
    let path = format!("/api/v1/api-keys/{id}");
    host.admin.send("DELETE", &path, &[], Vec::new()).await?.expect_status(204)?;
    reader.get(ME).await?.problem(401, "auth.required")?;
    let changed = format!("{}{}", &text[..text.len() - 1], if text.ends_with('A') { 'E' } else { 'A' });
    host.stranger().bearer(&changed).get(ME).await?.problem(401, "auth.required")?;
    host.stop().await?;
    Ok(())
}

pub(super) fn jwt(issuer: &str) -> anyhow::Result<Settings> {
    Ok(Settings::new()?
        .with("plugins", "auth", r#"["auth-jwt", "auth-local"]"#)
        .with("plugin.auth-jwt", "allow_http", &format!("[{issuer:?}]"))
        .with("plugin.auth-jwt", "role_max", r#""operator""#)
        .with("plugin.auth-jwt.settings", "issuer", &format!("{issuer:?}"))
        .with("plugin.auth-jwt.settings", "audience", r#""omnivisor""#)
        .with("plugin.auth-jwt.settings", "algorithms", r#"["RS256"]"#)
        .with("plugin.auth-jwt.settings", "jwks_url", &format!("\"{issuer}/jwks\""))
        .with("plugin.auth-jwt.settings", "name_claim", r#""sub""#)
        .with("plugin.auth-jwt.settings", "role_claim", r#""role""#)
        .with("plugin.auth-jwt.settings", "roles", r#"{ ops = "admin", dev = "viewer" }"#))
}

#[tokio::test]
async fn a_signed_token_is_worth_what_its_issuer_says_and_the_operator_grants() -> anyhow::Result<()> {
    let mut issuer = Script::start("issuer.mjs", &[], "").await?;
    issuer.told(&json!({ "make": "first" })).await?;
    let host = Host::start(jwt(&issuer.issuer)?).await?;
    let exp = seconds_from_now(600)?;
    let claims = |change: Value| {
        let mut claims = json!({
            "iss": issuer.issuer, "aud": "omnivisor", "sub": "ann", "role": "ops", "exp": exp, "iat": exp - 660,
        });
        for (name, value) in change.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims
    };
    let (good, developer) = (claims(json!({})), claims(json!({ "role": "dev" })));
    let bad = [
        ("HS256", claims(json!({}))),
        ("none", claims(json!({}))),
        ("RS256", claims(json!({ "aud": "another" }))),
        ("RS256", claims(json!({ "exp": seconds_from_now(-3600)? }))),
        ("RS256", claims(json!({ "role": "guest" }))),
    ];
    let good_token = issuer.token("first", "RS256", &good).await?;
    let me = host.stranger().bearer(&good_token).get(ME).await?.expect_status(200)?.json()?;
    assert_eq!((&me["name"], &me["strategy"]), (&json!("auth-jwt/ann"), &json!("auth-jwt")));
    assert_eq!(me["role"], "operator", "the issuer says admin, the operator grants less");
    assert!(me["expires_at"].is_string(), "{me}");
    let developer = issuer.token("first", "RS256", &developer).await?;
    assert_eq!(host.stranger().bearer(&developer).get(ME).await?.json()?["role"], "viewer");
    host.stranger()
        .bearer(&good_token)
        .post("/api/v1/api-keys", &json!({ "label": "x" }))
        .await?
        .problem(403, "auth.no_account")?;
    for (alg, claims) in bad {
        let token = issuer.token("first", alg, &claims).await?;
        host.stranger()
            .bearer(&token)
            .get(ME)
            .await?
            .problem(401, "auth.required")
            .with_context(|| format!("{alg} {claims}"))?;
    }
    let tampered = format!("{}A{}", &good_token[..good_token.len() - 20], &good_token[good_token.len() - 19..]);
    if tampered != good_token {
        host.stranger().bearer(&tampered).get(ME).await?.problem(401, "auth.required")?;
    }
    host.stop().await?;
    Ok(())
}

/// Failure cases 26 and 27 of the feed.
#[tokio::test]
async fn a_feed_outlives_its_token_by_ten_seconds_or_goes_on_with_another_of_its_subject() -> anyhow::Result<()> {
    let mut issuer = Script::start("issuer.mjs", &[], "").await?;
    issuer.told(&json!({ "make": "first" })).await?;
    let host = Host::start(jwt(&issuer.issuer)?).await?;
    let address = issuer.issuer.clone();
    let claims = |name: &str, exp: i64| json!({ "iss": address, "aud": "omnivisor", "sub": name, "role": "ops", "exp": exp, "iat": exp - 660 });
    let end = seconds_from_now(4)?;
    let short = issuer.token("first", "RS256", &claims("ann", end)).await?;
    let long = issuer.token("first", "RS256", &claims("ann", end + 600)).await?;
    let strangers = issuer.token("first", "RS256", &claims("bob", end + 600)).await?;
    let ann = host.stranger().bearer(&short);
    let (mut left, mut stays) =
        (Feed::open(&ann, &["node/*/state"], None).await?, Feed::open(&ann, &["*"], None).await?);
    let refused = stays.refresh(&strangers, SOON).await?;
    assert_eq!((&refused["t"], &refused["code"]), (&json!("error"), &json!("feed.other_subject")), "{refused}");
    assert_eq!(stays.refresh("rubbish", SOON).await?["code"], "auth.required");
    let refreshed = stays.refresh(&long, SOON).await?;
    assert_eq!(refreshed["t"], "refreshed", "{refreshed}");
    assert!(refreshed["ttl"].as_u64().is_some_and(|ttl| (500..=604).contains(&ttl)), "{refreshed}");
    assert_eq!(left.closed(Duration::from_secs(20)).await?, 4003);
    let after = seconds_from_now(0)? - end;
    assert!((10..=12).contains(&after), "closed {after} s behind the end of its token");
    assert_eq!(stays.refresh(&long, SOON).await?["t"], "refreshed", "it is still there");
    let metrics = host.admin.get("/metrics").await?.text();
    for line in ["refreshes_total{result=\"ok\"} 2", "refreshes_total{result=\"refused\"} 2", "auth_expired_total 1"] {
        assert!(metrics.contains(&format!("omnivisor_feed_{line}")), "{line}: {metrics}");
    }
    host.stop().await
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_found_without_a_restart() -> anyhow::Result<()> {
    let mut issuer = Script::start("issuer.mjs", &[], "").await?;
    issuer.told(&json!({ "make": "first" })).await?;
    let host = Host::start(jwt(&issuer.issuer)?).await?;
    let claims = json!({
        "iss": issuer.issuer, "aud": "omnivisor", "sub": "ann", "role": "dev", "exp": seconds_from_now(600)?,
    });
    let old = issuer.token("first", "RS256", &claims).await?;
    host.stranger().bearer(&old).get(ME).await?.expect_status(200)?;
    issuer.told(&json!({ "make": "second" })).await?;
    issuer.told(&json!({ "drop": "first" })).await?;
    let new = host.stranger().bearer(&issuer.token("second", "RS256", &claims).await?);
    // The issuer is asked again at most every ten seconds, and a token that was refused waits longer each time.
    until("the new key is known", Duration::from_secs(60), async || {
        Ok((new.get(ME).await?.status == 200).then_some(()))
    })
    .await?;
    let unknown =
        issuer.token("first", "RS256", &json!({ "iss": issuer.issuer, "aud": "omnivisor", "sub": "eve" })).await?;
    host.stranger().bearer(&unknown).get(ME).await?.problem(401, "auth.required")?;
    host.stop().await?;
    Ok(())
}

fn proxy(trusted: &str) -> anyhow::Result<Settings> {
    Ok(Settings::new()?
        .with("plugins", "auth", r#"["auth-proxy-header", "auth-local"]"#)
        .with("plugin.auth-proxy-header.settings", "trusted", &format!("[{trusted:?}]"))
        .with("plugin.auth-proxy-header.settings", "name_header", r#""x-remote-user""#)
        .with("plugin.auth-proxy-header.settings", "role", r#""viewer""#))
}

#[tokio::test]
async fn a_header_counts_only_from_the_proxy_that_is_trusted() -> anyhow::Result<()> {
    let host = Host::start(proxy("127.0.0.1/32")?).await?;
    let named = async |client: &Client, headers: &[(&str, &str)]| client.send("GET", ME, headers, Vec::new()).await;
    let me = named(&host.stranger(), &[("X-Remote-User", "ann")]).await?.expect_status(200)?.json()?;
    assert_eq!((&me["name"], &me["role"]), (&json!("auth-proxy-header/ann"), &json!("viewer")));
    let account = named(&host.stranger(), &[("x-remote-user", ADMIN)]).await?.expect_status(200)?.json()?;
    assert_eq!((&account["name"], &account["role"]), (&json!(format!("auth-proxy-header/{ADMIN}")), &json!("viewer")));
    named(&host.stranger(), &[("x-remote-user", "ann"), ("x-remote-user", "eve")])
        .await?
        .problem(401, "auth.required")?;
    named(&host.stranger(), &[]).await?.problem(401, "auth.required")?;
    // The proxy's own cookie would travel for any page.
    let out = async |origin| {
        host.stranger()
            .send("POST", "/api/v1/logout", &[("x-remote-user", "ann"), ("origin", origin)], Vec::new())
            .await
    };
    out("https://evil.example").await?.problem(403, "auth.cross_site")?;
    out(&format!("http://{}", host.address())).await?.problem(409, "auth.no_session")?;
    let session = named(&host.admin, &[("x-remote-user", "ann")]).await?.expect_status(200)?.json()?;
    assert_eq!(session["name"], ADMIN, "a session goes before");
    host.stop().await?;

    let host = Host::start(proxy("10.255.255.0/24")?).await?;
    let forged = [("x-remote-user", "ann"), ("x-forwarded-for", "10.255.255.1"), ("forwarded", "for=10.255.255.1")];
    named(&host.stranger(), &forged).await?.problem(401, "auth.required")?;
    host.stop().await?;
    Ok(())
}

/// As much of a browser as a login needs: follows redirections and keeps cookies, by address and path.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<(SocketAddr, String), (String, String)>,
}

/// Where a browser ended up.
struct Page {
    url: http::Uri,
    reply: Reply,
}

impl Browser {
    async fn open(&mut self, url: &str) -> anyhow::Result<Page> {
        let mut url: http::Uri = url.parse()?;
        for _ in 0..20 {
            let reply = self.get(&url).await?;
            if !reply.status.is_redirection() {
                return Ok(Page { url, reply });
            }
            let location = reply.header("location");
            ensure!(!location.is_empty(), "{} without a place to go: {}", reply.status, reply.text());
            let authority = url.authority().context("no address")?;
            url = if location.starts_with('/') {
                format!("http://{authority}{location}").parse()?
            } else {
                location.parse()?
            };
        }
        anyhow::bail!("sent around in a circle, at last to {url}")
    }

    async fn get(&mut self, url: &http::Uri) -> anyhow::Result<Reply> {
        let address: SocketAddr = url.authority().context("no address")?.as_str().parse()?;
        let (path, target) = (url.path(), url.path_and_query().map_or("/", |target| target.as_str()));
        let mine =
            self.cookies.iter().filter(|((at, _), (_, scope))| *at == address && path.starts_with(scope.as_str()));
        let cookies: Vec<String> = mine.map(|((_, name), (value, _))| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let headers: &[(&str, &str)] = if cookies.is_empty() { &[] } else { &[("cookie", &cookies)] };
        let reply = Client::new(address).send("GET", target, headers, Vec::new()).await?;
        for cookie in reply.headers.get_all("set-cookie") {
            let mut parts = cookie.to_str()?.split(';').map(str::trim);
            let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).context("an odd cookie")?;
            let scope =
                parts.find_map(|part| part.to_ascii_lowercase().starts_with("path=").then(|| part[5..].to_owned()));
            let key = (address, name.to_owned());
            if value.is_empty() {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, (value.to_owned(), scope.unwrap_or_else(|| "/".to_owned())));
            }
        }
        Ok(reply)
    }

    fn forget(&mut self, address: SocketAddr) {
        self.cookies.retain(|(at, _), _| *at != address);
    }
}

/// A host at an address of its own that sends people to a real OpenID Connect server.
async fn oidc() -> anyhow::Result<(Script, Host)> {
    let address = free_address()?;
    let url = format!("http://{address}");
    let modules: PathBuf = tests::node_modules()?;
    let callback = format!("{url}/api/v1/login/auth-oidc/callback");
    let secret = "canary-client-secret-with-32-bytes";
    let arguments = [modules.to_str().context("an odd path")?, "omnivisor", &callback];
    let server = Script::start("server.mjs", &arguments, secret).await?;
    let issuer = &server.issuer;
    let settings = Settings::new()?;
    let file = settings.secret("client.secret", secret)?;
    let settings = settings
        .with("server", "listen", &format!("\"{address}\""))
        .with("server", "external_url", &format!("{url:?}"))
        .with("plugins", "auth", r#"["auth-local", "auth-oidc"]"#)
        .with("plugin.auth-oidc", "allow_http", &format!("[{issuer:?}]"))
        .with("plugin.auth-oidc", "role_max", r#""operator""#)
        .with("plugin.auth-oidc.secrets", "client", &format!("{{ file = {file:?} }}"))
        .with("plugin.auth-oidc.settings", "issuer", &format!("{issuer:?}"))
        .with("plugin.auth-oidc.settings", "client_id", r#""omnivisor""#)
        .with("plugin.auth-oidc.settings", "scopes", r#"["openid", "profile"]"#)
        .with("plugin.auth-oidc.settings", "name_claim", r#""preferred_username""#)
        .with("plugin.auth-oidc.settings", "role_claim", r#""role""#)
        .with("plugin.auth-oidc.settings", "roles", r#"{ ops = "operator" }"#);
    Ok((server, Host::start(settings).await?))
}

#[tokio::test]
async fn a_browser_logs_in_at_an_openid_connect_server() -> anyhow::Result<()> {
    let (server, host) = oidc().await?;
    let start = format!("http://{}/api/v1/login/auth-oidc", host.address());
    let out = host.stranger().get("/api/v1/login/auth-oidc").await?.expect_status(302)?;
    let location = out.header("location").to_owned();
    assert!(location.starts_with(&server.issuer), "{location}");
    for part in ["code_challenge_method=S256", "code_challenge=", "state=", "nonce=", "response_type=code"] {
        assert!(location.contains(part), "no {part} in {location}");
    }
    let cookie = out.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Lax", "Path=/api/v1/login", "Max-Age=600"] {
        assert!(cookie.contains(part), "no {part} in {cookie}");
    }
    assert!(
        !location.contains(cookie.split(['=', ';']).nth(1).unwrap_or("?")),
        "the cookie does not travel by the address"
    );

    let mut browser = Browser::default();
    let page = browser.open(&start).await?;
    let login = page.reply.expect_status(200)?.json()?;
    let client = host.stranger().bearer(login["token"].as_str().context("no token")?);
    let me = client.get(ME).await?.expect_status(200)?.json()?;
    assert_eq!(
        (&me["name"], &me["strategy"], &me["role"]),
        (&json!("auth-oidc/ann"), &json!("auth-oidc"), &json!("operator"))
    );
    client.get("/api/v1/nodes").await?.expect_status(200)?;
    client.get("/api/v1/api-keys").await?.expect_status(200)?;
    client.send("POST", "/api/v1/logout", &[], Vec::new()).await?.expect_status(204)?;
    client.get(ME).await?.problem(401, "auth.required")?;

    let replayed = browser.open(&page.url.to_string()).await?;
    replayed.reply.problem(400, "auth.flow_lost")?;

    // A browser that wants to keep its session itself is told nothing that a script could take away.
    let mut browser = Browser::default();
    let login = browser.open(&format!("{start}?cookie=true")).await?.reply.expect_status(200)?;
    let name = (host.address(), "omnivisor-session".to_owned());
    let (token, scope) = browser.cookies.get(&name).context("no session")?;
    assert!(!login.text().contains(token) && login.json()?["token"].is_null(), "{}", login.text());
    assert_eq!(scope, "/");
    let me = browser.get(&format!("http://{}{ME}", host.address()).parse()?).await?.expect_status(200)?.json()?;
    assert_eq!(me["name"], "auth-oidc/ann");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_login_that_comes_back_changed_or_in_another_browser_is_refused() -> anyhow::Result<()> {
    let (server, host) = oidc().await?;
    let out = host.stranger().get("/api/v1/login/auth-oidc").await?.expect_status(302)?;
    // The victim's browser has the provider's cookies, and not that of the one who began.
    let page = Browser::default().open(out.header("location")).await?;
    page.reply.problem(400, "auth.flow_lost")?;

    for change in ["code", "state"] {
        let mut browser = Browser::default();
        let start: http::Uri = format!("http://{}/api/v1/login/auth-oidc", host.address()).parse()?;
        let location = browser.get(&start).await?.header("location").to_owned();
        let callback = callback_of(&mut browser, &location, host.address()).await?;
        let changed = callback.replace(&format!("{change}="), &format!("{change}=x"));
        let reply = browser.open(&changed).await?.reply;
        let expected = if change == "state" { (400, "auth.flow_lost") } else { (401, "auth.failed") };
        reply.problem(expected.0, expected.1).with_context(|| change.to_owned())?;
    }
    let mut browser = Browser::default();
    let start = format!("http://{}/api/v1/login/auth-oidc", host.address());
    browser.open(&start).await?.reply.expect_status(200)?;
    browser.forget(host.address());
    let location = browser.get(&start.parse()?).await?.header("location").to_owned();
    browser.forget(host.address());
    browser.open(&location).await?.reply.problem(400, "auth.flow_lost")?;
    drop(server);
    host.stop().await?;
    Ok(())
}

/// Follows a login to the address that it comes back to, and does not open that.
async fn callback_of(browser: &mut Browser, location: &str, host: SocketAddr) -> anyhow::Result<String> {
    let mut url: http::Uri = location.parse()?;
    for _ in 0..20 {
        if url.authority().is_some_and(|authority| authority.as_str() == host.to_string()) {
            return Ok(url.to_string());
        }
        let reply = browser.get(&url).await?;
        let authority = url.authority().context("no address")?;
        let location = reply.header("location");
        ensure!(!location.is_empty(), "{}: {}", reply.status, reply.text());
        url = if location.starts_with('/') {
            format!("http://{authority}{location}").parse()?
        } else {
            location.parse()?
        };
    }
    anyhow::bail!("it never came back")
}
