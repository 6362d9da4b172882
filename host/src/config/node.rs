use crate::config::check::{check_name, check_path};
use crate::config::schema::{Endpoint, NodeConfig, NodeLogin};
use crate::config::secret::{SecretError, SecretSource};
use crate::config::section::{Report, Section};
use crate::model::{NodeId, Secret};
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes of a Unix socket's path: `sun_path` less its end mark.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const USERNAME_BYTES_MAX: usize = 255;
/// The adapter of a node that names none.
pub(super) const ADAPTER: &str = "node-supervisord";
const HOST_BYTES_MAX: usize = 253;
const URL_ADVICE: &str = "expected \"http://HOST:PORT\" or \"unix:///PATH\"";
const LOGIN_ADVICE: &str = "expected `username` with one of `password_env` and `password_file`, or none of them";

/// Checks every `[[node]]`; the result is sorted by name.
pub(super) fn check_nodes(
    sections: Vec<Section<'_>>,
    report: &mut Report<'_>,
    secrets: &dyn SecretSource,
    base: &Path,
) -> Vec<NodeConfig> {
    let mut names: BTreeMap<NodeId, Range<usize>> = BTreeMap::new();
    let mut nodes = Vec::new();
    for mut section in sections {
        let name = check_node_name(&mut section, report, &mut names);
        let environment = section.text(report, "environment").and_then(|(text, span)| {
            check_name(report, &span, &section.path_of("environment"), text, "an environment's name")
                .map(|_| text.to_owned())
        });
        let adapter = section.text(report, "adapter").map_or(ADAPTER, |(text, span)| {
            check_name(report, &span, &section.path_of("adapter"), text, "a plugin's name");
            text
        });
        let endpoint = check_endpoint(&mut section, report);
        let login = check_login(&mut section, report, secrets, base);
        let is_enabled = section.flag(report, "enabled", true);
        section.finish(report, &["password"]);
        if let (Some(name), Some(endpoint)) = (name, endpoint) {
            nodes.push(NodeConfig { name, environment, adapter: adapter.to_owned(), endpoint, login, is_enabled });
        }
    }
    nodes.sort_by(|left, right| left.name.cmp(&right.name));
    nodes
}

fn check_node_name(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    names: &mut BTreeMap<NodeId, Range<usize>>,
) -> Option<NodeId> {
    let path = section.path_of("name");
    let is_there = section.span_of("name").is_some();
    let Some((text, span)) = section.text(report, "name") else {
        if !is_there {
            report.fault(section.span(), path, "it is missing", "expected a name, unique among the nodes");
        }
        return None;
    };
    let name = check_name(report, &span, &path, text, "a name")?;
    // Lines are counted from the beginning of the text: only for those who are told of one.
    if let Some(earlier) = names.get(&name) {
        let (earlier, line) = (report.line(earlier), report.line(&span));
        let problem = format!("the name `{name}` is taken by the node on line {earlier}");
        report.fault(&span, path, problem, format!("expected each name once, not on lines {earlier} and {line}"));
        return None;
    }
    names.insert(name.clone(), span);
    Some(name)
}

fn check_endpoint(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<Endpoint> {
    let path = section.path_of("url");
    let is_there = section.span_of("url").is_some();
    let Some((text, span)) = section.text(report, "url") else {
        if !is_there {
            report.fault(section.span(), path, "it is missing", URL_ADVICE);
        }
        return None;
    };
    parse_endpoint(text).map_err(|(problem, advice)| report.fault(&span, path, problem, advice)).ok()
}

/// The problems never show the text: somebody may have put a password into it.
fn parse_endpoint(text: &str) -> Result<Endpoint, (&'static str, &'static str)> {
    if let Some(path) = text.strip_prefix("unix://") {
        return match path {
            path if !path.starts_with('/') || path.contains('\0') => Err(("the path is not absolute", URL_ADVICE)),
            path if path.len() > SOCKET_PATH_BYTES_MAX => {
                Err(("the path of the socket is too long", "expected at most 107 bytes, as the system allows"))
            }
            path => Ok(Endpoint::Unix { path: PathBuf::from(path) }),
        };
    }
    let Some(rest) = text.strip_prefix("http://") else {
        return Err(match text.split_once("://") {
            Some(("https", _)) => ("supervisors do not speak TLS", "expected \"http://HOST:PORT\""),
            Some(_) | None => ("the scheme is not known", URL_ADVICE),
        });
    };
    if rest.contains('@') {
        return Err(("it holds a user or password", "expected `username` and `password_env` or `password_file`"));
    }
    let address = rest.strip_suffix('/').unwrap_or(rest);
    if address.contains(['/', '?', '#']) {
        return Err(("something stands behind the port", "expected \"http://HOST:PORT\"; the adapter knows the path"));
    }
    let no_port = ("the port is missing", "expected \"http://HOST:PORT\", with brackets around an IPv6 address");
    let (host, port) = address.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).ok_or(no_port)?;
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|&port| is_number && port != 0);
    let port = port.ok_or(("the port is bad", "expected a port from 1 to 65535"))?;
    let host = parse_host(host).ok_or(("the host is bad", "expected a name, an IPv4 address or [IPv6]"))?;
    Ok(Endpoint::Tcp { host, port })
}

