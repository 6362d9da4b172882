use crate::config::{Config, ConfigFault, Defaults, Endpoint, SecretError, SecretSource, check};
use crate::model::Secret;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

const DOCS: &str = include_str!("../../../docs/config.md");

/// A key for the secrets in the database.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Knows two variables, one file, and a key in any private one.
struct FewSecrets;

impl SecretSource for FewSecrets {
    fn variable(&self, name: &str) -> Result<Secret, SecretError> {
        match name {
            "WEB_1" => Ok(Secret::new("from-env".to_owned())),
            "KEY" => Ok(Secret::new(KEY.to_owned())),
            _ => Err(SecretError::Unset),
        }
    }

    fn file(&self, path: &Path) -> Result<Secret, SecretError> {
        let is_known = path == Path::new("/etc/omnivisor/web-1.password");
        if is_known { Ok(Secret::new("from-file".to_owned())) } else { Err(SecretError::NotAFile) }
    }

    fn private_file(&self, _: &Path) -> Result<Secret, SecretError> {
        Ok(Secret::new(KEY.to_owned()))
    }
}

fn checked(text: &str) -> Result<Config, Vec<ConfigFault>> {
    let defaults = Defaults {
        storage_path: "/state/o.redb".into(),
        plugins_directory: "/bin/plugins".into(),
        cache_directory: "/cache/plugins".into(),
    };
    check(text, &FewSecrets, Path::new("/etc/omnivisor"), &defaults)
}

fn faults(text: &str) -> Vec<String> {
    checked(text).expect_err("has faults").iter().map(ToString::to_string).collect()
}

fn defaults() -> Config {
    checked("# nothing").expect("all keys have defaults")
}

#[test]
fn the_documented_example_is_a_configuration() {
    let example = DOCS.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let config = checked(example).expect("the example");
    assert_eq!(config.nodes[0].name.as_str(), "web-1");
    assert_eq!(config.nodes[0].endpoint, Endpoint::Tcp { host: "10.0.0.7".to_owned(), port: 9001 });
    assert_eq!(config.nodes[0].login.as_ref().unwrap().password.reveal(), "from-file");
}

#[test]
fn defaults_hold_where_nothing_is_said() {
    let config = defaults();
    assert_eq!(config.server.listen, Some("127.0.0.1:8642".parse().unwrap()));
    assert_eq!(config.server.session_idle_timeout, Duration::from_hours(12));
    assert_eq!(config.storage.path, Path::new("/state/o.redb"));
    assert_eq!(config.plugins.directory, Path::new("/bin/plugins"));
    assert_eq!(
        (config.plugins.auth, config.plugins.validate),
        (vec!["auth-local".into()], vec!["validate-strict".into()])
    );
    assert_eq!(config.nodes, Vec::new());
}

#[test]
fn compiled_code_is_never_kept_where_plugins_are_put() {
    for text in [
        "plugins.directory = \"/p\"\nplugins.cache_directory = \"/p/cache\"",
        "plugins.directory = \"/p\"\nplugins.cache_directory = \"/p\"",
        "plugins.directory = \"/cache\"",
    ] {
        let told = faults(text);
        assert!(told.len() == 1 && told[0].contains("plugins.cache_directory: it lies inside"), "{told:?}");
    }
    let config = checked("plugins.directory = \"/p\"\nplugins.cache_directory = \"/p-cache\"").expect("beside it");
    assert_eq!(config.plugins.cache_directory, Path::new("/p-cache"));
}

#[test]
fn relative_paths_start_at_the_base() {
    let text = "storage.path = \"x.redb\"\nplugins.directory = \"/abs\"\n[[node]]\nname = \"a\"\nurl = \"http://a:1\"\n\
                username = \"u\"\npassword_file = \"web-1.password\"";
    let config = checked(text).unwrap();
    assert_eq!(config.storage.path, Path::new("/etc/omnivisor/x.redb"));
    assert_eq!(config.plugins.directory, Path::new("/abs"));
    assert_eq!(config.nodes[0].login.as_ref().unwrap().password.reveal(), "from-file");
}

