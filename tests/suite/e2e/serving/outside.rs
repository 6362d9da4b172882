use crate::e2e::SOON;
use serde_json::json;
use tests::{ADMIN, Client, Host, Settings, until};

/// Tries a wrong password, as this proxy or stranger would pass it on.
async fn guess(client: &Client, forwarded: &str) -> anyhow::Result<u16> {
    let body = json!({ "username": ADMIN, "password": "wrong-password" }).to_string().into_bytes();
    let headers = [("content-type", "application/json"), ("x-forwarded-for", forwarded)];
    Ok(client.send("POST", "/api/v1/login", &headers, body).await?.status.as_u16())
}

async fn addresses(host: &Host) -> anyhow::Result<Vec<String>> {
    let page = host.admin.get("/api/v1/audit?what=session.login&outcome=refused").await?.expect_status(200)?.json()?;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().filter_map(|item| item["address"].as_str().map(str::to_owned)).collect())
}

#[tokio::test]
async fn only_a_trusted_proxy_says_where_a_request_came_from() -> anyhow::Result<()> {
    let settings = Settings::new()?.with("server", "trusted_proxies", "[\"127.0.0.2\", \"127.0.0.3\"]");
    let host = Host::start(settings).await?;
    let stranger = host.stranger().from_source("127.0.0.9".parse()?);
    let proxy = host.stranger().from_source("127.0.0.2".parse()?);
    assert_eq!(guess(&stranger, "127.0.0.1").await?, 401);
    assert_eq!(guess(&proxy, "6.6.6.6, 192.0.2.1, 127.0.0.3").await?, 401);
    let seen = until("both are on record", SOON, async || {
        Ok(Some(addresses(&host).await?).filter(|addresses| addresses.len() >= 2))
    });
    assert_eq!(seen.await?, ["192.0.2.1", "127.0.0.9"], "newest first");

    // Whoever guesses behind the proxy shuts himself out, and not the others behind it.
    let mut status = 401;
    for _ in 0..10 {
        status = guess(&proxy, "192.0.2.1").await?;
    }
    assert_eq!(status, 429);
    assert_eq!(guess(&proxy, "192.0.2.2").await?, 401);
    // A stranger cannot have somebody else shut out, nor be somebody new each time.
    for number in 0..10 {
        status = guess(&stranger, &format!("192.0.2.{number}")).await?;
    }
    assert_eq!(status, 429);
    host.stop().await
}

#[tokio::test]
async fn behind_a_path_requests_are_served_below_it_and_where_the_proxy_takes_it_away() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?.with("server", "base_path", "\"/fleet\"")).await?;
    for path in ["/fleet/api/v1/me", "/api/v1/me"] {
        assert_eq!(host.admin.get(path).await?.expect_status(200)?.json()?["name"], ADMIN);
    }
    host.admin.get("/fleets/api/v1/me").await?.problem(404, "route.not_found")?;
    let document = host.admin.get("/fleet/api/openapi.json").await?.expect_status(200)?.json()?;
    assert_eq!(document["servers"][0]["url"], "/fleet");
    host.stop().await
}
