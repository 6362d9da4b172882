//! The rooms of `host/src` and the one direction between them. The tables here and in `ARCHITECTURE.md` say the same.

use crate::source::{Token, blank, rust_files, starts_with, tokens};
use crate::{Fault, assert_none, root};

/// A room and the rooms it may import. `api::wire` stands for that part of a room alone.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("resilience", &["model"]),
    ("config", &["model"]),
    ("task", &[]),
    ("watch", &[]),
    ("store", &["model", "config"]),
    ("plugin", &["model", "resilience", "config", "task", "watch"]),
    ("hub", &["model", "config"]),
    ("node", &["model", "resilience", "config", "task", "plugin"]),
    ("auth", &["model", "config", "task", "store", "plugin"]),
    ("fetch", &["model", "plugin"]),
    ("reload", &["model", "config", "watch", "task", "store", "plugin"]),
    ("author", &["model", "config", "plugin"]),
    ("api", &["model", "config", "watch", "task", "store", "plugin", "hub", "node", "auth", "reload"]),
    ("cli", &["model", "api::wire"]),
    (
        "app",
        &[
            "model",
            "resilience",
            "config",
            "task",
            "watch",
            "store",
            "plugin",
            "hub",
            "node",
            "auth",
            "fetch",
            "author",
            "reload",
            "api",
            "cli",
        ],
    ),
];

/// Crates that only some places may name: a room, or the start of a path below `host/src`.
const GATED: &[(&str, &[&str])] = &[
    ("wasmtime", &["plugin/"]),
    ("redb", &["store/"]),
    ("hyper", &["api/", "cli/", "node/link", "fetch/"]),
    ("hyper_util", &["api/", "cli/", "node/link", "fetch/"]),
    ("hyper_rustls", &["fetch/"]),
    ("rustls", &["fetch/", "api/serve/", "api/socket/secure", "cli/connect"]),
    ("tokio_rustls", &["api/serve/", "api/socket/secure", "cli/connect"]),
];

/// Places without await, spawn or clock, by the start of their path.
const PURE: &[&str] =
    &["model/", "resilience/", "config/", "hub/topics.rs", "node/follow/reassembler.rs", "node/snapshot.rs"];

/// Words that break purity outside tests. `Instant` and `Duration` as values are welcome: the caller brings the time.
const IMPURE: &[&str] = &["async", "await", "spawn", "spawn_blocking", "sleep", "sleep_until", "elapsed"];

/// Clocks; each is read with `::now`.
const CLOCKS: &[&str] = &["Instant", "SystemTime", "Timestamp", "Zoned"];

#[test]
fn rooms_import_only_downwards_and_name_only_what_is_theirs() {
    let source = root().join("host/src");
    let faults: Vec<_> = rust_files(&source)
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("a readable file");
            let path = path.strip_prefix(&source).expect("below host/src").to_string_lossy().into_owned();
            check(&path, &text)
        })
        .collect();
    assert_none(&faults);
}

#[test]
fn every_room_is_in_the_table_and_in_the_architecture() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for entry in std::fs::read_dir(root().join("host/src")).expect("host/src") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            assert!(ROOMS.iter().any(|(room, _)| *room == name), "room `{name}` is not in the table of this test");
        }
    }
    for (room, may) in ROOMS {
        let allowed = match *room {
            _ if may.is_empty() => "nothing".to_owned(),
            "app" => "all".to_owned(),
            _ => may.join(" "),
        };
        let row = format!("| `{room}` | {allowed} |");
        assert!(architecture.contains(&row), "ARCHITECTURE.md has no row that starts `{row}`");
    }
}

/// Every fault of one file. `path` is below `host/src`.
fn check(path: &str, text: &str) -> Vec<Fault> {
    let blanked = blank(text);
    let tokens = tokens(&blanked);
    let mut faults = imports(path, &tokens);
    faults.extend(gates(path, &tokens));
    faults.extend(purity(path, &tokens));
    faults
}