#[test]
fn every_fault_is_told_at_once_with_its_line() {
    let text = r#"[server]
listn = "127.0.0.1:1"
connections_max = 0
body_bytes_max = "64k"
request_timeout_ms = 1.5
[server2]
[pool]
failures_max = -1
poll_interval_ms = 99999999999999999999999
[[node]]
name = "web-1"
url = "http://web-1"
[[node]]
url = "http://web-2:9001"
colour = "red"
[[node]]
name = "web-1"
url = "http://web-3:9001"
[log]
level = "inof"
format = "xml"
"#;
    assert_eq!(
        faults(text),
        [
            "line 2: server.listn: unknown key; did you mean `listen`?",
            "line 3: server.connections_max: 0 is out of range; expected a whole number from 1 to 1000000",
            "line 4: server.body_bytes_max: it is a text; expected a whole number from 1024 to 16777216",
            "line 5: server.request_timeout_ms: it is a number with a fraction; expected a whole number from 100 to 600000",
            "line 6: server2: unknown key; did you mean `server`?",
            "line 8: pool.failures_max: -1 is out of range; expected a whole number from 1 to 100",
            "line 9: pool.poll_interval_ms: 99999999999999999999999 is out of range; expected a whole number from 100 to \
             3600000",
            "line 12: node[0].url: the port is missing; expected \"http://HOST:PORT\", with brackets around an IPv6 address",
            "line 13: node[1].name: it is missing; expected a name, unique among the nodes",
            "line 15: node[1].colour: unknown key; expected one of name, environment, adapter, url, username, \
             password_env, password_file, enabled",
            "line 17: node[2].name: the name `web-1` is taken by the node on line 11; expected each name once, not on \
             lines 11 and 17",
            "line 20: log.level: \"inof\" is not a level; expected error, warn, info, debug, trace or off, or \
             TARGET=LEVEL, separated by commas",
            "line 21: log.format: \"xml\" is not a format; expected \"text\" or \"json\"",
        ]
    );
}

#[test]
fn faults_of_syntax_come_all_and_alone() {
    let found = faults("[server]\nlisten = \nconnections_max = 0\n[pool\nx = 1\n");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("line 2: "), "{found:#?}");
    assert!(found[1].starts_with("line 4: "), "{found:#?}");
    let found = faults("[server]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n");
    assert_eq!(found, ["line 3: listen: duplicate key; expected each key and table once"]);
}

#[test]
fn an_empty_file_is_not_the_defaults() {
    for text in ["", " \n\t\n"] {
        assert_eq!(checked(text).unwrap_err()[0].line, None);
    }
}

#[test]
fn sections_of_the_wrong_form_are_refused() {
    assert_eq!(
        faults("server = 1\n[node]\nname = \"a\"\n"),
        [
            "line 1: server: it is a whole number; expected a table `[server]`",
            "line 2: node: it is a table; expected tables `[[node]]`"
        ]
    );
    assert_eq!(faults("node = [1]"), ["line 1: node[0]: it is a whole number; expected tables `[[node]]`"]);
}

#[test]
fn plugins_are_named_once_and_plainly() {
    assert!(faults("plugins.auth = []")[0].contains("expected 1 to 16"));
    assert!(faults("plugins.auth = [\"a\", \"a\"]")[0].contains("\"a\" is named twice"));
    assert!(faults("plugins.auth = [\"../x\"]")[0].contains("plugins.auth[0]"));
    assert!(faults("plugins.validate = [1]")[0].contains("plugins.validate[0]: it is a whole number"));
    assert!(faults("plugins.validate = \"a\"")[0].contains("expected a list"));
}

#[test]
fn log_levels_may_be_directives() {
    for good in ["debug", "INFO", "off", "info,omnivisor::node=debug", "warn, hyper=trace"] {
        assert_eq!(checked(&format!("log.level = {good:?}")).unwrap().log.level, good);
    }
    for bad in ["", "inof", "info,", "=debug", "a b=debug", "omnivisor"] {
        assert!(checked(&format!("log.level = {bad:?}")).is_err(), "{bad}");
    }
}

fn login_faults(lines: &str) -> Vec<String> {
    faults(&format!("[[node]]\nname = \"a\"\nurl = \"http://a:1\"\n{lines}"))
}

