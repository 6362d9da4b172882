//! Strategies that send the browser elsewhere, and those that only say so.

use crate::component::{World, build, redirecting};
use crate::place::Place;
use omnivisor::model::{IdentitySource, PeerFacts, Secret, Verdict};
use omnivisor::plugin::{JudgeError, LoadError, PluginSet, Returned};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Names `redirect` among its credentials.
const LISTS: &str = r#"(data (i32.const 2320) "redirect")"#;
/// Always grants who is back.
const COMPLETE: &str = r#"(func (export "omnivisor:auth/redirect@0.1.0#complete")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 1304))"#;
/// Sends to the text at 3000 with so many bytes, and has the text at 3000 kept with so many.
fn begin(url: usize, keep: usize) -> String {
    let word = |number: usize| {
        let bytes = u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>()
    };
    let answer: String = [0, 3000, url, 3000, keep].into_iter().map(word).collect();
    format!(
        r#"(data (i32.const 2900) "{answer}")
        (func (export "omnivisor:auth/redirect@0.1.0#begin")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2900))"#
    )
}

fn facts() -> PeerFacts {
    PeerFacts { address: Ipv4Addr::LOCALHOST.into(), peer: Ipv4Addr::LOCALHOST.into(), request_id: "r1".into() }
}

async fn loaded(bytes: &[u8]) -> anyhow::Result<Result<Arc<PluginSet>, Vec<LoadError>>> {
    Ok(Place::new()?.strategy("auth-x", bytes)?.load().await.map(|loaded| loaded.set))
}

#[tokio::test]
async fn a_strategy_sends_the_browser_out_and_judges_who_is_back() -> anyhow::Result<()> {
    const URL: &str = "https://idp.example/";
    let fields = format!(r#"{LISTS} {COMPLETE} {} (data (i32.const 3000) "{URL}")"#, begin(URL.len(), 5));
    let set = loaded(&redirecting(&fields)?).await?.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let strategy = set.strategies.first().expect("it was loaded");
    assert_eq!(strategy.info().credentials, ["redirect"]);
    let redirection = strategy.begin("https://here/callback".into(), "state".into(), facts()).await?;
    assert_eq!((redirection.url.as_str(), redirection.keep.reveal()), (URL, "https"));
    let returned = Returned {
        redirect_uri: "https://here/callback".into(),
        parameters: vec![("code".into(), "c".into())],
        keep: Secret::new("https".into()),
        facts: facts(),
    };
    let Verdict::Granted(identity) = strategy.complete(returned).await? else { panic!("granted") };
    assert_eq!((identity.name.as_str(), identity.source), ("ann", IdentitySource::Account));
    Ok(())
}

#[tokio::test]
async fn an_endless_address_and_a_script_are_no_redirections() -> anyhow::Result<()> {
    for (text, url, keep, code) in [
        ("https://idp.example/", 8_193, 0, "plugin.too_much_data"),
        ("https://idp.example/", 20, 4_097, "plugin.too_much_data"),
        ("javascript:alert(1)", 19, 0, "plugin.bad_answer"),
    ] {
        let fields = format!(r#"{LISTS} {COMPLETE} {} (data (i32.const 3000) "{text}")"#, begin(url, keep));
        let set = loaded(&redirecting(&fields)?).await?.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
        let strategy = set.strategies.first().expect("it was loaded");
        let told = match strategy.begin(String::new(), String::new(), facts()).await {
            Err(JudgeError::Fault(fault)) => fault.code,
            Err(JudgeError::Plugin(failure)) => failure.code().to_owned(),
            Ok(redirection) => panic!("{redirection:?}"),
        };
        assert_eq!(told, code, "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn who_lists_redirect_without_exporting_it_is_not_loaded() -> anyhow::Result<()> {
    let errors = loaded(&build(World::Auth, LISTS)?).await?.map(|_| ()).expect_err("it does not export it");
    let [error @ LoadError::Description { .. }] = errors.as_slice() else { panic!("{errors:?}") };
    assert!(error.to_string().contains("does not export `omnivisor:auth/redirect@0.1.0`"), "{error}");
    let set = loaded(&build(World::Auth, "")?).await?.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let strategy = set.strategies.first().expect("it was loaded");
    assert!(matches!(
        strategy.begin(String::new(), String::new(), facts()).await,
        Err(JudgeError::Fault(fault)) if fault.code == "auth.no_redirect"
    ));
    Ok(())
}