fn room_of(path: &str) -> Option<(&'static str, &'static [&'static str])> {
    let (first, _) = path.split_once('/')?;
    ROOMS.iter().find(|(room, _)| *room == first).copied()
}

fn imports(path: &str, tokens: &[Token<'_>]) -> Vec<Fault> {
    let Some((room, may)) = room_of(path) else { return Vec::new() };
    let mut faults = Vec::new();
    for at in 0..tokens.len() {
        let rest = &tokens[at..];
        let line = tokens[at].line;
        if starts_with(rest, &["super", "::", "super"]) {
            faults.push(Fault::new(path, line, "climbs with `super::super`; write the path from `crate`"));
        }
        if path.ends_with("/mod.rs")
            && path.matches('/').count() == 1
            && !tokens[at].is_test
            && starts_with(rest, &["super", "::"])
        {
            faults.push(Fault::new(path, line, "leaves its room with `super`; write the path from `crate`"));
        }
        if !starts_with(rest, &["crate", "::"]) {
            continue;
        }
        for target in targets(&rest[2..]) {
            let is_own = target == room || target.starts_with(&format!("{room}::"));
            let is_room = ROOMS.iter().any(|(name, _)| target.split("::").next() == Some(name));
            let is_allowed = may.iter().any(|m| target == *m || target.starts_with(&format!("{m}::")));
            if is_room && !is_own && !is_allowed {
                faults.push(Fault::new(path, line, format!("`{room}` may not import `{target}`")));
            } else if !is_room {
                faults.push(Fault::new(path, line, format!("`crate::{target}` is not in a room")));
            }
        }
    }
    faults
}

/// What stands after `crate::`: the first two parts of a path, or of each path of a group.
fn targets(tokens: &[Token<'_>]) -> Vec<String> {
    if tokens.first().is_none_or(|token| token.text != "{") {
        return two_parts(tokens);
    }
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut is_start = false;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "{" => {
                depth += 1;
                is_start = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            "," => is_start = depth == 1,
            _ => {
                if is_start {
                    found.extend(two_parts(&tokens[at..]));
                }
                is_start = false;
            }
        }
    }
    found
}

fn two_parts(tokens: &[Token<'_>]) -> Vec<String> {
    let Some(first) = tokens.first() else { return Vec::new() };
    if tokens.get(1).is_none_or(|token| token.text != "::") {
        return vec![first.text.to_owned()];
    }
    let Some(second) = tokens.get(2) else { return vec![first.text.to_owned()] };
    if second.text != "{" {
        return vec![format!("{}::{}", first.text, second.text)];
    }
    targets(&tokens[2..]).iter().map(|part| format!("{}::{part}", first.text)).collect()
}

fn gates(path: &str, tokens: &[Token<'_>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, places) in GATED {
        if places.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        for pair in tokens.windows(2).filter(|pair| pair[0].text == *name) {
            // A field or module may be called like a crate; a path or an import may not.
            if matches!(pair[1].text, "::" | ";" | "as") {
                let places = places.join("`, `");
                faults.push(Fault::new(path, pair[0].line, format!("names `{name}`, which only `{places}` may")));
            }
        }
    }
    if path.starts_with("model/") {
        for token in tokens.iter().filter(|t| matches!(t.text, "serde" | "Serialize" | "Deserialize" | "ToSchema")) {
            faults.push(Fault::new(
                path,
                token.line,
                "makes a type of `model` serialisable; wire and disk forms live apart",
            ));
        }
    }
    faults
}

fn purity(path: &str, tokens: &[Token<'_>]) -> Vec<Fault> {
    if !PURE.iter().any(|place| path.starts_with(place)) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| !token.is_test) {
        let is_clock = CLOCKS.contains(&token.text) && starts_with(&tokens[at + 1..], &["::", "now"]);
        if IMPURE.contains(&token.text) || is_clock {
            faults.push(Fault::new(path, token.line, format!("`{}` in a place of pure rules", token.text)));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::check;

    /// Whether the rules refuse this text in this file with a fault that says `word`.
    fn refuses(path: &str, text: &str, word: &str) -> bool {
        check(path, text).iter().any(|fault| fault.what.contains(word))
    }

    #[test]
    fn upward_and_sideways_imports_are_refused_in_every_spelling() {
        assert!(refuses("model/ids.rs", "use crate::node::Pool;", "`model` may not import `node::Pool`"));
        assert!(refuses("store/a.rs", "use crate::{model::NodeId, plugin::PluginSet};", "`plugin::PluginSet`"));
        assert!(refuses("auth/a.rs", "use crate::{\n model::{NodeId, Secret},\n hub::{Log},\n};", "`hub::Log`"));
        assert!(refuses("hub/a.rs", "fn f() -> crate::api::wire::NodeView {}", "`api::wire`"));
        assert!(refuses("node/a.rs", "#[cfg(test)] mod tests { use crate::auth::Chain; }", "`auth::Chain`"));
        assert!(refuses("node/a.rs", "use super::super::auth::Chain;", "super::super"));
        assert!(refuses("node/mod.rs", "use super::auth::Chain;", "leaves its room"));
        assert!(refuses("node/a.rs", "use crate::helper;", "not in a room"));
    }

    #[test]
    fn the_command_line_sees_the_wire_and_plain_words_alone() {
        assert!(check("cli/a.rs", "use crate::api::wire::{NodeView, Problem};").is_empty());
        assert!(refuses("cli/a.rs", "use crate::api::server;", "`cli` may not import `api::server`"));
        assert!(refuses("cli/a.rs", "use crate::api::{wire, server};", "`api::server`"));
        assert!(refuses("cli/a.rs", "use crate::config::Config;", "`config::Config`"));
    }

    #[test]
    fn downward_imports_comments_and_texts_are_let_through() {
        let text = "//! like crate::api\nuse crate::{model::NodeId, plugin::{Adapter, Exchange}};\nconst S: &str = \"crate::api\";\nuse super::owner;\nuse crate::node::pool;";
        assert_eq!(check("node/a.rs", text), []);
    }

    #[test]
    fn gated_crates_are_refused_outside_their_rooms() {
        assert!(refuses("auth/a.rs", "use wasmtime::Engine;", "names `wasmtime`"));
        assert!(refuses("plugin/a.rs", "let x = redb::Database::open();", "names `redb`"));
        assert!(refuses("node/owner.rs", "use hyper::client;", "names `hyper`"));
        assert!(refuses("app/a.rs", "use hyper_util::rt::TokioIo;", "names `hyper_util`"));
        assert!(refuses("node/link.rs", "use rustls::ClientConfig;", "names `rustls`"));
        assert!(check("fetch/client.rs", "use hyper::client; use rustls::ClientConfig;").is_empty());
        assert!(check("plugin/engine.rs", "use wasmtime::Engine;").is_empty());
        assert!(check("node/link_stream.rs", "use hyper::client; use hyper_util::rt;").is_empty());
        assert!(refuses("model/ids.rs", "#[derive(Serialize)] struct A;", "serialisable"));
    }

    #[test]
    fn pure_places_have_no_await_no_spawn_and_no_clock() {
        for text in
            ["async fn f() {}", "x.await", "tracker.spawn(f)", "Instant::now()", "SystemTime::now()", "t.elapsed()"]
        {
            for path in ["model/a.rs", "resilience/a.rs", "config/a.rs", "hub/topics.rs", "node/snapshot.rs"] {
                assert!(refuses(path, text, "pure"), "{path}: {text}");
            }
            assert!(!refuses("node/owner.rs", text, "pure"), "{text}");
        }
        assert!(check("resilience/a.rs", "#[cfg(test)] mod tests { async fn f() { Instant::now() } }").is_empty());
        assert!(check("resilience/a.rs", "fn admit(now: Instant) -> bool { true }").is_empty());
    }
}