#[test]
fn a_login_is_whole_or_absent() {
    let one = |lines: &str, expected: &str| {
        let found = login_faults(lines);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(expected), "{found:#?}");
    };
    one("username = \"u\"", "line 4: node[0].username: it is given without a password");
    one("password_env = \"WEB_1\"", "line 4: node[0].username: a password is given without it");
    one("password_file = \"web-1.password\"", "line 4: node[0].username: a password is given without it");
    one(
        "username = \"u\"\npassword_env = \"WEB_1\"\npassword_file = \"web-1.password\"",
        "line 6: node[0].password_file: `password_env` is given too",
    );
    one("username = \"a:b\"\npassword_env = \"WEB_1\"", "line 4: node[0].username: it is not a user name");
    one("username = \"u\"\npassword_file = \"absent\"", "line 5: node[0].password_file: it is not a regular file");
    one(
        "username = \"u\"\npassword_env = \"ABSENT\"",
        "line 5: node[0].password_env: the environment variable is not set",
    );
}

#[test]
fn no_fault_shows_what_may_be_a_secret() {
    for lines in [
        "username = \"u\"\npassword = \"hunter2\"",
        "password = \"hunter2\"",
        "password = 1\nusername = \"hunter2:\"",
        "username = \"u\"\npassword_env = \"hunter2\"",
        "username = \"u\"\npassword_env = \"hun=ter2\"",
        "username = \"u\"\npassword_file = \"hunter2\"",
    ] {
        let text = login_faults(lines).join("\n");
        assert!(!text.contains("hunter2") && !text.contains("ter2"), "{text}");
    }
    assert_eq!(login_faults("username = \"u\"\npassword = \"hunter2\"").len(), 1);
    assert!(!faults("[[node]]\nname = \"a\"\nurl = \"http://u:hunter2@a:1\"\n").join("").contains("hunter2"));
}

/// Rows of the tables in `docs/config.md`: section, key, default, range.
fn documented() -> Vec<[String; 4]> {
    let mut section = String::new();
    let mut rows = Vec::new();
    for line in DOCS.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.trim_matches(['`', '[', ']']).to_owned();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", key, default, range, ..] = cells.as_slice()
            && let Some(key) = key.strip_prefix('`').and_then(|key| key.strip_suffix('`'))
        {
            rows.push([section.as_str(), key, default, range].map(str::to_owned));
        }
    }
    rows
}

/// The keys that the checker itself knows: it names them when it meets an unknown one.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let sections = [
        "server",
        "storage",
        "audit",
        "plugins",
        "plugins.auth_limits",
        "plugins.validate_limits",
        "plugins.adapter_limits",
        "plugin.NAME",
        "plugin.NAME.limits",
        "pool",
        "orders",
        "log",
        "metrics",
        "telemetry",
    ];
    let mut text: String = sections.iter().map(|section| format!("[{section}]\nzzzzzzzzzzzzzzzz = 1\n")).collect();
    text.push_str("[[node]]\nname = \"a\"\nurl = \"http://a:1\"\nzzzzzzzzzzzzzzzz = 1\n");
    text.push_str("[[listen]]\naddress = \"127.0.0.1:1\"\nzzzzzzzzzzzzzzzz = 1\n");
    let all = checked(&text).unwrap_err();
    assert_eq!(all.len(), sections.len() + 2, "{all:#?}");
    all.iter()
        .map(|fault| {
            let section = fault.key.strip_suffix(".zzzzzzzzzzzzzzzz").unwrap().replace("[0]", "");
            let keys = fault.advice.strip_prefix("expected one of ").unwrap().split(", ");
            let is_table = |key: &str| section == "plugin.NAME" && matches!(key, "secrets" | "settings");
            let is_key = |key: &&str| !sections.contains(&format!("{section}.{key}").as_str()) && !is_table(key);
            let keys = keys.filter(is_key).map(str::to_owned).collect();
            (section, keys)
        })
        .collect()
}