fn parse_host(host: &str) -> Option<String> {
    if let Some(inside) = host.strip_prefix('[') {
        let inside = inside.strip_suffix(']')?;
        return inside.parse::<Ipv6Addr>().ok().map(|_| inside.to_owned());
    }
    let is_name = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    (is_name && !host.is_empty() && host.len() <= HOST_BYTES_MAX).then(|| host.to_owned())
}

fn check_login(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    secrets: &dyn SecretSource,
    base: &Path,
) -> Option<NodeLogin> {
    let problem = "a password does not belong into this file";
    section.refuse(
        report,
        "password",
        problem,
        "expected `password_env` or `password_file`, and this password changed",
    );
    let username = check_username(section, report);
    let has_username = section.span_of("username").is_some();
    let by_variable = section.span_of("password_env");
    let by_file = section.span_of("password_file");
    let password = check_password(section, report, secrets, base);
    match (by_variable, by_file) {
        (Some(_), Some(span)) => {
            let path = section.path_of("password_file");
            report.fault(&span, path, "`password_env` is given too", LOGIN_ADVICE);
        }
        (Some(span), None) | (None, Some(span)) if !has_username => {
            let path = section.path_of("username");
            report.fault(&span, path, "a password is given without it", LOGIN_ADVICE);
        }
        (None, None) if has_username && section.span_of("password").is_none() => {
            let span = section.span_of("username").unwrap_or_else(|| section.span().clone());
            let path = section.path_of("username");
            report.fault(&span, path, "it is given without a password", LOGIN_ADVICE);
        }
        (Some(_), None) | (None, Some(_) | None) => {}
    }
    Some(NodeLogin { username: username?, password: password? })
}

fn check_username(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<String> {
    let (text, span) = section.text(report, "username")?;
    let is_good =
        !text.is_empty() && text.len() <= USERNAME_BYTES_MAX && !text.chars().any(|c| c == ':' || c.is_control());
    if !is_good {
        let advice = "expected 1 to 255 bytes without a colon or control characters, as HTTP basic authentication asks";
        report.fault(&span, section.path_of("username"), "it is not a user name", advice);
    }
    is_good.then(|| text.to_owned())
}

/// Reads the password. What is named is not shown: somebody may have put the password itself there.
fn check_password(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    secrets: &dyn SecretSource,
    base: &Path,
) -> Option<Secret> {
    let variable = section.text(report, "password_env").map(|(name, span)| {
        let is_name = !name.is_empty() && !name.contains(['=', '\0']);
        ("password_env", span, if is_name { secrets.variable(name) } else { Err(SecretError::Unset) })
    });
    let file_span = section.span_of("password_file");
    let file = check_path(section, report, "password_file", base)
        .zip(file_span)
        .map(|(path, span)| ("password_file", span, secrets.file(&path)));
    let mut password = None;
    for (key, span, read) in variable.into_iter().chain(file) {
        match read {
            Ok(secret) => password = Some(secret),
            Err(error) => fault_of_secret(section, report, key, &span, &error),
        }
    }
    password
}

fn fault_of_secret(
    section: &Section<'_>,
    report: &mut Report<'_>,
    key: &str,
    span: &Range<usize>,
    error: &SecretError,
) {
    let advice = match key {
        "password_env" => "expected the name of an environment variable that holds the password",
        _ => "expected the path of a readable file that holds the password alone",
    };
    report.fault(span, section.path_of(key), error.problem(), advice);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_hosts_with_a_port_or_sockets() {
        let tcp = |host: &str, port| Ok(Endpoint::Tcp { host: host.to_owned(), port });
        assert_eq!(parse_endpoint("http://10.0.0.7:9001"), tcp("10.0.0.7", 9001));
        assert_eq!(parse_endpoint("http://web_1.example-a:1/"), tcp("web_1.example-a", 1));
        assert_eq!(parse_endpoint("http://[::1]:65535"), tcp("::1", 65535));
        assert_eq!(parse_endpoint("unix:///run/a b.sock"), Ok(Endpoint::Unix { path: "/run/a b.sock".into() }));
    }

    #[test]
    fn other_endpoints_are_refused() {
        for bad in [
            "",
            "10.0.0.7:9001",
            "https://web:9001",
            "ftp://web:9001",
            "http://web",
            "http://[::1]",
            "http://web:",
            "http://web:0",
            "http://web:65536",
            "http://web:+80",
            "http://web:80x",
            "http://:9001",
            "http://a b:9001",
            "http://[::x]:9001",
            "http://::1:9001",
            "http://web:9001/RPC2",
            "http://web:9001?x",
            "unix://run/a.sock",
            "unix://",
        ] {
            assert!(parse_endpoint(bad).is_err(), "{bad}");
        }
        assert!(parse_endpoint(&format!("unix:///{}", "x".repeat(107))).is_err());
        assert!(parse_endpoint(&format!("unix:///{}", "x".repeat(106))).is_ok());
    }

    #[test]
    fn a_password_inside_a_url_is_refused_and_not_shown() {
        let (problem, advice) = parse_endpoint("http://ann:hunter2@web:9001").unwrap_err();
        assert!(!format!("{problem}{advice}").contains("hunter2"));
    }
}