#[test]
fn the_reference_names_every_key_and_no_other() {
    let mut documented_keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for [section, key, ..] in documented() {
        documented_keys.entry(section).or_default().insert(key);
    }
    assert_eq!(documented_keys, known());
    // And every section that the root knows was asked for above.
    let root = faults("zzzzzzzzzzzzzzzz = 1");
    let sections =
        "expected one of listen, server, storage, audit, plugin, plugins, pool, orders, log, metrics, telemetry, node";
    assert!(root[0].ends_with(sections), "{root:?}");
}

#[test]
fn the_reference_tells_the_true_defaults_and_ranges() {
    let config = defaults();
    let mut numbers = 0;
    for [section, key, default, range] in documented() {
        let with = |value: &str| checked(&format!("[{section}]\n{key} = {value}\n"));
        let config = if section.starts_with("plugin.") {
            checked(&format!("[{section}]\n")).expect("legal")
        } else {
            config.clone()
        };
        if let Some((min, max)) = range.split_once(" to ")
            && default.starts_with("as its kind")
        {
            let (min, max): (u64, u64) = (min.parse().expect("a number"), max.parse().expect("a number"));
            assert!(with(&min.to_string()).is_ok() && with(&max.to_string()).is_ok(), "{section}.{key}");
            assert!(with(&(max + 1).to_string()).is_err() && with(&(min - 1).to_string()).is_err(), "{section}.{key}");
        } else if let Some((min, max)) = range.split_once(" to ")
            && let (Ok(min), Ok(max)) = (min.parse::<u64>(), max.parse::<u64>())
        {
            numbers += 1;
            assert_eq!(with(&default).as_ref(), Ok(&config), "default of {section}.{key}");
            assert!(with(&min.to_string()).is_ok() && with(&max.to_string()).is_ok(), "{section}.{key}");
            assert!(with(&(max + 1).to_string()).is_err(), "{section}.{key}");
            assert!(min == 0 || with(&(min - 1).to_string()).is_err(), "{section}.{key}");
        } else if !["node", "listen"].contains(&section.as_str())
            && let Some(value) = default.strip_prefix('`').and_then(|text| text.strip_suffix('`'))
        {
            assert_eq!(with(value).as_ref(), Ok(&config), "default of {section}.{key}");
        }
    }
    assert!(numbers > 25, "{numbers} keys with a range were found");
}

#[test]
fn every_documented_key_is_read() {
    let old = defaults();
    for [section, key, default, range] in documented() {
        if ["node", "listen"].contains(&section.as_str()) {
            continue;
        }
        let other = match (key.as_str(), range.split_once(" to ")) {
            ("listen", _) => "\"127.0.0.1:1\"".to_owned(),
            ("trusted_proxies", _) => "[\"unix\"]".to_owned(),
            ("external_url", _) => "\"https://omnivisor.example\"".to_owned(),
            ("level", _) => "\"warn\"".to_owned(),
            ("watch" | "config_watch", _) => "false".to_owned(),
            ("otlp_endpoint", _) => "\"http://127.0.0.1:4318\"".to_owned(),
            ("open", _) => "true".to_owned(),
            ("proxy_header", _) => "\"forwarded\"".to_owned(),
            ("format", _) => "\"json\"".to_owned(),
            ("auth" | "validate", _) => "[\"other\"]".to_owned(),
            ("allow_http", _) => "[\"https://idp.example\"]".to_owned(),
            ("role_max", _) => "\"admin\"".to_owned(),
            ("on_failure", _) => "\"allow\"".to_owned(),
            ("key_env", _) => "\"KEY\"".to_owned(),
            (_, Some((min, max))) => if default == min { max } else { min }.to_owned(),
            _ => "\"/other\"".to_owned(),
        };
        let new = checked(&format!("[{section}]\n{key} = {other}\n")).expect("legal");
        let old = if section.starts_with("plugin.") {
            checked(&format!("[{section}]\n")).expect("legal")
        } else {
            old.clone()
        };
        assert_ne!(old, new, "{section}.{key} changes nothing");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_checker_panic(text in "\\PC*", lines in proptest::collection::vec("(\\[|\\[\\[)?(server|node|plugins|log|a)?(\\]|\\]\\]| = )?[\"0-9a-z.\\[\\]{}=,-]{0,8}", 0..8)) {
        let _ = checked(&text);
        let _ = checked(&lines.join("\n"));
    }
}
